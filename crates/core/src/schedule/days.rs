//! Which days a schedule fires on.
//!
//! Owns one invariant: a month's firing days are one bit mask, worked out from the local calendar
//! date alone, never from elapsed time. That is what makes `$`, `L`, `15W` and weekdays right in
//! every zone.

use super::DayRule;
use super::civil::{date_of, day_number, month_length, weekday};

/// One bit per week, at the first day of each: multiplied by a weekday set it repeats that set.
const WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28 | 1 << 35 | 1 << 42;

/// Bits 1 to 12.
pub(super) const ALL_MONTHS: u64 = 0x1ffe;
/// Bits 1 to 31.
pub(super) const ALL_DAYS: u64 = 0xffff_fffe;
/// Bits 0 (Sunday) to 6.
pub(super) const ALL_WEEKDAYS: u64 = 0x7f;

/// How many years after the start the search still looks at: 29 February on one weekday can be
/// 40 years away (across 2100).
pub(super) const HORIZON_YEARS: i64 = 40;

/// The month and both day fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Days {
    /// Months, bits 1-12.
    pub(super) months: u64,
    /// Days of the month, bits 1-31.
    pub(super) month_days: u64,
    /// `L` or `$`: the last day of the month.
    pub(super) last_day: bool,
    /// `LW`: the last day of the month from Monday to Friday.
    pub(super) last_workday: bool,
    /// `15W`: the day from Monday to Friday nearest to these days, bits 1-31.
    pub(super) near_workdays: u64,
    /// Weekdays, bits 0 (Sunday) to 6.
    pub(super) weekdays: u64,
    /// `fri#2`: bits 7 * (n - 1) + weekday.
    pub(super) nth_weekdays: u64,
    /// `5L`: the last such weekday of the month, bits 0-6.
    pub(super) last_weekdays: u64,
    /// Neither day field starts with `*`: under [`DayRule::Vixie`] one of them is enough.
    pub(super) either: bool,
}

impl Days {
    /// Every day of every month.
    pub(super) const fn every() -> Self {
        Self {
            months: ALL_MONTHS,
            month_days: ALL_DAYS,
            last_day: false,
            last_workday: false,
            near_workdays: 0,
            weekdays: ALL_WEEKDAYS,
            nth_weekdays: 0,
            last_weekdays: 0,
            either: false,
        }
    }

    /// Whether the day-of-month field allows every day.
    pub(super) const fn any_month_day(&self) -> bool {
        self.month_days == ALL_DAYS
    }

    /// Whether the day-of-week field allows every weekday.
    pub(super) const fn any_weekday(&self) -> bool {
        self.weekdays == ALL_WEEKDAYS
    }

    /// Whether every day of every month fires under either day rule.
    const fn is_every(&self) -> bool {
        self.any_month_day() && self.any_weekday() && self.months == ALL_MONTHS
    }

    /// The first firing day at or after `from` and not after `limit_year`.
    pub(super) fn next(&self, from: i64, limit_year: i64, rule: DayRule) -> Option<i64> {
        if self.is_every() {
            return Some(from);
        }
        let (mut year, mut month, day) = date_of(from);
        let mut earliest = day;
        while year <= limit_year {
            if self.months >> month & 1 == 1 {
                let left = self.in_month(year, month, rule) >> earliest;
                if left != 0 {
                    let day = earliest + i64::from(left.trailing_zeros());
                    return Some(day_number(year, month, day));
                }
            }
            earliest = 1;
            let later = self.months & (ALL_MONTHS << month);
            if later == 0 {
                year += 1;
                month = i64::from(self.months.trailing_zeros());
                if self.months == 0 {
                    return None;
                }
            } else {
                month = i64::from(later.trailing_zeros());
            }
        }
        None
    }

    /// The firing days of a month, bits 1-31.
    pub(super) fn in_month(&self, year: i64, month: i64, rule: DayRule) -> u64 {
        let length = month_length(year, month);
        let first = weekday(day_number(year, month, 1));
        let valid = (2 << length) - 2;
        let by_date = (self.month_days | self.special_dates(first, length)) & valid;
        let by_weekday =
            (repeat(self.weekdays, first) | self.special_weekdays(first, length)) & valid;
        match rule {
            DayRule::Vixie if self.either => by_date | by_weekday,
            DayRule::Vixie | DayRule::And => by_date & by_weekday,
        }
    }

    /// The days meant by `L`, `$`, `LW` and `15W` in a month that begins on weekday `first`.
    fn special_dates(&self, first: i64, length: i64) -> u64 {
        let mut days = 0;
        if self.last_day {
            days |= 1 << length;
        }
        if self.last_workday {
            days |= 1 << nearest_workday(length, first, length);
        }
        let mut wanted = self.near_workdays & ((2 << length) - 2);
        while wanted != 0 {
            let day = i64::from(wanted.trailing_zeros());
            days |= 1 << nearest_workday(day, first, length);
            wanted &= wanted - 1;
        }
        days
    }

    /// The days meant by `fri#2` and `5L` in a month that begins on weekday `first`.
    fn special_weekdays(&self, first: i64, length: i64) -> u64 {
        let mut days = 0;
        if self.nth_weekdays != 0 {
            for week in 0..5 {
                let set = self.nth_weekdays >> (7 * week) & ALL_WEEKDAYS;
                days |= repeat(set, first) & (0xfe << (7 * week));
            }
        }
        if self.last_weekdays != 0 {
            days |= repeat(self.last_weekdays, first) & (0xfe << (length - 7));
        }
        days
    }
}

/// A weekday set spread over a month that begins on weekday `first`: bits 1 to 31 and beyond.
const fn repeat(weekdays: u64, first: i64) -> u64 {
    (weekdays * WEEKS) >> first << 1
}

/// The day from Monday to Friday nearest to `day` without leaving the month.
const fn nearest_workday(day: i64, first: i64, length: i64) -> i64 {
    match (first + day - 1).rem_euclid(7) {
        6 if day > 1 => day - 1,
        6 => day + 2,
        0 if day < length => day + 1,
        0 => day - 2,
        _ => day,
    }
}
