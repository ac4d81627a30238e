//! Any bytes as a batch of envelopes, against its layout.

#![no_main]

#[path = "../../kernel/tests/models/envelope.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    model::check(data);
    // Most bytes are no batch.
    model::check(&[b"TKB\x01", data].concat());
});
