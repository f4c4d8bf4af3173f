//! HTTP jobs with a condition (`run_if`): an executor of the job's owner asks it, and then the
//! request is sent.
//!
//! Owns two invariants: the job counts as running without a gap from its question to the end of its
//! request; and a question that was answered to an earlier scheduler is asked anew, for it leaves
//! nothing behind.

use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::run::Outcome;
use pg_tock_core::time::Timestamp;

use super::Scheduler;
use super::runs::End;
use crate::shmem::slots::{Phase, State};

impl Scheduler {
    /// An executor has nothing to do for an HTTP run any more, or never had: its request is sent.
    pub(super) fn send_instead(
        &mut self,
        id: ExecutorId,
        occurrence: Occurrence,
        claim: bool,
        now: Timestamp,
    ) {
        if let Some(job) = self.jobs.get(occurrence.job) {
            let send = self.engine.adopt_send(PoolKey::http(job.key.role), job.id, now);
            self.http.decided(send, occurrence, claim);
        }
        self.engine.run_finished(id, now);
    }

    /// The condition of an HTTP job was met, if that is what this end says. False if it is not.
    pub(super) fn was_asked(&mut self, id: ExecutorId, end: &End, now: Timestamp) -> bool {
        let Some(executor) = self.executors.get_mut(&id) else { return false };
        let is_answer = end.outcome == Outcome::Succeeded;
        let Some(current) = executor.current.take_if(|current| current.asks && is_answer) else {
            return false;
        };
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
