//! Depth-first order with one byte per node: the road taken when nothing is cyclic, which is nearly always.

use super::Csr;

/// In the order, or left out by the caller.
pub(super) const CLOSED: u8 = 0;
/// Not seen yet.
pub(super) const NEW: u8 = 1;
const OPEN: u8 = 2;

/// Room for a path that is seldom longer; a longer one grows.
const USUAL_DEPTH: usize = 64;

/// The nodes that are [`NEW`] in postorder (dependencies first, roots ascending), or `None` when an edge leads back
/// to an open node. `states` has a byte for each node; all that are not [`NEW`] are [`CLOSED`].
pub(super) fn postorder(graph: &Csr, mut states: Vec<u8>) -> Option<Vec<u32>> {
    let mut order = Vec::with_capacity(graph.len());
    // The open nodes but the last, each with the rest of its row.
    let mut path = Vec::with_capacity(graph.len().min(USUAL_DEPTH));
    let mut root = 0;
    while let Some(found) = next_root(&states, root) {
        root = found;
        let mut node = u32::try_from(root).ok()?;
        let mut row = graph.row(node).iter();
        states[root] = OPEN;
        loop {
            let Some(target) = row.next() else {
                states[node as usize] = CLOSED;
                order.push(node);
                let Some(parent) = path.pop() else { break };
                (node, row) = parent;
                continue;
            };
            let state = &mut states[*target as usize];
            match *state {
                CLOSED => {}
                OPEN => return None,
                _ => {
                    *state = OPEN;
                    path.push((node, row));
                    (node, row) = (*target, graph.row(*target).iter());
                }
            }
        }
    }
    Some(order)
}

/// The first new node from `start` on, given that none is open. Eight at a time: whether a root was reached before
/// is as good as random, and wrongly predicted branches are what a search costs.
#[inline]
fn next_root(states: &[u8], start: usize) -> Option<usize> {
    let (words, rest) = states.get(start..)?.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        if word != 0 {
            return Some(start + number * 8 + word.trailing_zeros() as usize / 8);
        }
    }
    let offset = rest.iter().position(|state| *state != CLOSED)?;
    Some(start + words.len() * 8 + offset)
}
