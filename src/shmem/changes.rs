//! News of changed jobs, from the transaction that changed them to the scheduler, at COMMIT.
//!
//! A backend collects ids while its transaction runs and hands them over in its commit callback,
//! when others can see the rows already. The list in shared memory is short: when it is full, or a
//! backend has changed very many jobs, the scheduler is told to read them all.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::cell::{Cell, RefCell};

use pg_tock_core::time::RunId;
use pgrx::pg_sys::{self, SubTransactionId};
use pgrx::{PgSubXactCallbackEvent, PgXactCallbackEvent};

use super::taken_back::PLACES;
use super::{databases, taken_back};

/// Ids the shared list has room for.
const ROOM: usize = 256;

/// Jobs of one database that changed. 0 is an empty place; job ids may be any number, so a job
/// with the id 0 counts as "everything changed".
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Changes {
    /// Set after anything below.
    any: AtomicBool,
    everything: AtomicBool,
    roles: AtomicBool,
    ledger: AtomicBool,
    queues: AtomicBool,
    ids: [AtomicI64; ROOM],
}

/// What changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// All jobs have to be read again.
    pub(crate) everything: bool,
    /// Roles or databases changed.
    pub(crate) roles: bool,
    /// Somebody else has inserted rows into the ledger.
    pub(crate) ledger: bool,
    /// Queues changed.
    pub(crate) queues: bool,
    /// These jobs have to be read again.
    pub(crate) jobs: Vec<i64>,
}

impl News {
    /// Takes more news in.
    pub(crate) fn add(&mut self, more: Self) {
        self.everything |= more.everything;
        self.roles |= more.roles;
        self.ledger |= more.ledger;
        self.queues |= more.queues;
        self.jobs.extend(more.jobs);
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Changes {
    /// This job has to be read again.
    pub(crate) fn push(&self, id: i64) {
        let placed = id != 0
            && self.ids.iter().any(|place| {
                place
                    .compare_exchange(0, id, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok_and(|_| true)
                    || place.load(Ordering::Acquire) == id
            });
        if !placed {
            self.everything.store(true, Ordering::Release);
        }
        self.publish();
    }

    /// Everything has to be read again.
    pub(crate) fn push_everything(&self) {
        self.everything.store(true, Ordering::Release);
        self.publish();
    }

    /// Roles or databases changed.
    pub(crate) fn push_roles(&self) {
        self.roles.store(true, Ordering::Release);
        self.publish();
    }

    /// Somebody else has inserted rows into the ledger.
    pub(crate) fn push_ledger(&self) {
        self.ledger.store(true, Ordering::Release);
        self.publish();
    }

    /// Queues changed. To be said before the jobs that may name them.
    pub(crate) fn push_queues(&self) {
        self.queues.store(true, Ordering::Release);
        self.publish();
    }

    /// Says that the news are complete.
    fn publish(&self) {
        self.any.store(true, Ordering::Release);
    }

    /// Whether there are news.
    pub(crate) fn are_there(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes the news. What is committed afterwards comes with the next call.
    pub(crate) fn take(&self) -> News {
        if !self.any.swap(false, Ordering::AcqRel) {
            return News::default();
        }
        let roles = self.roles.swap(false, Ordering::AcqRel);
        let everything = self.everything.swap(false, Ordering::AcqRel);
        let mut jobs = Vec::new();
        for place in &self.ids {
            let id = place.swap(0, Ordering::AcqRel);
            if id != 0 {
                jobs.push(id);
            }
        }
        let ledger = self.ledger.swap(false, Ordering::AcqRel);
        // After the jobs, so that none comes without the queue it was committed with.
        let queues = self.queues.swap(false, Ordering::AcqRel);
        News { everything, roles, ledger, queues, jobs }
    }

    /// Forgets the news.
    pub(crate) fn clear(&self) {
        self.publish();
        self.take();
    }
}

thread_local! {
    static PENDING: RefCell<Pending> = const { RefCell::new(Pending::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

struct Pending {
    everything: bool,
    /// Roles that changed; 0 = all of them.
    roles: Option<u32>,
    databases: bool,
    launcher: bool,
    ledger: bool,
    queues: bool,
    ids: Vec<i64>,
    taken_back: Vec<TakenBack>,
    /// What becomes of subtransactions is heard of.
    hears_of_subtransactions: bool,
}

/// A request that is taken back if this transaction commits.
struct TakenBack {
    /// The subtransaction that has done so: what that rolls back has not happened.
    within: SubTransactionId,
    run: RunId,
    reason: Vec<u8>,
}

impl Pending {
    const fn new() -> Self {
        Self {
            everything: false,
            roles: None,
            databases: false,
            launcher: false,
            ledger: false,
            queues: false,
            ids: Vec::new(),
            taken_back: Vec::new(),
            hears_of_subtransactions: false,
        }
    }
}

/// A job was inserted, updated or deleted by this transaction.
pub(crate) fn job_changed(jobid: i64) {
    note(|pending| {
        if pending.ids.len() >= ROOM {
            pending.everything = true;
        } else if !pending.ids.contains(&jobid) {
            pending.ids.push(jobid);
        }
    });
}

/// The request for a run was taken back by this transaction; `reason` is what the run's row will say.
pub(crate) fn run_taken_back(run: RunId, reason: &[u8]) {
    // SAFETY: inside a transaction.
    let within = unsafe { pg_sys::GetCurrentSubTransactionId() };
    let reason = reason.to_vec();
    let mut hears = true;
    note(|pending| {
        if pending.taken_back.len() >= PLACES {
            return; // the scheduler reads of them
        }
        hears = std::mem::replace(&mut pending.hears_of_subtransactions, true);
        pending.taken_back.push(TakenBack { within, run, reason });
    });
    if !hears {
        pgrx::register_subxact_callback(PgSubXactCallbackEvent::AbortSub, |me, _| {
            taken_back_within(|taken_back| taken_back.retain(|it| it.within != me));
        });
        pgrx::register_subxact_callback(PgSubXactCallbackEvent::CommitSub, |me, parent| {
            taken_back_within(|taken_back| {
                for it in taken_back.iter_mut().filter(|it| it.within == me) {
                    it.within = parent;
                }
            });
        });
    }
}

fn taken_back_within(end: impl FnOnce(&mut Vec<TakenBack>)) {
    PENDING.with_borrow_mut(|pending| end(&mut pending.taken_back));
}

/// Any number of jobs may have been changed by this transaction.
pub(crate) fn all_changed() {
    note(|pending| pending.everything = true);
}

/// Queues were created, changed or dropped by this transaction.
pub(crate) fn queues_changed() {
    note(|pending| pending.queues = true);
}

/// A role, its settings or its rights were changed by this transaction; 0 = any number of them.
pub(crate) fn roles_changed(role: u32) {
    note(|pending| {
        let same = pending.roles.is_none_or(|before| before == role);
        pending.roles = Some(if same { role } else { 0 });
    });
}

/// Databases or the extension were created, dropped or renamed by this transaction.
pub(crate) fn databases_changed() {
    note(|pending| pending.databases = true);
}

/// Rows were inserted into the ledger by this transaction: history from a dump, or from pg_cron.
/// The scheduler's own do not count.
pub(crate) fn ledger_changed() {
    // SAFETY: constants of this process.
    let (here, pid) = unsafe { (pg_sys::MyDatabaseId.to_u32(), pg_sys::MyProcPid) };
    if databases::find(here).is_some_and(|database| database.pid() != pid) {
        note(|pending| pending.ledger = true);
    }
}

/// Schedulers were asked to leave: whatever becomes of this transaction, the launcher has to look
/// which ones are to come back.
pub(crate) fn look_again_at_end() {
    note(|pending| pending.launcher = true);
}

/// A prepared transaction was committed by another session than the one that made it: what it
/// changed is not known any more.
pub(crate) fn prepared_committed() {
    note(|pending| {
        pending.everything = true;
        pending.queues = true;
        pending.roles = Some(0);
    });
}

fn note(change: impl FnOnce(&mut Pending)) {
    if super::layout::header().is_none() {
        return;
    }
    PENDING.with_borrow_mut(change);
    if REGISTERED.replace(true) {
        return;
    }
    pgrx::register_xact_callback(PgXactCallbackEvent::Commit, || deliver(true));
    pgrx::register_xact_callback(PgXactCallbackEvent::Abort, || deliver(false));
    pgrx::register_xact_callback(PgXactCallbackEvent::Prepare, || deliver(false));
}

/// Hands over or drops what was collected. Runs when the transaction is over: cannot fail.
fn deliver(committed: bool) {
    REGISTERED.set(false);
    let pending = PENDING.with_borrow_mut(|pending| std::mem::replace(pending, Pending::new()));
    if pending.launcher {
        databases::wake_launcher();
    }
    if !committed {
        return;
    }
    // SAFETY: constant in a session.
    let here = unsafe { pg_sys::MyDatabaseId }.to_u32();
    for TakenBack { run, reason, .. } in &pending.taken_back {
        taken_back::add(here, *run, reason);
    }
    if let Some(database) = databases::find(here) {
        if pending.queues {
            database.changes.push_queues();
        }
        if pending.everything {
            database.changes.push_everything();
        }
        if pending.ledger {
            database.changes.push_ledger();
        }
        for id in &pending.ids {
            database.changes.push(*id);
        }
        database.wake_for_news();
    }
    if let Some(role) = pending.roles {
        super::roster::retire_for_role(role);
        for database in databases::all() {
            database.changes.push_roles();
            database.wake_for_news();
        }
    }
    if pending.databases {
        if let Some(database) = databases::find(here) {
            database.set_absent(false);
        }
        for database in databases::all() {
            database.changes.push_everything();
            database.changes.push_roles();
            database.wake_for_news();
        }
        databases::wake_launcher();
    }
}
