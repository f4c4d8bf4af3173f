//! `cron.cancel_run`: ending a run.
//!
//! Owns one invariant: who ended a run and why is noted before anything happens to it. A run under
//! way is ended at once, whatever becomes of the caller's transaction; a request is taken back when that
//! commits.

use pg_tock_core::cancel::{Cause, request_reason};
use pg_tock_core::time::{JobId, RunId};
use pgrx::prelude::*;

use crate::catalog::{cancel, lookup};
use crate::error::{Error, SqlResult};
use crate::pg::identity::current_user;
use crate::pg::text::clip;
use crate::pg::{process, time};
use crate::shmem::cancel::{Asked, REASON};
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
    if let Some((slot, job)) = under_way(RunId(runid)) {
        if !may_become(slot.role().into())? {
            return Err(Error::NotJobOwner(job.0));
        }
        if end(slot, RunId(runid), reason) {
            return Ok(true);
        }
    }
    if let Some((slot, job)) = sending(RunId(runid)) {
        if !may_become(slot.role().into())? {
            return Err(Error::NotJobOwner(job.0));
        }
        if slot.want_end(RunId(runid), Cause::Requested, reason) != Asked::OtherRun {
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
        return Ok(true);
    }
    let owner = cancel::owner(runid)?.ok_or(Error::NoSuchRun(runid))?;
    if may_change(&caller, owner.name(), owner.oid)? {
        Ok(false)
    } else {
        Err(Error::NotJobOwner(owner.jobid))
    }
}

/// The slot of a run of this database's jobs, wherever it runs, and its job.
fn under_way(run: RunId) -> Option<(&'static Slot, JobId)> {
    roster::of_scheduler(process::database().to_u32()).find_map(|(_, slot)| {
        let current = slot.current().filter(|current| current.run == run)?;
        (slot.phase() != Phase::Reported).then_some((slot, current.job))
    })
}

/// The slot of an HTTP run of this database's jobs, and its job.
fn sending(run: RunId) -> Option<(&'static HttpSlot, JobId)> {
    http::of_scheduler(process::database().to_u32()).find_map(|(_, slot)| {
        let under_way = slot.run() == run && slot.phase() != http::Phase::Over;
        under_way.then(|| (slot, slot.current().job))
    })
}

/// Has a run ended. False if it is over.
fn end(slot: &Slot, run: RunId, reason: &[u8]) -> bool {
    let asked = slot.want_end(run, Cause::Requested, time::monotonic(), reason);
    // Only its scheduler knows when a signal would find this run and no other.
    if let Some(database) = databases::find(slot.scheduler()) {
        database.wake_for_news();
    }
    asked != Asked::OtherRun
}
