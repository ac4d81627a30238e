//! Who listens to a subject: `cargo bench -p tekton-kernel --bench subject`.
//!
//! So many patterns, a third of them with `*` and a third with `>`. One iteration matches the next of 1,000
//! subjects with a few listeners each: with the cache, which has seen them all, or without. Beside it are a list of all
//! patterns and the trie that one would write first.
#![allow(missing_docs, reason = "criterion makes the entry points")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tekton_kernel::subject::{Pattern, Subject, Table};

const SIZES: [u64; 3] = [100, 10_000, 100_000];
const SUBJECTS: u64 = 1_000;

fn pattern(number: u64) -> String {
    let component = number / 6;
    match number % 3 {
        0 => format!("component.{component}.state.{}", number % 6),
        1 => format!("component.{component}.*.{}", number % 6),
        _ => format!("component.{component}.state.>"),
    }
}

fn subject(number: u64, patterns: u64) -> String {
    format!("component.{}.state.{}", number.wrapping_mul(2_654_435_761) % (patterns / 6), number % 6)
}

/// Each pattern by itself.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut steps, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (steps.next(), tokens.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some(step), Some(token)) if step == "*" || step == token => {}
            _ => return false,
        }
    }
}

/// A map at each node.
#[derive(Default)]
struct Plain {
    children: HashMap<String, Plain>,
    listeners: Vec<u64>,
}

impl Plain {
    fn add(&mut self, pattern: &str, listener: u64) {
        let node =
            pattern.split('.').fold(self, |node, token| node.children.entry(token.to_owned()).or_default());
        node.listeners.push(listener);
    }

    fn collect(&self, tokens: &[&str], listeners: &mut Vec<u64>) {
        let Some((token, tokens)) = tokens.split_first() else { return listeners.extend(&self.listeners) };
        if let Some(rest) = self.children.get(">") {
            listeners.extend(&rest.listeners);
        }
        for step in ["*", token] {
            if let Some(child) = self.children.get(step) {
                child.collect(tokens, listeners);
            }
        }
    }
}

/// The subject after the last one.
fn next<'a>(subjects: &'a [String], place: &mut usize) -> &'a str {
    *place = (*place + 1) % subjects.len();
    &subjects[*place]
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match a subject");
    for size in SIZES {
        let patterns: Vec<String> = (0..size).map(pattern).collect();
        let subjects: Vec<String> = (0..SUBJECTS).map(|number| subject(number, size)).collect();
        let mut place = 0;

        let mut table = Table::new(1 << 16);
        let mut plain = Plain::default();
        for (listener, pattern) in (0..).zip(&patterns) {
            table.add(Pattern::parse(pattern).expect("it is a pattern"), listener);
            plain.add(pattern, listener);
        }
        for subject in &subjects {
            let subject = Subject::parse(subject).expect("it is a subject");
            let answer = table.collect(subject);
            table.keep(subject, &answer, answer.listeners.len());
        }

        group.bench_function(BenchmarkId::new("tekton, cached", size), |bencher| {
            bencher.iter(|| black_box(table.find(next(&subjects, &mut place)).copied()));
        });
        group.bench_function(BenchmarkId::new("tekton, not cached", size), |bencher| {
            bencher.iter(|| {
                let subject = Subject::parse(next(&subjects, &mut place)).expect("it is a subject");
                black_box(table.collect(subject).listeners.len())
            });
        });
        group.bench_function(BenchmarkId::new("a plain trie", size), |bencher| {
            bencher.iter(|| {
                let tokens: Vec<&str> = next(&subjects, &mut place).split('.').collect();
                let mut listeners = Vec::new();
                plain.collect(&tokens, &mut listeners);
                black_box(listeners.len())
            });
        });
        group.bench_function(BenchmarkId::new("a list of patterns", size), |bencher| {
            bencher.iter(|| {
                let subject = next(&subjects, &mut place);
                black_box(patterns.iter().filter(|pattern| matches(pattern, subject)).count())
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = matching
}
criterion_main!(benches);
