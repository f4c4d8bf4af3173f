//! `cron.run_now` and `cron.run_now_tagged`: runs beside those the schedules bring.
//!
//! Owns two invariants: a run by hand is an occurrence of its own, never one of the schedule; and
//! without `force` it is asked for only while the job itself might run.

use pg_tock_core::plan::Plan;
use pg_tock_core::run::{SkipReason, Verdict};
use pg_tock_core::time::{JobId, Timestamp as Instant};
use pgrx::PgLogLevel;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::lookup::{self, Found};
use crate::catalog::outlook::{self, Outlook};
use crate::catalog::run_now as stored;
use crate::error::{Error, SqlResult};
use crate::guc;
use crate::pg::identity::current_user;
use crate::pg::text::{ServerText, for_message};
use crate::pg::time;
use crate::shmem::asks::Wanted;

use super::outlook::Calendars;
use super::rights::{JobRef, may_change, refuse_in_recovery, refuse_superuser};
use super::waiting;

/// The most instants one call tries before it finds one that is free.
const TRIES: usize = 1_000;

const FORCE: &str = "Use force => true to run it all the same.";

#[pg_extern(sql = false)]
fn cron_run_now(job: Option<i64>, force: Option<bool>, wait: Option<bool>) -> SqlResult<i64> {
    Ok(run_now(JobRef::id(job)?, force, wait)?)
}

#[pg_extern(sql = false)]
fn cron_run_now_named(
    job: Option<&[u8]>,
    force: Option<bool>,
    wait: Option<bool>,
) -> SqlResult<i64> {
    Ok(run_now(JobRef::name(job)?, force, wait)?)
}

#[pg_extern(sql = false)]
fn cron_run_now_tagged(
    tag: Option<&[u8]>,
    force: Option<bool>,
) -> Result<SetOfIterator<'static, i64>, ErrorReport> {
    Ok(SetOfIterator::new(tagged(tag, force)?))
}

fn run_now(job: JobRef<'_>, force: Option<bool>, wait: Option<bool>) -> Result<i64, Error> {
    refuse_in_recovery("cron.run_now()")?;
    let force = force.ok_or(Error::Null("force"))?;
    let wait = wait.ok_or(Error::Null("wait"))?;
    if wait {
        waiting::refuse_here("cron.run_now()")?;
    }
    let ready = Ready::find(job.resolve()?, force)?;
    if !wait {
        return ready.request(force);
    }
    let run = waiting::wait(&ready.wanted(force, None))?;
    Ok(run.0)
}

fn tagged(tag: Option<&[u8]>, force: Option<bool>) -> Result<Vec<i64>, Error> {
    refuse_in_recovery("cron.run_now_tagged()")?;
    let tag = ServerText::new(tag.ok_or(Error::Null("tag"))?);
    let force = force.ok_or(Error::Null("force"))?;
    let caller = current_user();
    let (mut runs, mut skipped) = (Vec::new(), Vec::new());
    for (jobid, name) in stored::tagged(tag)? {
        let Some(job) = lookup::by_id(jobid)? else { continue };
        if !may_change(&caller, job.owner(), job.owner_oid)? {
            continue;
        }
        match Ready::find(job, force) {
            Ok(ready) => runs.push(ready.request(force)?),
            Err(error) => match error.why_not_run() {
                Some(why) => {
                    let name = ServerText::new(&name);
                    skipped.push(format!("Job {jobid} {}: {why}", name.readable()));
                }
                None => return Err(error),
            },
        }
    }
    if !skipped.is_empty() {
        let what = match skipped.len() {
            1 => "1 job with this tag is not run now".to_owned(),
            many => format!("{many} jobs with this tag are not run now"),
        };
        let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
        ErrorReport::new(code, what, "pg_tock")
            .set_detail(for_message(skipped.join("\n")))
            .report(PgLogLevel::NOTICE);
    }
    Ok(runs)
}

/// A job that may be run by hand.
pub(super) struct Ready {
    job: Found,
    plan: Plan,
}

impl Ready {
    /// The job as far as a run by hand depends on it, or why there is to be none.
    pub(super) fn find(job: Found, force: bool) -> Result<Self, Error> {
        let jobid = job.jobid;
        if job.owner_oid.is_none() {
            return Err(Error::NoSuchRole(job.owner().readable().into_owned()));
        }
        refuse_superuser(job.owner().bytes())?;
        let now = time::now();
        let outlook = outlook::one(jobid)?.ok_or_else(|| Error::NoSuchJob(jobid.to_string()))?;
        let plan = outlook.plan(now, &mut Calendars::default())?;
        let plan = plan.map_err(|broken| broken.of(jobid))?;
        let never = |why: &str| Error::MayNotRun { jobid, why: why.to_owned(), hint: "" };
        if !guc::is_local_node(&outlook.nodename) {
            return Err(never("It belongs to another node."));
        }
        if !guc::launch_active_jobs() {
            return Err(never("Setting cron.launch_active_jobs is off."));
        }
        match closed(&outlook, &plan, now).filter(|_| !force) {
            Some(why) => Err(Error::MayNotRun { jobid, why, hint: FORCE }),
            None => Ok(Self { job, plan }),
        }
    }

    /// A run of it at an instant of its own, for a session that waits; `dry`: where to leave what a dry
    /// run does.
    pub(super) fn wanted(&self, force: bool, dry: Option<u32>) -> Wanted {
        Wanted {
            job: JobId(self.job.jobid),
            scheduled_for: self.instant(),
            force,
            role: current_user().oid.to_u32(),
            owner: self.job.owner_oid.map_or(0, pg_sys::Oid::to_u32),
            database: self.job.database_oid.map_or(0, pg_sys::Oid::to_u32),
            dry,
        }
    }

    /// Now, or right after, if the job is due now.
    fn instant(&self) -> Instant {
        self.free(time::now())
    }

    /// The first instant from `at` at which the schedule has none.
    fn free(&self, mut at: Instant) -> Instant {
        while self.plan.next(at.plus(-1)) == Some(at) {
            at = at.plus(1);
        }
        at
    }

    /// Asks for a run, at an instant that is nobody else's.
    fn request(&self, force: bool) -> Result<i64, Error> {
        let caller = current_user();
        let mut at = self.instant();
        for _ in 0..TRIES {
            if let Some(run) = stored::request(&self.job, at, force, caller.name())? {
                return Ok(run);
            }
            at = self.free(at.plus(1));
        }
        Err(Error::TooMuch {
            problem: format!("job {} has been asked for too often at one instant", self.job.jobid),
            hint: "Try again.",
        })
    }
}

/// What keeps a job from running by itself at `now`, as a sentence.
fn closed(job: &Outlook, plan: &Plan, now: Instant) -> Option<String> {
    if !job.active {
        return Some("It is switched off.".to_owned());
    }
    if let Some(until) = job.paused_until.filter(|&until| until > now) {
        return Some(match until.0 {
            i64::MAX => "It is paused.".to_owned(),
            _ => format!("It is paused until {}.", time::shown(until)),
        });
    }
    let Verdict::Skip(reason) = plan.verdict(now) else { return None };
    let until = match plan.opens(now) {
        Some(opens) => format!("until {}", time::shown(opens)),
        None => "for ever".to_owned(),
    };
    Some(match reason {
        SkipReason::Calendar => format!("A calendar keeps it from running {until}."),
        _ => format!("Its run_window is closed {until}."),
    })
}
