//! Any text as the content of a message, and as a message, against the grammar of JSON.

#![no_main]

#[path = "../../kernel/tests/models/message.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::check(data));
