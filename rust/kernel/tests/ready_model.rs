//! The ready set against a description in sets.

mod common;

use std::collections::BTreeSet;

use common::rows;
use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::graph::{Csr, ReadySet};

#[derive(Clone, Copy, Debug)]
enum Step {
    Ready,
    Done(u32),
    Fail(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Ready), (0..12_u32).prop_map(Step::Done), (0..12_u32).prop_map(Step::Fail)]
}

#[derive(Default)]
struct Model {
    rows: Vec<Vec<u32>>,
    handed_out: BTreeSet<u32>,
    done: BTreeSet<u32>,
    lost: BTreeSet<u32>,
}

impl Model {
    fn waiting(&self, node: u32) -> bool {
        ![&self.handed_out, &self.done, &self.lost].iter().any(|set| set.contains(&node))
    }

    fn nodes(&self) -> impl Iterator<Item = u32> {
        (0..).take(self.rows.len())
    }

    fn startable(&self, node: u32) -> bool {
        let dependencies = &self.rows[node as usize];
        self.waiting(node) && dependencies.iter().all(|dependency| self.done.contains(dependency))
    }

    /// What is startable among the nodes that `released` selects, handed out.
    fn hand_out(&mut self, released: impl Fn(&[u32]) -> bool) -> Vec<u32> {
        let startable = |node: &u32| self.startable(*node) && released(&self.rows[*node as usize]);
        let nodes: Vec<u32> = self.nodes().filter(startable).collect();
        self.handed_out.extend(&nodes);
        nodes
    }

    fn done(&mut self, node: u32) -> Vec<u32> {
        if self.lost.contains(&node) || !self.done.insert(node) {
            return Vec::new();
        }
        self.hand_out(|dependencies| dependencies.contains(&node))
    }

    /// In no particular order.
    fn fail(&mut self, node: u32) -> BTreeSet<u32> {
        self.lost.insert(node);
        let mut lost = BTreeSet::new();
        let mut causes = vec![node];
        while let Some(cause) = causes.pop() {
            for dependent in self.nodes().collect::<Vec<_>>() {
                if self.rows[dependent as usize].contains(&cause) && self.waiting(dependent) {
                    self.lost.insert(dependent);
                    lost.insert(dependent);
                    causes.push(dependent);
                }
            }
        }
        lost
    }
}

proptest! {
    #[test]
    fn ready_set_follows_its_description(rows in rows(12), steps in vec(step(), 0..40)) {
        let graph = Csr::from_rows(&rows).expect("small").without_duplicates();
        let dependents = graph.reversed();
        let mut set = ReadySet::new(&graph);
        let mut model = Model { rows, ..Model::default() };

        for step in steps {
            match step {
                Step::Ready => prop_assert_eq!(set.ready(), model.hand_out(<[u32]>::is_empty)),
                Step::Done(node) if (node as usize) < model.rows.len() => {
                    prop_assert_eq!(set.done(&dependents, node), model.done(node));
                }
                Step::Fail(node) if (node as usize) < model.rows.len() => {
                    let lost = set.fail(&dependents, node);
                    prop_assert_eq!(lost.len(), lost.iter().collect::<BTreeSet<_>>().len());
                    prop_assert_eq!(lost.into_iter().collect::<BTreeSet<_>>(), model.fail(node));
                }
                Step::Done(_) | Step::Fail(_) => {}
            }
        }
    }

    #[test]
    fn handing_out_until_nothing_is_left_starts_everything_that_can(rows in rows(12)) {
        let graph = Csr::from_rows(&rows).expect("small");
        let dependents = graph.reversed();
        let mut set = ReadySet::new(&graph);

        let mut started = set.ready();
        let mut next = 0;
        while let Some(node) = started.get(next).copied() {
            started.extend(set.done(&dependents, node));
            next += 1;
        }

        started.sort_unstable();
        let can_start = common::startable(&rows);
        let expected: Vec<u32> = (0..).take(rows.len()).filter(|node| can_start[*node as usize]).collect();
        prop_assert_eq!(started, expected);
    }
}
