//! Figures of parts that need no server, from the benchmarks those parts have themselves.

use crate::report::{PG_TOCK, Report, median};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs `cargo bench` and returns what it printed; `None` if it failed, which is said.
fn cargo_bench(arguments: &[&str]) -> Option<String> {
    let done = Command::new("cargo")
        .args(["bench", "--locked", "--quiet"])
        .args(arguments)
        .output()
        .expect("cargo can be started");
    if !done.status.success() {
        println!("    skipped: {}", String::from_utf8_lossy(&done.stderr).trim_end());
        return None;
    }
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The next instant of a cron expression: the median over the expressions of the benchmark, and the
/// slowest, of those that have a next instant.
pub(crate) fn next(report: &mut Report) {
    let group = "next, America/New_York";
    let options = ["--warm-up-time", "0.3", "--measurement-time", "1", group];
    let bench = ["-p", "pg_tock_core", "--bench", "schedule", "--"];
    if cargo_bench(&[&bench[..], &options].concat()).is_none() {
        return;
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let mut figures: Vec<(f64, String)> =
        // Criterion's directories have no slashes in their names.
        fs::read_dir(Path::new(&target).join("criterion").join(group.replace('/', "_")))
            .expect("criterion's results")
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let text = fs::read_to_string(entry.path().join("new/estimates.json")).ok()?;
                let estimates: Value = serde_json::from_str(&text).ok()?;
                let nanoseconds = estimates["median"]["point_estimate"].as_f64()?;
                let name = entry.file_name().to_string_lossy().into_owned();
                Some((nanoseconds / 1000.0, name)).filter(|(_, name)| name != "never")
            })
            .collect();
    figures.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (microseconds, name) in &figures {
        println!("    next instant, {name}: {microseconds:.3} µs");
    }
    let middle = median(figures.iter().map(|figure| figure.0).collect());
    report.add("next instant of a cron expression", "µs", PG_TOCK, middle);
    if let Some((slowest, name)) = figures.last() {
        report.add(&format!("next instant, slowest ({name})"), "µs", PG_TOCK, *slowest);
    }
}

/// HTTP requests against a server on this machine, by the client library alone.
pub(crate) fn http(report: &mut Report) {
    let Some(printed) = cargo_bench(&["-p", "pg_tock_http"]) else { return };
    print!("{printed}");
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [scheme @ ("http" | "https"), "256", "in", "flight", rate, ..] = words[..] {
            let rate = rate.parse().expect("a rate");
            let figure = format!("{scheme} requests, 256 in flight, client and server together");
            report.add(&figure, "1/s", PG_TOCK, rate);
        }
    }
}
