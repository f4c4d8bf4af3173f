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
use pg_tock_core::run::{Origin, Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::Scheduler;
use super::company::settle;
use super::jobs::Job;
use super::place::is_misplaced;
use super::pool::Current;
use super::runs::End;
use crate::catalog::attempts::{self, Retry, Unfollowed};
use crate::catalog::http::HttpJob;
use crate::catalog::request::{self, Place, Request};
use crate::guc;
use crate::pg::{time, txn};

/// What a run that was asked for has of its own.
#[derive(Debug)]
pub(super) struct Special {
    /// The command to run, where that is not the job's.
    pub(super) command: Option<CString>,
    /// The request to send, where that is not the job's.
    http: Option<Box<HttpJob>>,
    /// The role and the database it was asked for.
    place: Option<Place>,
    /// What its occurrence is to its job.
    origin: Origin,
    /// It is claimed before it begins: an attempt before it crashed, or it may have.
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

    /// What the occurrence of a run is to its job.
    pub(super) fn origin(&self, run: RunId, occurrence: &Occurrence) -> Origin {
        let asked = || self.special.get(&run).map(|special| special.origin);
        occurrence.trigger.origin().or_else(asked).unwrap_or_default()
    }

    /// Whether a run has to be claimed before it begins.
    pub(super) fn claims(&self, run: Option<RunId>) -> bool {
        run.and_then(|run| self.special.get(&run)).is_some_and(|special| special.claim)
    }

    /// The job as a run has it, which may have a command or a request of its own. Those come with the role
    /// and the database they were asked for, so that no row shows them as another one's.
    pub(super) fn as_asked(&self, run: Option<RunId>, job: Rc<Job>) -> Rc<Job> {
        let Some(special) = run.and_then(|run| self.special.get(&run)) else { return job };
        match &special.command {
            Some(command) => {
                let place = special.place.clone().unwrap_or_else(|| job.place());
                Rc::new(job.with_command(command, special.http.as_deref(), place))
            }
            None => job,
        }
    }

    /// Whether a run, if it was asked for, was so for the role and the database its job has.
    pub(super) fn fits(&self, run: RunId, job: &Job) -> bool {
        self.special.get(&run).is_none_or(|special| match &special.place {
            Some(place) => job.is_at(place),
            None => special.command.is_none(),
        })
    }

    /// Notes what is special about a run that was asked for.
    fn note(&mut self, run: RunId, request: &Request) {
        let (origin, claim) = (request.origin, request.after_crash);
        let command = request.command.clone();
        // It was a request when its run was claimed.
        let http = request.http.as_deref().and_then(|json| HttpJob::read(json).ok()).map(Box::new);
        let place = request.place.clone();
        self.special.insert(run, Special { command, http, place, origin, claim });
    }

    /// A run is over.
    pub(super) fn forget(&mut self, run: RunId) {
        self.special.remove(&run);
    }

    /// What waits of a job is taken anew.
    pub(super) fn forget_waiting(&mut self, job: JobId) {
        self.waiting.retain(|_, occurrence| occurrence.job != job);
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
    pub(super) fn next_attempt(&self, current: &Current, end: &End) -> Option<Retry> {
        let (run, last) = (current.run, &current.occurrence);
        if is_misplaced(end) {
            return None;
        }
        let ended = Ended {
            outcome: end.outcome,
            sqlstate: end.sqlstate,
            guarantee: end.guarantee,
            attempt: last.attempt,
            transient: end.http.as_ref().map(|answer| answer.transient),
            retry_after: end.http.as_ref().and_then(|answer| answer.retry_after),
        };
        let place = match current.job.username.is_empty() {
            false => current.job.place(),
            // An earlier scheduler handed it out, and knew.
            true => self.jobs.get(last.job)?.place(),
        };
        self.decide(Unfollowed {
            job: last.job,
            run,
            scheduled_for: last.scheduled_for,
            ended,
            ended_at: end.ended_at,
            origin: self.retries.origin(run, last),
            place,
        })
    }

    fn decide(&self, failed: Unfollowed) -> Option<Retry> {
        let Unfollowed { job, run, scheduled_for, ended, ended_at, origin, place } = failed;
        let random = spread(job, scheduled_for, ended.attempt);
        let delay = self.jobs.get(job)?.policy.retry.next_attempt(ended, random)?;
        Some(Retry {
            job,
            after: run,
            scheduled_for,
            attempt: ended.attempt.saturating_add(1),
            at: ended_at.plus(delay),
            origin,
            after_crash: ended.outcome == Outcome::Crashed,
            place,
        })
    }

    /// Looks at failed attempts an earlier scheduler may not have got to, and then moves the mark
    /// that says which those are. False if that has to be done again.
    pub(super) fn look_again(&mut self) -> bool {
        let Some(Ok(found)) = txn::run("looking for failed runs", attempts::unfollowed) else {
            return false;
        };
        for one in found {
            if let Some(retry) = self.decide(one) {
                if retry.origin.is_instant() {
                    self.engine.settled(retry.job, retry.scheduled_for, Settled::WillRetry);
                }
                self.records.decided().push(retry);
            }
        }
        if !self.records.write_decided() {
            return false;
        }
        let kept = self.records.decided().keep_all();
        let done = txn::run("answering requests", || request::forget_answered(kept));
        let Some(Ok(successes)) = done else { return false };
        for success in successes {
            self.note_success(success, time::now());
            if success.origin.is_instant() {
                self.engine.settled(success.job, success.at, Settled::Succeeded);
            }
        }
        self.begin_to_catch_up();
        true
    }

    /// Makes known to the engine which retries have been written since, and which are not to be: nobody
    /// waits for those any longer.
    pub(super) fn take_retries(&mut self) {
        for (retry, succeeded) in self.records.decided().take_over() {
            if retry.origin.is_instant() {
                let how = if succeeded { Settled::Succeeded } else { Settled::FailedForGood };
                self.engine.settled(retry.job, retry.scheduled_for, how);
            }
            if retry.origin.moves_window() && self.engine.next_due(retry.job).is_none() {
                self.note_if_over(retry.job);
            }
        }
        for (retry, run) in self.records.decided().take_written() {
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
                origin: retry.origin,
                after_crash: retry.after_crash,
                taken_back: None,
                force: false,
                alert: None,
                place: Some(retry.place),
                misplaced: false, // it is looked at again before it begins
            });
        }
    }

    /// Takes a run somebody asked for.
    pub(super) fn take_request(&mut self, mut request: Request) {
        // It may have begun, and brought the server down before it had a row. With a claim that is not
        // forgotten, so it happens once more at the most.
        let occurrence = request.occurrence;
        request.after_crash |=
            occurrence.run.is_some_and(|run| run.0 <= self.database.claim_up_to());
        let Some(run) = occurrence.run else { return };
        if self.records.is_answered(run) {
            return;
        }
        let job = occurrence.job;
        let known = self.requests.contains(job, run);
        // Handed out by an earlier scheduler, and under way.
        let goes_on = !known && self.has_run(run);
        if !known && !goes_on && self.waits_for_its_job(&request) {
            return;
        }
        let in_the_way = || known || !goes_on && self.asked.is_in_the_way(&occurrence);
        if !request.ends() && in_the_way() {
            return;
        }
        if !known {
            self.retries.note(run, &request);
            self.alerts.note_call(&request);
        }
        if goes_on {
            self.asked.note(run, request.by.clone());
            self.requests.insert(job, run);
        }
        if let Some(reason) = request.taken_back {
            self.take_back(run, occurrence, request.by, reason);
            return;
        }
        if goes_on {
            return;
        }
        if request.misplaced {
            if !self.has_run(run) {
                self.end_misplaced(run, occurrence, request.by);
            }
            return;
        }
        // Such a one is not asked for while the job is off.
        let manual =
            matches!(occurrence.trigger, Trigger::Manual | Trigger::Startup) && !request.force;
        if let Some(job) = self.jobs.get(job).filter(|job| manual && !job.active).map(Rc::clone) {
            return self.give_up(request, &job, time::now());
        }
        let taken = match request.not_before {
            Some(at) => self.enqueue_at(occurrence, at),
            None => self.engine.enqueue(occurrence),
        };
        if taken {
            if occurrence.trigger == Trigger::Retry {
                settle(&mut self.engine, &occurrence, request.origin, Settled::WillRetry);
            }
            self.asked.note(run, request.by);
            self.requests.insert(job, run);
        } else {
            pgrx::log!("pg_tock: run {run} of job {job} is not needed any more");
            self.retries.forget(run);
            self.records.answered(job, run);
        }
    }

    /// The run of a request is about to be recorded as ended, without the engine.
    pub(super) fn begin_to_answer(&mut self, run: RunId, request: &Request) {
        self.retries.note(run, request);
        self.requests.insert(request.occurrence.job, run);
    }

    /// A request stays where it is while its job cannot be run, or no job is to be run; a retry nobody
    /// has asked for, also while its job is switched off. It is taken when that has changed.
    fn waits_for_its_job(&self, request: &Request) -> bool {
        let job = request.occurrence.job;
        // One of an earlier start may have to make way.
        let starts = request.occurrence.trigger == Trigger::Startup && self.start_up_at.is_some();
        let rests = starts
            || !guc::launch_active_jobs()
            || request.outlasts_its_job() && !self.is_active(job);
        self.jobs.get(job).is_none() || self.unknown.contains(&job) || !request.ends() && rests
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
            if self.is_taken_back(run) {
                continue;
            }
            if !(guc::launch_active_jobs() && self.is_active(occurrence.job)) {
                // Its request is there, and read again when the job is switched on.
                self.requests.remove(occurrence.job, run);
                self.retries.forget(run);
            } else if !self.engine.enqueue(occurrence) {
                self.requests.remove(occurrence.job, run);
                self.retries.forget(run);
                self.records.answered(occurrence.job, run);
            }
        }
    }
}
