//! Runs that were handed out and did not begin.
//!
//! Invariant: what was handed out and did not begin has the place it had, whatever limits say of
//! what comes to wait, or, when its job does not want it any more, is reported as skipped. So
//! nothing that was due is lost between the engine and its executors.

use super::Engine;
use super::due::Fold;
use super::requests::comes;
use super::state::{Job, Phase};
use super::types::{Action, ExecutorId, Occurrence};
use super::waiting::Waiting;
use crate::run::SkipReason;
use crate::time::{JobId, Timestamp};

impl Engine {
    /// An occurrence that was handed out has not begun: it waits again, in the place it had, and
    /// with `claim` is claimed before it runs. To be called before the executor it was handed to is
    /// reported as finished or gone. False when nobody wants it any more: its job is unknown, was
    /// switched off, or has replaced it; an instant of a schedule becomes [`Action::Skipped`] then.
    pub fn put_back(&mut self, occurrence: Occurrence, claim: bool) -> bool {
        let Some(&number) = self.job_ids.get(&occurrence.job) else { return false };
        self.dirty = true;
        let Occurrence { scheduled_for, run, attempt, trigger, .. } = occurrence;
        let (was, replaced) = self.take_run(number, &occurrence);
        let job = &self.jobs[number];
        if job.dropped {
            self.forget_if_over(number);
            return false;
        }
        if was.is_none() && comes(job, scheduled_for) {
            return false;
        }
        let (ready_at, turn) =
            was.map_or_else(|| (self.now, self.next_arrival()), |was| was.place());
        let claim = claim || was.is_some_and(|was| was.claim);
        let follows = was.is_some_and(|was| was.follows);
        self.note_moved(number);
        self.inbox.push(number);
        let job = &self.jobs[number];
        let reason = match job.on {
            false => Some(SkipReason::Inactive),
            // A later one has taken its place.
            true => Some(SkipReason::Overlap).filter(|_| replaced),
        };
        if let Some(reason) = reason.filter(|_| trigger.is_nominal()) {
            if let Some(was) = was.filter(|_| reason == SkipReason::Overlap) {
                self.take_over(number, was.ready_at);
            }
            self.skip_one(number, reason, scheduled_for);
            return false;
        }
        let waiting =
            Waiting { scheduled_for, ready_at, turn, run, attempt, trigger, claim, follows };
        self.wait(number, waiting);
        true
    }

    /// Somebody holds a job: nothing of it starts before [`Self::release_holds`].
    pub fn hold(&mut self, id: JobId) {
        let Some(&number) = self.job_ids.get(&id) else { return };
        if !std::mem::replace(&mut self.jobs[number].held, true) {
            self.dirty = true;
            self.held.push(number);
            self.leave(number);
        }
    }

    /// Whether a job is known to be held.
    #[must_use]
    pub fn is_held(&self, id: JobId) -> bool {
        let number = self.job_ids.get(&id);
        number.and_then(|&number| self.jobs.lookup(number)).is_some_and(|job| job.held)
    }

    /// Holds have ended: every job may be tried again.
    pub fn release_holds(&mut self) {
        for number in std::mem::take(&mut self.held) {
            self.dirty = true;
            self.jobs[number].held = false;
            self.inbox.push(number);
        }
    }

    /// Takes a run from its executor, which stays busy until it is reported to be otherwise.
    /// Says where it waited, and whether it was cancelled for the sake of a later one.
    fn take_run(&mut self, number: u32, occurrence: &Occurrence) -> (Option<Waiting>, bool) {
        let Some(executor) = find(&self.jobs[number], occurrence) else { return (None, false) };
        let run = self.jobs[number].runs.remove(executor);
        self.count_end(number);
        if !self.part_send(executor) {
            self.become_phase(executor, Phase::Busy(None));
        }
        let Some(run) = run else { return (None, false) };
        (run.waiting, run.cancelled && self.jobs[number].on)
    }

    /// A run turned out not to be one, for its job's condition for instance: it is over, and is
    /// [`Action::Skipped`]. To be called instead of `run_finished`.
    pub fn run_skipped(&mut self, id: ExecutorId, reason: SkipReason, now: Timestamp) {
        let job = match self.executors.lookup(id.0).map(|record| record.phase) {
            Some(Phase::Busy(job)) => job,
            _ => self.job_of_send(id),
        };
        if let Some(number) = job
            && !self.jobs[number].dropped
            && let Some(run) = self.jobs[number].runs.of(id.0).copied()
            && let Some(waiting) = run.waiting
        {
            self.turn_away(number, reason, &waiting);
        }
        self.run_finished(id, now);
    }

    /// Reports a run that was none as skipped, in one row with its neighbours.
    pub(super) fn turn_away(&mut self, number: u32, reason: SkipReason, waiting: &Waiting) {
        let at = waiting.scheduled_for;
        if !waiting.is_nominal() {
            let (job, extends) = (self.jobs[number].id, None);
            let skipped = Action::Skipped { job, reason, first: at, last: at, count: 1, extends };
            return self.outbox.push(skipped);
        }
        self.turn_all_away(number, Some(Fold { reason, first: at, last: at, count: 1 }));
    }

    /// The same for neighbours of a schedule, if there are any.
    pub(super) fn turn_all_away(&mut self, number: u32, mut fold: Option<Fold>) {
        let Some(Fold { reason, first, last, .. }) = fold else { return };
        let job = &mut self.jobs[number];
        let before = job.rare().turned_away;
        let before = before.filter(|&(other, end)| other == reason && job.follows(end, first));
        let skipped = std::mem::replace(&mut job.skipped, before);
        let mut out = std::mem::take(&mut self.outbox);
        self.emit(number, &mut fold, &mut out);
        self.outbox = out;
        let job = &mut self.jobs[number];
        job.skipped = skipped;
        job.rare_mut().turned_away = Some((reason, last));
    }

    /// What has replaced something that was handed out and did not begin waits since the other did.
    fn take_over(&mut self, number: u32, since: Timestamp) {
        let Some(first) = self.jobs[number].queue.nominal().copied() else { return };
        if since < first.ready_at {
            self.leave(number);
            let queue = &mut self.jobs[number].queue;
            queue.remove(&first);
            queue.push(Waiting { ready_at: since, ..first });
        }
    }

    /// Reports one instant as skipped.
    fn skip_one(&mut self, number: u32, reason: SkipReason, at: Timestamp) {
        // What was skipped last came after it.
        let skipped = self.jobs[number].skipped.take();
        let mut out = std::mem::take(&mut self.outbox);
        let mut fold = None;
        self.skip(number, reason, at, &mut fold, &mut out);
        self.emit(number, &mut fold, &mut out);
        self.outbox = out;
        self.jobs[number].skipped = skipped;
    }
}

/// The executor an occurrence was handed to.
fn find(job: &Job, occurrence: &Occurrence) -> Option<u32> {
    let Occurrence { scheduled_for, attempt, trigger, .. } = *occurrence;
    let same = |waiting: Waiting| {
        (waiting.scheduled_for, waiting.attempt, waiting.trigger)
            == (scheduled_for, attempt, trigger)
    };
    // An earlier scheduler's run is known by nothing but its job.
    let runs = job.runs.iter().filter(|run| run.waiting.is_none_or(same));
    runs.max_by_key(|run| run.waiting.is_some()).map(|run| run.executor)
}
