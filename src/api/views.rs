//! What the views ask about a job, row by row. Nothing here fails: a job that is not valid is
//! shown as such.

use pg_tock_core::schedule::{Kind, Schedule};
use pgrx::datum::{Array, Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

use crate::catalog::outlook::{Shaped, micros};
use crate::guc;
use crate::pg::json::from_server;
use crate::pg::time::from_pg;

use super::outlook::{Broken, Calendars, anchor, plan};
use super::preview::{now, timestamptz};
use super::schedules::readable;

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "one for each column it looks at")]
fn cron_job_condition(
    active: Option<bool>,
    nodename: Option<&[u8]>,
    schedule: Option<&[u8]>,
    timezone: Option<&[u8]>,
    run_window: Option<&[u8]>,
    skip_on: Option<Array<'_, &[u8]>>,
    only_on: Option<Array<'_, &[u8]>>,
) -> &'static str {
    if active != Some(true) || !guc::launch_active_jobs() {
        return "inactive";
    }
    if !guc::is_local_node(&readable(nodename.unwrap_or_default())) {
        return "remote node";
    }
    let job = Shaped {
        schedule: owned(schedule).unwrap_or_default(),
        timezone: owned(timezone),
        run_window: owned(run_window),
        skip_on: names(skip_on.as_ref()),
        only_on: names(only_on.as_ref()),
        ..Shaped::default()
    };
    match Calendars::of_snapshot(|calendars| plan(&job, now(), calendars)) {
        Ok(Ok(plan)) if plan.schedule().kind() == Kind::Startup => "startup",
        Ok(Ok(_)) => "recurring",
        Ok(Err(Broken::Schedule(_))) => "invalid schedule",
        Ok(Err(Broken::Options(_))) | Err(_) => "invalid options",
    }
}

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "one for each column it looks at")]
fn cron_job_next_run(
    jobid: Option<i64>,
    schedule: Option<&[u8]>,
    timezone: Option<&[u8]>,
    dst_policy: Option<&[u8]>,
    jitter: Option<Interval>,
    run_window: Option<&[u8]>,
    skip_on: Option<Array<'_, &[u8]>>,
    only_on: Option<Array<'_, &[u8]>>,
    paused_until: Option<TimestampWithTimeZone>,
    effective_from: Option<TimestampWithTimeZone>,
    last_end: Option<TimestampWithTimeZone>,
) -> Option<TimestampWithTimeZone> {
    let job = Shaped {
        jobid: jobid.unwrap_or_default(),
        schedule: owned(schedule)?,
        timezone: owned(timezone),
        dst_policy: owned(dst_policy),
        jitter: jitter.as_ref().map(micros),
        run_window: owned(run_window),
        skip_on: names(skip_on.as_ref()),
        only_on: names(only_on.as_ref()),
    };
    let instant = |at: Option<TimestampWithTimeZone>| at.map(|at| from_pg(at.into_inner()));
    let now = now();
    let from = anchor(&job.schedule, instant(effective_from), instant(last_end), now);
    let plan = Calendars::of_snapshot(|calendars| plan(&job, from, calendars)).ok()?.ok()?;
    let after = instant(paused_until).map_or(now, |until| until.max(now));
    let next = plan.coming(after).next()?;
    timestamptz(next.start)
}

#[pg_extern(sql = false)]
fn cron_timezone_in_force(schedule: Option<&[u8]>, timezone: Option<&[u8]>) -> String {
    let parsed = schedule.and_then(|text| Schedule::parse(&readable(text)).ok());
    if let Some(zone) = parsed.as_ref().and_then(Schedule::zone) {
        return zone.name().to_owned();
    }
    timezone.map_or_else(guc::timezone, |name| readable(name).into_owned())
}

fn owned(text: Option<&[u8]>) -> Option<String> {
    text.map(|text| readable(text).into_owned())
}

/// The names in a list, without those that are NULL.
fn names(list: Option<&Array<'_, &[u8]>>) -> Vec<String> {
    let names = list.into_iter().flat_map(Array::iter).flatten();
    names.map(|name| from_server(name).unwrap_or_default()).collect()
}
