//! Statistics of hours and days that go: `cron.job_stat_hour`, `cron.job_stat_day`.

use pg_tock_core::time::Timestamp;
use pgrx::prelude::*;
use pgrx::spi;

use super::kept;
use crate::pg::time::timestamptz;

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Hour,
    Day,
}

macro_rules! old {
    ($table:literal, $column:literal, $limit:literal) => {
        concat!(
            "DELETE FROM cron.",
            $table,
            " WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT t.ctid FROM cron.",
            $table,
            " t WHERE t.",
            $column,
            " OPERATOR(pg_catalog.<) ",
            $limit,
            " ORDER BY t.",
            $column,
            " LIMIT $2))"
        )
    };
}

const OLD: [&str; 2] = [
    old!("job_stat_hour", "hour", "$1"),
    old!("job_stat_day", "day", "pg_catalog.timezone('UTC', $1)::pg_catalog.date"),
];

// From job to job, by a look into the index for each; and of those that are gone some rows.
macro_rules! strangers {
    ($table:literal) => {
        concat!(
            "WITH RECURSIVE jobs (jobid, n) AS ( \
              (SELECT t.jobid, 1 FROM cron.",
            $table,
            " t WHERE t.jobid OPERATOR(pg_catalog.>) $1 ORDER BY t.jobid LIMIT 1) \
              UNION ALL SELECT (SELECT t.jobid FROM cron.",
            $table,
            " t WHERE t.jobid OPERATOR(pg_catalog.>) j.jobid ORDER BY t.jobid LIMIT 1), \
               j.n OPERATOR(pg_catalog.+) 1 FROM jobs j \
              WHERE j.jobid IS NOT NULL AND j.n OPERATOR(pg_catalog.<) $2), \
             gone AS (DELETE FROM cron.",
            $table,
            " WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT t.ctid FROM jobs j \
               CROSS JOIN LATERAL (SELECT o.ctid FROM cron.",
            $table,
            " o WHERE o.jobid OPERATOR(pg_catalog.=) j.jobid OFFSET 0) t \
              WHERE NOT EXISTS (SELECT FROM cron.job k \
               WHERE k.jobid OPERATOR(pg_catalog.=) j.jobid OFFSET 0) LIMIT $2)) RETURNING 1) \
             SELECT (SELECT pg_catalog.max(j.jobid) FROM jobs j), \
              (SELECT pg_catalog.count(*) FROM gone)"
        )
    };
}

const STRANGERS: [&str; 2] = [strangers!("job_stat_hour"), strangers!("job_stat_day")];

/// Deletes rows that are older, `most` of them at the most, the oldest first. Returns how many there were.
pub(crate) fn prune(span: Span, before: Timestamp, most: i64) -> Result<usize, spi::Error> {
    let [hour, day] = OLD;
    let statement = if span == Span::Hour { hour } else { day };
    let args = [timestamptz(before).into(), most.into()];
    Spi::connect_mut(|client| Ok(kept::update(client, statement, &args)?.len()))
}

/// Deletes rows of jobs that are gone, `most` of them at the most, looking at as many jobs beyond this
/// one. Returns from where to go on, None if nothing is left.
pub(crate) fn forget(span: Span, after: i64, most: i64) -> Result<Option<i64>, spi::Error> {
    let [hour, day] = STRANGERS;
    let statement = if span == Span::Hour { hour } else { day };
    Spi::connect_mut(|client| {
        let rows = kept::update(client, statement, &[after.into(), most.into()])?;
        let (last, gone) = rows.first().get_two::<i64, i64>()?;
        // There may be more of them where these were.
        Ok(if gone.unwrap_or(0) >= most { Some(after) } else { last })
    })
}
