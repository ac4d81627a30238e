//! Any bytes as `MessagePack`, against its specification.

#![no_main]

#[path = "../../kernel/tests/models/msgpack.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::check(data));
