//! Strongly connected components (Tarjan 1972, iterative).

use super::Csr;

/// The components of a graph, dependencies before dependents.
pub(super) struct Components {
    /// By node: the number of its component.
    pub(super) of: Vec<u32>,
    /// By node: true when an edge led back to it while it was open. Every cycle holds such a node.
    pub(super) heads: Vec<bool>,
    /// All nodes, component after component.
    nodes: Vec<u32>,
}

impl Components {
    /// The nodes of each component.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.nodes.chunk_by(|a, b| self.of[*a as usize] == self.of[*b as usize])
    }
}

const UNSEEN: u32 = 0;
/// The `low` of a node whose component is known: higher than any, so that it lowers nothing.
const DECIDED: u32 = u32::MAX;

/// Find the components.
pub(super) fn components(graph: &Csr) -> Components {
    let nodes = graph.len();
    let mut search = Search {
        graph,
        low: vec![UNSEEN; nodes],
        next: UNSEEN,
        path: Vec::new(),
        on_path: vec![false; nodes],
        undecided: Vec::new(),
        count: 0,
        found: Components { of: vec![0; nodes], heads: vec![false; nodes], nodes: Vec::with_capacity(nodes) },
    };
    for root in graph.nodes() {
        if search.low[root as usize] == UNSEEN {
            search.visit(root);
        }
    }
    search.found
}

struct Search<'a> {
    graph: &'a Csr,
    /// By node: the lowest visiting number known to be reachable from it.
    low: Vec<u32>,
    next: u32,
    path: Vec<Frame<'a>>,
    on_path: Vec<bool>,
    /// Visited nodes whose component is not known yet.
    undecided: Vec<u32>,
    count: u32,
    found: Components,
}

/// A node on the way down: its own visiting number and the rest of its row.
struct Frame<'a> {
    node: u32,
    number: u32,
    row: std::slice::Iter<'a, u32>,
}

impl Search<'_> {
    fn visit(&mut self, root: u32) {
        self.enter(root);
        while let Some(frame) = self.path.last_mut() {
            let Some(target) = frame.row.next() else {
                self.leave();
                continue;
            };
            match self.low[*target as usize] {
                UNSEEN => self.enter(*target),
                DECIDED => {}
                low => {
                    self.low[frame.node as usize] = low.min(self.low[frame.node as usize]);
                    self.found.heads[*target as usize] |= self.on_path[*target as usize];
                }
            }
        }
    }

    fn enter(&mut self, node: u32) {
        self.next += 1;
        self.low[node as usize] = self.next;
        self.on_path[node as usize] = true;
        self.undecided.push(node);
        self.path.push(Frame { node, number: self.next, row: self.graph.row(node).iter() });
    }

    fn leave(&mut self) {
        let Some(Frame { node, number, .. }) = self.path.pop() else { return };
        self.on_path[node as usize] = false;
        if self.low[node as usize] == number {
            self.close(node);
        }
        if let Some(parent) = self.path.last() {
            self.low[parent.node as usize] = self.low[parent.node as usize].min(self.low[node as usize]);
        }
    }

    /// The component consists of `first` and all that came after it.
    fn close(&mut self, first: u32) {
        while let Some(member) = self.undecided.pop() {
            self.low[member as usize] = DECIDED;
            self.found.of[member as usize] = self.count;
            self.found.nodes.push(member);
            if member == first {
                break;
            }
        }
        self.count += 1;
    }
}
