//! Transactions of our own in a background worker.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::{PgTryBuilder, pg_sys};

/// Whether `run` has been called since this was asked last.
static RAN: AtomicBool = AtomicBool::new(false);

/// Whether there was a transaction since this was asked last. One that had to wait, for a lock or for
/// a page that another process was reading, has slept on this process's latch and reset it: what
/// others have set it for in the meantime has to be looked at before the latch is waited for again.
pub(crate) fn ran() -> bool {
    RAN.swap(false, Ordering::Relaxed)
}

/// Runs `body` in a transaction with a snapshot and commits. An ERROR, also one at COMMIT, aborts
/// the transaction, goes to the server log as a LOG line that begins with `what`, and is `None`.
///
/// Nothing is held afterwards: no snapshot, no lock, no transaction.
pub(crate) fn run<T>(what: &str, body: impl FnOnce() -> T) -> Option<T> {
    RAN.store(true, Ordering::Relaxed);
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
        Some(value)
    }))
    .catch_others(|error| {
        let message = match &error {
            pg_sys::panic::CaughtError::PostgresError(report)
            | pg_sys::panic::CaughtError::ErrorReport(report) => report.message().to_owned(),
            pg_sys::panic::CaughtError::RustPanic { ereport, .. } => ereport.message().to_owned(),
        };
        // SAFETY: PgTryBuilder has taken the error off Postgres's error stack.
        unsafe { pg_sys::AbortCurrentTransaction() };
        pgrx::log!("pg_tock: {what} failed: {message}");
        None
    })
    .execute();
    // SAFETY: transactions may leave another context current.
    unsafe { pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext };
    outcome
}
