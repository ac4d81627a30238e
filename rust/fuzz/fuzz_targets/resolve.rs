//! Order and cycles of any small graph against their definitions.

#![no_main]

#[path = "../../kernel/tests/models/graph.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::check_resolution(&rows(data)));

/// The number of nodes, at most 24; then two bytes for each edge.
fn rows(data: &[u8]) -> Vec<Vec<u32>> {
    let Some((nodes, edges)) = data.split_first() else { return Vec::new() };
    let nodes = nodes % 24 + 1;
    let mut rows = vec![Vec::new(); usize::from(nodes)];
    for [from, to] in edges.as_chunks().0 {
        rows[usize::from(from % nodes)].push(u32::from(to % nodes));
    }
    rows
}
