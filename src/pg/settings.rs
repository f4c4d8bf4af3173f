//! What the definition of settings needs beyond pgrx's safe registry.

use core::ffi::{CStr, c_char, c_void};
use std::ffi::CString;

use pg_tock_core::http::access::AccessList;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_guard, pg_sys};

/// `max_connections` of this server.
pub(crate) fn max_connections() -> i32 {
    // SAFETY: set before libraries are preloaded, constant afterwards.
    unsafe { pg_sys::MaxConnections }
}

/// `max_worker_processes` of this server.
pub(crate) fn max_worker_processes() -> i32 {
    // SAFETY: set before libraries are preloaded, constant afterwards.
    unsafe { pg_sys::max_worker_processes }
}

/// The TCP port of this server.
pub(crate) fn port() -> i32 {
    // SAFETY: set before libraries are preloaded, constant afterwards.
    unsafe { pg_sys::PostPortNumber }
}

/// Defines an integer setting whose default is only known now.
pub(crate) fn define_int(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (default, min, max): (i32, i32, i32),
    context: GucContext,
    flags: GucFlags,
) {
    // SAFETY: one thread, and Postgres does not know the variable before the next line; its value
    // at definition is what the setting starts with.
    unsafe { *setting.as_ptr() = default };
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, flags);
}

/// Defines a string setting for a time zone that Postgres may be given any text for: a name
/// `accept` refuses is replaced by GMT, with a warning in the log, so that the server starts.
pub(crate) fn define_time_zone(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    context: GucContext,
    flags: GucFlags,
) {
    // SAFETY: the check hook is guarded and keeps to the rules of such hooks.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            setting,
            context,
            flags,
            Some(check_time_zone),
            None,
            None,
        );
    }
}

/// Defines a string setting that is a list of hosts and networks; anything else is refused.
pub(crate) fn define_access_list(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    flags: GucFlags,
) {
    let context = GucContext::Sighup;
    let check = Some(check_access_list as _);
    // SAFETY: the check hook is guarded and keeps to the rules of such hooks.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name, short, long, setting, context, flags, check, None, None,
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_access_list(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres passes the address of the proposed value.
    let proposed = unsafe { *value };
    if proposed.is_null() {
        return true;
    }
    // SAFETY: a proposed value that is not null is a C string.
    let text = unsafe { CStr::from_ptr(proposed) }.to_string_lossy();
    let Err(refused) = text.parse::<AccessList>() else { return true };
    let copy = |text: String| {
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: a C string; the copy is freed with the memory context of the error.
        unsafe { pg_sys::pstrdup(text.as_ptr()) }
    };
    // SAFETY: what such hooks set before they refuse a value.
    unsafe {
        pg_sys::GUC_check_errdetail_string = copy(format!("{refused}."));
        pg_sys::GUC_check_errhint_string = copy(refused.hint().to_owned());
    }
    false
}

/// Gives the prefix `cron.` to this extension: settings nobody defined are reported.
pub(crate) fn reserve_prefix() {
    // SAFETY: a constant string; called once, after all definitions.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"cron".as_ptr()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn check_time_zone(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres passes the address of the proposed value.
    let proposed = unsafe { *value };
    if proposed.is_null() {
        return false;
    }
    // SAFETY: a proposed value that is not null is a C string.
    let name = unsafe { CStr::from_ptr(proposed) }.to_string_lossy();
    let Err(error) = pg_tock_core::schedule::Zone::resolve(&name) else {
        return true;
    };
    // SAFETY: constant in every process.
    if !unsafe { pg_sys::IsUnderPostmaster } {
        // Once for the server, not in every process that reads the configuration again.
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"cron.timezone\": \"{name}\", using GMT instead"),
            format!("{error}")
        );
    }
    let Some(fallback) = setting_string(c"GMT") else {
        return false;
    };
    // SAFETY: the old value came from the allocator of settings and is not used any more.
    unsafe { release_setting(proposed) };
    // SAFETY: Postgres takes over the new value.
    unsafe { *value = fallback };
    true
}

/// A copy of `text` from the allocator Postgres frees settings with; None when out of memory.
fn setting_string(text: &CStr) -> Option<*mut c_char> {
    let bytes = text.to_bytes_with_nul();
    #[cfg(feature = "pg15")]
    // SAFETY: plain malloc is the allocator of settings up to 15.
    let copy = unsafe { libc::malloc(bytes.len()) };
    #[cfg(not(feature = "pg15"))]
    // SAFETY: reports and returns null when out of memory.
    let copy = unsafe { pg_sys::guc_malloc(pg_sys::LOG.cast_signed(), bytes.len()) };
    if copy.is_null() {
        return None;
    }
    let copy = copy.cast::<c_char>();
    // SAFETY: both ranges are that long, and the new one is nobody else's.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), copy, bytes.len()) };
    Some(copy)
}

/// Frees what the allocator of settings gave.
///
/// # Safety
/// `value` came from that allocator and is not used afterwards.
unsafe fn release_setting(value: *mut c_char) {
    #[cfg(feature = "pg15")]
    // SAFETY: promised by the caller.
    unsafe {
        libc::free(value.cast());
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: promised by the caller.
    unsafe {
        pg_sys::guc_free(value.cast());
    }
}
