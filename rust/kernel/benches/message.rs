//! Messages without Python: `cargo bench -p tekton-kernel --bench message`.
#![allow(missing_docs, reason = "criterion makes the entry points")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tekton_kernel::message::{Context, Header, Kind, read, route, write_text};

const CODE: &str =
    "def route(message, table):\n    found = table.match(message)\n    return found or table[\"rest\"]\n";

fn message(text: &str) -> Vec<u8> {
    let context = Context::new("rhetor", "engram", "550e8400-e29b-41d4-a716-446655440000", None, None, 0);
    let context = context.expect("identifiers");
    let mut out = Vec::new();
    Header { id: 7 << 76, kind: Kind::Request, timestamp: None, context: &context }.write(&mut out);
    out.extend_from_slice(b",\"content\":");
    write_text(&mut out, text);
    out.push(b'}');
    out
}

fn messages(criterion: &mut Criterion) {
    for lines in [1, 40, 2500] {
        let text = CODE.repeat(lines);
        let json = message(&text);
        let mut group = criterion.benchmark_group("message");
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function(BenchmarkId::new("write", json.len()), |b| b.iter(|| message(black_box(&text))));
        group.bench_function(BenchmarkId::new("read", json.len()), |b| {
            b.iter(|| read(black_box(&json)).is_ok());
        });
        group.bench_function(BenchmarkId::new("route", json.len()), |b| {
            b.iter(|| route(black_box(&json)).is_ok());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = messages
}
criterion_main!(benches);
