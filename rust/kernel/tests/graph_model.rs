//! Order, cycles, waves and the critical path against their definitions.

mod common;

use common::{check_resolution, distances, rows, startable};
use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::graph::{Csr, CsrBuilder, TooLarge, critical_path, reachable, resolve, waves};

fn csr(rows: &[Vec<u32>]) -> Csr {
    Csr::from_rows(rows).expect("small")
}

fn level(rows: &[Vec<u32>], node: u32) -> usize {
    rows[node as usize].iter().map(|target| level(rows, *target) + 1).max().unwrap_or(0)
}

fn weight_of_heaviest_chain(rows: &[Vec<u32>], weights: &[f64], node: u32) -> f64 {
    let below = rows[node as usize].iter().map(|target| weight_of_heaviest_chain(rows, weights, *target));
    below.fold(0.0, f64::max) + weights[node as usize]
}

proptest! {
    #[test]
    fn order_and_cycles_are_as_defined(rows in rows(12)) {
        check_resolution(&rows);
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
    fn a_graph_without_nodes_is_empty(rows in rows(2)) {
        prop_assert_eq!(csr(&rows).is_empty(), rows.is_empty());
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
fn the_search_finds_the_next_root_wherever_it_is() {
    for nodes in 1..40_u32 {
        for reached in 0..nodes {
            let mut rows = vec![Vec::new(); nodes as usize];
            rows[0] = (1..=reached).collect();

            let order = resolve(&csr(&rows)).order;

            assert!(order.into_iter().eq((1..=reached).chain([0]).chain(reached + 1..nodes)));
        }
    }
}

#[test]
fn a_graph_can_be_built_edge_by_edge() {
    let mut builder = CsrBuilder::with_capacity(2);
    builder.push(1);
    builder.push(2);
    builder.end_row().expect("small");
    builder.push(0);
    builder.end_row().expect("small");

    assert_eq!(builder.finish(3), Csr::from_rows(&[vec![1, 2], vec![0], vec![]]));
}

#[test]
fn the_largest_number_is_no_node() {
    assert_eq!(CsrBuilder::with_capacity(0).finish(u32::MAX as usize), Err(TooLarge));
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
