//! The server under chaos: what it is made of, how its progress is seen, what was done to its clock.

use crate::rng::Rng;
use crate::web::Web;
use pg_tock_test::{Cluster, PATIENCE, anonymous_memory, poll_until};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Roles whose jobs run all the time.
pub(crate) const STEADY: [&str; 3] = ["postgres", "ann", "bob"];
/// Role and database that are dropped again and again, with jobs that need them.
pub(crate) const VICTIM: &str = "victim";

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) rng: Rng,
    /// What HTTP jobs call.
    pub(crate) web: Web,
    /// A small file system that holds the ledger; `None` where none could be made.
    pub(crate) small: Option<PathBuf>,
    /// Stretches of time, in seconds since 1970, that the clock went through more than once.
    pub(crate) repeated: Vec<(i64, i64)>,
    /// Our processes seen, by what they are, with their memory when first and when last looked at, in
    /// bytes.
    pub(crate) memory: BTreeMap<(String, i32), (u64, u64)>,
    /// How often each kind of harm was done.
    pub(crate) done: BTreeMap<&'static str, u32>,
    /// Names given to jobs that come and go.
    pub(crate) fresh: u32,
}

impl World {
    pub(crate) fn new(seed: u64, small: Option<PathBuf>, start: i64) -> Self {
        let cluster = Cluster::builder()
            .clock(start)
            .conf("timezone", "UTC")
            .conf("cron.timezone", "UTC")
            .conf("log_min_messages", "warning")
            .conf("log_min_error_statement", "fatal")
            .conf("cron.http_allow", "127.0.0.1")
            .conf("max_connections", "40")
            .conf("max_parallel_workers", "16")
            .conf("max_parallel_workers_per_gather", "16")
            .max_worker_processes(22)
            .start();
        Self {
            cluster,
            rng: Rng::new(seed),
            web: Web::start(),
            small,
            repeated: Vec::new(),
            memory: BTreeMap::new(),
            done: BTreeMap::new(),
            fresh: 0,
        }
    }

    /// Waits until jobs have had `more` effects beyond those there are.
    #[track_caller]
    pub(crate) fn work_on(&mut self, more: i64) {
        let last: i64 = self.cluster.one("select coalesce(max(n), 0) from effect");
        poll_until(&format!("{more} more effects"), PATIENCE * 2, || {
            self.cluster
                .one_with::<bool>("select count(*) >= $1 from effect where n > $2", &[&more, &last])
                .then_some(())
        });
        self.look_at_memory();
    }

    /// Notes how much memory our processes have.
    pub(crate) fn look_at_memory(&mut self) {
        let ours = self.cluster.rows(
            "select backend_type, pid from pg_stat_activity where backend_type ~ '^pg_tock'",
            &[],
        );
        for process in ours {
            let (kind, pid): (String, i32) = (process.get(0), process.get(1));
            if let Some(now) = anonymous_memory(pid) {
                self.memory.entry((kind, pid)).or_insert((now, now)).1 = now;
            }
        }
    }

    /// Starts the stopped server.
    #[track_caller]
    pub(crate) fn boot(&self) {
        self.cluster.boot();
        self.cluster.wait_scheduler();
    }

    /// Process ids that a query finds.
    pub(crate) fn pids(&self, of: &str) -> Vec<i32> {
        self.cluster.column(&format!("select pid from pg_stat_activity where {of} order by pid"))
    }

    /// Names of jobs that come with no strings attached.
    pub(crate) fn any_job(&mut self) -> String {
        let names: Vec<String> = self.cluster.column(
            "select jobname from cron.job where jobname ~ '^(one|several|block|call|quick)' \
             and username = 'postgres' order by jobid",
        );
        self.rng.of(&names).expect("jobs of the superuser")
    }
}
