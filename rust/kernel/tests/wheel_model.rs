//! Timers against a list of them.

#[path = "models/wheel.rs"]
mod model;

use model::Step;
use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::wheel::{TURN, Wheel};

const TURN_TICKS: u64 = TURN as u64;

/// Near, at the edges of a turn, a few turns away, and at the end of time.
fn ticks() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20_u64,
        3 => (TURN_TICKS - 2)..(TURN_TICKS + 3),
        2 => 0..5 * TURN_TICKS,
        1 => 0..u64::MAX,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => ticks().prop_map(Step::Schedule),
        3 => any::<usize>().prop_map(Step::Cancel),
        4 => prop_oneof![4 => 0..15_u64, 2 => 0..2 * TURN_TICKS, 1 => 0..20 * TURN_TICKS].prop_map(Step::Advance),
        1 => ticks().prop_map(Step::GoBack),
        2 => Just(Step::NextDue),
        1 => (0..20_u8).prop_map(|dice| if dice == 0 { Step::Clear } else { Step::NextDue }),
    ]
}

proptest! {
    #[test]
    fn timers_fire_exactly_when_they_are_due(start in prop_oneof![Just(0), ticks(), Just(u64::MAX - 3000)],
                                             steps in vec(step(), 0..150)) {
        model::follow(start, steps);
    }
}

#[test]
fn a_due_tick_that_has_passed_counts_as_the_present_one() {
    let mut wheel = Wheel::default();
    wheel.advance(5000);

    wheel.schedule(5000, "first");
    wheel.schedule(3, "late");

    assert_eq!(wheel.next_due(), Some(5000));
    assert_eq!(wheel.advance(0), ["first", "late"]);
}

#[test]
fn a_stale_handle_does_not_cancel_the_timer_that_took_its_place() {
    let mut wheel = Wheel::new();
    let stale = wheel.schedule(1, 'a');
    wheel.advance(1);

    let fresh = wheel.schedule(2, 'b');

    assert_ne!(stale, fresh);
    assert_eq!(stale.to_bits() & 0xffff_ffff, fresh.to_bits() & 0xffff_ffff, "they share a place");
    assert_eq!(wheel.cancel(stale), None);
    assert_eq!(wheel.cancel(fresh), Some('b'));
}

#[test]
fn places_are_used_again() {
    let mut wheel = Wheel::new();
    let places = (0..10_000_u64).map(|tick| {
        let handle = wheel.schedule(tick + 3, tick);
        wheel.advance(tick);
        handle.to_bits() & 0xffff_ffff
    });

    assert!(places.max() < Some(5));
}
