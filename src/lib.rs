//! `pg_tock`: the scheduler for Postgres.
use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

/// Called by Postgres when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {}
