//! A schedule in plain words.
//!
//! Owns no rule, only sentences: they are made from the parsed sets, so they say what runs and not
//! what the text looks like.

use super::civil::DAY;
use super::days::{ALL_MONTHS, Days};
use super::fields::WEEKDAYS;
use super::print::{in_units, members};
use super::times::Times;
use super::{Context, Cron, DayRule, DstPolicy, Form, Schedule};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const ORDINALS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// As many times of day are listed one by one; more are described by their fields.
const LISTED: usize = 6;

impl Schedule {
    /// The schedule as sentences: what it does, how its day fields go together when that matters,
    /// what clock changes do to it, and that it never fires if it does not.
    #[must_use]
    pub fn explain(&self, ctx: &Context<'_>) -> Vec<String> {
        let zone = self.zone.as_ref().unwrap_or(ctx.zone);
        let mut sentences = Vec::new();
        match &self.form {
            Form::Cron(cron) => {
                sentences.push(format!(
                    "{}, in time zone {}.",
                    cron_words(cron, ctx.days),
                    zone.name()
                ));
                if cron.days.either {
                    sentences.push(day_rule_words(ctx.days).to_owned());
                }
                let horizon_year = super::civil::date_of(0).0 + 400;
                if cron.days.next(0, horizon_year, ctx.days).is_none() {
                    sentences.push("It never fires: no month it names has such a day.".to_owned());
                } else if !zone.shifts().is_empty() {
                    sentences.push(clock_words(cron, ctx.policy).to_owned());
                }
            }
            Form::Interval(seconds) | Form::Every { seconds, after_completion: false } => {
                sentences.push(format!(
                    "Every {}, counted from when the schedule took effect.",
                    in_units(*seconds)
                ));
                sentences.push("Clock changes have no effect: elapsed time counts.".to_owned());
            }
            Form::Every { seconds, after_completion: true } => {
                sentences.push(format!("{} after the end of the last run.", in_units(*seconds)));
            }
            Form::Once(local) => {
                let local = super::LocalTime { secs: *local, micros: 0 };
                sentences.push(format!("Once, at {local} in time zone {}.", zone.name()));
            }
            Form::Startup => sentences.push(
                "Once when the server starts, and once when a standby is promoted.".to_owned(),
            ),
        }
        sentences
    }
}

const fn day_rule_words(rule: DayRule) -> &'static str {
    match rule {
        DayRule::Vixie => {
            "Neither day field begins with *, so a day that matches either of them is enough."
        }
        DayRule::And => "Both day fields must match, because cron.match_dom_and_dow is on.",
    }
}

const fn clock_words(cron: &Cron, policy: DstPolicy) -> &'static str {
    match (policy, cron.wild) {
        (DstPolicy::Wall, _) => {
            "Local times that clocks skip do not run, and those that clocks repeat run twice."
        }
        (DstPolicy::Cron, true) => {
            "It follows real time: local times that clocks skip do not run, and those that clocks \
             repeat run both times."
        }
        (DstPolicy::Cron, false) => {
            "A local time that clocks skip runs once right after the gap, and one that clocks \
             repeat runs the first time only."
        }
    }
}

fn cron_words(cron: &Cron, rule: DayRule) -> String {
    let mut words = time_words(&cron.times);
    let days = day_words(&cron.days, rule);
    if !days.is_empty() {
        words.push(' ');
        words.push_str(&days);
    } else if cron.days.months == ALL_MONTHS && words.starts_with("At ") && !words.contains(" of ")
    {
        words.push_str(" every day");
    }
    if cron.days.months != ALL_MONTHS {
        let names = ranges(cron.days.months, |month| name(&MONTHS, month - 1));
        words.push_str(&format!(" in {names}"));
    }
    words
}

fn time_words(times: &Times) -> String {
    let (seconds, minutes, hours) = match *times {
        Times::Grid(step) => {
            let each = in_units(step);
            return if step == DAY {
                "At 00:00".to_owned()
            } else {
                format!("Every {each} from midnight")
            };
        }
        Times::Fields { seconds, minutes, hours } => (seconds, minutes, hours),
    };
    let every_hour = hours.count_ones() == 24;
    if seconds == 1 {
        if every_hour && minutes.count_ones() == 60 {
            return "Every minute".to_owned();
        }
        if every_hour && let Some(step) = even_step(minutes) {
            return format!("Every {step} minutes");
        }
        if let Some(listed) = listed_times(minutes, hours) {
            return format!("At {listed}");
        }
    }
    let mut words = String::new();
    if seconds.count_ones() == 60 {
        words.push_str("Every second of ");
    } else if let Some(step) = even_step(seconds) {
        words.push_str(&format!("Every {step} seconds of "));
    } else if seconds != 1 {
        words.push_str(&format!("At second {} of ", ranges(seconds, |n| n.to_string())));
    }
    let minutes = if minutes.count_ones() == 60 {
        "every minute".to_owned()
    } else {
        format!("minute {}", ranges(minutes, |n| n.to_string()))
    };
    let start = if words.is_empty() { "At " } else { "" };
    let hours = if every_hour {
        "every hour".to_owned()
    } else {
        format!("hour {}", ranges(hours, |n| n.to_string()))
    };
    format!("{words}{start}{minutes} of {hours}")
}

/// The step of a set that is every n-th of sixty from 0, without a shorter last step.
fn even_step(set: u64) -> Option<i64> {
    [2, 3, 4, 5, 6, 10, 12, 15, 20, 30]
        .into_iter()
        .find(|step| members(set).eq((0..60).step_by(usize::try_from(*step).unwrap_or(60))))
}

/// `02:30 and 14:30`, unless there are too many.
fn listed_times(minutes: u64, hours: u64) -> Option<String> {
    let all: Vec<String> = members(hours)
        .flat_map(|hour| members(minutes).map(move |minute| format!("{hour:02}:{minute:02}")))
        .take(LISTED + 1)
        .collect();
    (all.len() <= LISTED).then(|| join(&all, "and"))
}

/// The days, or nothing when they are all of them.
fn day_words(days: &Days, rule: DayRule) -> String {
    let dates = if days.any_month_day() { None } else { Some(date_words(days)) };
    let names = if days.any_weekday() { None } else { Some(weekday_words(days)) };
    let either = days.either && rule == DayRule::Vixie;
    match (dates, names) {
        (Some(dates), Some(names)) if either => format!("on {dates}, or on {names}"),
        (Some(dates), Some(names)) => format!("on {dates}, if it is {names}"),
        // One field matches every day: alone it decides under "either", and nothing otherwise.
        (Some(_), None) | (None, Some(_)) if either => String::new(),
        (Some(days), None) | (None, Some(days)) => format!("on {days}"),
        (None, None) => String::new(),
    }
}

fn date_words(days: &Days) -> String {
    let mut parts = Vec::new();
    if days.month_days != 0 {
        parts.push(format!("day {} of the month", ranges(days.month_days, |n| n.to_string())));
    }
    if days.last_day {
        parts.push("the last day of the month".to_owned());
    }
    if days.last_workday {
        parts.push("the last working day of the month".to_owned());
    }
    parts.extend(
        members(days.near_workdays)
            .map(|day| format!("the working day nearest to day {day} of the month")),
    );
    join(&parts, "or")
}

fn weekday_words(days: &Days) -> String {
    let mut parts = Vec::new();
    if days.weekdays != 0 {
        parts.push(ranges(days.weekdays, weekday));
    }
    parts.extend(
        members(days.nth_weekdays).map(|bit| {
            format!("the {} {} of the month", name(&ORDINALS, bit / 7), weekday(bit % 7))
        }),
    );
    parts.extend(
        members(days.last_weekdays).map(|day| format!("the last {} of the month", weekday(day))),
    );
    join(&parts, "or")
}

/// A weekday's full name.
fn weekday(day: i64) -> String {
    match name(&WEEKDAYS, day).as_str() {
        "sun" => "Sunday",
        "mon" => "Monday",
        "tue" => "Tuesday",
        "wed" => "Wednesday",
        "thu" => "Thursday",
        "fri" => "Friday",
        _ => "Saturday",
    }
    .to_owned()
}

fn name(names: &[&str], index: i64) -> String {
    let found = usize::try_from(index).ok().and_then(|index| names.get(index));
    found.copied().unwrap_or_default().to_owned()
}

/// A set in words: runs of three or more as `a to b`.
fn ranges(set: u64, word: impl Fn(i64) -> String) -> String {
    let values: Vec<i64> = members(set).collect();
    let mut parts = Vec::new();
    for run in values.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, .., last] if run.len() > 2 => {
                parts.push(format!("{} to {}", word(*first), word(*last)));
            }
            _ => parts.extend(run.iter().map(|&value| word(value))),
        }
    }
    join(&parts, "and")
}

/// `a, b and c`.
fn join(parts: &[String], last: &str) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
    }
}
