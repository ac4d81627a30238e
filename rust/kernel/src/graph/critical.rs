//! The critical path: what the start cannot be faster than.

use super::{Csr, resolve};

/// The chain of dependencies with the largest total of `weights`, dependencies first.
///
/// Ties go to the chain whose last node is earlier in the start order, then to the dependency that stands first in
/// its row. Nodes in or behind a cycle do not count. Empty for an empty graph.
#[must_use]
pub fn critical_path(graph: &Csr, weights: &[f64]) -> Vec<u32> {
    let order = resolve(graph).order;
    let mut totals = vec![0.0; graph.len()];
    for node in &order {
        let before = longest(graph.row(*node), &totals).map_or(0.0, |dependency| totals[dependency as usize]);
        totals[*node as usize] = before + weights[*node as usize];
    }
    let mut path: Vec<u32> = Vec::new();
    let mut next = longest(&order, &totals);
    while let Some(node) = next {
        path.push(node);
        next = longest(graph.row(node), &totals);
    }
    path.reverse();
    path
}

/// The first of the nodes with the largest total.
fn longest(nodes: &[u32], totals: &[f64]) -> Option<u32> {
    let larger = |best: u32, node: &u32| {
        if totals[*node as usize] > totals[best as usize] { *node } else { best }
    };
    let (first, rest) = nodes.split_first()?;
    Some(rest.iter().fold(*first, larger))
}
