//! Writing the ledger's rows that are the scheduler's to write.
//!
//! Owns two invariants: a row that cannot be written keeps no other from being written; and however many
//! wait, a turn writes few of them, so that decisions are never far off.

use crate::catalog::run::{self, RunRow};
use crate::pg::{lock, txn};

use super::records::Records;

/// Rows written in one turn.
const AT_ONCE: usize = 256;
/// Transactions in one turn, should one of them be in the way of the others.
const PARTS: u32 = 16;
/// How often a row is tried again, and how many that failed before are tried in one turn.
const MOST_TRIES: u32 = 20;
const RETRIED: usize = 4;

/// Rows, and how often each could not be written.
type Part = Vec<(RunRow, u32)>;

impl Records {
    /// Writes rows of the ledger, as many as fit in a turn; `more` says whether to go on at once. True
    /// when none is left.
    pub(super) fn write_ledger(&mut self) -> bool {
        self.more = false;
        let mut parts: Vec<Part> = Vec::new();
        let again = self.rows.iter().take(RETRIED).take_while(|(_, tries)| *tries > 0).count();
        let fresh = self.rows.iter().skip(again).take(AT_ONCE);
        let fresh = fresh.take_while(|(_, tries)| *tries == 0).count();
        // Those that were in the way before go alone, and last: the end of `parts` comes first.
        let retried: Part = self.rows.drain(..again).collect();
        parts.extend(retried.into_iter().map(|row| vec![row]));
        parts.push(self.rows.drain(..fresh).collect());
        let mut left = PARTS;
        let mut locked = false;
        while let Some(part) = parts.pop() {
            if locked || left == 0 {
                self.put_back(part);
                continue;
            }
            left -= 1;
            locked = !self.write_part(part, &mut parts);
        }
        self.more = !locked && self.rows.front().is_some_and(|(_, tries)| *tries == 0);
        self.rows.is_empty()
    }

    /// Writes some rows in one transaction. If one of them is in the way, halves of them become `parts`,
    /// until it stands alone and waits for another try. False if the ledger is locked.
    fn write_part(&mut self, mut part: Part, parts: &mut Vec<Part>) -> bool {
        if part.is_empty() {
            return true;
        }
        match Self::write_some(part.iter().map(|(row, _)| row)) {
            Some(true) => return true,
            Some(false) => {
                self.put_back(part);
                return false;
            }
            None => {}
        }
        if part.len() > 1 {
            let second = part.split_off(part.len() / 2);
            parts.extend([second, part]);
            return true;
        }
        for (row, tries) in part {
            if tries < MOST_TRIES {
                self.rows.push_back((row, tries + 1));
            } else {
                pgrx::log!("pg_tock: the row of run {} cannot be written and is given up", row.run);
            }
        }
        true
    }

    /// Puts rows back where they were taken from.
    fn put_back(&mut self, part: Part) {
        for row in part.into_iter().rev() {
            self.rows.push_front(row);
        }
    }

    /// Writes rows in one transaction, unless the ledger is locked. `Some(false)`: the ledger is locked; None: an ERROR.
    pub(super) fn write_some<'a>(rows: impl Iterator<Item = &'a RunRow>) -> Option<bool> {
        let written = txn::run("writing the ledger", || {
            let Some(ledger) = run::ledger()? else { return Ok(false) };
            if !lock::try_lock_table(ledger) {
                return Ok(false);
            }
            run::write(rows).map(|()| true)
        });
        match written {
            Some(Ok::<bool, pgrx::spi::Error>(written)) => Some(written),
            _ => None,
        }
    }
}
