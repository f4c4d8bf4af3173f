//! The executors of one scheduler: their processes, queues and slots.

use std::ffi::CString;
use std::rc::Rc;

use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::time::{RunId, Timestamp};

use super::Scheduler;
use super::conclude::Told;
use super::jobs::Job;
use super::watch::Watched;
use crate::pg::bgw::{Handle, Life};
use crate::pg::mq::Detached;
use crate::pg::queues::{self, Queues};
use crate::pg::settings;
use crate::shmem::databases::{self, Database};
use crate::shmem::roster;
use crate::shmem::slots::{self, Assignment, Phase, Slot, State};
use crate::worker::executor::{QUEUE, worker};

/// Worker slots that are never executors': the launcher's, and that of logical replication.
pub(super) const NOT_OURS: usize = 2;

/// From so many worker slots on, keepers that have something to do are counted among those who take
/// one.
const ROOM_FOR_ALL: usize = 8;

/// How long an executor an earlier scheduler asked for may take to arrive.
const ARRIVAL: i64 = 10 * Timestamp::SECOND;

/// A run an executor has.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) occurrence: Occurrence,
    pub(crate) run: RunId,
    pub(crate) job: Rc<Job>,
    pub(crate) handed_at: Timestamp,
    /// Its row had to be there before it began.
    pub(crate) claim: bool,
    /// Whether the executor writes the row itself.
    pub(crate) local: bool,
    /// When to look whether the run needs a `running` row; None when it has one.
    pub(crate) record_at: Option<Timestamp>,
    /// The extension this run belongs to: one that was dropped and created again is another.
    pub(crate) extension: u32,
    /// Who asked for it.
    pub(crate) requested_by: Option<CString>,
    /// What is done about it while it lasts.
    pub(crate) watched: Watched,
    /// It is rolled back, and leaves nothing.
    pub(crate) dry: bool,
    /// It only asks the condition of an HTTP job, whose request is sent then.
    pub(crate) asks: bool,
}

impl Current {
    /// A run that no executor has.
    pub(crate) fn unstarted(
        occurrence: Occurrence,
        run: RunId,
        job: Rc<Job>,
        extension: u32,
        now: Timestamp,
    ) -> Self {
        Self {
            occurrence,
            run,
            job,
            handed_at: now,
            claim: false,
            local: false,
            record_at: None,
            extension,
            requested_by: None,
            watched: Watched::default(),
            dry: false,
            asks: false,
        }
    }
}

/// One executor.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) id: ExecutorId,
    pub(crate) key: PoolKey,
    pub(crate) slot: &'static Slot,
    pub(crate) ready: bool,
    pub(crate) current: Option<Current>,
    /// How that run ended, if the scheduler has to write its row and has not done so yet.
    pub(crate) told: Option<Told>,
    /// When to give it up, if no process has arrived by then.
    pub(crate) give_up_at: Option<Timestamp>,
    link: Option<Link>,
    /// The order that did not fit into the queue yet.
    unsent: Option<Vec<u8>>,
}

/// What ties an executor to the scheduler that started it; one of an earlier scheduler has none.
#[derive(Debug)]
struct Link {
    queues: Queues,
    handle: Handle,
}

impl Executor {
    /// Starts one; None when no worker slot is free.
    pub(crate) fn start(scheduler: u32, ledger: u32, key: PoolKey) -> Option<Self> {
        let made = queues::make(QUEUE)?;
        let dsm = made.handle();
        let assignment =
            Assignment { scheduler, ledger, database: key.database, role: key.role, dsm };
        let reserved = slots::reserve(assignment);
        let started = reserved.and_then(|(index, slot)| match worker(index, slot.life()).start() {
            Some(handle) => Some((index, slot, handle)),
            None => {
                slot.free();
                None
            }
        });
        let Some((index, slot, handle)) = started else {
            made.discard();
            return None;
        };
        let queues = made.attach(Some(&handle));
        let link = Link { handle, queues };
        Some(Self {
            id: ExecutorId(index),
            key,
            slot,
            ready: false,
            current: None,
            told: None,
            give_up_at: None,
            link: Some(link),
            unsent: None,
        })
    }

    /// One an earlier scheduler has left, in the middle of a run.
    pub(crate) fn adopt(
        index: u32,
        slot: &'static Slot,
        current: Option<Current>,
        now: Timestamp,
    ) -> Self {
        let key = PoolKey { database: slot.database(), role: slot.role() };
        let id = ExecutorId(index);
        let give_up_at = (slot.state() == State::Starting).then_some(now.plus(ARRIVAL));
        Self {
            id,
            key,
            slot,
            ready: true,
            current,
            told: None,
            give_up_at,
            link: None,
            unsent: None,
        }
    }

    /// Whether its process has ended, or never began.
    pub(crate) fn is_gone(&mut self, now: Timestamp) -> bool {
        if self.slot.state() == State::Exited {
            return true;
        }
        if self.give_up_at.is_some_and(|at| at <= now) {
            let starting = self.slot.state() == State::Starting;
            if starting && self.slot.give_up() {
                return true;
            }
            self.give_up_at = starting.then_some(now.plus(ARRIVAL));
        }
        let lost = self.link.as_ref().is_some_and(|link| link.handle.life() == Life::Stopped);
        if lost {
            self.slot.exited(self.slot.reached_outside());
        }
        lost
    }

    /// Whether it has become ready since the last call.
    pub(crate) fn has_become_ready(&mut self) -> bool {
        if self.ready || self.slot.state() != State::Ready {
            return false;
        }
        self.ready = true;
        true
    }

    /// Gives it an order, or as much of it as fits.
    pub(crate) fn send(&mut self, order: Vec<u8>) -> Result<(), Detached> {
        self.unsent = Some(order);
        self.send_rest()
    }

    /// Sends what did not fit.
    pub(crate) fn send_rest(&mut self) -> Result<(), Detached> {
        let (Some(order), Some(link)) = (&self.unsent, &mut self.link) else { return Ok(()) };
        if link.queues.orders.try_send(order)? {
            self.unsent = None;
        }
        Ok(())
    }

    /// Its next report, if there is one.
    pub(crate) fn receive(&mut self) -> Result<Option<&[u8]>, Detached> {
        match &mut self.link {
            Some(link) => link.queues.reports.try_receive(),
            None => Ok(None),
        }
    }

    /// Whether an earlier scheduler started it.
    pub(crate) const fn is_adopted(&self) -> bool {
        self.link.is_none()
    }

    /// The next instant at which something has to be done about its run.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        if let Some(told) = &self.told {
            return Some(told.retry_at);
        }
        let current = self.current.as_ref();
        let record_at = current.and_then(|current| current.record_at);
        [record_at, self.give_up_at].into_iter().flatten().min()
    }

    /// Whether the run has no row, and one should be written.
    pub(crate) fn wants_row(&self, now: Timestamp) -> bool {
        let Some(current) = &self.current else { return false };
        current.record_at.is_some_and(|at| at <= now)
            && (!current.local || self.slot.phase() == Phase::Unrecorded && self.slot.is_at_work())
    }

    /// Whether its run may come to want a row later: the order is still to be read, the run may be put back,
    /// or there may be no run at all.
    pub(crate) fn is_undecided(&self) -> bool {
        let last = self.slot.last_begun();
        let begun = self.current.as_ref().is_some_and(|current| current.run == last);
        !(begun && self.slot.is_at_work()) || self.slot.phase() == Phase::Asking
    }
}

impl Scheduler {
    /// The lowest id among the runs that go on.
    pub(super) fn oldest_run(&self) -> Option<RunId> {
        self.currents().map(|current| current.run).min()
    }

    /// The runs that go on.
    pub(super) fn currents(&self) -> impl Iterator<Item = &Current> {
        let executors = self.executors.values().filter_map(|executor| executor.current.as_ref());
        executors.chain(self.http.currents())
    }

    /// Does what the engine asks for: another executor of a key.
    pub(super) fn start_executor(&mut self, key: PoolKey, now: Timestamp) {
        if key.database == 0 {
            // No process can say it: the database does not exist. Taken for an executor that
            // could not start.
            let nobody = ExecutorId(ExecutorId::MAX);
            self.refusals.insert(key, (*b"3D000", String::new()));
            self.engine.executor_starting(key, nobody, now);
            self.engine.executor_start_failed(nobody, now);
            return;
        }
        match Executor::start(self.oid, self.ledger, key) {
            Some(executor) => {
                self.engine.executor_starting(key, executor.id, now);
                self.executors.insert(executor.id, executor);
            }
            None => {
                self.make_keeper_leave(now);
                self.engine.executor_refused(key, now);
            }
        }
        self.count_slots();
    }

    /// An executor is gone and nothing of it is left to record.
    pub(super) fn free(&mut self, id: ExecutorId, now: Timestamp) {
        self.engine.executor_gone(id, now);
        if let Some(executor) = self.executors.remove(&id) {
            executor.slot.free();
        }
        self.count_slots();
    }

    /// Tells the engine how many worker slots its executors may take: all but what others have of
    /// them. Whatever else the server starts is found out when a slot is refused.
    pub(super) fn count_slots(&mut self) {
        let all = usize::try_from(settings::max_worker_processes()).unwrap_or(0);
        let schedulers = databases::all().filter(|database| database.pid() > 0).count();
        // One is kept free for a keeper that has something to do.
        let keeps = |database: &&Database| database.keeper.is_there() || database.keeper.has_work();
        let keepers = if all < ROOM_FOR_ALL { 0 } else { databases::all().filter(keeps).count() };
        let taken = NOT_OURS + schedulers + keepers + roster::of_others(self.oid);
        let slots = u32::try_from(all.saturating_sub(taken).max(1)).unwrap_or(u32::MAX);
        if std::mem::replace(&mut self.slots, slots) != slots {
            self.engine.set_slots(slots);
        }
    }
}
