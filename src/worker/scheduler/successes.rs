//! How far successes have brought each job.
//!
//! Invariants: what has succeeded stays so, whatever the clock is set to; and the success of a run that
//! somebody or the scheduler has asked for is written before its request is deleted, for the job's
//! cursor may have passed its occurrence long before.

use std::collections::HashMap;

use pg_tock_core::engine::Settled;
use pg_tock_core::time::{JobId, Timestamp};

use super::Scheduler;
use crate::catalog::state::Success;

/// The latest occurrences that have succeeded.
#[derive(Debug, Default)]
pub(crate) struct Successes {
    /// Up to where the successful runs of jobs have covered time.
    covered: HashMap<JobId, Timestamp>,
    /// Instants that backfills have made good, or somebody has resolved as succeeded, where those are
    /// later.
    made_good: HashMap<JobId, Timestamp>,
}

impl Successes {
    /// A run has covered the time up to `until`. False if that had been before.
    pub(super) fn cover(&mut self, id: JobId, until: Timestamp) -> bool {
        raise(&mut self.covered, id, until)
    }

    /// Up to where a job's successful runs have covered time.
    pub(super) fn covered(&self, id: JobId) -> Option<Timestamp> {
        self.covered.get(&id).copied()
    }

    /// An instant was made good. False if it or a later one had succeeded before.
    pub(super) fn make_good(&mut self, id: JobId, at: Timestamp) -> bool {
        self.last(id) < Some(at) && raise(&mut self.made_good, id, at)
    }

    /// The latest instant of a job that has succeeded.
    pub(super) fn last(&self, id: JobId) -> Option<Timestamp> {
        self.covered(id).max(self.made_good.get(&id).copied())
    }

    /// A job is gone.
    pub(super) fn forget(&mut self, id: JobId) {
        self.covered.remove(&id);
        self.made_good.remove(&id);
    }
}

/// Whether an instant is later than the one that was known.
fn raise(known: &mut HashMap<JobId, Timestamp>, id: JobId, at: Timestamp) -> bool {
    let before = known.entry(id).or_insert(Timestamp(i64::MIN));
    let later = *before < at;
    *before = at.max(*before);
    later
}

impl Scheduler {
    /// Somebody has resolved a run for an instant of a job as succeeded.
    pub(super) fn make_good(&mut self, job: JobId, at: Timestamp) {
        if self.jobs.get(job).is_some() {
            self.jobs.successes.make_good(job, at);
            self.engine.settled(job, at, Settled::Succeeded);
        }
    }

    /// An occurrence of a job has succeeded.
    pub(super) fn note_success(&mut self, success: Success, now: Timestamp) {
        let Success { job, at, origin } = success;
        if self.jobs.get(job).is_none() {
            return;
        }
        let successes = &mut self.jobs.successes;
        if origin.moves_window() {
            if successes.cover(job, at) {
                self.records.covered(job, at, now);
            }
        } else if origin.is_instant() && successes.make_good(job, at) {
            self.records.made_good(job, at, now);
        }
    }
}
