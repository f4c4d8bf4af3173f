//! Catching an ERROR as `PostgresMain` does: with all its fields, and with full recovery.
//!
//! pgrx's own catching loses the error's context, position and object names and costs a
//! `sigsetjmp` per call. Here one `sigsetjmp` stands around a whole piece of C-like code; the
//! sequence after it is the one of `tcop/postgres.c`, `PostgresMain`.

use core::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;

use super::{conceal, raw};

/// Everything Postgres knows about an error.
#[derive(Clone, Debug, Default)]
pub(crate) struct PgError {
    /// Five characters.
    pub(crate) sqlstate: [u8; 5],
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) column: Option<String>,
    pub(crate) datatype: Option<String>,
    pub(crate) constraint: Option<String>,
    pub(crate) internal_query: Option<String>,
    /// Characters into the command, from 1; 0 when unknown.
    pub(crate) position: i32,
    /// Characters into the internal query, from 1; 0 when unknown.
    pub(crate) internal_position: i32,
    /// What the server was told to interrupt the command for, whatever language messages are in.
    pub(crate) interrupt: Option<Interrupt>,
}

/// What interrupts a command, as Postgres tells it; no command can raise these errors itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// A cancel signal.
    Cancel,
    /// `statement_timeout`.
    StatementTimeout,
}

/// Most bytes of one field of an error that are kept: it goes to the ledger, to the scheduler and to
/// whoever looks at them.
const MOST_BYTES: usize = 64 * 1024;

fn text(p: *const c_char) -> Option<String> {
    if p.is_null() {
        return None;
    }
    // SAFETY: not null, and a C string by the contract of ErrorData. What is in the database's
    // encoding can be converted; SQL_ASCII is no encoding and is taken as it is.
    unsafe {
        let utf8 = pg_sys::pg_enc::PG_UTF8.cast_signed();
        let here = raw::GetDatabaseEncoding();
        let p = if here == utf8 || here == pg_sys::pg_enc::PG_SQL_ASCII.cast_signed() {
            p
        } else {
            let len = c_int::try_from(CStr::from_ptr(p).count_bytes()).unwrap_or(c_int::MAX);
            raw::pg_server_to_any(p, len, utf8).cast_const()
        };
        let bytes = CStr::from_ptr(p).to_bytes();
        let kept = bytes.get(..MOST_BYTES).unwrap_or(bytes);
        Some(String::from_utf8_lossy(kept).into_owned())
    }
}

impl PgError {
    /// # Safety
    /// `data` is a valid copy of an error.
    unsafe fn from_data(data: *const pg_sys::ErrorData) -> Self {
        // SAFETY: promised by the caller.
        let d = unsafe { &*data };
        // SAFETY: returns a static buffer of five characters and a NUL.
        let code = unsafe { CStr::from_ptr(raw::unpack_sql_state(d.sqlerrcode)) };
        let mut sqlstate = *b"XX000";
        if let Ok(five) = <[u8; 5]>::try_from(code.to_bytes()) {
            sqlstate = five;
        }
        let id = text(d.message_id).unwrap_or_default();
        Self {
            sqlstate,
            message: text(d.message).unwrap_or_else(|| "missing error text".to_owned()),
            detail: text(d.detail),
            hint: text(d.hint),
            context: text(d.context).filter(|context| !conceal::mentions(context.as_bytes())),
            schema: text(d.schema_name),
            table: text(d.table_name),
            column: text(d.column_name),
            datatype: text(d.datatype_name),
            constraint: text(d.constraint_name),
            internal_query: text(d.internalquery),
            position: d.cursorpos,
            internal_position: d.internalpos,
            interrupt: match id.as_str() {
                "canceling statement due to user request" => Some(Interrupt::Cancel),
                "canceling statement due to statement timeout" => Some(Interrupt::StatementTimeout),
                _ => None,
            },
        }
    }
}

/// Runs `body`; an ERROR inside it aborts the transaction and comes back with all its fields. The
/// server log gets it as it would from a session of its own.
///
/// # Safety
/// Neither `body` nor what it calls may hold a value with a destructor across a call that can
/// raise an ERROR: the stack between is dropped by `longjmp`. `MessageContext` exists.
pub(crate) unsafe fn catch<F: FnOnce()>(body: F) -> Result<(), Box<PgError>> {
    // SAFETY: plain reads of this process's own variables.
    let (stack, context) = unsafe { (pg_sys::PG_exception_stack, pg_sys::error_context_stack) };
    let jumped = cee_scape::call_with_sigsetjmp(false, |buffer| {
        // SAFETY: the buffer outlives `body`, and the old one is put back below on both ways out.
        unsafe { pg_sys::PG_exception_stack = core::ptr::from_ref(buffer).cast_mut().cast() };
        body();
        0
    });
    // SAFETY: as they were before.
    unsafe {
        pg_sys::PG_exception_stack = stack;
        pg_sys::error_context_stack = context;
    }
    if jumped == 0 {
        return Ok(());
    }
    // SAFETY: an ERROR has just been caught.
    Err(unsafe { recover() })
}

/// What `PostgresMain` does after an ERROR.
///
/// # Safety
/// Called right after the jump, with the error still on Postgres's error stack.
unsafe fn recover() -> Box<PgError> {
    // SAFETY: the sequence of PostgresMain; an ERROR raised in here goes to the handler of
    // StartBackgroundWorker, which ends the process.
    unsafe {
        pg_sys::error_context_stack = core::ptr::null_mut();
        pg_sys::InterruptHoldoffCount += 1;
        raw::disable_all_timeouts(false);
        pg_sys::QueryCancelPending = 0;
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        let data = raw::CopyErrorData();
        let error = Box::new(PgError::from_data(data));
        raw::EmitErrorReport();
        pg_sys::debug_query_string = core::ptr::null();
        raw::AbortCurrentTransaction();
        raw::PortalErrorCleanup();
        if !raw::MyReplicationSlot.is_null() {
            raw::ReplicationSlotRelease();
        }
        raw::drop_temporary_replication_slots();
        // Nobody will send the ROLLBACK a block that failed waits for.
        raw::AbortOutOfAnyTransaction();
        raw::jit_reset_after_error();
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        raw::FlushErrorState();
        pg_sys::InterruptHoldoffCount -= 1;
        error
    }
}

/// Raises an ERROR from C-like code.
///
/// # Safety
/// Inside [`catch`].
pub(crate) unsafe fn raise(sqlstate: pgrx::PgSqlErrorCode, message: &CStr, hint: Option<&CStr>) {
    // SAFETY: the sequence of the macro ereport; formats are constant and take one string.
    unsafe {
        if raw::errstart(pgrx::PgLogLevel::ERROR as c_int, core::ptr::null()) {
            raw::errcode(sqlstate as c_int);
            raw::errmsg_internal(c"%s".as_ptr(), message.as_ptr());
            if let Some(hint) = hint {
                raw::errhint(c"%s".as_ptr(), hint.as_ptr());
            }
            raw::errfinish(c"trap.rs".as_ptr(), 0, c"raise".as_ptr());
        }
    }
}
