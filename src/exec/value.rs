//! The columns of a run's row as Postgres wants them.

use core::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys::{self, Datum};

use super::ledger::Row;
use super::usage;
use crate::pg::raw;
use crate::pg::time::to_pg;

/// What a column gets.
pub(super) enum Value {
    Is(Datum),
    Null,
    NotOurs,
}

/// The row's value for a column.
///
/// # Safety
/// As [`write`](super::ledger::write).
pub(super) unsafe fn value(column: &[u8], row: &Row<'_>) -> Value {
    // SAFETY: as above; allocated in the current context.
    unsafe {
        match column {
            b"jobid" => Value::Is(Datum::from(row.jobid)),
            b"runid" => Value::Is(Datum::from(row.runid)),
            b"job_pid" => Value::Is(Datum::from(row.job_pid)),
            b"database" => text(Some(row.database.to_bytes())),
            b"username" => text(Some(row.username.to_bytes())),
            b"command" => text(Some(row.command.to_bytes())),
            b"status" => text(Some(row.status.as_bytes())),
            b"return_message" => converted(row.return_message),
            b"start_time" => Value::Is(Datum::from(to_pg(row.start_time))),
            b"end_time" => match row.end_time {
                Some(at) => Value::Is(Datum::from(to_pg(at))),
                None => Value::Null,
            },
            b"jobname" => text(row.jobname.map(CStr::to_bytes)),
            b"requested_by" => text(row.requested_by.map(CStr::to_bytes)),
            b"scheduled_for" => Value::Is(Datum::from(to_pg(row.scheduled_for))),
            b"attempt" => Value::Is(Datum::from(row.attempt.cast_signed())),
            b"trigger" => text(Some(row.trigger.as_bytes())),
            b"outcome" => optional(row.outcome),
            b"reason" => match row.reason {
                Some(reason) => text(Some(reason)),
                None => Value::Null,
            },
            b"guarantee" => text(Some(row.guarantee.as_bytes())),
            b"sqlstate" => match &row.sqlstate {
                Some(code) => text(Some(code)),
                None => Value::Null,
            },
            b"error" => match row.error {
                Some(json) => {
                    let len = c_int::try_from(json.count_bytes()).unwrap_or(c_int::MAX);
                    let utf8 = pg_sys::pg_enc::PG_UTF8.cast_signed();
                    let json = raw::pg_any_to_server(json.as_ptr(), len, utf8);
                    Value::Is(raw::DirectFunctionCall1Coll(
                        raw::jsonb_in,
                        pg_sys::InvalidOid,
                        Datum::from(json),
                    ))
                }
                None => Value::Null,
            },
            b"row_count" => match row.row_count {
                Some(count) => Value::Is(Datum::from(count)),
                None => Value::Null,
            },
            b"usage" => match row.usage.and_then(|usage| usage::datum(&usage, row.row_count)) {
                Some(usage) => Value::Is(usage),
                None => Value::Null,
            },
            _ => Value::NotOurs,
        }
    }
}

/// # Safety
/// As [`write`](super::ledger::write).
unsafe fn optional(value: Option<&str>) -> Value {
    match value {
        // SAFETY: as above.
        Some(value) => unsafe { text(Some(value.as_bytes())) },
        None => Value::Null,
    }
}

/// A text of ours, which is UTF-8, in the database's encoding.
///
/// # Safety
/// As [`write`](super::ledger::write).
unsafe fn converted(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let len = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
    let utf8 = pg_sys::pg_enc::PG_UTF8.cast_signed();
    // SAFETY: as above; the answer is the text itself or a C string.
    unsafe {
        let text = raw::pg_any_to_server(bytes.as_ptr().cast(), len, utf8);
        let len = if text.cast_const() == bytes.as_ptr().cast() {
            bytes.len()
        } else {
            CStr::from_ptr(text).count_bytes()
        };
        self::text(Some(core::slice::from_raw_parts(text.cast_const().cast(), len)))
    }
}

/// # Safety
/// As [`write`](super::ledger::write).
unsafe fn text(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let len = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
    // SAFETY: as above.
    let text = unsafe { raw::cstring_to_text_with_len(bytes.as_ptr().cast::<c_char>(), len) };
    Value::Is(Datum::from(text))
}
