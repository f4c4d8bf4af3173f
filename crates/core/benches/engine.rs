//! What a decision costs, by the number of jobs.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pg_tock_core::engine::{Action, Engine, ExecutorId, JobSpec, Limits, Occurrences, PoolKey};
use pg_tock_core::plan::{Plan, Shape};
use pg_tock_core::run::{MissedPolicy, SkipReason, Verdict};
use pg_tock_core::schedule::{DayRule, DstPolicy, Schedule, Zone};
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
        max_running_per_role: 0,
        http_max_requests: 100,
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

/// Every second, closed by a window for the first half of each hour.
#[derive(Debug)]
struct HalfHours;

const HOUR: i64 = 3_600 * SEC;

impl Occurrences for HalfHours {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        Some(Timestamp((after.0.div_euclid(SEC) + 1) * SEC))
    }

    fn verdict(&self, nominal: Timestamp) -> Verdict {
        match nominal.0.rem_euclid(HOUR) < HOUR / 2 {
            true => Verdict::Skip(SkipReason::Window),
            false => Verdict::Start(nominal),
        }
    }

    fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_after(self.opens(self.next_after(after)?)?.plus(-1))
    }

    fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        let closed = at.0.rem_euclid(HOUR) < HOUR / 2;
        Some(if closed { Timestamp(at.0.div_euclid(HOUR) * HOUR + HOUR / 2) } else { at })
    }
}

/// A one-second job's window opens: half an hour of closed instants is counted, one run begins.
fn window_opens(c: &mut Criterion) {
    c.bench_function("a window opens after 1,800 closed instants", |b| {
        let mut engine = Engine::new(limits());
        engine.executor_starting(key(7), ExecutorId(0), Timestamp(0));
        engine.executor_ready(ExecutorId(0), Timestamp(0));
        let (mut hour, mut out) = (0, Vec::new());
        b.iter(|| {
            let after = Timestamp(hour * HOUR - 1);
            engine.put_job(JobSpec::new(JobId(1), key(7), Arc::new(HalfHours)), after);
            engine.tick(Timestamp(hour * HOUR + HOUR / 2), &mut out);
            engine.run_finished(ExecutorId(0), Timestamp(hour * HOUR + HOUR / 2));
            engine.drop_job(JobId(1));
            hour += 1;
            black_box(out.drain(..).count());
        });
    });
}

/// After an hour of downtime: all jobs missed 60 instants each, and each runs once to make up.
fn gaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("an hour's gap of 60 instants, per job");
    group.sample_size(10);
    for jobs in SIZES {
        group.throughput(Throughput::Elements(u64::try_from(jobs).unwrap_or_default()));
        for policy in [MissedPolicy::Skip, MissedPolicy::Once, MissedPolicy::All] {
            let id = BenchmarkId::new(policy.as_str(), jobs);
            group.bench_function(id, |b| {
                let fresh = || {
                    let mut engine = Engine::new(limits());
                    engine.set_missed_before(Timestamp(HOUR));
                    for id in 0..jobs {
                        let spec = spec(id, id % 100, 60 * SEC, id % 60 * SEC);
                        engine.put_job(JobSpec { missed: policy, ..spec }, Timestamp(0));
                    }
                    engine
                };
                let tick = |mut engine: Engine| {
                    let mut out = Vec::new();
                    engine.tick(Timestamp(HOUR), &mut out);
                    (engine, out)
                };
                b.iter_batched(fresh, tick, BatchSize::LargeInput);
            });
        }
    }
    group.finish();
}

/// Bytes of memory this process has in use.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<usize>().ok().map(|pages| pages * 4_096)
}

/// Prints the bytes of a job: its schedule parsed, its plan, its place in the engine.
#[allow(clippy::print_stdout, reason = "a figure for people")]
fn size(_: &mut Criterion) {
    const JOBS: i64 = 100_000;
    let Ok(zone) = Zone::resolve("UTC") else { return };
    let zone = Arc::new(zone);
    let Some(before) = resident() else { return };
    let mut engine = Engine::new(limits());
    for id in 0..JOBS {
        let Ok(schedule) = Schedule::parse("*/5 * * * *") else { return };
        let (days, policy) = (DayRule::Vixie, DstPolicy::Cron);
        let zone = Arc::clone(&zone);
        let plan = Plan::new(schedule, zone, days, policy, Timestamp(0), Shape::default());
        let spec = JobSpec::new(JobId(id), key(id % 100), Arc::new(plan));
        engine.put_job(spec, Timestamp(0));
    }
    let mut out = Vec::new();
    engine.tick(Timestamp(SEC), &mut out);
    let used = resident().unwrap_or(before).saturating_sub(before);
    let each = used / usize::try_from(JOBS).unwrap_or(1);
    println!("engine and plans of {JOBS} jobs: {} kB, {each} bytes each", used / 1_024);
    assert!(used < 60 << 20, "more than 60 MB");
}

// The size comes first, while no other benchmark has left memory to be used again.
criterion_group!(benches, size, one_run, drain, owners, change, window_opens, gaps);
criterion_main!(benches);
