//! How long a run has been going on, and may: kept where the run is, so that the next scheduler goes on
//! with it.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pg_tock_core::watch::Watch;

/// When a run began, and its limits. Microseconds; the beginning on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lasting {
    pub(crate) began: i64,
    pub(crate) timeout: Option<i64>,
    /// How long it may go on without a heartbeat before it counts as stuck.
    pub(crate) stuck_after: Option<i64>,
    /// It is ended then.
    pub(crate) ends_stuck: bool,
}

impl Lasting {
    /// The run as one that has given no sign of life yet, and that nobody wants to end.
    pub(crate) fn watch(&self) -> Watch {
        let &Self { began, timeout, stuck_after, ends_stuck } = self;
        Watch { began, timeout, stuck_after, ends_stuck, ..Watch::default() }
    }
}

/// Where that is kept. Whoever reads it makes sure that it is of one run.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Limits {
    began: AtomicI64,
    /// 0 = none.
    timeout: AtomicI64,
    /// 0 = none.
    stuck_after: AtomicI64,
    ends_stuck: AtomicBool,
}

impl Limits {
    /// Keeps the limits of a run.
    pub(super) fn set(&self, lasting: &Lasting) {
        self.begin(lasting.began);
        self.timeout.store(lasting.timeout.unwrap_or(0), Ordering::Relaxed);
        self.stuck_after.store(lasting.stuck_after.unwrap_or(0), Ordering::Relaxed);
        self.ends_stuck.store(lasting.ends_stuck, Ordering::Relaxed);
    }

    /// The run counts from now.
    pub(super) fn begin(&self, now: i64) {
        self.began.store(now, Ordering::Relaxed);
    }

    /// What was kept last.
    pub(super) fn get(&self) -> Lasting {
        let limit =
            |kept: &AtomicI64| Some(kept.load(Ordering::Relaxed)).filter(|&micros| micros != 0);
        Lasting {
            began: self.began.load(Ordering::Relaxed),
            timeout: limit(&self.timeout),
            stuck_after: limit(&self.stuck_after),
            ends_stuck: self.ends_stuck.load(Ordering::Relaxed),
        }
    }
}
