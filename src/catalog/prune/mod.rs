//! Deleting history that need not be kept any longer.
//!
//! Owns these invariants. A row of the ledger stays as long as anybody needs it: one without an end;
//! one that is not counted; one beyond its job's cursor, which keeps its occurrence from running
//! again; one of an occurrence that somebody has asked for; those of a job's newest occurrence. Of the
//! attempts at an occurrence the earlier ones go first, or with the later ones: what has succeeded in
//! the end never looks as if it had failed for good.
//!
//! Every statement looks at so many rows at the most as it is told, and finds them by an index: a join
//! that Postgres could do by reading all of a table is a look into the index for each row instead (LATERAL
//! or EXISTS, with OFFSET 0). `job` is about jobs with rules of their own, `rest` about other tables.

mod job;
mod rest;

use std::sync::LazyLock;

use pg_tock_core::time::Timestamp;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi;

use crate::pg::time::to_pg;

pub(crate) use job::{Oldest, Place, Ruled, of_job, old_of_job, oldest, ruled};
pub(crate) use rest::{alerts, skips, stray_checkpoints, stray_logs};

/// How long runs are kept of jobs that do not say, in days; None for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    /// The time to count back from: the same for a whole pass, so that attempts go in order.
    pub(crate) now: Timestamp,
    /// Of those that succeeded at once.
    pub(crate) succeeded: Option<i32>,
    /// Of the others.
    pub(crate) failed: Option<i32>,
}

/// Where a walk through the ledger has got to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The runs that may go.
    pub(crate) due: Vec<i64>,
    /// How many rows were looked at.
    pub(crate) seen: usize,
    /// The last of them.
    pub(crate) last: Option<i64>,
    /// The last of those before the first that is too young.
    pub(crate) settled: Option<i64>,
    /// Whether there was one that is not too young.
    pub(crate) any_old: bool,
}

/// Whether a run is kept with the failed ones: it failed, or followed attempts that did.
const FAILED: &str =
    "((d.status OPERATOR(pg_catalog.=) 'failed') OR (d.attempt OPERATOR(pg_catalog.>) 1))";

/// The instant before which a run has to have ended to go for its age; NULL if it never does. $1 to
/// $3 are [`Spans`].
fn age_limit() -> String {
    format!(
        "($1 OPERATOR(pg_catalog.-) pg_catalog.make_interval(hours => 24 OPERATOR(pg_catalog.*) \
         CASE WHEN j.keep_days IS NOT NULL THEN nullif(greatest(least(j.keep_days, 36525), 0), 0) \
          WHEN {FAILED} IS TRUE THEN $3 ELSE $2 END))"
    )
}

/// Whether nobody needs a run's row any more. Its job's row is j, s what is known of that, and newest
/// its latest occurrence.
const FREE: &str = "d.runid OPERATOR(pg_catalog.<) (SELECT e.counted_below FROM cron.engine_state e) \
     AND NOT EXISTS (SELECT FROM cron.run_request q WHERE q.jobid OPERATOR(pg_catalog.=) d.jobid \
       AND q.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for OFFSET 0) \
     AND (j.jobid IS NULL \
      OR CASE WHEN d.scheduled_for IS NULL THEN d.runid OPERATOR(pg_catalog.<>) ALL (ARRAY( \
          SELECT c.last_runid FROM cron.job_stat c WHERE c.jobid OPERATOR(pg_catalog.=) d.jobid)) \
        ELSE (d.scheduled_for OPERATOR(pg_catalog.<=) greatest(s.cursor, s.effective_from) \
          OR s.jobid IS NOT NULL \
           AND d.trigger OPERATOR(pg_catalog.=) ANY (ARRAY['manual', 'startup'])) \
         AND d.scheduled_for OPERATOR(pg_catalog.<) newest.scheduled_for END)";

/// What goes with a row, once it is found. Ordered and limited, so that each is a look into an index.
const AROUND: &str = "LEFT JOIN cron.job j ON j.jobid OPERATOR(pg_catalog.=) d.jobid \
     LEFT JOIN cron.job_state s ON s.jobid OPERATOR(pg_catalog.=) d.jobid \
     LEFT JOIN LATERAL (SELECT n.scheduled_for FROM cron.job_run_details n \
       WHERE n.jobid OPERATOR(pg_catalog.=) d.jobid AND n.scheduled_for IS NOT NULL \
        AND n.end_time IS NOT NULL ORDER BY n.scheduled_for DESC LIMIT 1) newest ON true";

// $4: beyond which run, $5: how many, $6: the instant before which a row is old enough to look at.
fn walk(filter: &str) -> String {
    format!(
        "SELECT d.runid, coalesce(d.end_time OPERATOR(pg_catalog.<) {}, false) AND {FREE}, \
          coalesce(d.end_time OPERATOR(pg_catalog.<) $6, false) \
         FROM (SELECT r.runid, r.jobid, r.scheduled_for, r.attempt, r.status, r.trigger, r.end_time \
           FROM cron.job_run_details r WHERE r.runid OPERATOR(pg_catalog.>) $4 {filter} \
           ORDER BY r.runid LIMIT $5) d {AROUND} ORDER BY d.runid",
        age_limit()
    )
}

static ALL: LazyLock<String> = LazyLock::new(|| walk(""));
static FAILED_ONES: LazyLock<String> =
    LazyLock::new(|| walk("AND r.status OPERATOR(pg_catalog.=) 'failed'"));

// A row that somebody is about to change or delete is left to him.
const DELETE: &str = "DELETE FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.=) ANY (ARRAY( \
      SELECT o.runid FROM cron.job_run_details o WHERE o.runid OPERATOR(pg_catalog.=) ANY ($1) \
      FOR UPDATE SKIP LOCKED)) \
     RETURNING d.runid, d.jobid, d.scheduled_for";

const LOGS: &str = "DELETE FROM cron.run_log l WHERE l.runid OPERATOR(pg_catalog.=) ANY ($1)";

// One that a later attempt could go on from stays with that.
const CHECKPOINTS: &str = "DELETE FROM cron.run_checkpoint k WHERE k.ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
      SELECT c.ctid FROM ROWS FROM (pg_catalog.unnest($1::bigint[]), \
        pg_catalog.unnest($2::timestamptz[])) AS u (jobid, scheduled_for) \
      CROSS JOIN LATERAL (SELECT o.ctid FROM cron.run_checkpoint o \
       WHERE o.jobid OPERATOR(pg_catalog.=) u.jobid \
        AND o.scheduled_for OPERATOR(pg_catalog.=) u.scheduled_for OFFSET 0) c \
      WHERE NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) u.jobid \
        AND d.scheduled_for OPERATOR(pg_catalog.=) u.scheduled_for OFFSET 0)))";

const NOTE: &str = "INSERT INTO cron.keeper_state AS k (pruned_at, pruned_runs) VALUES ($1, $2) \
     ON CONFLICT ((true)) DO UPDATE SET pruned_at = excluded.pruned_at, \
      pruned_runs = excluded.pruned_runs";

fn stamp(at: Timestamp) -> DatumWithOid<'static> {
    TimestampWithTimeZone::try_from(to_pg(at)).ok().into()
}

impl Page {
    /// Where the walk goes on; None if it has come to the end, or to what is too young.
    pub(crate) fn next(&self, most: i64) -> Option<i64> {
        let full = i64::try_from(self.seen).is_ok_and(|seen| seen >= most);
        self.last.filter(|_| full && self.any_old)
    }
}

impl Spans {
    fn args(&self) -> [DatumWithOid<'static>; 3] {
        [stamp(self.now), self.succeeded.into(), self.failed.into()]
    }

    /// What ended before `now` less so many days is old.
    pub(crate) fn limit(&self, days: i32) -> Timestamp {
        self.now.plus(-i64::from(days) * 86_400 * Timestamp::SECOND)
    }
}

/// Looks at runs in the order of their ids: at all of them, or only at those that failed. In a
/// transaction, as every function here.
///
/// # Errors
/// What Postgres says, as of every function here.
pub(crate) fn page(
    spans: &Spans,
    failed: bool,
    after: i64,
    most: i64,
    limit: Timestamp,
) -> Result<Page, spi::Error> {
    let statement: &str = if failed { &FAILED_ONES } else { &ALL };
    let [now, succeeded, kept_failed] = spans.args();
    let args = [now, succeeded, kept_failed, after.into(), most.into(), stamp(limit)];
    Spi::connect(|client| {
        let mut page = Page::default();
        let mut all_old = true;
        for row in client.select(statement, None, &args)? {
            let Some(run) = row.get::<i64>(1)? else { continue };
            let old = row.get(3)?.unwrap_or(false);
            page.seen += 1;
            page.last = Some(run);
            page.any_old |= old;
            all_old &= old;
            if all_old {
                page.settled = Some(run);
            }
            if row.get(2)?.unwrap_or(false) {
                page.due.push(run);
            }
        }
        Ok(page)
    })
}

/// Deletes runs, with what they have noted and their checkpoints. Returns how many there were.
pub(crate) fn delete(runs: &[i64]) -> Result<usize, spi::Error> {
    if runs.is_empty() {
        return Ok(0);
    }
    Spi::connect_mut(|client| {
        let (mut gone, mut jobs, mut instants) = (Vec::new(), Vec::new(), Vec::new());
        for row in client.update(DELETE, None, &[runs.to_vec().into()])? {
            gone.extend(row.get::<i64>(1)?);
            if let (Some(job), Some(at)) =
                (row.get::<i64>(2)?, row.get::<TimestampWithTimeZone>(3)?)
            {
                jobs.push(job);
                instants.push(at);
            }
        }
        let count = gone.len();
        client.update(LOGS, None, &[gone.into()])?;
        client.update(CHECKPOINTS, None, &[jobs.into(), instants.into()])?;
        Ok(count)
    })
}

/// Notes that the history has been pruned.
pub(crate) fn note(at: Timestamp, runs: i64) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        client.update(NOTE, None, &[stamp(at), runs.into()])?;
        Ok(())
    })
}
