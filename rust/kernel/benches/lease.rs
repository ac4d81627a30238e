//! Leases beside the timers of tokio: `cargo bench -p tekton-kernel --bench lease`.
//!
//! So many leases are alive; each beats once per ten seconds, in random order, with a timeout of thirty; a tick is ten
//! milliseconds. One iteration is one heartbeat, with its share of the ticks in between: the whole cost of watching.
//! tokio is driven by hand in one thread with a paused clock; its tick includes one turn of the runtime.
#![allow(missing_docs, reason = "criterion makes the entry points")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tekton_kernel::lease::Leases;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Sleep;
use tokio_util::time::{DelayQueue, delay_queue};

const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
const TICK: Duration = Duration::from_millis(10);
const TIMEOUT: u32 = 3_000;
/// Ticks in which every lease beats once.
const INTERVAL: usize = 1_000;

/// A shuffle, the same in each run.
fn order(leases: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..leases).collect();
    let mut seed = 1_u64;
    for place in (1..order.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(place, usize::try_from(seed >> 33).unwrap_or(0) % (place + 1));
    }
    order
}

/// Beats in turn, and the ticks that fall between them. Without a division, which would cost more than a beat.
struct Schedule {
    order: Vec<u32>,
    next: usize,
    /// Time since the last tick, in parts of a tick: as many as there are leases.
    elapsed: usize,
}

impl Schedule {
    fn new(leases: u32) -> Self {
        Self { order: order(leases), next: 0, elapsed: 0 }
    }

    fn beat(&mut self) -> u32 {
        let lease = self.order[self.next];
        self.next += 1;
        if self.next == self.order.len() {
            self.next = 0;
        }
        self.elapsed += INTERVAL;
        lease
    }

    /// True when a tick has to be done before the next beat.
    fn tick(&mut self) -> bool {
        let due = self.elapsed >= self.order.len();
        if due {
            self.elapsed -= self.order.len();
        }
        due
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime needs nothing")
}

fn tekton(leases: u32) -> impl FnMut(u64) -> Duration {
    let mut held = Leases::new();
    let mut now = 0;
    for lease in 0..leases {
        held.arm(lease, TIMEOUT, now);
    }
    let mut schedule = Schedule::new(leases);
    move |iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            held.touch(schedule.beat(), now);
            while schedule.tick() {
                now += 1;
                assert!(held.expire(now).is_empty());
            }
        }
        start.elapsed()
    }
}

fn tokio_sleep(leases: u32) -> impl FnMut(u64) -> Duration {
    let runtime = runtime();
    let mut sleeps: Vec<Pin<Box<Sleep>>> = runtime.block_on(async {
        let mut sleeps: Vec<_> = (0..leases).map(|_| Box::pin(tokio::time::sleep(TICK * TIMEOUT))).collect();
        // A sleep is in the runtime's wheel once it was polled.
        for sleep in &mut sleeps {
            assert!(poll_once(sleep.as_mut()).await.is_pending());
        }
        sleeps
    });
    let mut schedule = Schedule::new(leases);
    move |iterations| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..iterations {
                let lease = schedule.beat();
                sleeps[lease as usize].as_mut().reset(tokio::time::Instant::now() + TICK * TIMEOUT);
                while schedule.tick() {
                    tokio::time::advance(TICK).await;
                }
            }
            start.elapsed()
        })
    }
}

/// One poll, whose outcome is a value.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

fn tokio_delay_queue(leases: u32) -> impl FnMut(u64) -> Duration {
    let runtime = runtime();
    let (mut queue, keys): (DelayQueue<u32>, Vec<delay_queue::Key>) = runtime.block_on(async {
        let mut queue = DelayQueue::with_capacity(leases as usize);
        let keys = (0..leases).map(|lease| queue.insert(lease, TICK * TIMEOUT)).collect();
        (queue, keys)
    });
    let mut schedule = Schedule::new(leases);
    move |iterations| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..iterations {
                let lease = schedule.beat();
                queue.reset_at(&keys[lease as usize], tokio::time::Instant::now() + TICK * TIMEOUT);
                while schedule.tick() {
                    tokio::time::advance(TICK).await;
                    let due = std::future::poll_fn(|context| Poll::Ready(queue.poll_expired(context))).await;
                    assert!(due.is_pending());
                }
            }
            start.elapsed()
        })
    }
}

/// With so many leases; gives the time that so many beats take.
type Contender = fn(u32) -> Box<dyn FnMut(u64) -> Duration>;

fn heartbeats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heartbeat with its share of ticks");
    group.throughput(Throughput::Elements(1));
    for leases in SIZES {
        let contenders: [(&str, Contender); 3] = [
            ("tekton Leases", |leases| Box::new(tekton(leases))),
            ("tokio Sleep::reset", |leases| Box::new(tokio_sleep(leases))),
            ("tokio DelayQueue::reset_at", |leases| Box::new(tokio_delay_queue(leases))),
        ];
        for (name, contender) in contenders {
            let mut run = contender(leases);
            group.bench_function(BenchmarkId::new(name, leases), |bencher| bencher.iter_custom(&mut run));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500));
    targets = heartbeats
}
criterion_main!(benches);
