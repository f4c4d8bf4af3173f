//! Which seconds of a day a schedule fires at.
//!
//! Owns one invariant: the answer is a second of the local day, 0 to 86,399, found by bit
//! operations rather than by walking.

use super::civil::DAY;

/// The firing times of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// The time fields of a cron expression; no set is empty.
    Fields {
        /// Bits 0-59.
        seconds: u64,
        /// Bits 0-59.
        minutes: u64,
        /// Bits 0-23.
        hours: u64,
    },
    /// Every so many seconds from local midnight; a divisor of 86,400.
    Grid(i64),
}

impl Times {
    /// The first firing second of the day at or after `second`.
    pub(super) fn next(&self, second: i64) -> Option<i64> {
        match *self {
            Self::Grid(step) => {
                let rounded = (second + step - 1) / step * step;
                (rounded < DAY).then_some(rounded)
            }
            Self::Fields { seconds, minutes, hours } => {
                let (hour, minute) = (second / 3_600, second / 60 % 60);
                if hours >> hour & 1 == 1 {
                    if minutes >> minute & 1 == 1
                        && let Some(found) = next_bit(seconds, second % 60)
                    {
                        return Some(second - second % 60 + found);
                    }
                    if let Some(found) = next_bit(minutes, minute + 1) {
                        return Some(hour * 3_600 + found * 60 + first_bit(seconds));
                    }
                }
                let found = next_bit(hours, hour + 1)?;
                Some(found * 3_600 + first_bit(minutes) * 60 + first_bit(seconds))
            }
        }
    }
}

/// The lowest set bit of a set that is not empty.
fn first_bit(set: u64) -> i64 {
    i64::from(set.trailing_zeros())
}

/// The lowest set bit at or above `from`, which is at most 60.
fn next_bit(set: u64, from: i64) -> Option<i64> {
    let left = set >> from;
    (left != 0).then(|| from + i64::from(left.trailing_zeros()))
}
