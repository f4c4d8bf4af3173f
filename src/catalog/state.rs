//! What the scheduler remembers: `cron.engine_state`, `cron.job_state`, `cron.job_skip`.

use std::collections::HashMap;

use pg_tock_core::run::{Origin, SkipReason, Trigger};
use pg_tock_core::time::{JobId, Timestamp};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi;

use super::kept;
use crate::pg::time::{from_pg, to_pg};

const SERVER_START: &str = "SELECT server_start, timeline FROM cron.engine_state";
const SET_SERVER_START: &str = "UPDATE cron.engine_state SET server_start = $1, timeline = $2";
const IS_HERE: &str = "UPDATE cron.engine_state SET left_at = NULL WHERE left_at IS NOT NULL";
// Those of an earlier start that wait still, or may have begun when the server stopped and have no row.
const FORGET_EARLIER_START: &str = "DELETE FROM cron.run_request r \
     WHERE r.trigger OPERATOR(pg_catalog.=) $1 AND NOT EXISTS (SELECT FROM cron.job_run_details d \
      WHERE d.runid OPERATOR(pg_catalog.=) r.runid OFFSET 0) RETURNING r.jobid, r.scheduled_for";
const ASK_AT_START: &str = "INSERT INTO cron.run_request (jobid, scheduled_for, trigger, requested_by) \
     SELECT u.jobid, $2, $3, NULL FROM pg_catalog.unnest($1::bigint[]) AS u (jobid) \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING";

// A job that begins anew because the clock was set back has accounted for nothing after that.
const EFFECTIVE: &str = "INSERT INTO cron.job_state AS s (jobid, effective_from, definition) \
     SELECT u.jobid, u.effective_from, u.definition FROM \
      ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::timestamptz[]), \
       pg_catalog.unnest($3::text[])) AS u (jobid, effective_from, definition) \
     ON CONFLICT ON CONSTRAINT job_state_pkey DO UPDATE SET \
      effective_from = excluded.effective_from, definition = excluded.definition, \
      cursor = least(s.cursor, excluded.effective_from)";

// Of one that was never taken nothing else is known.
const NO_ROOM: &str = "INSERT INTO cron.job_state AS s (jobid, effective_from, no_room) \
     SELECT u.jobid, pg_catalog.clock_timestamp(), u.no_room FROM \
      ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::boolean[])) AS u (jobid, no_room) \
     ON CONFLICT ON CONSTRAINT job_state_pkey DO UPDATE SET no_room = excluded.no_room";

// Lengthens the row of the occurrences just before these, if they did not run for the same reason: one, where
// a clock that was set back has made two that end alike.
const SKIP: &str = "WITH longer AS (UPDATE cron.job_skip SET last_at = $4, \
      count = count OPERATOR(pg_catalog.+) $5 \
     WHERE ctid OPERATOR(pg_catalog.=) (SELECT k.ctid FROM cron.job_skip k \
      WHERE k.jobid OPERATOR(pg_catalog.=) $1 AND k.reason OPERATOR(pg_catalog.=) $2 \
       AND k.first_at OPERATOR(pg_catalog.<=) $3 AND k.last_at OPERATOR(pg_catalog.=) $6 \
      ORDER BY k.first_at DESC LIMIT 1) RETURNING jobid) \
     INSERT INTO cron.job_skip (jobid, reason, first_at, last_at, count) \
     SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM longer)";

// Cursors go back when the clock does; what has succeeded has.
const CURSOR: &str = "UPDATE cron.job_state s SET cursor = coalesce(u.cursor, s.cursor), \
      window_start = greatest(u.window_start, s.window_start), \
      made_good = greatest(u.made_good, s.made_good) FROM \
      ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::timestamptz[]), \
       pg_catalog.unnest($3::timestamptz[]), pg_catalog.unnest($4::timestamptz[])) \
       AS u (jobid, cursor, window_start, made_good) \
     WHERE s.jobid OPERATOR(pg_catalog.=) u.jobid";

const OUTSIDE: &str = "UPDATE cron.job_state SET reaches_outside = true \
     WHERE jobid OPERATOR(pg_catalog.=) ANY ($1) AND NOT reaches_outside";

const TAKE_LEFT_AT: &str = "UPDATE cron.engine_state e SET left_at = NULL \
     FROM (SELECT b.left_at FROM cron.engine_state b) AS before RETURNING before.left_at";

// The newest runs tell what the clock showed then, whoever set it back meanwhile.
const AHEAD: &str = "WITH newest AS (SELECT d.scheduled_for, d.start_time \
      FROM cron.job_run_details d ORDER BY d.runid DESC LIMIT 1000) \
     UPDATE cron.engine_state e SET ahead_until = u.until FROM (SELECT greatest(b.ahead_until, \
       (SELECT greatest(pg_catalog.max(n.scheduled_for), pg_catalog.max(n.start_time)) FROM newest n)) \
       AS until FROM cron.engine_state b) AS u \
     WHERE u.until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() RETURNING u.until";

const LEAVE: &str = "UPDATE cron.engine_state SET left_at = $1";

// Once per occurrence, however many attempts it had.
const RECORDED: &str = "SELECT u.jobid, d.scheduled_for, d.covered FROM \
      ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::timestamptz[])) \
       AS u (jobid, since) \
     CROSS JOIN LATERAL (SELECT r.scheduled_for, \
       pg_catalog.bool_or(r.status OPERATOR(pg_catalog.=) 'succeeded') AND NOT pg_catalog.bool_or( \
        r.trigger OPERATOR(pg_catalog.=) ANY (ARRAY['manual', 'backfill', 'alert'])) AS covered \
      FROM cron.job_run_details r \
      WHERE r.jobid OPERATOR(pg_catalog.=) u.jobid \
       AND r.scheduled_for OPERATOR(pg_catalog.>) u.since GROUP BY r.scheduled_for) AS d \
     ORDER BY u.jobid, d.scheduled_for";

// Those ahead of a clock that was set back are not meant: they may come due again.
const SKIPPED: &str = "SELECT u.jobid, k.first_at, k.last_at FROM \
      ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::timestamptz[])) \
       AS u (jobid, since) \
     JOIN cron.job_skip k ON k.jobid OPERATOR(pg_catalog.=) u.jobid \
      AND k.last_at OPERATOR(pg_catalog.>) u.since \
      AND k.last_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()";

const LAST_END: &str = "SELECT d.end_time FROM cron.job_run_details d \
     WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.end_time IS NOT NULL \
     ORDER BY d.scheduled_for DESC LIMIT 1";

macro_rules! over {
    ($lock:literal) => {
        concat!(
            "SELECT j.jobid FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) $1 AND j.active \
              AND pg_catalog.convert_to(j.schedule, pg_catalog.getdatabaseencoding()) \
               OPERATOR(pg_catalog.=) $2",
            $lock
        )
    };
}
const OVER: &str = over!("");
const DEACTIVATE: &str = concat!(
    "UPDATE cron.job SET active = false WHERE jobid OPERATOR(pg_catalog.=) ANY (ARRAY(",
    over!(" FOR NO KEY UPDATE SKIP LOCKED"),
    "))"
);

const FORGET: [&str; 4] = [
    "DELETE FROM cron.run_request WHERE jobid OPERATOR(pg_catalog.=) ANY ($1)",
    "DELETE FROM cron.job_state WHERE jobid OPERATOR(pg_catalog.=) ANY ($1)",
    "DELETE FROM cron.job_stat WHERE jobid OPERATOR(pg_catalog.=) ANY ($1)",
    "DELETE FROM cron.job_skip WHERE jobid OPERATOR(pg_catalog.=) ANY ($1)",
];

const FORGET_STRANGERS: [&str; 3] = [
    "DELETE FROM cron.job_state s WHERE NOT EXISTS \
      (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) s.jobid)",
    "DELETE FROM cron.job_stat s WHERE NOT EXISTS \
      (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) s.jobid)",
    "DELETE FROM cron.job_skip s WHERE NOT EXISTS \
      (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) s.jobid)",
];

/// When a job's present definition came into force.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) job: JobId,
    pub(crate) from: Timestamp,
    pub(crate) definition: String,
}

/// Occurrences of a job that did not run, neighbours for one reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skip {
    pub(crate) reason: SkipReason,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) count: u64,
    /// The last of those before them, whose row these lengthen.
    pub(crate) extends: Option<Timestamp>,
}

fn stamp(at: Timestamp) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(to_pg(at)).ok()
}

fn stamps<'a>(at: impl Iterator<Item = Timestamp>) -> DatumWithOid<'a> {
    at.map(stamp).collect::<Vec<_>>().into()
}

/// Takes note that there is a scheduler, and that this server start has been seen, unless it had been before.
/// Then it asks for a run of each of these jobs: whatever becomes of this process, they will not be asked for
/// again, nor forgotten. They take the place of those that have not run since an earlier start: these are
/// recorded as skipped, and returned.
pub(crate) fn note_server_start(
    start: Timestamp,
    timeline: i32,
    startup: &[JobId],
) -> Result<Vec<(JobId, Skip)>, spi::Error> {
    Spi::connect_mut(|client| {
        client.update(IS_HERE, None, &[])?;
        let known = client.select(SERVER_START, Some(1), &[])?;
        if !known.is_empty() {
            let (at, on) = known.first().get_two::<TimestampWithTimeZone, i32>()?;
            if at == stamp(start) && on == Some(timeline) {
                return Ok(Vec::new());
            }
            if at == stamp(start) && on.is_none() {
                // the extension was created since: this start was before its time
                client.update(SET_SERVER_START, None, &[at.into(), timeline.into()])?;
                return Ok(Vec::new());
            }
        }
        client.update(SET_SERVER_START, None, &[stamp(start).into(), timeline.into()])?;
        let trigger = Trigger::Startup.as_str();
        let mut replaced = Vec::new();
        for row in client.update(FORGET_EARLIER_START, None, &[trigger.into()])? {
            if let (Some(job), Some(at)) = (row.get(1)?, row.get::<TimestampWithTimeZone>(2)?) {
                let (reason, at) = (SkipReason::Missed, from_pg(at.into_inner()));
                let gone = Skip { reason, first: at, last: at, count: 1, extends: None };
                replaced.push((JobId(job), gone));
            }
        }
        for (job, gone) in &replaced {
            skip(*job, gone)?;
        }
        let ids: Vec<i64> = startup.iter().map(|job| job.0).collect();
        client.update(ASK_AT_START, None, &[ids.into(), stamp(start).into(), trigger.into()])?;
        Ok(replaced)
    })
}

/// Stores since when jobs are as they are.
pub(crate) fn set_effective(jobs: &[Effective]) -> Result<(), spi::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    Spi::connect_mut(|client| {
        let ids: Vec<i64> = jobs.iter().map(|job| job.job.0).collect();
        let definitions: Vec<String> = jobs.iter().map(|job| job.definition.clone()).collect();
        let from = stamps(jobs.iter().map(|job| job.from));
        kept::update(client, EFFECTIVE, &[ids.into(), from, definitions.into()])?;
        Ok(())
    })
}

/// Stores whether there is no room for jobs.
pub(crate) fn set_no_room(jobs: &HashMap<JobId, bool>) -> Result<(), spi::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    let (ids, no_room): (Vec<i64>, Vec<bool>) =
        jobs.iter().map(|(job, no_room)| (job.0, *no_room)).unzip();
    Spi::connect_mut(|client| {
        kept::update(client, NO_ROOM, &[ids.into(), no_room.into()])?;
        Ok(())
    })
}

/// Records occurrences of a job that did not run.
pub(crate) fn skip(job: JobId, skip: &Skip) -> Result<(), spi::Error> {
    let count = i64::try_from(skip.count).unwrap_or(i64::MAX);
    let (first, last) = (stamp(skip.first), stamp(skip.last));
    let args: [DatumWithOid<'_>; 6] = [
        job.0.into(),
        skip.reason.as_str().into(),
        first.into(),
        last.into(),
        count.into(),
        skip.extends.and_then(stamp).into(),
    ];
    Spi::connect_mut(|client| {
        kept::update(client, SKIP, &args)?;
        Ok(())
    })
}

/// How far a job has come, as far as that is news.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) job: JobId,
    /// Up to where its occurrences are accounted for.
    pub(crate) cursor: Option<Timestamp>,
    /// Up to where its successful runs have covered time.
    pub(crate) window_start: Option<Timestamp>,
    /// The latest instant that was made good, by a backfill or by whoever resolved its run.
    pub(crate) made_good: Option<Timestamp>,
}

impl Reached {
    /// Whether a run has succeeded.
    pub(crate) const fn has_succeeded(&self) -> bool {
        self.window_start.is_some() || self.made_good.is_some()
    }
}

/// A run that succeeded, of those that were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Success {
    pub(crate) job: JobId,
    pub(crate) at: Timestamp,
    pub(crate) origin: Origin,
}

/// How far these have brought their jobs.
pub(crate) fn reached_by(successes: &[Success]) -> Vec<Reached> {
    let mut reached: HashMap<JobId, Reached> = HashMap::new();
    for &Success { job, at, origin } in successes {
        let none = Reached { job, cursor: None, window_start: None, made_good: None };
        let reached = reached.entry(job).or_insert(none);
        if origin.moves_window() {
            reached.window_start = reached.window_start.max(Some(at));
        } else if origin.is_instant() {
            reached.made_good = reached.made_good.max(Some(at));
        }
    }
    reached.into_values().collect()
}

/// Stores how far jobs have come.
pub(crate) fn set_reached(jobs: &[Reached]) -> Result<(), spi::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    let list = |of: fn(&Reached) -> Option<Timestamp>| -> DatumWithOid<'_> {
        jobs.iter().map(|job| of(job).and_then(stamp)).collect::<Vec<_>>().into()
    };
    Spi::connect_mut(|client| {
        let ids: Vec<i64> = jobs.iter().map(|job| job.job.0).collect();
        let args = [
            ids.into(),
            list(|job| job.cursor),
            list(|job| job.window_start),
            list(|job| job.made_good),
        ];
        kept::update(client, CURSOR, &args)?;
        Ok(())
    })
}

/// Stores that runs of these jobs have had effects that a rollback does not undo.
pub(crate) fn set_outside(jobs: &[i64]) -> Result<(), spi::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    Spi::connect_mut(|client| {
        kept::update(client, OUTSIDE, &[jobs.to_vec().into()])?;
        Ok(())
    })
}

/// The instant that a change of the one row of `cron.engine_state` returns, if it changes it.
fn returned_instant(change: &str) -> Result<Option<Timestamp>, spi::Error> {
    Spi::connect_mut(|client| {
        let rows = client.update(change, None, &[])?;
        let at =
            if rows.is_empty() { None } else { rows.first().get_one::<TimestampWithTimeZone>()? };
        Ok(at.map(|at| from_pg(at.into_inner())))
    })
}

/// When the last scheduler left in good order, which is forgotten; None if it did not.
pub(crate) fn take_left_at() -> Result<Option<Timestamp>, spi::Error> {
    returned_instant(TAKE_LEFT_AT)
}

/// Up to where rows of jobs may lie ahead of the clock, because it was set back since they were written;
/// None if it shows what it has never shown before. That is kept for schedulers to come.
pub(crate) fn ahead_until() -> Result<Option<Timestamp>, spi::Error> {
    returned_instant(AHEAD)
}

/// Notes that the scheduler leaves, having written all it had to.
pub(crate) fn leave(at: Timestamp) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        client.update(LEAVE, None, &[stamp(at).into()])?;
        Ok(())
    })
}

/// An occurrence that has a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) job: JobId,
    pub(crate) at: Timestamp,
    /// It succeeded, and counts as having covered the time up to it.
    pub(crate) covered: bool,
}

/// The occurrences of these jobs, each after an instant of its own, that have a row in the ledger.
pub(crate) fn recorded(since: &[(JobId, Timestamp)]) -> Result<Vec<Recorded>, spi::Error> {
    Spi::connect(|client| {
        let ids: Vec<i64> = since.iter().map(|(job, _)| job.0).collect();
        let at = stamps(since.iter().map(|(_, at)| *at));
        let rows = kept::select(client, RECORDED, &[ids.into(), at])?;
        rows.map(|row| {
            let job = JobId(row.get(1)?.unwrap_or_default());
            let at = row.get::<TimestampWithTimeZone>(2)?;
            let at = at.map_or(Timestamp(i64::MIN), |at| from_pg(at.into_inner()));
            Ok(Recorded { job, at, covered: row.get(3)?.unwrap_or(false) })
        })
        .collect()
    })
}

/// The stretches of these jobs, each beyond an instant of its own, that are recorded as skipped.
pub(crate) fn skipped(
    since: &[(JobId, Timestamp)],
) -> Result<Vec<(JobId, Timestamp, Timestamp)>, spi::Error> {
    Spi::connect(|client| {
        let ids: Vec<i64> = since.iter().map(|(job, _)| job.0).collect();
        let at = stamps(since.iter().map(|(_, at)| *at));
        let rows = kept::select(client, SKIPPED, &[ids.into(), at])?;
        let stamp = |at: Option<TimestampWithTimeZone>| {
            at.map_or(Timestamp(i64::MIN), |at| from_pg(at.into_inner()))
        };
        rows.map(|row| {
            let job = JobId(row.get(1)?.unwrap_or_default());
            Ok((job, stamp(row.get(2)?), stamp(row.get(3)?)))
        })
        .collect()
    })
}

/// When the last run of a job ended.
pub(crate) fn last_end(job: JobId) -> Result<Option<Timestamp>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(LAST_END, Some(1), &[job.0.into()])?;
        let at =
            if rows.is_empty() { None } else { rows.first().get_one::<TimestampWithTimeZone>()? };
        Ok(at.map(|at| from_pg(at.into_inner())))
    })
}

/// Switches a job off whose only instant has been, unless it has another schedule by now. False if
/// somebody has its row locked.
pub(crate) fn deactivate(job: JobId, schedule: &[u8]) -> Result<bool, spi::Error> {
    let args: [DatumWithOid<'_>; 2] = [job.0.into(), schedule.to_vec().into()];
    Spi::connect_mut(|client| {
        let done = !client.update(DEACTIVATE, None, &args)?.is_empty();
        Ok(done || client.update(OVER, None, &args)?.is_empty())
    })
}

/// Forgets jobs that are gone.
pub(crate) fn forget(jobs: &[i64]) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        for statement in FORGET {
            kept::update(client, statement, &[jobs.to_vec().into()])?;
        }
        Ok(())
    })
}

/// Forgets whatever is not a job.
pub(crate) fn forget_strangers() -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        for statement in FORGET_STRANGERS {
            client.update(statement, None, &[])?;
        }
        Ok(())
    })
}
