//! `cron.retry_run` and `cron.resolve_run`: what people do about runs that failed.
//!
//! Owns two invariants: no attempt is asked for that could follow a success or another attempt under
//! way or to come; and resolving a run says so in its row without touching what the run came to.

use pg_tock_core::http::document::Again;
use pg_tock_core::time::{JobId, RunId};
use pgrx::prelude::*;

use crate::catalog::resolve::{self, Ran};
use crate::catalog::stats_reset;
use crate::error::{Error, SqlResult};
use crate::pg::identity::current_user;
use crate::pg::job_lock::JobLock;
use crate::pg::process;
use crate::pg::text::ServerText;
use crate::shmem::http;
use crate::shmem::roster;
use crate::shmem::slots::State;

use super::rights::{JobRef, may_change, refuse_in_recovery};

#[pg_extern(sql = false)]
fn cron_retry_run(runid: Option<i64>) -> SqlResult<i64> {
    Ok(retry(runid.ok_or(Error::Null("runid"))?)?)
}

#[pg_extern(sql = false)]
fn cron_resolve_run(
    runid: Option<i64>,
    outcome: Option<&[u8]>,
    note: Option<&[u8]>,
) -> SqlResult<()> {
    let runid = runid.ok_or(Error::Null("runid"))?;
    let outcome = match outcome.ok_or(Error::Null("outcome"))? {
        b"succeeded" => "succeeded",
        b"failed" => "failed",
        _ => {
            return Err(Error::OutOfRange {
                problem: "outcome must be \"succeeded\" or \"failed\"".to_owned(),
                hint: "Say succeeded if the work of the run has been done, and failed if it stays undone.",
            }
            .into());
        }
    };
    Ok(settle(runid, outcome, note.map(ServerText::new))?)
}

fn refused(problem: String, hint: impl Into<String>) -> Error {
    Error::RunState { problem, hint: hint.into() }
}

/// The run, if the caller may decide about it. Nobody else asks for attempts of its job until the
/// transaction ends.
fn own(runid: i64) -> Result<Ran, Error> {
    let Some(ran) = resolve::find(runid)? else {
        return Err(match resolve::promised(runid)? {
            Some(job) => match JobRef::Id(job).resolve() {
                Ok(_) => refused(format!("run {runid} has not begun"), ""),
                Err(error) => error,
            },
            None => Error::NoSuchRun(runid),
        });
    };
    if !may_change(&current_user(), ran.owner(), ran.owner_oid)? {
        return Err(Error::NotJobOwner(ran.job));
    }
    JobLock::of_requests(process::database().to_u32(), JobId(ran.job)).wait_for_transaction();
    // What others have done until they let go.
    resolve::find(runid)?.ok_or(Error::NoSuchRun(runid))
}

fn retry(runid: i64) -> Result<i64, Error> {
    refuse_in_recovery("cron.retry_run()")?;
    let ran = own(runid)?;
    if !ran.job_exists {
        return Err(Error::JobOfRunGone { job: ran.job, run: runid });
    }
    if !ran.has_occurrence {
        let problem = format!("run {runid} does not say which occurrence it was for");
        return Err(refused(problem, "It was recorded by something else than pg_tock."));
    }
    let others = resolve::others(runid)?.ok_or(Error::NoSuchRun(runid))?;
    if let Some(open) = others.open {
        let problem = format!("the occurrence of run {runid} is under way, as run {open}");
        return Err(refused(problem, ""));
    }
    if let Some(succeeded) = others.succeeded {
        let problem = format!("the occurrence of run {runid} has succeeded, with run {succeeded}");
        return Err(refused(problem, "To run the job once more, ask for a run of its own."));
    }
    if let Some(promised) = others.promised {
        let problem =
            format!("the occurrence of run {runid} is to run again already, as run {promised}");
        return Err(refused(problem, ""));
    }
    if !ran.same_place {
        let problem = format!("job {} has another role or database since run {runid}", ran.job);
        let hint = "Column command of cron.job_run_details has what it ran, to be run by hand.";
        return Err(refused(problem, hint));
    }
    let request = match ran.again {
        Again::Kept(request) => Some(request),
        Again::Present => None,
        Again::Lost => {
            let problem = format!("job {} has another request since run {runid}", ran.job);
            let hint = "The request of that run is not there to be sent again; cron.run_now sends the present one.";
            return Err(refused(problem, hint));
        }
    };
    resolve::ask(runid, current_user().name(), request)
}

fn settle(runid: i64, outcome: &'static str, note: Option<ServerText<'_>>) -> Result<(), Error> {
    refuse_in_recovery("cron.resolve_run()")?;
    let ran = own(runid)?;
    if ran.is_open && is_alive(runid, ran.pid) {
        let hint = format!("Cancel it first: SELECT cron.cancel_run({runid});");
        return Err(refused(format!("run {runid} is under way"), hint));
    }
    if ran.status == "succeeded" || ran.outcome.as_deref() == Some("cancelled") {
        let problem = format!("run {runid} has not failed");
        let how = ran.outcome.as_deref().unwrap_or(&ran.status);
        return Err(refused(
            problem,
            format!("Its outcome is {how}, and there is nothing to resolve."),
        ));
    }
    let others = resolve::others(runid)?;
    if let Some(promised) = others.and_then(|others| others.promised) {
        let problem = format!("the occurrence of run {runid} is to run again, as run {promised}");
        let hint = format!("Cancel that run first: SELECT cron.cancel_run({promised});");
        return Err(refused(problem, hint));
    }
    if let Some(later) = others.and_then(|others| others.later) {
        let problem = format!("run {runid} is not the last attempt at its occurrence");
        return Err(refused(problem, format!("That is run {later}.")));
    }
    if resolve::resolve(runid, outcome, current_user().name(), note)? {
        stats_reset::resolved(ran.job, runid)
    } else {
        Err(refused(format!("run {runid} has not failed"), ""))
    }
}

/// Whether a run that has no end may still get one: an executor has it, or the process it was given
/// to is an executor still, or it is an HTTP run that was handed over and is not in the ledger yet.
fn is_alive(runid: i64, pid: Option<i32>) -> bool {
    let (here, run) = (process::database().to_u32(), RunId(runid));
    http::of_scheduler(here).any(|(_, slot)| slot.run() == run)
        || roster::of_scheduler(here).any(|(_, slot)| {
            let has_it = slot.current().is_some_and(|current| current.run == run);
            has_it || slot.state() != State::Exited && pid == Some(slot.pid())
        })
}
