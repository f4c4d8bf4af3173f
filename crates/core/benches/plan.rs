//! What a shaped schedule costs: verdicts, jumps over closed stretches, previews, forecasts.
#![allow(missing_docs, reason = "criterion's macro makes an undocumented function")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use pg_tock_core::plan::{Dates, ForecastJob, Forecasts, Plan, RunWindow, Shape};
use pg_tock_core::schedule::{DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;

/// 2024-03-09 12:00:00 UTC, a Saturday, the day before New York's clocks go forward.
const START: Timestamp = Timestamp::from_secs(1_709_985_600);
const HOUR: i64 = 3_600 * Timestamp::SECOND;
const DAY: i64 = 24 * HOUR;

/// A plan in New York; `None` when the text is wrong, which shows as a bench that is missing.
fn plan(text: &str, window: &str, jitter: i64, seed: i64) -> Option<Plan> {
    let schedule = Schedule::parse(text).ok()?;
    let zone = Arc::new(Zone::resolve("America/New_York").ok()?);
    let window = if window.is_empty() { None } else { Some(RunWindow::parse(window).ok()?) };
    // Ten years of holidays, ten a year.
    let first = START.secs() / 86_400;
    let holidays = Dates::from_days((0..100).map(|i| (first + i * 37, first + i * 37)));
    let skip_on = if window.is_some() { vec![Arc::new(holidays)] } else { Vec::new() };
    let shape = Shape { jitter, window, skip_on, seed, ..Shape::default() };
    Some(Plan::new(schedule, zone, DayRule::Vixie, DstPolicy::Cron, START, shape))
}

const OFFICE: &str = "mon-fri 09:00-17:00; sat 10:00-12:00";

fn next_open(c: &mut Criterion) {
    let mut group = c.benchmark_group("next open");
    for (name, text, window, jitter) in [
        ("no shape", "*/5 * * * *", "", 0),
        ("window and calendar", "*/5 * * * *", OFFICE, 0),
        ("a one-second job", "1 second", OFFICE, 0),
        ("hourly, one hour a week open", "0 * * * *", "sun 03:00-04:00", 0),
    ] {
        let Some(plan) = plan(text, window, jitter, 1) else { continue };
        let mut at = START;
        group.bench_function(name, |b| {
            b.iter(|| {
                at = plan.next_open(black_box(at)).unwrap_or(START);
                if at.0 > START.0 + 3_650 * DAY {
                    at = START;
                }
                at
            });
        });
    }
    if let Some(plan) = plan("0 12 * * *", "13:00-14:00", 0, 1) {
        group.bench_function("never", |b| b.iter(|| plan.next_open(black_box(START))));
    }
    if let Some(plan) = plan("1 second", OFFICE, 0, 1) {
        group.bench_function("over a weekend, one-second job", |b| {
            b.iter(|| plan.next_open(black_box(START.plus(10 * HOUR))));
        });
    }
    group.finish();
}

fn verdict(c: &mut Criterion) {
    let mut group = c.benchmark_group("verdict");
    for (name, window, jitter) in
        [("no shape", "", 0), ("window", OFFICE, 0), ("jitter", "", HOUR), ("both", OFFICE, HOUR)]
    {
        let Some(plan) = plan("*/5 * * * *", window, jitter, 1) else { continue };
        let Some(at) = plan.next_open(START.plus(2 * DAY)) else { continue };
        group.bench_function(name, |b| b.iter(|| plan.verdict(black_box(at))));
    }
    group.finish();
}

fn previews(c: &mut Criterion) {
    let mut group = c.benchmark_group("ten coming runs");
    for (name, text, window, jitter) in [
        ("nightly", "30 2 * * *", "", 0),
        ("window, calendar and jitter", "*/5 * * * *", OFFICE, HOUR),
        ("a one-second job with a day of jitter", "1 second", OFFICE, DAY),
    ] {
        let Some(plan) = plan(text, window, jitter, 1) else { continue };
        group.bench_function(name, |b| {
            b.iter(|| plan.coming(black_box(START)).take(10).collect::<Vec<_>>());
        });
    }
    group.finish();
}

/// 1,000 jobs over seven days: mostly hourly and nightly, some every few minutes, a few every
/// minute; and the worst case, all of them every minute.
fn forecasts(c: &mut Criterion) {
    let mut group = c.benchmark_group("forecast, 1,000 jobs, 7 days");
    group.sample_size(10);
    let mixed = |i: i64| match i % 10 {
        0 => plan("* * * * *", "", 0, i),
        1 => plan("*/5 * * * *", OFFICE, HOUR, i),
        2..=5 => plan("17 * * * *", "", 10 * 60 * Timestamp::SECOND, i),
        _ => plan("30 2 * * *", "", 0, i),
    };
    let mixed: Vec<Plan> = (0..1_000).filter_map(mixed).collect();
    let minutes: Vec<Plan> = (0..1_000).filter_map(|i: i64| plan("* * * * *", "", 0, i)).collect();
    for (name, plans) in [("mixed", mixed), ("every minute", minutes)] {
        let jobs: Vec<ForecastJob<'_>> =
            plans.iter().map(|plan| ForecastJob { plan, duration: HOUR / 4 }).collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                Forecasts::new(&jobs, START, START.plus(7 * DAY))
                    .fold((0_u64, 0), |(n, most), f| (n + 1, f.concurrency.max(most)))
            });
        });
    }
    group.finish();
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse a window");
    group.bench_function("office hours", |b| b.iter(|| RunWindow::parse(black_box(OFFICE))));
    let long = "mon-fri 1:00-2:00;".repeat(55) + "sun";
    group.bench_function("993 bytes", |b| b.iter(|| RunWindow::parse(black_box(&long))));
    group.finish();
}

criterion_group!(benches, next_open, verdict, previews, forecasts, parse);
criterion_main!(benches);
