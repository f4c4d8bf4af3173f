//! What a report is made from, as far as the caller may see it.
//!
//! Owns two invariants. Every statement runs with the caller's rights, so that row security decides.
//! And the number of rows read is bounded: runs and skips are looked up job by job in an index, the
//! newest so many of each.

use pg_tock_core::report::{Failure, Hour, Job, Level, Run, Skip};
use pg_tock_core::run::Outcome;
use pg_tock_core::time::Timestamp;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;

use crate::error::Error;
use crate::pg::text::ServerText;
use crate::pg::time::{from_pg, timestamptz};

/// Text in the database's encoding, whatever bytes it has.
macro_rules! text {
    ($column:literal) => {
        concat!("pg_catalog.convert_to(", $column, ", pg_catalog.getdatabaseencoding())")
    };
}

macro_rules! jobs {
    ($where:literal) => {
        concat!(
            "SELECT j.jobid, ",
            text!("j.jobname"),
            ", ",
            text!("j.username"),
            ", ",
            text!("j.database"),
            ", ",
            text!("j.schedule"),
            ", ",
            text!("j.timezone"),
            ", j.state, j.next_run_at, ",
            "CASE WHEN s.total_runs OPERATOR(pg_catalog.>) 0 \
             THEN s.total_ms OPERATOR(pg_catalog./) s.total_runs::pg_catalog.float8 END ",
            "FROM cron.jobs j LEFT JOIN cron.job_stat s \
             ON s.jobid OPERATOR(pg_catalog.=) j.jobid ",
            $where
        )
    };
}

const JOBS: &str = jobs!("");
const JOB: &str = jobs!("WHERE j.jobid OPERATOR(pg_catalog.=) $1");
const JOBS_NAMED: &str = jobs!("WHERE j.jobname OPERATOR(pg_catalog.=) $1");

// Runs are found by their occurrence. One that began before the time in question may end in it: as far
// back is looked as the job's longest run took, but not longer than a day.
const RUNS: &str = "SELECT j.jobid, r.runid, r.start_time, r.end_time, r.outcome \
     FROM cron.job j LEFT JOIN cron.job_stat s ON s.jobid OPERATOR(pg_catalog.=) j.jobid \
     CROSS JOIN LATERAL (SELECT d.runid, d.start_time, d.end_time, \
       coalesce(d.outcome, d.status) AS outcome FROM cron.job_run_details d \
      WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid \
       AND d.scheduled_for OPERATOR(pg_catalog.>=) ($1 OPERATOR(pg_catalog.-) \
        pg_catalog.make_interval(secs => least(coalesce(s.max_ms, 0) OPERATOR(pg_catalog./) 1000, 86400))) \
      ORDER BY d.scheduled_for DESC, d.attempt DESC LIMIT $2) AS r \
     WHERE r.end_time OPERATOR(pg_catalog.>=) $1 AND r.start_time IS NOT NULL \
      AND ($3 IS NULL OR j.jobid OPERATOR(pg_catalog.=) ANY ($3)) \
     ORDER BY j.jobid";

const RUNNING: &str = "SELECT r.jobid, r.runid, r.started_at FROM cron.running r \
     WHERE r.started_at IS NOT NULL";

const SKIPS: &str = "SELECT j.jobid, k.reason, k.first_at, k.last_at, k.count \
     FROM cron.job j CROSS JOIN LATERAL (SELECT s.reason, s.first_at, s.last_at, s.count \
      FROM cron.job_skip s WHERE s.jobid OPERATOR(pg_catalog.=) j.jobid \
       AND s.last_at OPERATOR(pg_catalog.>=) $1 ORDER BY s.last_at DESC LIMIT 500) AS k \
     WHERE $2 IS NULL OR j.jobid OPERATOR(pg_catalog.=) ANY ($2)";

const FAILURES: &str = concat!(
    "SELECT d.runid, d.jobid, d.start_time, coalesce(d.outcome, d.status), ",
    text!("d.reason"),
    ", d.sqlstate, d.attempt, ",
    text!("pg_catalog.left(d.return_message, 2000)"),
    " FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.=) ANY ($1)"
);

// Runs that take hours count in the hour they started in; how long they took on average says how far
// they reach beyond it.
const HOURS: &str = "SELECT h.hour, h.lasting, pg_catalog.sum(h.total_runs)::pg_catalog.int8, \
      pg_catalog.sum(h.total_ms) \
     FROM cron.job j CROSS JOIN LATERAL (SELECT s.hour, s.total_runs, s.total_ms, \
       pg_catalog.ceil(s.total_ms OPERATOR(pg_catalog./) s.total_runs OPERATOR(pg_catalog./) 3600000)::pg_catalog.int8 \
        AS lasting \
      FROM cron.job_stat_hour s WHERE s.jobid OPERATOR(pg_catalog.=) j.jobid \
       AND s.hour OPERATOR(pg_catalog.>=) $1 AND s.total_runs OPERATOR(pg_catalog.>) 0 OFFSET 0) AS h \
     GROUP BY h.hour, h.lasting";

const PLACE: &str = concat!(
    "SELECT ",
    text!("pg_catalog.current_database()::pg_catalog.text"),
    ", ",
    text!("CURRENT_USER::pg_catalog.text"),
    ", pg_catalog.current_setting('TimeZone'), pg_catalog.current_setting('server_version'), \
      (SELECT e.extversion FROM pg_catalog.pg_extension e \
       WHERE e.extname OPERATOR(pg_catalog.=) 'pg_tock')"
);

const HEALTH: &str = concat!(
    "SELECT h.status, ",
    text!("reason.text"),
    " FROM cron.health h LEFT JOIN LATERAL pg_catalog.unnest(h.reasons) \
       WITH ORDINALITY AS reason (text, place) ON true ORDER BY reason.place"
);

/// Rows that are fetched at once.
const BATCH: core::ffi::c_long = 1_000;

/// Where a report is made, and for whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) database: String,
    pub(crate) role: String,
    /// The session's time zone.
    pub(crate) zone: String,
    pub(crate) server: String,
    pub(crate) version: String,
}

/// Which jobs are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    All,
    Id(i64),
    Named(ServerText<'a>),
}

/// Where this session is.
pub(crate) fn place() -> Result<Place, Error> {
    Spi::connect(|client| {
        let row = client.select(PLACE, Some(1), &[])?.first();
        let text = |column| row.get::<Vec<u8>>(column).map(|bytes| utf8(bytes).unwrap_or_default());
        let plain = |column| row.get::<String>(column).map(Option::unwrap_or_default);
        Ok(Place {
            database: text(1)?,
            role: text(2)?,
            zone: plain(3)?,
            server: plain(4)?,
            version: plain(5)?,
        })
    })
}

/// The jobs the caller may see.
pub(crate) fn jobs(which: Which<'_>) -> Result<Vec<Job>, Error> {
    match which {
        Which::All => stream(JOBS, &[], read_job),
        Which::Id(jobid) => stream(JOB, &[jobid.into()], read_job),
        Which::Named(name) => stream(JOBS_NAMED, &[name.param()], read_job),
    }
}

/// The runs of some jobs, or of all, that were over at `since` or later, job by job: hands each of
/// at most `most` of a job to `take`.
pub(crate) fn runs(
    since: Timestamp,
    most: usize,
    jobs: Option<&[i64]>,
    mut take: impl FnMut(i64, Run),
) -> Result<(), Error> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let args = [timestamptz(since).into(), most.into(), jobs.map(<[i64]>::to_vec).into()];
    each(RUNS, &args, |row| {
        let outcome = row.get::<String>(5)?;
        let run = Run {
            id: row.get(2)?.unwrap_or_default(),
            started: instant(row, 3)?.unwrap_or_default(),
            ended: instant(row, 4)?,
            outcome: Some(
                outcome.and_then(|name| Outcome::parse(&name)).unwrap_or(Outcome::Failed),
            ),
        };
        take(row.get(1)?.unwrap_or_default(), run);
        Ok(())
    })
}

/// The runs under way.
pub(crate) fn running() -> Result<Vec<(i64, Run)>, Error> {
    stream(RUNNING, &[], |row| {
        let started = instant(row, 3)?.unwrap_or_default();
        let run = Run { id: row.get(2)?.unwrap_or_default(), started, ended: None, outcome: None };
        Ok((row.get(1)?.unwrap_or_default(), run))
    })
}

/// What some jobs, or all, have skipped since then.
pub(crate) fn skips(since: Timestamp, jobs: Option<&[i64]>) -> Result<Vec<(i64, Skip)>, Error> {
    stream(SKIPS, &[timestamptz(since).into(), jobs.map(<[i64]>::to_vec).into()], |row| {
        let skip = Skip {
            reason: row.get(2)?.unwrap_or_default(),
            first: instant(row, 3)?.unwrap_or_default(),
            last: instant(row, 4)?.unwrap_or_default(),
            count: row.get::<i64>(5)?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        };
        Ok((row.get(1)?.unwrap_or_default(), skip))
    })
}

/// What all jobs did in each hour since then.
pub(crate) fn hours(since: Timestamp) -> Result<Vec<Hour>, Error> {
    stream(HOURS, &[timestamptz(since).into()], |row| {
        Ok(Hour {
            at: instant(row, 1)?.unwrap_or_default(),
            lasting: row.get(2)?.unwrap_or(1),
            starts: row.get::<i64>(3)?.and_then(|runs| u64::try_from(runs).ok()).unwrap_or(0),
            busy: super::outlook::whole_micros(row.get(4)?.unwrap_or(0.0)),
        })
    })
}

/// How things stand for the caller, and why.
pub(crate) fn health() -> Result<(Level, Vec<String>), Error> {
    let rows = stream(HEALTH, &[], |row| Ok((row.get::<String>(1)?, utf8(row.get(2)?))))?;
    let level = rows.first().and_then(|(status, _)| status.as_deref()).map(Level::parse);
    let reasons = rows.into_iter().filter_map(|(_, reason)| reason).collect();
    Ok((level.unwrap_or(Level::Critical), reasons))
}

/// What these runs said.
pub(crate) fn failures(runs: &[i64]) -> Result<Vec<Failure>, Error> {
    stream(FAILURES, &[runs.to_vec().into()], |row| {
        let outcome = row.get::<String>(4)?;
        Ok(Failure {
            run: row.get(1)?.unwrap_or_default(),
            job: row.get(2)?.unwrap_or_default(),
            started: instant(row, 3)?.unwrap_or_default(),
            outcome: outcome.and_then(|name| Outcome::parse(&name)).unwrap_or(Outcome::Failed),
            reason: utf8(row.get(5)?),
            sqlstate: row.get(6)?,
            attempt: row.get(7)?.unwrap_or(1),
            message: utf8(row.get(8)?).unwrap_or_default(),
        })
    })
}

fn read_job(row: &SpiHeapTupleData<'_>) -> Result<Job, Error> {
    let text = |column: usize| row.get::<Vec<u8>>(column).map(utf8);
    let millis = row.get::<f64>(9)?;
    Ok(Job {
        id: row.get(1)?.unwrap_or_default(),
        name: text(2)?,
        owner: text(3)?.unwrap_or_default(),
        database: text(4)?.unwrap_or_default(),
        schedule: text(5)?.unwrap_or_default(),
        zone: text(6)?.unwrap_or_default(),
        state: row.get(7)?.unwrap_or_default(),
        next: instant(row, 8)?,
        expected: millis.map(super::outlook::whole_micros),
    })
}

fn utf8(text: Option<Vec<u8>>) -> Option<String> {
    text.map(|text| ServerText::new(&text).utf8().into_owned())
}

fn instant(row: &SpiHeapTupleData<'_>, column: usize) -> Result<Option<Timestamp>, Error> {
    Ok(row.get::<TimestampWithTimeZone>(column)?.map(|at| from_pg(at.into_inner())))
}

/// All rows of a statement.
fn stream<T>(
    statement: &'static str,
    args: &[DatumWithOid<'_>],
    read: impl Fn(&SpiHeapTupleData<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut rows = Vec::new();
    each(statement, args, |row| {
        rows.push(read(row)?);
        Ok(())
    })?;
    Ok(rows)
}

/// Hands each row of a statement to `take`, without having all of them in memory.
fn each(
    statement: &'static str,
    args: &[DatumWithOid<'_>],
    mut take: impl FnMut(&SpiHeapTupleData<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    Spi::connect(|client| {
        let mut cursor = client.open_cursor(statement, args);
        loop {
            let rows = cursor.fetch(BATCH)?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                take(&row)?;
            }
        }
    })
}
