//! That a run is to end, and why: noted where the run is, by whoever wants it first.
//!
//! The note is bound to the run: one that comes when the run is over, or the next has begun, does
//! nothing. It is there before any signal is sent, so the run ends for the cause it says whatever
//! the command makes of the signal, and it outlives the scheduler.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pg_tock_core::cancel::Cause;
use pg_tock_core::time::RunId;

use super::bytes::Bytes;

/// Most bytes of a reason that are kept.
pub(crate) const REASON: usize = 400;

/// Nobody wants the run to end.
const OPEN: u64 = 0;
/// Somebody is writing the note.
const WRITING: u64 = 0xff;

/// The note about one run.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Cancel {
    /// The run it is about, and in the lowest byte [`OPEN`], [`WRITING`] or the cause.
    word: AtomicU64,
    /// When it was written, on the monotonic clock.
    at: AtomicI64,
    reason: Bytes<REASON>,
}

/// What became of a wish to end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It is noted.
    Noted,
    /// Somebody had wanted that before.
    Before,
    /// The run has not begun here, or another one has.
    OtherRun,
}

const fn word(run: RunId, state: u64) -> u64 {
    (run.0.cast_unsigned() << 8) | state
}

impl Cancel {
    /// A run begins. Waits, for an instant, for whoever is writing about the last one.
    pub(super) fn open(&self, run: RunId) {
        let mut before = self.word.load(Ordering::Acquire);
        loop {
            if before & 0xff == WRITING {
                std::thread::yield_now();
                before = self.word.load(Ordering::Acquire);
                continue;
            }
            let new = word(run, OPEN);
            let order = (Ordering::AcqRel, Ordering::Acquire);
            match self.word.compare_exchange(before, new, order.0, order.1) {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    /// The run is to end, for this cause; `reason` is what its row will say. Allocates nothing and
    /// cannot be interrupted.
    pub(super) fn ask(&self, run: RunId, cause: Cause, at: i64, reason: &[u8]) -> Asked {
        let writing = word(run, WRITING);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        if let Err(now) = self.word.compare_exchange(word(run, OPEN), writing, order.0, order.1) {
            let same = now >> 8 == writing >> 8;
            return if same { Asked::Before } else { Asked::OtherRun };
        }
        self.at.store(at, Ordering::Relaxed);
        self.reason.set(reason);
        self.word.store(word(run, cause.as_u8().into()), Ordering::Release);
        Asked::Noted
    }

    /// Why this run is to end, if it is.
    pub(crate) fn cause(&self, run: RunId) -> Option<Cause> {
        let now = self.word.load(Ordering::Acquire);
        let mine = now >> 8 == word(run, OPEN) >> 8;
        u8::try_from(now & 0xff).ok().filter(|_| mine).and_then(Cause::from_u8)
    }

    /// When that was noted, on the monotonic clock.
    pub(crate) fn asked_at(&self, run: RunId) -> Option<i64> {
        self.cause(run).map(|_| self.at.load(Ordering::Relaxed))
    }

    /// What this run's row is to say, in the encoding of its scheduler's database.
    pub(crate) fn reason(&self, run: RunId) -> Option<Vec<u8>> {
        self.cause(run).map(|_| self.reason.to_vec())
    }
}
