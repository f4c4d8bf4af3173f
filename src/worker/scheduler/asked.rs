//! Runs that were asked for, and occurrences whose job's condition was not met.
//!
//! Invariant: an occurrence that did not run because of its condition has a record of that and no row,
//! neighbours share one record, and a request for it is answered.

use std::collections::HashMap;
use std::ffi::CString;

use pg_tock_core::engine::{ExecutorId, Settled};
use pg_tock_core::run::SkipReason;
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::Scheduler;
use super::company::settle;
use super::pool::Current;
use crate::catalog::state::Skip;
use crate::guc;

/// What is known of runs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Who asked.
    by: HashMap<RunId, CString>,
    /// The instant of a job that was skipped last, for its condition, with nothing since.
    unmet: HashMap<JobId, Timestamp>,
}

impl Asked {
    /// Somebody asks for a run.
    pub(super) fn note(&mut self, run: RunId, by: Option<CString>) {
        self.by.extend(by.map(|by| (run, by)));
    }

    /// Who asked for a run.
    pub(super) fn by(&self, run: RunId) -> Option<CString> {
        self.by.get(&run).cloned()
    }

    /// A run is over.
    pub(super) fn forget(&mut self, current: &Current) {
        self.by.remove(&current.run);
        self.unmet.remove(&current.occurrence.job);
    }

    /// Occurrences of a job have been skipped for another reason, or the job is gone.
    pub(super) fn skipped(&mut self, job: JobId) {
        self.unmet.remove(&job);
    }
}

impl Scheduler {
    /// The condition of a run's job was not met, and the run has not begun.
    pub(super) fn unmet(&mut self, id: ExecutorId, now: Timestamp) {
        self.engine.run_finished(id, now);
        let Some(executor) = self.executors.get_mut(&id) else { return };
        let Some(current) = executor.current.take() else { return };
        if current.extension != self.extension || !self.installed {
            return; // it belongs to an extension that has been dropped
        }
        let (job, at) = (current.occurrence.job, current.occurrence.scheduled_for);
        if !current.local && guc::log_run() {
            self.records.take_back(current.run);
        }
        self.asked.by.remove(&current.run);
        if self.requests.remove(&current.run) {
            self.retries.forget(current.run);
            self.records.answered(current.run);
        }
        if current.occurrence.attempt > 1 {
            settle(&mut self.engine, &current.occurrence, Settled::FailedForGood);
            if self.engine.next_due(job).is_none() {
                self.note_if_over(job);
            }
            return; // its occurrence has the row of an attempt that failed, and failed for good
        }
        if self.jobs.get(job).is_none() {
            return;
        }
        let extends = self.asked.unmet.insert(job, at).filter(|&last| last < at);
        settle(&mut self.engine, &current.occurrence, Settled::FailedForGood);
        let reason = SkipReason::Condition;
        self.records.skip(job, Skip { reason, first: at, last: at, count: 1, extends }, now);
        if current.occurrence.is_nominal() {
            self.note_if_over(job);
        }
    }
}
