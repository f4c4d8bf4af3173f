//! `cron.scheduler_figures()`: how the scheduler of this database is doing, as shared memory knows it.

use core::sync::atomic::Ordering;

use pg_tock_core::watch::Watch;
use pgrx::datum::Interval;
use pgrx::prelude::*;

use crate::guc;
use crate::pg::text::for_message;
use crate::pg::time::{monotonic, timestamptz};
use crate::pg::{identity, process, time};
use crate::shmem::roster;
use crate::shmem::{databases, http, layout};

/// One row. Whoever may read `cron.monitor_health` sees figures of everybody's runs, others those of
/// their own, and NULL where that cannot be told apart.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_scheduler_figures() -> TableIterator<
    'static,
    (
        name!(sees_all, bool),
        name!(launcher_pid, Option<i32>),
        name!(scheduler_pid, Option<i32>),
        name!(keeper_pid, Option<i32>),
        name!(started_at, Option<TimestampWithTimeZone>),
        name!(overdue, Option<Interval>),
        name!(launches, bool),
        name!(running, i64),
        name!(stuck, i64),
        name!(waiting, Option<i64>),
        name!(oldest_waiting, Option<TimestampWithTimeZone>),
        name!(slots, Option<i32>),
        name!(slots_in_use, Option<i32>),
        name!(short_of_slots, Option<bool>),
        name!(broken, Option<i64>),
        name!(blind, Option<Interval>),
        name!(blind_because, Option<String>),
        name!(oldest_due, Option<TimestampWithTimeZone>),
    ),
> {
    let here = process::database().to_u32();
    let all = identity::sees_everybody();
    let database = databases::find(here);
    let alive = database.filter(|database| process::is_alive(database.pid()));
    let seen = alive.map(|database| database.figures.read());
    let told = seen.filter(|_| all);
    let pid = |pid: i32| Some(pid).filter(|&pid| pid > 0);
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let (running, stuck) = runs(here, all);
    TableIterator::once((
        all,
        layout::header().and_then(|header| pid(header.launcher_pid.load(Ordering::Acquire))),
        alive.and_then(|database| pid(database.pid())),
        database.and_then(|database| pid(database.keeper.pid())),
        seen.and_then(|seen| timestamptz(seen.started_at)),
        alive.and_then(|database| overdue(database.overslept(time::now()))),
        guc::launch_active_jobs(),
        running,
        stuck,
        told.map(|seen| i64::from(seen.waiting)),
        told.and_then(|seen| timestamptz(seen.oldest_waiting?)),
        told.map(|seen| number(seen.slots)),
        told.map(|seen| number(seen.executors)),
        told.map(|seen| seen.short_of_slots),
        told.map(|seen| i64::from(seen.broken)),
        seen.and_then(|seen| overdue(time::now().since(seen.blind_since?))),
        told.and_then(|seen| seen.blind_since)
            .and_then(|_| database?.figures.why_blind())
            .map(for_message),
        told.and_then(|seen| timestamptz(seen.oldest_due?)),
    ))
}

/// What is past an instant that was announced; None if nothing is.
fn overdue(micros: i64) -> Option<Interval> {
    if micros > 0 { Interval::new(0, 0, micros).ok() } else { None }
}

/// How many runs there are that the caller may see, and how many of them are stuck.
fn runs(here: u32, all: bool) -> (i64, i64) {
    let now = monotonic();
    let may_see = |role: u32| all || identity::may_see(role);
    let requests = http::of_scheduler(here).filter_map(|(_, slot)| {
        let (run, role) = (slot.current(), slot.role());
        let there = slot.phase() != http::Phase::Over && may_see(role);
        (there && slot.has_still(run.run, role)).then_some((run.lasting, None))
    });
    let runs = roster::of_scheduler(here).filter_map(|(_, slot)| {
        let run = slot.under_way()?;
        may_see(slot.role()).then(|| (run.lasting, slot.progress.heard_at()))
    });
    requests.chain(runs).fold((0, 0), |(running, stuck), (lasting, beat)| {
        let watch = Watch { beat, ..lasting.watch() };
        (running + 1, stuck + i64::from(watch.is_stuck(now)))
    })
}
