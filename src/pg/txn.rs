//! Transactions of our own in a background worker.

use std::cell::RefCell;
use std::ffi::c_int;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pg_tock_core::repeat::Repeats;
use pg_tock_core::retry::is_transient;
use pg_tock_core::sqlstate;
use pgrx::{PgTryBuilder, pg_sys};

/// What failures are timed from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static SAID: RefCell<Repeats> = RefCell::new(Repeats::new());
}

thread_local! {
    /// What the last transaction came to nothing for, if that was no lock.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the last transaction came to nothing for; None if it did not, or for a lock.
pub(crate) fn last_failure() -> Option<String> {
    FAILURE.with_borrow(Clone::clone)
}

/// Whether `run` has been called since this was asked last.
static RAN: AtomicBool = AtomicBool::new(false);

/// Whether there was a transaction since this was asked last. One that had to wait, for a lock or for
/// a page that another process was reading, has slept on this process's latch and reset it: what
/// others have set it for in the meantime has to be looked at before the latch is waited for again.
pub(crate) fn ran() -> bool {
    RAN.swap(false, Ordering::Relaxed)
}

/// Why a transaction came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A data exception (SQLSTATE class 22) or corrupt data (XX001): it is up to a value in some row.
    Data,
    /// Somebody has locked what was wanted.
    Locked,
    /// A row with the same key is there already.
    Duplicate,
    /// It is likely to pass by itself: no space left on a disk, for instance.
    Passing,
    /// Anything else.
    Other,
}

impl Failure {
    fn of(code: c_int) -> Self {
        match &sqlstate::decode(code) {
            b"55P03" => Self::Locked,
            b"23505" => Self::Duplicate,
            b"XX001" | [b'2', b'2', ..] => Self::Data,
            passing if is_transient(passing) => Self::Passing,
            _ => Self::Other,
        }
    }
}

/// Has what this process has committed outlive a crash from here on. Outside a transaction.
pub(crate) fn flush() {
    // SAFETY: where the last commit record of this process ends, which is in WAL; 0 is always on disk.
    unsafe { pg_sys::XLogFlush(pg_sys::XactLastCommitEnd) };
}

/// Runs `body` in a transaction with a snapshot and commits. An ERROR, also one at COMMIT, aborts
/// the transaction, goes to the server log as a LOG line that begins with `what`, and is `None`.
///
/// Nothing is held afterwards: no snapshot, no lock, no transaction.
pub(crate) fn run<T>(what: &str, body: impl FnOnce() -> T) -> Option<T> {
    attempt(what, body).ok()
}

/// As [`run`], for callers who want to know what kind of error it was.
pub(crate) fn attempt<T>(what: &str, body: impl FnOnce() -> T) -> Result<T, Failure> {
    RAN.store(true, Ordering::Relaxed);
    FAILURE.set(None);
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: the sequence of every background worker (worker_spi.c); no transaction is open.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let value = body();
        // SAFETY: the snapshot pushed above is the active one.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    }))
    .catch_others(|error| {
        let (pg_sys::panic::CaughtError::PostgresError(report)
        | pg_sys::panic::CaughtError::ErrorReport(report)
        | pg_sys::panic::CaughtError::RustPanic { ereport: report, .. }) = &error;
        let (message, code) = (report.message().to_owned(), report.sql_error_code() as i32);
        // SAFETY: PgTryBuilder has taken the error off Postgres's error stack.
        unsafe { pg_sys::AbortCurrentTransaction() };
        let failure = Failure::of(code);
        if failure == Failure::Locked {
            // Whoever asked comes again.
            pgrx::debug1!("pg_tock: {what} has to wait: {message}");
        } else {
            say(format!("pg_tock: {what} failed: {message}"));
            FAILURE.set(Some(message));
        }
        Err(failure)
    })
    .execute();
    // SAFETY: transactions may leave another context current.
    unsafe { pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext };
    outcome
}

/// Says in the server log that something failed. What fails again and again is said now and then.
fn say(line: String) {
    let now = EPOCH.elapsed();
    match SAID.with_borrow_mut(|said| said.say(&line, now)) {
        None => {}
        Some(0) => pgrx::log!("{line}"),
        Some(more) => pgrx::log!("{line} (and {more} times before)"),
    }
}
