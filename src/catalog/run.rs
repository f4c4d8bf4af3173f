//! The rows of `cron.job_run_details` the scheduler writes: runs in other databases, runs that go
//! on for more than a second, runs whose executor died, runs that could not start.

use std::ffi::{CStr, CString};

use pg_tock_core::run::{Guarantee, Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pg_tock_core::usage::Usage;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{JsonB, spi};

use super::http::HttpAnswer;
use super::kept;
use crate::pg::text::ServerText;
use crate::pg::time::to_pg;

const LEDGER: &str = "SELECT c.oid FROM pg_catalog.pg_class c \
     WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('cron.job_run_details')";

const DRAW: &str = "SELECT pg_catalog.nextval('cron.runid_seq') \
     FROM pg_catalog.generate_series(1, $1)";

const LAST_DRAWN: &str = "SELECT CASE WHEN s.is_called THEN s.last_value \
      ELSE s.last_value OPERATOR(pg_catalog.-) 1 END FROM cron.runid_seq s";

/// Writes one row, from parameters in the order of [`PARAMETERS`]. A row that has an end is final:
/// whoever comes second changes nothing.
pub(crate) const WRITE: &CStr = c"INSERT INTO cron.job_run_details AS d \
     (jobid, runid, job_pid, database, username, command, status, return_message, start_time, \
      end_time, jobname, scheduled_for, attempt, trigger, outcome, reason, guarantee, sqlstate, \
      error, row_count, requested_by, usage) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
      $19, $20, $21, $22) \
     ON CONFLICT ON CONSTRAINT job_run_details_pkey DO UPDATE SET \
      status = excluded.status, return_message = excluded.return_message, \
      end_time = excluded.end_time, outcome = excluded.outcome, reason = excluded.reason, \
      guarantee = excluded.guarantee, sqlstate = excluded.sqlstate, error = excluded.error, \
      row_count = excluded.row_count, usage = excluded.usage \
     WHERE d.end_time IS NULL";

const WRITE_TEXT: &str = match WRITE.to_str() {
    Ok(text) => text,
    Err(_) => "",
};

/// The columns [`WRITE`] fills, and their types.
pub(crate) const PARAMETERS: [(&[u8], pg_sys::BuiltinOid); 22] = {
    use pg_sys::BuiltinOid::{INT4OID, INT8OID, JSONBOID, TEXTOID, TIMESTAMPTZOID};
    [
        (b"jobid", INT8OID),
        (b"runid", INT8OID),
        (b"job_pid", INT4OID),
        (b"database", TEXTOID),
        (b"username", TEXTOID),
        (b"command", TEXTOID),
        (b"status", TEXTOID),
        (b"return_message", TEXTOID),
        (b"start_time", TIMESTAMPTZOID),
        (b"end_time", TIMESTAMPTZOID),
        (b"jobname", TEXTOID),
        (b"scheduled_for", TIMESTAMPTZOID),
        (b"attempt", INT4OID),
        (b"trigger", TEXTOID),
        (b"outcome", TEXTOID),
        (b"reason", TEXTOID),
        (b"guarantee", TEXTOID),
        (b"sqlstate", TEXTOID),
        (b"error", JSONBOID),
        (b"row_count", INT8OID),
        (b"requested_by", TEXTOID),
        (b"usage", JSONBOID),
    ]
};

/// As [`WRITE`], for a row with the columns of an answer as further parameters.
const WRITE_HTTP: &str = "INSERT INTO cron.job_run_details AS d \
     (jobid, runid, job_pid, database, username, command, status, return_message, start_time, \
      end_time, jobname, scheduled_for, attempt, trigger, outcome, reason, guarantee, sqlstate, \
      error, row_count, requested_by, usage, http_status, response, http) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
      $19, $20, $21, $22, $23, $24, $25) \
     ON CONFLICT ON CONSTRAINT job_run_details_pkey DO UPDATE SET \
      job_pid = excluded.job_pid, status = excluded.status, \
      return_message = excluded.return_message, start_time = excluded.start_time, \
      end_time = excluded.end_time, outcome = excluded.outcome, reason = excluded.reason, \
      guarantee = excluded.guarantee, sqlstate = excluded.sqlstate, \
      http_status = excluded.http_status, response = excluded.response, \
      http = coalesce(d.http OPERATOR(pg_catalog.||) excluded.http, excluded.http, d.http) \
     WHERE d.end_time IS NULL";

macro_rules! dead {
    ($lock:literal) => {
        concat!(
            "SELECT o.runid FROM cron.job_run_details o \
             WHERE o.end_time IS NULL AND o.runid OPERATOR(pg_catalog.<>) ALL ($1)",
            $lock
        )
    };
}
const DEAD: &str = concat!("SELECT EXISTS (", dead!(""), ")");
// A row that somebody is about to change waits, and keeps no other waiting.
const CLOSE: &str = concat!(
    "UPDATE cron.job_run_details SET status = 'failed', \
      return_message = coalesce(return_message, 'server restarted'), \
      end_time = greatest(pg_catalog.clock_timestamp(), start_time), \
      outcome = coalesce(outcome, 'crashed'), reason = coalesce(reason, 'server restarted') \
     WHERE end_time IS NULL AND runid OPERATOR(pg_catalog.=) ANY (ARRAY(",
    dead!(" FOR NO KEY UPDATE SKIP LOCKED"),
    "))"
);

const TAKE_BACK: &str = "DELETE FROM cron.job_run_details \
     WHERE runid OPERATOR(pg_catalog.=) ANY ($1) AND end_time IS NULL";

/// One row, owning its texts. Texts of the job are in the database's encoding.
#[derive(Clone, Debug)]
pub(crate) struct RunRow {
    pub(crate) job: JobId,
    pub(crate) run: RunId,
    pub(crate) pid: Option<i32>,
    pub(crate) database: CString,
    pub(crate) username: CString,
    pub(crate) command: CString,
    pub(crate) jobname: Option<CString>,
    pub(crate) message: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) scheduled_for: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) trigger: Trigger,
    /// None while it runs.
    pub(crate) outcome: Option<Outcome>,
    /// In the database's encoding.
    pub(crate) reason: Option<Vec<u8>>,
    pub(crate) guarantee: Guarantee,
    pub(crate) sqlstate: Option<[u8; 5]>,
    pub(crate) error: Option<String>,
    pub(crate) row_count: Option<i64>,
    /// What it used of the server.
    pub(crate) usage: Usage,
    /// Who asked for it.
    pub(crate) requested_by: Option<CString>,
    /// What came of the request of an HTTP run.
    pub(crate) http: Option<Box<HttpAnswer>>,
}

/// The ledger's oid, if there is one. In a transaction, as every function here.
pub(crate) fn ledger() -> Result<Option<pg_sys::Oid>, spi::Error> {
    kept::oid(LEDGER)
}

/// The last run id that was drawn, or a later one after a crash.
pub(crate) fn last_id() -> Result<i64, spi::Error> {
    Ok(Spi::get_one(LAST_DRAWN)?.unwrap_or(i64::MAX))
}

/// Draws run ids.
pub(crate) fn draw_ids(count: i32) -> Result<Vec<i64>, spi::Error> {
    Spi::connect_mut(|client| {
        let rows = kept::update(client, DRAW, &[count.into()])?;
        rows.map(|row| row.get::<i64>(1).map(Option::unwrap_or_default)).collect()
    })
}

/// Writes rows; those that have an end already stay as they are.
pub(crate) fn write<'a>(rows: impl Iterator<Item = &'a RunRow>) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        for row in rows {
            let Some(answer) = &row.http else {
                kept::update(client, WRITE_TEXT, &values(row))?;
                continue;
            };
            let all: Vec<_> = values(row).into_iter().chain(answer.values()).collect();
            kept::update(client, WRITE_HTTP, &all)?;
        }
        Ok(())
    })
}

fn values(row: &RunRow) -> [DatumWithOid<'_>; 22] {
    let status = match row.outcome {
        None => "running",
        Some(Outcome::Succeeded) => "succeeded",
        Some(_) => "failed",
    };
    let sqlstate =
        row.sqlstate.map(|code| code.iter().map(|&byte| char::from(byte)).collect::<String>());
    [
        row.job.0.into(),
        row.run.0.into(),
        row.pid.into(),
        ServerText::new(row.database.as_bytes()).param(),
        ServerText::new(row.username.as_bytes()).param(),
        ServerText::new(row.command.as_bytes()).param(),
        status.into(),
        row.message.as_deref().into(),
        timestamptz(Some(row.started_at)),
        timestamptz(row.ended_at),
        optional(row.jobname.as_ref()),
        timestamptz(Some(row.scheduled_for)),
        row.attempt.cast_signed().into(),
        row.trigger.as_str().into(),
        row.outcome.map(Outcome::as_str).into(),
        crate::pg::text::param(row.reason.as_deref().map(ServerText::new)),
        row.guarantee.as_str().into(),
        sqlstate.into(),
        row.error.as_deref().and_then(json).into(),
        row.row_count.into(),
        optional(row.requested_by.as_ref()),
        row.usage.json(row.row_count).as_deref().and_then(json).into(),
    ]
}

fn optional(text: Option<&CString>) -> DatumWithOid<'_> {
    crate::pg::text::param(text.map(|text| ServerText::new(text.as_bytes())))
}

fn json(text: &str) -> Option<JsonB> {
    serde_json::from_str(text).ok().map(JsonB)
}

fn timestamptz(at: Option<Timestamp>) -> DatumWithOid<'static> {
    at.and_then(|at| TimestampWithTimeZone::try_from(to_pg(at)).ok()).into()
}

/// Takes back the rows of runs that were to begin and did not.
pub(crate) fn take_back(runs: &[i64]) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        client.update(TAKE_BACK, None, &[runs.to_vec().into()])?;
        Ok(())
    })
}

/// Whether there are rows of runs nobody runs any more: without an end, and not of `alive`.
pub(crate) fn has_dead(alive: &[i64]) -> Result<bool, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(DEAD, Some(1), &[alive.to_vec().into()])?;
        Ok(rows.first().get_one()?.unwrap_or(false))
    })
}

/// Closes the rows of runs nobody runs any more: all without an end but those of `alive`. Those stay
/// that somebody has locked.
pub(crate) fn close_dead(alive: &[i64]) -> Result<usize, spi::Error> {
    Spi::connect_mut(|client| Ok(client.update(CLOSE, None, &[alive.to_vec().into()])?.len()))
}
