//! `pg_tock`: the scheduler for Postgres, a drop-in replacement for pg_cron.
//!
//! Dependencies point one way: `worker` and `api` use `exec` and `catalog`, which use `shmem` and
//! `pg`; all of them use the pure crate `pg_tock_core`. See ARCHITECTURE.md.
#![deny(ffi_unwind_calls)]

use pgrx::prelude::*;

mod api;
mod catalog;
mod error;
// The execution of a job's text runs as C would, under one sigsetjmp: see exec::command.
#[allow(ffi_unwind_calls)]
mod exec;
mod guc;
mod hooks;
mod pg;
mod shmem;
mod worker;

// pgrx wants it at the root of the crate, under this name.
#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;

::pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/install/10_schema.sql", name = "schema", bootstrap);
extension_sql_file!("../sql/install/20_tables.sql", name = "tables", requires = ["schema"]);
extension_sql_file!(
    "../sql/install/21_inside_tables.sql",
    name = "inside_tables",
    requires = ["tables"]
);
extension_sql_file!(
    "../sql/install/22_control_tables.sql",
    name = "control_tables",
    requires = ["inside_tables"]
);
extension_sql_file!(
    "../sql/install/24_http_tables.sql",
    name = "http_tables",
    requires = ["control_tables"]
);
extension_sql_file!(
    "../sql/install/25_keeper_tables.sql",
    name = "keeper_tables",
    requires = ["http_tables"]
);
extension_sql_file!(
    "../sql/install/26_alert_tables.sql",
    name = "alert_tables",
    requires = ["keeper_tables"]
);
extension_sql_file!(
    "../sql/install/30_functions.sql",
    name = "functions",
    requires = ["alert_tables"]
);
extension_sql_file!(
    "../sql/install/31_inside_functions.sql",
    name = "inside_functions",
    requires = ["functions"]
);
extension_sql_file!(
    "../sql/install/32_control_functions.sql",
    name = "control_functions",
    requires = ["inside_functions"]
);
extension_sql_file!(
    "../sql/install/33_run_functions.sql",
    name = "run_functions",
    requires = ["control_functions"]
);
extension_sql_file!(
    "../sql/install/34_cancel_functions.sql",
    name = "cancel_functions",
    requires = ["run_functions"]
);
extension_sql_file!(
    "../sql/install/35_keeper_functions.sql",
    name = "keeper_functions",
    requires = ["cancel_functions"]
);
extension_sql_file!(
    "../sql/install/39_occurrences.sql",
    name = "occurrences",
    requires = ["keeper_functions"]
);
extension_sql_file!(
    "../sql/install/40_triggers.sql",
    name = "triggers",
    requires = ["occurrences"]
);
extension_sql_file!("../sql/install/50_views.sql", name = "views", requires = ["triggers"]);
extension_sql_file!(
    "../sql/install/55_alert_views.sql",
    name = "alert_views",
    requires = ["views"]
);
extension_sql_file!("../sql/install/60_http.sql", name = "http", requires = ["alert_views"]);
extension_sql_file!("../sql/install/61_secrets.sql", name = "secrets", requires = ["http"]);
extension_sql_file!("../sql/install/90_grants.sql", name = "grants", finalize);

/// Called by Postgres when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // pg_upgrade loads the library without preloading it, and runs nothing.
    // SAFETY: constant once the server runs.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    pg::preload::require();
    guc::init();
    shmem::layout::install_hooks();
    hooks::install();
    pg::conceal::install();
    worker::launcher::WORKER.register_static();
}
