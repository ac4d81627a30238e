//! Any calls of the timer wheel against a list of timers.

#![no_main]

#[path = "../../kernel/tests/models/wheel.rs"]
mod model;

use model::Step;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((start, steps)) = data.split_first_chunk() else { return };
    model::follow(u64::from_le_bytes(*start), steps.as_chunks().0.iter().map(step));
});

/// Four bytes: which call; by how much a number of 16 bits is shifted; that number.
fn step([call, shift, low, high]: &[u8; 4]) -> Step {
    let number = u64::from(u16::from_le_bytes([*low, *high])) << (shift % 49);
    match call % 12 {
        0..=4 => Step::Schedule(number),
        5 | 6 => Step::Cancel(usize::from(*low)),
        7..=9 => Step::Advance(number),
        10 => Step::GoBack(number),
        _ if *shift == 0 => Step::Clear,
        _ => Step::NextDue,
    }
}
