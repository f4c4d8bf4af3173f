//! Whether a run may start at an instant, as window and calendars have it.
//!
//! Owns one invariant: open and closed are properties of the local wall clock alone, so within a
//! stretch of time between two shifts of the clock the answer is found in local seconds, and at a
//! shift the search goes on from what clocks show then (as in `schedule::walk`).

use std::sync::Arc;

use super::{Dates, RunWindow};
use crate::run::SkipReason;
use crate::schedule::Zone;
use crate::schedule::civil::DAY;
use crate::time::Timestamp;

/// How far ahead a search for an open moment looks: forty years, as for schedules.
pub(super) const HORIZON: i64 = 40 * 366 * DAY;

/// A job's window and calendars in its zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate<'a> {
    pub(super) zone: &'a Zone,
    pub(super) window: Option<&'a RunWindow>,
    pub(super) skip_on: &'a [Arc<Dates>],
    pub(super) only_on: &'a [Arc<Dates>],
}

impl Gate<'_> {
    /// Whether it is always open.
    pub(super) const fn is_absent(&self) -> bool {
        self.window.is_none() && self.skip_on.is_empty() && self.only_on.is_empty()
    }

    /// Why nothing may start at an instant; `None` when it may. A day that calendars exclude is
    /// excluded as a whole, so their reason goes before the window's.
    pub(super) fn reason(&self, at: Timestamp) -> Option<SkipReason> {
        if self.is_absent() {
            return None;
        }
        let local = self.zone.local(at).secs;
        if !self.allows_day(local.div_euclid(DAY)) {
            return Some(SkipReason::Calendar);
        }
        let outside = self.window.is_some_and(|window| window.opens(local) != local);
        outside.then_some(SkipReason::Window)
    }

    /// The first open instant at or after `at`; `None` when there is none within the horizon.
    pub(super) fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        if self.reason(at).is_none() {
            return Some(at);
        }
        // The whole second is closed, so what is found is after `at`.
        let (shifts, mut begin) = (self.zone.shifts(), at.secs());
        let mut index = self.zone.shifts_until(begin);
        let mut offset = self.zone.offset_before(index);
        let limit = begin.checked_add(HORIZON)?;
        // The last search: where it began and what it found.
        let mut found: Option<(i64, i64)> = None;
        loop {
            let local = begin.checked_add(offset)?;
            let opens = match found {
                Some((from, opens)) if from <= local && local <= opens => opens,
                _ => self.first_open(local, limit)?,
            };
            found = Some((local, opens));
            match shifts.get(index) {
                Some(shift) if opens - offset >= shift.at => {
                    begin = shift.at;
                    offset = shift.after;
                    index += 1;
                }
                _ => return Some(Timestamp::from_secs(opens - offset)),
            }
        }
    }

    /// The first closed instant after `at`, which is open, or `cap` if that comes first.
    pub(super) fn closes(&self, at: Timestamp, cap: Timestamp) -> Timestamp {
        if self.is_absent() {
            return cap;
        }
        let (shifts, mut begin) = (self.zone.shifts(), at.secs());
        let mut index = self.zone.shifts_until(begin);
        let mut offset = self.zone.offset_before(index);
        loop {
            let closes = self.first_closed(begin.saturating_add(offset)).saturating_sub(offset);
            match shifts.get(index) {
                Some(shift) if closes >= shift.at && shift.at < cap.secs() => {
                    begin = shift.at;
                    offset = shift.after;
                    index += 1;
                }
                _ => return Timestamp::from_secs(closes).min(cap),
            }
        }
    }

    /// The first open local second at or after `local` and before `limit`.
    fn first_open(&self, mut local: i64, limit: i64) -> Option<i64> {
        while local < limit {
            let today = local.div_euclid(DAY);
            let day = self.next_day(today, limit.div_euclid(DAY))?;
            if day > today {
                local = day * DAY;
            }
            let opens = self.window.map_or(local, |window| window.opens(local));
            if opens.div_euclid(DAY) == day {
                return Some(opens);
            }
            local = opens;
        }
        None
    }

    /// The first closed local second at or after `local`; `i64::MAX` when there is none.
    fn first_closed(&self, local: i64) -> i64 {
        let day = self.next_excluded_day(local.div_euclid(DAY)).saturating_mul(DAY);
        let window = self.window.and_then(|window| window.closes(local)).unwrap_or(i64::MAX);
        window.min(day.max(local))
    }

    /// Whether calendars allow a local date.
    fn allows_day(&self, day: i64) -> bool {
        !self.skip_on.iter().any(|dates| dates.contains(day))
            && (self.only_on.is_empty() || self.only_on.iter().any(|dates| dates.contains(day)))
    }

    /// The first allowed day at or after `day` and up to `limit`.
    fn next_day(&self, mut day: i64, limit: i64) -> Option<i64> {
        while day <= limit {
            let mut next = day;
            for dates in self.skip_on {
                if let Some(last) = dates.end_of_run(next) {
                    next = last + 1;
                }
            }
            if !self.only_on.is_empty() {
                next = self.only_on.iter().filter_map(|dates| dates.next(next)).min()?;
            }
            if next == day {
                return Some(day);
            }
            day = next;
        }
        None
    }

    /// The first excluded day at or after `day`; `i64::MAX` when there is none.
    fn next_excluded_day(&self, day: i64) -> i64 {
        let skipped = self.skip_on.iter().filter_map(|dates| dates.next(day)).min();
        let skipped = skipped.unwrap_or(i64::MAX);
        if self.only_on.is_empty() {
            return skipped;
        }
        let mut reach = day;
        while reach < skipped
            && let Some(last) = self.only_on.iter().filter_map(|d| d.end_of_run(reach)).max()
        {
            reach = last + 1;
        }
        skipped.min(reach)
    }
}
