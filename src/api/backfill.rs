//! `cron.backfill`: asking for past occurrences that never succeeded.
//!
//! Owns two invariants: only real occurrences of the job's present schedule are asked for, none of
//! them twice; and a call writes all of its requests or none.

use pg_tock_core::plan::Plan;
use pg_tock_core::run::Trigger;
use pg_tock_core::schedule::Kind;
use pg_tock_core::time::Timestamp as Instant;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::{backfill, outlook};
use crate::error::Error;
use crate::pg::identity::current_user;
use crate::pg::time;

use super::outlook::Calendars;
use super::preview::{finite, timestamptz};
use super::rights::{JobRef, refuse_in_recovery};

/// The most occurrences one call looks at.
const MOST: usize = 100_000;

#[pg_extern(sql = false)]
fn cron_backfill(
    job: Option<i64>,
    from_time: Option<TimestampWithTimeZone>,
    to_time: Option<TimestampWithTimeZone>,
) -> Result<SetOfIterator<'static, i64>, ErrorReport> {
    Ok(SetOfIterator::new(request(JobRef::id(job)?, from_time, to_time)?))
}

#[pg_extern(sql = false)]
fn cron_backfill_named(
    job: Option<&[u8]>,
    from_time: Option<TimestampWithTimeZone>,
    to_time: Option<TimestampWithTimeZone>,
) -> Result<SetOfIterator<'static, i64>, ErrorReport> {
    Ok(SetOfIterator::new(request(JobRef::name(job)?, from_time, to_time)?))
}

fn request(
    job: JobRef<'_>,
    from: Option<TimestampWithTimeZone>,
    to: Option<TimestampWithTimeZone>,
) -> Result<Vec<i64>, Error> {
    refuse_in_recovery("cron.backfill()")?;
    let from = finite("from_time", from)?;
    let to = finite("to_time", to)?;
    if to < from {
        return Err(Error::OutOfRange {
            problem: "to_time must not be before from_time".to_owned(),
            hint: "",
        });
    }
    let found = job.resolve()?;
    let jobid = found.jobid;
    let job = outlook::one(jobid)?.ok_or_else(|| Error::NoSuchJob(jobid.to_string()))?;
    let now = time::now();
    let plan = job.plan(now, &mut Calendars::default())?.map_err(|broken| broken.of(jobid))?;
    if matches!(plan.schedule().kind(), Kind::Startup | Kind::EveryAfterCompletion) {
        return Err(Error::NoOccurrences(jobid));
    }
    let occurrences = occurrences(&plan, from, to.min(now))?;
    if occurrences.is_empty() {
        return Ok(Vec::new());
    }
    backfill::request(&found, occurrences, Trigger::Backfill.as_str(), current_user().name())
}

/// The occurrences from one instant to another, both included, that windows and calendars let run.
fn occurrences(
    plan: &Plan,
    from: Instant,
    to: Instant,
) -> Result<Vec<TimestampWithTimeZone>, Error> {
    let mut found = Vec::new();
    let mut at = from.plus(-1);
    while let Some(next) = plan.next_open(at).filter(|&next| next <= to) {
        if found.len() >= MOST {
            return Err(Error::TooMuch {
                problem: format!("more than {MOST} occurrences in this time"),
                hint: "Split it into several calls.",
            });
        }
        found.extend(timestamptz(next));
        at = next;
    }
    Ok(found)
}
