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
mod install;
mod pg;
mod shmem;
mod worker;

// pgrx wants it at the root of the crate, under this name.
#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;

::pgrx::pg_module_magic!(name, version);

/// Called by Postgres when the library is loaded.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // pg_upgrade loads the library without preloading it, and runs nothing.
    // SAFETY: constant once the server runs.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    pg::preload::keep_frames_out();
    pg::preload::require();
    guc::init();
    shmem::layout::install_hooks();
    hooks::install();
    pg::conceal::install();
    worker::launcher::WORKER.register_static();
}
