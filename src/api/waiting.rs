//! Waiting for a run: `cron.run_now(…, wait => true)` and `cron.dry_run`.
//!
//! Owns one invariant: however a wait ends, by an answer, an ERROR or the end of the session, the
//! entry it had in shared memory is given back.

use core::cell::Cell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

use pg_tock_core::time::RunId;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::job_lock::{JobLock, Mode};
use crate::pg::process;
use crate::shmem::asks::{self, Ask, State, Wanted};
use crate::shmem::{databases, mine};

thread_local! {
    /// What this session waits for.
    static ASK: Cell<Option<&'static Ask>> = const { Cell::new(None) };
}

/// Whether this session is told of the ends of its transactions.
static WATCHING: AtomicBool = AtomicBool::new(false);

/// Refuses to wait where the run could not see what this transaction has done, or could wait for it.
pub(super) fn refuse_here(function: &'static str) -> Result<(), Error> {
    // SAFETY: reads the state of this session's transaction.
    let (block, written) = unsafe {
        let block = pg_sys::IsTransactionBlock() || pg_sys::IsSubTransaction();
        (block, pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId)
    };
    let place = if mine::slot().is_some_and(|slot| slot.current().is_some()) {
        "inside a run of a job"
    } else if block {
        "in a transaction block"
    } else if written {
        "in a transaction that has written"
    } else {
        return Ok(());
    };
    Err(Error::CannotWait { function, place })
}

/// Has the scheduler make a run, and waits for its end. Returns the run's id.
pub(super) fn wait(wanted: &Wanted) -> Result<RunId, Error> {
    let here = process::database().to_u32();
    let job = wanted.job;
    if JobLock::new(here, job, Mode::Alone).is_mine() {
        // The run would wait for this session, which sleeps where no deadlock is found.
        let problem = format!("job {job} is held by this session");
        let hint = format!("Release it first: SELECT cron.release({job});");
        return Err(Error::RunState { problem, hint });
    }
    if databases::find(here).is_none() {
        return Err(Error::NoScheduler);
    }
    watch();
    let ask = asks::ask(here, wanted, process::latch()).ok_or_else(|| Error::TooMuch {
        problem: "too many sessions wait for runs".to_owned(),
        hint: "",
    })?;
    ASK.set(Some(ask));
    let answer = loop {
        match ask.state() {
            State::Ended => break ask.run().ok_or(Error::NoRow),
            State::Gone => break Err(Error::JobGone(wanted.job.0)),
            State::Refused => break Err(Error::NotAsked(wanted.job.0)),
            _ => process::sleep(),
        }
    };
    ASK.set(None);
    ask.free();
    answer
}

fn watch() {
    if !WATCHING.swap(true, Ordering::Relaxed) {
        // SAFETY: a plain function that stays.
        unsafe { pg_sys::RegisterXactCallback(Some(transaction_ended), core::ptr::null_mut()) };
    }
}

/// Called by Postgres at the end of each transaction, also that of a session that is terminated,
/// where nothing may fail.
unsafe extern "C-unwind" fn transaction_ended(_event: pg_sys::XactEvent::Type, _arg: *mut c_void) {
    if let Some(ask) = ASK.take() {
        ask.give_up();
    }
}
