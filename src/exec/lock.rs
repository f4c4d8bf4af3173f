//! The lock a run holds on its job.
//!
//! Inside one server it is the run's slot that excludes; the lock is what others see in `pg_locks`
//! and what `cron.hold` takes. A run that is one transaction has it as long as that, so that
//! nothing the job does can drop it; a run that may commit on its own has it for the session, and
//! makes sure of it before it settles. It is never waited for.

use pg_tock_core::cancel::Cause;
use pg_tock_core::time::RunId;
use pg_tock_core::wire::RunOrder;
use pgrx::PgSqlErrorCode;

use crate::pg::job_lock::{JobLock, Mode};
use crate::pg::time::monotonic;
use crate::pg::trap;
use crate::shmem::databases::{self, Database};
use crate::shmem::slots::Slot;
use crate::shmem::taken_back;

/// The lock of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunLock {
    lock: JobLock,
    run: RunId,
    /// Where the run is told of.
    slot: &'static Slot,
    /// Taken for the session.
    session: bool,
    /// Somebody else holds the job: how many holds had ended before the run tried.
    held: Option<u64>,
    /// The request for the run was taken back before it began.
    taken_back: bool,
}

impl RunLock {
    /// The lock of the run that slot has, not taken yet.
    pub(super) fn new(slot: &'static Slot, order: &RunOrder<'_>) -> Self {
        let mode = if order.shares_lock { Mode::Shared } else { Mode::Alone };
        let lock = JobLock::new(slot.scheduler(), order.job, mode);
        Self { lock, run: order.run, slot, session: false, held: None, taken_back: false }
    }

    /// Whether somebody else holds the job, and how many holds had ended before the run tried.
    pub(super) const fn held(&self) -> Option<u64> {
        self.held
    }

    /// Takes it for a run that is the transaction that is open. False if the run is not to begin.
    ///
    /// # Safety
    /// Inside [`trap::catch`], in a transaction.
    pub(super) unsafe fn take_for_transaction(&mut self) -> bool {
        let before = self.holds_ended();
        // SAFETY: promised by the caller.
        let taken = unsafe { self.lock.try_in_transaction() };
        !self.is_taken_back() && self.tried(taken, before)
    }

    /// Takes it for a run of several transactions. False if the run is not to begin.
    ///
    /// # Safety
    /// Inside [`trap::catch`].
    pub(super) unsafe fn take_for_session(&mut self) -> bool {
        let before = self.holds_ended();
        // SAFETY: promised by the caller.
        self.session = unsafe { self.lock.try_in_session() };
        if self.session && self.is_taken_back() {
            // SAFETY: promised by the caller; it was got just now.
            unsafe { self.lock.give_back() };
            self.session = false;
            return false;
        }
        self.tried(self.session, before)
    }

    /// Whether the request for the run was taken back before the run began. Then that is noted in its slot. Asked
    /// before anything is done, and again with the lock: one that was let go after the request was taken back is
    /// got after that, too.
    pub(super) fn is_taken_back(&mut self) -> bool {
        if !self.taken_back
            && let Some(reason) = taken_back::find(self.lock.scheduler(), self.run)
        {
            self.slot.want_end(self.run, Cause::Requested, monotonic(), reason.as_bytes());
            self.taken_back = true;
        }
        self.taken_back
    }

    /// Why the run has not begun, if that was found.
    pub(super) fn unwanted(&self) -> Option<Cause> {
        self.taken_back.then(|| self.slot.cancel.cause(self.run).unwrap_or(Cause::Requested))
    }

    fn tried(&mut self, taken: bool, holds_ended: u64) -> bool {
        self.held = (!taken).then_some(holds_ended);
        if taken {
            self.slot.sets_to_work();
        }
        taken
    }

    /// Makes sure that a run of several transactions still has it: `DISCARD ALL` and
    /// `pg_advisory_unlock_all` drop it. If somebody else has it by now, an ERROR.
    ///
    /// # Safety
    /// Inside [`trap::catch`], in a transaction.
    pub(super) unsafe fn make_sure(&self) {
        // SAFETY: promised by the caller.
        unsafe {
            if self.session && !self.lock.is_mine() && !self.lock.try_in_transaction() {
                trap::raise(
                    PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                    c"the command released its job's lock, and somebody else holds the job now",
                    Some(c"Leave out DISCARD ALL and pg_advisory_unlock_all."),
                );
            }
        }
    }

    /// Gives it back. Outside a transaction.
    pub(super) fn give_back(&self) {
        if self.session && self.lock.is_mine() {
            // SAFETY: nothing with a destructor in the closure.
            let _ = unsafe { trap::catch(|| self.lock.give_back()) };
        }
    }

    fn holds_ended(&self) -> u64 {
        databases::find(self.lock.scheduler()).map_or(0, Database::holds_ended)
    }
}
