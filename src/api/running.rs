//! What runs now, read from shared memory: `cron.running_runs()`, and `cron.running_runs(true)` for those who
//! monitor.
//!
//! Owns one invariant: what a run has noted goes to nobody but its job's owner and superusers.

use pg_tock_core::time::Timestamp;
use pg_tock_core::watch::Watch;
use pgrx::prelude::*;

use crate::pg::text::ServerText;
use crate::pg::time::{monotonic, to_pg};
use crate::pg::{identity, process};
use crate::shmem::http::{self, HttpSlot};
use crate::shmem::roster;
use crate::shmem::slots::Slot;

/// A run under way.
struct Row {
    jobid: i64,
    runid: i64,
    job_pid: i32,
    database: Option<String>,
    username: Option<String>,
    scheduled_for: Option<TimestampWithTimeZone>,
    started_at: Option<TimestampWithTimeZone>,
    trigger: &'static str,
    attempt: i32,
    progress: Option<f64>,
    note: Option<String>,
    heartbeat_at: Option<TimestampWithTimeZone>,
    stuck: bool,
    deadline: Option<TimestampWithTimeZone>,
}

/// The runs of this database's scheduler that the caller may see: his own, all for a superuser and, if it is asked for
/// those of all, for whoever may read `cron.monitor_running`.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn running_runs(
    of_all: bool,
) -> TableIterator<
    'static,
    (
        name!(jobid, i64),
        name!(runid, i64),
        name!(job_pid, i32),
        name!(database, Option<String>),
        name!(username, Option<String>),
        name!(scheduled_for, Option<TimestampWithTimeZone>),
        name!(started_at, Option<TimestampWithTimeZone>),
        name!(trigger, &'static str),
        name!(attempt, i32),
        name!(progress, Option<f64>),
        name!(note, Option<String>),
        name!(heartbeat_at, Option<TimestampWithTimeZone>),
        name!(stuck, bool),
        name!(deadline, Option<TimestampWithTimeZone>),
    ),
> {
    let all = of_all && identity::may_read(c"monitor_running");
    let rows = under_way(all).into_iter().map(|row| {
        (
            row.jobid,
            row.runid,
            row.job_pid,
            row.database,
            row.username,
            row.scheduled_for,
            row.started_at,
            row.trigger,
            row.attempt,
            row.progress,
            row.note,
            row.heartbeat_at,
            row.stuck,
            row.deadline,
        )
    });
    TableIterator::new(rows)
}

/// The runs of this database's scheduler, of all roles or of those that the caller may see.
fn under_way(all: bool) -> Vec<Row> {
    let here = process::database().to_u32();
    let now = monotonic();
    let requests = http::of_scheduler(here).filter_map(|(_, slot)| request(slot, here, now, all));
    let runs = roster::of_scheduler(here).filter_map(|(_, slot)| statement(slot, now, all));
    runs.chain(requests).collect()
}

fn stamp(at: Timestamp) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(to_pg(at)).ok()
}

/// A run of SQL.
fn statement(slot: &Slot, now: i64, all: bool) -> Option<Row> {
    let run = slot.under_way()?;
    let may_see = identity::may_see(slot.role());
    if !all && !may_see {
        return None;
    }
    let beat = slot.progress.last();
    let watch = Watch { beat: slot.progress.heard_at(), ..run.lasting.watch() };
    let note = beat.as_ref().filter(|beat| may_see && !beat.note.is_empty());
    Some(Row {
        jobid: run.job.0,
        runid: run.run.0,
        job_pid: slot.pid(),
        database: identity::database_name(slot.database()),
        username: identity::role_name(slot.role()),
        scheduled_for: stamp(run.scheduled_for),
        started_at: stamp(run.started_at),
        trigger: run.trigger.as_str(),
        attempt: run.attempt.cast_signed(),
        progress: beat.as_ref().and_then(|beat| beat.percent),
        note: note.map(|beat| ServerText::new(&beat.note).readable().into_owned()),
        heartbeat_at: beat.as_ref().and_then(|beat| stamp(beat.at)),
        stuck: watch.is_stuck(now),
        deadline: watch.timeout.and_then(|limit| stamp(run.started_at.plus(limit))),
    })
}

/// A run of a request.
fn request(slot: &HttpSlot, here: u32, now: i64, all: bool) -> Option<Row> {
    let (run, role) = (slot.current(), slot.role());
    if slot.phase() == http::Phase::Over || !(all || identity::may_see(role)) {
        return None;
    }
    if !slot.has_still(run.run, role) {
        return None; // it is over, and the slot somebody else's
    }
    let watch = run.lasting.watch();
    Some(Row {
        jobid: run.job.0,
        runid: run.run.0,
        job_pid: http::worker_pid(),
        database: identity::database_name(here),
        username: identity::role_name(role),
        scheduled_for: stamp(run.scheduled_for),
        started_at: stamp(run.started_at),
        trigger: run.trigger.as_str(),
        attempt: run.attempt.cast_signed(),
        progress: None,
        note: None,
        heartbeat_at: None,
        stuck: watch.is_stuck(now),
        deadline: watch.silent_limit().and_then(|(limit, _)| stamp(run.started_at.plus(limit))),
    })
}
