//! The start order of a graph, and what prevents one.

use super::Csr;
use super::cycle::CycleFinder;
use super::dfs::{CLOSED, NEW, postorder};
use super::tarjan::{Components, components};

/// In which order nodes can start, and why some cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Every node that can start, dependencies first. Nodes in or behind a cycle are left out.
    ///
    /// It is the postorder of a depth-first search over these nodes: roots ascending, edges in row order.
    pub order: Vec<u32>,
    /// One cycle in edge order per strongly connected component that has one, by the component's lowest node.
    pub cycles: Vec<Vec<u32>>,
}

/// Resolve a graph. O(nodes + edges); a cyclic one takes two or three times as long.
#[must_use]
pub fn resolve(graph: &Csr) -> Resolution {
    match postorder(graph, vec![NEW; graph.len()]) {
        Some(order) => Resolution { order, cycles: Vec::new() },
        None => resolve_cyclic(graph),
    }
}

fn resolve_cyclic(graph: &Csr) -> Resolution {
    let components = components(graph);
    let order = postorder(graph, without_blocked(graph, &components)).unwrap_or_default();
    Resolution { order, cycles: cycles(graph, &components) }
}

/// Two nodes or more, or one that depends on itself.
fn is_cyclic(graph: &Csr, component: &[u32]) -> bool {
    match component {
        [node] => graph.row(*node).contains(node),
        _ => true,
    }
}

/// States in which all that is in or behind a cycle is closed.
fn without_blocked(graph: &Csr, components: &Components) -> Vec<u8> {
    let mut states = vec![NEW; graph.len()];
    // Dependencies come first, so one pass settles all.
    for component in components.iter() {
        let blocked = |node: &u32| graph.row(*node).iter().any(|target| states[*target as usize] == CLOSED);
        if is_cyclic(graph, component) || component.iter().any(blocked) {
            for node in component {
                states[*node as usize] = CLOSED;
            }
        }
    }
    states
}

fn cycles(graph: &Csr, components: &Components) -> Vec<Vec<u32>> {
    let mut cyclic: Vec<&[u32]> = components.iter().filter(|nodes| is_cyclic(graph, nodes)).collect();
    cyclic.sort_by_key(|nodes| nodes.iter().min());
    let mut finder = CycleFinder::new(graph, components);
    cyclic.into_iter().map(|nodes| finder.shortest(nodes)).collect()
}
