//! The report: what jobs have done in a span of time, as one HTML page or as lines of characters.
//!
//! Owns two invariants. The size of what is written is bounded, whatever there was: so many jobs are
//! shown one by one, and the rest is summed up and said to be. And nothing a user has written (names,
//! messages, schedules) is ever anything but text in it: markup is made by `maud`, which escapes, and
//! characters that would move or reorder text are shown by their code (see [`text`]).
//!
//! Everything here is pure: rows go into a [`Collector`], a [`Report`] comes out, and [`page::html`]
//! and [`draw::lines`] write it down.

mod axis;
mod charts;
mod collect;
pub mod draw;
mod failures;
pub mod page;
mod tables;
pub mod text;

#[cfg(test)]
mod tests;

pub use collect::{Collector, Hour, Limits};
pub use failures::{Failure, FailureGroup};

use crate::run::Outcome;
use crate::schedule::Zone;
use crate::time::Timestamp;

/// A span of time, from its beginning up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first instant.
    pub from: Timestamp,
    /// The instant after the last.
    pub until: Timestamp,
}

impl Span {
    /// How long it is in microseconds, at least one.
    #[must_use]
    pub fn length(self) -> i64 {
        self.until.since(self.from).max(1)
    }

    /// Where an instant lies in it, 0 at its beginning and 1 at its end; cut to that.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a place on a drawing")]
    pub fn place(self, at: Timestamp) -> f64 {
        (at.since(self.from) as f64 / self.length() as f64).clamp(0.0, 1.0)
    }
}

/// One run as the ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; None while it is under way.
    pub ended: Option<Timestamp>,
    /// How it ended; None while it is under way.
    pub outcome: Option<Outcome>,
}

impl Run {
    /// Whether it ended in anything but success.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome != Outcome::Succeeded)
    }
}

/// Neighbouring occurrences that did not run, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Why, as in `cron.job_skip`.
    pub reason: String,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many they are.
    pub count: u64,
}

/// What is known of a job beside its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// Its name; None if it has none.
    pub name: Option<String>,
    /// The role it runs as.
    pub owner: String,
    /// The database it runs in.
    pub database: String,
    /// Its schedule, as written.
    pub schedule: String,
    /// The time zone it is scheduled in.
    pub zone: String,
    /// Its state, as in `cron.jobs`.
    pub state: String,
    /// When it starts next.
    pub next: Option<Timestamp>,
    /// How long a run takes on average, in microseconds; None before the first.
    pub expected: Option<i64>,
}

impl Job {
    /// What to call it: its name, or its number.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) if !name.is_empty() => text::line(name, 60),
            _ => format!("job {}", self.id),
        }
    }

    /// Whether it is in a state in which it never starts, and not because somebody wants that.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let fine = ["running", "scheduled", "paused", "inactive", "never fires", "remote node"];
        !fine.contains(&self.state.as_str())
    }
}

/// What some runs come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there are.
    pub runs: u64,
    /// How many have succeeded.
    pub succeeded: u64,
    /// How many have ended otherwise.
    pub failed: u64,
    /// How many are under way.
    pub running: u64,
    /// How many occurrences were skipped.
    pub skipped: u64,
    /// How long the runs took together, in microseconds, as far as that lies in the span.
    pub busy: i64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.running += other.running;
        self.skipped += other.skipped;
        self.busy = self.busy.saturating_add(other.busy);
    }
}

/// How long the runs of a job took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Half of them took no longer.
    pub p50: i64,
    /// 95 of 100 took no longer.
    pub p95: i64,
    /// 99 of 100 took no longer.
    pub p99: i64,
    /// The longest.
    pub max: i64,
}

/// A job that is shown by itself.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The job.
    pub job: Job,
    /// Its runs, in no order; of those that are over not more than [`Limits::runs_a_job`].
    pub runs: Vec<Run>,
    /// What it skipped.
    pub skips: Vec<Skip>,
    /// What they come to.
    pub tally: Tally,
    /// How long those that ended took.
    pub durations: Option<Durations>,
    /// Its runs before this instant were not read, for there are too many.
    pub unread_before: Option<Timestamp>,
}

/// An hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// How many hours of this kind lie in the span; 0 if none does.
    pub seen: f64,
    /// How many runs started in them.
    pub starts: f64,
    /// For how many hours runs went on in them, each run for itself.
    pub busy: f64,
}

impl Cell {
    /// Starts in an hour, on average.
    #[must_use]
    pub fn starts_an_hour(&self) -> f64 {
        if self.seen > 0.0 { self.starts / self.seen } else { 0.0 }
    }

    /// How many runs went on at once, on average.
    #[must_use]
    pub fn load(&self) -> f64 {
        if self.seen > 0.0 { self.busy / self.seen } else { 0.0 }
    }
}

/// The hours of the week, Monday first.
pub type Week = [[Cell; 24]; 7];

/// A job's coming starts.
#[derive(Clone, Debug)]
pub struct Coming {
    /// The job.
    pub job: Job,
    /// Its next starts, soonest first.
    pub starts: Vec<Timestamp>,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to do.
    #[default]
    Healthy,
    /// Somebody should look.
    Warning,
    /// Jobs do not run.
    Critical,
}

impl Level {
    /// The level of this name, as in `cron.health`; one that is not known is the worst.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name {
            "healthy" => Self::Healthy,
            "warning" => Self::Warning,
            _ => Self::Critical,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where and when a report was made.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The database whose jobs they are.
    pub database: String,
    /// The role that asked, and that sees no more than it may.
    pub role: String,
    /// Versions of the extension and the server.
    pub version: String,
    /// The time it speaks of.
    pub span: Span,
    /// The zone its times are in.
    pub zone: Zone,
    /// How things stand.
    pub level: Level,
    /// Why, as sentences.
    pub reasons: Vec<String>,
}

/// Everything a page says.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where and when.
    pub heading: Heading,
    /// How many jobs there are.
    pub jobs: usize,
    /// What all runs come to.
    pub tally: Tally,
    /// The jobs shown one by one: those that failed first, then those that ran longest.
    pub lanes: Vec<Lane>,
    /// What the runs of the other jobs come to.
    pub others: Tally,
    /// How many jobs have more runs in the span than were read.
    pub cut: usize,
    /// Jobs that cannot run as they are.
    pub broken: Vec<Job>,
    /// How many of those there are in all.
    pub broken_jobs: usize,
    /// When runs started and how many went on.
    pub week: Week,
    /// The time the week is made from.
    pub week_of: Span,
    /// The newest failures, alike ones together.
    pub failures: Vec<FailureGroup>,
    /// What comes next.
    pub coming: Vec<Coming>,
    /// How many jobs have a next start.
    pub coming_jobs: usize,
}
