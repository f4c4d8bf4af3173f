//! What the order of a run says of its row, where the next scheduler finds it.
//!
//! Written by the executor before the run begins, so it is there for whoever sees that there is one.

use core::sync::atomic::{AtomicBool, Ordering};

use pg_tock_core::wire::RunOrder;

/// Of the run an executor has, or had last.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Ordered {
    asks: AtomicBool,
    claimed: AtomicBool,
    records: AtomicBool,
}

impl Ordered {
    /// Takes it from the order of the run that begins next.
    pub(crate) fn take(&self, order: &RunOrder<'_>) {
        self.asks.store(order.only_asks, Ordering::Release);
        self.claimed.store(order.claim_first, Ordering::Release);
        self.records.store(order.local || order.dry_run.is_some(), Ordering::Release);
    }

    /// Whether the run is a question, and what it asks for is for another process to do.
    pub(crate) fn only_asks(&self) -> bool {
        self.asks.load(Ordering::Acquire)
    }

    /// Whether it has to be claimed before it begins.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Acquire)
    }

    /// Whether it is the executor that records how it ends.
    pub(crate) fn records_itself(&self) -> bool {
        self.records.load(Ordering::Acquire)
    }
}
