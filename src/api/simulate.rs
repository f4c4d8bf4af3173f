//! `cron.simulate`: what would become of the jobs' occurrences if the server were down for a time.
//!
//! Owns nothing: the answers come from the engine that schedules, played through over the time of
//! the outage and what follows it.

use std::collections::HashMap;

use pg_tock_core::engine::{Event, JobSpec, Limits, PoolKey, Simulated, What, simulate};
use pg_tock_core::run::MissedPolicy;
use pg_tock_core::time::{JobId, Timestamp as Instant};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::outlook::{self, Outlook};
use crate::error::Error;
use crate::guc;

use super::outlook::Calendars;
use super::preview::{finite, now, timestamptz};

/// The longest outage, in microseconds: 366 days.
const LONGEST: i64 = 366 * 86_400 * Instant::SECOND;

/// How long at most the time after it is followed, in microseconds: seven days.
const FOLLOWED: i64 = 7 * 86_400 * Instant::SECOND;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_simulate(
    down_from: Option<TimestampWithTimeZone>,
    down_to: Option<TimestampWithTimeZone>,
    resume_for: Option<Interval>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(at, TimestampWithTimeZone),
            name!(jobid, i64),
            name!(jobname, Option<Vec<u8>>),
            name!(scheduled_for, TimestampWithTimeZone),
            name!(action, &'static str),
            name!(reason, &'static str),
            name!(count, i64),
        ),
    >,
    ErrorReport,
> {
    let from = finite("down_from", down_from)?;
    let to = finite("down_to", down_to)?;
    let resume = resume_for.map(|time| outlook::micros(&time)).ok_or(Error::Null("resume_for"))?;
    check("down_to", "It is after down_from, by at most 366 days.", to.since(from), LONGEST)?;
    check("resume_for", "It is from 0 to 7 days.", resume, FOLLOWED)?;
    let (jobs, names) = jobs(from)?;
    let limits = Limits {
        max_running: u32::try_from(guc::max_running_jobs()).unwrap_or(u32::MAX),
        max_running_per_role: guc::max_running_jobs_per_role(),
        http_max_requests: u32::MAX,
        max_queued_per_job: u32::try_from(guc::max_queued_runs()).unwrap_or(u32::MAX),
        idle_timeout: 0,
        max_age: 0,
        launch: true,
    };
    let events = simulate(jobs, from, to, resume, limits);
    let rows = events.into_iter().filter_map(move |event| {
        let name = names.get(&event.job).cloned().flatten();
        row(&event, name)
    });
    Ok(TableIterator::new(rows))
}

type Row = (
    TimestampWithTimeZone,
    i64,
    Option<Vec<u8>>,
    TimestampWithTimeZone,
    &'static str,
    &'static str,
    i64,
);

fn row(event: &Event, name: Option<Vec<u8>>) -> Option<Row> {
    let (action, reason, count) = match event.what {
        What::Run { trigger } => ("run", trigger.as_str(), 1),
        What::Skipped { reason, count, .. } => {
            ("skip", reason.as_str(), i64::try_from(count).unwrap_or(i64::MAX))
        }
    };
    let scheduled_for = timestamptz(event.scheduled_for)?;
    Some((timestamptz(event.at)?, event.job.0, name, scheduled_for, action, reason, count))
}

fn check(name: &str, hint: &'static str, span: i64, most: i64) -> Result<(), Error> {
    if (0..=most).contains(&span) {
        return Ok(());
    }
    Err(Error::OutOfRange { problem: format!("{name} is out of range"), hint })
}

type Names = HashMap<JobId, Option<Vec<u8>>>;

/// The jobs the caller sees, all of whose occurrences before `from` are accounted for.
fn jobs(from: Instant) -> Result<(Vec<Simulated>, Names), Error> {
    let mut calendars = Calendars::default();
    let mut places: HashMap<(String, String), u32> = HashMap::new();
    let (mut jobs, mut names) = (Vec::new(), HashMap::new());
    for job in outlook::active()?.into_iter().filter(Outlook::runs_here) {
        // A job that is not valid does not run; cron.jobs says so.
        let Ok(plan) = job.plan(now(), &mut calendars)? else { continue };
        let id = JobId(job.shaped.jobid);
        let key = key(&mut places, &job);
        let spec = JobSpec {
            missed: missed(&job),
            missed_window: match job.missed_window {
                None => guc::defaults::missed_window(),
                Some(window) => Some(window).filter(|&window| window > 0),
            },
            paused_until: job.paused_until,
            last_end: job.last_end,
            ..JobSpec::new(id, key, std::sync::Arc::new(plan))
        };
        jobs.push(Simulated { spec, cursor: from, duration: job.average.unwrap_or(0) });
        names.insert(id, job.jobname);
    }
    Ok((jobs, names))
}

/// What becomes of what a job misses, as the scheduler reads it.
fn missed(job: &Outlook) -> MissedPolicy {
    let word = job.on_missed.as_deref();
    word.map_or_else(guc::defaults::on_missed, |word| {
        MissedPolicy::parse(word).unwrap_or(MissedPolicy::Skip)
    })
}

/// A number for each database and role: who shares executors with whom is all that counts.
fn key(places: &mut HashMap<(String, String), u32>, job: &Outlook) -> PoolKey {
    let next = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let place = (job.database.clone(), job.username.clone());
    let database = *places.entry(place).or_insert(next);
    let next = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let role = *places.entry((String::new(), job.username.clone())).or_insert(next);
    PoolKey { database, role }
}
