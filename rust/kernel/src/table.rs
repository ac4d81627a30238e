//! The head of the registry: which instances exist, in which state, with which lease.
//!
//! A slot per instance, found by component id and instance. Each operation is one fused step that either happens or
//! changes nothing. Slots are small numbers and are used again after [`Table::remove`].

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smol_str::SmolStr;

use crate::lease::Leases;
use crate::lifecycle::State;

/// Why an instance cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// This very instance is present.
    Present,
    /// As many live instances as are allowed exist already; the first of them.
    Full(u128),
}

/// Why a transition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionError {
    /// No such instance of this component.
    Unknown,
    /// The lifecycle has no such step from this state.
    Illegal(State),
}

/// What a heartbeat found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The instance, in this state.
    Known(State),
    /// The component is known, but by other instances.
    Stale,
    /// No such component.
    Unknown,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// By component id: the slot of its oldest instance. The others follow from there.
    oldest: HashTable<u32>,
    hasher: RandomState,
    leases: Leases,
}

/// All that a lookup reads is in one cache line: that, and not the work done, is what a step on thousands of
/// components costs. (Ids of up to 23 bytes are in it; longer ones are a line away.)
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Slot {
    id: SmolStr,
    instance: u128,
    state: State,
    /// The slot of the next younger instance of the same component.
    younger: Option<u32>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Add an instance and return its slot.
    ///
    /// # Errors
    /// [`AddError`]; nothing is changed then.
    ///
    /// # Panics
    /// When there are `u32::MAX` instances.
    pub fn add(&mut self, id: &str, instance: u128, state: State, limit: usize) -> Result<u32, AddError> {
        self.check_room(id, instance, limit)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 instances")
        });
        self.slots[slot as usize] = Some(Slot { id: SmolStr::new(id), instance, state, younger: None });
        if let Some(youngest) = self.slots_of(id).last() {
            self.set_younger(youngest, Some(slot));
        } else {
            let Self { slots, oldest, hasher, .. } = self;
            let hash = |slot: &u32| hasher.hash_one(id_in(slots, *slot));
            oldest.insert_unique(hash(&slot), slot, hash);
        }
        Ok(slot)
    }

    fn set_younger(&mut self, slot: u32, younger: Option<u32>) {
        if let Some(held) = &mut self.slots[slot as usize] {
            held.younger = younger;
        }
    }

    fn check_room(&self, id: &str, instance: u128, limit: usize) -> Result<(), AddError> {
        let held = || self.slots_of(id).filter_map(|slot| self.slot(slot));
        if held().any(|slot| slot.instance == instance) {
            return Err(AddError::Present);
        }
        let mut live = held().filter(|slot| !slot.state.ended());
        match (live.next(), live.count() + 1 >= limit) {
            (Some(holder), true) => Err(AddError::Full(holder.instance)),
            _ => Ok(()),
        }
    }

    /// Remove the instance in `slot`; false when the slot is empty.
    pub fn remove(&mut self, slot: u32) -> bool {
        let Some(Slot { id, younger, .. }) = self.slot(slot).cloned() else { return false };
        match self.slots_of(&id).take_while(|other| *other != slot).last() {
            Some(older) => self.set_younger(older, younger),
            None => self.replace_oldest(&id, younger),
        }
        self.slots[slot as usize] = None;
        self.leases.disarm(slot);
        self.free.push(slot);
        true
    }

    fn replace_oldest(&mut self, id: &str, successor: Option<u32>) {
        let Self { slots, oldest, hasher, .. } = self;
        let Ok(mut entry) = oldest.find_entry(hasher.hash_one(id), |slot| id_in(slots, *slot) == id) else {
            return;
        };
        match successor {
            Some(slot) => *entry.get_mut() = slot,
            None => drop(entry.remove()),
        }
    }

    /// The slot of an instance.
    #[must_use]
    pub fn find(&self, id: &str, instance: u128) -> Option<u32> {
        self.slots_of(id).find(|slot| self.slot(*slot).is_some_and(|held| held.instance == instance))
    }

    /// The slots of a component's instances, in order of arrival.
    #[inline]
    pub fn slots_of(&self, id: &str) -> impl Iterator<Item = u32> {
        let hash = self.hasher.hash_one(id);
        let oldest = self.oldest.find(hash, |slot| id_in(&self.slots, *slot) == id).copied();
        std::iter::successors(oldest, |slot| self.slot(*slot)?.younger)
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The component id and the instance in `slot`.
    #[must_use]
    pub fn identity(&self, slot: u32) -> Option<(&str, u128)> {
        self.slot(slot).map(|held| (&*held.id, held.instance))
    }

    /// The state of the instance in `slot`.
    #[must_use]
    pub fn state(&self, slot: u32) -> Option<State> {
        self.slot(slot).map(|held| held.state)
    }

    /// Find the instance, check the step against the lifecycle, store it. Returns the slot and the former state.
    ///
    /// # Errors
    /// [`TransitionError`]; nothing is changed then.
    pub fn transition(
        &mut self,
        id: &str,
        instance: u128,
        next: State,
    ) -> Result<(u32, State), TransitionError> {
        let slot = self.find(id, instance).ok_or(TransitionError::Unknown)?;
        let state = self.state_mut(slot).ok_or(TransitionError::Unknown)?;
        if !state.may_become(next) {
            return Err(TransitionError::Illegal(*state));
        }
        Ok((slot, std::mem::replace(state, next)))
    }

    /// Store a state without a check (to undo). Returns the former state, `None` when the slot is empty.
    pub fn set_state(&mut self, slot: u32, next: State) -> Option<State> {
        self.state_mut(slot).map(|state| std::mem::replace(state, next))
    }

    fn state_mut(&mut self, slot: u32) -> Option<&mut State> {
        self.slots.get_mut(slot as usize)?.as_mut().map(|held| &mut held.state)
    }

    /// A heartbeat of an instance at tick `now`: moves its deadline when it has a lease.
    pub fn touch(&mut self, id: &str, instance: u128, now: u32) -> Beat {
        let mut missing = Beat::Unknown;
        let found = self.slots_of(id).find_map(|slot| {
            missing = Beat::Stale;
            let held = self.slot(slot).filter(|held| held.instance == instance)?;
            Some((slot, held.state))
        });
        let Some((slot, state)) = found else { return missing };
        self.leases.touch(slot, now);
        Beat::Known(state)
    }

    /// The leases of all slots. An empty slot has none.
    #[must_use]
    pub const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The leases, to change them. Arm only slots that are in use.
    pub const fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }
}

fn id_in(slots: &[Option<Slot>], slot: u32) -> &str {
    slots[slot as usize].as_ref().map_or("", |held| &held.id)
}
