//! `cron.stat_reset` as the scheduler reads it: statistics that are to begin anew, and runs that were
//! resolved.
//!
//! Owns one invariant: a run that was resolved as succeeded makes its occurrence good for those who
//! wait for it, by a row here until that is written in `cron.job_state`.

use pg_tock_core::time::{JobId, Timestamp};
use pgrx::prelude::*;
use pgrx::spi;

use super::kept;
use crate::pg::time::from_pg;

// The instants of jobs' schedules somebody has resolved as succeeded, by these rows of cron.stat_reset.
// OFFSET 0: each run is looked up by itself, however few rows the ledger seems to have.
macro_rules! made_good {
    ($rows:literal) => {
        concat!(
            "SELECT DISTINCT d.jobid, d.scheduled_for AS at FROM ",
            $rows,
            " JOIN LATERAL (SELECT l.jobid, l.scheduled_for, l.reason FROM cron.job_run_details l \
              WHERE l.runid OPERATOR(pg_catalog.=) g.runid OFFSET 0) d ON true \
             WHERE g.runid IS NOT NULL AND d.scheduled_for IS NOT NULL \
              AND pg_catalog.starts_with(d.reason, 'resolved as succeeded ') \
              AND NOT EXISTS (SELECT FROM cron.job_run_details o \
               WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
                AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for AND o.trigger \
                 OPERATOR(pg_catalog.=) ANY (ARRAY['startup', 'manual', 'alert']) OFFSET 0)"
        )
    };
}
const MADE_GOOD: &str = made_good!("cron.stat_reset g");
const MADE_GOOD_OF: &str = made_good!(
    "(SELECT r.runid FROM cron.stat_reset r WHERE r.runid IS NOT NULL \
       AND r.jobid OPERATOR(pg_catalog.=) ANY ($1)) g"
);

const RESETS: &str = "SELECT DISTINCT r.jobid FROM cron.stat_reset r ORDER BY r.jobid LIMIT $1";

// What is known of the newest run stays: the scheduler goes by it. A run that was resolved ends the row of
// failures, if none has failed since; resolved as succeeded, it makes its occurrence good.
const RESET: &str = concat!(
    "WITH gone AS (DELETE FROM cron.stat_reset g WHERE g.jobid OPERATOR(pg_catalog.=) ANY ($1) \
      RETURNING g.jobid, g.runid), \
     wanted AS MATERIALIZED (SELECT g.jobid, pg_catalog.bool_or(g.runid IS NULL) AS anew, \
      pg_catalog.max(g.runid) AS runid FROM gone g GROUP BY g.jobid), \
     made_good AS (UPDATE cron.job_state s SET made_good = greatest(s.made_good, m.at) FROM \
      (SELECT a.jobid, pg_catalog.max(a.at) AS at FROM (",
    made_good!("gone g"),
    ") a GROUP BY a.jobid) m WHERE s.jobid OPERATOR(pg_catalog.=) m.jobid), \
     resolved AS (UPDATE cron.job_stat s SET consecutive_failures = 0 FROM wanted w \
      WHERE s.jobid OPERATOR(pg_catalog.=) w.jobid AND NOT w.anew \
       AND s.last_failed_runid OPERATOR(pg_catalog.<=) w.runid) \
     UPDATE cron.job_stat s SET total_runs = 0, successful_runs = 0, failed_runs = 0, total_ms = 0, \
      max_ms = 0, skipped_runs = 0, timed_out_runs = 0, cancelled_runs = 0, crashed_runs = 0, \
      retried_runs = 0, wal_bytes = 0, rows = 0, consecutive_failures = 0, \
      counted_since = pg_catalog.clock_timestamp(), durations = NULL, start_lags = NULL \
     FROM wanted w WHERE s.jobid OPERATOR(pg_catalog.=) w.jobid AND w.anew"
);

/// So many jobs whose statistics are to begin anew, or whose failures were resolved.
pub(crate) fn jobs(most: usize) -> Result<Vec<i64>, spi::Error> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Spi::connect(|client| {
        let rows = kept::select(client, RESETS, &[most.into()])?;
        rows.map(|row| row.get::<i64>(1).map(Option::unwrap_or_default)).collect()
    })
}

/// The instants of these jobs, or of all, that somebody has resolved as succeeded, as far as
/// [`carry_out`] has not seen to it.
pub(crate) fn made_good(of: Option<&[i64]>) -> Result<Vec<(JobId, Timestamp)>, spi::Error> {
    Spi::connect(|client| {
        let rows = match of {
            Some(ids) => kept::select(client, MADE_GOOD_OF, &[ids.to_vec().into()])?,
            None => kept::select(client, MADE_GOOD, &[])?,
        };
        let mut found = Vec::new();
        for row in rows {
            if let Some(at) = row.get::<TimestampWithTimeZone>(2)? {
                let job = JobId(row.get(1)?.unwrap_or_default());
                found.push((job, from_pg(at.into_inner())));
            }
        }
        Ok(found)
    })
}

/// Has the statistics of these jobs begin anew, or their rows of failures end, as somebody wants, and
/// stores which of their instants have been made good.
pub(crate) fn carry_out(jobs: &[i64]) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        kept::update(client, RESET, &[jobs.to_vec().into()])?;
        Ok(())
    })
}
