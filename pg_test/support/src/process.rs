//! Server processes seen from outside: signals, and what the kernel counts about them.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::time::Duration;

fn pid(raw: i32) -> Pid {
    Pid::from_raw(raw).unwrap_or_else(|| panic!("{raw} is not a process id"))
}

/// Sends a signal.
///
/// # Panics
/// When the process does not exist or may not be signalled.
#[track_caller]
pub fn signal(process: i32, signal: Signal) {
    kill_process(pid(process), signal)
        .unwrap_or_else(|error| panic!("cannot send {signal:?} to process {process}: {error}"));
}

/// SIGKILL: the process gets no chance to clean up. The postmaster takes the death of any process
/// that is attached to shared memory as a crash and restarts the whole server.
#[track_caller]
pub fn kill9(process: i32) {
    signal(process, Signal::KILL);
}

/// Whether the process exists.
#[must_use]
pub fn is_alive(process: i32) -> bool {
    test_kill_process(pid(process)).is_ok()
}

/// How often the process has gone to sleep of its own accord: one per wake-up and back. A process
/// that is truly idle does not count any.
///
/// # Panics
/// When the process does not exist.
#[must_use]
#[track_caller]
pub fn voluntary_switches(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status"))
        .unwrap_or_else(|error| panic!("cannot read the status of process {process}: {error}"));
    status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .and_then(|count| count.trim().parse().ok())
        .expect("the kernel reports voluntary_ctxt_switches")
}

/// CPU time the process has used, user and system.
///
/// # Panics
/// When the process does not exist.
#[must_use]
#[track_caller]
pub fn cpu_time(process: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .unwrap_or_else(|error| panic!("cannot read the stat of process {process}: {error}"));
    // The second field is the name in brackets and may hold blanks: count from behind it. utime and
    // stime are fields 14 and 15 of the line.
    let behind_name = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: u64 = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a tick count"))
        .sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
