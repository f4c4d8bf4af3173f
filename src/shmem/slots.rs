//! The life of an executor and of the run it has, as all processes see it.
//!
//! # Executor
//! `Free → Starting → Ready → Exited → Free`. The scheduler takes a free slot and starts the process; the process
//! says when it is ready and, in its exit callback, that it has gone; whoever schedules the database then frees the
//! slot, having recorded what was left. A process that has not arrived in time is given up, by compare-and-swap on
//! the process id: one that comes after that, or for an earlier life of the slot, has no slot and leaves.
//!
//! # Run
//! `None → Unrecorded → (Recording | Claiming → Recorded) | Settling → Done`. A run whose row the scheduler has to
//! write goes to `Reported` instead of `Done`: its report is in the slot, and stays there until the scheduler has
//! committed the row. `Orphaned` is set by compare-and-swap on a slot without a run when its scheduler goes: no run
//! begins there any more.
//! Beside that it is said when the run sets to work. Before, it has done nothing but try its job's lock,
//! and if it does not get it it is put back, as if it had not been handed out.
//!
//! Who writes the run's row is one compare-and-swap away from `Unrecorded`: `Settling` is the executor writing the
//! final row, `Recording` the scheduler and `Claiming` the executor (before a command that may commit on its own)
//! writing a `running` row, `Recorded` means that row is committed. The loser never inserts.

use core::ffi::c_int;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering,
};

use pg_tock_core::cancel::Cause;
use pg_tock_core::run::Trigger;
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::pg_sys;

use super::alert::Alert;
use super::cancel::{Asked, Cancel};
use super::lasting::{Lasting, Limits};
use super::layout;
use super::left::{Leaving, Left};
use super::ordered::Ordered;
use super::progress::Progress;
use super::words::Words;

/// The process id of a process nobody waits for any more.
const GIVEN_UP: i32 = -1;

/// One executor.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    state: AtomicU32,
    /// The database whose scheduler this executor works for.
    scheduler: AtomicU32,
    /// The table runs are recorded in.
    ledger: AtomicU32,
    database: AtomicU32,
    role: AtomicU32,
    dsm: AtomicU32,
    /// Which life of this slot it is.
    life: AtomicU32,
    /// 0 before the process has arrived, [`GIVEN_UP`] when nobody waits for it any more.
    pid: AtomicI32,
    latch: AtomicPtr<pg_sys::Latch>,
    retire: AtomicBool,
    phase: AtomicU32,
    /// The run asks its job's condition, or has its job's lock.
    at_work: AtomicBool,
    /// Odd while the fields of the run change.
    version: AtomicU64,
    job: AtomicI64,
    run: AtomicI64,
    scheduled_for: AtomicI64,
    started_at: AtomicI64,
    attempt: AtomicU32,
    trigger: AtomicU8,
    /// Whether the run is for a window of data, which ends and begins so.
    windowed: AtomicBool,
    window_start: AtomicI64,
    window_end: AtomicI64,
    /// The run wants to be followed by another one.
    again: AtomicBool,
    /// What the run's order says of its row.
    pub(crate) ordered: Ordered,
    /// There was no run after all: its job was held, or its condition was not met.
    came_to_nothing: AtomicBool,
    /// The alert the run handles.
    pub(crate) alert: Alert,
    /// What the run says about itself.
    pub(crate) progress: Progress,
    limits: Limits,
    /// Whether somebody wants the run to end, and why.
    pub(crate) cancel: Cancel,
    /// The run's last transaction has been committed.
    committed: AtomicBool,
    /// How the run ended, if the scheduler could not be told.
    left: Leaving,
    /// The process went having loaded what reaches outside its session.
    outside: AtomicBool,
    words: Words,
}

/// How far an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Free = 0,
    Starting = 1,
    Ready = 2,
    Exited = 3,
}

/// How far a run's row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    None = 0,
    Unrecorded = 1,
    Recording = 2,
    Recorded = 3,
    Settling = 4,
    Done = 5,
    Claiming = 6,
    /// The run is over; the scheduler has to write its row from the report in the slot.
    Reported = 7,
    /// The scheduler is gone: nothing will begin here.
    Orphaned = 8,
    /// The job's condition is being evaluated. Nothing has begun, and there may be no row.
    Asking = 9,
}

impl Phase {
    const fn from_u32(value: u32) -> Self {
        match value {
            1 => Self::Unrecorded,
            2 => Self::Recording,
            3 => Self::Recorded,
            4 => Self::Settling,
            5 => Self::Done,
            6 => Self::Claiming,
            7 => Self::Reported,
            8 => Self::Orphaned,
            9 => Self::Asking,
            _ => Self::None,
        }
    }
}

/// The run an executor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentRun {
    pub(crate) job: JobId,
    pub(crate) run: RunId,
    pub(crate) scheduled_for: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) trigger: Trigger,
    /// The data it is for: what is later than the first instant, up to the second.
    pub(crate) window: Option<(Timestamp, Timestamp)>,
    pub(crate) lasting: Lasting,
}

/// What an executor is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assignment {
    /// The database whose scheduler it works for.
    pub(crate) scheduler: u32,
    /// The oid of the table runs are recorded in, in the scheduler's database.
    pub(crate) ledger: u32,
    pub(crate) database: u32,
    pub(crate) role: u32,
    /// Handle of the DSM segment with the two queues.
    pub(crate) dsm: u32,
}

/// Takes a free slot for a new executor.
pub(crate) fn reserve(assignment: Assignment) -> Option<(u32, &'static Slot)> {
    layout::slots().iter().zip(0_u32..).find_map(|(slot, index)| {
        slot.state
            .compare_exchange(
                State::Free as u32,
                State::Starting as u32,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .ok()?;
        slot.phase.store(Phase::None as u32, Ordering::Relaxed);
        slot.retire.store(false, Ordering::Relaxed);
        slot.life.fetch_add(1, Ordering::Relaxed);
        slot.pid.store(0, Ordering::Relaxed);
        slot.latch.store(core::ptr::null_mut(), Ordering::Relaxed);
        slot.words.clear();
        slot.left.clear();
        slot.run.store(0, Ordering::Relaxed);
        slot.outside.store(false, Ordering::Relaxed);
        slot.ledger.store(assignment.ledger, Ordering::Relaxed);
        slot.database.store(assignment.database, Ordering::Relaxed);
        slot.role.store(assignment.role, Ordering::Relaxed);
        slot.dsm.store(assignment.dsm, Ordering::Relaxed);
        slot.scheduler.store(assignment.scheduler, Ordering::Release);
        Some((index, slot))
    })
}

impl Slot {
    /// How far the executor is.
    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Starting,
            2 => State::Ready,
            3 => State::Exited,
            _ => State::Free,
        }
    }

    /// The database whose scheduler it works for.
    pub(crate) fn scheduler(&self) -> u32 {
        self.scheduler.load(Ordering::Acquire)
    }

    /// The table runs are recorded in.
    pub(crate) fn ledger(&self) -> u32 {
        self.ledger.load(Ordering::Relaxed)
    }

    /// The database it is connected to.
    pub(crate) fn database(&self) -> u32 {
        self.database.load(Ordering::Relaxed)
    }

    /// The role it is logged in as.
    pub(crate) fn role(&self) -> u32 {
        self.role.load(Ordering::Relaxed)
    }

    /// Its DSM segment.
    pub(crate) fn dsm(&self) -> u32 {
        self.dsm.load(Ordering::Relaxed)
    }

    /// Its process, 0 before it runs.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed).max(0)
    }

    /// Which life of this slot it is.
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Relaxed)
    }

    /// The executor's process has begun. False if nobody waits for it: it has no slot.
    pub(crate) fn arrive(&self, life: u32, pid: i32, latch: *mut pg_sys::Latch) -> bool {
        let waited_for = life == self.life() && self.state() == State::Starting;
        if !waited_for || !self.swap_pid(0, pid) {
            return false;
        }
        self.latch.store(latch, Ordering::Release);
        true
    }

    /// Nobody waits any longer for a process that has not arrived, or that is gone without a word.
    /// False if it lives.
    pub(crate) fn give_up(&self) -> bool {
        let pid = self.pid();
        let given_up = !crate::pg::process::is_alive(pid) && self.swap_pid(pid, GIVEN_UP);
        if given_up {
            self.exited(false);
        }
        given_up
    }

    fn swap_pid(&self, from: i32, to: i32) -> bool {
        self.pid.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The executor can take runs.
    pub(crate) fn ready(&self) {
        self.state.store(State::Ready as u32, Ordering::Release);
    }

    /// The executor's process is going.
    /// `outside`: it had loaded what reaches outside its session.
    pub(crate) fn exited(&self, outside: bool) {
        self.outside.store(outside, Ordering::Relaxed);
        self.latch.store(core::ptr::null_mut(), Ordering::Release);
        self.state.store(State::Exited as u32, Ordering::Release);
    }

    /// Whether the process that went had loaded what reaches outside its session.
    pub(crate) fn reached_outside(&self) -> bool {
        self.outside.load(Ordering::Relaxed)
    }

    /// Nothing is left to record; the slot can be taken again.
    pub(crate) fn free(&self) {
        self.phase.store(Phase::None as u32, Ordering::Relaxed);
        self.state.store(State::Free as u32, Ordering::Release);
    }

    /// Asks the executor to leave after the run it has, and wakes it.
    pub(crate) fn ask_to_retire(&self) {
        self.retire.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the executor; there need not be anything for it.
    pub(crate) fn wake(&self) {
        // SAFETY: latches of PGPROCs stay in shared memory.
        unsafe { crate::pg::process::set_latch(self.latch.load(Ordering::Acquire)) };
    }

    /// Whether the executor was asked to leave.
    pub(crate) fn must_retire(&self) -> bool {
        self.retire.load(Ordering::Acquire)
    }

    /// The executor begins a run. False if its scheduler is gone: the run has not begun, and must
    /// not.
    pub(crate) fn begin(&self, run: &CurrentRun) -> bool {
        let before = self.phase();
        if !matches!(before, Phase::None | Phase::Done) {
            return false;
        }
        // Nobody reads the run before its phase says that there is one.
        self.version.fetch_add(1, Ordering::AcqRel);
        self.at_work.store(false, Ordering::Relaxed);
        self.job.store(run.job.0, Ordering::Relaxed);
        self.run.store(run.run.0, Ordering::Release);
        self.scheduled_for.store(run.scheduled_for.0, Ordering::Relaxed);
        self.started_at.store(run.started_at.0, Ordering::Relaxed);
        self.attempt.store(run.attempt, Ordering::Relaxed);
        self.trigger.store(run.trigger.as_u8(), Ordering::Relaxed);
        self.windowed.store(run.window.is_some(), Ordering::Relaxed);
        let (start, end) = run.window.unwrap_or((Timestamp(0), Timestamp(0)));
        self.window_start.store(start.0, Ordering::Relaxed);
        self.window_end.store(end.0, Ordering::Relaxed);
        self.again.store(false, Ordering::Relaxed);
        self.came_to_nothing.store(false, Ordering::Relaxed);
        self.limits.set(&run.lasting);
        self.progress.reset();
        self.cancel.open(run.run);
        self.committed.store(false, Ordering::Relaxed);
        self.left.clear();
        self.version.fetch_add(1, Ordering::AcqRel);
        self.advance(before, Phase::Unrecorded)
    }

    /// The run asks its job's condition, or has its job's lock.
    pub(crate) fn sets_to_work(&self) {
        self.at_work.store(true, Ordering::Release);
    }

    /// Whether the run it began last has got as far as that. Until then it may be put back among those
    /// that wait, because somebody holds its job.
    pub(crate) fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::Acquire)
    }

    /// The scheduler goes, or is gone: a run that has begun goes on, no other begins.
    pub(crate) fn orphan(&self) {
        let _ = self.advance(Phase::None, Phase::Orphaned)
            || self.advance(Phase::Done, Phase::Orphaned);
    }

    /// The run is over, and its report is in the slot for the scheduler to record.
    pub(crate) fn report(&self) {
        self.phase.store(Phase::Reported as u32, Ordering::Release);
    }

    /// There was no run after all, and nothing is left of it.
    pub(crate) fn comes_to_nothing(&self) {
        self.came_to_nothing.store(true, Ordering::Release);
        self.end();
    }

    /// Whether that is so of the run it began last.
    pub(crate) fn came_to_nothing(&self) -> bool {
        self.came_to_nothing.load(Ordering::Acquire)
    }

    /// The run is over and nobody has to record anything.
    pub(crate) fn end(&self) {
        self.phase.store(Phase::Done as u32, Ordering::Release);
    }

    /// How far the run's row is.
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_u32(self.phase.load(Ordering::Acquire))
    }

    /// Moves the run's row on if it is where the caller thinks; tells whether it did.
    pub(crate) fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase
            .compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The run it began last, whether or not that is over.
    pub(crate) fn last_begun(&self) -> RunId {
        RunId(self.run.load(Ordering::Acquire))
    }

    /// The run it has, or had when it exited; None when it has none.
    pub(crate) fn current(&self) -> Option<CurrentRun> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            if version % 2 == 1 {
                core::hint::spin_loop();
                continue;
            }
            if matches!(self.phase(), Phase::None | Phase::Done | Phase::Orphaned) {
                return None;
            }
            let run = CurrentRun {
                job: JobId(self.job.load(Ordering::Relaxed)),
                run: RunId(self.run.load(Ordering::Relaxed)),
                scheduled_for: Timestamp(self.scheduled_for.load(Ordering::Relaxed)),
                started_at: Timestamp(self.started_at.load(Ordering::Relaxed)),
                attempt: self.attempt.load(Ordering::Relaxed),
                trigger: Trigger::from_u8(self.trigger.load(Ordering::Relaxed))
                    .unwrap_or(Trigger::Schedule),
                window: self.windowed.load(Ordering::Relaxed).then(|| {
                    let load = |at: &AtomicI64| Timestamp(at.load(Ordering::Relaxed));
                    (load(&self.window_start), load(&self.window_end))
                }),
                lasting: self.limits.get(),
            };
            core::sync::atomic::fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                return Some(run);
            }
        }
    }

    /// The run under way, as people are told of it: one that has begun with its work and is not over.
    pub(crate) fn under_way(&self) -> Option<CurrentRun> {
        self.current().filter(|_| self.is_at_work() && self.phase() != Phase::Reported)
    }

    /// Notes that this run is to end, for this cause; `at` on the monotonic clock, `reason` as its
    /// row will have it. Whoever wants that first says why. No signal is sent: only the scheduler
    /// knows that the run it is meant for is the one that would get it.
    pub(crate) fn want_end(&self, run: RunId, cause: Cause, at: i64, reason: &[u8]) -> Asked {
        self.cancel.ask(run, cause, at, reason)
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: c_int) {
        crate::pg::process::signal(self.pid(), signal);
    }

    /// The run's last transaction has been committed: it has succeeded, whatever comes. Called
    /// where nothing may fail.
    pub(crate) fn committed(&self) {
        self.committed.store(true, Ordering::Release);
    }

    /// Whether the last transaction of the run it began last has been committed.
    pub(crate) fn has_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    /// The run wants to be followed by another one.
    pub(crate) fn ask_again(&self) {
        self.again.store(true, Ordering::Release);
    }

    /// Whether the run it began last wants that.
    pub(crate) fn wants_again(&self) -> bool {
        self.again.load(Ordering::Acquire)
    }

    /// Keeps how the run ended until a scheduler, this or the next, has recorded it.
    pub(crate) fn leave_report(&self, left: &Left, sqlstate: Option<[u8; 5]>, message: &str) {
        self.keep_last_words(sqlstate.unwrap_or(*b"00000"), message.as_bytes());
        self.left.keep(left);
    }

    /// How the run ended, if a report was left.
    pub(crate) fn left(&self) -> Option<Left> {
        self.left.get()
    }

    /// Keeps what the executor had to say when it died. Called from an error hook: allocates
    /// nothing and cannot fail.
    pub(crate) fn keep_last_words(&self, sqlstate: [u8; 5], message: &[u8]) {
        self.words.keep(sqlstate, message);
    }

    /// The executor's last words, if it had any.
    pub(crate) fn last_words(&self) -> Option<([u8; 5], String)> {
        self.words.get()
    }
}
