//! What a run says about itself while it goes on.
//!
//! Written by the process that runs it, read by anybody. A version counter, odd while the fields
//! change, keeps readers from half of one heartbeat and half of the next.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering, fence};

use pg_tock_core::time::Timestamp;

use super::bytes::Bytes;
use crate::pg::time::monotonic;

/// Most bytes of a note that are kept.
pub(crate) const NOTE: usize = 200;

/// Bits of no number a heartbeat may give.
const NO_PROGRESS: u64 = u64::MAX;

/// The last heartbeat of a run.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Progress {
    version: AtomicU64,
    /// 0 = there was none.
    at: AtomicI64,
    /// The same on the monotonic clock.
    heard_at: AtomicI64,
    /// The scheduler has said that the run is stuck, and wants to hear of the next heartbeat.
    awaited: AtomicBool,
    /// The bits of a percentage.
    percent: AtomicU64,
    note: Bytes<NOTE>,
    whole: AtomicBool,
}

/// A heartbeat, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heartbeat {
    /// When it was given.
    pub(crate) at: Timestamp,
    /// How much is done, in percent, if the run has said so.
    pub(crate) percent: Option<f64>,
    /// What it has noted, in the encoding of its database; empty if nothing.
    pub(crate) note: Vec<u8>,
}

impl Progress {
    /// A run begins: it has said nothing.
    pub(crate) fn reset(&self) {
        self.change(|| {
            self.at.store(0, Ordering::Relaxed);
            self.heard_at.store(0, Ordering::Relaxed);
            self.awaited.store(false, Ordering::Relaxed);
            self.percent.store(NO_PROGRESS, Ordering::Relaxed);
            self.note.clear();
        });
        self.whole.store(false, Ordering::Release);
    }

    /// What the run does and its row will be one transaction: if it dies, nothing is left of it.
    pub(crate) fn will_be_whole(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Whether it has said so.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// The run says something; what it leaves out stays as it was. A note is cut to [`NOTE`] bytes,
    /// which the caller has seen to where the cut must not go through a letter. Says whether the
    /// scheduler waits for it.
    pub(crate) fn beat(&self, at: Timestamp, percent: Option<f64>, note: Option<&[u8]>) -> bool {
        self.change(|| {
            self.at.store(at.0, Ordering::Relaxed);
            self.heard_at.store(monotonic(), Ordering::SeqCst);
            if let Some(percent) = percent {
                self.percent.store(percent.to_bits(), Ordering::Relaxed);
            }
            if let Some(note) = note {
                self.note.set(note);
            }
        });
        self.awaited.swap(false, Ordering::SeqCst)
    }

    /// Wants the process that gives the next heartbeat to wake the scheduler, unless one has come
    /// since `last`; says whether it has not.
    pub(crate) fn await_beat(&self, last: Option<i64>) -> bool {
        self.awaited.store(true, Ordering::SeqCst);
        self.heard_at() == last
    }

    /// When the run gave its last heartbeat, on the monotonic clock.
    pub(crate) fn heard_at(&self) -> Option<i64> {
        Some(self.heard_at.load(Ordering::SeqCst)).filter(|&at| at != 0)
    }

    /// The last heartbeat; None if the run has given none.
    pub(crate) fn last(&self) -> Option<Heartbeat> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            if version % 2 == 1 {
                core::hint::spin_loop();
                continue;
            }
            let at = self.at.load(Ordering::Relaxed);
            let percent = self.percent.load(Ordering::Relaxed);
            let note = self.note.to_vec();
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) != version {
                continue;
            }
            let percent = (percent != NO_PROGRESS).then(|| f64::from_bits(percent));
            return (at != 0).then_some(Heartbeat { at: Timestamp(at), percent, note });
        }
    }

    fn change(&self, write: impl FnOnce()) {
        self.version.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::Release);
        write();
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}
