//! Order, cycles, waves and the critical path against their definitions.

mod common;

use common::{distances, rows, startable};
use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::graph::{Csr, critical_path, reachable, resolve, waves};

fn csr(rows: &[Vec<u32>]) -> Csr {
    Csr::from_rows(rows).expect("small")
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
fn order(rows: &[Vec<u32>]) -> Vec<u32> {
    let mut seen: Vec<bool> = startable(rows).iter().map(|can_start| !can_start).collect();
    let mut order = Vec::new();
    for node in 0..u32::try_from(rows.len()).expect("small") {
        visit(rows, node, &mut seen, &mut order);
    }
    order
}

fn level(rows: &[Vec<u32>], node: u32) -> usize {
    rows[node as usize].iter().map(|target| level(rows, *target) + 1).max().unwrap_or(0)
}

fn weight_of_heaviest_chain(rows: &[Vec<u32>], weights: &[f64], node: u32) -> f64 {
    let below = rows[node as usize].iter().map(|target| weight_of_heaviest_chain(rows, weights, *target));
    below.fold(0.0, f64::max) + weights[node as usize]
}

/// One entry per component with a cycle: its first node and the length of its shortest cycle.
fn shortest_cycles(rows: &[Vec<u32>]) -> Vec<(usize, usize)> {
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

proptest! {
    #[test]
    fn order_is_the_postorder_of_what_can_start(rows in rows(12)) {
        prop_assert_eq!(resolve(&csr(&rows)).order, order(&rows));
    }

    #[test]
    fn every_component_gives_its_shortest_cycle(rows in rows(12)) {
        let cycles = resolve(&csr(&rows)).cycles;

        for cycle in &cycles {
            for (node, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
                prop_assert!(rows[*node as usize].contains(next), "{} -> {} is no edge", node, next);
            }
            prop_assert_eq!(cycle.iter().min(), cycle.first());
        }
        let distance = distances(&rows);
        let expected = shortest_cycles(&rows);
        prop_assert_eq!(cycles.len(), expected.len());
        for (cycle, (first, length)) in cycles.iter().zip(expected) {
            prop_assert_eq!(cycle.len(), length);
            let node = cycle[0] as usize;
            prop_assert!(node == first || distance[node][first].is_some() && distance[first][node].is_some());
        }
    }

    #[test]
    fn waves_group_by_the_longest_chain(rows in rows(12)) {
        let can_start = startable(&rows);
        let mut expected: Vec<Vec<u32>> = Vec::new();
        for node in (0..).take(rows.len()).filter(|node| can_start[*node as usize]) {
            let level = level(&rows, node);
            expected.resize(expected.len().max(level + 1), Vec::new());
            expected[level].push(node);
        }

        prop_assert_eq!(waves(&csr(&rows)), expected);
    }

    #[test]
    fn the_critical_path_is_a_heaviest_chain(rows in rows(12), weights in vec(0_u8..5, 12)) {
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        let can_start = startable(&rows);
        let heaviest = (0..).take(rows.len()).filter(|node| can_start[*node as usize])
            .map(|node| weight_of_heaviest_chain(&rows, &weights, node)).fold(0.0, f64::max);

        let path = critical_path(&csr(&rows), &weights);

        let total: f64 = path.iter().map(|node| weights[*node as usize]).sum();
        prop_assert!((total - heaviest).abs() < 1e-9);
        for pair in path.windows(2) {
            prop_assert!(rows[pair[1] as usize].contains(&pair[0]));
        }
        prop_assert_eq!(path.is_empty(), !can_start.contains(&true));
    }

    #[test]
    fn reachable_is_nearest_first(rows in rows(12)) {
        let distance = distances(&rows);
        for node in (0..).take(rows.len()) {
            let found = reachable(&csr(&rows), node);
            let far: Vec<_> = found.iter().map(|other| distance[node as usize][*other as usize]).collect();
            prop_assert!(far.is_sorted() && !far.contains(&None));
            prop_assert_eq!(found.len(), distance[node as usize].iter().flatten().count());
        }
    }

    #[test]
    fn reversing_turns_each_edge_around(rows in rows(12)) {
        let reversed = csr(&rows).reversed();
        let mut expected = vec![Vec::new(); rows.len()];
        for (node, row) in (0_u32..).zip(&rows) {
            for target in row {
                expected[*target as usize].push(node);
            }
        }

        for node in reversed.nodes() {
            prop_assert_eq!(reversed.row(node), &expected[node as usize]);
        }
    }

    #[test]
    fn without_duplicates_keeps_the_first_of_each_edge(rows in rows(6)) {
        let single = csr(&rows).without_duplicates();
        for node in single.nodes() {
            let mut expected: Vec<u32> = Vec::new();
            for target in &rows[node as usize] {
                if !expected.contains(target) {
                    expected.push(*target);
                }
            }
            prop_assert_eq!(single.row(node), &expected);
        }
    }
}

#[test]
fn a_chain_of_a_million_nodes_needs_no_stack() {
    let rows: Vec<Vec<u32>> = (1..=1_000_000).map(|next| vec![next % 1_000_000]).collect();

    let ring = resolve(&csr(&rows));
    let mut rows = rows;
    rows[999_999].clear();
    let chain = resolve(&csr(&rows));

    assert_eq!(ring.cycles.len(), 1);
    assert_eq!(ring.cycles[0].len(), 1_000_000);
    assert!(ring.order.is_empty());
    assert!(chain.order.iter().rev().copied().eq(0..1_000_000));
}

#[test]
fn the_search_for_a_short_cycle_is_bounded() {
    // Two edges per node, all in one component: looking from every node would take minutes.
    let n = 200_000;
    let rows: Vec<Vec<u32>> = (0..n).map(|node| vec![(node + 1) % n, (node + 7_919) % n]).collect();

    let cycles = resolve(&csr(&rows)).cycles;

    assert_eq!(cycles.len(), 1);
    for (node, next) in cycles[0].iter().zip(cycles[0].iter().cycle().skip(1)) {
        assert!(rows[*node as usize].contains(next));
    }
}
