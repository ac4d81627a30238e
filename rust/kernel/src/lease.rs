//! Leases: who has not been heard of in time.
//!
//! Deadlines lie in a flat array, with a lower bound per block of 256 slots. A heartbeat is one store, because it
//! only ever moves a deadline later and so leaves the bound valid. A tick reads the bounds and scans only the blocks
//! whose bound has passed, which makes them exact again. No relinking, no allocation, no rounding, any
//! mix of timeouts. It was measured against wheels, heaps, trees and lists: best or equal from 10,000 slots up.
//!
//! What it is bad at: a tick costs one comparison per 256 slots even when nothing is due.
//! Instants are ticks whose length is the caller's business.

/// Slots per block.
pub const BLOCK: usize = 256;

/// The deadline of a slot without a lease.
const NEVER: u32 = u32::MAX;
const LATEST: u32 = NEVER - 1;

/// The leases of all slots.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    blocks: Vec<[Lease; BLOCK]>,
    /// By block: no deadline in it is earlier.
    bounds: Vec<u32>,
}

/// Side by side, so that a heartbeat touches one cache line.
#[derive(Clone, Copy, Debug)]
struct Lease {
    deadline: u32,
    timeout: u32,
}

const NONE: Lease = Lease { deadline: NEVER, timeout: 0 };

impl Leases {
    /// No slots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Let `slot` expire when `timeout` ticks after `now` have passed, unless it is touched.
    ///
    /// Replaces the lease it had; the timeout stays for later touches. Grows to hold `slot`.
    pub fn arm(&mut self, slot: u32, timeout: u32, now: u32) {
        let index = slot as usize;
        self.grow_to(index);
        let deadline = deadline(now, timeout);
        self.blocks[index / BLOCK][index % BLOCK] = Lease { deadline, timeout };
        let bound = &mut self.bounds[index / BLOCK];
        *bound = deadline.min(*bound);
    }

    fn grow_to(&mut self, index: usize) {
        let blocks = index / BLOCK + 1;
        if blocks > self.blocks.len() {
            self.blocks.resize(blocks, [NONE; BLOCK]);
            self.bounds.resize(blocks, NEVER);
        }
    }

    /// Take the lease away; the slot will not expire.
    pub fn disarm(&mut self, slot: u32) {
        if let Some(lease) = self.lease_mut(slot) {
            *lease = NONE;
        }
    }

    /// True when the slot has a lease.
    #[must_use]
    pub fn armed(&self, slot: u32) -> bool {
        let index = slot as usize;
        self.blocks.get(index / BLOCK).is_some_and(|block| block[index % BLOCK].deadline != NEVER)
    }

    /// A heartbeat at `now`: the full timeout starts again. Returns whether the slot has a lease.
    ///
    /// Never moves a deadline earlier, so that time granted by [`Leases::extend`] is kept.
    pub fn touch(&mut self, slot: u32, now: u32) -> bool {
        let Some(lease) = self.lease_mut(slot) else { return false };
        // Without a lease the deadline is the latest there is, so it stays.
        lease.deadline = deadline(now, lease.timeout).max(lease.deadline);
        lease.deadline != NEVER
    }

    fn lease_mut(&mut self, slot: u32) -> Option<&mut Lease> {
        let index = slot as usize;
        self.blocks.get_mut(index / BLOCK).map(|block| &mut block[index % BLOCK])
    }

    /// Disarm and return the slots whose deadline is at or before `now`, in ascending order.
    pub fn expire(&mut self, now: u32) -> Vec<u32> {
        let mut expired = Vec::new();
        for (number, bound) in self.bounds.iter_mut().enumerate() {
            if *bound <= now.min(LATEST) {
                *bound = expire_block(&mut self.blocks[number], number, now, &mut expired);
            }
        }
        expired
    }

    /// How many slots [`Leases::expire`] would return, without changing anything.
    #[must_use]
    pub fn due(&self, now: u32) -> usize {
        let now = now.min(LATEST);
        let late = self.bounds.iter().zip(&self.blocks).filter(|(bound, _)| **bound <= now);
        late.map(|(_, block)| block.iter().filter(|lease| lease.deadline <= now).count()).sum()
    }

    /// Move every deadline later by `ticks`.
    pub fn extend(&mut self, ticks: u32) {
        let leases = self.blocks.iter_mut().flatten().map(|lease| &mut lease.deadline);
        for deadline in leases.chain(&mut self.bounds).filter(|deadline| **deadline != NEVER) {
            *deadline = self::deadline(*deadline, ticks);
        }
    }

    /// No slot expires before this tick; `None` when nothing is armed.
    ///
    /// It can be earlier than the first deadline after touches and disarms; [`Leases::expire`] at that tick makes
    /// it exact again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u32> {
        self.bounds.iter().copied().min().filter(|bound| *bound != NEVER)
    }
}

/// The sum, at most [`LATEST`]; written so that only one comparison depends on the timeout.
fn deadline(now: u32, timeout: u32) -> u32 {
    let now = now.min(LATEST);
    now + timeout.min(LATEST - now)
}

/// Returns the exact bound of the block.
fn expire_block(block: &mut [Lease; BLOCK], number: usize, now: u32, expired: &mut Vec<u32>) -> u32 {
    let mut bound = NEVER;
    for (place, lease) in block.iter_mut().enumerate() {
        if lease.deadline <= now.min(LATEST) {
            *lease = NONE;
            expired.extend(u32::try_from(number * BLOCK + place));
        }
        bound = bound.min(lease.deadline);
    }
    bound
}
