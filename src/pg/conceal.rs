//! Keeping what a session says about secrets out of the server's log.
//!
//! Owns two invariants: an ERROR raised inside [`without_context`] carries no line of a COPY, no
//! bind parameters and no statement of a function in its context; and whatever the server logs
//! while a statement speaks of secrets' values loses its context, its parameters and the
//! statement's text. `COPY` itself quotes its line in errors that it raises before any code of
//! ours runs, and `log_statement` writes texts and parameters, hence the hook.

use core::ffi::{CStr, c_char};
use core::ptr::null_mut;

use pgrx::pg_sys;

/// What a text that is about setting secrets has in it. An identifier in another case, or in
/// quotes, has it, too.
const MARKS: [&[u8]; 2] = [b"set_secret", b"secret_input"];

/// What stands in the log for a statement's text.
const CONCEALED: &[u8] = b"<concealed>";

static mut PREVIOUS: pg_sys::emit_log_hook_type = None;

/// Installs the hook. Only while libraries are preloaded.
pub(crate) fn install() {
    // SAFETY: one thread, in _PG_init of the postmaster; the hook chains to its predecessor.
    unsafe {
        PREVIOUS = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(emit_log);
    }
}

/// Runs `body` while nothing adds context to messages.
///
/// # Errors
/// Those of `body`. The context then stays away, as the error is raised by whoever gets it; who
/// catches errors puts back his own.
pub(crate) fn without_context<T, E>(body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: a variable of this process; the frames it points to outlive this one.
    let stack = unsafe { pg_sys::error_context_stack };
    // SAFETY: as above; without frames nothing is called.
    unsafe { pg_sys::error_context_stack = null_mut() };
    let result = body();
    if result.is_ok() {
        // SAFETY: as it was.
        unsafe { pg_sys::error_context_stack = stack };
    }
    result
}

/// Whether a text is about setting secrets.
pub(crate) fn mentions(text: &[u8]) -> bool {
    MARKS.iter().any(|mark| text.windows(mark.len()).any(|part| part.eq_ignore_ascii_case(mark)))
}

/// Has `pg_stat_activity` show that this session sets a secret, in place of the text that says
/// which.
pub(crate) fn hide_activity() {
    // SAFETY: writes this backend's own entry; the text is copied.
    unsafe {
        pg_sys::pgstat_report_activity(
            pg_sys::BackendState::STATE_RUNNING,
            c"<concealed: sets a secret>".as_ptr(),
        );
    }
}

/// # Safety
/// `text` is null or a C string.
unsafe fn tells(text: *const c_char) -> bool {
    // SAFETY: promised by the caller.
    !text.is_null() && mentions(unsafe { CStr::from_ptr(text) }.to_bytes())
}

// Called for every message that goes to the log, with an error under way more often than not: it
// allocates nothing, calls nothing but its predecessor, and has no way to fail.
#[allow(
    ffi_unwind_calls,
    reason = "the hook before ours; this frame owns nothing with a destructor"
)]
unsafe extern "C-unwind" fn emit_log(message: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres passes a valid message, and texts of it are null or C strings of its own.
    unsafe {
        conceal(&mut *message);
        if let Some(previous) = PREVIOUS {
            previous(message);
        }
    }
}

/// # Safety
/// The texts of the message are null or C strings that may be written.
unsafe fn conceal(said: &mut pg_sys::ErrorData) {
    // SAFETY: promised by the caller; the statement is null or a C string.
    unsafe {
        let statement = pg_sys::debug_query_string;
        let by_copy = tells(said.context);
        let texts = [statement, said.message, said.detail, said.detail_log, said.internalquery];
        if !by_copy && !texts.iter().any(|text| tells(*text)) {
            return;
        }
        said.context = null_mut();
        said.internalquery = null_mut();
        said.detail_log = null_mut();
        said.hide_stmt = true;
        if said.elevel <= pg_sys::LOG_SERVER_ONLY.cast_signed() {
            // "parameters: $1 = …"
            said.detail = null_mut();
        }
        let Some(text) = bytes(said.message) else { return };
        let ends = [quoted(text, statement), marked(text), by_copy.then(|| value(text)).flatten()];
        if let Some(end) = ends.into_iter().flatten().min() {
            cut(text, end);
        }
    }
}

/// # Safety
/// `message` is null or a C string that may be written, and that nobody else looks at.
unsafe fn bytes<'a>(message: *mut c_char) -> Option<&'a mut [u8]> {
    if message.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    unsafe {
        let length = CStr::from_ptr(message).count_bytes();
        Some(core::slice::from_raw_parts_mut(message.cast::<u8>(), length))
    }
}

/// Where a message begins to quote the statement.
///
/// # Safety
/// `statement` is null or a C string.
unsafe fn quoted(message: &[u8], statement: *const c_char) -> Option<usize> {
    if statement.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let statement = unsafe { CStr::from_ptr(statement) }.to_bytes();
    // Texts begin with blanks and comments as written, and end as they are logged.
    let beginning = statement.get(..statement.len().min(64)).unwrap_or(statement);
    if beginning.is_empty() {
        return None;
    }
    message.windows(beginning.len()).position(|part| part == beginning)
}

/// Where a message begins to say how a secret is set.
fn marked(message: &[u8]) -> Option<usize> {
    let ends = MARKS.iter().filter_map(|mark| {
        let at = message.windows(mark.len()).position(|part| part.eq_ignore_ascii_case(mark))?;
        // The name itself may stay.
        Some(at + mark.len()).filter(|end| *end < message.len())
    });
    ends.min()
}

/// Where a message of COPY begins to quote what it has read: in anything in quotes that is not the
/// name of a column.
fn value(message: &[u8]) -> Option<usize> {
    let mut quotes = message.iter().enumerate().filter(|(_, byte)| **byte == b'"');
    while let Some((start, _)) = quotes.next() {
        let end = quotes.next().map_or(message.len(), |(end, _)| end);
        if !matches!(message.get(start + 1..end), Some(b"name" | b"value")) {
            return Some(start);
        }
    }
    None
}

/// Ends a message here.
fn cut(message: &mut [u8], end: usize) {
    let Some(rest) = message.get_mut(end..) else { return };
    for (to, from) in rest.iter_mut().zip(CONCEALED.iter().chain(&[0])) {
        *to = *from;
    }
}
