//! `cron.hold` and `cron.release`: a session keeps a job from running.
//!
//! Owns one invariant: however a hold ends (released, `DISCARD ALL`, `pg_advisory_unlock_all`, the
//! end of the session) and whenever a wait for one is given up, the scheduler is told, for a run may
//! have been put off because of it.

use core::cell::RefCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

use pg_tock_core::time::JobId;
use pgrx::prelude::*;

use super::rights::{JobRef, refuse_in_recovery};
use crate::error::{Error, SqlResult};
use crate::pg::job_lock::{JobLock, Mode};
use crate::pg::process;
use crate::shmem::slots::Slot;
use crate::shmem::{databases, mine};

thread_local! {
    /// The jobs this session holds.
    static HOLDS: RefCell<Vec<JobLock>> = const { RefCell::new(Vec::new()) };
}

/// Whether this session is told of the ends of its transactions, and of its own.
static WATCHING: AtomicBool = AtomicBool::new(false);

#[pg_extern(sql = false)]
fn cron_hold(job: Option<i64>) -> SqlResult<()> {
    Ok(hold(JobRef::id(job)?)?)
}

#[pg_extern(sql = false)]
fn cron_hold_named(job: Option<&[u8]>) -> SqlResult<()> {
    Ok(hold(JobRef::name(job)?)?)
}

#[pg_extern(sql = false)]
fn cron_release(job: Option<i64>) -> SqlResult<bool> {
    // A session can only release what it holds, so the job need not exist any more.
    Ok(release(JobId(job.ok_or(Error::Null("job"))?)))
}

#[pg_extern(sql = false)]
fn cron_release_named(job: Option<&[u8]>) -> SqlResult<bool> {
    Ok(release(JobId(JobRef::name(job)?.resolve()?.jobid)))
}

fn lock_of(job: JobId) -> JobLock {
    JobLock::new(process::database().to_u32(), job, Mode::Alone)
}

fn hold(job: JobRef<'_>) -> Result<(), Error> {
    refuse_in_recovery("cron.hold()")?;
    let lock = lock_of(JobId(job.resolve()?.jobid));
    let own = mine::slot().filter(|slot| slot.scheduler() == lock.scheduler());
    if own.and_then(Slot::current).is_some_and(|run| run.job == lock.job()) {
        return Err(Error::HoldInside);
    }
    watch();
    forget_lost();
    if HOLDS.with_borrow(|holds| holds.iter().any(|hold| hold.job() == lock.job())) {
        return Ok(());
    }
    let waiting = Waiting;
    lock.wait();
    core::mem::forget(waiting);
    HOLDS.with_borrow_mut(|holds| holds.push(lock));
    Ok(())
}

fn release(job: JobId) -> bool {
    let known = HOLDS.with_borrow_mut(|holds| {
        let before = holds.len();
        holds.retain(|hold| hold.job() != job);
        holds.len() != before
    });
    let released = known && lock_of(job).release();
    if known {
        tell();
    }
    released
}

/// A wait for a job. If it is given up, runs that were put off because of it are to be tried again.
struct Waiting;

impl Drop for Waiting {
    fn drop(&mut self) {
        tell();
    }
}

/// Tells the scheduler that a hold has ended.
fn tell() {
    if let Some(database) = databases::find(process::database().to_u32()) {
        database.hold_ended();
    }
}

/// Drops the holds this session has lost from the list.
fn forget_lost() {
    let lost = HOLDS.with_borrow_mut(|holds| {
        let before = holds.len();
        holds.retain(JobLock::is_mine);
        holds.len() != before
    });
    if lost {
        tell();
    }
}

/// Has this session told of the ends of its transactions, and of its own.
fn watch() {
    if WATCHING.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: plain functions that stay; the second is called after locks have been released.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ended), core::ptr::null_mut());
        pg_sys::on_shmem_exit(Some(session_ended), pg_sys::Datum::from(0));
    }
}

/// Called by Postgres at the end of each transaction, where nothing may fail.
unsafe extern "C-unwind" fn transaction_ended(_event: pg_sys::XactEvent::Type, _arg: *mut c_void) {
    forget_lost();
}

/// Called by Postgres when the session's locks are gone.
unsafe extern "C-unwind" fn session_ended(_code: i32, _arg: pg_sys::Datum) {
    tell();
}
