//! Sessions that wait for runs: what they ask for, and what they are told.
//!
//! Invariant: a session that waits is told of an end exactly when there will be no other: its request
//! is answered, its job is gone, or its dry run is over. A dry run nobody waits for any more does not
//! begin, and never runs as anything else.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Instant;

use pg_tock_core::cancel::{Cause, DROPPED};
use pg_tock_core::engine::Occurrence;
use pg_tock_core::run::{Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use serde_json::{Value, json};

use super::LOCK_RETRY;
use super::Scheduler;
use super::asked::SwitchedOff;
use super::jobs::Job;
use super::pool::Current;
use super::runs::End;
use crate::catalog::request::{self, Request};
use crate::catalog::run_now;
use crate::pg::{letter, txn};
use crate::shmem::asks::{self, Ask, State, Wanted};

impl Scheduler {
    /// Takes over those who have asked an earlier scheduler.
    pub(super) fn adopt_asks(&mut self) {
        // Those that go on may have to be handed over anew, and are dry runs then, too.
        let dry = self.currents().filter(|current| current.dry);
        let dry: Vec<_> = dry.map(|current| (current.run, current.occurrence.job)).collect();
        for (run, job) in dry {
            let mut asks = asks::of_scheduler(self.oid);
            let ask = asks.find(|ask| ask.run() == Some(run) && ask.state() != State::Withdrawn);
            let nobody = Wanted::by_nobody(job);
            self.asked.dry_run(run, &ask.map_or(nobody, Ask::wanted));
        }
        for ask in asks::of_scheduler(self.oid) {
            let wanted = ask.wanted();
            // A dry run that goes on ends with its executor; one that waited has to be asked for anew.
            let goes_on = ask.run().is_some_and(|run| self.has_run(run));
            if ask.state() == State::Waiting && wanted.dry.is_some() && !goes_on {
                ask.advance(State::Waiting, State::Asked);
            }
            ask.advance(State::Taken, State::Asked);
        }
        self.database.somebody_asks();
    }

    /// Whether an executor has a run.
    pub(super) fn has_run(&self, run: RunId) -> bool {
        self.currents().any(|current| current.run == run)
    }

    /// The runs, dry ones aside, for which sessions wait.
    pub(super) fn awaited_runs(&self) -> HashSet<RunId> {
        let waiting = |ask: &&Ask| ask.state() == State::Waiting && ask.wanted().dry.is_none();
        asks::of_scheduler(self.oid).filter(waiting).filter_map(Ask::run).collect()
    }

    /// All requests have been read since sessions waited for those `awaited`: whoever waits for one that was not
    /// there waits for nothing.
    pub(super) fn settle_asks(&self, awaited: &HashSet<RunId>, there: &HashSet<RunId>) {
        asks::tell(self.oid, State::Ended, |ask| {
            let Some(run) = ask.run().filter(|run| awaited.contains(run)) else { return false };
            let wanted = ask.wanted();
            let known = there.contains(&run)
                || self.requests.contains(wanted.job, run)
                || self.records.is_answered(run);
            wanted.dry.is_none() && !known && !self.has_run(run)
        });
    }

    /// Answers those who ask, and hears of those who do not wait any longer.
    pub(super) fn answer_asks(&mut self, now: Timestamp) {
        if !self.installed || !self.database.take_asked() {
            return;
        }
        for ask in asks::of_scheduler(self.oid) {
            match ask.state() {
                State::Asked if ask.advance(State::Asked, State::Taken) => self.answer(ask, now),
                State::Withdrawn => self.withdraw(ask),
                _ => {}
            }
        }
    }

    fn answer(&mut self, ask: &Ask, now: Timestamp) {
        let to = match self.begin_asked(ask, now) {
            Some(true) => State::Waiting,
            Some(false) => State::Gone,
            None => State::Refused,
        };
        if !ask.advance(State::Taken, to) {
            self.withdraw(ask);
        } else if to != State::Waiting {
            ask.wake();
        }
    }

    /// Brings what is asked for under way. False if its job is gone, None if it could not be written.
    fn begin_asked(&mut self, ask: &Ask, now: Timestamp) -> Option<bool> {
        let wanted = ask.wanted();
        let run = match ask.run() {
            Some(run) => run,
            None => {
                self.records.provide_ids(1, now);
                let run = self.records.next_id()?;
                ask.set_run(run);
                run
            }
        };
        if wanted.dry.is_some() {
            // Two sessions may have asked at the same instant.
            let Some(scheduled_for) = self.engine.free_instant(wanted.job, wanted.scheduled_for)
            else {
                return Some(false);
            };
            self.asked.dry_run(run, &wanted);
            let occurrence = Occurrence {
                job: wanted.job,
                scheduled_for,
                trigger: Trigger::Manual,
                attempt: 1,
                run: Some(run),
            };
            let there = self.engine.enqueue(occurrence);
            if !there {
                self.asked.dry_run_over(run);
            }
            return Some(there);
        }
        // News of the job bring it to the engine, as if the session had written it.
        txn::run("writing a request", || run_now::put(run, &wanted))?.ok()
    }

    /// Nobody waits any more. A real run that was asked for goes on, a dry run does not.
    fn withdraw(&mut self, ask: &Ask) {
        if let Some(run) = ask.run().filter(|_| ask.wanted().dry.is_some()) {
            self.asked.withdraw(run);
            let runs = self.executors.values().filter(|executor| {
                executor.current.as_ref().is_some_and(|current| current.run == run)
            });
            let ids: Vec<_> = runs.map(|executor| executor.id).collect();
            for id in ids {
                self.cancel(id, Cause::Requested);
            }
            self.http.want_end(run, &[]);
        }
        ask.release();
    }

    /// A run is over, and its row is written.
    pub(super) fn tell_waiters(&self, run: RunId) {
        asks::tell(self.oid, State::Ended, |ask| ask.run() == Some(run));
    }

    /// A dry run is over. False if it was none.
    pub(super) fn dry_run_over(&mut self, current: &Current, end: &End) -> bool {
        if !current.dry {
            return false;
        }
        let mut asks = asks::of_scheduler(self.oid);
        // An earlier scheduler may have been asked.
        let ask = asks.find(|ask| ask.run() == Some(current.run) && ask.state() == State::Waiting);
        let segment = self.asked.dry_run_over(current.run);
        let segment = segment.or_else(|| ask.and_then(|ask| ask.wanted().dry));
        if let Some(segment) = segment.filter(|_| !end.recorded) {
            // Its executor has not said what it came to, or it was a request.
            letter::write(segment, &answer(end).to_string());
        }
        asks::tell(self.oid, State::Ended, |ask| ask.run() == Some(current.run));
        true
    }

    /// A job is gone, and with it what was asked of it.
    pub(super) fn nobody_waits_for(&mut self, job: JobId) {
        // Nothing may become a real run that is on its way still.
        let due = self.http.due.iter().filter_map(|(_, occurrence, _)| occurrence.run);
        let going = self.currents().map(|current| current.run).chain(due).collect();
        self.asked.gone(job, &going);
        asks::tell(self.oid, State::Gone, |ask| ask.wanted().job == job);
    }

    /// Jobs have been switched off, which empties their queues: runs that were asked for and have not
    /// begun are over. Some at a time. Dry runs are none of the job's.
    pub(super) fn give_up_requests(&mut self, now: Timestamp) {
        let since = Instant::now();
        let mut looked_at = 0;
        for (id, SwitchedOff { waited, is_all }) in self.asked.take_switched_off(now) {
            let Some(job) = self.jobs.get(id).map(Rc::clone) else { continue };
            self.ask_dry_runs_again(|of| of == id);
            if waited.is_empty() {
                continue;
            }
            let runs: Vec<i64> = waited.iter().map(|run| run.0).collect();
            let read = txn::run("reading requests", || request::of_runs(&runs));
            let Some(Ok(requests)) = read else {
                self.asked.switched_off(id, waited);
                self.asked.look_later(now.plus(LOCK_RETRY));
                continue;
            };
            looked_at += runs.len();
            // Those that outlast it wait.
            for request in requests.into_iter().filter(|request| !request.outlasts_its_job()) {
                self.give_up(request, &job, now);
            }
            if job.active && is_all {
                self.database.changes.push(id.0);
            }
        }
        self.asked.portion.done(looked_at, since.elapsed());
    }

    /// Ends a run before it begins.
    pub(super) fn give_up(&mut self, request: Request, job: &Rc<Job>, now: Timestamp) {
        let Some(run) = request.occurrence.run else { return };
        if self.records.is_answered(run) {
            return;
        }
        self.begin_to_answer(run, &request);
        let job = self.retries.as_asked(Some(run), Rc::clone(job));
        let mut current = Current::unstarted(request.occurrence, run, job, self.extension, now);
        current.requested_by = request.by;
        self.account(&current, 0, never_begun(now), now);
    }

    /// Dry runs of these jobs that have not begun are asked for anew.
    pub(super) fn ask_dry_runs_again(&self, jobs: impl Fn(JobId) -> bool) {
        for ask in asks::of_scheduler(self.oid) {
            let wanted = ask.wanted();
            let waits = ask.state() == State::Waiting && wanted.dry.is_some() && jobs(wanted.job);
            if waits && !ask.run().is_some_and(|run| self.has_run(run)) {
                ask.advance(State::Waiting, State::Asked);
                self.database.somebody_asks();
            }
        }
    }
}

/// What a dry run came to, where the scheduler has to say so.
fn answer(end: &End) -> Value {
    let status = match end.outcome {
        Outcome::Succeeded => "succeeded",
        _ => "failed",
    };
    #[allow(clippy::cast_precision_loss, reason = "milliseconds for people")]
    let duration = end.ended_at.since(end.started_at) as f64 / 1_000.0;
    let error = end.sqlstate.map(|code| {
        let code: String = code.iter().map(|&byte| char::from(byte)).collect();
        json!({"message": end.message, "sqlstate": code})
    });
    let seen = end.http.as_deref().and_then(|http| http.details.as_ref());
    let seen = |key: &str| seen.and_then(|seen| seen.get(key));
    json!({
        "status": status,
        "return_message": end.message,
        "duration_ms": duration,
        "error": error,
        "request": seen("request"),
        "addresses": seen("addresses"),
    })
}

/// The end of a run whose job was switched off before it could begin.
fn never_begun(now: Timestamp) -> End {
    End {
        cause: Some(Cause::Dropped),
        reason: Some(DROPPED.as_bytes().to_vec()),
        ..End::not_begun(Outcome::Cancelled, "job canceled".to_owned(), now)
    }
}
