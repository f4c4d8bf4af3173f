//! The way to the HTTP worker: starting it, and the queues to and from it.
//!
//! Invariant: an order is in the queue as a whole, or still here, or the queues are gone; its slot
//! says which.

use std::collections::VecDeque;

use pg_tock_core::time::Timestamp;

use crate::pg::bgw::{Handle, Life};
use crate::pg::queues::{self, Queues};
use crate::shmem::databases::Database;
use crate::shmem::http::{self, HttpSlot, Phase};
use crate::worker::http::{QUEUE, WORKER};

/// How long to wait before a worker that could not be started is tried again.
const PATIENCE: i64 = Timestamp::SECOND;

/// Most reports taken in one turn.
const BATCH: usize = 512;

/// The queues to the worker, and what is needed to have them.
#[derive(Debug, Default)]
pub(crate) struct HttpLink {
    queues: Option<Queues>,
    /// Which queues they are, counted from 1, and whether the worker has taken them.
    number: u32,
    attached: bool,
    /// Orders that are not in the queue as a whole.
    unsent: VecDeque<(&'static HttpSlot, Vec<u8>)>,
    /// The worker, while this process starts it, and how many there had been before.
    starting: Option<(Handle, u32)>,
    /// Somebody needs the worker.
    wanted: bool,
    retry_at: Option<Timestamp>,
    complained: bool,
    /// There may be more reports than were taken.
    more: bool,
}

impl HttpLink {
    /// There is something to send, or to hear.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// Which queues orders go through now.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Whether these queues are the present ones.
    pub(super) const fn is_present(&self, number: u32) -> bool {
        self.queues.is_some() && number == self.number
    }

    /// Whether the worker has taken the present queues since this was asked last. Whatever was in
    /// earlier ones it has taken, or never will.
    pub(super) fn has_become_present(&mut self, database: &Database) -> bool {
        let attached = self.queues.is_some() && database.http.is_attached();
        !std::mem::replace(&mut self.attached, attached) && attached
    }

    /// When to try to start the worker again.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let more = self.more.then_some(Timestamp(i64::MIN));
        more.or(self.retry_at.filter(|_| self.wanted))
    }

    /// Whether orders may be claimed: the worker lives, and has or will have the queues.
    pub(super) fn is_up(&mut self, database: &Database, now: Timestamp) -> bool {
        self.wanted = true;
        self.connect(database, now);
        self.queues.is_some() && http::worker_pid() > 0
    }

    /// Takes reports. True if the queues are gone, and the worker or its knowledge of them.
    pub(super) fn look_after(
        &mut self,
        database: &Database,
        now: Timestamp,
        reports: &mut Vec<Vec<u8>>,
    ) -> bool {
        let mut lost = false;
        self.more = false;
        if let Some(queues) = &mut self.queues {
            while reports.len() < BATCH {
                match queues.reports.try_receive() {
                    Ok(Some(bytes)) => reports.push(bytes.to_vec()),
                    Ok(None) => {
                        lost = database.http.is_withdrawn();
                        break;
                    }
                    Err(_) => {
                        lost = true;
                        break;
                    }
                }
            }
        }
        self.more = reports.len() >= BATCH;
        if lost {
            self.queues = None;
            self.unsent.clear();
            database.http.withdraw();
        }
        if self.wanted && self.queues.is_none() {
            self.connect(database, now);
        }
        lost
    }

    /// An order to send.
    pub(super) fn push(&mut self, slot: &'static HttpSlot, order: Vec<u8>) {
        self.unsent.push_back((slot, order));
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self, database: &Database) {
        let Some(queues) = &mut self.queues else { return };
        while let Some((slot, order)) = self.unsent.front() {
            match queues.orders.try_send(order) {
                Ok(true) => {
                    slot.advance(Phase::Handed, Phase::Queued);
                    self.unsent.pop_front();
                }
                Ok(false) => return,
                Err(_) => {
                    // What becomes of them is decided when the reports are through.
                    database.http.withdraw();
                    return;
                }
            }
        }
    }

    /// Makes queues, and the worker if there is none.
    fn connect(&mut self, database: &Database, now: Timestamp) {
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        if !self.has_worker() {
            self.retry_at = Some(now.plus(PATIENCE));
            return;
        }
        if self.queues.is_none() && http::worker_pid() > 0 {
            let Some(made) = queues::make(QUEUE) else {
                self.retry_at = Some(now.plus(PATIENCE));
                return;
            };
            let dsm = made.handle();
            self.queues = Some(made.attach(None));
            self.number = self.number.wrapping_add(1).max(1);
            self.attached = false;
            self.wanted = false;
            database.http.offer(dsm);
        }
    }

    /// Sees to it that there is a worker, or will be.
    fn has_worker(&mut self) -> bool {
        if let Some((worker, before)) = &self.starting {
            if http::life() != *before {
                self.starting = None; // it has come
            } else if worker.life() == Life::Stopped {
                self.starting = None;
                http::start_failed();
                return false;
            }
        }
        if !http::may_start() {
            return true;
        }
        let before = http::life();
        self.starting = WORKER.start().map(|worker| (worker, before));
        if self.starting.is_some() {
            self.complained = false;
            return true;
        }
        http::start_failed();
        if !std::mem::replace(&mut self.complained, true) {
            pgrx::warning!(
                "pg_tock: no worker slot is free for HTTP requests; increase max_worker_processes"
            );
        }
        false
    }
}

impl Drop for HttpLink {
    /// A worker that has not begun by now must not keep others from starting one.
    fn drop(&mut self) {
        if self.starting.as_ref().is_some_and(|(_, before)| http::life() == *before) {
            http::start_failed();
        }
    }
}
