//! One concrete cycle out of a strongly connected component, for people to read: the shortest one.

use std::collections::VecDeque;

use super::Csr;
use super::tarjan::Components;

/// Edges that may be walked before a search for a still shorter cycle is given up, if the graph has fewer.
const LEAST_BUDGET: usize = 1 << 14;

/// Breadth-first searches inside components. The arrays are reused from one search to the next.
pub(super) struct CycleFinder<'a> {
    graph: &'a Csr,
    components: &'a Components,
    came_from: Vec<u32>,
    seen_by: Vec<u32>,
    queue: VecDeque<(u32, usize)>,
    budget: usize,
}

impl<'a> CycleFinder<'a> {
    pub(super) fn new(graph: &'a Csr, components: &'a Components) -> Self {
        let nodes = graph.len();
        let (came_from, seen_by) = (vec![0; nodes], vec![u32::MAX; nodes]);
        let budget = graph.targets().len().max(LEAST_BUDGET);
        Self { graph, components, came_from, seen_by, queue: VecDeque::new(), budget }
    }

    /// The shortest cycle of the cyclic component with these nodes, in edge order from its lowest node on.
    ///
    /// Every cycle goes through a head, so it is enough to search from those. Components with very many of them use
    /// up the budget (of all components together: a resolve stays linear); then it is the shortest one found.
    pub(super) fn shortest(&mut self, members: &[u32]) -> Vec<u32> {
        let mut heads: Vec<u32> = members.iter().copied().filter(|node| self.is_head(*node)).collect();
        heads.sort_unstable();
        let mut best = Vec::new();
        for head in heads {
            let limit = if best.is_empty() { usize::MAX } else { best.len() };
            best = self.through(head, limit).unwrap_or(best);
            if best.len() == 1 || self.budget == 0 {
                break;
            }
        }
        let lowest = (0..best.len()).min_by_key(|place| best[*place]);
        best.rotate_left(lowest.unwrap_or(0));
        best
    }

    fn is_head(&self, node: u32) -> bool {
        self.components.heads[node as usize]
    }

    /// The shortest cycle through `start`, if it has fewer than `limit` nodes.
    fn through(&mut self, start: u32, limit: usize) -> Option<Vec<u32>> {
        let component = self.components.of[start as usize];
        self.queue.clear();
        self.queue.push_back((start, 1));
        while let Some((node, length)) = self.queue.pop_front() {
            if length >= limit {
                return None;
            }
            let row = self.graph.row(node);
            self.budget = self.budget.saturating_sub(row.len());
            for target in row {
                if *target == start {
                    return Some(self.path(start, node, length));
                }
                if self.components.of[*target as usize] == component
                    && std::mem::replace(&mut self.seen_by[*target as usize], start) != start
                {
                    self.came_from[*target as usize] = node;
                    self.queue.push_back((*target, length + 1));
                }
            }
        }
        None
    }

    fn path(&self, start: u32, end: u32, length: usize) -> Vec<u32> {
        let mut path = Vec::with_capacity(length);
        let mut node = end;
        path.push(node);
        while node != start {
            node = self.came_from[node as usize];
            path.push(node);
        }
        path.reverse();
        path
    }
}
