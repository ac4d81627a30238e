//! A bounded cache of answers by subject, each with a stamp. Evicted by a clock hand (Corbató 1968).

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smol_str::SmolStr;

/// An answer weighs at most this part of the capacity, so that one cannot push out all others.
const LARGEST_PART: usize = 8;

/// Values with weights whose sum is at most the capacity.
#[derive(Clone, Debug)]
pub struct Cache<V> {
    places: Vec<Option<Entry<V>>>,
    free: Vec<u32>,
    by_subject: HashTable<u32>,
    hasher: RandomState,
    hand: usize,
    weight: usize,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    subject: SmolStr,
    stamp: u64,
    weight: usize,
    /// Since the hand last came by.
    used: bool,
    value: V,
}

impl<V> Cache<V> {
    pub fn new(capacity: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_subject: HashTable::new(),
            hasher: RandomState::default(),
            hand: 0,
            weight: 0,
            capacity,
        }
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// The value of a subject, if its stamp is this one.
    #[inline]
    pub fn find(&mut self, subject: &str, stamp: u64) -> Option<&V> {
        let place = self.place(subject)?;
        let entry = self.places[place as usize].as_mut().filter(|entry| entry.stamp == stamp)?;
        entry.used = true;
        Some(&entry.value)
    }

    /// Is there a value with this stamp? That does not count as its use.
    pub fn has(&self, subject: &str, stamp: u64) -> bool {
        let entry = self.place(subject).and_then(|place| self.places[place as usize].as_ref());
        entry.is_some_and(|entry| entry.stamp == stamp)
    }

    /// Keep a value, in place of any that the subject had; unless it is too heavy.
    pub fn keep(&mut self, subject: &str, stamp: u64, weight: usize, value: V) -> Option<&V> {
        self.forget(subject);
        if weight > self.capacity / LARGEST_PART {
            return None;
        }
        while self.weight + weight > self.capacity {
            self.evict();
        }
        self.weight += weight;
        let entry = Some(Entry { subject: SmolStr::new(subject), stamp, weight, used: false, value });
        let place = if let Some(place) = self.free.pop() {
            self.places[place as usize] = entry;
            place
        } else {
            self.places.push(entry);
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 answers")
        };
        let Self { places, by_subject, hasher, .. } = self;
        let hash = |place: &u32| hasher.hash_one(subject_in(places, *place));
        by_subject.insert_unique(hash(&place), place, hash);
        self.places[place as usize].as_ref().map(|entry| &entry.value)
    }

    /// Drop the value of a subject.
    pub fn forget(&mut self, subject: &str) {
        if let Some(place) = self.place(subject) {
            self.release(place);
        }
    }

    #[inline]
    fn place(&self, subject: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(subject);
        self.by_subject.find(hash, |place| subject_in(&self.places, *place) == subject).copied()
    }

    /// Move the hand on to an entry that was not used since it last came by, and drop that. There must be an entry.
    fn evict(&mut self) {
        loop {
            self.hand = (self.hand + 1) % self.places.len();
            let Some(entry) = &mut self.places[self.hand] else { continue };
            if !std::mem::take(&mut entry.used) {
                let place = u32::try_from(self.hand).expect("fewer than 2^32 answers");
                return self.release(place);
            }
        }
    }

    fn release(&mut self, place: u32) {
        let Self { places, by_subject, hasher, .. } = self;
        let hash = hasher.hash_one(subject_in(places, place));
        if let Ok(entry) = by_subject.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        if let Some(entry) = places[place as usize].take() {
            self.weight -= entry.weight;
            self.free.push(place);
        }
    }
}

fn subject_in<V>(places: &[Option<Entry<V>>], place: u32) -> &str {
    places[place as usize].as_ref().map_or("", |entry| &entry.subject)
}
