//! The server's own table of time zones.

use std::ffi::CString;

use pgrx::pg_sys;

/// Whether the server has a time zone of this name, in any case, that jobs can use.
pub(crate) fn exists(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: a C string; the answer is null or a zone that lives as long as the process.
    let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
    // SAFETY: not null, see above.
    !zone.is_null() && unsafe { pg_sys::pg_tz_acceptable(zone) }
}
