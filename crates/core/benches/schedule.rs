//! What a schedule costs: reading its text, and finding its next instant.
#![allow(missing_docs, reason = "criterion's macro makes an undocumented function")]

use std::hint::black_box;
use std::str::FromStr;

use criterion::{Criterion, criterion_group, criterion_main};
use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;

/// 2024-03-09 12:00:00 UTC, the day before New York's clocks go forward.
const START: Timestamp = Timestamp::from_secs(1_709_985_600);

const TEXTS: [(&str, &str); 9] = [
    ("every minute", "* * * * *"),
    ("every five minutes", "*/5 * * * *"),
    ("nightly", "30 2 * * *"),
    ("office hours", "*/15 9-17 * * mon-fri"),
    ("monthly", "0 0 1 * *"),
    ("last day", "0 0 $ * *"),
    ("either day", "0 0 1,15 * fri"),
    ("leap day or Mondays in February", "0 0 29 2 1"),
    ("never", "0 0 30 2 *"),
];

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, text) in TEXTS {
        group.bench_function(name, |b| b.iter(|| Schedule::parse(black_box(text))));
    }
    group.finish();
}

/// The longest text, and one refused at its end.
fn parse_long(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse, 999 bytes");
    let list = format!("{}0 * * * *", "0-59/1,".repeat(141));
    let refused = format!("{}x * * * *", "0-59/1,".repeat(141));
    for (name, text) in [("a list", &list), ("refused", &refused)] {
        group.bench_function(name, |b| b.iter(|| Schedule::parse(black_box(text)).is_ok()));
    }
    group.finish();
}

/// The crate `cron` over the same dialect, for the record in docs/adr/0001.
fn crate_cron(c: &mut Criterion) {
    let mut group = c.benchmark_group("next by the crate cron, UTC");
    let Some(start) = chrono::DateTime::from_timestamp(START.secs(), 0) else { return };
    for (name, text) in
        TEXTS.into_iter().filter(|(_, text)| !text.contains('$') && !text.contains("1,15"))
    {
        let Ok(schedule) = cron::Schedule::from_str(&format!("0 {text}")) else { continue };
        let mut at = start;
        group.bench_function(name, |b| {
            b.iter(|| {
                at = schedule.after(black_box(&at)).next().unwrap_or(start);
                if at > start + chrono::TimeDelta::days(20 * 366) {
                    at = start;
                }
                at
            });
        });
    }
    group.finish();
}

fn next(c: &mut Criterion) {
    for zone in ["UTC", "America/New_York"] {
        let mut group = c.benchmark_group(format!("next, {zone}"));
        let Ok(zone) = Zone::resolve(zone) else { return };
        let ctx =
            Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor: START };
        for (name, text) in TEXTS {
            let Ok(schedule) = Schedule::parse(text) else { continue };
            // Walking on from each answer, so that days, months and clock changes all have their
            // share; a schedule that has ended starts again.
            let mut at = START;
            group.bench_function(name, |b| {
                b.iter(|| {
                    at = schedule.next(black_box(at), &ctx).unwrap_or(START);
                    if at.0 > START.0 + 20 * 366 * 86_400 * Timestamp::SECOND {
                        at = START;
                    }
                    at
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, parse, parse_long, next, crate_cron);
criterion_main!(benches);
