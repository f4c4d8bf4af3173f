//! `cron.occurrences`: what fell due, for whoever checks the books.
//!
//! Owns one invariant: the instants come from the plan the scheduler follows, read from the job's
//! present columns, whatever has become of them.

use pg_tock_core::plan::Plan;
use pg_tock_core::schedule::Kind;
use pg_tock_core::time::Timestamp as Instant;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::outlook;
use crate::error::Error;

use super::outlook::{Calendars, plan};
use super::preview::{finite, now, timestamptz};
use super::rights::JobRef;

#[pg_extern(sql = false)]
fn cron_occurrences(
    job: Option<i64>,
    after: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> Result<SetOfIterator<'static, TimestampWithTimeZone>, ErrorReport> {
    Ok(SetOfIterator::new(occurrences(JobRef::id(job)?, after, until)?))
}

#[pg_extern(sql = false)]
fn cron_occurrences_named(
    job: Option<&[u8]>,
    after: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> Result<SetOfIterator<'static, TimestampWithTimeZone>, ErrorReport> {
    Ok(SetOfIterator::new(occurrences(JobRef::name(job)?, after, until)?))
}

fn occurrences(
    job: JobRef<'_>,
    after: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> Result<impl Iterator<Item = TimestampWithTimeZone> + use<>, Error> {
    let after = finite("after", after)?;
    let until = finite("until", until)?;
    let jobid = job.resolve()?.jobid;
    let job = outlook::one(jobid)?.ok_or_else(|| Error::NoSuchJob(jobid.to_string()))?;
    // Not the end of the last run: what is due after that is known only once it has ended.
    let anchor = job.effective_from.unwrap_or_else(now);
    let plan = plan(&job.shaped, anchor, &mut Calendars::default())?;
    // A job that cannot be read has none; that must not keep anybody from checking the others.
    let foreseeable = plan.ok().filter(|plan| {
        !matches!(plan.schedule().kind(), Kind::Startup | Kind::EveryAfterCompletion)
    });
    Ok(foreseeable
        .into_iter()
        .flat_map(move |plan| instants(plan, after, until))
        .map_while(timestamptz))
}

/// The instants strictly after one and up to another that a plan's schedule names, open or not.
fn instants(plan: Plan, after: Instant, until: Instant) -> impl Iterator<Item = Instant> {
    let mut at = after;
    std::iter::from_fn(move || {
        at = plan.next(at).filter(|&next| next <= until)?;
        Some(at)
    })
}
