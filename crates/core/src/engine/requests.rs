//! Occurrences that do not come from the agenda: manual runs, retries, backfills, starts, and what
//! follows runs that have more to do.
//!
//! Invariant: an instant that waits, runs or is to be caught up is not taken a second time when
//! somebody counts on its run; a request that is not ready yet waits in its job's queue and counts
//! for no limit before it is.

use super::Engine;
use super::state::Job;
use super::types::Occurrence;
use super::waiting::Waiting;
use crate::run::Trigger;
use crate::time::{JobId, Timestamp};

impl Engine {
    /// Adds an occurrence that does not come from the agenda (manual, retry, backfill and so on).
    /// False when the job is unknown; when its queue is full, unless the run has an id already,
    /// because then somebody counts on it; and when the same instant waits or runs already. An
    /// inactive job takes it too: only the change to inactive clears the queue.
    pub fn enqueue(&mut self, occurrence: Occurrence) -> bool {
        self.enqueue_at(occurrence, self.now)
    }

    /// The same for one that must not start before `at`: a retry after its delay, for instance. It
    /// waits in its job's queue from then on; it must not be an instant of the schedule.
    pub fn enqueue_at(&mut self, occurrence: Occurrence, at: Timestamp) -> bool {
        let Some(&number) = self.job_ids.get(&occurrence.job) else { return false };
        let job = &self.jobs[number];
        let Occurrence { scheduled_for, run, attempt, trigger, .. } = occurrence;
        let asked_for = run.is_some();
        let later = at > self.now && !trigger.is_nominal();
        if job.dropped || asked_for && comes(job, scheduled_for) {
            return false;
        }
        if !(asked_for || later || self.has_room(number)) {
            return false;
        }
        self.dirty = true;
        let (ready_at, turn) = (at.max(self.now), self.next_arrival());
        let (claim, follows) = (false, false);
        let waiting =
            Waiting { scheduled_for, ready_at, turn, run, attempt, trigger, claim, follows };
        if later {
            self.jobs[number].queue.push_later(waiting);
            self.plan_later(number);
        } else {
            self.wait(number, waiting);
            self.inbox.push(number);
        }
        true
    }

    /// The first instant from `at` on that is neither one of the job's schedule nor asked for by somebody
    /// else; None if the job is unknown.
    #[must_use]
    pub fn free_instant(&self, job: JobId, at: Timestamp) -> Option<Timestamp> {
        let &number = self.job_ids.get(&job)?;
        Some(free_from(&self.jobs[number], at))
    }

    /// A run of a job has more to do: another one follows, as soon as its turn comes. Not if the job
    /// may not start now (it is off or paused, or its window or a calendar is closed), and not beside
    /// one that waits already, which does for both. What waits is dropped when the job comes to be
    /// closed before its turn. Says whether one is to follow.
    pub fn follow(&mut self, last: &Occurrence, now: Timestamp) -> bool {
        self.hear(now);
        let Some(&number) = self.job_ids.get(&last.job) else { return false };
        let job = &self.jobs[number];
        if !job.on || !self.is_free(job) {
            return false;
        }
        if job.queue.has_follow_up() {
            return true;
        }
        // An occurrence of its own: neither of the schedule nor asked for by anybody else.
        let scheduled_for = free_from(job, now.max(last.scheduled_for.plus(1)));
        let (ready_at, turn) = (self.now, self.next_arrival());
        let (run, attempt, trigger) = (None, 1, Trigger::Manual);
        let (claim, follows) = (false, true);
        self.wait(
            number,
            Waiting { scheduled_for, ready_at, turn, run, attempt, trigger, claim, follows },
        );
        self.inbox.push(number);
        true
    }

    /// Drops what follows runs of a job that may not start now.
    pub(super) fn end_follow_ups(&mut self, number: u32) {
        let job = &self.jobs[number];
        if job.queue.has_follow_up() && !self.is_free(job) {
            self.totals.queued -= self.jobs[number].queue.drop_follow_ups();
        }
    }

    /// Makes requests ready whose time has come.
    pub(super) fn promote(&mut self) {
        while let Some((at, number)) = self.later.peek()
            && at <= self.now
        {
            while self.jobs[number].queue.promote(self.now) {
                self.totals.queued += 1;
            }
            self.plan_later(number);
            self.enter(number);
        }
    }

    /// Notes when a request of a job becomes ready.
    fn plan_later(&mut self, number: u32) {
        match self.jobs[number].queue.next_later() {
            Some(at) => self.later.set(&mut self.places.later, number, at),
            None => {
                self.later.remove(&mut self.places.later, number);
            }
        }
    }
}

/// Whether an instant waits or runs already.
pub(super) fn comes(job: &Job, at: Timestamp) -> bool {
    let runs = |waiting: Waiting| waiting.scheduled_for == at;
    job.queue.has(at)
        || job.runs.iter().any(|run| run.waiting.is_some_and(runs))
        || is_in_backlog(job, at)
}

/// The first instant from `at` on that is neither one of the schedule nor waits or runs already.
fn free_from(job: &Job, mut at: Timestamp) -> Timestamp {
    while comes(job, at) || is_instant(job, at) {
        at = at.plus(1);
    }
    at
}

/// Whether an instant is one of those to be caught up.
fn is_in_backlog(job: &Job, at: Timestamp) -> bool {
    let covered = job.rare().backlogs.iter().any(|range| range.after < at && at < range.until);
    // What has a row is passed over there.
    covered && !job.is_done(at) && is_instant(job, at)
}

/// Whether an instant is one of the job's schedule.
fn is_instant(job: &Job, at: Timestamp) -> bool {
    let before = at.plus(-1);
    job.times.as_deref().is_some_and(|times| times.next_after(before) == Some(at))
}
