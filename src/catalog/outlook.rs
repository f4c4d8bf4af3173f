//! Jobs as previews see them: what says when they run, how far they have come, how long they take.

use pg_tock_core::time::Timestamp;
use pgrx::datum::{DatumWithOid, Interval};
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::time::from_pg;

use super::role::extension_owner;

macro_rules! utf8 {
    ($column:literal) => {
        concat!("pg_catalog.convert_to(", $column, ", 'UTF8')")
    };
}

macro_rules! outlook {
    ($where:literal) => {
        concat!(
            "SELECT j.jobid, ",
            "pg_catalog.convert_to(j.jobname, pg_catalog.getdatabaseencoding()), j.active, ",
            utf8!("j.nodename"),
            ", ",
            utf8!("j.schedule"),
            ", ",
            utf8!("j.timezone"),
            ", ",
            utf8!("j.dst_policy"),
            ", j.jitter, ",
            utf8!("j.run_window"),
            ", ",
            utf8!("pg_catalog.array_to_json(j.skip_on)::pg_catalog.text"),
            ", ",
            utf8!("pg_catalog.array_to_json(j.only_on)::pg_catalog.text"),
            ", ",
            utf8!("j.on_missed"),
            ", j.missed_window, j.paused_until, s.effective_from, t.last_end, ",
            "CASE WHEN t.total_runs OPERATOR(pg_catalog.>) 0 ",
            "THEN t.total_ms OPERATOR(pg_catalog./) t.total_runs::pg_catalog.float8 END",
            ", ",
            utf8!("j.database"),
            ", ",
            utf8!("j.username"),
            " FROM cron.job j ",
            "LEFT JOIN cron.job_state s ON s.jobid OPERATOR(pg_catalog.=) j.jobid ",
            "LEFT JOIN cron.job_stat t ON t.jobid OPERATOR(pg_catalog.=) j.jobid ",
            $where
        )
    };
}

const ONE: &str = outlook!("WHERE j.jobid OPERATOR(pg_catalog.=) $1");
const ACTIVE: &str = outlook!("WHERE j.active ORDER BY j.jobid");

/// What shapes a job's schedule, as its columns have it; None is the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shaped {
    pub(crate) jobid: i64,
    pub(crate) schedule: String,
    pub(crate) timezone: Option<String>,
    pub(crate) dst_policy: Option<String>,
    /// Microseconds.
    pub(crate) jitter: Option<i64>,
    pub(crate) run_window: Option<String>,
    /// Names of calendars.
    pub(crate) skip_on: Vec<String>,
    pub(crate) only_on: Vec<String>,
}

/// One job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) shaped: Shaped,
    /// In the database's encoding.
    pub(crate) jobname: Option<Vec<u8>>,
    pub(crate) active: bool,
    pub(crate) nodename: String,
    pub(crate) on_missed: Option<String>,
    /// Microseconds.
    pub(crate) missed_window: Option<i64>,
    pub(crate) database: String,
    pub(crate) username: String,
    /// `i64::MAX` for a pause without end.
    pub(crate) paused_until: Option<Timestamp>,
    pub(crate) effective_from: Option<Timestamp>,
    pub(crate) last_end: Option<Timestamp>,
    /// Mean duration of a run in microseconds; None before the first.
    pub(crate) average: Option<i64>,
}

/// A job, whoever owns it.
pub(crate) fn one(jobid: i64) -> Result<Option<Outlook>, Error> {
    let owner = extension_owner()?;
    Ok(as_role(owner, || select(ONE, &[jobid.into()]))?.pop())
}

/// The active jobs the caller may see.
pub(crate) fn active() -> Result<Vec<Outlook>, Error> {
    select(ACTIVE, &[])
}

fn select(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<Vec<Outlook>, Error> {
    Spi::connect(|client| client.select(statement, None, args)?.map(|row| read(&row)).collect())
}

fn read(row: &SpiHeapTupleData<'_>) -> Result<Outlook, Error> {
    let text = |column: usize| {
        row.get::<Vec<u8>>(column)
            .map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let instant = |column: usize| {
        row.get::<TimestampWithTimeZone>(column).map(|at| at.map(|at| from_pg(at.into_inner())))
    };
    let span =
        |column: usize| row.get::<Interval>(column).map(|span| span.map(|span| micros(&span)));
    let average = row.get::<f64>(17)?;
    Ok(Outlook {
        shaped: Shaped {
            jobid: row.get(1)?.unwrap_or_default(),
            schedule: text(5)?.unwrap_or_default(),
            timezone: text(6)?,
            dst_policy: text(7)?,
            jitter: span(8)?,
            run_window: text(9)?,
            skip_on: names(row.get(10)?)?,
            only_on: names(row.get(11)?)?,
        },
        jobname: row.get(2)?,
        active: row.get(3)?.unwrap_or(false),
        nodename: text(4)?.unwrap_or_default(),
        on_missed: text(12)?,
        missed_window: span(13)?,
        paused_until: instant(14)?,
        effective_from: instant(15)?,
        last_end: instant(16)?,
        database: text(18)?.unwrap_or_default(),
        username: text(19)?.unwrap_or_default(),
        average: average.map(whole_micros),
    })
}

/// The names in a list, without those that are NULL; lists within lists are taken as one.
fn names(list: Option<Vec<u8>>) -> Result<Vec<String>, Error> {
    fn collect(value: serde_json::Value, names: &mut Vec<String>) {
        match value {
            serde_json::Value::String(name) => names.push(name),
            serde_json::Value::Array(values) => {
                values.into_iter().for_each(|value| collect(value, names));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(list) = list {
        collect(serde_json::from_slice(&list)?, &mut found);
    }
    Ok(found)
}

/// An interval in microseconds, a month of 30 days as in Postgres's comparisons; saturates.
pub(crate) fn micros(interval: &Interval) -> i64 {
    i64::try_from(interval.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds as whole microseconds; durations of centuries are cut.
pub(super) fn whole_micros(millis: f64) -> i64 {
    std::time::Duration::try_from_secs_f64(millis / 1_000.0)
        .ok()
        .and_then(|duration| i64::try_from(duration.as_micros()).ok())
        .unwrap_or(0)
}
