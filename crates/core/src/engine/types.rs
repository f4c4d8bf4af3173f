//! What goes into the engine and what comes out of it.

use std::fmt::Debug;
use std::sync::Arc;

use crate::run::Trigger;
use crate::time::{JobId, Timestamp};

/// The instants at which a job is due.
pub trait Occurrences: Send + Sync + Debug {
    /// The first instant strictly after `after`; `None` when there is none.
    ///
    /// Must be monotone: a later `after` never gives an earlier instant. An answer that is not
    /// after `after` counts as `None`.
    fn next_after(&self, after: Timestamp) -> Option<Timestamp>;
}

/// What an executor is bound to for life: one database, logged in as one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The oid of the database.
    pub database: u32,
    /// The oid of the role, which is also the owner among whom run slots are shared fairly.
    pub role: u32,
}

/// The slot of an executor: small numbers, chosen and reused by the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorId(pub u32);

impl ExecutorId {
    /// Larger numbers are ignored; Postgres itself allows no more background workers.
    pub const MAX: u32 = 262_143;
}

/// A job as the engine needs to know it.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Its key in `cron.job`.
    pub id: JobId,
    /// Where and as whom it runs.
    pub key: PoolKey,
    /// Whether its schedule counts.
    pub active: bool,
    /// Its schedule.
    pub times: Arc<dyn Occurrences>,
}

/// One instant at which a job is to run, or one attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Occurrence {
    /// The job.
    pub job: JobId,
    /// The nominal instant.
    pub scheduled_for: Timestamp,
    /// What makes it run.
    pub trigger: Trigger,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// Settings the engine obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most runs at a time; 0 counts as 1.
    pub max_running: u32,
    /// Most occurrences of a job that wait behind the one that runs or is next to run.
    pub max_queued_per_job: u32,
    /// Microseconds after which an idle executor leaves; 0 or less = never.
    pub idle_timeout: i64,
    /// Microseconds after which an executor leaves once it is idle; 0 or less = never.
    pub max_age: i64,
    /// `cron.launch_active_jobs`; false treats every job as inactive.
    pub launch: bool,
}

/// What the edge has to do now, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the occurrence to the executor, which is idle. If that fails the executor is gone:
    /// record the run as failed and say so with `executor_gone`.
    Run {
        /// Who runs it.
        executor: ExecutorId,
        /// What is to run.
        occurrence: Occurrence,
    },
    /// Start an executor. Must be answered before the next `tick`, with `executor_starting` or
    /// `executor_refused`.
    StartExecutor {
        /// For whom.
        key: PoolKey,
    },
    /// Tell an idle executor to leave; ends with `executor_gone`.
    Retire {
        /// Who leaves.
        executor: ExecutorId,
    },
    /// Cancel a run whose job was dropped or deactivated; ends with `run_finished` as usual.
    Cancel {
        /// Who runs it.
        executor: ExecutorId,
        /// The job.
        job: JobId,
    },
    /// No executor could be started for the key: record a failed run.
    Fail {
        /// What did not run.
        occurrence: Occurrence,
        /// Where it would have run.
        key: PoolKey,
    },
    /// Instants more than five minutes late, which will not run.
    Missed {
        /// The job.
        job: JobId,
        /// The earliest of them.
        first: Timestamp,
        /// The latest of them.
        last: Timestamp,
        /// How many; exact up to 1,000, beyond that a lower bound (see [`super::Engine::tick`]).
        count: u64,
    },
    /// An instant that found the job's queue full and will not run.
    Overflow {
        /// The job.
        job: JobId,
        /// The instant.
        scheduled_for: Timestamp,
    },
}

/// Figures for health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs known, active or not.
    pub jobs: usize,
    /// Occurrences that are due and not handed out, including those behind their own job's run.
    pub waiting: usize,
    /// Runs handed out, adopted ones included.
    pub running: u32,
    /// Executors that wait for work.
    pub idle: u32,
    /// Executors asked for or on their way up.
    pub starting: u32,
    /// Executors told to leave that have not gone yet.
    pub leaving: u32,
    /// The earliest instant among the occurrences that wait for a run slot or an executor only.
    pub oldest_waiting: Option<Timestamp>,
    /// Whether the last attempt to start an executor found no free worker slot and runs still
    /// wait for one.
    pub short_of_slots: bool,
}
