//! Runs that go on for more than a second: people are to see them in the ledger.
//!
//! Invariant: what the row says of the run's effects holds if it dies now.

use pg_tock_core::engine::ExecutorId;
use pg_tock_core::run::Guarantee;
use pg_tock_core::time::Timestamp;

use super::Scheduler;
use super::records::Records;
use super::rows::Written;
use super::runs::{UNRECORDED, running_row};
use crate::catalog::run::RunRow;
use crate::shmem::slots::Phase;

impl Scheduler {
    /// Gives every run that goes on for more than a second its `running` row.
    pub(super) fn record_long_runs(&mut self, now: Timestamp) {
        let mut rows: Vec<(ExecutorId, RunRow)> = Vec::new();
        for (id, executor) in &mut self.executors {
            if !executor.wants_row(now) {
                let undecided = executor.is_undecided();
                if let Some(current) = &mut executor.current {
                    let later = undecided.then_some(now.plus(UNRECORDED));
                    current.record_at =
                        current.record_at.and_then(|at| if at > now { Some(at) } else { later });
                }
                continue;
            }
            let begun = executor.slot.current();
            let Some(current) = &mut executor.current else { continue };
            current.record_at = None;
            let Some(begun) = begun.filter(|begun| begun.run == current.run) else { continue };
            if executor.slot.advance(Phase::Unrecorded, Phase::Recording) {
                let pid = Some(executor.slot.pid());
                let mut row = running_row(current, pid, begun.started_at);
                if executor.slot.progress.is_whole() {
                    row.guarantee = Guarantee::ExactlyOnce; // should it die now, nothing has happened
                }
                rows.push((*id, row));
            }
        }
        if rows.is_empty() {
            return;
        }
        let written = Records::write_some(rows.iter().map(|(_, row)| row)) == Written::Done;
        let next = if written { Phase::Recorded } else { Phase::Unrecorded };
        for (id, _) in rows {
            let Some(executor) = self.executors.get_mut(&id) else { continue };
            executor.slot.advance(Phase::Recording, next);
            if let Some(current) = executor.current.as_mut().filter(|_| !written) {
                current.record_at = Some(now.plus(UNRECORDED));
            }
        }
    }
}
