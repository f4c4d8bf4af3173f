//! Schedules that are legal but probably do not mean what their author thinks.
//!
//! Owns the wording of those warnings. A doubt never changes what a schedule does: the text keeps
//! pg_cron's meaning, and the warning says what to write for the other one.

use super::civil::date_of;
use super::fields::{self, FIELDS, Rest};
use super::print::members;
use super::scan::Scan;
use super::{Cron, DayRule, Form, Schedule, Zone, zone_prefix};
use crate::time::Timestamp;

/// One reason to look at a schedule again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Where in the text: a byte offset from 0, on a character boundary.
    pub at: usize,
    /// What is doubtful, in Postgres message style.
    pub message: String,
    /// What to write instead, as a sentence.
    pub hint: String,
}

impl Doubt {
    fn new(at: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: hint.into() }
    }
}

/// What is doubtful about a schedule under [`DayRule::Vixie`]; see [`doubts_under`].
#[must_use]
pub fn doubts(text: &str, schedule: &Schedule) -> Vec<Doubt> {
    doubts_under(text, schedule, DayRule::Vixie)
}

/// What is doubtful about a schedule whose day fields go together as `days` says; `schedule` is
/// what `text` parses to.
#[must_use]
pub fn doubts_under(text: &str, schedule: &Schedule, days: DayRule) -> Vec<Doubt> {
    let mut found = Vec::new();
    if let Form::Cron(cron) = &schedule.form
        && cron.days.next(0, date_of(0).0 + 400, days).is_none()
    {
        found.push(Doubt::new(0, "the schedule never fires", never_hint(cron, days)));
    }
    let mut scan = Scan::new(text);
    scan.comments();
    if zone_prefix(&mut scan).is_err() {
        return found;
    }
    match (&schedule.form, scan.peek()) {
        (_, Some(b'@')) => after_macro(&mut scan, &mut found),
        (Form::Cron(cron), Some(b'*' | b'0'..=b'9')) => {
            let zone = schedule.zone.as_ref().map(|zone| format!("CRON_TZ={} ", zone.name()));
            in_fields(&mut scan, cron, days, &zone.unwrap_or_default(), &mut found);
        }
        _ => {}
    }
    found
}

/// What is doubtful about an `at …` whose instant has passed at `now`; `zone` is the job's, and
/// `schedule` is what `text` parses to.
#[must_use]
pub fn passed(text: &str, schedule: &Schedule, zone: &Zone, now: Timestamp) -> Option<Doubt> {
    let Form::Once(local) = schedule.form else { return None };
    let zone = schedule.zone().unwrap_or(zone);
    let at = zone.instant_of(local);
    if at > now {
        return None;
    }
    let mut scan = Scan::new(text);
    scan.comments();
    zone_prefix(&mut scan).ok()?;
    Some(Doubt::new(
        scan.at(),
        format!("the schedule never fires: {} in {} has passed", zone.local(at), zone.name()),
        "Write a date and a time that are still to come.",
    ))
}

/// What to do about days that never come.
fn never_hint(cron: &Cron, days: DayRule) -> &'static str {
    let with_either = cron.days.next(0, date_of(0).0 + 400, DayRule::Vixie);
    match (days, with_either) {
        (DayRule::And, Some(_)) => {
            "No day matches both day fields, as cron.match_dom_and_dow requires; write * in one of \
             them."
        }
        _ => "No month it names has such a day; for the last day of a month write $ or L.",
    }
}

fn after_macro(scan: &mut Scan<'_>, found: &mut Vec<Doubt>) {
    scan.take_while(|c| !c.is_ascii_whitespace());
    scan.take_while(|c| c.is_ascii_whitespace());
    if scan.peek().is_some() {
        found.push(ignored_text(scan));
    }
}

fn ignored_text(scan: &Scan<'_>) -> Doubt {
    Doubt::new(
        scan.at(),
        format!("\"{}\" is ignored", excerpt(scan.rest())),
        "A schedule ends here; remove the text that follows.",
    )
}

fn excerpt(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).take(24).collect()
}

/// Five fields: text skipped in and after them, and how the day fields go together. `zone` is
/// what goes before the fields in a suggestion.
fn in_fields(scan: &mut Scan<'_>, cron: &Cron, days: DayRule, zone: &str, found: &mut Vec<Doubt>) {
    let begin = *scan;
    let mut days_at = begin.at();
    let [_, five @ ..] = &FIELDS;
    for field in five {
        let at = scan.at();
        if field.name == "day of month" {
            days_at = at;
        }
        let mut ahead = *scan;
        let Ok(values) = fields::read(&mut ahead, field, Rest::Skip) else { return };
        if let Some(ignored) = values.ignored_at {
            found.push(ignored_in_field(scan, ignored, field.name));
        }
        if values.nth_weekdays != 0 {
            found.push(nth_weekday(at, scan.rest()));
        }
        *scan = ahead;
    }
    after_fields(&begin, scan, zone, found);
    if cron.days.either && days == DayRule::Vixie {
        found.push(either_day(days_at, cron));
    }
}

fn ignored_in_field(start: &Scan<'_>, ignored: usize, field: &str) -> Doubt {
    let skip = ignored.saturating_sub(start.at());
    let rest = start.rest().get(skip..).unwrap_or_default();
    let word = rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
    let hint = if field == "day of week" && word.starts_with('#') {
        weekday_hint(start.rest().get(..skip).unwrap_or_default(), word)
    } else {
        "Separate values with commas, ranges with \"-\" and fields with blanks.".to_owned()
    };
    Doubt::new(ignored, format!("\"{}\" in the {field} field is ignored", excerpt(word)), hint)
}

/// What to write instead of `#…`, which is ignored after `before`.
fn weekday_hint(before: &str, ignored: &str) -> String {
    let item = before.rsplit(',').next().unwrap_or_default();
    let name = fields::weekday_name(item);
    match (name, ignored.as_bytes()) {
        (Some(name), [b'#', b'1'..=b'5']) if !item.eq_ignore_ascii_case(name) => {
            format!("For one such weekday of the month write its name, as in {name}{ignored}.")
        }
        _ => {
            let name = name.unwrap_or("mon");
            format!(
                "The weekdays of a month are {name}#1 to {name}#5, and {name}L is the last; \
                 separate several with commas, as in {name}#1,{name}#3."
            )
        }
    }
}

fn nth_weekday(at: usize, rest: &str) -> Doubt {
    let word = rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
    let name = word.split('#').next().unwrap_or_default();
    let name = name.rsplit(',').next().unwrap_or_default();
    Doubt::new(
        at,
        format!("\"{}\" is one day of the month here, but every week in pg_cron", excerpt(word)),
        format!("Write {} alone for every week.", excerpt(name)),
    )
}

/// Text after the fifth field.
fn after_fields(begin: &Scan<'_>, scan: &mut Scan<'_>, zone: &str, found: &mut Vec<Doubt>) {
    scan.take_while(|c| c.is_ascii_whitespace());
    if scan.peek().is_none() {
        return;
    }
    let words: Vec<&str> = scan.rest().split_ascii_whitespace().collect();
    let year = |word: &&str| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit());
    if words.len() == 1 && !words.iter().any(year) {
        // Quartz writes ? for "any".
        let text = begin.rest().trim_end();
        let text = text.strip_suffix('?').map_or(text.to_owned(), |fields| format!("{fields}*"));
        if Schedule::parse(&format!("seconds: {text}")).is_ok() {
            found.push(Doubt::new(
                scan.at(),
                "the sixth field is ignored: the first five are minute to day of week",
                format!(
                    "If the first field is meant as seconds, write: {zone}seconds: {}.",
                    excerpt_long(&text)
                ),
            ));
            return;
        }
    }
    let mut doubt = ignored_text(scan);
    if words.iter().all(year) {
        "There is no field for the year; for a single run write: at 2026-12-24 18:00."
            .clone_into(&mut doubt.hint);
    }
    found.push(doubt);
}

fn excerpt_long(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}

/// Both day fields are restricted, and one of them is enough.
fn either_day(at: usize, cron: &Cron) -> Doubt {
    let days = &cron.days;
    if days.any_month_day() || days.any_weekday() {
        let (whole, other) = if days.any_month_day() {
            ("day of month", "day of week")
        } else {
            ("day of week", "day of month")
        };
        return Doubt::new(
            at,
            format!("the {other} field has no effect: the {whole} field matches every day"),
            format!("Write * in the {whole} field."),
        );
    }
    // "The first Monday", as people write it: days 1-7 and a weekday.
    let week = (0..5).find(|week| days.month_days == 0xfe << (7 * week));
    let name = (days.weekdays.count_ones() == 1)
        .then(|| members(days.weekdays).next().and_then(|day| usize::try_from(day).ok()))
        .flatten()
        .and_then(|day| fields::WEEKDAYS.get(day));
    let hint = match (week, name) {
        (Some(week), Some(name)) => {
            format!(
                "For that one day a month write * in the day of month field and {name}#{}.",
                week + 1
            )
        }
        _ => "To require both, set cron.match_dom_and_dow, or use forms like mon#1, 5L or LW."
            .to_owned(),
    };
    Doubt::new(at, "either day field is enough: days that match only one of them run too", hint)
}
