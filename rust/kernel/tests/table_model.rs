//! The table against a list of instances.

#[path = "models/table.rs"]
mod model;

use model::Step;
use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::lifecycle::STATES;

fn step() -> impl Strategy<Value = Step> {
    let state = || prop::sample::select(&STATES[..]);
    prop_oneof![
        (0..4_u8, 0..4_u128, state(), 1..4_usize).prop_map(|(id, instance, state, limit)| Step::Add {
            id,
            instance,
            state,
            limit
        }),
        (0..8_u32).prop_map(|slot| Step::Remove { slot }),
        (0..4_u8, 0..4_u128, state()).prop_map(|(id, instance, state)| Step::Transition {
            id,
            instance,
            state
        }),
        (0..8_u32, state()).prop_map(|(slot, state)| Step::SetState { slot, state }),
        (0..4_u8, 0..4_u128).prop_map(|(id, instance)| Step::Touch { id, instance }),
    ]
}

proptest! {
    #[test]
    fn table_follows_the_model(steps in vec(step(), 0..80)) {
        model::follow(steps);
    }
}
