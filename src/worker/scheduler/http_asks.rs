//! HTTP jobs with a condition (`run_if`): an executor of the job's owner asks it, and then the
//! request is sent.
//!
//! Owns these invariants: the job counts as running without a gap from its question to the end of its
//! request; a run that is to end by the time its answer is heard sends nothing; and a question that was answered to an earlier scheduler is asked anew, for it leaves
//! nothing behind.

use pg_tock_core::cancel::{Cause, DROPPED};
use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::run::Outcome;
use pg_tock_core::time::Timestamp;

use super::Scheduler;
use super::asked::not_begun;
use super::pool::Current;
use super::runs::End;
use crate::pg::time::monotonic;
use crate::shmem::slots::{Phase, Slot, State};

impl Scheduler {
    /// An executor has nothing to do for an HTTP run any more, or never had: its request is sent.
    pub(super) fn send_instead(
        &mut self,
        id: ExecutorId,
        occurrence: Occurrence,
        claim: bool,
        now: Timestamp,
    ) {
        let key = self.jobs.get(occurrence.job).map(|job| PoolKey::http(job.key.role));
        match key.and_then(|key| self.engine.send_instead(id, key, now)) {
            Some(send) => self.http.decided(send, occurrence, claim),
            None => self.engine.run_finished(id, now),
        }
    }

    /// The condition of an HTTP job was met, if that is what this end says. False if it is not.
    pub(super) fn was_asked(&mut self, id: ExecutorId, end: &End, now: Timestamp) -> bool {
        let Some(executor) = self.executors.get_mut(&id) else { return false };
        let is_answer = end.outcome == Outcome::Succeeded;
        let Some(asked) = executor.current.as_ref().filter(|asked| asked.asks && is_answer) else {
            return false;
        };
        // What the jobs are now is not known yet when an earlier scheduler's executor answers.
        let switched_off = !executor.is_adopted()
            && asked.job.active
            && self.jobs.get(asked.occurrence.job).is_none_or(|job| !job.active);
        if let Some(cause) = to_end(asked, executor.slot, switched_off) {
            self.told(id, never_sent(cause, end, now), now);
            return true;
        }
        let Some(current) = executor.current.take() else { return false };
        executor.slot.advance(Phase::Reported, Phase::Done);
        let (adopted, gone) = (executor.is_adopted(), executor.slot.state() == State::Exited);
        if adopted {
            self.try_again(&current);
            self.engine.run_finished(id, now);
        } else {
            let occurrence = Occurrence { run: Some(current.run), ..current.occurrence };
            self.send_instead(id, occurrence, current.claim, now);
        }
        if gone {
            self.free(id, now);
        }
        true
    }
}

/// Why a run that has its answer is to end all the same, if it is. Its slot says so then.
fn to_end(asked: &Current, slot: &Slot, switched_off: bool) -> Option<Cause> {
    let dropped = switched_off.then_some((Cause::Dropped, DROPPED.as_bytes()));
    let wanted = asked.watched.wanted().or(dropped);
    if let Some((cause, reason)) = wanted {
        slot.want_end(asked.run, cause, monotonic(), reason);
    }
    slot.cancel.cause(asked.run).or(wanted.map(|(cause, _)| cause))
}

/// The end of a run whose condition was met and whose request is not sent.
fn never_sent(cause: Cause, answer: &End, now: Timestamp) -> End {
    let not_begun = not_begun(Vec::new(), now); // the reason is in the slot
    let message = cause.message_before_it_began().to_owned();
    let (outcome, started_at) = (cause.outcome(), answer.started_at);
    End { outcome, cause: Some(cause), started_at, message, ..not_begun }
}
