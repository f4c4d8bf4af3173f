//! Attempts at occurrences: which failed ones nobody has looked at, and asking for the next one.
//!
//! Owns one invariant: an attempt has one follower at most, and none if its occurrence has
//! succeeded or the attempt was resolved. The unique keys of ledger and requests keep the first part;
//! statements here make sure that they are not met as errors.

use pg_tock_core::cancel::MISPLACED;
use pg_tock_core::retry::Ended;
use pg_tock_core::run::{Guarantee, Origin, Outcome};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{self, SpiHeapTupleData};

use super::kept;
use super::origin::{self, telling_triggers};
use super::request::Place;
use crate::pg::text::ServerText;
use crate::pg::time::{from_pg, to_pg};

const COUNTED_BELOW: &str = "SELECT e.counted_below FROM cron.engine_state e";

// Failed attempts without a follower. Those of a job that has been restored, or defined anew since,
// are history.
macro_rules! unfollowed {
    ($from:literal) => {
        concat!(
            "SELECT d.jobid, d.scheduled_for, d.attempt, d.outcome, d.sqlstate, d.guarantee, \
              d.end_time, ",
            telling_triggers!("d"),
            ", d.http OPERATOR(pg_catalog.->) 'transient' OPERATOR(pg_catalog.=) 'true'::pg_catalog.jsonb, \
              d.runid, pg_catalog.convert_to(d.username, pg_catalog.getdatabaseencoding()), \
              pg_catalog.convert_to(d.database, pg_catalog.getdatabaseencoding()) ",
            $from,
            " AND d.status OPERATOR(pg_catalog.=) 'failed' AND d.end_time IS NOT NULL \
              AND d.scheduled_for IS NOT NULL AND d.attempt IS NOT NULL \
              AND d.outcome OPERATOR(pg_catalog.=) ANY (ARRAY['failed', 'timeout', 'crashed']) \
              AND NOT pg_catalog.starts_with(coalesce(d.reason, ''), 'resolved as ') \
              AND coalesce(d.reason, '') OPERATOR(pg_catalog.<>) $2 \
              AND EXISTS (SELECT FROM cron.job_state s \
               WHERE s.jobid OPERATOR(pg_catalog.=) d.jobid \
                AND s.effective_from OPERATOR(pg_catalog.<=) d.start_time OFFSET 0) \
              AND NOT EXISTS (SELECT FROM cron.job_run_details o \
               WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
                AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for \
                AND o.attempt OPERATOR(pg_catalog.>) d.attempt OFFSET 0) \
              AND NOT EXISTS (SELECT FROM cron.run_request o \
               WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
                AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for \
                AND o.attempt OPERATOR(pg_catalog.>) d.attempt OFFSET 0)"
        )
    };
}

// Two ways to have been overlooked: past the mark, or asked for by a request that is still there.
const UNFOLLOWED: [&str; 2] = [
    unfollowed!("FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.>=) $1"),
    unfollowed!(
        "FROM cron.run_request r JOIN cron.job_run_details d \
          ON d.runid OPERATOR(pg_catalog.=) r.runid WHERE d.runid OPERATOR(pg_catalog.<) $1"
    ),
];

const ASK: &str = "INSERT INTO cron.run_request \
     (jobid, scheduled_for, attempt, trigger, requested_by, not_before, alert, username, database) \
     SELECT j.jobid, $2, $3, 'retry', NULL, $4, (SELECT q.alert FROM cron.run_request q \
       WHERE q.runid OPERATOR(pg_catalog.=) $5), $6, $7 FROM cron.job j \
     WHERE j.jobid OPERATOR(pg_catalog.=) $1 AND NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) $2 \
        AND (d.attempt OPERATOR(pg_catalog.>=) $3 OR d.status OPERATOR(pg_catalog.=) 'succeeded' \
         OR d.runid OPERATOR(pg_catalog.=) $5 AND pg_catalog.starts_with(d.reason, 'resolved as ')) \
       OFFSET 0) \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING RETURNING runid";

// Why there was nothing to ask for: another attempt comes or is under way; or the occurrence is over.
const WHY_NOT: &str = "SELECT EXISTS (SELECT FROM cron.run_request r \
       WHERE r.jobid OPERATOR(pg_catalog.=) $1 AND r.scheduled_for OPERATOR(pg_catalog.=) $2 \
        AND r.attempt OPERATOR(pg_catalog.>=) $3) OR EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) $2 \
        AND d.attempt OPERATOR(pg_catalog.>=) $3), \
      EXISTS (SELECT FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.=) $4 \
       AND pg_catalog.starts_with(d.reason, 'resolved as succeeded '))";

/// The next attempt at an occurrence.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    pub(crate) job: JobId,
    /// The run that failed.
    pub(crate) after: RunId,
    pub(crate) scheduled_for: Timestamp,
    pub(crate) attempt: u32,
    /// When it is due.
    pub(crate) at: Timestamp,
    /// What the occurrence is to the job.
    pub(crate) origin: Origin,
    /// The attempt before it crashed.
    pub(crate) after_crash: bool,
    /// As what and where the attempt before it ran.
    pub(crate) place: Place,
}

/// A failed attempt that has no follower.
#[derive(Clone, Debug)]
pub(crate) struct Unfollowed {
    pub(crate) job: JobId,
    pub(crate) run: RunId,
    pub(crate) scheduled_for: Timestamp,
    pub(crate) ended: Ended,
    pub(crate) ended_at: Timestamp,
    /// What the occurrence is to the job.
    pub(crate) origin: Origin,
    /// As what and where it ran.
    pub(crate) place: Place,
}

/// The failed attempts without a follower that may have been overlooked. In a transaction, as every
/// function here.
pub(crate) fn unfollowed() -> Result<Vec<Unfollowed>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(COUNTED_BELOW, Some(1), &[])?;
        let below = if rows.is_empty() { None } else { rows.first().get_one::<i64>()? };
        let below = below.unwrap_or(1);
        let mut found = Vec::new();
        for statement in UNFOLLOWED {
            for row in client.select(statement, None, &[below.into(), MISPLACED.into()])? {
                found.extend(read(&row)?);
            }
        }
        Ok(found)
    })
}

fn read(row: &SpiHeapTupleData<'_>) -> Result<Option<Unfollowed>, spi::Error> {
    let stamp = |at: Option<TimestampWithTimeZone>| at.map(|at| from_pg(at.into_inner()));
    let outcome = row.get::<String>(4)?.and_then(|word| Outcome::parse(&word));
    let guarantee = row.get::<String>(6)?.and_then(|word| Guarantee::parse(&word));
    let attempt = row.get::<i32>(3)?.and_then(|attempt| u32::try_from(attempt).ok());
    let (Some(outcome), Some(attempt)) = (outcome, attempt) else { return Ok(None) };
    let (Some(scheduled_for), Some(ended_at)) = (stamp(row.get(2)?), stamp(row.get(7)?)) else {
        return Ok(None);
    };
    let ended = Ended {
        outcome,
        sqlstate: row.get::<String>(5)?.and_then(|code| code.as_bytes().try_into().ok()),
        guarantee: guarantee.unwrap_or(Guarantee::AtMostOnce),
        attempt,
        transient: row.get(9)?,
        retry_after: None,
    };
    let job = JobId(row.get(1)?.unwrap_or_default());
    let origin = origin::read(row, 8)?;
    let run = RunId(row.get(10)?.unwrap_or_default());
    // A row without names is none of ours.
    let Some(place) = Place::read(row.get(11)?, row.get(12)?) else { return Ok(None) };
    Ok(Some(Unfollowed { job, run, scheduled_for, ended, ended_at, origin, place }))
}

/// What came of asking for a retry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// It is to run, with this id.
    Asked(RunId),
    /// Somebody else has asked for the next attempt.
    Follows,
    /// There will be none: the attempt was resolved, as succeeded or as failed, or its job is gone.
    Over { succeeded: bool },
}

/// Asks for a retry, unless the attempt has a follower or was resolved, its occurrence has succeeded,
/// or its job is gone.
pub(crate) fn ask(retry: &Retry) -> Result<Answer, spi::Error> {
    let stamp = |at: Timestamp| TimestampWithTimeZone::try_from(to_pg(at)).ok();
    let args: [DatumWithOid<'_>; 7] = [
        retry.job.0.into(),
        stamp(retry.scheduled_for).into(),
        retry.attempt.cast_signed().into(),
        stamp(retry.at).into(),
        retry.after.0.into(),
        ServerText::new(retry.place.username.to_bytes()).param(),
        ServerText::new(retry.place.database.to_bytes()).param(),
    ];
    let asked = Spi::connect_mut(|client| {
        let rows = kept::update(client, ASK, &args)?;
        if rows.is_empty() { Ok(None) } else { rows.first().get_one::<i64>() }
    })?;
    if let Some(run) = asked {
        return Ok(Answer::Asked(RunId(run)));
    }
    let [job, at, attempt, _, after, ..] = args;
    Spi::connect_mut(|client| {
        // As what was just not written, this goes by what is committed by now.
        let rows = kept::update(client, WHY_NOT, &[job, at, attempt, after])?;
        let (follows, succeeded) = rows.first().get_two::<bool, bool>()?;
        Ok(match follows {
            Some(true) => Answer::Follows,
            _ => Answer::Over { succeeded: succeeded.unwrap_or(false) },
        })
    })
}
