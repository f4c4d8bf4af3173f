//! A set of local calendar dates, as a calendar names them.
//!
//! Owns one invariant: the ranges are sorted, do not touch, and are never empty, so that every
//! question is one binary search.

/// The farthest day from 1970-01-01 a set can hold, either way; what lies beyond is cut off here.
/// Postgres's last date is a quarter of it, and its `infinity` likewise.
const FARTHEST: i64 = 1 << 33;

/// Whole local dates, as days since 1970-01-01. Made once for a calendar and shared by its jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// First and last day of each range.
    ranges: Box<[(i64, i64)]>,
}

impl Dates {
    /// The set of all days in these ranges (first and last day, both included), which may overlap
    /// and come in any order. A range that ends before it begins holds no day.
    #[must_use]
    pub fn from_days(ranges: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut sorted: Vec<(i64, i64)> = ranges
            .into_iter()
            .map(|(from, to)| (from.max(-FARTHEST), to.min(FARTHEST)))
            .filter(|(from, to)| from <= to)
            .collect();
        sorted.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        for (from, to) in sorted {
            match merged.last_mut() {
                Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Self { ranges: merged.into_boxed_slice() }
    }

    /// Whether there is no day in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a day is in the set.
    #[must_use]
    pub fn contains(&self, day: i64) -> bool {
        self.range_from(day).is_some_and(|(from, _)| from <= day)
    }

    /// The first day of the set at or after `day`.
    pub(super) fn next(&self, day: i64) -> Option<i64> {
        self.range_from(day).map(|(from, _)| from.max(day))
    }

    /// The last day of the unbroken run of days that `day` is in; `None` when it is in none.
    pub(super) fn end_of_run(&self, day: i64) -> Option<i64> {
        self.range_from(day).filter(|(from, _)| *from <= day).map(|(_, to)| to)
    }

    /// The first range that ends at or after `day`.
    fn range_from(&self, day: i64) -> Option<(i64, i64)> {
        let index = self.ranges.partition_point(|(_, to)| *to < day);
        self.ranges.get(index).copied()
    }
}
