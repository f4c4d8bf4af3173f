//! How a run ended, where the scheduler finds it that has to record it.

use core::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use pg_tock_core::cancel::Cause;
use pg_tock_core::run::{Guarantee, Outcome};
use pg_tock_core::time::Timestamp;
use pg_tock_core::usage::Usage;

/// Rows of a statement that counts none.
const NO_ROWS: i64 = -1;

/// How a run ended, as it is kept for the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) outcome: Outcome,
    /// Why it was made to end, if it was.
    pub(crate) cause: Option<Cause>,
    pub(crate) guarantee: Guarantee,
    pub(crate) ended_at: Timestamp,
    /// Rows of the last statement, where it counts any.
    pub(crate) row_count: Option<i64>,
    /// What it used of the server.
    pub(crate) usage: Usage,
}

/// Where that is kept.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Leaving {
    /// Plus one; 0 = nothing to tell.
    outcome: AtomicU8,
    /// 0 = none.
    cause: AtomicU8,
    guarantee: AtomicU8,
    ended_at: AtomicI64,
    rows: AtomicI64,
    usage: [AtomicI64; Usage::FIELDS],
}

impl Leaving {
    /// There is nothing to tell.
    pub(super) fn clear(&self) {
        self.outcome.store(0, Ordering::Relaxed);
    }

    /// Keeps how a run ended.
    pub(super) fn keep(&self, left: &Left) {
        self.guarantee.store(left.guarantee.as_u8(), Ordering::Relaxed);
        self.ended_at.store(left.ended_at.0, Ordering::Relaxed);
        self.rows.store(left.row_count.unwrap_or(NO_ROWS), Ordering::Relaxed);
        for (place, field) in self.usage.iter().zip(left.usage.to_array()) {
            place.store(field, Ordering::Relaxed);
        }
        self.cause.store(left.cause.map_or(0, Cause::as_u8), Ordering::Relaxed);
        self.outcome.store(left.outcome.as_u8().saturating_add(1), Ordering::Release);
    }

    /// How it ended, if that was kept.
    pub(super) fn get(&self) -> Option<Left> {
        let outcome = self.outcome.load(Ordering::Acquire).checked_sub(1)?;
        let rows = self.rows.load(Ordering::Relaxed);
        Some(Left {
            outcome: Outcome::from_u8(outcome)?,
            cause: Cause::from_u8(self.cause.load(Ordering::Relaxed)),
            guarantee: Guarantee::from_u8(self.guarantee.load(Ordering::Relaxed))?,
            ended_at: Timestamp(self.ended_at.load(Ordering::Relaxed)),
            row_count: Some(rows).filter(|&rows| rows != NO_ROWS),
            usage: Usage::from_array(
                self.usage.each_ref().map(|field| field.load(Ordering::Relaxed)),
            ),
        })
    }
}
