//! Who schedules which database.
//!
//! A scheduler owns its database's entry from when it starts until its exit callback; the launcher
//! alone creates entries. An entry is found by the database's oid and outlives its scheduler, so
//! that changes committed in between are not lost.

use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering,
};

use pg_tock_core::time::Timestamp;
use pgrx::pg_sys;

use super::changes::Changes;
use super::figures::Figures;
use super::keeper::Keeper;
use super::{http, layout};

/// One database.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Database {
    oid: AtomicU32,
    pid: AtomicI32,
    latch: AtomicPtr<pg_sys::Latch>,
    /// Asked to leave, so that its database can be dropped or copied.
    leave: AtomicBool,
    /// The database is known not to have the extension.
    absent: AtomicBool,
    /// When the scheduler means to wake up; `i64::MAX` = only when something happens. Whoever has
    /// something for it puts that forward to now, so that it shows if it does not.
    wake_at: AtomicI64,
    /// Up to when no scheduler lived before this life of shared memory; 0 = none has found that out yet.
    nobody_until: AtomicI64,
    /// How often somebody asked for everything to be written, and up to which of these it is.
    flush_asked: AtomicU64,
    flush_done: AtomicU64,
    /// Somebody wants skipped occurrences as well that nothing had to be done about yet.
    flush_skips: AtomicBool,
    /// How many holds of jobs have ended.
    holds_ended: AtomicU64,
    /// Whether this life of shared memory began after a crash, or a stop without order.
    crashed: AtomicBool,
    /// Up to which run id requests are older than that; 0 = none is.
    claim_up_to: AtomicI64,
    /// Its scheduler's queues to the HTTP worker.
    pub(crate) http: http::Link,
    /// What its scheduler says of itself.
    pub(crate) figures: Figures,
    /// Its keeper.
    pub(crate) keeper: Keeper,
    /// Somebody waits for a run, or does not any more.
    asked: AtomicBool,
    /// Jobs that changed.
    pub(crate) changes: Changes,
}

/// The entry of a database; None when it has none.
pub(crate) fn find(oid: u32) -> Option<&'static Database> {
    layout::header()?.databases.iter().find(|entry| oid != 0 && entry.oid() == oid)
}

/// The entry of a database, made if need be; None when all entries are taken.
pub(crate) fn find_or_create(oid: u32) -> Option<&'static Database> {
    find(oid).or_else(|| {
        layout::header()?.databases.iter().find(|entry| {
            entry.oid.compare_exchange(0, oid, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    })
}

/// All entries in use.
pub(crate) fn all() -> impl Iterator<Item = &'static Database> {
    layout::header()
        .into_iter()
        .flat_map(|header| header.databases.iter())
        .filter(|entry| entry.oid() != 0)
}

/// Tells the launcher to look again.
pub(crate) fn wake_launcher() {
    let Some(header) = layout::header() else { return };
    header.launcher_news.fetch_add(1, Ordering::AcqRel);
    // SAFETY: latches of PGPROCs stay in shared memory.
    unsafe { crate::pg::process::set_latch(header.launcher_latch.load(Ordering::Acquire)) };
}

impl Database {
    /// A hold of a job has ended, or was not to be had: runs that were put off may be tried again.
    pub(crate) fn hold_ended(&self) {
        self.holds_ended.fetch_add(1, Ordering::AcqRel);
        self.wake_for_news();
    }

    /// Somebody waits for a run, or does not any more.
    pub(crate) fn somebody_asks(&self) {
        self.asked.store(true, Ordering::Release);
        self.wake_for_news();
    }

    /// Whether that is so since the last call.
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::AcqRel)
    }

    /// How many holds of jobs have ended. Who finds a job held after having read this, and hears
    /// of a higher number, has to look again.
    pub(crate) fn holds_ended(&self) -> u64 {
        self.holds_ended.load(Ordering::Acquire)
    }

    /// Requests with run ids up to this are older than the crash of the server before this life of shared
    /// memory; 0 if there was none.
    pub(crate) fn claim_up_to(&self) -> i64 {
        self.claim_up_to.load(Ordering::Relaxed)
    }

    /// Whether nobody left in order before this life of shared memory.
    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    /// Until when no scheduler lived before this life of shared memory; None if none has found that out yet.
    /// What falls due between two schedulers later than that is late, and not missed.
    pub(crate) fn nobody_until(&self) -> Option<Timestamp> {
        Some(Timestamp(self.nobody_until.load(Ordering::Acquire))).filter(|at| at.0 != 0)
    }

    /// The clock was set back to this instant: nobody has lived later than that.
    pub(crate) fn clock_was_set_back(&self, to: Timestamp) {
        self.nobody_until.fetch_min(to.0, Ordering::AcqRel);
    }

    /// No scheduler lived until then. `crashed_after`: since the server crashed, when runs had ids up to this
    /// one. It holds for all schedulers of this life of shared memory.
    pub(crate) fn nobody_lived(&self, until: Timestamp, crashed_after: Option<i64>) {
        self.crashed.store(crashed_after.is_some(), Ordering::Relaxed);
        self.claim_up_to.store(crashed_after.unwrap_or(0), Ordering::Relaxed);
        self.nobody_until.store(until.0, Ordering::Release);
    }

    /// The database.
    pub(crate) fn oid(&self) -> u32 {
        self.oid.load(Ordering::Acquire)
    }

    /// Its scheduler's process; 0 when it has none.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Makes this process the scheduler, unless there is one.
    pub(crate) fn claim(&self, pid: i32, latch: *mut pg_sys::Latch) -> bool {
        if self.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        self.leave.store(false, Ordering::Relaxed);
        self.wake_at.store(i64::MAX, Ordering::Relaxed);
        self.figures.start(crate::pg::time::now());
        self.latch.store(latch, Ordering::Release);
        true
    }

    /// This process stops being the scheduler.
    pub(crate) fn release(&self, pid: i32) {
        if self.pid() == pid {
            self.http.withdraw();
            self.latch.store(core::ptr::null_mut(), Ordering::Release);
            self.wake_at.store(0, Ordering::Relaxed);
            self.pid.store(0, Ordering::Release);
            // One that is on its way finds nobody who has asked for it.
            self.keeper.start_failed();
            self.keeper.wake();
        }
    }

    /// The database is gone: the entry can be used for another.
    pub(crate) fn forget(&self) {
        self.changes.clear();
        self.keeper.forget();
        http::forget(self.oid());
        self.set_absent(false);
        self.nobody_until.store(0, Ordering::Relaxed);
        self.claim_up_to.store(0, Ordering::Relaxed);
        self.oid.store(0, Ordering::Release);
    }

    /// Wakes the scheduler for something that somebody wants of it, and that can be told from when it
    /// has not looked. It announces anew when it goes to sleep again.
    pub(crate) fn wake_for_news(&self) {
        self.wake_at.fetch_min(crate::pg::time::now().0, Ordering::AcqRel);
        self.wake();
    }

    /// Wakes the scheduler.
    pub(crate) fn wake(&self) {
        // SAFETY: latches of PGPROCs stay in shared memory.
        unsafe { crate::pg::process::set_latch(self.latch.load(Ordering::Acquire)) };
    }

    /// Asks the scheduler to let go of its database; the keeper goes at once.
    pub(crate) fn ask_to_leave(&self) {
        self.leave.store(true, Ordering::Release);
        self.keeper.end();
        self.wake_for_news();
    }

    /// Whether the scheduler was asked to let go.
    pub(crate) fn must_leave(&self) -> bool {
        self.leave.load(Ordering::Acquire)
    }

    /// Notes whether the database has the extension, as far as is known.
    pub(crate) fn set_absent(&self, absent: bool) {
        self.absent.store(absent, Ordering::Release);
    }

    /// Whether the database is known not to have the extension.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Acquire)
    }

    /// Asks the scheduler to write all it knows; the answer is to be compared with `flushed`.
    pub(crate) fn ask_to_flush(&self, skips: bool) -> u64 {
        self.flush_skips.fetch_or(skips, Ordering::AcqRel);
        let ticket = self.flush_asked.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        self.wake_for_news();
        ticket
    }

    /// What was asked for last; the scheduler answers with `flushed_up_to`.
    pub(crate) fn flush_wanted(&self) -> Option<u64> {
        let asked = self.flush_asked.load(Ordering::Acquire);
        (asked != self.flush_done.load(Ordering::Acquire)).then_some(asked)
    }

    /// Whether skipped occurrences are wanted, too; asked once.
    pub(crate) fn skips_wanted(&self) -> bool {
        self.flush_skips.swap(false, Ordering::AcqRel)
    }

    /// Everything asked for so far is written.
    pub(crate) fn flushed_up_to(&self, ticket: u64) {
        self.flush_done.store(ticket, Ordering::Release);
    }

    /// Whether what this ticket asked for is written.
    pub(crate) fn is_flushed(&self, ticket: u64) -> bool {
        self.flush_done.load(Ordering::Acquire) >= ticket
    }

    /// When the scheduler means to wake up; None: when something happens, or there is none.
    pub(crate) fn wakes_at(&self) -> Option<Timestamp> {
        match self.wake_at.load(Ordering::Acquire) {
            0 | i64::MAX => None,
            at => Some(Timestamp(at)),
        }
    }

    /// How long ago the scheduler should have woken up, in microseconds; 0 if it still may sleep. One that
    /// has too much to do to sleep at all has not overslept.
    pub(crate) fn overslept(&self, now: Timestamp) -> i64 {
        let looked_at = self.figures.looked_at();
        self.wakes_at().map_or(0, |at| now.since(at.max(looked_at)).max(0))
    }

    /// Announces when the scheduler will wake up.
    pub(crate) fn announce(&self, at: Option<Timestamp>) {
        self.wake_at.store(at.map_or(i64::MAX, |at| at.0), Ordering::Release);
    }
}
