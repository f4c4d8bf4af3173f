//! Runs that failed, as those see them who run them once more or say what has become of them.

use pg_tock_core::http::document::{self, Again};
use pgrx::JsonB;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;
use serde_json::Value as Json;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{self, ServerText};

use super::role::extension_owner;

// The owner is that of the job, or, if the job is gone, the role that ran it.
const FIND: &str = "SELECT d.jobid, j.jobid IS NOT NULL, \
      pg_catalog.convert_to(coalesce(j.username, d.username), pg_catalog.getdatabaseencoding()), \
      (SELECT o.oid FROM pg_catalog.pg_roles o WHERE o.rolname::pg_catalog.text \
        OPERATOR(pg_catalog.=) coalesce(j.username, d.username)), \
      j.username OPERATOR(pg_catalog.=) d.username AND j.database OPERATOR(pg_catalog.=) d.database, \
      d.scheduled_for IS NOT NULL AND d.attempt IS NOT NULL, d.end_time IS NULL, d.job_pid, \
      d.status, d.outcome, d.http, j.http, j.command OPERATOR(pg_catalog.=) d.command \
     FROM cron.job_run_details d LEFT JOIN cron.job j ON j.jobid OPERATOR(pg_catalog.=) d.jobid \
     WHERE d.runid OPERATOR(pg_catalog.=) $1";

// What speaks against one more attempt at the occurrence of a run: another run or request of it.
const OTHERS: &str = "SELECT \
      (SELECT pg_catalog.max(o.runid) FROM cron.job_run_details o \
       WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid AND o.end_time IS NULL \
        AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for), \
      (SELECT pg_catalog.max(o.runid) FROM cron.job_run_details o \
       WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
        AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for \
        AND (o.status OPERATOR(pg_catalog.=) 'succeeded' \
         OR pg_catalog.starts_with(o.reason, 'resolved as succeeded '))), \
      (SELECT pg_catalog.max(r.runid) FROM cron.run_request r \
       WHERE r.jobid OPERATOR(pg_catalog.=) d.jobid \
        AND r.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for), \
      (SELECT pg_catalog.max(o.runid) FROM cron.job_run_details o \
       WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
        AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for \
        AND o.attempt OPERATOR(pg_catalog.>) d.attempt) \
     FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.=) $1";

const PROMISED: &str =
    "SELECT r.jobid FROM cron.run_request r WHERE r.runid OPERATOR(pg_catalog.=) $1";

const ASK: &str = "INSERT INTO cron.run_request \
     (jobid, scheduled_for, attempt, trigger, requested_by, command, http, username, database) \
     SELECT d.jobid, d.scheduled_for, (SELECT pg_catalog.max(o.attempt) FROM cron.job_run_details o \
       WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
        AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for) OPERATOR(pg_catalog.+) 1, \
      'retry', $2, d.command, coalesce($3, (SELECT j.http FROM cron.job j \
       WHERE j.jobid OPERATOR(pg_catalog.=) d.jobid)), d.username, d.database \
     FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.=) $1 RETURNING runid";

// What the row said before stays readable. A run without an end died: it had crashed.
const RESOLVE: &str = "UPDATE cron.job_run_details d SET \
      reason = pg_catalog.concat('resolved as ', $2, ' by ', $3, ': ' \
       OPERATOR(pg_catalog.||) $4, ' (was: ' OPERATOR(pg_catalog.||) d.reason \
       OPERATOR(pg_catalog.||) ')'), \
      status = 'failed', \
      outcome = CASE WHEN d.end_time IS NULL THEN 'crashed' ELSE d.outcome END, \
      return_message = CASE WHEN d.end_time IS NULL \
       THEN coalesce(d.return_message, 'executor ended unexpectedly') ELSE d.return_message END, \
      end_time = coalesce(d.end_time, greatest(pg_catalog.clock_timestamp(), d.start_time)) \
     WHERE d.runid OPERATOR(pg_catalog.=) $1 \
      AND d.status OPERATOR(pg_catalog.<>) 'succeeded' RETURNING d.runid";

/// A run of the ledger and its job.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) job: i64,
    /// Whether its job exists.
    pub(crate) job_exists: bool,
    owner: Vec<u8>,
    /// None: there is no such role any more.
    pub(crate) owner_oid: Option<pg_sys::Oid>,
    /// Its job still runs as the role and in the database it ran as and in.
    pub(crate) same_place: bool,
    /// It says which attempt at which occurrence it was.
    pub(crate) has_occurrence: bool,
    /// It has no end.
    pub(crate) is_open: bool,
    pub(crate) pid: Option<i32>,
    pub(crate) status: String,
    pub(crate) outcome: Option<String>,
    /// What one more attempt is to send, if the job calls a URL.
    pub(crate) again: Again,
}

impl Ran {
    /// The role that owns the job, or ran it if the job is gone.
    pub(crate) fn owner(&self) -> ServerText<'_> {
        ServerText::new(&self.owner)
    }
}

/// Other runs of a run's occurrence, the newest of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    /// One that has no end.
    pub(crate) open: Option<i64>,
    /// One that succeeded, or was resolved as that.
    pub(crate) succeeded: Option<i64>,
    /// One that has been asked for.
    pub(crate) promised: Option<i64>,
    /// A later attempt.
    pub(crate) later: Option<i64>,
}

/// The run of this id. Every function here sees what others have committed by now.
pub(crate) fn find(run: i64) -> Result<Option<Ran>, Error> {
    one(FIND, &[run.into()], |row| {
        Ok(Ran {
            job: row.get(1)?.unwrap_or_default(),
            job_exists: row.get(2)?.unwrap_or(false),
            owner: row.get(3)?.unwrap_or_default(),
            owner_oid: row.get(4)?,
            same_place: row.get(5)?.unwrap_or(false),
            has_occurrence: row.get(6)?.unwrap_or(false),
            is_open: row.get(7)?.unwrap_or(false),
            pid: row.get(8)?,
            status: row.get(9)?.unwrap_or_default(),
            outcome: row.get(10)?,
            again: {
                let (ran, present) = (row.get::<JsonB>(11)?, row.get::<JsonB>(12)?);
                let json = |json: &Option<JsonB>| json.as_ref().map(|json| json.0.clone());
                let same_command = row.get(13)?.unwrap_or(false);
                document::again(json(&ran).as_ref(), json(&present).as_ref(), same_command)
            },
        })
    })
}

/// The other runs of a run's occurrence.
pub(crate) fn others(run: i64) -> Result<Option<Others>, Error> {
    one(OTHERS, &[run.into()], |row| {
        Ok(Others {
            open: row.get(1)?,
            succeeded: row.get(2)?,
            promised: row.get(3)?,
            later: row.get(4)?,
        })
    })
}

/// The job of a run that has been asked for, and is not over.
pub(crate) fn promised(run: i64) -> Result<Option<i64>, Error> {
    Ok(one(PROMISED, &[run.into()], |row| Ok(row.get::<i64>(1)?))?.flatten())
}

/// Asks for one more attempt at the occurrence of a run, with its command, and its request if it
/// is not the job's. Returns the id.
pub(crate) fn ask(run: i64, by: ServerText<'_>, request: Option<Json>) -> Result<i64, Error> {
    let args = [run.into(), by.param(), request.map(JsonB).into()];
    let asked = one(ASK, &args, |row| Ok(row.get::<i64>(1)?))?;
    asked.flatten().ok_or(Error::NoRow)
}

/// Notes what has become of a run. False if it has succeeded.
pub(crate) fn resolve(
    run: i64,
    outcome: &'static str,
    by: ServerText<'_>,
    note: Option<ServerText<'_>>,
) -> Result<bool, Error> {
    let args = [run.into(), outcome.into(), by.param(), text::param(note)];
    Ok(one(RESOLVE, &args, |_| Ok(()))?.is_some())
}

fn one<T>(
    statement: &'static str,
    args: &[DatumWithOid<'_>],
    read: impl FnOnce(&SpiHeapTupleData<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let mut rows = client.update(statement, None, args)?;
            rows.next().map(|row| read(&row)).transpose()
        })
    })
}
