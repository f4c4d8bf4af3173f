//! `cron.running_runs()`: what runs now, read from shared memory.

use pg_tock_core::watch::Watch;
use pgrx::prelude::*;

use crate::pg::text::ServerText;
use crate::pg::time::{monotonic, to_pg};
use crate::pg::{identity, process};
use crate::shmem::http;
use crate::shmem::roster;

/// The runs of this database's scheduler that the caller may see: his own, all for a superuser.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn running_runs() -> TableIterator<
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
    let stamp = |at| TimestampWithTimeZone::try_from(to_pg(at)).ok();
    let now = monotonic();
    let here = process::database().to_u32();
    let requests: Vec<_> = http::of_scheduler(here)
        .filter_map(|(_, slot)| {
            let (run, role) = (slot.current(), slot.role());
            if slot.phase() == http::Phase::Over || !identity::may_see(role) {
                return None;
            }
            if !slot.has_still(run.run, role) {
                return None; // it is over, and the slot somebody else's
            }
            let lasting = run.lasting;
            let watch = Watch {
                began: lasting.began,
                stuck_after: lasting.stuck_after,
                ..Watch::default()
            };
            Some((
                run.job.0,
                run.run.0,
                http::worker_pid(),
                identity::database_name(here),
                identity::role_name(role),
                stamp(run.scheduled_for),
                stamp(run.started_at),
                run.trigger.as_str(),
                run.attempt.cast_signed(),
                None,
                None,
                None,
                watch.is_stuck(now),
                lasting.timeout.and_then(|limit| stamp(run.started_at.plus(limit))),
            ))
        })
        .collect();
    let rows: Vec<_> = roster::of_scheduler(here)
        .filter_map(|(_, slot)| {
            let run = slot.under_way()?;
            if !identity::may_see(slot.role()) {
                return None;
            }
            let beat = slot.progress.last();
            let lasting = run.lasting;
            let watch = Watch {
                began: lasting.began,
                stuck_after: lasting.stuck_after,
                beat: slot.progress.heard_at(),
                ..Watch::default()
            };
            let note = beat.as_ref().filter(|beat| !beat.note.is_empty());
            Some((
                run.job.0,
                run.run.0,
                slot.pid(),
                identity::database_name(slot.database()),
                identity::role_name(slot.role()),
                stamp(run.scheduled_for),
                stamp(run.started_at),
                run.trigger.as_str(),
                run.attempt.cast_signed(),
                beat.as_ref().and_then(|beat| beat.percent),
                note.map(|beat| ServerText::new(&beat.note).readable().into_owned()),
                beat.as_ref().and_then(|beat| stamp(beat.at)),
                watch.is_stuck(now),
                lasting.timeout.and_then(|limit| stamp(run.started_at.plus(limit))),
            ))
        })
        .chain(requests)
        .collect();
    TableIterator::new(rows)
}
