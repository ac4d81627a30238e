//! Any calls of the subject table against a list of pairs, and any text against the rules.

#![no_main]

#[path = "../../kernel/tests/models/subject.rs"]
mod model;

use model::Step;
use tekton_kernel::subject::{Pattern, Subject};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(Pattern::parse(text).is_ok(), model::is_pattern(text));
        assert_eq!(Subject::parse(text).is_ok(), model::is_subject(text));
    }
    let Some((capacity, steps)) = data.split_first() else { return };
    model::follow(usize::from(*capacity), steps.as_chunks().0.iter().map(step));
});

/// Six bytes: which call; which listener; up to four tokens of a text, and of another.
fn step([call, listener, first @ .., last]: &[u8; 6]) -> Step {
    let (text, listener) = (text(first), u64::from(listener % 4));
    match call % 8 {
        0..=2 => Step::Add(text, listener),
        3 => Step::Remove(text, listener),
        4..=6 => Step::Match(text),
        _ => Step::Race(text, self::text(&[first[0], *last]), listener),
    }
}

/// A token for each byte that is not divisible by five; often the same, and mostly valid.
fn text(bytes: &[u8]) -> String {
    const TOKENS: [&str; 8] = ["a", "b", "*", ">", "a", "c", "", "é"];
    let tokens = bytes.iter().filter(|byte| *byte % 5 > 0).map(|byte| TOKENS[usize::from(byte % 8)]);
    tokens.collect::<Vec<_>>().join(".")
}
