//! pg_cron's functions: `schedule`, `schedule_in_database`, `alter_job`, `unschedule`.
//!
//! Owns the contract with pg_cron's callers: the checks, their order and their errors. All of
//! them decide by the caller's own rights; only the write itself has the extension owner's.

use pg_tock_core::schedule::{Kind, Schedule};
use pgrx::prelude::*;

use crate::catalog::job::{self, Changes, NewJob};
use crate::catalog::{options as stored, role};
use crate::error::{Error, SqlResult};
use crate::guc;
use crate::pg::identity::{current_database, current_user, in_recovery, is_superuser};
use crate::pg::settings;
use crate::pg::text::ServerText;

use super::rights::{refuse_in_recovery, refuse_large, refuse_long};
use super::schedules::{check_schedule, warn_if_passed};

#[pg_extern(sql = false)]
fn cron_schedule(schedule: &[u8], command: &[u8]) -> SqlResult<i64> {
    let request = Request::new(None, schedule, command);
    Ok(request.store("cron.schedule()")?)
}

#[pg_extern(sql = false)]
fn cron_schedule_named(
    job_name: Option<&[u8]>,
    schedule: Option<&[u8]>,
    command: Option<&[u8]>,
) -> SqlResult<i64> {
    Ok(Request::named(job_name, schedule, command)?.store("cron.schedule()")?)
}

#[pg_extern(sql = false)]
fn cron_schedule_in_database(
    job_name: Option<&[u8]>,
    schedule: Option<&[u8]>,
    command: Option<&[u8]>,
    database: Option<&[u8]>,
    username: Option<&[u8]>,
    active: Option<bool>,
) -> SqlResult<i64> {
    let request = Request {
        database: database.map(ServerText::new),
        username: username.map(ServerText::new),
        active,
        ..Request::named(job_name, schedule, command)?
    };
    Ok(request.store("cron.schedule_in_database()")?)
}

#[pg_extern(sql = false)]
fn cron_alter_job(
    job_id: Option<i64>,
    schedule: Option<&[u8]>,
    command: Option<&[u8]>,
    database: Option<&[u8]>,
    username: Option<&[u8]>,
    active: Option<bool>,
) -> SqlResult<()> {
    let jobid = job_id.ok_or(Error::NullArgument("job_id"))?;
    let changes = Changes {
        schedule: schedule.map(ServerText::new),
        command: command.map(ServerText::new),
        database: database.map(ServerText::new),
        username: username.map(ServerText::new),
        active,
    };
    Ok(alter(jobid, &changes)?)
}

#[pg_extern(sql = false)]
fn cron_unschedule(job_id: i64) -> SqlResult<bool> {
    Ok(unschedule(job_id)?)
}

#[pg_extern(sql = false)]
fn cron_unschedule_named(job_name: &[u8]) -> SqlResult<bool> {
    Ok(unschedule_named(ServerText::new(job_name))?)
}

/// What a caller of `cron.schedule` and its like asks for.
#[derive(Debug)]
struct Request<'a> {
    jobname: Option<ServerText<'a>>,
    schedule: ServerText<'a>,
    command: ServerText<'a>,
    database: Option<ServerText<'a>>,
    username: Option<ServerText<'a>>,
    active: Option<bool>,
}

impl<'a> Request<'a> {
    fn new(jobname: Option<&'a [u8]>, schedule: &'a [u8], command: &'a [u8]) -> Self {
        Self {
            jobname: jobname.map(ServerText::new),
            schedule: ServerText::new(schedule),
            command: ServerText::new(command),
            database: None,
            username: None,
            active: None,
        }
    }

    fn named(
        job_name: Option<&'a [u8]>,
        schedule: Option<&'a [u8]>,
        command: Option<&'a [u8]>,
    ) -> Result<Self, Error> {
        Ok(Self::new(
            Some(job_name.ok_or(Error::NullArgument("job_name"))?),
            schedule.ok_or(Error::NullArgument("schedule"))?,
            command.ok_or(Error::NullArgument("command"))?,
        ))
    }

    fn store(&self, function: &'static str) -> Result<i64, Error> {
        refuse_in_recovery(function)?;
        if let Some(name) = self.jobname {
            refuse_long("job_name", name.bytes())?;
        }
        refuse_large(self.command.bytes().len(), 0)?;
        let schedule = check_schedule(&self.schedule.readable())?;
        let caller = current_user();
        let runs_as = match self.username {
            None => JobRole::caller(caller.oid, caller.name()),
            Some(name) => JobRole::named(name, Error::CreateForOther)?,
        };
        runs_as.refuse_superuser()?;
        let default = guc::default_job_database().map_or_else(current_database, String::into_bytes);
        let database = self.database.unwrap_or(ServerText::new(&default));
        runs_as.require_connect(database)?;
        let jobid = job::store(&NewJob {
            jobname: self.jobname,
            schedule: self.schedule,
            command: self.command,
            nodename: &guc::host(),
            nodeport: settings::port(),
            database,
            username: runs_as.name,
            active: self.active.unwrap_or(true),
        })?;
        warn_if_passed_for(jobid, self.schedule, &schedule)?;
        Ok(jobid)
    }
}

fn alter(jobid: i64, changes: &Changes<'_>) -> Result<(), Error> {
    if in_recovery() {
        return Ok(()); // as with pg_cron, so that a script run on the standby too does not fail
    }
    let caller = current_user();
    let runs_as = match changes.username {
        None => JobRole::caller(caller.oid, caller.name()),
        Some(name) => JobRole::named(name, Error::AlterUsername)?,
    };
    runs_as.refuse_superuser()?;
    if let Some(database) = changes.database {
        runs_as.require_connect(database)?;
    }
    refuse_large(changes.command.map_or(0, |command| command.bytes().len()), 0)?;
    let schedule = changes.schedule.map(|text| check_schedule(&text.readable())).transpose()?;
    if changes.is_empty() {
        return Err(Error::NoUpdates);
    }
    let only_owner = if is_superuser() { None } else { Some(caller.name()) };
    if !job::alter(jobid, changes, only_owner)? {
        return Err(Error::JobNotOwned(jobid));
    }
    if let (Some(text), Some(schedule)) = (changes.schedule, schedule) {
        warn_if_passed_for(jobid, text, &schedule)?;
    }
    Ok(())
}

/// Warns of a schedule whose only instant has passed in the time zone of the job it was just
/// written to.
fn warn_if_passed_for(jobid: i64, text: ServerText<'_>, schedule: &Schedule) -> Result<(), Error> {
    if schedule.kind() != Kind::Once {
        return Ok(());
    }
    let row = stored::get(jobid)?;
    let timezone = row.as_ref().and_then(|row| row.get("timezone")?.as_str());
    warn_if_passed(&text.readable(), schedule, timezone);
    Ok(())
}

fn unschedule(jobid: i64) -> Result<bool, Error> {
    refuse_in_recovery("cron.unschedule()")?;
    let caller = current_user();
    let owned = job::is_owned_by(jobid, caller.name())?.ok_or(Error::JobIdUnknown(jobid))?;
    if !owned && !role::may_delete_jobs(caller.oid)? {
        return Err(Error::DeleteDenied);
    }
    if job::delete(jobid)? { Ok(true) } else { Err(Error::JobIdUnknown(jobid)) }
}

fn unschedule_named(jobname: ServerText<'_>) -> Result<bool, Error> {
    refuse_in_recovery("cron.unschedule()")?;
    if job::delete_named(jobname, current_user().name())? {
        Ok(true)
    } else {
        Err(Error::JobNameUnknown(jobname.readable().into_owned()))
    }
}

/// The role a job is to run as.
struct JobRole<'a> {
    oid: pg_sys::Oid,
    name: ServerText<'a>,
    is_superuser: bool,
}

impl<'a> JobRole<'a> {
    fn caller(oid: pg_sys::Oid, name: ServerText<'a>) -> Self {
        Self { oid, name, is_superuser: is_superuser() }
    }

    /// The role a superuser names. `denied` is the error for anybody else who names one, be it
    /// himself.
    fn named(name: ServerText<'a>, denied: Error) -> Result<Self, Error> {
        if !is_superuser() {
            return Err(denied);
        }
        let readable = || name.readable().into_owned();
        let role = role::role(name)?.ok_or_else(|| Error::RoleMissing(readable()))?;
        if !role.can_log_in {
            return Err(Error::RoleCannotLogIn(readable()));
        }
        Ok(Self { oid: role.oid, name, is_superuser: role.is_superuser })
    }

    fn refuse_superuser(&self) -> Result<(), Error> {
        if self.is_superuser && !guc::enable_superuser_jobs() {
            return Err(Error::SuperuserJob);
        }
        Ok(())
    }

    fn require_connect(&self, database: ServerText<'_>) -> Result<(), Error> {
        match role::can_connect(self.oid, database)? {
            None => Err(Error::DatabaseMissing(database.readable().into_owned())),
            Some(true) => Ok(()),
            Some(false) => Err(Error::ConnectDenied {
                role: self.name.readable().into_owned(),
                database: database.readable().into_owned(),
            }),
        }
    }
}
