//! Postgres's clock and its count of microseconds, as the core's.

use core::ffi::CStr;

use pg_tock_core::time::Timestamp;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;

use super::raw;

/// Microseconds from 1970-01-01 to 2000-01-01, the origin of `TimestampTz`.
const ORIGIN: i64 = 946_684_800_000_000;

/// The clock, as `clock_timestamp()` shows it.
pub(crate) fn now() -> Timestamp {
    // SAFETY: reads the system's clock, nothing else.
    from_pg(unsafe { pg_sys::GetCurrentTimestamp() })
}

/// When the client's statement began, as `statement_timestamp()` shows it.
pub(crate) fn statement_start() -> Timestamp {
    // SAFETY: reads a variable of this session, and raises nothing.
    from_pg(unsafe { raw::GetCurrentStatementStartTimestamp() })
}

/// A `TimestampTz` as the core counts.
pub(crate) const fn from_pg(at: pg_sys::TimestampTz) -> Timestamp {
    Timestamp(at.saturating_add(ORIGIN))
}

/// A core instant as a `TimestampTz`.
pub(crate) const fn to_pg(at: Timestamp) -> pg_sys::TimestampTz {
    at.0.saturating_sub(ORIGIN)
}

/// A core instant as SQL has it; None if SQL cannot have it.
pub(crate) fn timestamptz(at: Timestamp) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(to_pg(at)).ok()
}

/// An instant for reading it, in the session's time zone.
pub(crate) fn shown(at: Timestamp) -> String {
    // SAFETY: raises nothing; a C string in a static buffer, copied at once.
    unsafe { CStr::from_ptr(pg_sys::timestamptz_to_str(to_pg(at))) }.to_string_lossy().into_owned()
}

/// Microseconds of a clock that nobody sets and that all processes of the machine share; it counts
/// from some instant before the machine started. Never 0.
pub(crate) fn monotonic() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).max(1)
}
