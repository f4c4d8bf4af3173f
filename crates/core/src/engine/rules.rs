//! What a job's options say about the order and the company of its runs.

use std::sync::Arc;

use crate::time::JobId;

/// What becomes of an instant that is due while the job runs or waits (the option `on_overlap`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It waits, as long as `max_queued_per_job` allows. pg_cron's way.
    #[default]
    Queue,
    /// It is skipped.
    Skip,
    /// It runs beside the others, up to [`Rules::max_concurrency`]; beyond that it waits.
    Allow,
    /// What waits of the schedule is skipped, what runs is cancelled, and it runs when that has ended.
    Replace,
}

/// A row of `cron.queue`, by a number the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

/// Order and company of a job's runs. The default is pg_cron's behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of instants that are due while the job runs or waits.
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

impl Rules {
    /// How many runs of the job there may be at a time.
    #[must_use]
    pub fn places(&self) -> u32 {
        if self.overlap == Overlap::Allow { self.max_concurrency.max(1) } else { 1 }
    }
}

/// Why a run is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelCause {
    /// Its job was dropped or deactivated.
    Dropped,
    /// The next instant of its job is due, and its job says [`Overlap::Replace`].
    Replaced,
}
