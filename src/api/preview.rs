//! Looking ahead: `cron.next_runs` and `cron.job_next_runs`.
//!
//! The instants come from the same code that schedules, `pg_tock_core::schedule`.

use pg_tock_core::schedule::{Context, DayRule, Schedule, Zone};
use pg_tock_core::time::Timestamp as Instant;
use pgrx::datum::TimestampWithTimeZone;
use std::borrow::Cow;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::outlook;
use crate::error::Error;
use crate::guc;
use crate::pg::time;

use super::outlook::Calendars;
use super::rights::JobRef;
use super::schedules::{parse_schedule, readable};

/// Microseconds from 1970, where the core counts from, to 2000, where Postgres does.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// The most instants one call answers with.
const MOST_RUNS: usize = 10_000;

/// The zone of that name, or of `cron.timezone`.
pub(super) fn zone(name: Option<Cow<'_, str>>) -> Result<Zone, Error> {
    let name = name.unwrap_or_else(|| Cow::Owned(guc::timezone()));
    Zone::resolve(&name).map_err(|error| Error::InvalidTimeZone {
        problem: error.to_string(),
        hint: error.hint().to_owned(),
    })
}

/// What a schedule without a job is read with.
pub(super) fn context(zone: &Zone, anchor: Instant) -> Context<'_> {
    Context { zone, policy: guc::defaults::dst_policy(), days: day_rule(), anchor }
}

/// How the day fields go together at present.
pub(super) fn day_rule() -> DayRule {
    if guc::match_dom_and_dow() { DayRule::And } else { DayRule::Vixie }
}

/// A Postgres timestamp as an instant; None if it is infinite.
pub(super) fn instant(at: TimestampWithTimeZone) -> Option<Instant> {
    let micros = i64::from(at);
    if micros == i64::MIN || micros == i64::MAX {
        return None;
    }
    micros.checked_add(POSTGRES_EPOCH).map(Instant)
}

/// An instant as a Postgres timestamp; None outside Postgres's range.
pub(super) fn timestamptz(at: Instant) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(at.0.checked_sub(POSTGRES_EPOCH)?).ok()
}

/// What the wall clock shows at an instant, as a Postgres timestamp.
fn wall_clock(zone: &Zone, at: Instant) -> Option<Timestamp> {
    let local = zone.local(at);
    let micros = local.secs.checked_mul(Instant::SECOND)?.checked_add(local.micros)?;
    Timestamp::try_from(micros.checked_sub(POSTGRES_EPOCH)?).ok()
}

type Run = (
    name!(run_at, TimestampWithTimeZone),
    name!(local_time, Timestamp),
    name!(note, Option<String>),
);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)] // the macro wants the type spelt out, no alias for Result either
fn cron_next_runs(
    schedule: Option<&[u8]>,
    n: Option<i32>,
    timezone: Option<&[u8]>,
    after: Option<TimestampWithTimeZone>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(run_at, TimestampWithTimeZone),
            name!(local_time, Timestamp),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let schedule = schedule.ok_or(Error::InvalidArgument("schedule must not be NULL"))?;
    let after = finite("after", after)?;
    let n = count(n)?;
    let schedule = parse_schedule(&readable(schedule))?;
    let runs = next_runs(&schedule, n, &zone(timezone.map(readable))?, after);
    Ok(TableIterator::new(runs))
}

fn next_runs(schedule: &Schedule, n: usize, zone: &Zone, after: Instant) -> Vec<Run> {
    let context = context(zone, after);
    let shown_in = schedule.zone().unwrap_or(zone);
    let mut runs = Vec::new();
    let mut at = after;
    while runs.len() < n {
        let Some(next) = schedule.next(at, &context) else { break };
        at = next;
        let (Some(run_at), Some(local_time)) = (timestamptz(at), wall_clock(shown_in, at)) else {
            break;
        };
        let note = schedule.clock_note(at, &context).map(|note| note.to_string());
        runs.push((run_at, local_time, note));
    }
    runs
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_job_next_runs(
    job: Option<i64>,
    n: Option<i32>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(run_at, TimestampWithTimeZone),
            name!(local_time, Timestamp),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(job_next_runs(JobRef::id(job)?, n)?))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_job_next_runs_named(
    job: Option<&[u8]>,
    n: Option<i32>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(run_at, TimestampWithTimeZone),
            name!(local_time, Timestamp),
            name!(note, Option<String>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(job_next_runs(JobRef::name(job)?, n)?))
}

fn job_next_runs(job: JobRef<'_>, n: Option<i32>) -> Result<Vec<Run>, Error> {
    let n = count(n)?;
    let jobid = job.resolve()?.jobid;
    let job = outlook::one(jobid)?.ok_or_else(|| Error::NoSuchJob(jobid.to_string()))?;
    let now = now();
    let plan = job.plan(now, &mut Calendars::default())?.map_err(|broken| broken.of(jobid))?;
    if !job.runs_here() {
        pgrx::notice!(
            "job {jobid} is inactive or belongs to another server, and has no coming runs"
        );
        return Ok(Vec::new());
    }
    let runs = plan.coming(job.rests_until(now)).take(n).map_while(|coming| {
        let local_time = wall_clock(plan.zone(), coming.start)?;
        Some((timestamptz(coming.start)?, local_time, coming.note))
    });
    Ok(runs.collect())
}

/// The present, the same for a whole statement.
pub(super) fn now() -> Instant {
    time::statement_start()
}

/// How many runs are asked for.
fn count(n: Option<i32>) -> Result<usize, Error> {
    usize::try_from(n.ok_or(Error::InvalidArgument("n must not be NULL"))?)
        .ok()
        .filter(|&n| n <= MOST_RUNS)
        .ok_or(Error::InvalidArgument("n must be between 0 and 10000"))
}

/// An argument that is an instant and not infinite.
pub(super) fn finite(
    name: &'static str,
    at: Option<TimestampWithTimeZone>,
) -> Result<Instant, Error> {
    let at = at.ok_or(Error::Null(name))?;
    instant(at).ok_or_else(|| {
        if at.is_infinity() || at.is_neg_infinity() {
            return Error::OutOfRange { problem: format!("{name} must be finite"), hint: "" };
        }
        // The core counts from 1970, and so ends 30 years before Postgres does.
        Error::OutOfRange {
            problem: format!("{name} is out of range"),
            hint: "It must be before the year 294247.",
        }
    })
}
