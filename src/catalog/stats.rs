//! Statistics: `cron.job_stat`, `cron.job_stat_hour`, `cron.job_stat_day`.
//!
//! Owns one invariant: a run is added to all three in one statement, so that hours and days add up to
//! the whole. They are added to where they are stored; only how long runs take
//! is read, for alerts that go by it.

use std::collections::HashMap;

use pg_tock_core::alert::Pace;
use pg_tock_core::run::{Outcome, Trigger};
use pg_tock_core::stats::{Counts, Ended, Streak, hour_of};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{self, SpiHeapTupleData};

use super::kept;
use crate::pg::time::{from_pg, timestamptz};

/// What every table of statistics adds up, from a row of that name.
macro_rules! sums {
    ($from:literal) => {
        concat!(
            "total_runs = s.total_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".total_runs, successful_runs = s.successful_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".successful_runs, timed_out_runs = s.timed_out_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".timed_out_runs, cancelled_runs = s.cancelled_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".cancelled_runs, crashed_runs = s.crashed_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".crashed_runs, retried_runs = s.retried_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".retried_runs, skipped_runs = s.skipped_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".skipped_runs, total_ms = s.total_ms OPERATOR(pg_catalog.+) ",
            $from,
            ".total_ms, max_ms = greatest(s.max_ms, ",
            $from,
            ".max_ms), wal_bytes = s.wal_bytes OPERATOR(pg_catalog.+) ",
            $from,
            ".wal_bytes, rows = s.rows OPERATOR(pg_catalog.+) ",
            $from,
            ".rows, durations = cron.sketch_add(s.durations, ",
            $from,
            ".durations), start_lags = cron.sketch_add(s.start_lags, ",
            $from,
            ".start_lags)"
        )
    };
}

/// What `cron.job_stat` keeps beside that. A run that succeeded ends the row of failures before it.
macro_rules! facts {
    ($from:literal) => {
        concat!(
            "failed_runs = s.failed_runs OPERATOR(pg_catalog.+) ",
            $from,
            ".failed_runs, last_run_at = coalesce(",
            $from,
            ".last_run_at, s.last_run_at), last_runid = greatest(",
            $from,
            ".last_runid, s.last_runid), last_status = coalesce(",
            $from,
            ".last_status, s.last_status), last_error = coalesce(",
            $from,
            ".last_error, s.last_error), last_end = coalesce(",
            $from,
            ".last_end, s.last_end), last_success_at = greatest(",
            $from,
            ".last_success_at, s.last_success_at), consecutive_failures = ",
            $from,
            ".consecutive_failures OPERATOR(pg_catalog.+) CASE WHEN ",
            $from,
            ".last_success_at IS NULL THEN s.consecutive_failures ELSE 0 END, \
              last_failed_runid = greatest(",
            $from,
            ".last_failed_runid, s.last_failed_runid), ",
            sums!($from)
        )
    };
}

macro_rules! measures {
    () => {
        "total_runs, successful_runs, timed_out_runs, cancelled_runs, crashed_runs, retried_runs, \
         skipped_runs, total_ms, max_ms, wal_bytes, rows, durations, start_lags"
    };
}

/// Adds the news to a table of hours or days. Rows that are there are updated without being locked
/// first, as ON CONFLICT would, with a WAL record for each. Nobody else inserts, but one of them may
/// just be deleted.
macro_rules! roll_up {
    ($name:literal, $column:literal, $span:literal) => {
        concat!(
            $name,
            "_there AS (UPDATE cron.",
            $name,
            " AS s SET ",
            sums!("n"),
            " FROM news n WHERE s.jobid OPERATOR(pg_catalog.=) n.jobid AND s.",
            $column,
            " OPERATOR(pg_catalog.=) ",
            $span,
            " RETURNING s.jobid), ",
            $name,
            "_new AS (INSERT INTO cron.",
            $name,
            " AS s (jobid, ",
            $column,
            ", ",
            measures!(),
            ") SELECT n.jobid, ",
            $span,
            ", ",
            measures!(),
            " FROM news n WHERE NOT EXISTS (SELECT FROM ",
            $name,
            "_there t WHERE t.jobid OPERATOR(pg_catalog.=) n.jobid) \
              ON CONFLICT ON CONSTRAINT ",
            $name,
            "_pkey DO UPDATE SET ",
            sums!("excluded"),
            "), "
        )
    };
}

const COUNT: &str = concat!(
    "WITH news AS MATERIALIZED (SELECT u.*, \
      u.total_runs OPERATOR(pg_catalog.-) u.successful_runs AS failed_runs FROM ROWS FROM (\
      pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), \
      pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), \
      pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11), \
      pg_catalog.unnest($12), pg_catalog.unnest($13), pg_catalog.unnest($14), \
      pg_catalog.unnest($15), pg_catalog.unnest($16), pg_catalog.unnest($17), \
      pg_catalog.unnest($18), pg_catalog.unnest($19), pg_catalog.unnest($20), \
      pg_catalog.unnest($21), pg_catalog.unnest($22), pg_catalog.unnest($23)) AS u (jobid, hour, ",
    measures!(),
    ", last_run_at, last_runid, last_status, last_error, last_end, last_success_at, \
      consecutive_failures, last_failed_runid)), ",
    roll_up!("job_stat_hour", "hour", "n.hour"),
    roll_up!("job_stat_day", "day", "pg_catalog.timezone('UTC', n.hour)::pg_catalog.date"),
    "there AS (UPDATE cron.job_stat AS s SET ",
    facts!("n"),
    " FROM news n WHERE s.jobid OPERATOR(pg_catalog.=) n.jobid RETURNING s.jobid) \
     INSERT INTO cron.job_stat AS s (jobid, failed_runs, last_run_at, last_runid, last_status, \
      last_error, last_end, last_success_at, consecutive_failures, last_failed_runid, ",
    measures!(),
    ") SELECT n.jobid, failed_runs, last_run_at, last_runid, last_status, last_error, last_end, \
      last_success_at, consecutive_failures, last_failed_runid, ",
    measures!(),
    " FROM news n WHERE NOT EXISTS (SELECT FROM there t \
       WHERE t.jobid OPERATOR(pg_catalog.=) n.jobid) \
     ON CONFLICT ON CONSTRAINT job_stat_pkey DO UPDATE SET ",
    facts!("excluded")
);

// A scheduler that has drawn no id yet knows of no run, and must not move the mark back.
const COUNTED: &str = "UPDATE cron.engine_state SET counted_below = greatest(counted_below, $1)";

const COUNTED_BELOW: &str = "SELECT e.counted_below FROM cron.engine_state e";

// Rows past the mark, and which of them are past the last run counted for their job.
const UNCOUNTED: &str = "SELECT d.runid, d.jobid, d.status, d.outcome, d.attempt, d.trigger, \
      d.scheduled_for, coalesce(d.start_time, d.end_time), d.end_time, \
      CASE WHEN d.status OPERATOR(pg_catalog.=) 'failed' THEN d.return_message END, \
      d.row_count, d.usage OPERATOR(pg_catalog.->>) 'rows', \
      d.usage OPERATOR(pg_catalog.->>) 'wal_bytes', \
      d.end_time IS NOT NULL AND d.jobid IS NOT NULL \
       AND d.status OPERATOR(pg_catalog.=) ANY (ARRAY['succeeded', 'failed']) \
       AND (c.last_runid IS NULL OR d.runid OPERATOR(pg_catalog.>) c.last_runid) \
       AND EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) d.jobid OFFSET 0) \
     FROM (SELECT r.* FROM cron.job_run_details r WHERE r.runid OPERATOR(pg_catalog.>=) $1 \
      ORDER BY r.runid LIMIT $2) d \
     LEFT JOIN cron.job_stat c ON c.jobid OPERATOR(pg_catalog.=) d.jobid \
     ORDER BY d.runid";

// $1 is a run that goes on. Rows without an end may be those of dead runs somebody has locked.
const MARK_CAUGHT_UP: &str = "UPDATE cron.engine_state SET counted_below = coalesce(least($1, \
      (SELECT pg_catalog.min(d.runid) FROM cron.job_run_details d WHERE d.end_time IS NULL), \
      greatest(counted_below, (SELECT pg_catalog.max(d.runid) OPERATOR(pg_catalog.+) 1 \
       FROM cron.job_run_details d WHERE d.end_time IS NOT NULL))), 1)";

const PACES: &str = "SELECT s.jobid, s.total_runs, s.p95_duration_ms::pg_catalog.float8 \
     FROM cron.job_stat s WHERE s.jobid OPERATOR(pg_catalog.=) ANY ($1)";

/// What some runs of a job, and occurrences of it that did not run, add to its statistics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// By the hour in which the runs started; hardly ever more than one.
    hours: Vec<(Timestamp, Counts)>,
    /// How many have failed since one succeeded.
    streak: Streak,
    /// The newest run.
    last: Option<Last>,
    /// The latest end of one that succeeded.
    last_success: Option<Timestamp>,
    /// The newest that failed and that nobody had ended.
    last_failure: Option<i64>,
    /// The message of the newest that failed.
    last_error: Option<String>,
    /// The lowest id of a run that is counted here.
    first_run: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    run: i64,
    started: Timestamp,
    ended: Timestamp,
    succeeded: bool,
}

impl Tally {
    /// Counts a run.
    pub(crate) fn add(&mut self, run: RunId, ended: &Ended, message: Option<&str>) {
        self.in_hour_of(ended.started_at, |counts| counts.add(ended));
        self.streak.add(ended.outcome);
        let succeeded = ended.outcome == Outcome::Succeeded;
        if succeeded {
            self.last_success = self.last_success.max(Some(ended.ended_at));
        } else {
            if ended.outcome != Outcome::Cancelled {
                self.last_failure = self.last_failure.max(Some(run.0));
            }
            self.last_error = message.map(str::to_owned);
        }
        self.last = Some(Last {
            run: run.0.max(self.last.map_or(i64::MIN, |last| last.run)),
            started: ended.started_at,
            ended: ended.ended_at,
            succeeded,
        });
        self.first_run = Some(self.first_run.map_or(run.0, |first| first.min(run.0)));
    }

    /// Counts occurrences that did not run, the last of them at this instant.
    pub(crate) fn skip(&mut self, last: Timestamp, count: u64) {
        self.in_hour_of(last, |counts| counts.skip(count));
    }

    /// The lowest id of a run that is counted here.
    pub(crate) const fn first_run(&self) -> Option<i64> {
        self.first_run
    }

    fn in_hour_of(&mut self, at: Timestamp, count: impl FnOnce(&mut Counts)) {
        let hour = hour_of(at);
        if let Some((_, counts)) = self.hours.iter_mut().find(|(known, _)| *known == hour) {
            return count(counts);
        }
        let mut counts = Counts::default();
        count(&mut counts);
        if self.hours.is_empty() {
            self.hours.reserve_exact(1);
        }
        self.hours.push((hour, counts));
    }
}

/// A line of what is added: what a job did in an hour, and with the last of a job's lines what is
/// known of it.
struct News<'a> {
    job: JobId,
    hour: Timestamp,
    counts: &'a Counts,
    tally: Option<&'a Tally>,
}

impl News<'_> {
    fn last<T>(&self, of: impl FnOnce(&Last) -> T) -> Option<T> {
        self.tally.and_then(|tally| tally.last.as_ref()).map(of)
    }
}

/// Adds to statistics. `counted_below`: every run with a lower id is counted then, if that is so. In a
/// transaction, as every function here.
pub(crate) fn count(
    tallies: &[(JobId, Tally)],
    counted_below: Option<i64>,
) -> Result<(), spi::Error> {
    // A statement adds to a row once, so it takes a line of each job.
    let lines = tallies.iter().map(|(_, tally)| tally.hours.len()).max().unwrap_or(0);
    for line in 0..lines {
        let news = tallies.iter().filter_map(|(job, tally)| {
            let (hour, counts) = tally.hours.get(line)?;
            let last = line + 1 == tally.hours.len();
            Some(News { job: *job, hour: *hour, counts, tally: last.then_some(tally) })
        });
        add(&news.collect::<Vec<_>>())?;
    }
    if let Some(below) = counted_below {
        Spi::connect_mut(|client| kept::update(client, COUNTED, &[below.into()]).map(drop))?;
    }
    Ok(())
}

fn add(news: &[News<'_>]) -> Result<(), spi::Error> {
    fn list<'a, T: IntoDatum>(
        news: &[News<'_>],
        of: impl FnMut(&News<'_>) -> T,
    ) -> DatumWithOid<'a> {
        news.iter().map(of).collect::<Vec<T>>().into()
    }
    let count = |of: fn(&Counts) -> i64| list(news, |line| of(line.counts));
    let sketch = |bytes: Vec<u8>| (!bytes.is_empty()).then_some(bytes);
    let status = |last: &Last| if last.succeeded { "succeeded" } else { "failed" };
    let args: [DatumWithOid<'_>; 23] = [
        list(news, |line| line.job.0),
        list(news, |line| timestamptz(line.hour)),
        count(|counts| counts.runs),
        count(|counts| counts.succeeded),
        count(|counts| counts.timed_out),
        count(|counts| counts.cancelled),
        count(|counts| counts.crashed),
        count(|counts| counts.retried),
        count(|counts| counts.skipped),
        list(news, |line| line.counts.total_ms),
        list(news, |line| line.counts.max_ms),
        count(|counts| counts.wal_bytes),
        count(|counts| counts.rows),
        list(news, |line| sketch(line.counts.durations.to_bytes())),
        list(news, |line| sketch(line.counts.start_lags.to_bytes())),
        list(news, |line| line.last(|last| last.started).and_then(timestamptz)),
        list(news, |line| line.last(|last| last.run)),
        list(news, |line| line.last(status)),
        list(news, |line| line.tally.and_then(|tally| tally.last_error.clone())),
        list(news, |line| line.last(|last| last.ended).and_then(timestamptz)),
        list(news, |line| line.tally.and_then(|tally| tally.last_success).and_then(timestamptz)),
        list(news, |line| line.tally.map_or(0, |tally| tally.streak.failures)),
        list(news, |line| line.tally.and_then(|tally| tally.last_failure)),
    ];
    Spi::connect_mut(|client| kept::update(client, COUNT, &args).map(drop))
}

/// The id below which every run is counted.
pub(crate) fn counted_below() -> Result<i64, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(COUNTED_BELOW, Some(1), &[])?;
        if rows.is_empty() { Ok(1) } else { Ok(rows.first().get_one()?.unwrap_or(1)) }
    })
}

/// A run that is over and may not be counted yet.
#[derive(Clone, Debug)]
pub(crate) struct Uncounted {
    pub(crate) job: JobId,
    pub(crate) run: RunId,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) scheduled_for: Option<Timestamp>,
    /// But for when it was due.
    pub(crate) ended: Ended,
    pub(crate) error: Option<String>,
}

/// Runs that are over and not counted yet among so many rows from this id on; and where to go on, None
/// if these were all.
pub(crate) fn uncounted(from: i64, most: i64) -> Result<(Vec<Uncounted>, Option<i64>), spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(UNCOUNTED, None, &[from.into(), most.into()])?;
        let (mut found, mut looked, mut last) = (Vec::new(), 0, i64::MIN);
        for row in rows {
            looked += 1;
            last = row.get(1)?.unwrap_or(last);
            if row.get(14)?.unwrap_or(false) {
                found.push(uncounted_of(&row)?);
            }
        }
        Ok((found, (looked >= most).then_some(last.saturating_add(1))))
    })
}

fn uncounted_of(row: &SpiHeapTupleData<'_>) -> Result<Uncounted, spi::Error> {
    let stamp = |at: Option<TimestampWithTimeZone>| at.map(|at| from_pg(at.into_inner()));
    let text = |place| row.get::<String>(place);
    // What is no number was written by somebody else.
    let number = |place| Ok::<_, spi::Error>(text(place)?.and_then(|text| text.parse().ok()));
    let succeeded = text(3)?.as_deref() == Some("succeeded");
    let plain = if succeeded { Outcome::Succeeded } else { Outcome::Failed };
    let ended_at = stamp(row.get(9)?).unwrap_or_default();
    let rows: Option<i64> = match number(12)? {
        Some(rows) => Some(rows),
        None => row.get(11)?,
    };
    Ok(Uncounted {
        job: JobId(row.get(2)?.unwrap_or_default()),
        run: RunId(row.get(1)?.unwrap_or_default()),
        trigger: text(6)?.as_deref().and_then(Trigger::parse),
        scheduled_for: stamp(row.get(7)?),
        ended: Ended {
            // Rows of pg_cron have none.
            outcome: text(4)?.as_deref().and_then(Outcome::parse).unwrap_or(plain),
            attempt: row.get::<i32>(5)?.map_or(1, |attempt| attempt.max(0).cast_unsigned()),
            due: None,
            started_at: stamp(row.get(8)?).unwrap_or(ended_at),
            ended_at,
            wal_bytes: number(13)?.unwrap_or(0),
            rows: rows.unwrap_or(0),
        },
        error: text(10)?,
    })
}

/// Moves the mark up to which runs are counted past all that are over. `oldest`: the lowest id of a run
/// that is not counted.
pub(crate) fn mark_caught_up(oldest: Option<i64>) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| client.update(MARK_CAUGHT_UP, None, &[oldest.into()]).map(drop))
}

/// How long the runs of some jobs take; those without statistics are left out.
pub(crate) fn paces(jobs: &[JobId]) -> Result<HashMap<JobId, Pace>, spi::Error> {
    let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
    Spi::connect(|client| {
        let mut paces = HashMap::new();
        for row in kept::select(client, PACES, &[ids.into()])? {
            let p95 = row.get::<f64>(3)?.unwrap_or(0.0) * 1_000.0;
            #[allow(clippy::cast_possible_truncation, reason = "whole microseconds")]
            let pace = Pace { runs: row.get(2)?.unwrap_or(0), p95: p95.round() as i64 };
            paces.insert(JobId(row.get(1)?.unwrap_or_default()), pace);
        }
        Ok(paces)
    })
}
