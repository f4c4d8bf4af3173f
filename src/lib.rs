//! `pg_tock`: the scheduler for Postgres.
use pgrx::prelude::*;

mod api;
mod catalog;
mod error;
mod guc;
mod pg;
mod shmem;

::pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/install/10_schema.sql", name = "schema", bootstrap);
extension_sql_file!("../sql/install/20_tables.sql", name = "tables", requires = ["schema"]);
extension_sql_file!("../sql/install/30_functions.sql", name = "functions", requires = ["tables"]);
extension_sql_file!("../sql/install/40_triggers.sql", name = "triggers", requires = ["functions"]);
extension_sql_file!("../sql/install/50_views.sql", name = "views", requires = ["triggers"]);
extension_sql_file!("../sql/install/90_grants.sql", name = "grants", finalize);

/// Called by Postgres when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: constant once the server runs.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    guc::init();
}
