//! What else goes with time: skipped occurrences, alerts, and what runs have left behind whose rows
//! somebody else has deleted.

use pg_tock_core::time::Timestamp;
use pgrx::prelude::*;
use pgrx::spi;

use super::{Spans, stamp};
use crate::pg::time::from_pg;

// $1 to $3 are the spans, $4: beyond which job, $5: up to which, $6: how many rows. What lies beyond a
// job's cursor is still needed, as are rows that the scheduler may lengthen.
const SKIPS: &str = "DELETE FROM cron.job_skip k WHERE k.ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
      SELECT o.ctid FROM cron.job j \
      JOIN cron.job_state s ON s.jobid OPERATOR(pg_catalog.=) j.jobid \
      CROSS JOIN LATERAL (SELECT k.ctid FROM cron.job_skip k \
       WHERE k.jobid OPERATOR(pg_catalog.=) j.jobid \
        AND k.last_at OPERATOR(pg_catalog.<=) greatest(s.cursor, s.effective_from) \
        AND k.last_at OPERATOR(pg_catalog.<) ($1 OPERATOR(pg_catalog.-) pg_catalog.make_interval( \
         hours => 24 OPERATOR(pg_catalog.*) CASE \
          WHEN j.keep_days IS NOT NULL THEN nullif(greatest(least(j.keep_days, 36525), 0), 0) \
          WHEN $2::int4 IS NULL THEN NULL ELSE $3 END)) \
       LIMIT $6 FOR UPDATE SKIP LOCKED) o \
      WHERE j.jobid OPERATOR(pg_catalog.>) $4 AND j.jobid OPERATOR(pg_catalog.<=) $5 LIMIT $6))";

// Alerts that were over before $1, $2 at the most.
const ALERTS: &str = "DELETE FROM cron.alert k WHERE k.ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
      SELECT a.ctid FROM cron.alert a WHERE a.recovered_at OPERATOR(pg_catalog.<) $1 \
      ORDER BY a.recovered_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

// What runs have noted whose rows somebody else has deleted: beyond run $1, $2 rows, older than $3.
const STRAY_LOGS: &str = "SELECT l.runid, pg_catalog.bool_and(l.at OPERATOR(pg_catalog.<) $3) \
      AND NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.runid OPERATOR(pg_catalog.=) l.runid OFFSET 0) \
     FROM (SELECT r.runid, r.at FROM cron.run_log r WHERE r.runid OPERATOR(pg_catalog.>) $1 \
       ORDER BY r.runid LIMIT $2) l GROUP BY l.runid ORDER BY l.runid";

// The same of checkpoints: beyond occurrence $2 of job $1, $3 rows, older than $4. A run may write an
// old one anew at any time.
const STRAY_CHECKPOINTS: &str = "SELECT c.jobid, c.scheduled_for, c.at OPERATOR(pg_catalog.<) $4 \
      AND NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) c.jobid \
        AND d.scheduled_for OPERATOR(pg_catalog.=) c.scheduled_for OFFSET 0) \
      AND NOT EXISTS (SELECT FROM cron.run_request q \
       WHERE q.jobid OPERATOR(pg_catalog.=) c.jobid \
        AND q.scheduled_for OPERATOR(pg_catalog.=) c.scheduled_for OFFSET 0) \
     FROM (SELECT r.jobid, r.scheduled_for, r.at FROM cron.run_checkpoint r \
       WHERE ROW(r.jobid, r.scheduled_for) OPERATOR(pg_catalog.>) ROW($1, $2) \
       ORDER BY r.jobid, r.scheduled_for LIMIT $3) c ORDER BY c.jobid, c.scheduled_for";

const FORGET_CHECKPOINTS: &str = "DELETE FROM cron.run_checkpoint k WHERE k.ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
      SELECT c.ctid FROM ROWS FROM (pg_catalog.unnest($1::bigint[]), \
        pg_catalog.unnest($2::timestamptz[])) AS u (jobid, scheduled_for) \
      CROSS JOIN LATERAL (SELECT o.ctid FROM cron.run_checkpoint o \
       WHERE o.jobid OPERATOR(pg_catalog.=) u.jobid \
        AND o.scheduled_for OPERATOR(pg_catalog.=) u.scheduled_for \
        AND o.at OPERATOR(pg_catalog.<) $3 OFFSET 0 FOR UPDATE SKIP LOCKED) c))";

/// Deletes so many skipped occurrences of jobs beyond this one, up to another. Returns how many there
/// were.
pub(crate) fn skips(spans: &Spans, after: i64, last: i64, most: i64) -> Result<usize, spi::Error> {
    let [now, succeeded, failed] = spans.args();
    let args = [now, succeeded, failed, after.into(), last.into(), most.into()];
    Spi::connect_mut(|client| Ok(client.update(SKIPS, None, &args)?.len()))
}

/// Deletes so many alerts that were over before that. Returns how many there were.
pub(crate) fn alerts(most: i64, before: Timestamp) -> Result<usize, spi::Error> {
    let args = [stamp(before), most.into()];
    Spi::connect_mut(|client| Ok(client.update(ALERTS, None, &args)?.len()))
}

/// Deletes what runs have noted that have no row, of so many notes beyond a run. Returns the last run
/// that was looked at; None if there are no more.
pub(crate) fn stray_logs(
    after: i64,
    most: i64,
    before: Timestamp,
) -> Result<Option<i64>, spi::Error> {
    Spi::connect_mut(|client| {
        let (mut stray, mut last) = (Vec::new(), None);
        for row in client.select(STRAY_LOGS, None, &[after.into(), most.into(), stamp(before)])? {
            last = row.get::<i64>(1)?;
            if row.get(2)?.unwrap_or(false) {
                stray.extend(last);
            }
        }
        client.update(super::LOGS, None, &[stray.into()])?;
        Ok(last)
    })
}

/// Deletes checkpoints of occurrences that have no row, of so many beyond an occurrence of a job.
/// Returns the last one that was looked at; None if there are no more.
pub(crate) fn stray_checkpoints(
    (job, at): (i64, Timestamp),
    most: i64,
    before: Timestamp,
) -> Result<Option<(i64, Timestamp)>, spi::Error> {
    Spi::connect_mut(|client| {
        let (mut jobs, mut instants, mut last) = (Vec::new(), Vec::new(), None);
        let args = [job.into(), stamp(at), most.into(), stamp(before)];
        for row in client.select(STRAY_CHECKPOINTS, None, &args)? {
            let (Some(job), Some(at)) = (row.get::<i64>(1)?, row.get::<TimestampWithTimeZone>(2)?)
            else {
                continue;
            };
            last = Some((job, from_pg(at.into_inner())));
            if row.get(3)?.unwrap_or(false) {
                jobs.push(job);
                instants.push(at);
            }
        }
        if !jobs.is_empty() {
            let args = [jobs.into(), instants.into(), stamp(before)];
            client.update(FORGET_CHECKPOINTS, None, &args)?;
        }
        Ok(last)
    })
}
