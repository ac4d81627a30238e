//! Random graphs, and the plain definitions that the kernels are compared with.

#[path = "../models/graph.rs"]
#[allow(dead_code, reason = "not every test that includes this module needs all of it")]
mod definitions;

use proptest::collection::vec;
use proptest::prelude::*;

#[allow(unused_imports, reason = "not every test that includes this module needs them")]
pub use definitions::*;

/// Up to `nodes` nodes with up to three edges each; small ones are often cyclic.
pub fn rows(nodes: u32) -> impl Strategy<Value = Vec<Vec<u32>>> {
    (0..=nodes).prop_flat_map(|n| vec(vec(0..n.max(1), 0..4), n as usize))
}
