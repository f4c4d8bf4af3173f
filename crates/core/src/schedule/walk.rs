//! From local days and times to instants: the rule for clock changes.
//!
//! Owns the central invariant of the module: [`Walk::next`] answers from the zone's shifts, the
//! schedule and `after` alone, its answers are strictly after `after`, and the same whichever
//! earlier instant one starts from.
//!
//! Between two shifts local time is real time plus a constant, so a zone is a row of stretches.
//! In each the walk looks for the first matching local second, beginning where the stretch (or
//! `after`) begins. Only the seams differ:
//!
//! * plain matching (wild schedules, [`DstPolicy::Wall`](super::DstPolicy::Wall), shifts of three
//!   hours or more): nothing happens at a seam, so a skipped local time is skipped and a repeated
//!   one matches twice;
//! * fixed schedules, clocks forward: if a skipped local second matches, the first instant of the
//!   new stretch fires;
//! * fixed schedules, clocks back: the new stretch begins where local time is new.

use super::days::{Days, HORIZON_YEARS};
use super::times::Times;
use super::zone::Zone;
use super::{DayRule, civil::DAY, civil::date_of};

/// A search over one schedule in one zone.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) times: &'a Times,
    pub(super) days: &'a Days,
    pub(super) rule: DayRule,
    pub(super) zone: &'a Zone,
    /// Whether the fixed rule holds at seams.
    pub(super) fixed: bool,
}

/// The first match at or after a local second, remembered from one stretch to the next.
#[derive(Clone, Copy)]
struct Found {
    searched_from: i64,
    matched: i64,
}

impl Walk<'_> {
    /// The first firing second (since the epoch) at or after `from`; `None` when there is none
    /// within the horizon.
    pub(super) fn next(&self, from: i64) -> Option<i64> {
        let shifts = self.zone.shifts();
        let mut index = self.zone.shifts_until(from);
        let mut begin = from;
        let mut offset = self.zone.offset_before(index);
        let limit_year = date_of(from.checked_add(offset)?.div_euclid(DAY)).0 + HORIZON_YEARS;
        let mut found: Option<Found> = None;
        loop {
            let mut local = begin.checked_add(offset)?;
            if self.fixed
                && let Some(seam) = index.checked_sub(1).and_then(|i| shifts.get(i))
                && seam.is_dst()
            {
                if seam.is_gap() {
                    if begin == seam.at {
                        let skipped =
                            self.first_match(seam.at + seam.before, limit_year, &mut found)?;
                        if skipped < local {
                            return Some(begin);
                        }
                    }
                } else {
                    local = local.max(seam.at + seam.before);
                }
            }
            let fires = self.first_match(local, limit_year, &mut found)? - offset;
            match shifts.get(index) {
                Some(shift) if fires >= shift.at => {
                    begin = shift.at;
                    offset = shift.after;
                    index += 1;
                }
                _ => return Some(fires),
            }
        }
    }

    /// The first matching local second at or after `local`.
    fn first_match(&self, local: i64, limit_year: i64, found: &mut Option<Found>) -> Option<i64> {
        if let Some(known) = *found
            && known.searched_from <= local
            && local <= known.matched
        {
            return Some(known.matched);
        }
        let matched = self.search(local, limit_year)?;
        *found = Some(Found { searched_from: local, matched });
        Some(matched)
    }

    /// The first matching local second from `from` on and before `until`, which is near.
    pub(super) fn match_between(&self, from: i64, until: i64) -> Option<i64> {
        let last_year = date_of(until.div_euclid(DAY)).0;
        self.search(from, last_year).filter(|&found| found < until)
    }

    fn search(&self, local: i64, limit_year: i64) -> Option<i64> {
        let (today, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let day = self.days.next(today, limit_year, self.rule)?;
        if day > today {
            return Some(day * DAY + self.times.next(0)?);
        }
        if let Some(time) = self.times.next(second) {
            return Some(today * DAY + time);
        }
        let day = self.days.next(today + 1, limit_year, self.rule)?;
        Some(day * DAY + self.times.next(0)?)
    }
}
