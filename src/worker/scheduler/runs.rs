//! Handing out runs, and what becomes of them.

use std::rc::Rc;

use pg_tock_core::cancel::{Cause, DROPPED, REPLACED};
use pg_tock_core::engine::{Action, ExecutorId, Occurrence, Settled};
use pg_tock_core::message::Failure;
use pg_tock_core::run::{Condition, Guarantee, Outcome, Overlap, Trigger};
use pg_tock_core::time::{JobId, Timestamp};
use pg_tock_core::usage::Usage;
use pg_tock_core::wire::RunOrder;

use super::Scheduler;
use super::company::settle;
use super::conclude::{end_of, last_will};
use super::jobs::Job;
use super::pool::Current;
use super::records::Records;
use super::rows::Claim;
use super::watch::{self, Watched};
use crate::catalog::http::HttpAnswer;
use crate::catalog::run::RunRow;
use crate::catalog::state::{Skip, Success};
use crate::guc;
use crate::pg::text::{ServerText, for_message};
use crate::pg::{log, time, txn};
use crate::shmem::slots::Phase;

/// How long a local run goes on without a row.
pub(super) const UNRECORDED: i64 = Timestamp::SECOND;

/// How a run ended, from whatever told it.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) guarantee: Guarantee,
    pub(super) recorded: bool,
    /// The run did not begin: its job is held.
    pub(super) held: Option<u64>,
    /// What became of the job's condition. If it was not met, the run did not begin.
    pub(super) condition: Condition,
    /// The run wants to be followed by another one.
    pub(super) again: bool,
    pub(super) reaches_outside: bool,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) row_count: Option<i64>,
    /// What it used of the server.
    pub(super) usage: Usage,
    pub(super) sqlstate: Option<[u8; 5]>,
    pub(super) message: String,
    pub(super) error: Option<String>,
    /// Why it was made to end, if it was.
    pub(super) cause: Option<Cause>,
    /// In the database's encoding.
    pub(super) reason: Option<Vec<u8>>,
    /// The server log has a line for it already.
    pub(super) logged: bool,
    /// What came of the request of an HTTP run.
    pub(super) http: Option<Box<HttpAnswer>>,
}

impl End {
    /// The end of a run that never began: it had no effects, and took no time.
    pub(super) fn not_begun(outcome: Outcome, message: String, now: Timestamp) -> Self {
        Self {
            outcome,
            guarantee: Guarantee::ExactlyOnce,
            recorded: false,
            held: None,
            condition: Condition::Met,
            again: false,
            reaches_outside: false,
            started_at: now,
            ended_at: now,
            row_count: None,
            usage: Usage::default(),
            sqlstate: None,
            message,
            error: None,
            cause: None,
            reason: None,
            logged: false,
            http: None,
        }
    }
}

impl Scheduler {
    /// Takes reports, notices executors that come and go, repeats what was not heard.
    pub(super) fn look_after_executors(&mut self) {
        let now = time::now();
        let mut ids = std::mem::take(&mut self.ids);
        ids.extend(self.executors.keys().copied());
        for id in ids.drain(..) {
            self.look_after(id, now);
        }
        self.ids = ids;
    }

    fn look_after(&mut self, id: ExecutorId, now: Timestamp) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if executor.told.is_some() {
            return; // `conclude` goes on with it
        }
        if !executor.ready {
            if executor.has_become_ready() {
                let key = executor.key;
                self.cut_off.remove(&key);
                self.engine.executor_ready(id, now);
            } else if executor.is_gone(now) {
                self.start_failed(id, now);
            }
            return;
        }
        let lost = executor.send_rest().is_err();
        let (received, lost) = match executor.receive() {
            Ok(Some(bytes)) => {
                let end = end_of(bytes);
                (end, lost)
            }
            Ok(None) => (None, lost),
            Err(_) => (None, true),
        };
        if let Some(end) = received {
            self.told(id, end, now);
            return;
        }
        let adopted_and_gone = executor.is_adopted() && executor.is_gone(now);
        if (lost || adopted_and_gone) && executor.is_gone(now) {
            self.buried(id, now);
            return;
        }
        let Some(current) = &mut executor.current else { return };
        watch::look(current, executor.slot);
        if let Some(stuck) = current.watched.take_sign() {
            let (job, run) = (current.occurrence.job, current.run);
            self.alerts.heard(job, run, stuck, now);
        }
    }

    /// A run ended and its executor lives on.
    pub(super) fn finished(&mut self, id: ExecutorId, end: End, now: Timestamp) {
        self.engine.observe_run(id, end.ended_at.since(end.started_at));
        self.engine.run_finished(id, now);
        let Some(executor) = self.executors.get_mut(&id) else { return };
        // The slot has kept the report until now.
        executor.slot.advance(Phase::Reported, Phase::Done);
        let Some(current) = executor.current.take() else { return };
        let pid = executor.slot.pid();
        self.account(&current, pid, end, now);
    }

    /// Counts a run, and writes its row unless that has been done.
    pub(super) fn account(&mut self, current: &Current, pid: i32, end: End, now: Timestamp) {
        if self.dry_run_over(current, &end) {
            return;
        }
        if ![0, self.extension].contains(&current.extension) || !self.installed {
            return; // the ledger this run belongs to has been dropped
        }
        let retry = self.next_attempt(current, &end);
        let last = current.occurrence;
        let origin = self.retries.origin(current.run, &last);
        let over = match last.trigger {
            Trigger::Retry => origin.moves_window() && self.engine.next_due(last.job).is_none(),
            _ => last.is_nominal(),
        };
        let will_retry = retry.is_some();
        if let Some(retry) = retry {
            self.records.decided().push(retry);
        } else if over {
            self.note_if_over(last.job);
        }
        if end.outcome == Outcome::Succeeded {
            self.note_success(Success { job: last.job, at: last.scheduled_for, origin }, now);
        }
        self.note_end(current, &end, will_retry, !origin.moves_window(), now);
        self.asked.forget(current);
        if self.requests.remove(current.occurrence.job, current.run) {
            self.retries.forget(current.run);
            self.records.answered(last.job, current.run);
        } else if current.occurrence.trigger == Trigger::Manual {
            // Its row was there before its request was read: nothing else will be said of it.
            self.tell_waiters(current.run);
        }
        let succeeded = end.outcome == Outcome::Succeeded;
        if !succeeded {
            log_failure(current, &end);
        }
        let how = match (succeeded, will_retry) {
            (true, _) => Settled::Succeeded,
            (false, true) => Settled::WillRetry,
            (false, false) => Settled::FailedForGood,
        };
        settle(&mut self.engine, &last, origin, how);
        if self.jobs.get(current.occurrence.job).is_some() {
            if end.reaches_outside && self.outside.insert(current.occurrence.job) {
                self.records.outside(current.occurrence.job, now);
            }
            self.tally(current, &end, now);
        }
        if end.again {
            self.engine.follow(&current.occurrence, now);
        }
        if !end.recorded {
            self.records.row(final_row(current, pid, end));
        }
    }

    /// Switches a job off whose only instant has been.
    pub(super) fn note_if_over(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        if let Some(schedule) = job.once() {
            self.records.over(id, schedule);
        }
    }

    /// An executor's process is gone. If it had a run, the run died with it, unless it has left
    /// word how it ended.
    fn buried(&mut self, id: ExecutorId, now: Timestamp) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        let settled = executor.slot.current().is_none();
        let begun = executor.slot.last_begun();
        let nothing = settled && executor.slot.came_to_nothing();
        if let Some(mut current) =
            executor.current.take_if(|current| nothing || current.run != begun)
        {
            // It left before the order reached it, or before it could say that nothing came of it: the run
            // has not begun, another does it.
            current.watched.hear(current.run, &executor.slot.cancel);
            self.try_again(&current);
            self.free(id, now);
            return;
        }
        let Some(current) = &executor.current else {
            self.free(id, now);
            return;
        };
        let same = executor.slot.current().is_some_and(|run| run.run == current.run);
        let begun = executor.slot.current().map(|run| run.started_at);
        let started_at = begun.filter(|_| same).unwrap_or(current.handed_at);
        let mut end = last_will(executor.slot, current, started_at, now);
        // Settled and gone before it could say so: the row is there, and stays as it is.
        end.recorded = settled && current.local && executor.is_adopted();
        self.told(id, end, now);
    }

    /// Does what the engine has decided.
    pub(super) fn act(&mut self, now: Timestamp) {
        let mut actions = std::mem::take(&mut self.actions);
        let needs_id = |action: &&Action| match action {
            Action::Run { occurrence, .. }
            | Action::Send { occurrence, .. }
            | Action::Fail { occurrence, .. } => occurrence.run.is_none(),
            _ => false,
        };
        let needed = actions.iter().filter(needs_id).count();
        if needed > 0 {
            self.stats_pending = true;
            self.records.provide_ids(needed, now);
        }
        for action in actions.drain(..) {
            match action {
                Action::Run { executor, occurrence, claim } => {
                    self.hand_over(executor, occurrence, claim, now);
                }
                Action::Send { executor, occurrence, claim, .. } => {
                    self.http.decided(executor, occurrence, claim);
                }
                Action::StartExecutor { key } => self.start_executor(key, now),
                Action::Retire { executor } => self.retire(executor),
                Action::Cancel { executor, cause, .. } => self.cancel(executor, cause),
                Action::Fail { occurrence, key } => self.fail(occurrence, key, now),
                Action::Skipped { job, reason, first, last, count, extends } => {
                    self.asked.skipped(job);
                    self.records.skip(job, Skip { reason, first, last, count, extends }, now);
                    self.note_if_over(job);
                }
                Action::ClockBack { to } => self.clock_was_set_back(to),
            }
        }
        self.actions = actions;
    }

    fn retire(&mut self, id: ExecutorId) {
        if let Some(executor) = self.executors.get(&id) {
            executor.slot.ask_to_retire();
        }
    }

    pub(super) fn cancel(&mut self, id: ExecutorId, cause: Cause) {
        let Some(executor) = self.executors.get_mut(&id) else {
            return self.cancel_http(id, cause, time::now());
        };
        if let Some(current) = &mut executor.current {
            let reason = match cause {
                Cause::Replaced => REPLACED,
                _ => DROPPED,
            };
            current.watched.want_end(cause, reason.as_bytes().to_vec());
            watch::look(current, executor.slot);
        }
    }

    /// Hands a run to an idle executor.
    fn hand_over(&mut self, id: ExecutorId, occurrence: Occurrence, claim: bool, now: Timestamp) {
        let Some(job) = self.jobs.get(occurrence.job).map(Rc::clone) else {
            self.engine.run_finished(id, now);
            return;
        };
        if occurrence.run.is_some_and(|run| self.is_taken_back(run)) {
            self.engine.run_finished(id, now);
            return;
        }
        let Some(dry_run) = self.asked.segment(&occurrence) else {
            self.engine.run_finished(id, now);
            return;
        };
        if !self.is_in_place(id, &occurrence, claim, &job, now) {
            return;
        }
        let job = self.retries.as_asked(occurrence.run, job);
        let claim = claim || self.retries.claims(occurrence.run);
        let dry = dry_run.is_some();
        let asks = job.http.is_some();
        if asks && dry {
            return self.send_instead(id, occurrence, claim, now); // it does not ask
        }
        // A condition can bring the server down, too: a claim has to be there before it is asked.
        let early = claim && job.policy.run_if.is_some();
        let home = job.key.database == self.oid;
        let local = home && guc::log_run() && !dry && !asks && !early;
        if self.is_held(&occurrence, local) {
            self.engine.hold(job.id);
            self.not_begun(id, occurrence, claim, now);
            return;
        }
        let Some(run) = occurrence.run.or_else(|| self.records.next_id()) else {
            pgrx::debug1!("pg_tock: no run id could be drawn for job {}, trying again", job.id);
            return self.not_now(id, occurrence, claim, now);
        };
        // Without a ledger only the cursor tells that this has begun, or that nobody asks any more.
        let told = occurrence.is_nominal() || occurrence.run.is_some();
        if !guc::log_run() && told && !asks && !Records::pass(occurrence) {
            return self.not_now(id, occurrence, claim, now);
        }
        if !guc::log_run() && claim {
            txn::flush(); // that is all the claim there is
        }
        let current = Current {
            occurrence,
            run,
            job: Rc::clone(&job),
            handed_at: now,
            claim,
            local,
            record_at: local.then_some(now.plus(UNRECORDED)),
            extension: self.extension,
            requested_by: self.asked.by(run),
            watched: Watched::new(job.policy.timeout, job.policy.stuck_after),
            dry,
            asks,
        };
        let flush_lsn = if local || dry || asks && !early || !guc::log_run() {
            0
        } else {
            let pid = self.executors.get(&id).map(|executor| executor.slot.pid());
            match Records::claim(&running_row(&current, pid, now)) {
                Claim::Written(lsn) => lsn,
                Claim::Locked => 0,
                Claim::Failed => return self.not_now(id, occurrence, claim, now),
                Claim::Duplicate => return self.ran_already(id, &current, now),
            }
        };
        // Runs that overlap are for no window of data of their own.
        let shares = job.policy.overlap == Overlap::Allow;
        let window = self.jobs.window(job.id, occurrence.scheduled_for);
        let alert = self.alerts.call_of(&occurrence);
        let order = RunOrder {
            run,
            job: job.id,
            scheduled_for: occurrence.scheduled_for,
            attempt: occurrence.attempt,
            trigger: occurrence.trigger,
            local,
            claim_first: claim,
            reaches_outside: self.outside.contains(&job.id),
            flush_lsn,
            shares_lock: shares,
            fresh: job.policy.fresh,
            window: window.filter(|_| !shares),
            dry_run,
            only_asks: asks,
            requested_by: current.requested_by.as_deref(),
            alert: alert.as_deref(),
            run_if: job.policy.run_if.as_deref(),
            timeout: job.policy.timeout,
            stuck_after: job.policy.stuck_after,
            ends_stuck: job.policy.ends_stuck,
            settings: job.settings.as_deref(),
            job_name: job.name.as_deref(),
            command: &job.command,
        };
        let mut bytes = std::mem::take(&mut self.order);
        bytes.clear();
        let encoded = order.encode(&mut bytes);
        self.alerts.began(&current, false);
        if let Err(error) = encoded {
            pgrx::log!("pg_tock: job {} cannot be handed over: {error}", job.id);
        }
        let Some(executor) = self.executors.get_mut(&id) else { return };
        executor.current = Some(current);
        // An executor that is gone is noticed, with its run, when it is looked after next.
        let _ = executor.send(bytes);
    }
}

/// A line in the server log for a run that did not succeed, unless its executor has written it.
fn log_failure(current: &Current, end: &End) {
    if end.logged || !guc::alerts::log_failures() {
        return;
    }
    let name = current.job.name.as_deref();
    let name = name.map(|name| ServerText::new(name.to_bytes()).readable());
    let failure = Failure {
        job: current.occurrence.job,
        job_name: name.as_deref(),
        run: current.run,
        outcome: end.outcome,
        sqlstate: end.sqlstate,
        message: &end.message,
    };
    log::from_worker(end.sqlstate.unwrap_or(*b"00000"), &for_message(failure.line()));
}

/// The row of a run that is over.
pub(super) fn final_row(current: &Current, pid: i32, end: End) -> RunRow {
    RunRow {
        message: Some(end.message),
        ended_at: Some(end.ended_at),
        outcome: Some(end.outcome),
        reason: end.reason,
        guarantee: end.guarantee,
        sqlstate: end.sqlstate,
        error: end.error,
        row_count: end.row_count,
        usage: end.usage,
        http: end.http,
        ..running_row(current, Some(pid).filter(|&pid| pid > 0), end.started_at)
    }
}

/// The row of a run under way.
pub(super) fn running_row(current: &Current, pid: Option<i32>, started_at: Timestamp) -> RunRow {
    let job: &Job = &current.job;
    RunRow {
        job: current.occurrence.job,
        run: current.run,
        pid,
        database: job.database.as_ref().to_owned(),
        username: job.username.as_ref().to_owned(),
        command: job.command.clone(),
        jobname: job.name.clone(),
        message: None,
        started_at,
        ended_at: None,
        scheduled_for: current.occurrence.scheduled_for,
        attempt: current.occurrence.attempt,
        trigger: current.occurrence.trigger,
        outcome: None,
        reason: None,
        guarantee: Guarantee::AtMostOnce,
        sqlstate: None,
        error: None,
        row_count: None,
        usage: Usage::default(),
        requested_by: current.requested_by.clone(),
        http: None,
    }
}
