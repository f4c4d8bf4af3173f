//! The normal form of a schedule.
//!
//! Owns one invariant: the printed text parses to an equal schedule. Whether a field may begin
//! with `*` is part of the meaning, so the printer writes a leading `*` exactly where one is
//! needed and never where it would change something.

use std::fmt;

use super::civil::{DAY, date_of};
use super::days::Days;
use super::fields::{FIELDS, Field, WEEKDAYS};
use super::times::Times;
use super::{Cron, Form, Schedule};

impl fmt::Display for Schedule {
    /// The schedule in its normal form, for example `0,30 9-17 * * 1-5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(zone) = &self.zone {
            write!(f, "CRON_TZ={} ", zone.name())?;
        }
        match &self.form {
            Form::Cron(cron) => cron.fmt(f),
            Form::Interval(1) => f.write_str("1 second"),
            Form::Interval(seconds) => write!(f, "{seconds} seconds"),
            Form::Every { seconds, after_completion } => {
                write!(f, "every {}", in_units(*seconds))?;
                f.write_str(if *after_completion { " after completion" } else { "" })
            }
            Form::Once(local) => {
                let (year, month, day) = date_of(local.div_euclid(DAY));
                let second = local.rem_euclid(DAY);
                let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
                write!(f, "at {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
            }
            Form::Startup => f.write_str("@startup"),
        }
    }
}

/// A length of time in its largest whole unit: `10 minutes`.
pub(super) fn in_units(seconds: i64) -> String {
    let units = [(DAY, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let found = units.iter().find(|(size, _)| seconds % size == 0);
    let (size, unit) = found.copied().unwrap_or((1, "second"));
    let count = seconds / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, minutes, hours) = match self.times {
            Times::Grid(seconds) => return write!(f, "every {}", in_units(seconds)),
            Times::Fields { seconds, minutes, hours } => (seconds, minutes, hours),
        };
        let [second, minute, hour, _, month, _] = &FIELDS;
        if seconds != 1 {
            write!(
                f,
                "seconds: {} ",
                starred(seconds, second).unwrap_or_else(|| plain(seconds, second))
            )?;
        }
        let (minutes, hours) = if self.wild {
            one_star((minutes, minute), (hours, hour))
        } else {
            (plain(minutes, minute), plain(hours, hour))
        };
        let months =
            starred(self.days.months, month).unwrap_or_else(|| plain(self.days.months, month));
        let (month_days, weekdays) = day_fields(&self.days);
        write!(f, "{minutes} {hours} {month_days} {months} {weekdays}")
    }
}

/// Two fields of which one must begin with `*` and both may.
fn one_star(first: (u64, &Field), second: (u64, &Field)) -> (String, String) {
    let exact = |(set, field)| starred(set, field);
    match (exact(first), exact(second)) {
        (None, None) => {
            let mixed = mixed(first.0, first.1).map(|text| (text, plain(second.0, second.1)));
            mixed.unwrap_or_else(|| {
                let text = self::mixed(second.0, second.1);
                (plain(first.0, first.1), text.unwrap_or_else(|| plain(second.0, second.1)))
            })
        }
        (a, b) => (
            a.unwrap_or_else(|| plain(first.0, first.1)),
            b.unwrap_or_else(|| plain(second.0, second.1)),
        ),
    }
}

/// The day of month and the day of week.
fn day_fields(days: &Days) -> (String, String) {
    let [_, _, _, month_day, _, weekday] = &FIELDS;
    let (dates, names) = (special_dates(days), special_weekdays(days));
    let join = |set: String, special: &[String]| {
        let set = if set.is_empty() { None } else { Some(set) };
        set.into_iter().chain(special.iter().cloned()).collect::<Vec<_>>().join(",")
    };
    let plain_pair = || {
        (
            join(plain(days.month_days, month_day), &dates),
            join(plain(days.weekdays, weekday), &names),
        )
    };
    let (month_days, weekdays) = if days.either {
        plain_pair()
    } else {
        let (plain_dates, plain_names) = plain_pair();
        let dates_mixed = mixed(days.month_days, month_day).map(|set| join(set, &dates));
        let names_mixed = mixed(days.weekdays, weekday).map(|set| join(set, &names));
        let dates_exact = starred(days.month_days, month_day).map(|set| join(set, &dates));
        let names_exact = starred(days.weekdays, weekday).map(|set| join(set, &names));
        match (dates_exact, names_exact) {
            (None, None) => match (dates_mixed, names_mixed) {
                (Some(dates), _) => (dates, plain_names),
                (None, names) => (plain_dates, names.unwrap_or(plain_names)),
            },
            (dates, names) => (dates.unwrap_or(plain_dates), names.unwrap_or(plain_names)),
        }
    };
    let month_days = if month_days == "L" { "$".to_owned() } else { month_days };
    (month_days, weekdays)
}

fn special_dates(days: &Days) -> Vec<String> {
    let mut parts = Vec::new();
    if days.last_day {
        parts.push("L".to_owned());
    }
    if days.last_workday {
        parts.push("LW".to_owned());
    }
    parts.extend(members(days.near_workdays).map(|day| format!("{day}W")));
    parts
}

fn special_weekdays(days: &Days) -> Vec<String> {
    let name = |day: i64| usize::try_from(day).ok().and_then(|day| WEEKDAYS.get(day)).copied();
    let nth = members(days.nth_weekdays)
        .map(|bit| format!("{}#{}", name(bit % 7).unwrap_or_default(), bit / 7 + 1));
    nth.chain(members(days.last_weekdays).map(|day| format!("{day}L"))).collect()
}

/// The values of a set in rising order.
pub(super) fn members(set: u64) -> impl Iterator<Item = i64> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}

/// The values of `*/step`; in the day of week 7 counts as 0.
fn multiples(field: &Field, step: i64) -> u64 {
    let mut set = 0;
    let mut value = field.low;
    while value <= field.high {
        set |= 1 << field.fold(value);
        value += step;
    }
    set
}

/// A set as `*` or `*/n`, when it is exactly that.
fn starred(set: u64, field: &Field) -> Option<String> {
    let step = (1..=field.high).find(|&step| multiples(field, step) == set)?;
    Some(if step == 1 { "*".to_owned() } else { format!("*/{step}") })
}

/// A set as a list that begins with `*/n`, when there is one.
fn mixed(set: u64, field: &Field) -> Option<String> {
    let step = (1..=field.high).find(|&step| multiples(field, step) & !set == 0)?;
    let rest = set & !multiples(field, step);
    let star = if step == 1 { "*".to_owned() } else { format!("*/{step}") };
    Some(if rest == 0 { star } else { format!("{star},{}", plain(rest, field)) })
}

/// A set as values and ranges, never beginning with `*`; an even progression as a range with a
/// step.
fn plain(set: u64, field: &Field) -> String {
    let values: Vec<i64> = members(set).collect();
    if let [first, second, .., last] = values.as_slice()
        && values.len() > 3
        && *second > first + 1
        && values.is_sorted_by(|a, b| b - a == second - first)
        && second - first <= field.high
    {
        return format!("{first}-{last}/{}", second - first);
    }
    let mut parts = Vec::new();
    for run in values.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, .., last] if run.len() > 2 => parts.push(format!("{first}-{last}")),
            _ => parts.extend(run.iter().map(ToString::to_string)),
        }
    }
    parts.join(",")
}
