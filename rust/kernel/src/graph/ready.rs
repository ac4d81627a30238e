//! Ready-set streaming: a node may start the moment its own dependencies are done.

use super::Csr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    HandedOut,
    Done,
    /// Failed itself, or behind something that did.
    Lost,
}

/// Which nodes may start now (Kahn 1962, one node at a time).
///
/// Every node is handed out at most once, and only after all its dependencies are done. Nodes in or behind a cycle
/// are never handed out. `graph` and `dependents` are given to each call because they do not change.
#[derive(Clone, Debug)]
pub struct ReadySet {
    progress: Vec<Progress>,
    /// Edges to dependencies that are not done.
    missing: Vec<u32>,
    /// Waiting nodes without missing dependencies that were not handed out yet.
    fresh: Vec<u32>,
}

impl ReadySet {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(graph: &Csr) -> Self {
        let degree = |node| u32::try_from(graph.row(node).len()).unwrap_or(u32::MAX);
        let missing: Vec<u32> = graph.nodes().map(degree).collect();
        let fresh = graph.nodes().filter(|node| missing[*node as usize] == 0).collect();
        Self { progress: vec![Progress::Waiting; graph.len()], missing, fresh }
    }

    /// Hand out what may start and was not handed out before, ascending.
    pub fn ready(&mut self) -> Vec<u32> {
        let mut nodes = std::mem::take(&mut self.fresh);
        nodes.retain(|node| self.hand_out(*node));
        nodes
    }

    fn hand_out(&mut self, node: u32) -> bool {
        let progress = &mut self.progress[node as usize];
        let waiting = *progress == Progress::Waiting;
        if waiting {
            *progress = Progress::HandedOut;
        }
        waiting
    }

    /// The node is done. Hands out what may start because of it, ascending.
    ///
    /// It need not have been handed out (something may run already); it will not be then. Done twice, or after a
    /// failure, changes nothing.
    pub fn done(&mut self, dependents: &Csr, node: u32) -> Vec<u32> {
        if matches!(self.progress[node as usize], Progress::Done | Progress::Lost) {
            return Vec::new();
        }
        self.progress[node as usize] = Progress::Done;
        let mut startable = Vec::new();
        for dependent in dependents.row(node) {
            let missing = &mut self.missing[*dependent as usize];
            *missing -= 1;
            if *missing == 0 && self.hand_out(*dependent) {
                startable.push(*dependent);
            }
        }
        startable
    }

    /// The node will not be done. Returns the waiting nodes that thereby never can start, nearest first, each once.
    ///
    /// Nodes that were handed out or done are not affected, and nothing behind them is. Final.
    pub fn fail(&mut self, dependents: &Csr, node: u32) -> Vec<u32> {
        self.progress[node as usize] = Progress::Lost;
        let mut lost: Vec<u32> = Vec::new();
        let mut next = 0;
        let mut node = node;
        loop {
            for dependent in dependents.row(node) {
                if self.progress[*dependent as usize] == Progress::Waiting {
                    self.progress[*dependent as usize] = Progress::Lost;
                    lost.push(*dependent);
                }
            }
            let Some(following) = lost.get(next) else { return lost };
            node = *following;
            next += 1;
        }
    }
}
