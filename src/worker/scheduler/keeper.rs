//! Where the scheduler says that there is work for the keeper, and starts one.
//!
//! Invariant: a keeper never has the slot a run waits for. It is started when nobody wants one and
//! another is free, or nothing of this scheduler waits at all; and it goes as soon as an executor
//! is refused a slot.

use pg_tock_core::time::Timestamp;

use super::Scheduler;
use super::pool::NOT_OURS;
use crate::pg::bgw::{Handle, Life};
use crate::pg::settings;
use crate::shmem::databases;
use crate::shmem::keeper::Chore;
use crate::shmem::roster;
use crate::worker::keeper;

/// When the history is pruned for the first time, and how often then.
const FIRST_PRUNE: i64 = 3 * 60 * Timestamp::SECOND;
const PRUNE_EVERY: i64 = 3600 * Timestamp::SECOND;

/// How long to wait before a keeper is started after one could not be, or had to leave.
const PATIENCE: i64 = 5 * Timestamp::SECOND;

/// The keeper this scheduler has started, and what it will be needed for.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    process: Option<Handle>,
    /// No keeper is started before.
    retry_at: Option<Timestamp>,
    /// When the history is to be pruned; None before the first turn.
    prune_at: Option<Timestamp>,
    /// That there is no slot for it was said in the log.
    complained: bool,
}

impl Keeping {
    /// The clock was set back to this instant.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        self.retry_at = self.retry_at.map(|at| at.min(to.plus(PATIENCE)));
        self.prune_at = self.prune_at.map(|at| at.min(to.plus(PRUNE_EVERY)));
    }
}

impl Scheduler {
    /// There is something for the keeper to do. It costs next to nothing to say so again.
    pub(super) fn want_kept(&self, chore: Chore) {
        self.database.keeper.want(chore);
    }

    /// Says what is due, and starts a keeper if one is needed and may be had.
    pub(super) fn look_after_keeper(&mut self, now: Timestamp) {
        if *self.keeper.prune_at.get_or_insert(now.plus(FIRST_PRUNE)) <= now {
            self.keeper.prune_at = Some(now.plus(PRUNE_EVERY));
            self.want_kept(Chore::Prune);
            self.want_kept(Chore::Statistics);
        }
        if self.keeper.process.as_ref().is_some_and(|process| process.life() == Life::Stopped) {
            self.keeper.process = None;
            self.database.keeper.start_failed();
            self.engine.slot_freed(now);
            self.count_slots();
        }
        let wait = self.keeper.retry_at.is_some_and(|at| at > now);
        if wait || !self.database.keeper.has_work() || self.database.keeper.is_there() {
            return;
        }
        self.keeper.retry_at = Some(now.plus(PATIENCE));
        if self.has_room_for_keeper() {
            self.start_keeper();
        }
        self.count_slots();
    }

    /// When there is something to do about it.
    pub(super) fn next_look_at_keeper(&self) -> Option<Timestamp> {
        if !self.installed {
            return None;
        }
        let waits = self.database.keeper.has_work() && !self.database.keeper.is_there();
        let start = waits.then(|| self.keeper.retry_at.unwrap_or(Timestamp(i64::MIN)));
        [start, self.keeper.prune_at].into_iter().flatten().min()
    }

    /// Whether a keeper would have a worker slot that no run wants.
    fn has_room_for_keeper(&self) -> bool {
        let all = usize::try_from(settings::max_worker_processes()).unwrap_or(0);
        let schedulers = databases::all().filter(|database| database.pid() > 0).count();
        let keepers = databases::all().filter(|database| database.keeper.is_there()).count();
        // What else the server has started shows when one is refused.
        let taken = NOT_OURS + schedulers + keepers + roster::in_use();
        let counts = self.engine.counts();
        let wanted = counts.short_of_slots || counts.starting > 0;
        let nothing_waits = counts.waiting == 0;
        match all.saturating_sub(taken) {
            0 => false,
            1 => !wanted && nothing_waits,
            _ => !wanted,
        }
    }

    fn start_keeper(&mut self) {
        if !self.database.keeper.may_start() {
            return;
        }
        self.keeper.process = keeper::worker(self.oid).start();
        if self.keeper.process.is_some() {
            self.keeper.complained = false;
            return;
        }
        self.database.keeper.start_failed();
        if !std::mem::replace(&mut self.keeper.complained, true) {
            pgrx::warning!(
                "pg_tock: no worker slot is free for the keeper; increase max_worker_processes"
            );
        }
    }

    /// A run has been refused a worker slot: a keeper has to do without.
    pub(super) fn make_keeper_leave(&mut self, now: Timestamp) {
        let has_one = |database: &&databases::Database| database.keeper.is_there();
        let own = databases::find(self.oid).filter(has_one);
        if let Some(database) = own.or_else(|| databases::all().find(has_one)) {
            database.keeper.end();
            self.keeper.retry_at = Some(now.plus(PATIENCE));
        }
    }
}
