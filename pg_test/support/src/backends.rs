//! The server's processes, as `pg_stat_activity` names them.

use crate::cluster::Cluster;
use crate::poll::{PATIENCE, poll_until};
use crate::process::is_alive;

impl Cluster {
    /// Process ids of all processes of that `backend_type`, such as `pg_tock executor`.
    #[must_use]
    #[track_caller]
    pub fn pids_of(&self, backend_type: &str) -> Vec<i32> {
        self.rows(
            "select pid from pg_stat_activity where backend_type = $1 order by backend_start",
            &[&backend_type],
        )
        .iter()
        .map(|row| row.get(0))
        .collect()
    }

    /// Process id of the only process of that `backend_type`, waiting until there is one.
    ///
    /// # Panics
    /// When there is none in time, or more than one.
    #[must_use]
    #[track_caller]
    pub fn pid_of(&self, backend_type: &str) -> i32 {
        let pids = poll_until(&format!("a process {backend_type}"), PATIENCE, || {
            Some(self.pids_of(backend_type)).filter(|pids| !pids.is_empty())
        });
        assert_eq!(pids.len(), 1, "there are several processes {backend_type}: {pids:?}");
        pids[0]
    }

    /// Waits until the scheduler of database `postgres` runs, and returns its process id.
    #[track_caller]
    pub fn wait_scheduler(&self) -> i32 {
        poll_until("a scheduler in database postgres", PATIENCE, || {
            self.column::<i32>(
                "select pid from pg_stat_activity where backend_type = 'pg_tock scheduler' \
                 and datname = 'postgres'",
            )
            .first()
            .copied()
        })
    }

    /// `pg_terminate_backend`, and waits until the process is gone.
    #[track_caller]
    pub fn terminate(&self, process: i32) {
        let _: bool = self.one_with("select pg_terminate_backend($1)", &[&process]);
        poll_until("the terminated process ends", PATIENCE, || (!is_alive(process)).then_some(()));
    }
}
