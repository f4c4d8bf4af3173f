//! pg_cron's functions: `schedule`, `schedule_in_database`, `alter_job`, `unschedule`.
//!
//! Owns the contract with pg_cron's callers: the checks, their order and their errors. All of
//! them decide by the caller's own rights; only the write itself has the extension owner's.

use pgrx::prelude::*;

use crate::catalog::job::{self, Changes, NewJob};
use crate::catalog::role;
use crate::error::{Error, SqlResult};
use crate::guc;
use crate::pg::identity::{CurrentUser, current_user, in_recovery, is_superuser};
use crate::pg::settings;

use super::preview::parse_schedule;

#[pg_extern(sql = false)]
fn cron_schedule(schedule: &str, command: &str) -> SqlResult<i64> {
    let request = Request { jobname: None, schedule, command, ..Request::default() };
    Ok(request.store("cron.schedule()")?)
}

#[pg_extern(sql = false)]
fn cron_schedule_named(
    job_name: Option<&str>,
    schedule: Option<&str>,
    command: Option<&str>,
) -> SqlResult<i64> {
    let request = Request::named(job_name, schedule, command)?;
    Ok(request.store("cron.schedule()")?)
}

#[pg_extern(sql = false)]
fn cron_schedule_in_database(
    job_name: Option<&str>,
    schedule: Option<&str>,
    command: Option<&str>,
    database: Option<&str>,
    username: Option<&str>,
    active: Option<bool>,
) -> SqlResult<i64> {
    let request =
        Request { database, username, active, ..Request::named(job_name, schedule, command)? };
    Ok(request.store("cron.schedule_in_database()")?)
}

#[pg_extern(sql = false)]
fn cron_alter_job(
    job_id: Option<i64>,
    schedule: Option<&str>,
    command: Option<&str>,
    database: Option<&str>,
    username: Option<&str>,
    active: Option<bool>,
) -> SqlResult<()> {
    let jobid = job_id.ok_or(Error::NullArgument("job_id"))?;
    Ok(alter(jobid, &Changes { schedule, command, database, username, active })?)
}

#[pg_extern(sql = false)]
fn cron_unschedule(job_id: i64) -> SqlResult<bool> {
    Ok(unschedule(job_id)?)
}

#[pg_extern(sql = false)]
fn cron_unschedule_named(job_name: &str) -> SqlResult<bool> {
    Ok(unschedule_named(job_name)?)
}

/// What a caller of `cron.schedule` and its like asks for.
#[derive(Debug, Default)]
struct Request<'a> {
    jobname: Option<&'a str>,
    schedule: &'a str,
    command: &'a str,
    database: Option<&'a str>,
    username: Option<&'a str>,
    active: Option<bool>,
}

impl<'a> Request<'a> {
    fn named(
        job_name: Option<&'a str>,
        schedule: Option<&'a str>,
        command: Option<&'a str>,
    ) -> Result<Self, Error> {
        Ok(Self {
            jobname: Some(job_name.ok_or(Error::NullArgument("job_name"))?),
            schedule: schedule.ok_or(Error::NullArgument("schedule"))?,
            command: command.ok_or(Error::NullArgument("command"))?,
            ..Self::default()
        })
    }

    fn store(&self, function: &'static str) -> Result<i64, Error> {
        refuse_in_recovery(function)?;
        parse_schedule(self.schedule)?;
        let runs_as = JobRole::of(self.username, Error::CreateForOther)?;
        runs_as.refuse_superuser()?;
        let database = match (self.database, guc::default_job_database()) {
            (Some(database), _) => database.to_owned(),
            (None, Some(database)) => database,
            (None, None) => role::current_database()?,
        };
        runs_as.require_connect(&database)?;
        job::store(&NewJob {
            jobname: self.jobname,
            schedule: self.schedule,
            command: self.command,
            nodename: &guc::host(),
            nodeport: settings::port(),
            database: &database,
            username: &runs_as.name,
            active: self.active.unwrap_or(true),
        })
    }
}

fn alter(jobid: i64, changes: &Changes<'_>) -> Result<(), Error> {
    if in_recovery() {
        return Ok(()); // as with pg_cron, so that a script run on the standby too does not fail
    }
    let runs_as = JobRole::of(changes.username, Error::AlterUsername)?;
    runs_as.refuse_superuser()?;
    if let Some(database) = changes.database {
        runs_as.require_connect(database)?;
    }
    if let Some(schedule) = changes.schedule {
        parse_schedule(schedule)?;
    }
    if changes.is_empty() {
        return Err(Error::NoUpdates);
    }
    let caller = current_user();
    let only_owner = if is_superuser() { None } else { Some(caller.name.as_str()) };
    if job::alter(jobid, changes, only_owner)? { Ok(()) } else { Err(Error::JobNotOwned(jobid)) }
}

fn unschedule(jobid: i64) -> Result<bool, Error> {
    refuse_in_recovery("cron.unschedule()")?;
    let owner = job::owner_of(jobid)?.ok_or(Error::JobIdUnknown(jobid))?;
    let caller = current_user();
    if owner != caller.name && !role::may_delete_jobs(caller.oid)? {
        return Err(Error::DeleteDenied);
    }
    if job::delete(jobid)? { Ok(true) } else { Err(Error::JobIdUnknown(jobid)) }
}

fn unschedule_named(jobname: &str) -> Result<bool, Error> {
    refuse_in_recovery("cron.unschedule()")?;
    if job::delete_named(jobname, &current_user().name)? {
        Ok(true)
    } else {
        Err(Error::JobNameUnknown(jobname.to_owned()))
    }
}

fn refuse_in_recovery(function: &'static str) -> Result<(), Error> {
    if in_recovery() { Err(Error::InRecovery(function)) } else { Ok(()) }
}

/// The role a job is to run as.
struct JobRole {
    oid: pg_sys::Oid,
    name: String,
    is_superuser: bool,
}

impl JobRole {
    /// The caller, or the role a superuser names. `denied` is the error for anybody else who
    /// names one, be it himself.
    fn of(username: Option<&str>, denied: Error) -> Result<Self, Error> {
        let Some(name) = username else {
            let CurrentUser { oid, name } = current_user();
            return Ok(Self { oid, name, is_superuser: is_superuser() });
        };
        if !is_superuser() {
            return Err(denied);
        }
        let role = role::role(name)?.ok_or_else(|| Error::RoleMissing(name.to_owned()))?;
        if !role.can_log_in {
            return Err(Error::RoleCannotLogIn(name.to_owned()));
        }
        Ok(Self { oid: role.oid, name: name.to_owned(), is_superuser: role.is_superuser })
    }

    fn refuse_superuser(&self) -> Result<(), Error> {
        if self.is_superuser && !guc::enable_superuser_jobs() {
            return Err(Error::SuperuserJob);
        }
        Ok(())
    }

    fn require_connect(&self, database: &str) -> Result<(), Error> {
        match role::can_connect(self.oid, database)? {
            None => Err(Error::DatabaseMissing(database.to_owned())),
            Some(true) => Ok(()),
            Some(false) => {
                Err(Error::ConnectDenied { role: self.name.clone(), database: database.to_owned() })
            }
        }
    }
}
