//! Texts, figures and times as a report shows them.

use std::fmt::Write;

use crate::schedule::{LocalTime, Zone};
use crate::time::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The days of the week, Monday first.
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What somebody wrote, as one line of at most so many characters, with `…` if that is not all.
#[must_use]
pub fn line(written: &str, most: usize) -> String {
    shown(written, most, false)
}

/// As [`line`], with the line breaks and tabs there are.
#[must_use]
pub fn lines(written: &str, most: usize) -> String {
    shown(written.trim_end(), most, true)
}

fn shown(written: &str, most: usize, breaks: bool) -> String {
    let mut out = String::new();
    for (index, c) in written.chars().enumerate() {
        if index == most {
            out.push('…');
            break;
        }
        match c {
            '\n' | '\t' if breaks => out.push(c),
            '\r' if breaks => {}
            _ if misleads(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// Whether a character has no shape of its own and changes how its neighbours are shown or read:
/// controls, what sets the direction of writing, what has no width, and tags.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A whole number in groups of three.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 run`, `2 runs`.
#[must_use]
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A number that need not be whole, short: `0`, `0.04`, `3.5`, `120`.
#[must_use]
pub fn decimal(n: f64) -> String {
    if n == 0.0 {
        "0".to_owned()
    } else if n < 0.01 {
        "<0.01".to_owned()
    } else if n < 1.0 {
        format!("{n:.2}")
    } else if n < 10.0 && (n - n.round()).abs() > 0.05 {
        format!("{n:.1}")
    } else {
        format!("{n:.0}")
    }
}

/// Parts of a whole in percent, never rounded to 100 or 0 when it is not that.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a percentage")]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let exact = 100.0 * part as f64 / whole as f64;
    let rounded = (exact * 10.0).round() / 10.0;
    match rounded {
        r if r >= 100.0 && part < whole => ">99.9 %".to_owned(),
        r if r <= 0.0 && part > 0 => "<0.1 %".to_owned(),
        r if (r - r.round()).abs() < 0.05 => format!("{r:.0} %"),
        r => format!("{r:.1} %"),
    }
}

/// A length of time given in microseconds, in at most two units.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn duration(micros: i64) -> String {
    let micros = micros.max(0);
    let millis = micros as f64 / 1_000.0;
    let seconds = (micros + 500_000) / 1_000_000;
    let two = |whole: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{whole} {unit}"),
        _ => format!("{whole} {unit} {rest} {small}"),
    };
    match micros {
        0..=9_949 => format!("{millis:.1} ms"),
        9_950..=999_499 => format!("{millis:.0} ms"),
        999_500..=59_949_999 => format!("{:.1} s", millis / 1_000.0),
        59_950_000..=3_599_499_999 => two(seconds / 60, "min", seconds % 60, "s"),
        3_599_500_000..=86_399_499_999 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// `14:05:09`.
#[must_use]
pub fn clock(local: &LocalTime) -> String {
    let (hour, minute, second) = local.time();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// `14:05`.
#[must_use]
pub fn short_clock(local: &LocalTime) -> String {
    let (hour, minute, _) = local.time();
    format!("{hour:02}:{minute:02}")
}

/// `21 Nov`.
#[must_use]
pub fn day(local: &LocalTime) -> String {
    let (_, month, day) = local.date();
    let month = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month));
    format!("{day} {}", month.copied().unwrap_or(""))
}

/// An instant as a reader in a zone writes it: `21 Nov 14:05:09`.
#[must_use]
pub fn moment(zone: &Zone, at: Timestamp) -> String {
    let local = zone.local(at);
    format!("{} {}", day(&local), clock(&local))
}

/// An instant with its year: `2026-11-21 14:05:09`.
#[must_use]
pub fn date_time(zone: &Zone, at: Timestamp) -> String {
    zone.local(at).to_string()
}

/// An instant for machines: `2026-11-21T13:05:09Z`.
#[must_use]
pub fn machine(at: Timestamp) -> String {
    format!("{}Z", Zone::utc().local(at).to_string().replacen(' ', "T", 1))
}

/// The span between two instants, without the day where both are of one.
#[must_use]
pub fn between(zone: &Zone, first: Timestamp, last: Timestamp) -> String {
    let (from, to) = (zone.local(first), zone.local(last));
    if from.secs == to.secs {
        return moment(zone, first);
    }
    let end = if from.date() == to.date() { clock(&to) } else { moment(zone, last) };
    format!("{} to {end}", moment(zone, first))
}

/// The weekday of a local time, Monday = 0.
#[must_use]
pub fn weekday(local: &LocalTime) -> usize {
    let days = local.secs.div_euclid(86_400);
    usize::try_from((days + 3).rem_euclid(7)).unwrap_or(0)
}
