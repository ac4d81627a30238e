//! The lifecycle table against the list of its transitions.

use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::bulk::check_pairs;
use tekton_kernel::lifecycle::{STATES, State};

use State::{Degraded, Failed, Initializing, Ready, Registering, Starting, Stopped, Stopping, Unknown};

const LEGAL: [(State, State); 19] = [
    (Unknown, Registering),
    (Registering, Initializing),
    (Registering, Failed),
    (Initializing, Starting),
    (Initializing, Failed),
    (Starting, Ready),
    (Starting, Degraded),
    (Starting, Failed),
    (Ready, Degraded),
    (Ready, Stopping),
    (Ready, Failed),
    (Degraded, Ready),
    (Degraded, Stopping),
    (Degraded, Failed),
    (Failed, Initializing),
    (Failed, Stopping),
    (Stopping, Stopped),
    (Stopping, Failed),
    (Stopped, Initializing),
];

#[test]
fn exactly_the_listed_transitions_are_legal() {
    for from in STATES {
        for to in STATES {
            assert_eq!(from.may_become(to), LEGAL.contains(&(from, to)), "{from:?} -> {to:?}");
        }
        assert!(from.successors().eq(STATES.into_iter().filter(|to| from.may_become(*to))));
        assert_eq!(State::from_code(from.code()), Some(from));
    }
    assert_eq!(State::from_code(9), None);
}

#[test]
fn states_have_the_names_of_the_public_interface() {
    let names = STATES.map(State::name);
    assert_eq!(
        names.join(" "),
        "unknown registering initializing starting ready degraded failed stopping stopped"
    );
}

#[test]
fn only_failed_and_stopped_instances_have_ended() {
    assert!(STATES.into_iter().filter(|state| state.ended()).eq([Failed, Stopped]));
}

proptest! {
    #[test]
    fn bulk_checks_agree_with_single_ones(pairs in vec(prop_oneof![0..9_u8, any::<u8>()], 0..300)) {
        let single = |pair: &[u8]| {
            let states = State::from_code(pair[0]).zip(State::from_code(pair[1]));
            u8::from(states.is_some_and(|(from, to)| from.may_become(to)))
        };
        let expected: Vec<u8> = pairs.chunks_exact(2).map(single).collect();

        let mut legal = vec![7; expected.len()];
        check_pairs(&pairs, &mut legal);

        prop_assert_eq!(legal, expected);
    }
}
