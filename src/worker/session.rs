//! What the sessions of scheduler and keeper have in common: superusers that run SQL of ours.

use core::ffi::CStr;

use pgrx::pg_sys;

use crate::guc;
use crate::pg::process;

/// Connects this process to a database, as the bootstrap superuser whatever `role` or
/// `session_authorization` the database's owner has set for sessions in it.
pub(super) fn connect(database: u32) {
    // Nothing that has less of a say changes it later.
    process::set_config(c"role", c"none");
    // SAFETY: once, by a worker that is connected to nothing; a role of InvalidOid is the bootstrap superuser.
    // Settings of the database are applied by then, and `session_authorization` may be one of them: the
    // session user is set to whom the process was authenticated as.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database.into(), pg_sys::InvalidOid, 0);
        pg_sys::SetSessionAuthorization(pg_sys::BOOTSTRAP_SUPERUSERID.into(), true);
    }
}

/// Settings of this session that no configuration may change.
///
/// Tables that are often locked are asked for without waiting; `lock_timeout` is for all other locks.
pub(super) fn settle_in(name: &CStr, lock_timeout: &CStr) {
    process::set_application_name(name);
    for (name, value) in [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"synchronous_commit", c"off"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", lock_timeout),
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        (c"transaction_timeout", c"0"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_isolation", c"read committed"),
        (c"row_security", c"off"),
        (c"jit", c"off"),
        (c"log_min_messages", guc::log_min_messages()),
    ] {
        process::set_config(name, value);
    }
    process::report_idle();
}

/// Has statements of this session that are run again and again planned once, for good: Postgres
/// would plan those anew in each run that take arrays, as it finds that to know how many elements are in
/// one saves more than planning costs. So a plan must hold for tables that grow later: all of them read
/// by an index.
pub(super) fn keep_plans() {
    process::set_config(c"plan_cache_mode", c"force_generic_plan");
    process::set_config(c"enable_seqscan", c"off");
}
