//! One-shot timers: a hashed timing wheel (Varghese and Lauck 1987, scheme 5) of one turn, with a list of what is
//! due later.
//!
//! A turn is an aligned window of ticks with a slot each. So all timers of a slot have the same due tick, firing is
//! exact to the tick and in order without sorting, and the first occupied slot is the next due tick. Timers beyond
//! the window wait in one list; when the window moves, those that fall into it are moved over. Most timers are
//! cancelled long before that. They live in a slab and are linked by number: scheduling and cancelling touch a few
//! words and allocate nothing once the slab has grown.
//!
//! What it is bad at: when a window begins in which a far timer falls due, all far timers are looked at once.
//! Leases, which are moved at each heartbeat, have [`crate::lease`]. Instants are ticks whose length is the caller's
//! business.

/// Ticks per turn.
pub const TURN: usize = 1024;

const LAST_OF_TURN: u64 = TURN as u64 - 1;
/// The list of what is due after the current turn comes after those of its slots.
const FAR: usize = TURN;
/// No timer has this number.
const NONE: u32 = u32::MAX;

/// Names one scheduled timer, and no other before or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    number: u32,
    generation: u32,
}

impl Handle {
    /// As one number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.number as u64
    }

    /// From [`Handle::to_bits`]; other numbers make handles that name no timer, or another one.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(NONE);
        Self { number: half(bits), generation: half(bits >> 32) }
    }
}

/// Timers, each with something to give back when it is due.
#[derive(Clone, Debug)]
pub struct Wheel<T> {
    timers: Vec<Timer<T>>,
    /// The first unused place in `timers`; the others follow from there.
    free: u32,
    scheduled: usize,
    lists: Box<[List]>,
    /// By slot: is anything in it?
    occupied: [u64; TURN / 64],
    /// The earliest due tick in the far list, when that is known.
    far_earliest: Option<u64>,
    now: u64,
}

#[derive(Clone, Debug)]
struct Timer<T> {
    due: u64,
    /// `None` in an unused place.
    payload: Option<T>,
    previous: u32,
    next: u32,
    /// How often the place was used before.
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Wheel<T> {
    /// No timers, at tick 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            timers: Vec::new(),
            free: NONE,
            scheduled: 0,
            lists: vec![EMPTY; TURN + 1].into_boxed_slice(),
            occupied: [0; TURN / 64],
            far_earliest: None,
            now: 0,
        }
    }

    /// How many timers are scheduled.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.scheduled
    }

    /// True when no timer is scheduled.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.scheduled == 0
    }

    /// Schedule a timer. A tick that has passed counts as the present one. O(1).
    ///
    /// # Panics
    /// When `u32::MAX` timers are scheduled.
    pub fn schedule(&mut self, due: u64, payload: T) -> Handle {
        let due = due.max(self.now);
        let number = self.place();
        let timer = &mut self.timers[number as usize];
        (timer.due, timer.payload) = (due, Some(payload));
        let handle = Handle { number, generation: timer.generation };
        self.link(number);
        self.scheduled += 1;
        handle
    }

    fn place(&mut self) -> u32 {
        if self.free == NONE {
            let number = u32::try_from(self.timers.len()).ok().filter(|number| *number != NONE);
            self.timers.push(Timer { due: 0, payload: None, previous: NONE, next: NONE, generation: 0 });
            return number.expect("fewer than 2^32 - 1 timers");
        }
        let number = self.free;
        self.free = self.timers[number as usize].next;
        number
    }

    /// Take a timer away before it is due and return its payload; `None` when it is due already, or cancelled. O(1).
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        let timer = self.timers.get(handle.number as usize)?;
        if timer.generation != handle.generation || timer.payload.is_none() {
            return None;
        }
        self.unlink(handle.number);
        self.release(handle.number)
    }

    /// Time has come to tick `now`: return the payloads of all timers due at or before it, by due tick, ties in the
    /// order in which they were scheduled. A tick before the last one counts as the last one.
    ///
    /// O(fired), and O(far timers) when a turn begins in which one of them is due.
    pub fn advance(&mut self, now: u64) -> Vec<T> {
        let now = now.max(self.now);
        let mut fired = Vec::new();
        while let Some(due) = self.first_near().filter(|due| *due <= now) {
            self.fire(slot(due), &mut fired);
        }
        let turned = now > self.last_tick();
        self.now = now;
        if turned {
            self.turn(&mut fired);
        }
        fired
    }

    /// The tick at which the next timer is due. O(1), but O(timers) when all are due after the current turn and the
    /// earliest of them was cancelled.
    pub fn next_due(&mut self) -> Option<u64> {
        self.first_near().or_else(|| self.first_far())
    }

    /// Take all timers away, and return their payloads in no particular order.
    pub fn clear(&mut self) -> Vec<T> {
        let numbers = 0..u32::try_from(self.timers.len()).unwrap_or(NONE);
        let scheduled: Vec<u32> = numbers.filter(|number| self.payload(*number).is_some()).collect();
        scheduled
            .into_iter()
            .filter_map(|number| {
                self.unlink(number);
                self.release(number)
            })
            .collect()
    }

    /// The payloads of all timers, in no particular order.
    pub fn payloads(&self) -> impl Iterator<Item = &T> {
        self.timers.iter().filter_map(|timer| timer.payload.as_ref())
    }

    fn payload(&self, number: u32) -> Option<&T> {
        self.timers[number as usize].payload.as_ref()
    }

    /// The last tick of the current turn.
    const fn last_tick(&self) -> u64 {
        self.now | LAST_OF_TURN
    }

    /// The list in which a timer due at `due` is.
    fn list_of(&self, due: u64) -> usize {
        if due <= self.last_tick() { slot(due) } else { FAR }
    }

    fn link(&mut self, number: u32) {
        let due = self.timers[number as usize].due;
        let place = self.list_of(due);
        let last = std::mem::replace(&mut self.lists[place].last, number);
        (self.timers[number as usize].previous, self.timers[number as usize].next) = (last, NONE);
        if last == NONE {
            self.lists[place].first = number;
        } else {
            self.timers[last as usize].next = number;
        }
        if place != FAR {
            self.occupied[place / 64] |= 1 << (place % 64);
        } else if last == NONE || self.far_earliest.is_some_and(|earliest| due < earliest) {
            self.far_earliest = Some(due);
        }
    }

    fn unlink(&mut self, number: u32) {
        let Timer { due, previous, next, .. } = self.timers[number as usize];
        let place = self.list_of(due);
        match previous {
            NONE => self.lists[place].first = next,
            _ => self.timers[previous as usize].next = next,
        }
        match next {
            NONE => self.lists[place].last = previous,
            _ => self.timers[next as usize].previous = previous,
        }
        if place == FAR {
            self.far_earliest = self.far_earliest.filter(|earliest| *earliest != due);
        } else if self.lists[place].first == NONE {
            self.occupied[place / 64] &= !(1 << (place % 64));
        }
    }

    /// The place of an unlinked timer can be used again, by another generation.
    fn release(&mut self, number: u32) -> Option<T> {
        self.scheduled -= 1;
        let timer = &mut self.timers[number as usize];
        let payload = timer.payload.take();
        // A place that has had all its generations stays unused: no handle ever names two timers.
        if let Some(generation) = timer.generation.checked_add(1) {
            timer.generation = generation;
            timer.next = std::mem::replace(&mut self.free, number);
        }
        payload
    }

    fn fire(&mut self, slot: usize, fired: &mut Vec<T>) {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        let mut next = std::mem::replace(&mut self.lists[slot], EMPTY).first;
        while next != NONE {
            let number = next;
            next = self.timers[number as usize].next;
            fired.extend(self.release(number));
        }
    }

    /// A new turn: what is in its slots was fired. Far timers are fired or moved into the slots.
    fn turn(&mut self, fired: &mut Vec<T>) {
        if self.far_earliest.is_some_and(|earliest| earliest > self.last_tick()) {
            return;
        }
        let mut next = std::mem::replace(&mut self.lists[FAR], EMPTY).first;
        self.far_earliest = None;
        let mut overdue = Vec::new();
        while next != NONE {
            let number = next;
            let timer = &self.timers[number as usize];
            next = timer.next;
            if timer.due <= self.now {
                overdue.push((timer.due, number));
            } else {
                self.link(number);
            }
        }
        overdue.sort_by_key(|(due, _)| *due);
        fired.extend(overdue.into_iter().filter_map(|(_, number)| self.release(number)));
    }

    /// The due tick of the first occupied slot. All of them are of the current turn.
    fn first_near(&self) -> Option<u64> {
        let word = self.occupied.iter().position(|word| *word != 0)?;
        let slot = word as u64 * 64 + u64::from(self.occupied[word].trailing_zeros());
        Some((self.now & !LAST_OF_TURN) + slot)
    }

    fn first_far(&mut self) -> Option<u64> {
        if self.far_earliest.is_none() {
            let first = self.timers.get(self.lists[FAR].first as usize);
            let far = std::iter::successors(first, |timer| self.timers.get(timer.next as usize));
            self.far_earliest = far.map(|timer| timer.due).min();
        }
        self.far_earliest
    }
}

fn slot(due: u64) -> usize {
    // The remainder is below `TURN`.
    usize::try_from(due & LAST_OF_TURN).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_up_when_its_generations_are_used_up() {
        let mut wheel = Wheel::new();
        wheel.schedule(1, 'a');
        wheel.advance(1);
        wheel.timers[0].generation = u32::MAX;

        let last = wheel.schedule(2, 'b');
        assert_eq!(wheel.cancel(last), Some('b'));

        assert_eq!(wheel.schedule(2, 'c').number, 1);
        assert_eq!(wheel.cancel(last), None);
    }
}
