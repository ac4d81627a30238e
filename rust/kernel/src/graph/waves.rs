//! Startup waves: what can start at the same time.

use super::{Csr, resolve};

/// Group the nodes that can start by the length of their longest chain of dependencies; ascending in each wave.
///
/// Nodes in or behind a cycle are in no wave.
#[must_use]
pub fn waves(graph: &Csr) -> Vec<Vec<u32>> {
    let order = resolve(graph).order;
    let levels = levels(graph, &order);
    let mut waves: Vec<Vec<u32>> = Vec::new();
    let mut sizes: Vec<usize> = Vec::new();
    for node in &order {
        let level = levels[*node as usize] as usize;
        // Dependencies come first in the order, so a level is never skipped.
        if level > sizes.len() {
            sizes.push(0);
        }
        sizes[level - 1] += 1;
    }
    waves.extend(sizes.into_iter().map(Vec::with_capacity));
    for node in graph.nodes() {
        if let Some(level) = levels[node as usize].checked_sub(1) {
            waves[level as usize].push(node);
        }
    }
    waves
}

/// By node: the number of its wave from 1, or 0 for a node that is not in the order.
fn levels(graph: &Csr, order: &[u32]) -> Vec<u32> {
    let mut levels = vec![0; graph.len()];
    for node in order {
        let below = graph.row(*node).iter().map(|target| levels[*target as usize]).max();
        levels[*node as usize] = below.unwrap_or(0) + 1;
    }
    levels
}
