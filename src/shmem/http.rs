//! The HTTP worker and the runs it has, as all processes see them.
//!
//! # Worker
//! One for the server. Its process id goes `0 → STARTING → pid → 0`: whoever wins the first step by
//! compare-and-swap starts it, its exit callback takes the last one. Each life has a number.
//!
//! # Link
//! One for each database: `None → Offered → Attached`, and back when the scheduler that made it goes.
//! The scheduler puts the handle of a DSM segment there; the worker attaches to it.
//!
//! # Run
//! `Free → Handed → Queued → Taken → Over → Free`. A scheduler takes a free slot, writes the claim,
//! and sends the order; `Queued` is an order that is in the queue as a whole. The worker takes it by
//! compare-and-swap from `Handed` or `Queued`, and nothing is sent for an order it could not take. When the run is over the slot says how,
//! and stays until a scheduler has committed the row. A slot that the scheduler takes back, because
//! its worker is gone, was never begun unless it says `Taken`.

use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    Ordering, fence,
};

use pg_tock_core::cancel::{Cause, DROPPED};
use pg_tock_core::run::{Guarantee, Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::pg_sys;

use super::cancel::{Asked, Cancel};
use super::lasting::Limits;
use super::slots::CurrentRun;
use super::{databases, layout};
use crate::pg::{process, time};

/// The process id of a worker that is being started.
const STARTING: i32 = -1;

/// What there is once.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Http {
    pid: AtomicI32,
    /// Which life of the worker it is.
    life: AtomicU32,
    latch: AtomicPtr<pg_sys::Latch>,
    /// Counts cancelled runs, so that the worker looks at the slots only when there is one.
    cancels: AtomicU64,
    /// A scheduler has found no free slot.
    short: AtomicBool,
    /// Where the last free slot was found.
    hint: AtomicU32,
    /// Number of slots.
    pub(super) slot_count: AtomicU32,
}

/// Where a scheduler's queues to and from the worker are.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Link {
    state: AtomicU32,
    dsm: AtomicU32,
}

const NONE: u32 = 0;
const OFFERED: u32 = 1;
const ATTACHED: u32 = 2;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Free = 0,
    Handed = 1,
    Queued = 2,
    Taken = 3,
    Over = 4,
}

/// One HTTP run.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct HttpSlot {
    phase: AtomicU32,
    /// The database whose scheduler has handed it over.
    scheduler: AtomicU32,
    role: AtomicU32,
    /// The life of the worker that has taken it.
    life: AtomicU32,
    job: AtomicI64,
    run: AtomicI64,
    scheduled_for: AtomicI64,
    /// When it was handed over, then when the worker took it.
    started_at: AtomicI64,
    attempt: AtomicU32,
    trigger: AtomicU8,
    retries: AtomicBool,
    /// The worker has the job's lock for it.
    at_work: AtomicBool,
    /// Nothing is to be sent, and no row to be written.
    dry: AtomicBool,
    outcome: AtomicU8,
    http_status: AtomicU16,
    sqlstate: [AtomicU8; 5],
    ended_at: AtomicI64,
    /// It begins when it is handed over, and anew when the worker takes it.
    limits: Limits,
    /// That it is to end, and why.
    pub(crate) cancel: Cancel,
}

/// What a scheduler hands over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    pub(crate) run: CurrentRun,
    /// The database of the scheduler.
    pub(crate) scheduler: u32,
    pub(crate) role: u32,
    /// Whether the occurrence may be tried again.
    pub(crate) retries: bool,
    /// Whether it is a dry run.
    pub(crate) dry: bool,
}

/// How a run ended, as its slot knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) http_status: Option<u16>,
    pub(crate) sqlstate: Option<[u8; 5]>,
    pub(crate) ended_at: Timestamp,
}

fn http() -> Option<&'static Http> {
    Some(&layout::header()?.http)
}

/// The worker's process; 0 when there is none.
pub(crate) fn worker_pid() -> i32 {
    http().map_or(0, |http| http.pid.load(Ordering::Acquire).max(0))
}

/// Which life of the worker it is, or was last.
pub(crate) fn life() -> u32 {
    http().map_or(0, |http| http.life.load(Ordering::Acquire))
}

/// Makes the caller the one who starts the worker, if there is none.
pub(crate) fn may_start() -> bool {
    http().is_some_and(|http| {
        http.pid.compare_exchange(0, STARTING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    })
}

/// The worker the caller was to start has not come to be.
pub(crate) fn start_failed() {
    if let Some(http) = http() {
        let _ = http.pid.compare_exchange(STARTING, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// This process is the worker. False if there is another.
pub(crate) fn arrive() -> bool {
    let Some(http) = http() else { return false };
    let me = process::pid();
    let arrived =
        http.pid.compare_exchange(STARTING, me, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if arrived {
        http.life.fetch_add(1, Ordering::AcqRel);
        http.latch.store(process::latch(), Ordering::Release);
    }
    arrived
}

/// This process stops being the worker.
pub(crate) fn depart() {
    let Some(http) = http() else { return };
    if http.pid.load(Ordering::Acquire) == process::pid() {
        http.latch.store(core::ptr::null_mut(), Ordering::Release);
        for database in databases::all() {
            database.http.withdraw();
        }
        http.pid.store(0, Ordering::Release);
    }
    for database in databases::all() {
        database.wake();
    }
}

/// Wakes the worker.
pub(crate) fn wake_worker() {
    if let Some(http) = http() {
        // SAFETY: latches of PGPROCs stay in shared memory.
        unsafe { process::set_latch(http.latch.load(Ordering::Acquire)) };
    }
}

/// How many runs were cancelled ever.
pub(crate) fn cancels() -> u64 {
    http().map_or(0, |http| http.cancels.load(Ordering::Acquire))
}

/// Takes a free slot; None if there is none, and then the caller is woken when there is.
pub(crate) fn reserve(handed: &Handed) -> Option<(u32, &'static HttpSlot)> {
    let http = http()?;
    let slots = layout::http_slots();
    let hint = http.hint.load(Ordering::Relaxed) as usize;
    let found = find_free(slots, hint).or_else(|| {
        http.short.store(true, Ordering::SeqCst);
        // One may have become free before it was known that somebody waits.
        find_free(slots, 0)
    });
    let (index, slot) = found?;
    http.hint.store(index.wrapping_add(1), Ordering::Relaxed);
    slot.fill(handed);
    Some((index, slot))
}

fn find_free(slots: &'static [HttpSlot], hint: usize) -> Option<(u32, &'static HttpSlot)> {
    let hint = if hint < slots.len() { hint } else { 0 };
    let (before, after) = slots.split_at_checked(hint)?;
    let places = after.iter().zip(hint..).chain(before.iter().zip(0..));
    for (slot, index) in places {
        if slot.phase() == Phase::Free && slot.advance(Phase::Free, Phase::Handed) {
            return Some((u32::try_from(index).unwrap_or(u32::MAX), slot));
        }
    }
    None
}

/// The slot with this index.
pub(crate) fn get(index: u32) -> Option<&'static HttpSlot> {
    layout::http_slots().get(index as usize)
}

/// All slots with a run in them, with their indexes.
pub(crate) fn all() -> impl Iterator<Item = (u32, &'static HttpSlot)> {
    let slots = (0..).zip(layout::http_slots());
    slots.filter(|(_, slot)| slot.phase() != Phase::Free)
}

/// The runs that the scheduler of this database has handed over.
pub(crate) fn of_scheduler(database: u32) -> impl Iterator<Item = (u32, &'static HttpSlot)> {
    all().filter(move |(_, slot)| slot.scheduler() == database)
}

/// A database is gone for good, and nobody will record what was under way.
pub(crate) fn forget(database: u32) {
    for (_, slot) in of_scheduler(database) {
        if slot.phase() == Phase::Taken {
            slot.want_end(slot.run(), Cause::Dropped, DROPPED.as_bytes());
        } else {
            slot.free();
        }
    }
}

impl HttpSlot {
    fn fill(&self, handed: &Handed) {
        let run = &handed.run;
        self.role.store(handed.role, Ordering::Relaxed);
        self.life.store(0, Ordering::Relaxed);
        self.job.store(run.job.0, Ordering::Relaxed);
        self.run.store(run.run.0, Ordering::Relaxed);
        self.scheduled_for.store(run.scheduled_for.0, Ordering::Relaxed);
        self.started_at.store(run.started_at.0, Ordering::Relaxed);
        self.attempt.store(run.attempt, Ordering::Relaxed);
        self.trigger.store(run.trigger.as_u8(), Ordering::Relaxed);
        self.retries.store(handed.retries, Ordering::Relaxed);
        self.dry.store(handed.dry, Ordering::Relaxed);
        self.limits.set(&run.lasting);
        self.at_work.store(false, Ordering::Relaxed);
        self.cancel.open(run.run);
        self.outcome.store(0, Ordering::Relaxed);
        self.scheduler.store(handed.scheduler, Ordering::Release);
    }

    /// How far the run is.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Handed,
            2 => Phase::Queued,
            3 => Phase::Taken,
            4 => Phase::Over,
            _ => Phase::Free,
        }
    }

    /// Moves the run on if it is where the caller thinks; tells whether it did.
    pub(crate) fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase
            .compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The database whose scheduler has handed it over.
    pub(crate) fn scheduler(&self) -> u32 {
        self.scheduler.load(Ordering::Acquire)
    }

    /// The owner of the job.
    pub(crate) fn role(&self) -> u32 {
        self.role.load(Ordering::Relaxed)
    }

    /// The life of the worker that has taken it; 0 before that.
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    /// The run.
    pub(crate) fn current(&self) -> CurrentRun {
        CurrentRun {
            job: JobId(self.job.load(Ordering::Relaxed)),
            run: self.run(),
            scheduled_for: Timestamp(self.scheduled_for.load(Ordering::Relaxed)),
            started_at: Timestamp(self.started_at.load(Ordering::Relaxed)),
            attempt: self.attempt.load(Ordering::Relaxed),
            trigger: Trigger::from_u8(self.trigger.load(Ordering::Relaxed))
                .unwrap_or(Trigger::Schedule),
            window: None,
            lasting: self.limits.get(),
        }
    }

    /// Whether what was read of a run just now is all of that run, and not of one that has come after it.
    pub(crate) fn has_still(&self, run: RunId, role: u32) -> bool {
        fence(Ordering::Acquire);
        self.run() == run && self.role() == role
    }

    /// Whether it is a dry run.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry.load(Ordering::Relaxed)
    }

    /// The run's id.
    pub(crate) fn run(&self) -> RunId {
        RunId(self.run.load(Ordering::Acquire))
    }

    /// What the outcome of the run is worth, before more is known.
    pub(crate) fn guarantee(&self) -> Guarantee {
        if self.retries.load(Ordering::Relaxed) {
            Guarantee::AtLeastOnce
        } else {
            Guarantee::AtMostOnce
        }
    }

    /// The worker takes the run. False if nobody has handed it over, or it was taken back.
    pub(crate) fn take(&self, run: i64, started_at: i64) -> bool {
        if self.run().0 != run
            || !(self.advance(Phase::Handed, Phase::Taken)
                || self.advance(Phase::Queued, Phase::Taken))
        {
            return false;
        }
        self.started_at.store(started_at, Ordering::Relaxed);
        self.limits.begin(time::monotonic());
        self.life.store(life(), Ordering::Release);
        true
    }

    /// The worker has the job's lock for the run.
    pub(crate) fn sets_to_work(&self) {
        self.at_work.store(true, Ordering::Release);
    }

    /// Whether it has. Until then the run may be put back among those that wait.
    pub(crate) fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::Acquire)
    }

    /// The run is over. The slot keeps this until a scheduler has recorded it.
    pub(crate) fn end(&self, ending: &Ending) {
        let sqlstate = ending.sqlstate.unwrap_or_default();
        for (to, from) in self.sqlstate.iter().zip(sqlstate) {
            to.store(from, Ordering::Relaxed);
        }
        self.http_status.store(ending.http_status.unwrap_or(0), Ordering::Relaxed);
        self.ended_at.store(ending.ended_at.0, Ordering::Relaxed);
        self.outcome.store(ending.outcome.as_u8().saturating_add(1), Ordering::Release);
        self.phase.store(Phase::Over as u32, Ordering::Release);
    }

    /// The run has not begun: somebody holds its job.
    pub(crate) fn put_off(&self) {
        self.outcome.store(0, Ordering::Relaxed);
        self.phase.store(Phase::Over as u32, Ordering::Release);
    }

    /// How the run ended, if it is over.
    pub(crate) fn ending(&self) -> Option<Ending> {
        if self.phase() != Phase::Over {
            return None;
        }
        let outcome = self.outcome.load(Ordering::Acquire).checked_sub(1)?;
        let mut sqlstate = [0; 5];
        for (to, from) in sqlstate.iter_mut().zip(&self.sqlstate) {
            *to = from.load(Ordering::Relaxed);
        }
        Some(Ending {
            outcome: Outcome::from_u8(outcome)?,
            http_status: Some(self.http_status.load(Ordering::Relaxed)).filter(|&s| s != 0),
            sqlstate: Some(sqlstate).filter(|code| code[0] != 0),
            ended_at: Timestamp(self.ended_at.load(Ordering::Relaxed)),
        })
    }

    /// Nothing is left to record; the slot can be taken again, and who waits for one is told.
    pub(crate) fn free(&self) {
        self.scheduler.store(0, Ordering::Relaxed);
        self.phase.store(Phase::Free as u32, Ordering::SeqCst);
        let Some(http) = http() else { return };
        if http.short.load(Ordering::SeqCst) && http.short.swap(false, Ordering::SeqCst) {
            for database in databases::all() {
                database.wake();
            }
        }
    }

    /// This run is to end, for this cause; `reason` is what its row will say. Whoever wants that
    /// first says why.
    pub(crate) fn want_end(&self, run: RunId, cause: Cause, reason: &[u8]) -> Asked {
        let asked = self.cancel.ask(run, cause, time::monotonic(), reason);
        if asked == Asked::Noted {
            if let Some(http) = http() {
                http.cancels.fetch_add(1, Ordering::AcqRel);
            }
            wake_worker();
        }
        asked
    }

    /// Why this run is to end, if it is.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cancel.cause(self.run())
    }

    /// What its row is to say of that.
    pub(crate) fn reason(&self) -> Option<Vec<u8>> {
        self.cancel.reason(self.run())
    }
}

impl Link {
    /// A scheduler has queues for the worker in this segment.
    pub(crate) fn offer(&self, dsm: u32) {
        self.dsm.store(dsm, Ordering::Relaxed);
        self.state.store(OFFERED, Ordering::Release);
        wake_worker();
    }

    /// The worker takes the offer, if there is one.
    pub(crate) fn accept(&self) -> Option<u32> {
        let accepted = self
            .state
            .compare_exchange(OFFERED, ATTACHED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        accepted.then(|| self.dsm.load(Ordering::Relaxed))
    }

    /// Whether the worker has taken the queues.
    pub(crate) fn is_attached(&self) -> bool {
        self.state.load(Ordering::Acquire) == ATTACHED
    }

    /// Whether there are no queues, neither offered nor taken.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.state.load(Ordering::Acquire) == NONE
    }

    /// There are no queues any more: the scheduler goes, or the worker.
    pub(crate) fn withdraw(&self) {
        self.state.store(NONE, Ordering::Release);
    }
}
