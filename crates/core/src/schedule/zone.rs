//! Time zones: names in, offsets and shifts of the clock out.
//!
//! Owns two invariants: a name means the same zone as in Postgres (any case, links, POSIX fixed
//! offsets with their reversed sign), and a zone is a sorted list of shifts, so that every other
//! part works with plain integers. The data is the IANA table compiled into `chrono-tz`.

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use chrono::{Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::civil::{DAY, date_of, day_number};
use super::error::ZoneError;
use crate::time::Timestamp;

/// Shifts are searched between these instants; before and after them a zone keeps its offset.
const TABLE_BEGIN: i64 = day_number(1960, 1, 1) * DAY;
const TABLE_END: i64 = day_number(2101, 1, 1) * DAY;

/// Distance between two looks at a zone's offset. No zone has had two shifts that cancel out
/// within so short a time since 1960 (tested against hourly looks).
const PROBE: i64 = 4 * DAY;

/// A shift below this many seconds is daylight saving time (or a like correction); from here up
/// it is a change of the date line, to which no rule about skipped or repeated runs applies.
const DATE_LINE: i64 = 3 * 3_600;

/// A change of a zone's offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The first second (since the Unix epoch) with the new offset.
    pub at: i64,
    /// Seconds east of UTC before the shift.
    pub before: i64,
    /// Seconds east of UTC from the shift on.
    pub after: i64,
}

impl Shift {
    /// Whether the rule for daylight saving time applies: a change of less than three hours.
    #[must_use]
    pub const fn is_dst(&self) -> bool {
        (self.after - self.before).abs() < DATE_LINE
    }

    /// Whether local times are skipped (clocks go forward).
    #[must_use]
    pub const fn is_gap(&self) -> bool {
        self.after > self.before
    }
}

/// The local date and time of an instant, as wall clocks in a zone show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime {
    /// Seconds since 1970-01-01 00:00:00 on the wall clock.
    pub secs: i64,
    /// Microseconds within the second.
    pub micros: i64,
}

impl LocalTime {
    /// (year, month, day).
    #[must_use]
    pub const fn date(&self) -> (i64, i64, i64) {
        date_of(self.secs.div_euclid(DAY))
    }

    /// (hour, minute, second).
    #[must_use]
    pub const fn time(&self) -> (i64, i64, i64) {
        let in_day = self.secs.rem_euclid(DAY);
        (in_day / 3_600, in_day / 60 % 60, in_day % 60)
    }
}

impl fmt::Display for LocalTime {
    /// `2026-12-24 18:00:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.time());
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[derive(Debug)]
struct Table {
    first: i64,
    shifts: Vec<Shift>,
}

/// A name known to `chrono-tz`; its table is made at first use and kept.
#[derive(Debug)]
struct Entry {
    key: String,
    tz: Tz,
    table: OnceLock<Table>,
}

/// Every known name, sorted by its lower-case form.
static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries: Vec<Entry> = TZ_VARIANTS
        .iter()
        .map(|&tz| Entry { key: tz.name().to_ascii_lowercase(), tz, table: OnceLock::new() })
        .collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
});

#[derive(Clone)]
enum Source {
    Utc,
    Iana { tz: Tz, table: &'static Table },
    Fixed { name: Box<str>, offset: i64 },
}

/// A time zone. Cheap to clone; two zones are equal when they are the same entry of the zone
/// table or the same fixed offset.
#[derive(Clone)]
pub struct Zone(Source);

impl Zone {
    /// The zone a name stands for: an IANA name or link in any case, or a POSIX fixed offset such
    /// as `<+03>-3` or `UTC+3` (POSIX counts westwards: both signs are as Postgres reads them).
    ///
    /// # Errors
    /// The name is in neither table, or names a POSIX rule with daylight saving time.
    pub fn resolve(name: &str) -> Result<Self, ZoneError> {
        let key = name.to_ascii_lowercase();
        if let Ok(at) = ENTRIES.binary_search_by(|entry| entry.key.as_str().cmp(&key))
            && let Some(entry) = ENTRIES.get(at)
        {
            let table = entry.table.get_or_init(|| build_table(entry.tz));
            return Ok(Self(Source::Iana { tz: entry.tz, table }));
        }
        posix_offset(name).map(|offset| Self(Source::Fixed { name: name.into(), offset }))
    }

    /// Universal time.
    #[must_use]
    pub const fn utc() -> Self {
        Self(Source::Utc)
    }

    /// The zone's name in its official spelling; a POSIX specification as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Source::Utc => "UTC",
            Source::Iana { tz, .. } => tz.name(),
            Source::Fixed { name, .. } => name,
        }
    }

    /// Seconds east of UTC at an instant.
    #[must_use]
    pub fn offset_at(&self, at: Timestamp) -> i64 {
        self.offset_before(self.shifts_until(at.secs()))
    }

    /// What wall clocks show at an instant.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> LocalTime {
        LocalTime {
            secs: at.secs().saturating_add(self.offset_at(at)),
            micros: at.0.rem_euclid(Timestamp::SECOND),
        }
    }

    /// The instant of a local second. A repeated local time means its first pass; a skipped one
    /// the first instant after the gap.
    #[must_use]
    pub fn instant_of(&self, local: i64) -> Timestamp {
        // No offset is beyond a day and a bit: only shifts around the local time matter.
        let mut index = self.shifts_until(local.saturating_sub(2 * DAY));
        let mut begin = i64::MIN;
        loop {
            let candidate = local.saturating_sub(self.offset_before(index)).max(begin);
            match self.shifts().get(index) {
                Some(shift) if shift.at <= candidate => {
                    begin = shift.at;
                    index += 1;
                }
                _ => return Timestamp::from_secs(candidate),
            }
        }
    }

    /// Every shift of the clock after one instant and up to another, oldest first.
    pub fn shifts_between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Shift> {
        let from = self.shifts_until(after.secs());
        self.shifts()
            .get(from..)
            .unwrap_or_default()
            .iter()
            .copied()
            .take_while(move |shift| shift.at <= until.secs())
    }

    /// The zone's shifts, oldest first.
    pub(crate) fn shifts(&self) -> &[Shift] {
        match &self.0 {
            Source::Iana { table, .. } => &table.shifts,
            Source::Utc | Source::Fixed { .. } => &[],
        }
    }

    /// How many shifts have happened at a second since the epoch.
    pub(crate) fn shifts_until(&self, secs: i64) -> usize {
        self.shifts().partition_point(|shift| shift.at <= secs)
    }

    /// The offset that holds before the shift with this index, and after the one preceding it.
    pub(crate) fn offset_before(&self, index: usize) -> i64 {
        let preceding = index.checked_sub(1).and_then(|i| self.shifts().get(i));
        match (preceding, &self.0) {
            (Some(shift), _) => shift.after,
            (None, Source::Iana { table, .. }) => table.first,
            (None, Source::Fixed { offset, .. }) => *offset,
            (None, Source::Utc) => 0,
        }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Source::Iana { tz: a, .. }, Source::Iana { tz: b, .. }) => a == b,
            (Source::Fixed { offset: a, .. }, Source::Fixed { offset: b, .. }) => a == b,
            (Source::Utc, Source::Utc) => true,
            (Source::Utc, Source::Iana { tz, .. }) | (Source::Iana { tz, .. }, Source::Utc) => {
                *tz == Tz::UTC
            }
            _ => false,
        }
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// The offset `chrono-tz` knows for an instant. Outside the years `chrono` can express (never
/// within a table) it is taken as 0.
fn raw_offset(tz: Tz, secs: i64) -> i64 {
    chrono::DateTime::from_timestamp(secs, 0).map_or(0, |at| {
        i64::from(tz.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
    })
}

/// Finds every shift of a zone: coarse looks, then bisection down to the second.
fn build_table(tz: Tz) -> Table {
    let first = raw_offset(tz, TABLE_BEGIN);
    let mut shifts = Vec::new();
    let mut low = TABLE_BEGIN;
    let mut before = first;
    while low < TABLE_END {
        let high = low + PROBE;
        while before != raw_offset(tz, high) {
            let (mut old, mut new) = (low, high);
            while new - old > 1 {
                let middle = i64::midpoint(old, new);
                if raw_offset(tz, middle) == before {
                    old = middle;
                } else {
                    new = middle;
                }
            }
            let after = raw_offset(tz, new);
            shifts.push(Shift { at: new, before, after });
            before = after;
            low = new;
        }
        low = high;
    }
    Table { first, shifts }
}

/// Seconds east of UTC in a POSIX zone without daylight saving time: a name of three or more
/// letters or one in angle brackets, then the offset west of Greenwich, `[+-]h[h][:mm[:ss]]`.
fn posix_offset(name: &str) -> Result<i64, ZoneError> {
    let shown = crate::quote::excerpt(name);
    let unknown = || {
        ZoneError::new(
            format!("time zone \"{shown}\" is not known"),
            "Use a name like Europe/Berlin or UTC, or a fixed offset like <+03>-3.",
        )
    };
    let rest = if let Some(quoted) = name.strip_prefix('<') {
        let (inner, rest) = quoted.split_once('>').ok_or_else(unknown)?;
        let proper = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | ':');
        if inner.is_empty() || !inner.chars().all(proper) {
            return Err(unknown());
        }
        rest
    } else {
        let rest = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        if name.len() - rest.len() < 3 {
            return Err(unknown());
        }
        rest
    };
    let (west, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest.strip_prefix('+').unwrap_or(rest)),
    };
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(unknown());
    }
    if rest.contains(|c: char| c.is_ascii_alphabetic() || c == '<' || c == ',') {
        return Err(ZoneError::new(
            format!("time zone \"{shown}\" has daylight saving rules of its own"),
            "Use a name like America/New_York, whose rules are known for every year.",
        ));
    }
    let mut seconds = 0;
    let mut unit = 3_600;
    for (part, limit) in rest.split(':').zip([24, 59, 59, -1]) {
        let digits = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let value: i64 = part.parse().map_err(|_| unknown())?;
        if !digits || value > limit {
            return Err(unknown());
        }
        seconds += value * unit;
        unit /= 60;
    }
    Ok(-west * seconds)
}
