//! What a cluster is to be like, before it exists.

use crate::cluster::Cluster;
use std::path::PathBuf;

/// Describes a cluster; [`Builder::start`] makes it.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) conf: Vec<(String, String)>,
    pub(crate) extension: bool,
    pub(crate) bindir: Option<PathBuf>,
    pub(crate) clock: Option<i64>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) slow_disk: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut builder = Self {
            conf: Vec::new(),
            extension: true,
            bindir: None,
            clock: None,
            environment: Vec::new(),
            slow_disk: false,
        };
        for (name, value) in [
            ("listen_addresses", ""),
            ("shared_preload_libraries", "pg_tock"),
            // Processes get killed here, machines do not: what was written stays readable.
            ("fsync", "off"),
            ("log_line_prefix", "%m [%p] %b "),
            ("log_min_messages", "info"),
            // A worker that dies for good shows up as such at once.
            ("restart_after_crash", "on"),
            ("max_worker_processes", "32"),
        ] {
            builder = builder.conf(name, value);
        }
        builder
    }

    /// Sets a parameter in `postgresql.conf`. The last value of a name holds.
    #[must_use]
    pub fn conf(mut self, name: &str, value: &str) -> Self {
        self.conf.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Slots for background workers: launcher and schedulers take theirs first, executors the rest.
    #[must_use]
    pub fn max_worker_processes(self, slots: u32) -> Self {
        self.conf("max_worker_processes", &slots.to_string())
    }

    /// Uses the server programs in this directory instead of the default ones.
    #[must_use]
    pub fn bindir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.bindir = Some(dir.into());
        self
    }

    /// Gives the server a clock of its own, which shows `start` (seconds since 1970, see
    /// [`utc`](crate::utc)) when the cluster is made, goes on from there, and can be set with
    /// [`Cluster::step_clock`].
    #[must_use]
    pub fn clock(mut self, start: i64) -> Self {
        self.clock = Some(start);
        self
    }

    /// Sets a variable in the server's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the server a disk that [`Cluster::make_disk_slow`] makes slow. Not with a clock of its own.
    #[must_use]
    pub fn slow_disk(mut self) -> Self {
        self.slow_disk = true;
        self
    }

    /// Leaves `CREATE EXTENSION pg_tock` to the scenario.
    #[must_use]
    pub fn without_extension(mut self) -> Self {
        self.extension = false;
        self
    }

    /// Makes the cluster and starts its postmaster without waiting for anything: for servers that are
    /// expected to refuse.
    #[must_use]
    #[track_caller]
    pub fn spawn(self) -> Cluster {
        let cluster = Cluster::make(&self);
        cluster.spawn_postmaster();
        cluster
    }

    /// Makes the cluster, starts it, and (unless told otherwise) creates the extension in database
    /// `postgres` and waits for its scheduler.
    ///
    /// # Panics
    /// When the server does not start; its log is part of the message.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Cluster {
        let cluster = Cluster::make(&self);
        cluster.boot();
        if self.extension {
            cluster.sql("create extension pg_tock");
            cluster.wait_scheduler();
        }
        cluster
    }
}
