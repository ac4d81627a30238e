//! Timers against a list of them.

use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::wheel::{Handle, TURN, Wheel};

#[derive(Clone, Copy, Debug)]
enum Step {
    Schedule(u64),
    /// The handle that was given out at this place among all of them, stale or not.
    Cancel(usize),
    Advance(u64),
    GoBack(u64),
    NextDue,
    Clear,
}

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

/// The timers in the order in which they were scheduled.
#[derive(Default)]
struct Model {
    timers: Vec<(usize, u64)>,
    now: u64,
}

impl Model {
    fn advance(&mut self, now: u64) -> Vec<usize> {
        self.now = self.now.max(now);
        let mut fired: Vec<_> = self.timers.iter().copied().filter(|(_, due)| *due <= self.now).collect();
        self.timers.retain(|(_, due)| *due > self.now);
        fired.sort_by_key(|(_, due)| *due);
        fired.into_iter().map(|(id, _)| id).collect()
    }

    fn cancel(&mut self, id: usize) -> Option<usize> {
        let place = self.timers.iter().position(|(timer, _)| *timer == id)?;
        Some(self.timers.remove(place).0)
    }

    fn next_due(&self) -> Option<u64> {
        self.timers.iter().map(|(_, due)| *due).min()
    }
}

proptest! {
    #[test]
    fn timers_fire_exactly_when_they_are_due(start in prop_oneof![Just(0), ticks(), Just(u64::MAX - 3000)],
                                             steps in vec(step(), 0..150)) {
        let mut wheel = Wheel::new();
        let mut model = Model::default();
        let mut handles: Vec<Handle> = Vec::new();
        prop_assert!(wheel.advance(start).is_empty());
        model.advance(start);
        for step in steps {
            match step {
                Step::Schedule(ticks) => {
                    let id = handles.len();
                    let due = model.now.saturating_add(ticks);
                    handles.push(wheel.schedule(due, id));
                    model.timers.push((id, due));
                }
                Step::Cancel(place) if !handles.is_empty() => {
                    let id = place % handles.len();
                    let handle = Handle::from_bits(handles[id].to_bits());
                    prop_assert_eq!(wheel.cancel(handle), model.cancel(id));
                }
                Step::Cancel(bits) => prop_assert_eq!(wheel.cancel(Handle::from_bits(bits as u64)), None),
                Step::Advance(ticks) => {
                    let now = model.now.saturating_add(ticks);
                    prop_assert_eq!(wheel.advance(now), model.advance(now));
                }
                Step::GoBack(ticks) => {
                    let now = model.now.saturating_sub(ticks);
                    prop_assert_eq!(wheel.advance(now), model.advance(now));
                }
                Step::NextDue => prop_assert_eq!(wheel.next_due(), model.next_due()),
                Step::Clear => {
                    let mut cleared = wheel.clear();
                    cleared.sort_unstable();
                    let expected: Vec<_> = model.timers.drain(..).map(|(id, _)| id).collect();
                    prop_assert_eq!(cleared, expected);
                }
            }
            prop_assert_eq!(wheel.len(), model.timers.len());
            prop_assert_eq!(wheel.is_empty(), model.timers.is_empty());
        }
        let mut left: Vec<_> = wheel.payloads().copied().collect();
        left.sort_unstable();
        prop_assert_eq!(left, model.timers.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        prop_assert_eq!(wheel.next_due(), model.next_due());
        prop_assert_eq!(wheel.advance(u64::MAX), model.advance(u64::MAX));
        for handle in handles {
            prop_assert_eq!(wheel.cancel(handle), None);
        }
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
