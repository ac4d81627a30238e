//! What the kernels for graphs are compared with: the plain definitions. Shared with the fuzz target
//! `resolve`.

use tekton_kernel::graph::{Csr, resolve};

/// `reach[a][b]`: the least number of edges from a to b, at least one; `None` without a way.
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
pub fn startable(rows: &[Vec<u32>]) -> Vec<bool> {
    let distance = distances(rows);
    let cyclic = |node: usize| distance[node][node].is_some();
    let behind = |node: usize| (0..rows.len()).any(|other| distance[node][other].is_some() && cyclic(other));
    (0..rows.len()).map(|node| !cyclic(node) && !behind(node)).collect()
}

fn visit(rows: &[Vec<u32>], node: u32, seen: &mut Vec<bool>, order: &mut Vec<u32>) {
    if std::mem::replace(&mut seen[node as usize], true) {
        return;
    }
    for target in &rows[node as usize] {
        visit(rows, *target, seen, order);
    }
    order.push(node);
}

/// The recursive definition of the start order.
pub fn order(rows: &[Vec<u32>]) -> Vec<u32> {
    let mut seen: Vec<bool> = startable(rows).iter().map(|can_start| !can_start).collect();
    let mut order = Vec::new();
    for node in 0..u32::try_from(rows.len()).expect("small") {
        visit(rows, node, &mut seen, &mut order);
    }
    order
}

/// One entry per component with a cycle: its first node and the length of its shortest cycle.
pub fn shortest_cycles(rows: &[Vec<u32>]) -> Vec<(usize, usize)> {
    let distance = distances(rows);
    let together = |a: usize, b: usize| a == b || distance[a][b].is_some() && distance[b][a].is_some();
    (0..rows.len())
        .filter(|node| distance[*node][*node].is_some())
        .filter(|node| (0..*node).all(|earlier| !together(earlier, *node)))
        .map(|first| {
            let members = (0..rows.len()).filter(|node| together(first, *node));
            (first, members.filter_map(|node| distance[node][node]).min().expect("cyclic"))
        })
        .collect()
}

/// Compare the order and the cycles of a small graph with their definitions.
///
/// # Panics
/// When they differ.
pub fn check_resolution(rows: &[Vec<u32>]) {
    let resolution = resolve(&Csr::from_rows(rows).expect("small"));
    assert_eq!(resolution.order, order(rows));
    let expected = shortest_cycles(rows);
    assert_eq!(resolution.cycles.len(), expected.len());
    let distance = distances(rows);
    for (cycle, (first, length)) in resolution.cycles.iter().zip(expected) {
        for (node, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
            assert!(rows[*node as usize].contains(next), "{node} -> {next} is no edge");
        }
        assert_eq!(cycle.iter().min(), cycle.first());
        assert_eq!(cycle.len(), length);
        let node = cycle[0] as usize;
        assert!(node == first || distance[node][first].is_some() && distance[first][node].is_some());
    }
}
