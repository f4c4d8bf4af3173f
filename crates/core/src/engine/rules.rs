//! What a job's options say about the order and the company of its runs.

use std::sync::Arc;

use crate::run::Overlap;
use crate::time::JobId;

/// What became of a run for an instant of a job's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It succeeded.
    Succeeded,
    /// It did not, and is not tried again by itself.
    FailedForGood,
    /// It did not, and is tried again.
    WillRetry,
}

/// A row of `cron.queue`, by a number the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

/// What a queue allows. The default is everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSpec {
    /// Most runs of its jobs at a time; `None` = no limit.
    pub max_running: Option<u32>,
    /// Least microseconds between two starts; 0 = none.
    pub start_interval: i64,
}

/// Order and company of a job's runs. The default is pg_cron's behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of instants that are due while the job runs or waits. Those that do not run are
    /// skipped for the reason `overlap`; requests wait whatever it says.
    pub overlap: Overlap,
    /// With [`Overlap::Allow`], how many runs of the job there may be at a time; 0 counts as 1.
    pub max_concurrency: u32,
    /// Among the jobs of an owner, each point lets an occurrence go before one that is due a minute
    /// earlier.
    pub priority: i32,
    /// The queue whose limits the job's runs obey.
    pub queue: Option<QueueId>,
    /// Jobs that must have succeeded first (the option `run_after`).
    pub after: Arc<[JobId]>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            overlap: Overlap::Queue,
            max_concurrency: 1,
            priority: 0,
            queue: None,
            after: Arc::default(),
        }
    }
}

impl Rules {
    /// How many runs of the job there may be at a time.
    #[must_use]
    pub fn places(&self) -> u32 {
        if self.overlap == Overlap::Allow { self.max_concurrency.max(1) } else { 1 }
    }
}
