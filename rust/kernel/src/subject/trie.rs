//! Patterns by token, each with its listeners.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smol_str::SmolStr;

use super::pattern::{MAX_TOKENS, Pattern, Step, Subject};

const ROOT: u32 = 0;
/// No node has this number.
const NONE: u32 = u32::MAX;

/// The trie. A node that leads to no listener is removed.
#[derive(Clone, Debug)]
pub struct Trie {
    nodes: Vec<Node>,
    /// Places in `nodes` that are not in use.
    free: Vec<u32>,
    /// The nodes that a token leads to, by parent and token: one table, not one for each node.
    children: HashTable<u32>,
    hasher: RandomState,
    /// How many pairs of a pattern and a listener there are.
    pairs: usize,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    /// `None` for the node that `*` leads to.
    token: Option<SmolStr>,
    /// Where `*` leads to.
    one: u32,
    /// How many nodes have this one as parent.
    children: u32,
    /// Who listens to the pattern that ends here; ascending.
    listeners: Vec<u64>,
    /// Who listens to the pattern that goes on with `>` and ends; ascending.
    rest: Vec<u64>,
}

impl Node {
    const fn new(parent: u32, token: Option<SmolStr>) -> Self {
        Self { parent, token, one: NONE, children: 0, listeners: Vec::new(), rest: Vec::new() }
    }

    const fn is_empty(&self) -> bool {
        self.children == 0 && self.listeners.is_empty() && self.rest.is_empty()
    }
}

impl Trie {
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::new(NONE, None)],
            free: Vec::new(),
            children: HashTable::new(),
            hasher: RandomState::default(),
            pairs: 0,
        }
    }

    pub const fn len(&self) -> usize {
        self.pairs
    }

    pub const fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// False when the pair is present. O(tokens), and a move of the greater listeners of the same pattern.
    pub fn add(&mut self, pattern: Pattern<'_>, listener: u64) -> bool {
        let node = pattern.steps().fold(ROOT, |node, step| self.descend(node, step));
        let listeners = self.listeners_mut(node, pattern);
        let Err(place) = listeners.binary_search(&listener) else { return false };
        listeners.insert(place, listener);
        self.pairs += 1;
        true
    }

    /// False when there is no such pair. Cost as [`Trie::add`].
    pub fn remove(&mut self, pattern: Pattern<'_>, listener: u64) -> bool {
        let Some(node) = pattern.steps().try_fold(ROOT, |node, step| self.follow(node, step)) else {
            return false;
        };
        let listeners = self.listeners_mut(node, pattern);
        let Ok(place) = listeners.binary_search(&listener) else { return false };
        listeners.remove(place);
        if listeners.len() < listeners.capacity() / 4 {
            listeners.shrink_to(listeners.len() * 2);
        }
        self.pairs -= 1;
        self.prune(node);
        true
    }

    /// Append the listeners of all patterns that match, in no order and perhaps repeatedly. Returns how many nodes it
    /// looked at, which is what it cost.
    pub fn collect(&self, subject: Subject<'_>, listeners: &mut Vec<u64>) -> usize {
        let (mut tokens, mut count) = ([""; MAX_TOKENS], 0);
        for (place, token) in tokens.iter_mut().zip(subject.tokens()) {
            *place = token;
            count += 1;
        }
        self.collect_from(ROOT, &tokens[..count], listeners)
    }

    /// No deeper than a subject has tokens.
    fn collect_from(&self, node: u32, tokens: &[&str], listeners: &mut Vec<u64>) -> usize {
        let here = &self.nodes[node as usize];
        let Some((token, tokens)) = tokens.split_first() else {
            listeners.extend_from_slice(&here.listeners);
            return 1;
        };
        listeners.extend_from_slice(&here.rest);
        let mut seen = 1;
        if here.one != NONE {
            seen += self.collect_from(here.one, tokens, listeners);
        }
        // A node with nothing but `*` after it is not worth a hash.
        if here.children > u32::from(here.one != NONE)
            && let Some(child) = self.child(node, token)
        {
            seen += self.collect_from(child, tokens, listeners);
        }
        seen
    }

    fn listeners_mut(&mut self, node: u32, pattern: Pattern<'_>) -> &mut Vec<u64> {
        let node = &mut self.nodes[node as usize];
        if pattern.steps().last() == Some(Step::Rest) { &mut node.rest } else { &mut node.listeners }
    }

    /// The node after `step`, if there is one. `>` leads nowhere: its listeners are where it begins.
    fn follow(&self, node: u32, step: Step<'_>) -> Option<u32> {
        match step {
            Step::Exactly(token) => self.child(node, token),
            Step::One => Some(self.nodes[node as usize].one).filter(|child| *child != NONE),
            Step::Rest => Some(node),
        }
    }

    fn descend(&mut self, node: u32, step: Step<'_>) -> u32 {
        self.follow(node, step).unwrap_or_else(|| match step {
            Step::Exactly(token) => self.grow(node, Some(SmolStr::new(token))),
            Step::One | Step::Rest => self.grow(node, None),
        })
    }

    fn child(&self, parent: u32, token: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((parent, token));
        self.children.find(hash, |child| self.nodes[*child as usize].is(parent, token)).copied()
    }

    fn grow(&mut self, parent: u32, token: Option<SmolStr>) -> u32 {
        let node = Node::new(parent, token);
        let number = if let Some(number) = self.free.pop() {
            self.nodes[number as usize] = node;
            number
        } else {
            self.nodes.push(node);
            let number = u32::try_from(self.nodes.len() - 1).ok().filter(|number| *number != NONE);
            number.expect("fewer than 2^32 - 1 nodes")
        };
        let above = &mut self.nodes[parent as usize];
        above.children += 1;
        if self.nodes[number as usize].token.is_some() {
            let Self { nodes, children, hasher, .. } = self;
            let hash = |number: &u32| nodes[*number as usize].hash(hasher);
            children.insert_unique(hash(&number), number, hash);
        } else {
            self.nodes[parent as usize].one = number;
        }
        number
    }

    /// Remove the node, and those above it, as far as they lead to no listener.
    fn prune(&mut self, mut number: u32) {
        while number != ROOT && self.nodes[number as usize].is_empty() {
            let parent = self.nodes[number as usize].parent;
            self.unlink(number);
            self.nodes[number as usize] = Node::new(NONE, None);
            self.free.push(number);
            self.nodes[parent as usize].children -= 1;
            number = parent;
        }
    }

    fn unlink(&mut self, number: u32) {
        let Self { nodes, children, hasher, .. } = self;
        let Node { parent, ref token, .. } = nodes[number as usize];
        if token.is_none() {
            nodes[parent as usize].one = NONE;
        } else if let Ok(entry) =
            children.find_entry(nodes[number as usize].hash(hasher), |child| *child == number)
        {
            entry.remove();
        }
    }
}

impl Node {
    fn is(&self, parent: u32, token: &str) -> bool {
        self.parent == parent && self.token.as_deref() == Some(token)
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((self.parent, self.token.as_deref().unwrap_or_default()))
    }
}
