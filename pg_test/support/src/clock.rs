//! A clock that a scenario sets while its server runs.
//!
//! libfaketime is loaded into the server's processes and adds an offset, read from a file at every
//! look at the clock, to the real time. So the clock goes on by itself, and [`Cluster::step_clock`]
//! sets it forward or back as an administrator or NTP would. Owns the invariant that every process of
//! a server reads the same clock, also across restarts: the offset is in the cluster's directory.
//!
//! Two things differ from a real clock that is set. An armed timer does not notice the step, so the
//! scheduler is woken by SIGHUP. And a timer that was armed before and need not change after it rings
//! at the old time: a scenario has some job that falls due at least every minute.

use crate::cluster::Cluster;
use crate::server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file with the offset, in the cluster's directory.
const FILE: &str = "clock";

/// The clock of a cluster whose scenario sets it.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    waits: PathBuf,
    file: PathBuf,
    /// Seconds between the real time and the server's.
    offset: AtomicI64,
}

impl Clock {
    /// A clock that shows `start` (seconds since 1970) now, for the cluster in `dir`.
    pub(crate) fn new(dir: &Path, start: i64) -> Self {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
        let real = i64::try_from(real.as_secs()).expect("a time before the year 292 billion");
        let clock = Self {
            library: library(),
            // Has to stand before libfaketime; its source says why.
            waits: server::library(dir, "waits", include_str!("waits.c")),
            file: dir.join(FILE),
            offset: AtomicI64::new(start - real),
        };
        clock.step(0);
        clock
    }

    /// Sets the clock by that many seconds.
    fn step(&self, by: i64) {
        let offset = self.offset.fetch_add(by, Ordering::SeqCst) + by;
        // Put in place as a whole: servers read it all the time.
        let making = self.file.with_extension("making");
        fs::write(&making, format!("{offset:+}\n")).expect("the clock's file is written");
        server::give_to_server(&making);
        fs::rename(&making, &self.file).expect("the clock's file in its place");
    }

    /// A command that runs `program` as the server's user, with this clock.
    pub(crate) fn command(&self, program: &Path) -> Command {
        // Not in our own environment: setpriv, still root, would make the library's semaphore.
        let mut command = server::as_server(Path::new("/usr/bin/env"));
        command
            .arg(format!("LD_PRELOAD={} {}", self.waits.display(), self.library.display()))
            .arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()))
            .arg("FAKETIME_NO_CACHE=1")
            // Waits are measured on the monotonic clock, which nobody sets.
            .arg("FAKETIME_DONT_FAKE_MONOTONIC=1")
            .arg("NO_FAKE_STAT=1")
            .arg(program);
        command
    }
}

/// Removes what libfaketime left of a server that was ended by a signal.
pub(crate) fn tidy(postmaster: u32) {
    for left in [format!("faketime_shm_{postmaster}"), format!("sem.faketime_sem_{postmaster}")] {
        drop(fs::remove_file(Path::new("/dev/shm").join(left)));
    }
}

/// Where Debian's package `libfaketime` puts its library.
///
/// # Panics
/// When it is not installed.
fn library() -> PathBuf {
    fs::read_dir("/usr/lib")
        .expect("the directory /usr/lib")
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketime.so.1")))
        .find(|library| library.exists())
        .expect("libfaketime: install the Debian package faketime, or run ci/setup.sh")
}

/// Seconds since 1970 of an instant in UTC.
#[must_use]
pub fn utc(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> i64 {
    // Years from March on, so that the day that comes and goes is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
            - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

impl Cluster {
    /// Sets the server's clock forward by that many seconds, or back, and wakes the scheduler.
    ///
    /// # Panics
    /// When the cluster was not built with [`Builder::clock`](crate::Builder::clock).
    #[track_caller]
    pub fn step_clock(&self, seconds: i64) {
        self.step_clock_unnoticed(seconds);
        if self.is_up() {
            self.reload();
        }
    }

    /// As [`Cluster::step_clock`], but nobody is woken: whoever looks at the clock next sees it.
    #[track_caller]
    pub fn step_clock_unnoticed(&self, seconds: i64) {
        self.clock().step(seconds);
    }

    /// What the server's clock shows, in seconds since 1970.
    #[must_use]
    #[track_caller]
    pub fn now(&self) -> i64 {
        self.one("select extract(epoch from clock_timestamp())::bigint")
    }

    /// Sets the server's clock forward in steps that count as slow, not as missed time, until it shows
    /// `target` (seconds since 1970). After each step `settled` (an SQL condition) is awaited.
    #[track_caller]
    pub fn advance_clock(&self, target: i64, settled: &str) {
        /// Below the five minutes from which on an occurrence counts as missed, with time to run.
        const STEP: i64 = 210;
        loop {
            let left = target - self.now();
            if left <= 0 {
                return;
            }
            self.step_clock(left.min(STEP));
            // The scheduler has seen this step before there is another one.
            self.flush();
            self.wait_for(settled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn instants_are_those_of_the_calendar() {
        assert_eq!(utc(1970, 1, 1, 0, 0, 0), 0);
        assert_eq!(utc(2000, 2, 29, 12, 0, 1), 951_825_601);
        assert_eq!(utc(2026, 3, 8, 7, 0, 0), 1_772_953_200);
        assert_eq!(utc(2026, 11, 1, 6, 0, 0), 1_793_512_800);
    }
}
