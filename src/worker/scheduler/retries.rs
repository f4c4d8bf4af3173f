//! Attempts that failed, and what follows them.
//!
//! Invariants: whether an attempt is followed by another one is decided once its row is written, and
//! the follower is a row of `cron.run_request` before it can run. Until that row is written the
//! attempt stays before the mark `cron.engine_state.counted_below`, or its own request stays, so that
//! the next scheduler looks at it again. It comes to the same: the delay is a hash, and ledger and
//! requests have one place for each attempt.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::rc::Rc;

use pg_tock_core::engine::{Occurrence, Settled};
use pg_tock_core::retry::{Ended, spread};
use pg_tock_core::run::{Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::Scheduler;
use super::company::settle;
use super::jobs::Job;
use super::runs::End;
use crate::catalog::attempts::{self, Retry};
use crate::catalog::http::HttpJob;
use crate::catalog::request::{self, Request};
use crate::catalog::state;
use crate::guc;
use crate::pg::job_lock::JobLock;
use crate::pg::txn;

/// Retries that have been decided.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Those without a request.
    unwritten: Vec<Retry>,
    /// Those with one the engine does not know of.
    written: Vec<(Retry, RunId)>,
}

impl Decided {
    /// A retry to ask for.
    pub(super) fn push(&mut self, retry: Retry) {
        self.unwritten.push(retry);
    }

    /// Whether every retry has its request.
    pub(super) const fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Writes requests. False if some have to wait: somebody is asking for a run of that job in a
    /// transaction that is still open, or there was an ERROR.
    pub(super) fn write(&mut self, scheduler: u32) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        let (unwritten, written) = (&self.unwritten, &mut self.written);
        let before = written.len();
        let left = txn::run("asking for retries", || {
            let mut left = Vec::new();
            for retry in unwritten {
                if !JobLock::of_requests(scheduler, retry.job).has_for_transaction() {
                    left.push(*retry);
                } else if let Some(run) = attempts::ask(retry)? {
                    written.push((*retry, run));
                }
            }
            Ok::<_, pgrx::spi::Error>(left)
        });
        match left {
            Some(Ok(left)) => self.unwritten = left,
            _ => self.written.truncate(before),
        }
        self.unwritten.is_empty()
    }
}

/// What a run that was asked for has of its own.
#[derive(Debug)]
pub(super) struct Special {
    job: JobId,
    /// The command to run, where that is not the job's.
    pub(super) command: Option<CString>,
    /// The request to send, where that is not the job's.
    http: Option<Box<HttpJob>>,
    /// Its occurrence is none of the schedule.
    pub(super) by_hand: bool,
    /// It is claimed before it begins: an attempt before it crashed.
    pub(super) claim: bool,
}

/// Runs that wait for their time, and what is special about those that were asked for.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: BTreeMap<(Timestamp, RunId), Occurrence>,
    special: HashMap<RunId, Special>,
}

impl Retries {
    /// When the first of them is due.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether a run is a retry of what somebody had asked for.
    pub(super) fn is_by_hand(&self, run: RunId) -> bool {
        self.special.get(&run).is_some_and(|special| special.by_hand)
    }

    /// Whether a run has to be claimed before it begins.
    pub(super) fn claims(&self, run: Option<RunId>) -> bool {
        run.and_then(|run| self.special.get(&run)).is_some_and(|special| special.claim)
    }

    /// The job as a run has it, which may have a command or a request of its own.
    pub(super) fn as_asked(&self, run: Option<RunId>, job: Rc<Job>) -> Rc<Job> {
        let Some(special) = run.and_then(|run| self.special.get(&run)) else { return job };
        match &special.command {
            Some(command) => Rc::new(job.with_command(command, special.http.as_deref())),
            None => job,
        }
    }

    /// A run is over.
    pub(super) fn forget(&mut self, run: RunId) {
        self.special.remove(&run);
    }

    /// The clock was set back: nothing waits for longer than it would have had to.
    pub(super) fn set_back(&mut self, latest: impl Fn(JobId) -> Timestamp) {
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|((at, run), occurrence)| ((at.min(latest(occurrence.job)), run), occurrence))
            .collect();
    }
}

impl Scheduler {
    /// Whether a run that has ended is followed by another attempt, and when.
    pub(super) fn next_attempt(&self, run: RunId, last: &Occurrence, end: &End) -> Option<Retry> {
        let ended = Ended {
            outcome: end.outcome,
            sqlstate: end.sqlstate,
            guarantee: end.guarantee,
            attempt: last.attempt,
            transient: end.http.as_ref().map(|answer| answer.transient),
            retry_after: end.http.as_ref().and_then(|answer| answer.retry_after),
        };
        let by_hand = matches!(last.trigger, Trigger::Manual | Trigger::Backfill)
            || self.retries.is_by_hand(run);
        self.decide(last.job, last.scheduled_for, ended, end.ended_at, by_hand)
    }

    fn decide(
        &self,
        job: JobId,
        scheduled_for: Timestamp,
        ended: Ended,
        ended_at: Timestamp,
        by_hand: bool,
    ) -> Option<Retry> {
        let random = spread(job, scheduled_for, ended.attempt);
        let delay = self.jobs.get(job)?.policy.retry.next_attempt(ended, random)?;
        Some(Retry {
            job,
            scheduled_for,
            attempt: ended.attempt.saturating_add(1),
            at: ended_at.plus(delay),
            by_hand,
            after_crash: ended.outcome == Outcome::Crashed,
        })
    }

    /// Looks at failed attempts an earlier scheduler may not have got to, and then moves the mark
    /// that says which those are. False if that has to be done again.
    pub(super) fn look_again(&mut self) -> bool {
        let Some(Ok(found)) = txn::run("looking for failed runs", attempts::unfollowed) else {
            return false;
        };
        for one in found {
            let retry =
                self.decide(one.job, one.scheduled_for, one.ended, one.ended_at, one.by_hand);
            if let Some(retry) = retry {
                self.records.decided().push(retry);
            }
        }
        if !self.records.decided().write(self.oid) {
            return false;
        }
        let oldest = self.oldest_run();
        let marked = txn::run("counting runs", || {
            state::catch_up(oldest)?;
            request::forget_answered()
        });
        matches!(marked, Some(Ok(())))
    }

    /// Makes retries known to the engine that have been written since.
    pub(super) fn take_retries(&mut self) {
        for (retry, run) in std::mem::take(&mut self.records.decided().written) {
            let occurrence = Occurrence {
                job: retry.job,
                scheduled_for: retry.scheduled_for,
                trigger: Trigger::Retry,
                attempt: retry.attempt,
                run: Some(run),
            };
            self.take_request(Request {
                occurrence,
                not_before: Some(retry.at),
                by: None,
                command: None,
                http: None,
                by_hand: retry.by_hand,
                after_crash: retry.after_crash,
                taken_back: None,
            });
        }
    }

    /// Takes a run somebody asked for.
    pub(super) fn take_request(&mut self, request: Request) {
        let occurrence = request.occurrence;
        let Some(run) = occurrence.run else { return };
        if self.records.is_answered(run) {
            return;
        }
        let known = self.requests.contains(&run);
        if self.jobs.get(occurrence.job).is_none() {
            // The job came after the jobs were read: it is read next, and this request with it.
            return;
        }
        let waits = || self.asked.is_in_the_way(&occurrence) || self.waits_for_its_job(&request);
        if request.taken_back.is_none() && (known || waits()) {
            return;
        }
        let (by_hand, claim) = (request.by_hand, request.after_crash);
        // It was a request when its run was claimed.
        let http = request.http.as_deref().and_then(|json| HttpJob::read(json).ok()).map(Box::new);
        let command = request.command;
        let special = Special { job: occurrence.job, command, http, by_hand, claim };
        if !known && (special.command.is_some() || by_hand || claim) {
            self.retries.special.insert(run, special);
        }
        if let Some(reason) = request.taken_back {
            self.take_back(run, occurrence, request.by, reason);
            return;
        }
        let goes_on = self.currents().any(|current| current.run == run);
        if goes_on {
            self.asked.note(run, request.by);
            self.requests.insert(run); // handed out by an earlier scheduler, and under way
            return;
        }
        let taken = match request.not_before {
            Some(at) => self.enqueue_at(occurrence, at),
            None => self.engine.enqueue(occurrence),
        };
        if taken {
            if occurrence.trigger == Trigger::Retry && !by_hand {
                settle(&mut self.engine, &occurrence, Settled::WillRetry);
            }
            self.asked.note(run, request.by);
            self.requests.insert(run);
        } else {
            pgrx::log!("pg_tock: run {run} of job {} is not needed any more", occurrence.job);
            self.retries.forget(run);
            self.records.answered(run);
        }
    }

    /// A retry nobody has asked for waits while its job is switched off: it is taken when the job
    /// has been switched on, and is read.
    fn waits_for_its_job(&self, request: &Request) -> bool {
        let job = request.occurrence.job;
        request.by.is_none() && !(guc::launch_active_jobs() && self.is_active(job))
    }

    fn is_active(&self, job: JobId) -> bool {
        self.jobs.get(job).is_some_and(|job| job.active)
    }

    /// Adds an occurrence that becomes ready at `at`. False if its job is unknown.
    fn enqueue_at(&mut self, occurrence: Occurrence, at: Timestamp) -> bool {
        let (Some(run), true) = (occurrence.run, self.jobs.get(occurrence.job).is_some()) else {
            return false;
        };
        self.retries.waiting.insert((at, run), occurrence);
        true
    }

    /// Hands retries to the engine whose time has come.
    pub(super) fn release_retries(&mut self, now: Timestamp) {
        while let Some((&(at, run), &occurrence)) = self.retries.waiting.first_key_value()
            && at <= now
        {
            self.retries.waiting.remove(&(at, run));
            if !(guc::launch_active_jobs() && self.is_active(occurrence.job)) {
                // Its request is there, and read again when the job is switched on.
                self.requests.remove(&run);
                self.retries.forget(run);
            } else if !self.engine.enqueue(occurrence) {
                self.requests.remove(&run);
                self.retries.forget(run);
                self.records.answered(run);
            }
        }
    }

    /// A job is gone, and what was asked of it.
    pub(super) fn forget_requests(&mut self, job: JobId) {
        let requests = &mut self.requests;
        self.retries.special.retain(|_, special| special.job != job);
        self.retries.waiting.retain(|(_, run), occurrence| {
            let stays = occurrence.job != job;
            if !stays {
                requests.remove(run);
            }
            stays
        });
    }
}
