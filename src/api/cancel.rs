//! `cron.cancel_run`: ending a run.
//!
//! Owns one invariant: who ended a run and why is noted before anything happens to it. A run under
//! way is ended at once, whatever becomes of the caller's transaction; a request is taken back when that
//! commits, and nothing that comes after the commit lets its run begin. It waits until its run sets to
//! work: what only tries its job's lock may have to wait again.

use pg_tock_core::cancel::{Cause, request_reason};
use pg_tock_core::time::{JobId, RunId};
use pgrx::prelude::*;

use crate::catalog::{cancel, lookup};
use crate::error::{Error, SqlResult};
use crate::pg::identity::current_user;
use crate::pg::text::clip;
use crate::pg::{process, time};
use crate::shmem::cancel::{Asked, REASON};
use crate::shmem::changes;
use crate::shmem::databases;
use crate::shmem::http::{self, HttpSlot};
use crate::shmem::roster;
use crate::shmem::slots::{Phase, Slot};

use super::rights::{may_become, may_change, refuse_in_recovery};

#[pg_extern(sql = false)]
fn cron_cancel_run(runid: Option<i64>, reason: Option<&[u8]>) -> SqlResult<bool> {
    Ok(cancel_run(runid.ok_or(Error::Null("runid"))?, reason)?)
}

fn cancel_run(runid: i64, why: Option<&[u8]>) -> Result<bool, Error> {
    refuse_in_recovery("cron.cancel_run()")?;
    let caller = current_user();
    let reason = request_reason(caller.name().bytes(), why);
    let reason = clip(&reason, REASON);
    if let Some((place, job)) = Place::of(RunId(runid))
        && (place.is_at_work() || cancel::requested(runid)?.is_none())
    {
        if !may_become(place.role().into())? {
            return Err(Error::NotJobOwner(job.0));
        }
        if place.end(RunId(runid), reason) {
            return Ok(true);
        }
    }
    if let Some(jobid) = cancel::requested(runid)? {
        let job = lookup::by_id(jobid)?;
        let job = job.ok_or(Error::NoSuchRun(runid))?;
        if !may_change(&caller, job.owner(), job.owner_oid)? {
            return Err(Error::NotJobOwner(jobid));
        }
        cancel::take_back(runid, jobid, reason)?;
        changes::run_taken_back(RunId(runid), reason);
        return Ok(true);
    }
    let owner = cancel::owner(runid)?.ok_or(Error::NoSuchRun(runid))?;
    if may_change(&caller, owner.name(), owner.oid)? {
        Ok(false)
    } else {
        Err(Error::NotJobOwner(owner.jobid))
    }
}

/// Where a run is that was handed out.
enum Place {
    Executor(&'static Slot),
    HttpWorker(&'static HttpSlot),
}

impl Place {
    /// Where a run of this database's jobs is, wherever it runs, unless it is over; and its job.
    fn of(run: RunId) -> Option<(Self, JobId)> {
        let here = process::database().to_u32();
        let with_executor = roster::of_scheduler(here).find_map(|(_, slot)| {
            let current = slot.current().filter(|current| current.run == run)?;
            (slot.phase() != Phase::Reported).then_some((Self::Executor(slot), current.job))
        });
        with_executor.or_else(|| {
            http::of_scheduler(here).find_map(|(_, slot)| {
                let there = slot.run() == run && slot.phase() != http::Phase::Over;
                there.then(|| (Self::HttpWorker(slot), slot.current().job))
            })
        })
    }

    fn role(&self) -> u32 {
        match self {
            Self::Executor(slot) => slot.role(),
            Self::HttpWorker(slot) => slot.role(),
        }
    }

    /// Whether the run there cannot be put back any more.
    fn is_at_work(&self) -> bool {
        match self {
            Self::Executor(slot) => slot.is_at_work(),
            Self::HttpWorker(slot) => slot.is_at_work(),
        }
    }

    /// Has a run ended. False if it is over.
    fn end(&self, run: RunId, reason: &[u8]) -> bool {
        let asked = match self {
            Self::HttpWorker(slot) => slot.want_end(run, Cause::Requested, reason),
            Self::Executor(slot) => {
                let asked = slot.want_end(run, Cause::Requested, time::monotonic(), reason);
                // Only its scheduler knows when a signal would find this run and no other.
                if let Some(database) = databases::find(slot.scheduler()) {
                    database.wake_for_news();
                }
                asked
            }
        };
        asked != Asked::OtherRun
    }
}
