//! The conditions under which the library may be loaded at all.

use core::ffi::CStr;

use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

/// Has errors carry no frames of this library, whatever `RUST_BACKTRACE` says: pgrx puts them into the
/// DETAIL, where callers and the ledger have them. The standard library reads the variables once for
/// each library it is linked into, and now is when: other libraries in Rust find them as they are.
pub(crate) fn keep_frames_out() {
    const ASKED_FIRST: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(ASKED_FIRST);
    // SAFETY: one thread, while libraries are preloaded.
    unsafe { std::env::set_var(ASKED_FIRST, "0") };
    drop(std::backtrace::Backtrace::capture());
    match before {
        // SAFETY: as above.
        Some(value) => unsafe { std::env::set_var(ASKED_FIRST, value) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(ASKED_FIRST) },
    }
}

/// Raises an error unless the library is being preloaded by the postmaster, without pg_cron.
pub(crate) fn require() {
    // SAFETY: set by Postgres around the loading of preloaded libraries.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pgrx::ereport!(
            PgLogLevel::ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_tock can only be loaded via shared_preload_libraries",
            "Add pg_tock to the shared_preload_libraries configuration variable in postgresql.conf."
        );
    }
    if preloads(c"pg_cron") {
        pgrx::ereport!(
            PgLogLevel::FATAL,
            PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            "pg_tock and pg_cron cannot be loaded in the same server",
            "Take pg_cron out of shared_preload_libraries: pg_tock replaces it and reads its settings."
        );
    }
}

/// Whether `shared_preload_libraries` names this library, in whatever order.
fn preloads(library: &CStr) -> bool {
    // SAFETY: a C string while libraries are preloaded.
    let list = unsafe { pg_sys::shared_preload_libraries_string };
    if list.is_null() {
        return false;
    }
    // SAFETY: not null.
    let list = unsafe { CStr::from_ptr(list) }.to_string_lossy();
    let wanted = library.to_string_lossy();
    list.split(',').any(|entry| {
        let entry = entry.trim_matches([' ', '\t', '\n', '"']);
        let name = entry.rsplit('/').next().unwrap_or(entry);
        name.strip_suffix(".so").unwrap_or(name) == wanted
    })
}
