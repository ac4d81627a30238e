//! Random graphs, and the plain definitions that the kernels are compared with.

use proptest::collection::vec;
use proptest::prelude::*;

/// Up to `nodes` nodes with up to three edges each; small ones are often cyclic.
pub fn rows(nodes: u32) -> impl Strategy<Value = Vec<Vec<u32>>> {
    (0..=nodes).prop_flat_map(|n| vec(vec(0..n.max(1), 0..4), n as usize))
}

/// `reach[a][b]`: the least number of edges from a to b, at least one; `None` without a way.
#[allow(dead_code, reason = "not every test that includes this module needs it")]
pub fn distances(rows: &[Vec<u32>]) -> Vec<Vec<Option<usize>>> {
    let n = rows.len();
    let mut distance = vec![vec![None; n]; n];
    for (node, row) in rows.iter().enumerate() {
        for target in row {
            distance[node][*target as usize] = Some(1);
        }
    }
    for middle in 0..n {
        for a in 0..n {
            for b in 0..n {
                if let (Some(x), Some(y)) = (distance[a][middle], distance[middle][b])
                    && distance[a][b].is_none_or(|known| x + y < known)
                {
                    distance[a][b] = Some(x + y);
                }
            }
        }
    }
    distance
}

/// By node: can it start? Not when it reaches something that reaches itself.
#[allow(dead_code, reason = "not every test that includes this module needs it")]
pub fn startable(rows: &[Vec<u32>]) -> Vec<bool> {
    let distance = distances(rows);
    let cyclic = |node: usize| distance[node][node].is_some();
    let behind = |node: usize| (0..rows.len()).any(|other| distance[node][other].is_some() && cyclic(other));
    (0..rows.len()).map(|node| !cyclic(node) && !behind(node)).collect()
}
