//! A schedule with windows, calendars and jitter, by the plainest arithmetic.

use super::support::Every;
use crate::engine::Occurrences;
use crate::run::{SkipReason, Verdict};
use crate::time::Timestamp;

/// Multiples of a period, of which some stretches are closed, started a little late.
#[derive(Debug)]
pub(super) struct Shaped {
    pub(super) period: i64,
    /// Stretches of this length are closed in turn: by a window, by a calendar, not.
    pub(super) stretch: i64,
    pub(super) jitter: i64,
}

impl Shaped {
    pub(super) fn closed(&self, at: Timestamp) -> Option<SkipReason> {
        if self.stretch == 0 {
            return None;
        }
        match at.0.div_euclid(self.stretch).rem_euclid(4) {
            1 => Some(SkipReason::Window),
            2 => Some(SkipReason::Calendar),
            _ => None,
        }
    }

    pub(super) fn start(&self, nominal: Timestamp) -> Timestamp {
        let mixed = nominal.0.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()) >> 20;
        let end = self.opens_end(nominal);
        let most = self.jitter.min(self.period).min(end.since(nominal));
        nominal.plus(if most > 0 { mixed.rem_euclid(most) } else { 0 })
    }

    /// End of the stretch an instant lies in.
    fn opens_end(&self, at: Timestamp) -> Timestamp {
        match self.stretch {
            0 => Timestamp(i64::MAX),
            stretch => Timestamp((at.0.div_euclid(stretch) + 1) * stretch),
        }
    }
}

impl Occurrences for Shaped {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        Every(self.period).next_after(after)
    }

    fn verdict(&self, nominal: Timestamp) -> Verdict {
        match self.closed(nominal) {
            Some(reason) => Verdict::Skip(reason),
            None => Verdict::Start(self.start(nominal)),
        }
    }

    fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        let mut next = self.next_after(after)?;
        while self.closed(next).is_some() {
            next = self.next_after(self.opens_end(next).plus(-1))?;
        }
        Some(next)
    }

    fn opens(&self, mut at: Timestamp) -> Option<Timestamp> {
        while self.closed(at).is_some() {
            at = self.opens_end(at);
        }
        Some(at)
    }
}
