//! `cron.job`: the statements that write it, run as the extension's owner.
//!
//! Whether the caller may is decided before, in `api`; here the table's row security and grants
//! no longer count.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;

const INSERT: &str = "INSERT INTO cron.job \
     (schedule, command, nodename, nodeport, database, username, active) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING jobid";

// A name again updates these three columns alone, and makes an HTTP job one that runs SQL: a job that was switched off stays off, and the
// id drawn from the sequence for the row that was not inserted is lost. Both are pg_cron's ways.
const UPSERT: &str = "INSERT INTO cron.job \
     (schedule, command, nodename, nodeport, database, username, active, jobname) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT ON CONSTRAINT jobname_username_uniq DO UPDATE SET \
     schedule = excluded.schedule, command = excluded.command, database = excluded.database, \
     http = NULL \
     RETURNING jobid";

const ALTER: &str = "UPDATE cron.job SET \
     schedule = coalesce($2, schedule), command = coalesce($3, command), \
     database = coalesce($4, database), username = coalesce($5, username), \
     active = coalesce($6, active) \
     WHERE jobid OPERATOR(pg_catalog.=) $1 \
     AND ($7 IS NULL OR username OPERATOR(pg_catalog.=) $7) RETURNING jobid";

const IS_OWNED_BY: &str = "SELECT username OPERATOR(pg_catalog.=) $2 FROM cron.job \
     WHERE jobid OPERATOR(pg_catalog.=) $1";

const DELETE: &str = "DELETE FROM cron.job WHERE jobid OPERATOR(pg_catalog.=) $1 RETURNING jobid";

const DELETE_NAMED: &str = "DELETE FROM cron.job WHERE jobname OPERATOR(pg_catalog.=) $1 \
     AND username OPERATOR(pg_catalog.=) $2 RETURNING jobid";

/// The columns of a new job that pg_cron's functions set.
#[derive(Debug)]
pub(crate) struct NewJob<'a> {
    pub(crate) jobname: Option<ServerText<'a>>,
    pub(crate) schedule: ServerText<'a>,
    pub(crate) command: ServerText<'a>,
    pub(crate) nodename: &'a str,
    pub(crate) nodeport: i32,
    pub(crate) database: ServerText<'a>,
    pub(crate) username: ServerText<'a>,
    pub(crate) active: bool,
}

/// The columns `cron.alter_job` can change; None leaves one as it is.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    pub(crate) schedule: Option<ServerText<'a>>,
    pub(crate) command: Option<ServerText<'a>>,
    pub(crate) database: Option<ServerText<'a>>,
    pub(crate) username: Option<ServerText<'a>>,
    pub(crate) active: Option<bool>,
}

impl Changes<'_> {
    /// Whether nothing would change.
    pub(crate) const fn is_empty(&self) -> bool {
        self.schedule.is_none()
            && self.command.is_none()
            && self.database.is_none()
            && self.username.is_none()
            && self.active.is_none()
    }
}

/// Stores a job; one with a name replaces the owner's job of that name. Returns its id.
pub(crate) fn store(job: &NewJob<'_>) -> Result<i64, Error> {
    let owner = extension_owner()?;
    let mut args = vec![
        job.schedule.param(),
        job.command.param(),
        job.nodename.into(),
        job.nodeport.into(),
        job.database.param(),
        job.username.param(),
        job.active.into(),
    ];
    let statement = if let Some(jobname) = job.jobname {
        args.push(jobname.param());
        UPSERT
    } else {
        INSERT
    };
    as_role(owner, || write(statement, &args))?.ok_or(Error::NoRow)
}

/// Changes a job, of `only_owner` if given. Returns whether there was one.
pub(crate) fn alter(
    jobid: i64,
    changes: &Changes<'_>,
    only_owner: Option<ServerText<'_>>,
) -> Result<bool, Error> {
    let owner = extension_owner()?;
    let args = [
        jobid.into(),
        param(changes.schedule),
        param(changes.command),
        param(changes.database),
        param(changes.username),
        changes.active.into(),
        param(only_owner),
    ];
    Ok(as_role(owner, || write(ALTER, &args))?.is_some())
}

/// Whether a job is `username`'s; None if there is no such job.
pub(crate) fn is_owned_by(jobid: i64, username: ServerText<'_>) -> Result<Option<bool>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect(|client| {
            let rows = client.select(IS_OWNED_BY, Some(1), &[jobid.into(), username.param()])?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<bool>()?) }
        })
    })
}

/// Deletes a job. Returns whether there was one.
pub(crate) fn delete(jobid: i64) -> Result<bool, Error> {
    let owner = extension_owner()?;
    Ok(as_role(owner, || write(DELETE, &[jobid.into()]))?.is_some())
}

/// Deletes the job of that name and owner. Returns whether there was one.
pub(crate) fn delete_named(
    jobname: ServerText<'_>,
    username: ServerText<'_>,
) -> Result<bool, Error> {
    let owner = extension_owner()?;
    Ok(as_role(owner, || write(DELETE_NAMED, &[jobname.param(), username.param()]))?.is_some())
}

/// Runs a writing statement that returns at most one job's id.
fn write(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<Option<i64>, Error> {
    Spi::connect_mut(|client| {
        let rows = client.update(statement, None, args)?;
        if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<i64>()?) }
    })
}
