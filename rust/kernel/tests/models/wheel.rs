//! The timer wheel as a list of timers. Shared with the fuzz target of the same name.

use tekton_kernel::wheel::{Handle, Wheel};

/// A call to the wheel; times are relative to now.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Schedule(u64),
    /// The handle that was given out at this place among all of them, stale or not.
    Cancel(usize),
    Advance(u64),
    GoBack(u64),
    NextDue,
    Clear,
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

/// Take the same steps with the wheel and with the model.
///
/// # Panics
/// When they differ.
pub fn follow(start: u64, steps: impl IntoIterator<Item = Step>) {
    let mut wheel = Wheel::new();
    let mut model = Model::default();
    let mut handles: Vec<Handle> = Vec::new();
    assert!(wheel.advance(start).is_empty());
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
                assert_eq!(wheel.cancel(handle), model.cancel(id));
            }
            Step::Cancel(bits) => assert_eq!(wheel.cancel(Handle::from_bits(bits as u64)), None),
            Step::Advance(ticks) => {
                let now = model.now.saturating_add(ticks);
                assert_eq!(wheel.advance(now), model.advance(now));
            }
            Step::GoBack(ticks) => {
                let now = model.now.saturating_sub(ticks);
                assert_eq!(wheel.advance(now), model.advance(now));
            }
            Step::NextDue => assert_eq!(wheel.next_due(), model.next_due()),
            Step::Clear => {
                let mut cleared = wheel.clear();
                cleared.sort_unstable();
                let expected: Vec<_> = model.timers.drain(..).map(|(id, _)| id).collect();
                assert_eq!(cleared, expected);
            }
        }
        assert_eq!(wheel.len(), model.timers.len());
        assert_eq!(wheel.is_empty(), model.timers.is_empty());
    }
    let mut left: Vec<_> = wheel.payloads().copied().collect();
    left.sort_unstable();
    assert_eq!(left, model.timers.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    assert_eq!(wheel.next_due(), model.next_due());
    assert_eq!(wheel.advance(u64::MAX), model.advance(u64::MAX));
    for handle in handles {
        assert_eq!(wheel.cancel(handle), None);
    }
}
