//! Test layer "backend": what needs a server process and nothing more.
//!
//! Every `#[pg_test]` runs in a transaction of its own that is rolled back, in a session of its
//! own, side by side with the others. No scheduler runs: nothing here waits for anybody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, which clippy does not see behind feature pg_test"
)]

mod backend;

/// Called by pgrx before each test, outside the server.
pub fn setup(_options: Vec<&str>) {}

/// Settings of the server pgrx starts for the tests.
///
/// Its two worker slots are taken by the launchers of Postgres's logical replication and of
/// pg_tock, so no scheduler can start: shared memory changes by the tests' doing alone. The other
/// settings are what `backend::settings` reads back.
#[must_use]
pub fn postgresql_conf_options() -> Vec<&'static str> {
    vec![
        "shared_preload_libraries = 'pg_tock'",
        "cron.database_name = 'pgrx_tests'",
        "max_worker_processes = 2",
        "max_logical_replication_workers = 1",
        "cron.max_running_jobs = 7",
        "cron.executor_idle_timeout = '2min'",
        "cron.timezone = 'Europe/Berlin'",
        "cron.host = 'Db.Example'",
        "cron.log_min_messages = debug",
    ]
}
