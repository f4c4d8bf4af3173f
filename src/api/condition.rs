//! The option `run_if`, as far as it can be checked before it is evaluated.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicI32, Ordering};
use std::ffi::CString;

use pgrx::PgTryBuilder;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

use crate::error::Error;
use crate::exec::condition::{self, ONE_EXPRESSION};
use crate::pg::json::to_server;

/// Where the parser found an error, in characters from 1; 0 = it did not say.
static POSITION: AtomicI32 = AtomicI32::new(0);

/// Notes where the error is. Called inside error processing.
unsafe extern "C-unwind" fn note_position(_arg: *mut c_void) {
    // SAFETY: an error is being raised.
    POSITION.store(unsafe { pg_sys::geterrposition() }, Ordering::Relaxed);
}

/// Refuses what cannot be parsed as one expression.
pub(super) fn check(text: &str) -> Result<(), Error> {
    let text = CString::new(to_server(text)).unwrap_or_default();
    POSITION.store(0, Ordering::Relaxed);
    let one = PgTryBuilder::new(core::panic::AssertUnwindSafe(|| Ok(parses(&text))))
        .catch_others(|caught| {
            let message = match &caught {
                CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                    report.message()
                }
                CaughtError::RustPanic { ereport, .. } => ereport.message(),
            };
            Err(message.to_owned())
        })
        .execute();
    match one {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Error::Condition { problem: ONE_EXPRESSION.to_string_lossy().into_owned(), at: 0 })
        }
        Err(problem) => Err(Error::Condition {
            problem: format!("invalid run_if: {problem}"),
            at: POSITION.load(Ordering::Relaxed),
        }),
    }
}

fn parses(text: &CStr) -> bool {
    let text = text.as_ptr();
    // SAFETY: the boundary turns an ERROR into an unwind; inside is nothing with a destructor. The
    // callback is taken off on both ways out: the boundary restores the stack when it unwinds.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            let mut context = pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(note_position),
                arg: core::ptr::null_mut(),
            };
            pg_sys::error_context_stack = &raw mut context;
            let one = !condition::parse(text).is_null();
            pg_sys::error_context_stack = context.previous;
            one
        })
    }
}
