//! Reading schedules: what every function that stores one checks, `cron.validate_schedule` and
//! `cron.explain_schedule`.

use std::borrow::Cow;

use pg_tock_core::options::ZONE_HINT;
use pg_tock_core::schedule::{Doubt, Kind, Schedule, ScheduleError, Zone, doubts_under, passed};
use pg_tock_core::time::Timestamp as Instant;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::text::{ServerText, for_message};
use crate::pg::zone as server_zone;

use super::preview::{context, day_rule, now, zone};

/// How far ahead `cron.explain_schedule` looks for clock changes: five years, in microseconds.
const FIVE_YEARS: i64 = (5 * 365 + 2) * 86_400 * Instant::SECOND;

/// How many coming runs `cron.explain_schedule` names.
const RUNS_SHOWN: usize = 5;

/// Reads a schedule's text, or says in pg_cron's words what is wrong with it, and where.
pub(super) fn parse_schedule(text: &str) -> Result<Schedule, Error> {
    Schedule::parse(text).map_err(|error| {
        pgrx::log!("failed to parse schedule: {}", for_message(text.to_owned()));
        Error::InvalidSchedule {
            schedule: text.to_owned(),
            detail: format!(
                "The {} is wrong at character {}: {error}.",
                error.field(),
                character(text, error.at())
            ),
        }
    })
}

/// Reads a schedule that is to be stored, and warns of what its author may not mean.
pub(super) fn check_schedule(text: &str) -> Result<Schedule, Error> {
    let schedule = parse_schedule(text)?;
    if let Some(problem) = zone_problem(&schedule) {
        return Err(Error::InvalidTimeZone { problem, hint: ZONE_HINT.to_owned() });
    }
    for doubt in doubts_in_force(text, &schedule) {
        warn(text, doubt);
    }
    Ok(schedule)
}

/// Warns of a schedule whose only instant has passed; `timezone` is the job's own.
pub(super) fn warn_if_passed(text: &str, schedule: &Schedule, timezone: Option<&str>) {
    // A zone that cannot be read shows elsewhere.
    let Ok(zone) = zone(timezone.map(Cow::Borrowed)) else { return };
    if let Some(doubt) = passed(text, schedule, &zone, now()) {
        warn(text, doubt);
    }
}

fn warn(text: &str, doubt: Doubt) {
    let detail = format!("At character {} of schedule: {text}", character(text, doubt.at));
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, for_message(doubt.message), "pg_tock")
        .set_detail(for_message(detail))
        .set_hint(for_message(doubt.hint))
        .report(PgLogLevel::WARNING);
}

/// Why the server would not know a schedule's own time zone.
fn zone_problem(schedule: &Schedule) -> Option<String> {
    let zone = schedule.zone().map(Zone::name)?;
    let problem = || format!("time zone \"{zone}\" is not known to the server");
    (!server_zone::exists(zone)).then(problem)
}

/// What is doubtful about a schedule under the present rule for day fields.
fn doubts_in_force(text: &str, schedule: &Schedule) -> Vec<Doubt> {
    doubts_under(text, schedule, day_rule())
}

/// Counts characters from 1, as an editor does, where the core counts bytes from 0.
fn character(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).chars().count() + 1
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_validate_schedule(
    schedule: Option<&[u8]>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(valid, bool),
            name!(problem, Option<String>),
            name!(at, Option<i32>),
            name!(hint, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let text = readable(schedule.ok_or(Error::Null("schedule"))?);
    Ok(TableIterator::once(match Schedule::parse(&text) {
        Err(error) => refused(&text, &error),
        Ok(schedule) => match zone_problem(&schedule) {
            Some(problem) => (false, Some(problem), Some(1), Some(ZONE_HINT.to_owned())),
            None => {
                let mut doubts = doubts_in_force(&text, &schedule);
                doubts.extend(passed(&text, &schedule, &zone(None)?, now()));
                accepted(&text, &doubts)
            }
        },
    }))
}

type Verdict = (bool, Option<String>, Option<i32>, Option<String>);

fn refused(text: &str, error: &ScheduleError) -> Verdict {
    let at = i32::try_from(character(text, error.at())).ok();
    (false, Some(format!("{}: {error}", error.field())), at, Some(error.hint().to_owned()))
}

fn accepted(text: &str, doubts: &[Doubt]) -> Verdict {
    let all = |part: fn(&Doubt) -> &str, between: &str| {
        let parts: Vec<&str> = doubts.iter().map(part).collect();
        (!parts.is_empty()).then(|| parts.join(between))
    };
    let at = doubts.first().and_then(|doubt| i32::try_from(character(text, doubt.at)).ok());
    (true, all(|doubt| &doubt.message, "; "), at, all(|doubt| &doubt.hint, " "))
}

#[pg_extern(sql = false)]
fn cron_explain_schedule(
    schedule: Option<&[u8]>,
    timezone: Option<&[u8]>,
) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    let text = readable(schedule.ok_or(Error::Null("schedule"))?);
    let schedule = parse_schedule(&text)?;
    let zone = zone(timezone.map(readable))?;
    Ok(SetOfIterator::new(explain(&text, &schedule, &zone, now())))
}

fn explain(text: &str, schedule: &Schedule, zone: &Zone, now: Instant) -> Vec<String> {
    let context = context(zone, now);
    let shown_in = schedule.zone().unwrap_or(zone);
    let mut lines = schedule.explain(&context);
    let effects = schedule.clock_effects(now, now.plus(FIVE_YEARS), &context);
    lines.extend(effects.iter().map(ToString::to_string));
    let never = schedule.next(now, &context).is_none();
    lines.extend(
        doubts_in_force(text, schedule)
            .iter()
            .filter(|doubt| !(never && doubt.at == 0))
            .map(|doubt| format!("Note: {}. {}", doubt.message, doubt.hint)),
    );
    if never && schedule.kind() == Kind::Once {
        lines.push("That instant has passed: it does not run any more.".to_owned());
    }
    // Between runs nobody knows how long the next one will take.
    let shown = if schedule.kind() == Kind::EveryAfterCompletion { 0 } else { RUNS_SHOWN };
    let mut at = now;
    for _ in 0..shown {
        let Some(next) = schedule.next(at, &context) else { break };
        at = next;
        let note = schedule.clock_note(at, &context);
        let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
        lines.push(format!("Next: {} in {}{note}.", shown_in.local(at), shown_in.name()));
    }
    lines
}

/// A text argument, which comes as its bytes.
pub(super) fn readable(bytes: &[u8]) -> Cow<'_, str> {
    ServerText::new(bytes).readable()
}
