//! One run: claim it where that is needed, execute its text, settle its row in the transaction of
//! its effects, record a failure in one of its own.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use pg_tock_core::cancel::Cause;
use pg_tock_core::message::psql_error;
use pg_tock_core::run::{Condition, Guarantee, Outcome};
use pg_tock_core::time::Timestamp;
use pg_tock_core::usage::Usage;
use pg_tock_core::wire::RunOrder;
use pgrx::pg_sys;

use super::checkpoint;
use super::command::{self, Observer, Progress};
use super::commits;
use super::condition;
use super::context;
use super::dry;
use super::ended::{Ended, Text, cancelled_message, describe, fields, json, outcome_of, status_of};
use super::kind::Kind;
use super::ledger::{self, Row, Write};
use super::libraries;
use super::lock::RunLock;
use super::usage;
use crate::pg::trap::PgError;
use crate::pg::{process, raw, shutdown, time, trap};
use crate::shmem::slots::Phase;

pub(crate) use super::session::{Session, prepare_session};

/// A run under way. Borrowed texts and plain values only: it lives across `longjmp`.
struct Flight<'a> {
    session: &'a Session,
    order: &'a RunOrder<'a>,
    lock: RunLock,
    started_at: Timestamp,
    /// Commits of the session when the run's own transaction began.
    commits_before: u64,
    /// Commits of the session when the final row was written.
    commits_at_settle: u64,
    /// The row as settled is in the transaction, or committed.
    settled: bool,
    /// The run has a `running` row.
    has_row: bool,
    /// The command has effects a rollback does not undo.
    reaches_outside: bool,
    guarantee: Guarantee,
    ended_at: Timestamp,
    message: Text,
    row_count: Option<i64>,
    /// What the process had used when the run began.
    used_before: Usage,
    /// What the run has used, once that is known.
    used: Option<Usage>,
    /// What became of the job's condition.
    condition: Condition,
}

impl Flight<'_> {
    fn row<'r>(&'r self) -> Row<'r> {
        Row {
            jobid: self.order.job.0,
            runid: self.order.run.0,
            job_pid: process::pid(),
            database: &self.session.database,
            username: &self.session.username,
            command: self.order.command,
            status: "running",
            return_message: None,
            start_time: self.started_at,
            end_time: None,
            jobname: self.order.job_name,
            scheduled_for: self.order.scheduled_for,
            attempt: self.order.attempt,
            trigger: self.order.trigger.as_str(),
            outcome: None,
            reason: None,
            guarantee: self.guarantee.as_str(),
            sqlstate: None,
            error: None,
            row_count: None,
            requested_by: self.order.requested_by,
            usage: None,
        }
    }

    /// What the run has used up to now, unless it is known already.
    fn used(&mut self, rows: u64) -> Usage {
        let before = self.used_before;
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        *self.used.get_or_insert_with(|| Usage { rows, ..usage::so_far().since(before) })
    }

    /// How the row has to be written, having made sure that nobody else writes it.
    ///
    /// # Safety
    /// Inside [`trap::catch`].
    unsafe fn take_row(&self) -> Write {
        if self.has_row {
            return Write::Finish;
        }
        let slot = self.session.slot;
        loop {
            match slot.phase() {
                Phase::Unrecorded if slot.advance(Phase::Unrecorded, Phase::Settling) => {
                    return Write::Insert;
                }
                Phase::Recorded => return Write::Finish,
                // the scheduler is writing the row this very moment
                Phase::Unrecorded | Phase::Recording => {
                    // SAFETY: promised by the caller.
                    unsafe {
                        command::check_interrupts();
                        pg_sys::pg_usleep(100);
                    }
                }
                _ => return Write::Insert,
            }
        }
    }

    /// Writes the final row of a success into the open transaction.
    ///
    /// # Safety
    /// Inside [`trap::catch`], in a transaction.
    unsafe fn settle(&mut self, progress: &Progress, alone: bool) {
        // SAFETY: promised by the caller.
        unsafe {
            self.lock.make_sure();
            self.forget_checkpoint();
            let how = self.take_row();
            self.reaches_outside |= libraries::reach_outside();
            self.ended_at = time::now();
            let used = self.used(progress.all_rows);
            self.describe(progress);
            let committed = commits::count() != self.commits_before;
            let apart = committed || self.reaches_outside || alone && progress.statements > 0;
            self.guarantee = if apart { Guarantee::AtMostOnce } else { Guarantee::ExactlyOnce };
            // Nothing of the job's is lost with the row, so its commit need not wait for the disk.
            let wrote = raw::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId;
            if !wrote && !self.reaches_outside {
                pg_sys::synchronous_commit = 0;
            }
            let row = Row {
                status: status_of(Outcome::Succeeded),
                outcome: Some(Outcome::Succeeded.as_str()),
                return_message: Some(self.message.as_bytes()),
                end_time: Some(self.ended_at),
                row_count: self.row_count,
                usage: Some(used),
                ..self.row()
            };
            ledger::write(self.session.ledger, &row, how);
        }
        self.commits_at_settle = commits::count();
        self.settled = true;
    }

    /// What an occurrence that succeeds has no use for any more.
    ///
    /// # Safety
    /// Inside [`trap::catch`], in a transaction.
    unsafe fn forget_checkpoint(&self) {
        if context::may_have_checkpoint(self.order) && self.session.is_home() {
            // SAFETY: promised by the caller.
            unsafe { checkpoint::forget(self.session.ledger, self.order) };
        }
    }

    /// Puts what the last statement returned into words. `String`s made here are gone before the
    /// next call into Postgres.
    fn describe(&mut self, progress: &Progress) {
        let (text, count) = describe(progress);
        self.message = Text::new();
        // Tags are short; one that does not fit stays out.
        let _ = core::fmt::Write::write_str(&mut self.message, &text);
        self.row_count = count;
    }
}

impl Observer for Flight<'_> {
    fn works_apart(&self, kind: Kind) -> bool {
        let flushed = self.order.reaches_outside || self.order.claim_first;
        kind.may_commit || kind.reaches_outside || flushed
    }

    unsafe fn parsed(&mut self, kind: Kind) -> bool {
        self.reaches_outside = kind.reaches_outside || self.order.reaches_outside;
        let flushed = self.reaches_outside || self.order.claim_first;
        let apart = self.works_apart(kind);
        // SAFETY: promised by the caller.
        let taken = unsafe {
            if apart { self.lock.take_for_session() } else { self.lock.take_for_transaction() }
        };
        if !taken {
            return false;
        }
        if self.order.local && !apart {
            self.session.slot.progress.will_be_whole();
        }
        if self.order.local && apart {
            let slot = self.session.slot;
            let before = usage::so_far();
            // SAFETY: no transaction is open; the claim may be lost in a crash of the server, for
            // WAL is ordered: then what the command did is lost too.
            // What it does outside is not, so then the claim goes to disk first.
            unsafe {
                raw::StartTransactionCommand();
                let synchronous_commit = pg_sys::synchronous_commit;
                while slot.phase() == Phase::Recording {
                    // the scheduler is writing the row this very moment
                    command::check_interrupts();
                    pg_sys::pg_usleep(100);
                }
                if slot.advance(Phase::Unrecorded, Phase::Claiming) {
                    let flush = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
                    pg_sys::synchronous_commit =
                        if flushed { synchronous_commit.max(flush.cast_signed()) } else { 0 };
                    self.guarantee = Guarantee::AtMostOnce;
                    ledger::write(self.session.ledger, &self.row(), Write::Insert);
                }
                raw::CommitTransactionCommand();
                pg_sys::synchronous_commit = synchronous_commit;
            }
            slot.advance(Phase::Claiming, Phase::Recorded);
            self.has_row = slot.phase() == Phase::Recorded;
            self.used_before = self.used_before.plus(usage::so_far().since(before));
        }
        self.commits_before = commits::count();
        true
    }

    unsafe fn before_commit(&mut self, progress: &Progress) {
        // SAFETY: promised by the caller.
        unsafe {
            if self.order.local {
                self.settle(progress, false);
            } else {
                self.lock.make_sure();
                self.forget_checkpoint();
                self.used(progress.all_rows);
            }
        }
        commits::next_is_last(true);
    }

    fn before_end_of_block(&mut self) {
        commits::next_is_last(true);
    }

    fn unwanted(&self) -> Option<&'static CStr> {
        self.session.slot.cancel.cause(self.order.run).map(Cause::c_message)
    }
}

/// Does what `order` says.
pub(crate) fn run(session: &Session, order: &RunOrder<'_>) -> Ended {
    if order.dry_run.is_some() {
        return done(session, dry::run(session, order));
    }
    let mut flight = Flight {
        session,
        order,
        lock: RunLock::new(session.slot, order),
        started_at: time::now(),
        commits_before: commits::count(),
        commits_at_settle: 0,
        settled: false,
        has_row: false,
        reaches_outside: false,
        guarantee: Guarantee::AtMostOnce,
        ended_at: Timestamp(0),
        message: Text::new(),
        row_count: None,
        used_before: usage::so_far(),
        used: None,
        condition: Condition::Met,
    };
    commits::next_is_last(false);
    let mut progress = Progress::new();
    let presets = match context::presets(order) {
        Ok(presets) => presets,
        Err(error) => return done(session, failed(flight, &error)),
    };
    // SAFETY: this process's own variables, outside a transaction; nothing with a destructor is
    // used inside `catch`.
    let executed = unsafe {
        let (synchronous_commit, lock_timeout) = (pg_sys::synchronous_commit, pg_sys::LockTimeout);
        raw::MemoryContextReset(pg_sys::MessageContext);
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        pg_sys::QueryCancelPending = 0;
        raw::SetCurrentStatementStartTimestamp();
        let executed = trap::catch(|| {
            context::apply(&presets);
            let begins = !flight.lock.is_taken_back();
            if let Some(condition) = order.run_if.filter(|_| begins) {
                flight.condition = condition::evaluate(condition, session.slot);
            }
            if begins && flight.condition == Condition::Met && !order.only_asks {
                command::execute(order.command, &mut progress, &mut flight);
            }
        });
        pg_sys::synchronous_commit = synchronous_commit;
        pg_sys::LockTimeout = lock_timeout;
        executed
    };
    if session.slot.advance(Phase::Asking, Phase::Unrecorded) {
        flight.condition = Condition::Failed;
    }
    if flight.condition == Condition::Unmet {
        return Ended::unmet(flight.started_at);
    }
    if let (Ok(()), Some(holds_ended)) = (&executed, flight.lock.held()) {
        return Ended::held(flight.started_at, holds_ended);
    }
    if let (Ok(()), Some(cause)) = (&executed, flight.lock.unwanted()) {
        return done(session, Ended::not_begun(flight.started_at, cause));
    }
    // Settled and committed is final, whatever went wrong afterwards (a log line interrupted).
    let committed = commits::count() > flight.commits_at_settle;
    let executed = if flight.settled && committed { Ok(()) } else { executed };
    let executed = executed.and_then(|()| close_transaction());
    let lock = flight.lock;
    let ended = match executed {
        Ok(()) => succeeded(flight, &progress),
        Err(error) => failed(flight, &error),
    };
    lock.give_back();
    done(session, ended)
}

/// The run is over.
fn done(session: &Session, mut ended: Ended) -> Ended {
    ended.again = ended.outcome == Outcome::Succeeded && session.slot.wants_again();
    if ended.recorded {
        session.slot.end();
    }
    ended
}

/// A transaction the command has left open is rolled back and makes the run a failure.
fn close_transaction() -> Result<(), Box<PgError>> {
    // SAFETY: outside `catch`, nothing is running; aborting is allowed in every state.
    unsafe {
        let open = raw::IsTransactionBlock() || raw::IsTransactionState();
        if open {
            raw::AbortOutOfAnyTransaction();
        }
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        if !open {
            return Ok(());
        }
    }
    Err(Box::new(PgError {
        sqlstate: *b"25001",
        message: "command left a transaction open, which has been rolled back".to_owned(),
        hint: Some("End the command with COMMIT, or leave out BEGIN.".to_owned()),
        ..PgError::default()
    }))
}

/// The command did what it had to. Its row may still have to be written: the text ended with an
/// explicit COMMIT, or had no statement.
fn succeeded(mut flight: Flight<'_>, progress: &Progress) -> Ended {
    let mut trouble = None;
    if flight.order.local && !flight.settled {
        // SAFETY: outside a transaction; nothing with a destructor is used inside.
        trouble = unsafe {
            let synchronous_commit = pg_sys::synchronous_commit;
            let settled = trap::catch(|| {
                raw::StartTransactionCommand();
                flight.settle(progress, true);
                raw::CommitTransactionCommand();
            });
            pg_sys::synchronous_commit = synchronous_commit;
            settled
        }
        .err();
    }
    if let Some(error) = trouble {
        pgrx::log!("pg_tock: could not record run {}: {}", flight.order.run, error.message);
        flight.settled = false;
    }
    let (message, row_count) = describe(progress);
    flight.reaches_outside |= libraries::reach_outside();
    Ended {
        outcome: Outcome::Succeeded,
        cause: None,
        guarantee: flight.guarantee,
        recorded: flight.settled,
        held: None,
        condition: flight.condition,
        again: false,
        reaches_outside: flight.reaches_outside,
        started_at: flight.started_at,
        ended_at: if flight.ended_at.0 == 0 { time::now() } else { flight.ended_at },
        row_count,
        usage: flight.used(progress.all_rows),
        sqlstate: None,
        message,
        error_json: None,
    }
}

/// The command failed, or its commit did: its effects are gone, what is left is to say so.
fn failed(mut flight: Flight<'_>, error: &PgError) -> Ended {
    commits::next_is_last(false);
    let asked = flight.order.run_if.filter(|_| flight.condition == Condition::Failed);
    let command = asked.map_or_else(|| flight.order.command.to_string_lossy(), Cow::Borrowed);
    // Noted before the command could hear of it, whatever it made of that.
    let cause = flight.session.slot.cancel.cause(flight.order.run);
    // What helps this process may be told to go before it is: a parallel worker, another session.
    let stopped = cause.is_none() && &error.sqlstate == b"57P01" && shutdown::is_under_way();
    let outcome = match cause {
        _ if stopped => Outcome::Crashed,
        Some(cause) => cause.outcome(),
        None => outcome_of(error),
    };
    flight.reaches_outside |= libraries::reach_outside();
    let committed = commits::count() != flight.commits_before;
    flight.guarantee = if flight.order.local && !committed && !flight.reaches_outside {
        Guarantee::ExactlyOnce
    } else {
        Guarantee::AtMostOnce
    };
    let message = match cause {
        Some(cause) => cancelled_message(cause, error),
        None if stopped => shutdown::WORDS.to_owned(),
        None => psql_error(&fields(error), &command),
    };
    // Measured anew: rows of what is undone do not count.
    flight.used = None;
    let mut ended = Ended {
        outcome,
        cause,
        guarantee: flight.guarantee,
        recorded: false,
        held: None,
        condition: flight.condition,
        again: false,
        reaches_outside: flight.reaches_outside,
        started_at: flight.started_at,
        ended_at: time::now(),
        row_count: None,
        usage: flight.used(0),
        sqlstate: Some(error.sqlstate).filter(|_| !stopped),
        message: message.replace('\0', ""),
        error_json: Some(error).filter(|_| !stopped).map(json),
    };
    if flight.order.local {
        ended.recorded = record_failure(&mut flight, &ended);
    }
    ended
}

/// Writes the row of a failure in a transaction of its own.
fn record_failure(flight: &mut Flight<'_>, ended: &Ended) -> bool {
    let error = ended.error_json.as_deref().and_then(|json| CString::new(json).ok());
    let error = error.as_deref();
    let reason = ended.cause.and_then(|_| flight.session.slot.cancel.reason(flight.order.run));
    let asked = (ended.condition == Condition::Failed).then_some(condition::CONDITION.as_bytes());
    let crashed = ended.outcome == Outcome::Crashed;
    let reason = reason.as_deref().or(asked).or(crashed.then_some(shutdown::WORDS.as_bytes()));
    // SAFETY: outside a transaction; the closure only borrows.
    let recorded = unsafe {
        let synchronous_commit = pg_sys::synchronous_commit;
        let lock_timeout = pg_sys::LockTimeout;
        let recorded = trap::catch(|| {
            // The end of this process may be what the command failed for, and then has the last word.
            pg_sys::QueryCancelPending = 0;
            command::check_interrupts();
            raw::StartTransactionCommand();
            pg_sys::synchronous_commit = 0;
            let how = flight.take_row();
            let row = Row {
                status: status_of(ended.outcome),
                outcome: Some(ended.outcome.as_str()),
                return_message: Some(ended.message.as_bytes()),
                end_time: Some(ended.ended_at),
                reason,
                sqlstate: ended.sqlstate,
                error,
                usage: Some(ended.usage),
                ..flight.row()
            };
            ledger::write(flight.session.ledger, &row, how);
            raw::CommitTransactionCommand();
        });
        pg_sys::synchronous_commit = synchronous_commit;
        pg_sys::LockTimeout = lock_timeout;
        recorded
    };
    if let Err(error) = &recorded {
        pgrx::log!("pg_tock: could not record run {}: {}", flight.order.run, error.message);
    }
    recorded.is_ok()
}
