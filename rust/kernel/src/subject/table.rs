//! Patterns with listeners, and the answers of late.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::cache::Cache;
use super::pattern::{Pattern, Step, Subject};
use super::trie::Trie;

/// First tokens share so many generations: as many as a byte of their hash has values.
const GENERATIONS: usize = 1 << u8::BITS;

/// Who listens to what. `V` is what the caller makes of an answer and wants to have again the next time.
#[derive(Clone, Debug)]
pub struct Table<V> {
    trie: Trie,
    cache: Cache<V>,
    generations: Box<[u64; GENERATIONS]>,
    /// Of the patterns that begin with a wildcard.
    everywhere: u64,
    /// How many pairs were added and removed.
    changes: u64,
    hasher: RandomState,
}

/// What [`Table::collect`] found, at one moment.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who listens: ascending, each once.
    pub listeners: Vec<u64>,
    /// How many nodes of the trie were looked at.
    pub visited: usize,
    changes: u64,
}

impl<V> Table<V> {
    /// A table without patterns. Its cache holds `capacity` subjects and listeners together, and no answer that is more
    /// than an eighth of that.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            trie: Trie::new(),
            cache: Cache::new(capacity),
            generations: Box::new([0; GENERATIONS]),
            everywhere: 0,
            changes: 0,
            hasher: RandomState::default(),
        }
    }

    /// How many pairs of a pattern and a listener there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.trie.len()
    }

    /// True when there is no pattern.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many nodes the trie has: 1 when it is empty.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.trie.nodes()
    }

    /// How many answers the cache has, stale ones too.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// How many subjects and listeners the cache has, stale ones too: at most its capacity.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.cache.weight()
    }

    /// Let `listener` listen to `pattern`; false when it does already.
    ///
    /// O(tokens), and a move of the greater listeners of the same pattern.
    ///
    /// # Panics
    /// When there are `u32::MAX` nodes.
    pub fn add(&mut self, pattern: Pattern<'_>, listener: u64) -> bool {
        let added = self.trie.add(pattern, listener);
        if added {
            self.changed(pattern);
        }
        added
    }

    /// Let `listener` no longer listen to `pattern`; false when it does not. Cost as [`Table::add`].
    pub fn remove(&mut self, pattern: Pattern<'_>, listener: u64) -> bool {
        let removed = self.trie.remove(pattern, listener);
        if removed {
            self.changed(pattern);
        }
        removed
    }

    /// What was kept for a subject, if it still holds. Any text can be asked for: only valid subjects are kept.
    #[inline]
    pub fn find(&mut self, subject: &str) -> Option<&V> {
        let stamp = self.stamp(subject);
        self.cache.find(subject, stamp)
    }

    /// Find out who listens to a subject, without the cache. O(nodes that match the beginning, answer log answer).
    #[must_use]
    pub fn collect(&self, subject: Subject<'_>) -> Answer {
        let mut listeners = Vec::new();
        let visited = self.trie.collect(subject, &mut listeners);
        listeners.sort_unstable();
        listeners.dedup();
        Answer { listeners, visited, changes: self.changes }
    }

    /// Keep what was made of an answer to `subject`, and return it; or what somebody else has kept in the meantime,
    /// when that still holds. `None`, and nothing is kept, when the answer no longer is one, or is too large.
    pub fn keep(&mut self, subject: Subject<'_>, answer: &Answer, value: V) -> Option<&V> {
        let subject = subject.as_str();
        let stamp = self.stamp(subject);
        if self.cache.has(subject, stamp) {
            return self.cache.find(subject, stamp);
        }
        // A pattern without wildcards that came in between has not moved the stamp.
        if answer.changes != self.changes {
            return None;
        }
        self.cache.keep(subject, stamp, answer.listeners.len() + 1, value)
    }

    /// Both grow only, so their sum is the same when, and only when, both are.
    fn stamp(&self, subject: &str) -> u64 {
        let first = subject.split('.').next().unwrap_or_default();
        self.everywhere + self.generations[self.generation_of(first)]
    }

    fn generation_of(&self, token: &str) -> usize {
        usize::from(self.hasher.hash_one(token).to_le_bytes()[0])
    }

    fn changed(&mut self, pattern: Pattern<'_>) {
        self.changes += 1;
        match (pattern.subject(), pattern.steps().next()) {
            (Some(subject), _) => self.cache.forget(subject.as_str()),
            (None, Some(Step::Exactly(first))) => self.generations[self.generation_of(first)] += 1,
            (None, _) => self.everywhere += 1,
        }
    }
}
