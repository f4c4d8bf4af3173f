//! What the kernel knows of a server process.

use std::fs;

fn read(process: i32, file: &str) -> String {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// Memory of its own, in MB: what it shares with other processes is not counted.
///
/// # Panics
/// When the process does not exist.
#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
pub(crate) fn anonymous_megabytes(process: i32) -> f64 {
    let status = read(process, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse().ok())
        .expect("the kernel reports RssAnon");
    kilobytes as f64 / 1024.0
}

/// CPU time it has used so far, in milliseconds, with the kernel's finest resolution.
///
/// # Panics
/// When the process does not exist.
#[allow(clippy::cast_precision_loss, reason = "times far below 2^52 ns")]
pub(crate) fn cpu_milliseconds(process: i32) -> f64 {
    let stat = read(process, "schedstat");
    let nanoseconds: u64 =
        stat.split(' ').next().and_then(|first| first.parse().ok()).expect("schedstat");
    nanoseconds as f64 / 1e6
}
