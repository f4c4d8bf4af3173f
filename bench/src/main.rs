//! `make bench`: what pg_tock does in a second, beside Debian's pg_cron on the same server build.
//!
//! Every figure is the median of several windows or minutes of one run; each measurement has a cluster
//! of its own with `fsync` on. Nothing here passes or fails: benchmarks inform, tests decide.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for the terminal, run by hand"
)]

mod aims;
mod by_hand;
mod crates;
mod drain;
mod failover;
mod history;
mod hostile;
mod http;
mod idle;
mod job_stats;
mod lag;
mod memory;
mod process;
mod prune;
mod report;
mod restart;
mod server;
mod soak;
mod sustained;
mod usage;

use by_hand::BY_HAND;
use report::Report;

/// Name, what it measures, and how.
type Measurement = (&'static str, &'static str, fn(&mut Report));

const MEASUREMENTS: [Measurement; 11] = [
    ("select", "recorded runs of select 1 per second", |report| {
        sustained::measure(report, "select 1", "select 1", sustained::select_jobs());
    }),
    ("insert", "recorded runs of a one-row insert per second", |report| {
        sustained::measure(
            report,
            "one-row insert",
            "insert into sink values (1)",
            sustained::insert_jobs(),
        );
    }),
    ("drain", "1,000 jobs due at one instant, and done: pg_tock", drain::pg_tock),
    ("drain-pg_cron", "1,000 jobs due at one instant, and done: Debian's pg_cron", drain::pg_cron),
    ("lag", "start lag with 1, 100 and 1,000 jobs due at one instant", lag::measure),
    ("idle", "0, 10,000 and 100,000 jobs of which none is due; one changed", idle::pg_tock),
    ("idle-pg_cron", "the same for Debian's pg_cron", idle::pg_cron),
    ("memory", "memory over a million runs", memory::measure),
    ("next", "the next instant of a cron expression", crates::next),
    ("http", "HTTP requests per second", crates::http),
    ("http-runs", "HTTP requests per second, claimed, sent and recorded", http::measure),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = || MEASUREMENTS.iter().chain(&BY_HAND);
    let unknown = wanted.iter().find(|name| !all().any(|(known, ..)| known == name));
    if let Some(unknown) = unknown {
        println!("unknown measurement {unknown}; there are:");
        for (name, what, _) in all() {
            println!("  {name:<14} {what}");
        }
        println!("Without a name, all are made but the last {}.", BY_HAND.len());
        std::process::exit(2);
    }
    let by_name = |name: &str| wanted.iter().any(|one| one == name);
    let mut report = Report::new();
    for (at, (name, what, measure)) in all().enumerate() {
        if by_name(name) || wanted.is_empty() && at < MEASUREMENTS.len() {
            println!("==> {what}");
            measure(&mut report);
        }
    }
    report.print("target/bench.md");
    report.save("target/bench.json");
}
