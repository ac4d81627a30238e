//! Who is affected.

use super::Csr;

/// Every node that can be reached from `start` over one edge or more, nearest first, ties in row order.
///
/// `start` itself is among them only when it lies on a cycle.
#[must_use]
pub fn reachable(graph: &Csr, start: u32) -> Vec<u32> {
    let mut seen = vec![false; graph.len()];
    let mut found: Vec<u32> = Vec::new();
    let mut next = 0;
    let mut node = start;
    loop {
        for target in graph.row(node) {
            if !std::mem::replace(&mut seen[*target as usize], true) {
                found.push(*target);
            }
        }
        let Some(following) = found.get(next) else { return found };
        node = *following;
        next += 1;
    }
}
