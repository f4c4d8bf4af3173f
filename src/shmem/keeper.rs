//! The keeper of a database, as all processes see it.
//!
//! Its process id goes `0 → STARTING → pid → 0`: the scheduler takes the first step, the keeper's
//! exit callback the last one. What there is to do is a set of chores, noted before anybody is
//! woken: whoever finds a chore to do needs to know nothing of the keeper, not even whether there is
//! one.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, Ordering};

use pg_tock_core::time::Timestamp;
use pgrx::pg_sys;

use crate::pg::process;

/// The process id of a keeper that is being started.
const STARTING: i32 = -1;

static HERE: AtomicBool = AtomicBool::new(false);

/// Whether this process is a keeper.
pub(crate) fn is_this_process() -> bool {
    HERE.load(Ordering::Relaxed)
}

/// What a keeper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Chore {
    /// Deletes history that need not be kept any longer.
    Prune = 1 << 0,
    /// Deletes statistics of hours and days that need not be kept any longer.
    Statistics = 1 << 1,
    /// Sends events.
    Notify = 1 << 2,
}

impl Chore {
    /// Its bit in a set of chores.
    pub(crate) const fn bit(self) -> u32 {
        self as u32
    }
}

/// The keeper of one database.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Keeper {
    pid: AtomicI32,
    /// What there is to do and was not begun: a set of chores.
    wanted: AtomicU32,
    latch: AtomicPtr<pg_sys::Latch>,
    /// Asked to leave, whatever there is to do.
    leave: AtomicBool,
    /// In the middle of a transaction.
    busy: AtomicBool,
    /// How far the history has been pruned.
    pub(crate) pruned: Pruned,
}

/// How far the history of a database has been pruned, from one keeper to the next.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Pruned {
    /// The next pass is to look at all runs.
    whole: AtomicBool,
    /// When the last pass that did so began; 0 = there was none.
    whole_at: AtomicI64,
    /// Runs up to this one are old; what is left of them was to be kept.
    settled: AtomicI64,
}

impl Pruned {
    /// The next pass is to look at all runs.
    pub(crate) fn look_at_all(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Whether the next pass is to look at all runs.
    pub(crate) fn wants_all(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// A pass begins: beyond which run it looks. At all, if it is the first for so long.
    pub(crate) fn begin(&self, now: Timestamp, period: i64) -> i64 {
        let at = self.whole_at.load(Ordering::Relaxed);
        let recent = at != 0 && (0..period).contains(&now.since(Timestamp(at)));
        if self.whole.swap(false, Ordering::AcqRel) || !recent {
            self.whole_at.store(now.0, Ordering::Relaxed);
            self.settled.store(i64::MIN, Ordering::Relaxed);
        }
        self.settled.load(Ordering::Relaxed)
    }

    /// A pass has got so far.
    pub(crate) fn settle(&self, run: i64) {
        self.settled.store(run, Ordering::Relaxed);
    }

    /// The history is another one.
    fn forget(&self) {
        self.whole_at.store(0, Ordering::Relaxed);
    }
}

impl Keeper {
    /// There is something to do. The caller sees to it that the scheduler gets to know.
    pub(crate) fn want(&self, chore: Chore) {
        self.want_all(chore.bit());
        self.wake();
    }

    /// The same for a set of chores, by a keeper that leaves.
    pub(crate) fn want_all(&self, chores: u32) {
        self.wanted.fetch_or(chores, Ordering::AcqRel);
    }

    /// Whether there is something to do that was not begun.
    pub(crate) fn has_work(&self) -> bool {
        self.wanted.load(Ordering::Acquire) != 0
    }

    /// Takes what there is to do.
    pub(crate) fn take(&self) -> u32 {
        if self.has_work() { self.wanted.swap(0, Ordering::AcqRel) } else { 0 }
    }

    /// There is nothing to do any more: the extension is gone.
    pub(crate) fn forget(&self) {
        self.wanted.store(0, Ordering::Release);
        self.pruned.forget();
        self.end();
    }

    /// The keeper's process; 0 when there is none, or none yet.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire).max(0)
    }

    /// Whether there is a keeper, or about to be one.
    pub(crate) fn is_there(&self) -> bool {
        self.pid.load(Ordering::Acquire) != 0
    }

    /// Makes the caller the one who starts a keeper, if there is none.
    pub(crate) fn may_start(&self) -> bool {
        let mine =
            self.pid.compare_exchange(0, STARTING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if mine {
            self.leave.store(false, Ordering::Release);
        }
        mine
    }

    /// The keeper the caller was to start has not come to be.
    pub(crate) fn start_failed(&self) {
        let _ = self.pid.compare_exchange(STARTING, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// This process is the keeper. False if nobody waits for one.
    pub(crate) fn arrive(&self) -> bool {
        let me = process::pid();
        let arrived =
            self.pid.compare_exchange(STARTING, me, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if arrived {
            self.rests();
            HERE.store(true, Ordering::Relaxed);
            self.latch.store(process::latch(), Ordering::Release);
        }
        arrived
    }

    /// This process stops being the keeper.
    pub(crate) fn depart(&self) {
        if self.pid.load(Ordering::Acquire) == process::pid() {
            self.latch.store(core::ptr::null_mut(), Ordering::Release);
            self.pid.store(0, Ordering::Release);
        }
    }

    /// Wakes the keeper.
    pub(crate) fn wake(&self) {
        // SAFETY: latches of PGPROCs stay in shared memory.
        unsafe { process::set_latch(self.latch.load(Ordering::Acquire)) };
    }

    /// Makes the keeper go at once, also in the middle of a statement; one that is being started goes
    /// when it arrives.
    pub(crate) fn end(&self) {
        self.leave.store(true, Ordering::SeqCst);
        if self.busy.load(Ordering::SeqCst) {
            process::signal(self.pid(), libc::SIGTERM);
        } else {
            self.wake();
        }
    }

    /// The keeper is about to begin a transaction. False if it is to go: either it sees that here, or
    /// whoever wants it to go sees that it is busy.
    pub(crate) fn may_work(&self) -> bool {
        self.busy.store(true, Ordering::SeqCst);
        !self.leave.load(Ordering::SeqCst)
    }

    /// The transaction is over.
    pub(crate) fn rests(&self) {
        self.busy.store(false, Ordering::SeqCst);
    }

    /// Whether the keeper is to go.
    pub(crate) fn must_leave(&self) -> bool {
        self.leave.load(Ordering::Acquire)
    }
}
