//! The forms of a schedule that are not five cron fields.
//!
//! Owns the words: pg_cron's macros and `N seconds` (to the letter, overflow apart), and the new
//! forms, all of which begin with something pg_cron refuses.

use super::civil::{DAY, day_number, month_length};
use super::days::Days;
use super::scan::{Scan, shown};
use super::times::Times;
use super::{Cron, Form, ScheduleError};

/// The longest interval, in seconds: ten thousand days.
const LONGEST: i64 = 10_000 * DAY;

const EVERY_HINT: &str =
    "Write an interval like: every 10 minutes, every 90 seconds, every 1 hour 30 minutes.";
const AT_HINT: &str = "Write a date and a time like: at 2026-12-24 18:00.";

/// Reads a macro; the scan stands behind its `@`. Text after a blank is ignored, as in pg_cron.
pub(super) fn macro_form(scan: &mut Scan<'_>) -> Result<Form, ScheduleError> {
    let at = scan.at();
    let name = scan.take_while(|c| c != ' ' && c != '\t' && c != '\n');
    let midnight = |days: Days| {
        let times = Times::Fields { seconds: 1, minutes: 1, hours: 1 };
        Ok(Form::Cron(Cron { times, days, wild: false }))
    };
    match name {
        "reboot" | "restart" | "startup" => Ok(Form::Startup),
        "yearly" | "annually" => {
            midnight(Days { months: 1 << 1, month_days: 1 << 1, ..Days::every() })
        }
        "monthly" => midnight(Days { month_days: 1 << 1, ..Days::every() }),
        "weekly" => midnight(Days { weekdays: 1, ..Days::every() }),
        "daily" | "midnight" => midnight(Days::every()),
        "hourly" => {
            let times = Times::Fields { seconds: 1, minutes: 1, hours: 0xff_ffff };
            Ok(Form::Cron(Cron { times, days: Days::every(), wild: true }))
        }
        _ => Err(ScheduleError::new(
            "macro",
            at.saturating_sub(1),
            format!("\"@{}\" is not a known schedule", shown(name)),
            "Use @yearly, @monthly, @weekly, @daily, @hourly or @startup, in lower case.",
        )),
    }
}

/// White space as C's `isspace` has it.
const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Reads pg_cron's `N second(s)`. `None`: the text is nothing of the kind.
pub(super) fn seconds_interval(text: &str) -> Option<Result<i64, ScheduleError>> {
    let mut scan = Scan::new(text);
    scan.take_while(is_space);
    let at = scan.at();
    let negative = scan.eat(b'-');
    if !negative {
        scan.eat(b'+');
    }
    let number = super::fields::digits(scan.take_while(|c| c.is_ascii_digit()))?;
    scan.take_while(is_space);
    let unit_at = scan.at();
    let rest = scan.rest();
    let unit = rest.to_ascii_lowercase();
    let whole = unit == "second"
        || unit.strip_prefix("seconds").is_some_and(|end| end.chars().all(is_space));
    if whole && !negative && (1..60).contains(&number) {
        return Some(Ok(number));
    }
    if whole {
        let number = shown(text.get(at..unit_at).unwrap_or_default().trim_end());
        return Some(Err(ScheduleError::new(
            "interval",
            at,
            format!("an interval of {number} seconds is not between 1 and 59"),
            "Longer intervals are written like: every 90 seconds.",
        )));
    }
    let word: String = unit.chars().take_while(char::is_ascii_alphabetic).collect();
    (word.starts_with("sec") || unit_seconds(&word).is_some() && word.len() > 1).then(|| {
        Err(ScheduleError::new(
            "interval",
            unit_at,
            format!("\"{}\" cannot follow the number of an interval", shown(rest.trim_end())),
            "Write 1 to 59 seconds as \"30 seconds\", anything else as \"every 10 minutes\".",
        ))
    })
}

/// Seconds in a unit of `every`.
fn unit_seconds(unit: &str) -> Option<i64> {
    match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(3_600),
        "d" | "day" | "days" => Some(DAY),
        "w" | "week" | "weeks" => Some(7 * DAY),
        _ => None,
    }
}

/// The name of a unit of `every` by its seconds.
const fn plural(size: i64) -> &'static str {
    match size {
        1 => "seconds",
        60 => "minutes",
        3_600 => "hours",
        DAY => "days",
        _ => "weeks",
    }
}

/// Reads `every …` behind its first word.
pub(super) fn every(scan: &mut Scan<'_>) -> Result<Form, ScheduleError> {
    let error =
        |at: usize, problem: String| ScheduleError::new("interval", at, problem, EVERY_HINT);
    let mut total: i64 = 0;
    let mut units: Vec<i64> = Vec::new();
    scan.take_while(is_space);
    let start = scan.at();
    let after_completion = loop {
        let number_at = scan.at();
        let number = scan.take_while(|c| c.is_ascii_digit());
        scan.take_while(is_space);
        let unit_at = scan.at();
        let unit = scan.take_while(|c| c.is_ascii_alphabetic()).to_ascii_lowercase();
        if number.is_empty() && !units.is_empty() {
            if unit.is_empty() && scan.peek().is_none() {
                break false;
            }
            scan.take_while(is_space);
            if unit == "after" && scan.word().eq_ignore_ascii_case("completion") {
                scan.take_while(is_space);
                break true;
            }
            return Err(error(unit_at, "unexpected text after the interval".to_owned()));
        }
        // "every minute" is "every 1 minute".
        let count = if number.is_empty() { Some(1) } else { super::fields::digits(number) };
        let size = unit_seconds(&unit).ok_or_else(|| {
            let problem = match unit.as_str() {
                "" if scan.peek().is_none() => "the interval is incomplete".to_owned(),
                "" => format!("unexpected {} in the interval", scan.shown()),
                "month" | "months" | "year" | "years" => format!("\"{unit}\" has no fixed length"),
                _ => format!("\"{}\" is not a unit of time", shown(&unit)),
            };
            error(unit_at, problem)
        })?;
        if units.contains(&size) {
            return Err(error(number_at, format!("the interval has its {} twice", plural(size))));
        }
        total = count
            .and_then(|count| count.checked_mul(size))
            .and_then(|part| total.checked_add(part))
            .filter(|&sum| sum <= LONGEST)
            .ok_or_else(|| {
                error(number_at, "an interval of more than 10,000 days is too long".to_owned())
            })?;
        units.push(size);
        scan.take_while(is_space);
    };
    if scan.peek().is_some() {
        return Err(error(scan.at(), "unexpected text after the interval".to_owned()));
    }
    if total == 0 {
        return Err(error(start, "an interval of zero is not possible".to_owned()));
    }
    Ok(every_form(total, after_completion))
}

/// A divisor of a day runs on the clock, everything else (and after completion) on elapsed time.
pub(super) fn every_form(seconds: i64, after_completion: bool) -> Form {
    if after_completion || DAY % seconds != 0 {
        return Form::Every { seconds, after_completion };
    }
    // Up to an hour real time counts, so that no hour of the year is without runs or has twice as
    // many; above it each time of the day counts once, as for a fixed cron schedule.
    Form::Cron(Cron { times: Times::Grid(seconds), days: Days::every(), wild: seconds <= 3_600 })
}

/// Reads `at date time` behind its first word.
pub(super) fn once(scan: &mut Scan<'_>) -> Result<Form, ScheduleError> {
    scan.take_while(is_space);
    let start = *scan;
    let date = scan.take_while(|c| c.is_ascii_digit() || c == '-');
    let day = parse_date(date).ok_or_else(|| not_a("date", "date", &start))?;
    if !scan.eat(b'T') {
        scan.take_while(is_space);
    }
    let start = *scan;
    let time = scan.take_while(|c| c.is_ascii_digit() || c == ':');
    let second = parse_time(time).ok_or_else(|| not_a("time", "time of day", &start))?;
    scan.take_while(is_space);
    if scan.peek().is_some() {
        return Err(ScheduleError::new(
            "time",
            scan.at(),
            format!("unexpected {} after the time", scan.shown()),
            "Name a zone in front: CRON_TZ=Europe/Berlin at 2026-12-24 18:00.",
        ));
    }
    Ok(Form::Once(day * DAY + second))
}

/// The error for a part of `at …` that is missing or is another thing.
fn not_a(field: &'static str, what: &str, start: &Scan<'_>) -> ScheduleError {
    let problem = match start.shown_word() {
        nothing if nothing.is_empty() => format!("the {what} is missing"),
        word => format!("\"{word}\" is not a {what}"),
    };
    ScheduleError::new(field, start.at(), problem, AT_HINT)
}

/// `2026-12-24` as a day number.
fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        if part.len() == length { super::fields::digits(part) } else { None }
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let valid = parts.next().is_none()
        && (1..=12).contains(&month)
        && (1..=month_length(year, month)).contains(&day);
    valid.then(|| day_number(year, month, day))
}

/// `18:00` or `18:00:30` as a second of the day.
fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let mut part = |limit: i64, lengths: std::ops::RangeInclusive<usize>| {
        let part = parts.next()?;
        let value = super::fields::digits(part)?;
        (lengths.contains(&part.len()) && value <= limit).then_some(value)
    };
    let (hour, minute) = (part(23, 1..=2)?, part(59, 2..=2)?);
    let second = if text.matches(':').count() > 1 { part(59, 2..=2)? } else { 0 };
    parts.next().is_none().then_some(hour * 3_600 + minute * 60 + second)
}
