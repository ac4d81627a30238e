//! Any calls of the component table against a list of instances.

#![no_main]

#[path = "../../kernel/tests/models/table.rs"]
mod model;

use model::Step;
use tekton_kernel::lifecycle::STATES;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::follow(data.as_chunks().0.iter().map(step)));

/// Three bytes: which call and which component or limit, which instance or slot, which state.
fn step([call, place, state]: &[u8; 3]) -> Step {
    let (id, instance, slot) = (call / 5 % 4, u128::from(place % 4), u32::from(place % 16));
    let state = STATES[usize::from(*state) % STATES.len()];
    match call % 5 {
        0 => Step::Add { id, instance, state, limit: usize::from(place / 4 % 3 + 1) },
        1 => Step::Remove { slot },
        2 => Step::Transition { id, instance, state },
        3 => Step::SetState { slot, state },
        _ => Step::Touch { id, instance },
    }
}
