//! One-shot timers beside tokio's `DelayQueue`: `cargo bench -p tekton-kernel --bench wheel`.
//!
//! So many timers wait, due within a minute of ticks of ten milliseconds. One iteration schedules one more and cancels
//! it, as nearly all timers are; or schedules it and lets it fire, as time goes on.
#![allow(missing_docs, reason = "criterion makes the entry points")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tekton_kernel::wheel::Wheel;
use tokio::runtime::Builder;
use tokio_util::time::DelayQueue;

const SIZES: [u32; 3] = [100, 10_000, 100_000];
const TICK: Duration = Duration::from_millis(10);
const MINUTE: u32 = 6_000;

/// Ticks from now: spread, the same in each run.
fn delay(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761) % MINUTE + 1
}

fn schedule_and_cancel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule and cancel");
    for waiting in SIZES {
        let mut wheel = Wheel::new();
        for number in 0..waiting {
            wheel.schedule(delay(number).into(), number);
        }
        let mut number = 0_u32;
        group.bench_function(BenchmarkId::new("tekton Wheel", waiting), |bencher| {
            bencher.iter(|| {
                number = number.wrapping_add(1);
                let handle = wheel.schedule(delay(number).into(), number);
                black_box(wheel.cancel(handle))
            });
        });

        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime needs nothing");
        let _entered = runtime.enter();
        let mut queue = DelayQueue::with_capacity(waiting as usize + 1);
        for number in 0..waiting {
            queue.insert(number, TICK * delay(number));
        }
        let mut number = 0_u32;
        group.bench_function(BenchmarkId::new("tokio DelayQueue", waiting), |bencher| {
            bencher.iter(|| {
                number = number.wrapping_add(1);
                let key = queue.insert(number, TICK * delay(number));
                black_box(queue.remove(&key))
            });
        });
    }
    group.finish();
}

fn schedule_and_fire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule and fire");
    for waiting in SIZES {
        let mut wheel = Wheel::new();
        for number in 0..waiting {
            wheel.schedule(delay(number).into(), number);
        }
        let mut now = 0_u64;
        let mut number = 0_u32;
        group.bench_function(BenchmarkId::new("tekton Wheel", waiting), |bencher| {
            bencher.iter(|| {
                // As many as wait fire in a minute, and each schedules its successor.
                let fired = loop {
                    now += 1;
                    let fired = wheel.advance(now);
                    if !fired.is_empty() {
                        break fired;
                    }
                };
                for _ in &fired {
                    number = number.wrapping_add(1);
                    wheel.schedule(now + u64::from(delay(number)), number);
                }
                fired.len()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500));
    targets = schedule_and_cancel, schedule_and_fire
}
criterion_main!(benches);
