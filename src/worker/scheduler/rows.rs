//! Writing the ledger's rows that are the scheduler's to write.
//!
//! Owns two invariants: a row that cannot be written keeps no other from being written, and waits for as
//! long as somebody has locked it or the disk is full; and however many wait, a turn writes few of them, so
//! that decisions are never far off.

use std::time::Instant;

use pg_tock_core::engine::Occurrence;
use pg_tock_core::time::Timestamp;

use crate::catalog::request;
use crate::catalog::run::{self, RunRow};
use crate::catalog::state::{self, Reached};
use crate::pg::txn::{self, Failure};
use crate::pg::{lock, time};

use super::LOCK_RETRY;
use super::records::Records;

/// Transactions in one turn, should one of them be in the way of the others.
const PARTS: u32 = 16;
/// How often a row is tried again that raises an ERROR, and how many that failed before are tried in one turn.
const MOST_TRIES: u32 = 20;
const RETRIED: usize = 4;

/// How much text is written in one turn: to compress it takes some milliseconds.
const BYTES: usize = 131_072;

/// A row that waits to be written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) row: RunRow,
    /// How often it could not be written.
    pub(super) tries: u32,
    /// Which row it is of all there have been.
    pub(super) number: u64,
}

type Part = Vec<Waiting>;

/// What became of rows that were to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Somebody has locked the ledger.
    LedgerLocked,
    /// One of the rows cannot be written now: somebody has locked it, or there is no space left for it.
    RowDelayed,
    /// The occurrence of one of them has a row already, of another run.
    Duplicate,
    /// One of them raises an ERROR.
    Failed,
}

/// Whether the row of a run that is about to begin is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// It is; up to where WAL has to be on disk before the run may leave the server.
    Written(u64),
    /// Somebody has locked the ledger: the run begins all the same, and its row comes later.
    Locked,
    /// The occurrence has a row already, of another run: it does not run again.
    Duplicate,
    /// It could not be written, because there is no space left for instance: the run has to wait.
    Failed,
}

impl Records {
    /// Writes rows of the ledger, as many as fit in a turn; `more` says whether to go on at once. True
    /// when none is left but those that are in the way of others.
    pub(super) fn write_ledger(&mut self) -> bool {
        let (since, fresh) = (Instant::now(), self.rows_of_a_turn());
        // The end of `parts` comes first.
        let mut parts: Vec<Part> = vec![self.rows.drain(..fresh).collect()];
        let (mut left, mut locked) = (PARTS, false);
        while left > 0
            && !locked
            && let Some(part) = parts.pop()
        {
            left -= 1;
            locked = !self.write_part(part, &mut parts);
        }
        for part in parts {
            self.put_back(part);
        }
        if !locked {
            self.portion.done(fresh, since.elapsed());
        }
        self.more |= !locked && !self.rows.is_empty();
        self.rows.is_empty()
    }

    /// How many rows to write now: as many as fit in a turn, and no more than one if that is long.
    fn rows_of_a_turn(&self) -> usize {
        let mut bytes = 0;
        let fits = |Waiting { row, .. }: &&Waiting| {
            let first = bytes == 0;
            let said = row.message.as_ref().map_or(0, String::len);
            bytes += 1 + row.command.count_bytes() + said;
            first || bytes <= BYTES
        };
        self.rows.iter().take(self.portion.size()).take_while(fits).count()
    }

    /// Writes some rows in one transaction. If one of them is in the way, halves of them become `parts`,
    /// until it stands alone and is set aside. False if the ledger is locked.
    fn write_part(&mut self, mut part: Part, parts: &mut Vec<Part>) -> bool {
        if part.is_empty() {
            return true;
        }
        match Self::write_some(part.iter().map(|row| &row.row)) {
            Written::Done => {}
            Written::LedgerLocked => {
                parts.push(part);
                return false;
            }
            _ if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
            written => {
                part.into_iter().for_each(|row| self.set_aside(row, written));
            }
        }
        true
    }

    /// Tries those again that were in the way of others, until some of them are so again.
    pub(super) fn write_stuck(&mut self, now: Timestamp) {
        if self.stuck_at.is_none_or(|at| at > now) {
            return;
        }
        let mut failed = 0;
        for _ in 0..self.stuck.len().min(self.portion.size()) {
            if failed == RETRIED {
                break;
            }
            let Some(row) = self.stuck.pop_front() else { break };
            match Self::write_some(core::iter::once(&row.row)) {
                Written::Done => {}
                Written::LedgerLocked => {
                    self.stuck.push_front(row);
                    break;
                }
                written => {
                    failed += 1;
                    self.set_aside(row, written);
                }
            }
        }
        self.stuck_at = (!self.stuck.is_empty()).then(|| time::now().plus(LOCK_RETRY));
    }

    /// A row that is in the way of others waits by itself.
    fn set_aside(&mut self, row: Waiting, written: Written) {
        let tries = row.tries + u32::from(written == Written::Failed);
        if tries > MOST_TRIES || written == Written::Duplicate {
            let run = row.row.run;
            pgrx::log!("pg_tock: the row of run {run} cannot be written and is given up");
            return;
        }
        self.stuck.push_back(Waiting { tries, ..row });
        self.stuck_at.get_or_insert_with(|| time::now().plus(LOCK_RETRY));
    }

    /// Puts rows back where they were taken from.
    fn put_back(&mut self, part: Part) {
        for row in part.into_iter().rev() {
            self.rows.push_front(row);
        }
    }

    /// Writes rows in one transaction: all or none.
    pub(super) fn write_some<'a>(rows: impl Iterator<Item = &'a RunRow>) -> Written {
        let written = txn::attempt("writing the ledger", || {
            let Some(ledger) = run::ledger()? else { return Ok(false) };
            if !lock::try_lock_table(ledger) {
                return Ok(false);
            }
            run::write(rows).map(|()| true)
        });
        match written {
            Ok(Ok::<bool, pgrx::spi::Error>(true)) => Written::Done,
            Ok(Ok(false)) => Written::LedgerLocked,
            Err(Failure::Locked | Failure::Passing) => Written::RowDelayed,
            Err(Failure::Duplicate) => Written::Duplicate,
            Ok(Err(_)) | Err(Failure::Data | Failure::Other) => Written::Failed,
        }
    }

    /// Moves a job's cursor past an occurrence that is about to run, or deletes the request for it. WAL
    /// is ordered: effects of the run are not on disk before this is. False if it could not be written.
    pub(crate) fn pass(occurrence: Occurrence) -> bool {
        let Occurrence { job, scheduled_for, run, .. } = occurrence;
        let cursor = Some(scheduled_for);
        let reached = [Reached { job, cursor, window_start: None, made_good: None }];
        let written =
            txn::run("moving a cursor", || match run.filter(|_| !occurrence.is_nominal()) {
                Some(run) => request::forget(&[run.0], &[]),
                None => state::set_reached(&reached),
            });
        matches!(written, Some(Ok::<(), pgrx::spi::Error>(())))
    }

    /// Writes the row of a run that is about to begin.
    pub(super) fn claim(row: &RunRow) -> Claim {
        let written = txn::attempt("claiming a run", || {
            let Some(ledger) = run::ledger()? else { return Ok(Claim::Failed) };
            if !lock::try_lock_table(ledger) {
                return Ok(Claim::Locked);
            }
            run::write(core::iter::once(row)).map(|()| Claim::Written(0))
        });
        match written {
            Ok(Ok::<_, pgrx::spi::Error>(Claim::Written(_))) => {
                // SAFETY: this process's own variable, set by the commit just made.
                Claim::Written(unsafe { pgrx::pg_sys::XactLastCommitEnd })
            }
            Ok(Ok(claim)) => claim,
            Err(Failure::Duplicate) => Claim::Duplicate,
            _ => Claim::Failed,
        }
    }
}
