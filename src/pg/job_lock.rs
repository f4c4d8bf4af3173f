//! The advisory lock of a job.
//!
//! Owns one invariant: no lock function SQL offers can take it. Those name the database they are
//! called in and a fourth field of 1 or 2; ours names the database of the job's scheduler, wherever
//! the job runs, and a 3. It is shown in `pg_locks` like any other.

use core::ffi::c_int;

use pg_tock_core::time::JobId;
use pgrx::PgTryBuilder;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, LOCKTAG, LockAcquireResult};

use super::raw;

/// `objsubid` of the lock in `pg_locks`.
const OUR_OWN: u16 = 3;
/// `objsubid` of the lock that whoever asks for another attempt has until the end of the transaction.
const REQUESTS: u16 = 4;
/// `objsubid` of the lock that whoever changes the queues or calendars of a role has, until the end of
/// the transaction.
const COMPANY: u16 = 5;

/// Whom a lock keeps away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everybody else.
    Alone,
    /// Those who want to be alone.
    Shared,
}

impl Mode {
    const fn number(self) -> c_int {
        match self {
            Self::Alone => pg_sys::ExclusiveLock.cast_signed(),
            Self::Shared => pg_sys::ShareLock.cast_signed(),
        }
    }
}

/// A job's lock, for one way of taking it.
#[derive(Clone, Copy)]
pub(crate) struct JobLock {
    tag: LOCKTAG,
    mode: Mode,
}

impl core::fmt::Debug for JobLock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("JobLock").field(&self.job()).field(&self.mode).finish()
    }
}

impl JobLock {
    /// The lock of a job of that database's scheduler.
    pub(crate) const fn new(scheduler: u32, job: JobId, mode: Mode) -> Self {
        let [a, b, c, d, e, f, g, h] = job.0.to_be_bytes();
        let tag = LOCKTAG {
            locktag_field1: scheduler,
            locktag_field2: u32::from_be_bytes([a, b, c, d]),
            locktag_field3: u32::from_be_bytes([e, f, g, h]),
            locktag_field4: OUR_OWN,
            locktag_type: 10,        // LOCKTAG_ADVISORY
            locktag_lockmethodid: 2, // USER_LOCKMETHOD
        };
        Self { tag, mode }
    }

    /// The lock among those who ask for attempts at a job's occurrences: two of them would decide
    /// without knowing of each other, and the second would wait for the first in an index.
    pub(crate) const fn of_requests(scheduler: u32, job: JobId) -> Self {
        let mut lock = Self::new(scheduler, job, Mode::Alone);
        lock.tag.locktag_field4 = REQUESTS;
        lock
    }

    /// The lock among those who change what a role has of queues, calendars and dates: two of them
    /// would count without knowing of each other.
    pub(crate) fn of_company(scheduler: u32, role: u32) -> Self {
        let mut lock = Self::new(scheduler, JobId(role.into()), Mode::Alone);
        lock.tag.locktag_field4 = COMPANY;
        lock
    }

    /// Waits for it and has it until the transaction ends. An ERROR as with `wait`.
    pub(crate) fn wait_for_transaction(&self) {
        // SAFETY: inside a transaction.
        unsafe { pg_sys::LockAcquire(&raw const self.tag, self.mode.number(), false, false) };
    }

    /// Takes it until the transaction ends, unless that needs waiting: outside `catch`.
    pub(crate) fn has_for_transaction(&self) -> bool {
        // SAFETY: inside a transaction.
        let got =
            unsafe { pg_sys::LockAcquire(&raw const self.tag, self.mode.number(), false, true) };
        got != LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// The job.
    pub(crate) fn job(&self) -> JobId {
        let wide = u64::from(self.tag.locktag_field2) << 32 | u64::from(self.tag.locktag_field3);
        JobId(wide.cast_signed())
    }

    /// The database of its scheduler.
    pub(crate) const fn scheduler(&self) -> u32 {
        self.tag.locktag_field1
    }

    /// Takes it until the transaction ends, unless that needs waiting.
    ///
    /// # Safety
    /// Inside [`trap::catch`](super::trap::catch), in a transaction.
    #[allow(ffi_unwind_calls, reason = "inside catch; the frame owns nothing with a destructor")]
    pub(crate) unsafe fn try_in_transaction(&self) -> bool {
        // SAFETY: promised by the caller.
        let got = unsafe { raw::LockAcquire(&raw const self.tag, self.mode.number(), false, true) };
        got != LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// Takes it until it is given back or the process ends, unless that needs waiting.
    ///
    /// # Safety
    /// Inside [`trap::catch`](super::trap::catch).
    #[allow(ffi_unwind_calls, reason = "inside catch; the frame owns nothing with a destructor")]
    pub(crate) unsafe fn try_in_session(&self) -> bool {
        // SAFETY: promised by the caller.
        let got = unsafe { raw::LockAcquire(&raw const self.tag, self.mode.number(), true, true) };
        got != LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// Gives back what `try_in_session` took.
    ///
    /// # Safety
    /// Inside [`trap::catch`](super::trap::catch); the process has it.
    #[allow(ffi_unwind_calls, reason = "inside catch; the frame owns nothing with a destructor")]
    pub(crate) unsafe fn give_back(&self) {
        // SAFETY: promised by the caller.
        unsafe { raw::LockRelease(&raw const self.tag, self.mode.number(), true) };
    }

    /// Waits for it and keeps it until it is released or the session ends. An ERROR if the wait is
    /// cancelled, lasts longer than `lock_timeout`, or is part of a deadlock.
    pub(crate) fn wait(&self) {
        // SAFETY: inside a transaction.
        unsafe { pg_sys::LockAcquire(&raw const self.tag, self.mode.number(), true, false) };
    }

    /// Releases what `wait` has got, or says that there is nothing to release.
    pub(crate) fn release(&self) -> bool {
        // SAFETY: what the process does not have is not asked for.
        self.is_mine()
            && unsafe { pg_sys::LockRelease(&raw const self.tag, self.mode.number(), true) }
    }

    /// Whether this process has it.
    pub(crate) fn is_mine(&self) -> bool {
        let mode = self.mode.number();
        // SAFETY: reads this process's own table of locks; raises nothing.
        unsafe {
            #[cfg(not(any(feature = "pg17", feature = "pg18")))]
            let held = pg_sys::LockHeldByMe(&raw const self.tag, mode);
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            let held = pg_sys::LockHeldByMe(&raw const self.tag, mode, false);
            held
        }
    }

    /// Whether this process could have it now without waiting, as far as it can be told: not when the
    /// server's table of locks is full. Outside a transaction.
    pub(crate) fn is_free(&self) -> bool {
        match self.try_keep() {
            Ok(got) => got && self.release(),
            Err(error) => {
                pgrx::debug1!("pg_tock: whether job {} is held is not known: {error}", self.job());
                true
            }
        }
    }

    /// Takes it and keeps it until it is given back with [`Self::release`], unless that needs
    /// waiting. Outside a transaction, in a process that runs no SQL.
    ///
    /// # Errors
    /// The server's table of locks is full.
    pub(crate) fn try_keep(&self) -> Result<bool, String> {
        // SAFETY: taken for the session, so no transaction is needed.
        PgTryBuilder::new(|| unsafe {
            let got = pg_sys::LockAcquire(&raw const self.tag, self.mode.number(), true, true);
            Ok(got != LockAcquireResult::LOCKACQUIRE_NOT_AVAIL)
        })
        .catch_others(|error| match error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                Err(report.message().to_owned())
            }
            CaughtError::RustPanic { ereport, .. } => Err(ereport.message().to_owned()),
        })
        .execute()
    }
}
