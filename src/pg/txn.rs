//! Transactions of our own in a background worker.

use std::panic::AssertUnwindSafe;

use pgrx::{PgTryBuilder, pg_sys};

/// Runs `body` in a transaction with a snapshot and commits. An ERROR, also one at COMMIT, aborts
/// the transaction, goes to the server log as a LOG line that begins with `what`, and is `None`.
///
/// Nothing is held afterwards: no snapshot, no lock, no transaction.
pub(crate) fn run<T>(what: &str, body: impl FnOnce() -> T) -> Option<T> {
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
