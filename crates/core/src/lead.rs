//! How long before something is due a process that sleeps is woken for it.
//!
//! A processor that has slept takes its time to wake up, and a process that has slept finds its memory out of
//! the caches: on a virtual machine a fifth of a millisecond and more. So the timer is set earlier by as much
//! as it has been late, and the process waits out what is left of the time awake.
//!
//! Invariant: a process is awake for nothing for [`MOST`] at the most, and not after short sleeps: for no more
//! than two percent of the time.

use crate::time::Timestamp;

/// The longest time to be awake beforehand. In microseconds, as all spans here.
pub const MOST: i64 = 400;

/// Shorter sleeps have no lead.
const LONG: i64 = 20_000;

/// By what part of the difference the lead shrinks when the timer has been less late.
const SHRINKS: i64 = 8;

/// How late timers ring for this process, as the last ones have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lead(i64);

impl Lead {
    /// When to be woken for what is due, going to sleep now.
    #[must_use]
    pub const fn ring_at(self, now: Timestamp, due: Timestamp) -> Timestamp {
        if due.since(now) < LONG { due } else { due.plus(-self.0) }
    }

    /// A timer rang so late, by the time this process ran.
    pub fn rang(&mut self, late: i64) {
        let late = late.clamp(0, MOST);
        self.0 = if late > self.0 { late } else { self.0 - (self.0 - late) / SHRINKS };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn lead(lates: &[i64]) -> i64 {
        let mut lead = Lead::default();
        for &late in lates {
            lead.rang(late);
        }
        let due = NOW.plus(LONG);
        due.since(lead.ring_at(NOW, due))
    }

    #[test]
    fn it_is_as_long_as_the_timer_is_late() {
        assert_eq!(lead(&[]), 0);
        assert_eq!(lead(&[150]), 150);
        assert_eq!(lead(&[150, 220]), 220);
    }

    #[test]
    fn it_shrinks_slowly_to_what_the_timer_takes_now() {
        let mut lates = vec![300];
        lates.extend([100; 2]);
        assert!((200..300).contains(&lead(&lates)));
        lates.extend([100; 50]);
        assert!((100..110).contains(&lead(&lates)));
    }

    #[test]
    fn one_that_is_very_late_counts_as_the_most() {
        assert_eq!(lead(&[1_000_000]), MOST);
        // A clock that was set back.
        assert_eq!(lead(&[-1_000_000]), 0);
    }

    #[test]
    fn short_sleeps_have_none() {
        let mut lead = Lead::default();
        lead.rang(200);
        let due = NOW.plus(LONG - 1);
        assert_eq!(lead.ring_at(NOW, due), due);
    }

    proptest! {
        #[test]
        fn nobody_is_woken_late_or_much_too_early(
            lates in prop::collection::vec(-1_000_000_i64..1_000_000, 0..50),
            sleep in 0_i64..10_000_000,
        ) {
            let mut lead = Lead::default();
            for late in lates {
                lead.rang(late);
            }
            let due = NOW.plus(sleep);
            let early = due.since(lead.ring_at(NOW, due));
            prop_assert!((0..=MOST).contains(&early));
            prop_assert!(early * 50 <= sleep);
        }
    }
}
