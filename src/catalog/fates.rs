//! What became of instants of jobs, for those who begin to wait for them.
//!
//! Invariant: nothing is said of an instant that has a run under way.

use pg_tock_core::time::{JobId, Timestamp};
use pgrx::prelude::*;
use pgrx::spi;

use super::kept;
use crate::pg::time::{from_pg, to_pg};

// The newest of each job. What was skipped first, in stretches, and at last what succeeded in the middle
// of such a stretch: a backfill. A skip ahead of a clock that was set back is not meant.
const SINCE: &str = "WITH u AS MATERIALIZED (SELECT i.jobid, coalesce(i.since, '-infinity') AS since FROM \
      ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::timestamptz[])) \
       AS i (jobid, since)) \
     SELECT u.jobid, k.first_at, k.last_at, false, 0 AS turn FROM u \
     JOIN cron.job_skip k ON k.jobid OPERATOR(pg_catalog.=) u.jobid \
      AND k.last_at OPERATOR(pg_catalog.>) u.since \
      AND k.last_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() \
     UNION ALL \
     SELECT u.jobid, d.scheduled_for, d.scheduled_for, d.succeeded, 1 + d.succeeded::pg_catalog.int4 FROM u \
     CROSS JOIN LATERAL (SELECT r.scheduled_for, \
       pg_catalog.bool_or(r.status OPERATOR(pg_catalog.=) 'succeeded' \
        OR pg_catalog.starts_with(coalesce(r.reason, ''), 'resolved as succeeded ')) AS succeeded \
      FROM cron.job_run_details r \
      WHERE r.jobid OPERATOR(pg_catalog.=) u.jobid \
       AND r.scheduled_for OPERATOR(pg_catalog.>) u.since \
      GROUP BY r.scheduled_for HAVING pg_catalog.bool_and(r.end_time IS NOT NULL) \
       AND NOT pg_catalog.bool_or( \
        r.trigger OPERATOR(pg_catalog.=) ANY (ARRAY['startup', 'manual', 'alert'])) \
      ORDER BY r.scheduled_for DESC LIMIT 10000) AS d \
     WHERE NOT d.succeeded OR EXISTS (SELECT FROM cron.job_skip k \
      WHERE k.jobid OPERATOR(pg_catalog.=) u.jobid \
       AND k.first_at OPERATOR(pg_catalog.<=) d.scheduled_for \
       AND k.last_at OPERATOR(pg_catalog.>=) d.scheduled_for) \
     ORDER BY turn";

/// What became of a job's instants from `first` to `last`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) job: JobId,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) succeeded: bool,
}

/// The instants of these jobs, each after one of its own, that have not succeeded, in stretches, and
/// then those in the middle of such that have. Of each job those of its newest 10,000 instants with a
/// row. In a transaction.
pub(crate) fn since(of: &[(JobId, Timestamp)]) -> Result<Vec<Fate>, spi::Error> {
    Spi::connect(|client| {
        let stamp = |at: Timestamp| TimestampWithTimeZone::try_from(to_pg(at)).ok();
        let ids: Vec<i64> = of.iter().map(|(job, _)| job.0).collect();
        let since: Vec<_> = of.iter().map(|&(_, at)| stamp(at)).collect();
        let rows = kept::select(client, SINCE, &[ids.into(), since.into()])?;
        let mut found = Vec::new();
        for row in rows {
            let at = |column| row.get::<TimestampWithTimeZone>(column);
            if let (Some(first), Some(last)) = (at(2)?, at(3)?) {
                let (first, last) = (from_pg(first.into_inner()), from_pg(last.into_inner()));
                let job = JobId(row.get(1)?.unwrap_or_default());
                found.push(Fate { job, first, last, succeeded: row.get(4)?.unwrap_or(false) });
            }
        }
        Ok(found)
    })
}
