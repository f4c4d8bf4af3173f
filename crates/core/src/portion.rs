//! How much of a long piece of work is done between two looks at what is due.
//!
//! Invariant: a portion comes to take about [`AIM`], as the clock on the wall has it: on a machine
//! that has other things to do portions are smaller, so that what falls due does not wait behind one.

use core::time::Duration;

/// How long a portion is to take.
pub const AIM: Duration = Duration::from_millis(1);

/// The least and the most things in a portion.
pub const LEAST: usize = 8;
pub const MOST: usize = 500;

/// The size of the next portion.
#[derive(Clone, Copy, Debug)]
pub struct Portion(usize);

impl Default for Portion {
    fn default() -> Self {
        Self(64)
    }
}

impl Portion {
    /// How many things to do now.
    #[must_use]
    pub const fn size(self) -> usize {
        self.0
    }

    /// So many were done, in that time.
    pub fn done(&mut self, count: usize, took: Duration) {
        if count == 0 || (count < self.0 && took < AIM) {
            return; // too little to learn from
        }
        let took = took.as_nanos().max(1);
        let fits = (count as u128).saturating_mul(AIM.as_nanos()) / took;
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        self.0 = fits.min(self.0.saturating_mul(2)).clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// After some portions on a machine that does one thing in that time.
    fn settled(one: Duration) -> usize {
        let mut portion = Portion::default();
        for _ in 0..20 {
            portion.done(portion.size(), one * u32::try_from(portion.size()).expect("is small"));
        }
        portion.size()
    }

    #[test]
    fn slow_things_make_small_portions_and_fast_ones_large() {
        assert_eq!(settled(Duration::from_micros(20)), 50);
        assert_eq!(settled(Duration::from_millis(5)), LEAST);
        assert_eq!(settled(Duration::from_nanos(1)), MOST);
    }

    #[test]
    fn a_part_that_was_fast_says_nothing() {
        let mut portion = Portion::default();
        portion.done(1, Duration::from_micros(900));
        portion.done(0, Duration::from_secs(1));
        assert_eq!(portion.size(), Portion::default().size());
    }

    proptest! {
        #[test]
        fn a_portion_is_within_bounds_whatever_happens(
            all in prop::collection::vec((0_usize..2_000, 0_u64..10_000_000_000), 0..50),
        ) {
            let mut portion = Portion::default();
            for (count, nanos) in all {
                let before = portion.size();
                portion.done(count, Duration::from_nanos(nanos));
                prop_assert!((LEAST..=MOST).contains(&portion.size()));
                prop_assert!(portion.size() <= before * 2);
            }
        }
    }
}
