//! Leases against a map of deadlines.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::lease::Leases;

#[derive(Clone, Copy, Debug)]
enum Step {
    Arm(u32, u32),
    Disarm(u32),
    Touch(u32),
    Extend(u32),
    Expire,
    Wait(u32),
    GoBack(u32),
}

fn step() -> impl Strategy<Value = Step> {
    // Slots in three blocks.
    let slot = || (0..600_u32).prop_map(|slot| slot / 7 * 7);
    prop_oneof![
        4 => (slot(), 0..50_u32).prop_map(|(slot, timeout)| Step::Arm(slot, timeout)),
        1 => (slot(), Just(u32::MAX)).prop_map(|(slot, timeout)| Step::Arm(slot, timeout)),
        1 => slot().prop_map(Step::Disarm),
        4 => slot().prop_map(Step::Touch),
        1 => prop_oneof![0..20_u32, Just(u32::MAX)].prop_map(Step::Extend),
        2 => Just(Step::Expire),
        4 => (0..20_u32).prop_map(Step::Wait),
        1 => (0..5_u32).prop_map(Step::GoBack),
    ]
}

fn sum(a: u32, b: u32) -> u32 {
    a.saturating_add(b).min(u32::MAX - 1)
}

proptest! {
    #[test]
    fn leases_expire_exactly_when_they_are_due(start in prop_oneof![Just(0), Just(u32::MAX - 60)],
                                               steps in vec(step(), 0..200)) {
        let mut leases = Leases::new();
        let mut model: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let mut now = start;
        for step in steps {
            match step {
                Step::Arm(slot, timeout) => {
                    leases.arm(slot, timeout, now);
                    model.insert(slot, (sum(now, timeout), timeout));
                }
                Step::Disarm(slot) => {
                    leases.disarm(slot);
                    model.remove(&slot);
                }
                Step::Touch(slot) => {
                    let touched = leases.touch(slot, now);
                    let lease = model.get_mut(&slot);
                    prop_assert_eq!(touched, lease.is_some());
                    if let Some((deadline, timeout)) = lease {
                        *deadline = sum(now, *timeout).max(*deadline);
                    }
                }
                Step::Extend(ticks) => {
                    leases.extend(ticks);
                    for (deadline, _) in model.values_mut() {
                        *deadline = sum(*deadline, ticks);
                    }
                }
                Step::Expire => {
                    let expected: Vec<u32> =
                        model.iter().filter(|(_, (deadline, _))| *deadline <= now).map(|(slot, _)| *slot).collect();
                    prop_assert_eq!(leases.due(now), expected.len());
                    prop_assert_eq!(leases.expire(now), expected);
                    model.retain(|_, (deadline, _)| *deadline > now);
                    prop_assert_eq!(leases.due(now), 0);
                }
                Step::Wait(ticks) => now = now.saturating_add(ticks),
                Step::GoBack(ticks) => now = now.saturating_sub(ticks),
            }
            let first = model.values().map(|(deadline, _)| *deadline).min();
            match (leases.next_deadline(), first) {
                (Some(bound), Some(first)) => prop_assert!(bound <= first),
                (None, Some(_)) => prop_assert!(false, "a lease is armed"),
                (_, None) => {}
            }
        }
        for slot in 0..700 {
            prop_assert_eq!(leases.armed(slot), model.contains_key(&slot));
        }
    }

    #[test]
    fn expiring_at_the_bound_ends_at_the_exact_deadline(timeouts in vec(0..1000_u32, 1..600), touched in 0..600_u32) {
        let mut leases = Leases::new();
        for (slot, timeout) in (0..).zip(&timeouts) {
            leases.arm(slot, *timeout, 0);
        }
        leases.touch(touched, 1000);

        let mut expired = 0;
        while let Some(bound) = leases.next_deadline() {
            let now = leases.expire(bound);
            prop_assert!(now.is_empty() || now.iter().all(|slot| *slot == touched || timeouts[*slot as usize] == bound));
            expired += now.len();
        }

        prop_assert_eq!(expired, timeouts.len());
    }
}

#[test]
fn there_is_room_for_the_first_and_the_last_slot_of_any_block() {
    for slot in [0, 255, 256, 511, 512, 65_536] {
        let mut leases = Leases::new();
        leases.arm(slot, 5, 0);
        assert_eq!(leases.expire(5), [slot]);
    }
}
