//! What the views ask about a job, row by row. Nothing here fails: a job that is not valid is
//! shown as such.

use pg_tock_core::schedule::{Kind, Schedule};
use pg_tock_core::time::Timestamp;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::catalog;
use crate::catalog::outlook::micros;
use crate::error::{Error, SqlResult};
use crate::guc;
use crate::pg::args::Args;
use crate::pg::names::{is_database, may_have_jobs};

use super::known::{Columns, Remembered, with_plan};
use super::outlook::{Broken, anchor};
use super::preview::{now, timestamptz};
use super::schedules::readable;
use super::starts;

/// `active`, `nodename`, `schedule`, `timezone`, `run_window`, `skip_on`, `only_on`
#[pg_extern(sql = false)]
fn cron_job_condition(fcinfo: pg_sys::FunctionCallInfo) -> &'static str {
    let args = Args::new(fcinfo);
    if args.flag(0) != Some(true) || !guc::launch_active_jobs() {
        return "inactive";
    }
    if !is_local(args.bytes(1)) {
        return "remote node";
    }
    let columns = Columns {
        schedule: args.bytes(2).unwrap_or_default(),
        timezone: args.bytes(3),
        dst_policy: None,
        run_window: args.bytes(4),
        args,
        calendars: [5, 6],
    };
    let condition = with_plan(&columns, |known| match &known.plan {
        Ok(plan) if plan.schedule().kind() == Kind::Startup => "startup",
        Ok(_) => "recurring",
        Err(Broken::Schedule(_)) => "invalid schedule",
        Err(Broken::Options(_)) => "invalid options",
    });
    condition.unwrap_or("invalid options")
}

/// `active`, `nodename`, `username`, `database`
#[pg_extern(sql = false)]
fn cron_job_may_start(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    may_start(Args::new(fcinfo), 0)
}

/// Whether a job may start, with these columns from that argument on.
fn may_start(args: Args, from: usize) -> bool {
    args.flag(from) == Some(true)
        && guc::launch_active_jobs()
        && is_local(args.bytes(from + 1))
        && args.bytes(from + 2).is_some_and(may_have_jobs)
        && args.bytes(from + 3).is_some_and(is_database)
}

/// `jobid`, `active`, `nodename`, `username`, `database`, `schedule`, `timezone`, `dst_policy`, `jitter`,
/// `run_window`, `skip_on`, `only_on`, `paused_until`
#[pg_extern(sql = false)]
fn cron_job_next_run_at(
    fcinfo: pg_sys::FunctionCallInfo,
) -> SqlResult<Option<TimestampWithTimeZone>> {
    let args = Args::new(fcinfo);
    let may_start = may_start(args, 1);
    let (Some(jobid), Some(schedule), true) = (args.number(0), args.bytes(5), may_start) else {
        return Ok(None);
    };
    let columns = Columns {
        schedule,
        timezone: args.bytes(6),
        dst_policy: args.bytes(7),
        run_window: args.bytes(9),
        args,
        calendars: [10, 11],
    };
    let (jitter, now) = (jitter(args, 8), now());
    let after = rests_until(args.instant(12), now);
    let job = starts::Job::new(jobid, jitter, &columns);
    if let Some(at) = job.as_ref().and_then(|job| job.next(after)) {
        return Ok(timestamptz(at));
    }
    let next = with_plan(&columns, |known| {
        let Some(next) = known.next_of(jobid, jitter, after) else {
            return next_from_anchor(known, (jobid, jitter), after, now);
        };
        if let Some(job) = job {
            job.remember(next);
        }
        Ok(next.after(after))
    });
    Ok(next.transpose()?.flatten().and_then(timestamptz))
}

/// When a job starts next that has an anchor.
fn next_from_anchor(
    known: &Remembered,
    (jobid, jitter): (i64, i64),
    after: Timestamp,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let Some(plan) = known.plan.as_ref().ok().filter(|plan| jitter > 0 || !plan.is_common()) else {
        return Ok(None);
    };
    let kind = plan.schedule().kind();
    let last_end = match kind {
        Kind::EveryAfterCompletion => catalog::anchor::last_end(jobid)?,
        _ => None,
    };
    let from = anchor(kind, catalog::anchor::effective_from(jobid)?, last_end, now);
    Ok(plan.for_job(from, jitter, jobid).next_start(after))
}

/// `jobid`, `schedule`, `timezone`, `dst_policy`, `jitter`, `run_window`, `skip_on`, `only_on`,
/// `paused_until`, `effective_from`, `last_end`
#[pg_extern(sql = false)]
fn cron_job_next_run(fcinfo: pg_sys::FunctionCallInfo) -> Option<TimestampWithTimeZone> {
    let args = Args::new(fcinfo);
    let now = now();
    let after = rests_until(args.instant(8), now);
    let jitter = jitter(args, 4);
    let next = with_plan(&Columns::of_next_run(args)?, |known| {
        let plan = known.plan.as_ref().ok()?;
        if plan.is_common() && jitter <= 0 {
            return known.next(after);
        }
        let from = anchor(plan.schedule().kind(), args.instant(9), args.instant(10), now);
        plan.for_job(from, jitter, args.number(0).unwrap_or_default()).next_start(after)
    });
    timestamptz(next??)
}

#[pg_extern(sql = false)]
fn cron_timezone_in_force(schedule: Option<&[u8]>, timezone: Option<&[u8]>) -> String {
    // Without it, there is no CRON_TZ= to be read.
    let schedule = schedule.filter(|text| text.contains(&b'='));
    let parsed = schedule.and_then(|text| Schedule::parse(&readable(text)).ok());
    if let Some(zone) = parsed.as_ref().and_then(Schedule::zone) {
        return zone.name().to_owned();
    }
    timezone.map_or_else(guc::timezone, |name| readable(name).into_owned())
}

impl<'call> Columns<'call> {
    /// Those of the functions about the next run; None if there is no schedule.
    fn of_next_run(args: Args<'call>) -> Option<Self> {
        Some(Self {
            schedule: args.bytes(1)?,
            timezone: args.bytes(2),
            dst_policy: args.bytes(3),
            run_window: args.bytes(5),
            args,
            calendars: [6, 7],
        })
    }
}

fn is_local(nodename: Option<&[u8]>) -> bool {
    // Most are that, and need not be made a string.
    nodename == Some(b"localhost") || guc::is_local_node(&readable(nodename.unwrap_or_default()))
}

/// The most microseconds a job starts after its instants.
fn jitter(args: Args<'_>, place: usize) -> i64 {
    args.span(place).map_or_else(guc::defaults::jitter, |jitter| micros(&jitter))
}

/// When a job may start again: `now`, or the end of its pause.
fn rests_until(paused_until: Option<Timestamp>, now: Timestamp) -> Timestamp {
    paused_until.map_or(now, |until| until.max(now))
}
