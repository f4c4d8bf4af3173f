//! `cron.pause` and `cron.resume`.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::catalog::pause;
use crate::error::{Error, SqlResult};
use crate::pg::identity::current_user;
use crate::pg::text::ServerText;
use crate::pg::time;

use super::rights::{JobRef, refuse_in_recovery};

#[pg_extern(sql = false)]
fn cron_pause(
    job: Option<i64>,
    until: Option<TimestampWithTimeZone>,
    reason: Option<&[u8]>,
) -> SqlResult<()> {
    Ok(set(JobRef::id(job)?, until, reason)?)
}

#[pg_extern(sql = false)]
fn cron_pause_named(
    job: Option<&[u8]>,
    until: Option<TimestampWithTimeZone>,
    reason: Option<&[u8]>,
) -> SqlResult<()> {
    Ok(set(JobRef::name(job)?, until, reason)?)
}

#[pg_extern(sql = false)]
fn cron_resume(job: Option<i64>) -> SqlResult<()> {
    Ok(resume(JobRef::id(job)?)?)
}

#[pg_extern(sql = false)]
fn cron_resume_named(job: Option<&[u8]>) -> SqlResult<()> {
    Ok(resume(JobRef::name(job)?)?)
}

fn set(
    job: JobRef<'_>,
    until: Option<TimestampWithTimeZone>,
    reason: Option<&[u8]>,
) -> Result<(), Error> {
    refuse_in_recovery("cron.pause()")?;
    let jobid = job.resolve()?.jobid;
    let until = match until {
        None => TimestampWithTimeZone::positive_infinity(),
        Some(until) if time::from_pg(until.into_inner()) > time::now() => until,
        Some(_) => {
            return Err(Error::OutOfRange {
                problem: "until must be in the future".to_owned(),
                hint: "Leave it out to pause the job until it is resumed.",
            });
        }
    };
    let caller = current_user();
    let reason = reason.map(ServerText::new);
    found(pause::set(jobid, until, caller.name(), reason)?, jobid)
}

fn resume(job: JobRef<'_>) -> Result<(), Error> {
    refuse_in_recovery("cron.resume()")?;
    let jobid = job.resolve()?.jobid;
    found(pause::end(jobid, current_user().name())?, jobid)
}

fn found(there_was_one: bool, jobid: i64) -> Result<(), Error> {
    if there_was_one { Ok(()) } else { Err(Error::NoSuchJob(jobid.to_string())) }
}
