//! Runs of jobs with rules of their own: `keep_runs`, `keep_days`.

use std::sync::LazyLock;

use pg_tock_core::time::{JobId, Timestamp};
use pgrx::prelude::*;
use pgrx::spi;

use super::{AROUND, FAILED, FREE, Spans, age_limit, stamp};
use crate::pg::time::from_pg;

/// A job with a rule of its own, or with that of `cron.default_keep_runs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruled {
    pub(crate) job: JobId,
    /// How many runs are kept of each kind; 0 for all.
    pub(crate) runs: i32,
    /// For how many days; 0 for ever.
    pub(crate) days: Option<i32>,
}

/// An attempt at an occurrence: where a walk through a job's runs has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) at: Timestamp,
    pub(crate) attempt: i32,
}

impl Place {
    /// Before all others.
    pub(crate) const FIRST: Self = Self { at: Timestamp(i64::MIN), attempt: 0 };
}

/// The oldest runs of a job that are kept for being among its newest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oldest {
    pub(crate) failed: Option<Place>,
    pub(crate) other: Option<Place>,
}

// Jobs with a rule of their own of which there may be something to delete. $1: beyond which job, $2:
// how many jobs to look at, $3: how many runs are kept of those that do not say, $4: now.
const RULED: &str = "SELECT j.jobid, j.keep_runs, j.keep_days FROM ( \
      SELECT i.jobid, coalesce(i.keep_runs, $3) AS keep_runs, i.keep_days FROM cron.job i \
       WHERE i.jobid OPERATOR(pg_catalog.>) $1 ORDER BY i.jobid LIMIT $2) j \
     WHERE j.keep_runs OPERATOR(pg_catalog.>) 0 AND EXISTS (SELECT FROM cron.job_run_details d \
        WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid AND d.scheduled_for IS NOT NULL \
        ORDER BY d.scheduled_for DESC OFFSET j.keep_runs LIMIT 1) \
      OR j.keep_days OPERATOR(pg_catalog.>) 0 AND ((SELECT d.scheduled_for \
         FROM cron.job_run_details d WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid \
         ORDER BY d.scheduled_for LIMIT 1) OPERATOR(pg_catalog.<) ($4 OPERATOR(pg_catalog.-) \
          pg_catalog.make_interval(hours => 24 OPERATOR(pg_catalog.*) least(j.keep_days, 36525))) \
        OR (SELECT d.scheduled_for IS NULL \
         FROM cron.job_run_details d WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid \
         ORDER BY d.scheduled_for DESC LIMIT 1)) \
     ORDER BY j.jobid";

// The oldest run of a job that is kept for being among its newest. $1: the job, $2: how many are newer,
// $3: how many runs to look at.
fn oldest_kept(kind: &str) -> String {
    format!(
        "SELECT d.scheduled_for, coalesce(d.attempt, 1) FROM ( \
          SELECT r.scheduled_for, r.attempt, r.status FROM cron.job_run_details r \
          WHERE r.jobid OPERATOR(pg_catalog.=) $1 AND r.scheduled_for IS NOT NULL \
          ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT $3) d \
         WHERE {FAILED} IS {kind} \
         ORDER BY d.scheduled_for DESC, d.attempt DESC OFFSET $2 LIMIT 1"
    )
}

static OLDEST_FAILED: LazyLock<String> = LazyLock::new(|| oldest_kept("TRUE"));
static OLDEST_OTHER: LazyLock<String> = LazyLock::new(|| oldest_kept("NOT TRUE"));

// Runs of one job, $4, in the order of its occurrences: beyond attempt $6 of occurrence $5, $7 at the
// most, up to occurrence $8. Failed ones before attempt $10 of occurrence $9 go for their number, others
// before attempt $12 of occurrence $11.
static OF_JOB: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT d.runid, (coalesce(d.end_time OPERATOR(pg_catalog.<) {}, false) \
           OR coalesce(d.end_time IS NOT NULL AND CASE WHEN {FAILED} IS TRUE \
             THEN ROW(d.scheduled_for, coalesce(d.attempt, 1)) OPERATOR(pg_catalog.<) ROW($9, $10) \
             ELSE ROW(d.scheduled_for, coalesce(d.attempt, 1)) OPERATOR(pg_catalog.<) ROW($11, $12) \
            END, false)) AND {FREE}, d.scheduled_for, coalesce(d.attempt, 1) \
         FROM (SELECT r.runid, r.jobid, r.scheduled_for, r.attempt, r.status, r.trigger, r.end_time \
           FROM cron.job_run_details r WHERE r.jobid OPERATOR(pg_catalog.=) $4 \
            AND ROW(r.scheduled_for, r.attempt) OPERATOR(pg_catalog.>) ROW($5, $6) \
            AND r.scheduled_for OPERATOR(pg_catalog.<=) $8 \
           ORDER BY r.scheduled_for, r.attempt LIMIT $7) d {AROUND} \
         ORDER BY d.scheduled_for, d.attempt",
        age_limit()
    )
});

// The same for runs that pg_cron has left, which are for no occurrence: $5 at the most.
static OF_JOB_OLD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT d.runid FROM cron.job_run_details d {AROUND} \
         WHERE d.jobid OPERATOR(pg_catalog.=) $4 AND d.scheduled_for IS NULL \
          AND d.end_time OPERATOR(pg_catalog.<) {} AND {FREE} \
         ORDER BY d.scheduled_for, d.attempt LIMIT $5",
        age_limit()
    )
});

/// Those of so many jobs beyond this one that have something to delete, and the last of all these;
/// None if there are no more.
pub(crate) fn ruled(
    after: i64,
    most: i64,
    runs: i32,
    now: Timestamp,
) -> Result<(Vec<Ruled>, Option<i64>), spi::Error> {
    let last = crate::catalog::load::ids(after, most)?.last().copied();
    let args = [after.into(), most.into(), runs.into(), stamp(now)];
    let found = Spi::connect(|client| {
        let rows = client.select(RULED, None, &args)?;
        rows.map(|row| {
            Ok(Ruled {
                job: JobId(row.get(1)?.unwrap_or_default()),
                runs: row.get(2)?.unwrap_or(0),
                days: row.get(3)?,
            })
        })
        .collect::<Result<Vec<_>, spi::Error>>()
    })?;
    Ok((found, last))
}

/// The oldest runs of a job that are kept, if there are older ones: `runs` of those that failed, and as
/// many of the others.
pub(crate) fn oldest(job: JobId, runs: i32) -> Result<Oldest, spi::Error> {
    // Beyond this there is nothing but runs of one kind, once the others have been deleted.
    let most = i64::from(runs).saturating_mul(3).saturating_add(10_000);
    let newer = i64::from(runs).saturating_sub(1).max(0);
    let args = [job.0.into(), newer.into(), most.into()];
    let find = |statement: &str| {
        Spi::connect(|client| {
            let rows = client.select(statement, Some(1), &args)?;
            rows.map(|row| place(&row, 1)).next().transpose()
        })
    };
    Ok(Oldest { failed: find(&OLDEST_FAILED)?, other: find(&OLDEST_OTHER)? })
}

fn place(row: &spi::SpiHeapTupleData<'_>, column: usize) -> Result<Place, spi::Error> {
    let at = row.get::<TimestampWithTimeZone>(column)?;
    let at = at.map_or(Timestamp(i64::MIN), |at| from_pg(at.into_inner()));
    Ok(Place { at, attempt: row.get(column + 1)?.unwrap_or(1) })
}

/// So many runs of a job beyond this place, up to the occurrence `last`: those that may go, how many
/// there were, and the place of the last one.
pub(crate) fn of_job(
    spans: &Spans,
    job: JobId,
    after: Place,
    most: i64,
    last: Timestamp,
    oldest: Oldest,
) -> Result<(Vec<i64>, usize, Option<Place>), spi::Error> {
    let [now, succeeded, failed] = spans.args();
    let at = |place: Option<Place>| {
        place.map_or_else(|| None::<TimestampWithTimeZone>.into(), |p| stamp(p.at))
    };
    let attempt = |place: Option<Place>| place.map(|place| place.attempt).into();
    let args = [
        now,
        succeeded,
        failed,
        job.0.into(),
        stamp(after.at),
        after.attempt.into(),
        most.into(),
        stamp(last),
        at(oldest.failed),
        attempt(oldest.failed),
        at(oldest.other),
        attempt(oldest.other),
    ];
    Spi::connect(|client| {
        let (mut due, mut seen, mut end) = (Vec::new(), 0, None);
        for row in client.select(OF_JOB.as_str(), None, &args)? {
            seen += 1;
            end = Some(place(&row, 3)?);
            if row.get(2)?.unwrap_or(false) {
                due.extend(row.get::<i64>(1)?);
            }
        }
        Ok((due, seen, end))
    })
}

/// So many runs of a job that are too old and for no occurrence.
pub(crate) fn old_of_job(spans: &Spans, job: JobId, most: i64) -> Result<Vec<i64>, spi::Error> {
    let [now, succeeded, failed] = spans.args();
    Spi::connect(|client| {
        let args = [now, succeeded, failed, job.0.into(), most.into()];
        let rows = client.select(OF_JOB_OLD.as_str(), None, &args)?;
        rows.map(|row| Ok(row.get(1)?.unwrap_or_default())).collect()
    })
}
