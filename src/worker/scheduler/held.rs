//! Jobs that somebody holds.
//!
//! Nothing is polled: an executor finds a job held and says how many holds had ended when it looked;
//! the end of a hold raises that number and wakes the scheduler, which then tries everything again.
//! A hold that ended in between is noticed by the number. What waits meanwhile waits in the engine.

use pg_tock_core::engine::{ExecutorId, Occurrence, Settled};
use pg_tock_core::time::{JobId, Timestamp};

use super::Scheduler;
use super::asked::not_begun;
use super::company::settle;
use super::pool::Current;
use crate::pg::job_lock::{JobLock, Mode};
use crate::pg::time;

/// How long jobs rest for whose runs nothing could be written.
const REST: i64 = Timestamp::SECOND / 10;

impl Scheduler {
    /// An executor found the job of its run held.
    pub(super) fn put_off(&mut self, id: ExecutorId, holds_ended: u64, now: Timestamp) {
        let executor = self.executors.get_mut(&id);
        if let Some(current) = executor.and_then(|executor| {
            let mut current = executor.current.take()?;
            current.watched.hear(current.run, &executor.slot.cancel);
            Some(current)
        }) {
            self.was_held(&current, holds_ended);
        }
        self.engine.run_finished(id, now);
    }

    /// The job of a run was held when it was to begin: it is due again. Whoever had it is still to
    /// be reported as finished.
    pub(super) fn was_held(&mut self, current: &Current, holds_ended: u64) {
        if self.database.holds_ended() == holds_ended {
            self.engine.hold(current.occurrence.job);
        }
        self.try_again(current);
    }

    /// Whether it is seen before anything is written that the job is held.
    pub(super) fn is_held(&self, occurrence: &Occurrence, local: bool) -> bool {
        // A run in another database gets its row before it tries the lock itself.
        !local && !JobLock::new(self.oid, occurrence.job, Mode::Shared).is_free()
    }

    /// A run that was handed over has not begun: it is due again, unless somebody has cancelled it
    /// meanwhile. Its executor is still to be reported as finished or gone.
    pub(super) fn try_again(&mut self, current: &Current) {
        if let Some(reason) = current.watched.cancelled() {
            let now = time::now();
            self.account(current, 0, not_begun(reason.to_vec(), now), now);
            return;
        }
        self.engine.put_back(with_id(current), current.claim);
    }

    /// What was to be handed to an idle executor waits again.
    pub(super) fn not_begun(
        &mut self,
        id: ExecutorId,
        occurrence: Occurrence,
        claim: bool,
        now: Timestamp,
    ) {
        self.engine.put_back(occurrence, claim);
        self.engine.run_finished(id, now);
    }

    /// The same if what is needed for it could not be written: its job rests for a while, or it would be
    /// tried again and again.
    pub(super) fn not_now(
        &mut self,
        id: ExecutorId,
        occurrence: Occurrence,
        claim: bool,
        now: Timestamp,
    ) {
        self.rest(occurrence.job, now);
        self.not_begun(id, occurrence, claim, now);
    }

    /// It turns out that an occurrence has a row already, of another run: it is over, and who has asked
    /// for it is told so.
    pub(super) fn ran_already(&mut self, id: ExecutorId, current: &Current, now: Timestamp) {
        let (run, job) = (current.run, current.occurrence.job);
        pgrx::log!(
            "pg_tock: run {run} of job {job} does not begin, its occurrence has another row"
        );
        let origin = self.never_was(current);
        settle(&mut self.engine, &current.occurrence, origin, Settled::FailedForGood);
        self.engine.run_finished(id, now);
    }

    /// Nothing of a job starts for a while.
    pub(super) fn rest(&mut self, job: JobId, now: Timestamp) {
        self.engine.hold(job);
        self.rest_until.get_or_insert(now.plus(REST));
    }

    /// If holds have ended, or jobs have rested for a while, everything that waits for that is due again.
    pub(super) fn take_released(&mut self) {
        let ended = self.database.holds_ended();
        let now = time::now();
        let rested = self.rest_until.take_if(|at| *at <= now || at.since(now) > REST).is_some();
        if std::mem::replace(&mut self.holds_seen, ended) != ended || rested {
            self.engine.release_holds();
        }
    }
}

/// The occurrence of a run that has not begun. One that may have its row already keeps the id it has there,
/// one somebody has asked for the id he knows.
fn with_id(current: &Current) -> Occurrence {
    let mut occurrence = current.occurrence;
    if !current.local || !occurrence.is_nominal() {
        occurrence.run = Some(current.run);
    }
    occurrence
}
