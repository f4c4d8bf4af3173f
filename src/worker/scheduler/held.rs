//! Occurrences that wait because somebody holds their job, and runs that ask for another one.
//!
//! Nothing is polled: an executor finds a job held and says how many holds had ended when it looked;
//! the end of a hold raises that number and wakes the scheduler, which then tries everything again.
//! A hold that ended in between is noticed by the number.

use std::collections::{HashMap, VecDeque};

use pg_tock_core::engine::{ExecutorId, Occurrence};
use pg_tock_core::run::{SkipReason, Trigger};
use pg_tock_core::time::{JobId, Timestamp};

use super::Scheduler;
use super::pool::Current;
use crate::catalog::state::Skip;
use crate::guc;
use crate::pg::job_lock::{JobLock, Mode};

/// What waits for holds to end.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: HashMap<JobId, VecDeque<Occurrence>>,
    /// How many holds had ended when everything was tried last.
    seen: u64,
}

impl Held {
    /// A job is gone, and with it what waits.
    pub(super) fn forget(&mut self, job: JobId) {
        self.waiting.remove(&job);
    }

    /// A job's cursor, which may not pass what waits here.
    pub(super) fn limit(&self, job: JobId, cursor: Timestamp) -> Timestamp {
        let waiting = self.waiting.get(&job).into_iter().flatten();
        let oldest = waiting.map(|occurrence| occurrence.scheduled_for).min();
        oldest.map_or(cursor, |at| cursor.min(at.plus(-1)))
    }
}

impl Scheduler {
    /// An executor found the job of its run held.
    pub(super) fn put_off(&mut self, id: ExecutorId, holds_ended: u64, now: Timestamp) {
        self.engine.run_finished(id, now);
        let Some(executor) = self.executors.get_mut(&id) else { return };
        let Some(current) = executor.current.take() else { return };
        if self.database.holds_ended() == holds_ended {
            self.keep(with_id(&current), now);
        } else {
            self.try_again(&current);
        }
    }

    /// Whether it is known, or seen before anything is written, that the job is held.
    pub(super) fn is_held(&self, occurrence: &Occurrence, local: bool) -> bool {
        if self.held.waiting.contains_key(&occurrence.job) {
            return true;
        }
        // A run in another database gets its row before it tries the lock itself.
        !local && !JobLock::new(self.oid, occurrence.job, Mode::Shared).is_free()
    }

    /// An occurrence waits for its job to be released.
    pub(super) fn keep(&mut self, occurrence: Occurrence, now: Timestamp) {
        let waiting = self.held.waiting.entry(occurrence.job).or_default();
        if waiting.len() > guc::max_queued_runs() {
            let at = occurrence.scheduled_for;
            let reason = SkipReason::Held;
            let skip = Skip { reason, first: at, last: at, count: 1, extends: None };
            self.records.skip(occurrence.job, skip, now);
            return;
        }
        waiting.push_back(occurrence);
    }

    /// A run that was handed over has not begun: it is due again.
    pub(super) fn try_again(&mut self, current: &Current) {
        self.engine.enqueue(with_id(current));
    }

    /// If holds have ended, everything that waits for one is due again.
    pub(super) fn take_released(&mut self) {
        let ended = self.database.holds_ended();
        if self.held.seen == ended {
            return;
        }
        self.held.seen = ended;
        for (job, waiting) in std::mem::take(&mut self.held.waiting) {
            if self.jobs.get(job).is_some() {
                for occurrence in waiting {
                    self.engine.enqueue(occurrence);
                }
            } else {
                self.held.forget(job);
            }
        }
    }

    /// A run that succeeded has more to do: another one of its job, as if somebody had asked.
    pub(super) fn run_again(&mut self, last: &Occurrence, now: Timestamp) {
        let scheduled_for = now.max(last.scheduled_for.plus(1));
        let (job, trigger) = (last.job, Trigger::Manual);
        self.engine.enqueue(Occurrence { job, scheduled_for, trigger, attempt: 1, run: None });
    }
}

/// The occurrence of a run that has not begun. One in another database has its row already, and
/// keeps the id it has there.
fn with_id(current: &Current) -> Occurrence {
    let mut occurrence = current.occurrence;
    if !current.local {
        occurrence.run = Some(current.run);
    }
    occurrence
}
