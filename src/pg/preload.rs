//! The conditions under which the library may be loaded at all.

use core::ffi::CStr;

use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

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
