//! Retries that have been decided, until each is a row of `cron.run_request`.
//!
//! Invariant: who asks for runs of a job in a transaction that stays open keeps the retries of that
//! job waiting, the requests they follow from, and the mark up to which runs are counted. Nothing else
//! waits for him, and of no job more than so many.

use std::collections::{BTreeMap, HashMap, HashSet};

use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::LOCK_RETRY;
use crate::catalog::attempts::{self, Answer, Retry};
use crate::pg::job_lock::JobLock;
use crate::pg::{time, txn};

/// Most retries of a job that wait for their rows. Beyond that they are given up, with a line in the
/// server log: their attempts were the last.
const MOST_OF_A_JOB: usize = 10_000;

/// Most jobs whose retries are written in one transaction: each takes a lock, and the table of locks is
/// everybody's.
const AT_ONCE: usize = 256;

/// Retries that have been decided.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Those without a request, by instant and attempt.
    unwritten: HashMap<JobId, BTreeMap<(Timestamp, u32), Retry>>,
    /// The runs those follow.
    followed: HashSet<RunId>,
    /// Those among these whose own requests are to go once their followers are written.
    kept: HashSet<RunId>,
    /// Those that were among them, and may go now.
    freed: Vec<(RunId, JobId)>,
    /// Those with one the engine does not know of.
    written: Vec<(Retry, RunId)>,
    /// Those that are not to be, which the engine does not know of, and whether their occurrences count
    /// as succeeded.
    over: Vec<(Retry, bool)>,
    /// When to write those without.
    next: Option<Timestamp>,
}

impl Decided {
    /// A retry to ask for.
    pub(super) fn push(&mut self, retry: Retry) {
        let of_job = self.unwritten.entry(retry.job).or_default();
        if of_job.len() >= MOST_OF_A_JOB {
            let job = retry.job;
            pgrx::log!(
                "pg_tock: requests of job {job} have been locked for so long that a retry was given up"
            );
            self.over.push((retry, false));
            return;
        }
        self.followed.insert(retry.after);
        of_job.insert((retry.scheduled_for, retry.attempt), retry);
        self.hurry();
    }

    /// Whether every retry has its request.
    pub(super) fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Those that wait are to be tried at once.
    pub(super) fn hurry(&mut self) {
        self.next = (!self.is_written()).then_some(Timestamp(i64::MIN));
    }

    /// When there is something to write.
    pub(super) const fn next_look(&self) -> Option<Timestamp> {
        self.next
    }

    /// Whether there is something to write now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.next.is_some_and(|at| at <= now)
    }

    /// The clock was set back to this instant.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        self.next = self.next.map(|at| at.min(to.plus(LOCK_RETRY)));
    }

    /// Writes requests. Those of a job wait that somebody asks for runs of in a transaction that is
    /// still open, and those of jobs that are `behind`. False after an ERROR.
    pub(super) fn write(&mut self, scheduler: u32, behind: &HashSet<JobId>) -> bool {
        let (unwritten, written, over) = (&self.unwritten, &mut self.written, &mut self.over);
        let before = (written.len(), over.len());
        let done = txn::run("asking for retries", || {
            let mut done = Vec::new();
            for (&job, retries) in unwritten {
                if done.len() >= AT_ONCE {
                    break;
                }
                if behind.contains(&job) {
                    continue;
                }
                if !JobLock::of_requests(scheduler, job).has_for_transaction() {
                    continue;
                }
                for retry in retries.values() {
                    match attempts::ask(retry)? {
                        Answer::Asked(run) => written.push((retry.clone(), run)),
                        Answer::Over { succeeded } => over.push((retry.clone(), succeeded)),
                        Answer::Follows => {}
                    }
                }
                done.push(job);
            }
            Ok::<_, pgrx::spi::Error>(done)
        });
        let Some(Ok(done)) = done else {
            self.written.truncate(before.0);
            self.over.truncate(before.1);
            return false;
        };
        let more = done.len() >= AT_ONCE;
        for job in done {
            self.forget(job);
        }
        self.next = (!self.is_written()).then(|| time::now().plus(LOCK_RETRY));
        if more {
            self.hurry();
        }
        true
    }

    /// Retries of a job are written, or the job is gone.
    pub(super) fn forget(&mut self, job: JobId) {
        for retry in self.unwritten.remove(&job).unwrap_or_default().into_values() {
            self.followed.remove(&retry.after);
            if self.kept.remove(&retry.after) {
                self.freed.push((retry.after, job));
            }
        }
    }

    /// The request of a run that is over is to go. True if that has to wait for its follower, and
    /// comes back in [`Self::take_freed`].
    pub(super) fn keeps(&mut self, run: RunId) -> bool {
        let waits = self.followed.contains(&run);
        if waits {
            self.kept.insert(run);
        }
        waits
    }

    /// Whether another attempt follows a run, and has no request yet.
    pub(super) fn follows(&self, run: RunId) -> bool {
        self.followed.contains(&run)
    }

    /// Whether the request of a run is to go, and waits for that.
    pub(super) fn is_kept(&self, run: RunId) -> bool {
        self.kept.contains(&run)
    }

    /// Whether there are requests that need not wait any longer.
    pub(super) const fn has_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// The requests that need not wait any longer.
    pub(super) fn take_freed(&mut self) -> Vec<(RunId, JobId)> {
        std::mem::take(&mut self.freed)
    }

    /// Those that have requests the engine does not know of.
    pub(super) fn take_written(&mut self) -> Vec<(Retry, RunId)> {
        std::mem::take(&mut self.written)
    }

    /// Those that are not to be, which the engine does not know of, and whether their occurrences count
    /// as succeeded.
    pub(super) fn take_over(&mut self) -> Vec<(Retry, bool)> {
        std::mem::take(&mut self.over)
    }

    /// An earlier scheduler may have left requests of runs that are over. Those are returned that have
    /// to stay until their followers are written.
    pub(super) fn keep_all(&mut self) -> Vec<i64> {
        self.kept.extend(&self.followed);
        self.kept.iter().map(|run| run.0).collect()
    }
}
