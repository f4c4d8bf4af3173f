//! `cron.job`: the statements that write it, run as the extension's owner.
//!
//! Whether the caller may is decided before, in `api`; here the table's row security and grants
//! no longer count.

use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;

use super::role::extension_owner;

const INSERT: &str = "INSERT INTO cron.job \
     (schedule, command, nodename, nodeport, database, username, active) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING jobid";

// A name again updates these three columns alone: a job that was switched off stays off, and the
// id drawn from the sequence for the row that was not inserted is lost. Both are pg_cron's ways.
const UPSERT: &str = "INSERT INTO cron.job \
     (schedule, command, nodename, nodeport, database, username, active, jobname) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT ON CONSTRAINT jobname_username_uniq DO UPDATE SET \
     schedule = excluded.schedule, command = excluded.command, database = excluded.database \
     RETURNING jobid";

const ALTER: &str = "UPDATE cron.job SET \
     schedule = coalesce($2, schedule), command = coalesce($3, command), \
     database = coalesce($4, database), username = coalesce($5, username), \
     active = coalesce($6, active) \
     WHERE jobid OPERATOR(pg_catalog.=) $1 \
     AND ($7 IS NULL OR username OPERATOR(pg_catalog.=) $7) RETURNING jobid";

const OWNER: &str = "SELECT username FROM cron.job WHERE jobid OPERATOR(pg_catalog.=) $1";

const DELETE: &str = "DELETE FROM cron.job WHERE jobid OPERATOR(pg_catalog.=) $1 RETURNING jobid";

const DELETE_NAMED: &str = "DELETE FROM cron.job WHERE jobname OPERATOR(pg_catalog.=) $1 \
     AND username OPERATOR(pg_catalog.=) $2 RETURNING jobid";

/// The columns of a new job that pg_cron's functions set.
#[derive(Debug)]
pub(crate) struct NewJob<'a> {
    pub(crate) jobname: Option<&'a str>,
    pub(crate) schedule: &'a str,
    pub(crate) command: &'a str,
    pub(crate) nodename: &'a str,
    pub(crate) nodeport: i32,
    pub(crate) database: &'a str,
    pub(crate) username: &'a str,
    pub(crate) active: bool,
}

/// The columns `cron.alter_job` can change; None leaves one as it is.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    pub(crate) schedule: Option<&'a str>,
    pub(crate) command: Option<&'a str>,
    pub(crate) database: Option<&'a str>,
    pub(crate) username: Option<&'a str>,
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
        job.schedule.into(),
        job.command.into(),
        job.nodename.into(),
        job.nodeport.into(),
        job.database.into(),
        job.username.into(),
        job.active.into(),
    ];
    let statement = if let Some(jobname) = job.jobname {
        args.push(jobname.into());
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
    only_owner: Option<&str>,
) -> Result<bool, Error> {
    let owner = extension_owner()?;
    let args = [
        jobid.into(),
        changes.schedule.into(),
        changes.command.into(),
        changes.database.into(),
        changes.username.into(),
        changes.active.into(),
        only_owner.into(),
    ];
    Ok(as_role(owner, || write(ALTER, &args))?.is_some())
}

/// The name of a job's owner, if there is such a job.
pub(crate) fn owner_of(jobid: i64) -> Result<Option<String>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect(|client| {
            let rows = client.select(OWNER, Some(1), &[jobid.into()])?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<String>()?) }
        })
    })
}

/// Deletes a job. Returns whether there was one.
pub(crate) fn delete(jobid: i64) -> Result<bool, Error> {
    let owner = extension_owner()?;
    Ok(as_role(owner, || write(DELETE, &[jobid.into()]))?.is_some())
}

/// Deletes the job of that name and owner. Returns whether there was one.
pub(crate) fn delete_named(jobname: &str, username: &str) -> Result<bool, Error> {
    let owner = extension_owner()?;
    Ok(as_role(owner, || write(DELETE_NAMED, &[jobname.into(), username.into()]))?.is_some())
}

/// Runs a writing statement that returns at most one job's id.
fn write(
    statement: &'static str,
    args: &[pgrx::datum::DatumWithOid<'_>],
) -> Result<Option<i64>, Error> {
    Spi::connect_mut(|client| {
        let rows = client.update(statement, None, args)?;
        if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<i64>()?) }
    })
}
