//! The subject table as a list of pairs, and patterns by definition. Shared with the fuzz target of the same name.

use tekton_kernel::subject::{Pattern, Subject, Table};

/// A call to the table. Texts need not be valid.
#[derive(Clone, Debug)]
pub enum Step {
    Add(String, u64),
    Remove(String, u64),
    Match(String),
    /// A match in whose middle a listener is added to, or removed from, a pattern.
    Race(String, String, u64),
}

/// Does the pattern match the subject? Token by token, from the front.
pub fn matches(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([], []) | ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, subject @ ..]) => matches(pattern, subject),
        ([first, pattern @ ..], [token, subject @ ..]) => first == token && matches(pattern, subject),
        _ => false,
    }
}

/// The tokens of a text.
pub fn tokens(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

/// Is the text a pattern? By the rules, one after another.
pub fn is_pattern(text: &str) -> bool {
    let tokens = tokens(text);
    let wildcard = |token: &&str| matches!(*token, "*" | ">");
    text.len() <= 255
        && tokens.len() <= 16
        && !tokens.contains(&"")
        && !text.contains(|found: char| found.is_whitespace() || found.is_control())
        && tokens.iter().all(|token| wildcard(token) || !token.contains(['*', '>']))
        && tokens.iter().position(|token| *token == ">").is_none_or(|place| place == tokens.len() - 1)
}

/// Is the text a subject?
pub fn is_subject(text: &str) -> bool {
    is_pattern(text) && !text.contains(['*', '>'])
}

#[derive(Default)]
struct Model(Vec<(String, u64)>);

impl Model {
    fn has(&self, pattern: &str, listener: u64) -> bool {
        self.0.iter().any(|(other, held)| other == pattern && *held == listener)
    }

    fn add(&mut self, pattern: &str, listener: u64) -> bool {
        let added = !self.has(pattern, listener);
        if added {
            self.0.push((pattern.to_owned(), listener));
        }
        added
    }

    fn remove(&mut self, pattern: &str, listener: u64) -> bool {
        let removed = self.has(pattern, listener);
        self.0.retain(|(other, held)| other != pattern || *held != listener);
        removed
    }

    fn listeners(&self, subject: &str) -> Vec<u64> {
        let matching = self.0.iter().filter(|(pattern, _)| matches(&tokens(pattern), &tokens(subject)));
        let mut listeners: Vec<u64> = matching.map(|(_, listener)| *listener).collect();
        listeners.sort_unstable();
        listeners.dedup();
        listeners
    }

    /// One for the root, and one for each beginning of a pattern; `>` has none.
    fn nodes(&self) -> usize {
        let mut beginnings: Vec<Vec<&str>> = vec![Vec::new()];
        for (pattern, _) in &self.0 {
            let steps: Vec<&str> = tokens(pattern).into_iter().filter(|token| *token != ">").collect();
            beginnings.extend((1..=steps.len()).map(|length| steps[..length].to_vec()));
        }
        beginnings.sort_unstable();
        beginnings.dedup();
        beginnings.len()
    }
}

/// A table whose kept answers are the listeners themselves, beside the model.
struct Pair {
    table: Table<Vec<u64>>,
    model: Model,
    capacity: usize,
}

impl Pair {
    fn add(&mut self, text: &str, listener: u64) {
        let pattern = Pattern::parse(text);
        assert_eq!(pattern.is_ok(), is_pattern(text), "{text:?}");
        if let Ok(pattern) = pattern {
            assert_eq!(self.table.add(pattern, listener), self.model.add(text, listener), "{text:?}");
        }
    }

    fn remove(&mut self, text: &str, listener: u64) {
        if let Ok(pattern) = Pattern::parse(text) {
            assert_eq!(self.table.remove(pattern, listener), self.model.remove(text, listener), "{text:?}");
        }
    }

    /// A match in two steps, as a caller does who lets go of the table in between, with something `between`.
    fn ask(&mut self, text: &str, between: impl FnOnce(&mut Self)) {
        let subject = Subject::parse(text);
        assert_eq!(subject.is_ok(), is_subject(text), "{text:?}");
        let found = self.table.find(text).cloned();
        let Ok(subject) = subject else { return assert_eq!(found, None) };
        let answer = self.table.collect(subject);
        assert_eq!(answer.listeners, self.model.listeners(text), "{text:?}");
        if let Some(found) = found {
            assert_eq!(found, answer.listeners, "{text:?} has a stale answer");
        }
        assert!(answer.visited <= self.table.nodes().min(2 << tokens(text).len()));
        between(self);
        let kept = self.table.keep(subject, &answer, answer.listeners.clone()).cloned();
        assert_eq!(self.table.find(text).cloned(), kept);
        if let Some(kept) = kept {
            assert_eq!(kept, self.model.listeners(text), "{text:?} has a stale answer");
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.0.len());
        assert_eq!(self.table.is_empty(), self.model.0.is_empty());
        assert_eq!(self.table.nodes(), self.model.nodes());
        assert!(self.table.weight() <= self.capacity);
        assert!(self.table.cached() <= self.table.weight());
    }
}

/// Take the same steps with a table whose cache has this capacity, and with the model.
///
/// # Panics
/// When they differ.
pub fn follow(capacity: usize, steps: impl IntoIterator<Item = Step>) {
    let mut pair = Pair { table: Table::new(capacity), model: Model::default(), capacity };
    for step in steps {
        match step {
            Step::Add(pattern, listener) => pair.add(&pattern, listener),
            Step::Remove(pattern, listener) => pair.remove(&pattern, listener),
            Step::Match(subject) => pair.ask(&subject, |_| ()),
            Step::Race(subject, pattern, listener) => pair.ask(&subject, |pair| {
                if pair.model.has(&pattern, listener) {
                    pair.remove(&pattern, listener);
                } else {
                    pair.add(&pattern, listener);
                }
            }),
        }
        pair.check();
    }
    for (pattern, listener) in std::mem::take(&mut pair.model.0) {
        assert!(pair.table.remove(Pattern::parse(&pattern).expect("it was added"), listener));
    }
    pair.check();
}
