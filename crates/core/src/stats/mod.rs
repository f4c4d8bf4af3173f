//! What runs add to the statistics of their job.
//!
//! Owns the definitions: what each figure counts, in which hour a run falls, how late a start is. The
//! scheduler counts runs as they end, and again from their rows those it had no time for; both come
//! through here.

pub mod shown;
pub mod sketch;

use crate::run::{Outcome, Trigger};
use crate::time::Timestamp;
use sketch::Sketch;

/// Microseconds in an hour.
const HOUR: i64 = 3_600 * Timestamp::SECOND;

/// The start of the hour of an instant, in UTC.
#[must_use]
pub const fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(HOUR).saturating_mul(HOUR))
}

/// A run that is over, as statistics see it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Which attempt at its occurrence it was.
    pub attempt: u32,
    /// When it was to start, jitter included; None where that says nothing about the scheduler.
    pub due: Option<Timestamp>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Bytes of WAL it wrote.
    pub wal_bytes: i64,
    /// Rows its statements returned or changed.
    pub rows: i64,
}

/// When a run was to start, if being late for that is the scheduler's doing: instants of the schedule,
/// starts of the server, and runs that somebody asked for, whose instant is that of the request. Not
/// those that are late by nature: missed ones that are caught up, repeated attempts, past ones that are
/// filled in, and runs that wait for another job. `planned`: the occurrence with the job's jitter.
#[must_use]
pub fn due(
    trigger: Trigger,
    scheduled_for: Timestamp,
    planned: impl FnOnce() -> Timestamp,
) -> Option<Timestamp> {
    match trigger {
        Trigger::Schedule => Some(planned()),
        Trigger::Manual | Trigger::Startup | Trigger::Alert => Some(scheduled_for),
        Trigger::Retry | Trigger::CatchUp | Trigger::Backfill | Trigger::Dependency => None,
    }
}

/// What some runs add, and occurrences that did not run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Runs that ended.
    pub runs: i64,
    /// Those that succeeded.
    pub succeeded: i64,
    /// Those that took longer than they may.
    pub timed_out: i64,
    /// Those that somebody ended.
    pub cancelled: i64,
    /// Those whose process or server died.
    pub crashed: i64,
    /// Those that were a further attempt at their occurrence.
    pub retried: i64,
    /// Occurrences that were due and did not run.
    pub skipped: i64,
    /// Time the runs took together, in milliseconds.
    pub total_ms: f64,
    /// Time the longest took, in milliseconds.
    pub max_ms: f64,
    /// Bytes of WAL they wrote.
    pub wal_bytes: i64,
    /// Rows their statements returned or changed.
    pub rows: i64,
    /// How long each took.
    pub durations: Sketch,
    /// How late each started that was to start at an instant.
    pub start_lags: Sketch,
}

impl Counts {
    /// Counts a run.
    pub fn add(&mut self, run: &Ended) {
        let took = run.ended_at.since(run.started_at);
        #[allow(clippy::cast_precision_loss, reason = "milliseconds for people")]
        let ms = took as f64 / 1_000.0;
        self.runs += 1;
        match run.outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Timeout => self.timed_out += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Crashed => self.crashed += 1,
            Outcome::Failed => {}
        }
        self.retried += i64::from(run.attempt > 1);
        self.total_ms += ms;
        self.max_ms = self.max_ms.max(ms);
        self.wal_bytes = self.wal_bytes.saturating_add(run.wal_bytes);
        self.rows = self.rows.saturating_add(run.rows);
        self.durations.add(took);
        if let Some(due) = run.due {
            self.start_lags.add(run.started_at.since(due));
        }
    }

    /// Counts occurrences that did not run.
    pub fn skip(&mut self, count: u64) {
        self.skipped = self.skipped.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// How many runs in a row have failed.
///
/// A run that somebody ended says nothing about its job, and leaves the row as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// A run has succeeded: what was before does not count any more.
    pub broken: bool,
    /// Failed runs since, or since this streak was begun.
    pub failures: i64,
}

impl Streak {
    /// A run has ended.
    pub const fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Succeeded => *self = Self { broken: true, failures: 0 },
            Outcome::Failed | Outcome::Timeout | Outcome::Crashed => {
                self.failures = self.failures.saturating_add(1);
            }
            Outcome::Cancelled => {}
        }
    }

    /// How many there are, if there were this many before.
    #[must_use]
    pub const fn after(self, before: i64) -> i64 {
        if self.broken { self.failures } else { before.saturating_add(self.failures) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: Ended = Ended {
        outcome: Outcome::Succeeded,
        attempt: 1,
        due: Some(Timestamp(1_000)),
        started_at: Timestamp(1_500),
        ended_at: Timestamp(5_500),
        wal_bytes: 10,
        rows: 2,
    };

    #[test]
    fn a_run_is_counted_as_what_it_was() {
        let mut counts = Counts::default();
        counts.add(&RUN);
        for &outcome in Outcome::ALL {
            counts.add(&Ended { outcome, attempt: 2, due: None, ..RUN });
        }
        counts.skip(3);
        let Counts { runs, succeeded, timed_out, cancelled, crashed, .. } = counts;
        assert_eq!((runs, succeeded, timed_out, cancelled, crashed), (6, 2, 1, 1, 1));
        assert_eq!((counts.retried, counts.skipped, counts.wal_bytes, counts.rows), (5, 3, 60, 12));
        assert_eq!((counts.total_ms, counts.max_ms), (24.0, 4.0));
        assert_eq!((counts.durations.count(), counts.start_lags.count()), (6, 1));
        let lag = counts.start_lags.quantile(0.5).unwrap_or_default();
        assert!((lag - 500.0).abs() <= 500.0 * sketch::ERROR, "{lag}");
    }

    #[test]
    fn only_starts_at_an_instant_can_be_late() {
        let due = |trigger| due(trigger, Timestamp(5), || Timestamp(7));
        assert_eq!(due(Trigger::Schedule), Some(Timestamp(7)));
        assert_eq!(due(Trigger::Manual), Some(Timestamp(5)));
        assert_eq!(due(Trigger::Startup), Some(Timestamp(5)));
        for trigger in [Trigger::Retry, Trigger::CatchUp, Trigger::Backfill, Trigger::Dependency] {
            assert_eq!(due(trigger), None);
        }
    }

    #[test]
    fn hours_are_those_of_utc() {
        let hour = hour_of(Timestamp::from_secs(7_300));
        assert_eq!(hour, Timestamp::from_secs(7_200));
        assert_eq!(hour_of(hour), hour);
        assert_eq!(hour_of(hour.plus(-1)), Timestamp::from_secs(3_600));
        assert_eq!(hour_of(Timestamp(-1)), Timestamp::from_secs(-3_600));
    }

    proptest! {
        /// Counting in pieces comes to the same as counting one by one.
        #[test]
        fn streaks_are_those_of_the_outcomes(codes in prop::collection::vec(0_u8..5, 0..40), at in 0_usize..40) {
            let outcomes: Vec<Outcome> = codes.into_iter().filter_map(Outcome::from_u8).collect();
            let at = at.min(outcomes.len());
            let since = outcomes.iter().rposition(|&outcome| outcome == Outcome::Succeeded);
            let last = since.map_or(&outcomes[..], |since| &outcomes[since + 1..]);
            let failed = last.iter().filter(|&&outcome| outcome != Outcome::Cancelled).count();
            let (mut first, mut second) = (Streak::default(), Streak::default());
            outcomes[..at].iter().for_each(|&outcome| first.add(outcome));
            outcomes[at..].iter().for_each(|&outcome| second.add(outcome));
            prop_assert_eq!(second.after(first.after(0)), i64::try_from(failed).unwrap());
        }
    }
}
