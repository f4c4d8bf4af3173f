//! What a decision costs, by the number of jobs.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pg_tock_core::engine::{Action, Engine, ExecutorId, JobSpec, Limits, Occurrences, PoolKey};
use pg_tock_core::time::{JobId, Timestamp};

const SEC: i64 = Timestamp::SECOND;
const SIZES: [i64; 3] = [10, 1_000, 100_000];

/// Every multiple of a period, moved by an offset.
#[derive(Debug)]
struct Every {
    period: i64,
    offset: i64,
}

impl Occurrences for Every {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let past = (after.0 - self.offset).div_euclid(self.period);
        Some(Timestamp((past + 1) * self.period + self.offset))
    }
}

fn limits() -> Limits {
    Limits {
        max_running: 32,
        max_queued_per_job: 100,
        idle_timeout: 3_600 * SEC,
        max_age: 0,
        launch: true,
    }
}

fn key(role: i64) -> PoolKey {
    PoolKey { database: 1, role: u32::try_from(role).unwrap_or_default() }
}

fn spec(id: i64, role: i64, period: i64, offset: i64) -> JobSpec {
    let times = Arc::new(Every { period, offset });
    JobSpec::new(JobId(id), key(role), times)
}

/// `jobs` jobs of 100 owners, spread evenly over a period of one second for each, and an idle
/// executor for every owner.
fn spread(jobs: i64) -> Engine {
    let mut engine = Engine::new(limits());
    let mut out = Vec::new();
    for owner in 0..100 {
        let id = ExecutorId(u32::try_from(owner).unwrap_or_default());
        engine.executor_starting(key(owner), id, Timestamp(0));
        engine.executor_ready(id, Timestamp(0));
    }
    for id in 0..jobs {
        engine.put_job(spec(id, id % 100, jobs * SEC, id * SEC + 1), Timestamp(0));
    }
    engine.tick(Timestamp(0), &mut out);
    engine
}

/// Wake up, hand out the one run that is due, hear that it is over, look when to wake next.
fn one_run(c: &mut Criterion) {
    let mut group = c.benchmark_group("one due run: tick, finish, tick, next_wake");
    for jobs in SIZES {
        group.bench_function(BenchmarkId::from_parameter(jobs), |b| {
            let mut engine = spread(jobs);
            let mut out = Vec::with_capacity(8);
            b.iter(|| {
                let Some(now) = engine.next_wake() else { return };
                engine.tick(now, &mut out);
                if let Some(Action::Run { executor, .. }) = out.pop() {
                    engine.run_finished(executor, now);
                }
                engine.tick(now, &mut out);
                out.clear();
                black_box(&engine);
            });
        });
    }
    group.finish();
}

/// All jobs due at one instant, run to the end by 32 executors of one owner.
fn drain(c: &mut Criterion) {
    let mut group = c.benchmark_group("all due at once, per run");
    group.sample_size(10);
    for jobs in SIZES {
        group.throughput(Throughput::Elements(u64::try_from(jobs).unwrap_or_default()));
        group.bench_function(BenchmarkId::from_parameter(jobs), |b| {
            let mut engine = Engine::new(limits());
            for id in 0..32 {
                engine.executor_starting(key(7), ExecutorId(id), Timestamp(0));
                engine.executor_ready(ExecutorId(id), Timestamp(0));
            }
            for id in 0..jobs {
                engine.put_job(spec(id, 7, SEC, 0), Timestamp(0));
            }
            let (mut now, mut out) = (0, Vec::new());
            b.iter(|| {
                now += SEC;
                engine.tick(Timestamp(now), &mut out);
                while let Some(action) = out.pop() {
                    if let Action::Run { executor, .. } = action {
                        engine.run_finished(executor, Timestamp(now));
                        engine.tick(Timestamp(now), &mut out);
                    }
                }
            });
        });
    }
    group.finish();
}

/// The same with every job of an owner of its own: each run needs the turn of ten thousand.
fn owners(c: &mut Criterion) {
    let mut group = c.benchmark_group("10,000 owners waiting, per run");
    group.throughput(Throughput::Elements(10_000));
    group.sample_size(10);
    group.bench_function("10000", |b| {
        let mut engine = Engine::new(limits());
        for owner in 0..10_000 {
            let id = ExecutorId(u32::try_from(owner).unwrap_or_default());
            engine.executor_starting(key(owner), id, Timestamp(0));
            engine.executor_ready(id, Timestamp(0));
            engine.put_job(spec(owner, owner, SEC, 0), Timestamp(0));
        }
        let (mut now, mut out) = (0, Vec::new());
        b.iter(|| {
            now += SEC;
            engine.tick(Timestamp(now), &mut out);
            while let Some(action) = out.pop() {
                if let Action::Run { executor, .. } = action {
                    engine.run_finished(executor, Timestamp(now));
                    engine.tick(Timestamp(now), &mut out);
                }
            }
        });
    });
    group.finish();
}

/// One changed job among many, until the engine knows when to wake.
fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("one changed job");
    for jobs in SIZES {
        group.bench_function(BenchmarkId::from_parameter(jobs), |b| {
            let mut engine = spread(jobs);
            let mut out = Vec::new();
            let mut id = 0;
            b.iter(|| {
                id = (id + 7_919) % jobs;
                engine.put_job(spec(id, id % 100, jobs * SEC, id * SEC + 2), Timestamp(0));
                engine.tick(Timestamp(0), &mut out);
                black_box(engine.next_wake());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_run, drain, owners, change);
criterion_main!(benches);
