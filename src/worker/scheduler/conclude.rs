//! Ends of runs whose rows the scheduler writes: those in other databases, and those of executors
//! that are gone.
//!
//! Invariant: what the executor left in its slot stays there until the row is committed, so a
//! scheduler that dies in between loses nothing; the next one adopts the slot and reads it there.
//! Until then the run counts as running: like a local run, it waits for a locked ledger.

use std::rc::Rc;

use pg_tock_core::engine::ExecutorId;
use pg_tock_core::run::{Condition, Guarantee, Outcome};
use pg_tock_core::time::Timestamp;
use pg_tock_core::wire::RunReport;

use super::pool::Current;
use super::records::Records;
use super::rows::Written;
use super::runs::{End, final_row};
use super::watch;
use super::{LOCK_RETRY, Scheduler};
use crate::exec::condition::CONDITION;
use crate::guc;
use crate::pg::shutdown;
use crate::shmem::slots::{Phase, Slot, State};

/// The end of a run whose row is not written yet.
#[derive(Debug)]
pub(crate) struct Told {
    end: End,
    /// When to try to write it.
    pub(crate) retry_at: Timestamp,
}

impl Scheduler {
    /// A run has ended. If its row is still to be written, `conclude` does that.
    pub(super) fn told(&mut self, id: ExecutorId, mut end: End, now: Timestamp) {
        if let Some(holds_ended) = end.held {
            self.put_off(id, holds_ended, now);
            return;
        }
        if end.condition == Condition::Unmet {
            self.unmet(id, now);
            return;
        }
        if self.was_asked(id, &end, now) {
            return;
        }
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if let Some(current) = executor.current.as_ref().filter(|_| end.cause.is_some()) {
            end.reason = executor.slot.cancel.reason(current.run);
        }
        if executor.current.as_ref().is_some_and(|current| !current.dry) && !end.recorded {
            executor.told = Some(Told { end, retry_at: now });
        } else {
            self.over(id, end, now);
        }
    }

    /// Writes the rows of runs that have ended, in one transaction, and then lets go of them. While
    /// the ledger is locked they wait where they are.
    pub(super) fn conclude(&mut self, now: Timestamp) {
        let due = |told: &Told| told.retry_at <= now;
        let ids: Vec<ExecutorId> = self
            .executors
            .values()
            .filter(|executor| executor.told.as_ref().is_some_and(due))
            .map(|executor| executor.id)
            .collect();
        let rows: Vec<_> = ids
            .iter()
            .filter_map(|id| {
                let executor = self.executors.get(id)?;
                let (current, told) = (executor.current.as_ref()?, executor.told.as_ref()?);
                let mine = [0, self.extension].contains(&current.extension);
                let pid = executor.slot.pid();
                let mut row = final_row(current, pid, told.end.clone());
                if let Some(job) = self.jobs.get(row.job).filter(|_| executor.is_adopted()) {
                    // an earlier scheduler knew, and did not leave it in the slot
                    let job = self.retries.as_asked(Some(row.run), Rc::clone(job));
                    row.database = job.database.as_ref().to_owned();
                    row.username = job.username.as_ref().to_owned();
                    row.command.clone_from(&job.command);
                    row.jobname.clone_from(&job.name);
                }
                mine.then_some(row)
            })
            .collect();
        if ids.is_empty() || !self.installed && self.read_at.is_some() {
            return self.wait(&ids, now);
        }
        let wanted = self.installed && guc::log_run() && !rows.is_empty();
        // A row that raises an ERROR gets its further tries from memory.
        let written = if wanted { Records::write_some(rows.iter()) } else { Written::Done };
        if written == Written::LedgerLocked {
            return self.wait(&ids, now);
        }
        for id in ids {
            let told = self.executors.get_mut(&id).and_then(|executor| executor.told.take());
            if let Some(Told { mut end, .. }) = told {
                end.recorded = written == Written::Done;
                self.over(id, end, now);
            }
        }
    }

    fn wait(&mut self, ids: &[ExecutorId], now: Timestamp) {
        for id in ids {
            let told = self.executors.get_mut(id).and_then(|executor| executor.told.as_mut());
            if let Some(told) = told {
                told.retry_at = now.plus(LOCK_RETRY);
            }
        }
    }

    /// The run is over and its row is written, or not to be written.
    fn over(&mut self, id: ExecutorId, end: End, now: Timestamp) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if executor.slot.state() != State::Exited {
            self.finished(id, end, now);
            return;
        }
        if let Some(current) = executor.current.take() {
            let pid = executor.slot.pid();
            self.account(&current, pid, end, now);
        }
        self.free(id, now);
    }
}

/// How the run of an executor that is gone ended: as it says in its slot, or as its last words let
/// us guess.
pub(super) fn last_will(
    slot: &Slot,
    current: &Current,
    started_at: Timestamp,
    now: Timestamp,
) -> End {
    let words = slot.last_words();
    let mut end = End {
        guarantee: Guarantee::AtMostOnce,
        reaches_outside: slot.reached_outside(),
        started_at,
        ..End::not_begun(Outcome::Crashed, "executor ended unexpectedly".to_owned(), now)
    };
    if let Some(left) = slot.left() {
        let (sqlstate, message) = words.unwrap_or((*b"00000", String::new()));
        (end.outcome, end.cause) = (left.outcome, left.cause);
        end.again = left.outcome == Outcome::Succeeded && slot.wants_again();
        end.guarantee = left.guarantee;
        end.logged = true;
        end.ended_at = left.ended_at;
        (end.row_count, end.usage) = (left.row_count, left.usage);
        end.sqlstate = Some(sqlstate).filter(|code| code != b"00000");
        end.message = message;
        end.reason = stopped(end.outcome);
        return end;
    }
    if slot.has_committed() {
        // It was ended between its last commit and its report. A row it has settled is there.
        end.outcome = Outcome::Succeeded;
        end.again = slot.wants_again();
        end.message = "command completed".to_owned();
        return end;
    }
    end.reason = Some(b"executor ended".to_vec());
    let whole = slot.phase() != Phase::Recorded || slot.progress.is_whole();
    if current.local && whole && !end.reaches_outside {
        end.guarantee = Guarantee::ExactlyOnce;
    }
    if let Some((sqlstate, message)) = words {
        end.outcome = match &sqlstate {
            b"57P01" => Outcome::Cancelled,
            // transaction_timeout, which from 17 on ends the session
            b"25P04" => Outcome::Timeout,
            _ => Outcome::Failed,
        };
        end.message = format!("FATAL:  {message}\n");
        end.sqlstate = Some(sqlstate);
    }
    if let Some(cause) = slot.cancel.cause(current.run) {
        end.cause = Some(cause);
        end.outcome = cause.outcome();
        end.message = watch::terminated_message(cause);
    } else if end.sqlstate.is_none_or(|code| &code == b"57P01") {
        return end.unless_stopped();
    }
    end
}

/// A report as an end; None if it cannot be read.
pub(super) fn end_of(bytes: &[u8]) -> Option<End> {
    let report = match RunReport::decode(bytes) {
        Ok(report) => report,
        Err(error) => {
            pgrx::log!("pg_tock: a report cannot be read: {error}");
            return None;
        }
    };
    Some(End {
        outcome: report.outcome,
        guarantee: report.guarantee,
        recorded: report.recorded,
        held: report.held,
        condition: report.condition,
        again: report.again,
        reaches_outside: report.reaches_outside,
        started_at: report.started_at,
        ended_at: report.ended_at,
        row_count: report.row_count,
        usage: report.usage,
        sqlstate: report.sqlstate,
        message: report.message.to_owned(),
        error: report.error_json.map(str::to_owned),
        cause: report.cause,
        reason: match report.condition {
            Condition::Failed => Some(CONDITION.as_bytes().to_vec()),
            _ => stopped(report.outcome),
        },
        logged: true,
        http: None,
    })
}

/// Why a run crashed whose executor lived to say so: the server stops.
fn stopped(outcome: Outcome) -> Option<Vec<u8>> {
    (outcome == Outcome::Crashed).then(|| shutdown::WORDS.as_bytes().to_vec())
}
