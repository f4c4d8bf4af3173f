//! The executors of one scheduler: their processes, queues and slots.

use std::ffi::CString;
use std::rc::Rc;

use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::time::{RunId, Timestamp};
use pgrx::{PgTryBuilder, pg_sys};

use super::Scheduler;
use super::conclude::Told;
use super::jobs::Job;
use super::watch::Watched;
use crate::pg::bgw::{Handle, Life};
use crate::pg::mq::{Detached, Receiver, Sender};
use crate::pg::settings;
use crate::shmem::databases;
use crate::shmem::slots::{self, Assignment, Phase, Slot, State};
use crate::worker::executor::{QUEUE, worker};

/// Worker slots that are never executors': the launcher's, and that of logical replication.
const NOT_OURS: usize = 2;

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
    handle: Handle,
    orders: Sender,
    reports: Receiver,
    segment: *mut pg_sys::dsm_segment,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.orders.detach();
        self.reports.detach();
        // SAFETY: created by `start`, detached once; the queues are not used afterwards.
        unsafe { pg_sys::dsm_detach(self.segment) };
    }
}

impl Executor {
    /// Starts one; None when no worker slot is free.
    pub(crate) fn start(scheduler: u32, ledger: u32, key: PoolKey) -> Option<Self> {
        let (segment, orders, reports) = make_queues()?;
        // SAFETY: just created.
        let dsm = unsafe { pg_sys::dsm_segment_handle(segment) };
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
            // SAFETY: nobody else knows the segment.
            unsafe { pg_sys::dsm_detach(segment) };
            return None;
        };
        // SAFETY: both queues lie in the segment, which stays mapped while the link lives.
        let (orders, reports) = unsafe {
            let old = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
            let orders = pg_sys::shm_mq_attach(orders, segment, handle.as_ptr());
            let reports = pg_sys::shm_mq_attach(reports, segment, handle.as_ptr());
            pg_sys::CurrentMemoryContext = old;
            (Sender::new(orders), Receiver::new(reports))
        };
        let link = Link { handle, orders, reports, segment };
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
        if link.orders.try_send(order)? {
            self.unsent = None;
        }
        Ok(())
    }

    /// Its next report, if there is one.
    pub(crate) fn receive(&mut self) -> Result<Option<&[u8]>, Detached> {
        match &mut self.link {
            Some(link) => link.reports.try_receive(),
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
            && (!current.local || self.slot.phase() == Phase::Unrecorded)
    }
}

impl Scheduler {
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
            None => self.engine.executor_refused(key, now),
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
        let taken = NOT_OURS + schedulers + slots::of_others(self.oid);
        let slots = u32::try_from(all.saturating_sub(taken).max(1)).unwrap_or(u32::MAX);
        if std::mem::replace(&mut self.slots, slots) != slots {
            self.engine.set_slots(slots);
        }
    }
}

/// A DSM segment with two queues; None when there is no room for one.
fn make_queues() -> Option<(*mut pg_sys::dsm_segment, *mut pg_sys::shm_mq, *mut pg_sys::shm_mq)> {
    // SAFETY: without a resource owner the mapping lasts until it is detached; the segment has
    // room for two queues, which begin at addresses aligned for them.
    unsafe {
        let old_context = pg_sys::CurrentMemoryContext;
        let old_owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        pg_sys::CurrentResourceOwner = core::ptr::null_mut();
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS.cast_signed();
        // A full /dev/shm is an ERROR: no segment, no executor, for the time being.
        let segment = PgTryBuilder::new(|| pg_sys::dsm_create(2 * QUEUE, flags))
            .catch_others(|_| core::ptr::null_mut())
            .execute();
        pg_sys::CurrentResourceOwner = old_owner;
        pg_sys::CurrentMemoryContext = old_context;
        if segment.is_null() {
            return None;
        }
        let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
        let orders = pg_sys::shm_mq_create(base.cast(), QUEUE);
        let reports = pg_sys::shm_mq_create(base.add(QUEUE).cast(), QUEUE);
        pg_sys::shm_mq_set_sender(orders, pg_sys::MyProc);
        pg_sys::shm_mq_set_receiver(reports, pg_sys::MyProc);
        Some((segment, orders, reports))
    }
}
