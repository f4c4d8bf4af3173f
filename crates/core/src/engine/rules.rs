//! What a job's options say about the order and the company of its runs.

use std::sync::Arc;

use crate::run::Overlap;
use crate::time::JobId;

/// A row of `cron.queue`, by a number the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

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
