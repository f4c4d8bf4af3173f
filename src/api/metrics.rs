//! `cron.metrics_text`, and what `cron.metrics` has from shared memory.
//!
//! Owns one invariant: figures of everybody's jobs go to nobody but those who may read that view, also
//! if they ask for them without it.

use std::collections::BTreeMap;

use pg_tock_core::time::Timestamp;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::metrics;
use crate::error::{Error, SqlResult};
use crate::pg::json::to_server;
use crate::pg::{process, time};
use crate::shmem::figures::Seen;
use crate::shmem::roster;
use crate::shmem::{databases, http};

type Figure = (&'static str, Option<i64>, f64);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_metric_figures() -> Result<
    TableIterator<
        'static,
        (name!(figure, &'static str), name!(jobid, Option<i64>), name!(value, f64)),
    >,
    ErrorReport,
> {
    if !metrics::may_read()? {
        return Err(Error::MetricsDenied.into());
    }
    Ok(TableIterator::new(figures()))
}

fn figures() -> Vec<Figure> {
    let here = process::database().to_u32();
    let alive = databases::find(here).filter(|database| process::is_alive(database.pid()));
    let seen = alive.map(|database| database.figures.read());
    let now = time::now();
    let count =
        |figure: fn(&Seen) -> u32| seen.as_ref().map_or(0.0, |seen| f64::from(figure(seen)));
    let waited =
        seen.and_then(|seen| seen.oldest_waiting).map_or(0, |since| now.since(since).max(0));
    let late = alive.map_or(0, |database| database.overslept(now));
    let yes = |yes: bool| f64::from(u8::from(yes));
    let mut figures = vec![
        ("up", None, yes(alive.is_some())),
        ("executors", None, count(|seen| seen.executors)),
        ("executor_slots", None, count(|seen| seen.slots)),
        ("short_of_slots", None, yes(seen.is_some_and(|seen| seen.short_of_slots))),
        ("waiting", None, count(|seen| seen.waiting)),
        ("waiting_seconds", None, seconds(waited)),
        ("jobs_broken", None, count(|seen| seen.broken)),
        ("scheduler_late_seconds", None, seconds(late)),
    ];
    for (job, under_way) in under_way(here) {
        let longest = seconds(now.since(under_way.since).max(0));
        figures.push(("running", Some(job), under_way.runs));
        figures.push(("running_seconds", Some(job), longest));
    }
    figures
}

/// The runs of a job under way.
struct UnderWay {
    runs: f64,
    /// When the first of them started.
    since: Timestamp,
}

fn under_way(here: u32) -> BTreeMap<i64, UnderWay> {
    let in_executors = roster::of_scheduler(here)
        .filter_map(|(_, slot)| slot.under_way())
        .map(|run| (run.job.0, run.started_at));
    let requests = http::of_scheduler(here)
        .filter(|(_, slot)| slot.phase() != http::Phase::Over)
        .map(|(_, slot)| slot.current())
        .map(|run| (run.job.0, run.started_at));
    let mut jobs = BTreeMap::new();
    for (job, started) in in_executors.chain(requests) {
        let of_job = jobs.entry(job).or_insert(UnderWay { runs: 0.0, since: started });
        of_job.runs += 1.0;
        of_job.since = of_job.since.min(started);
    }
    jobs
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of centuries fit")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}

#[pg_extern(sql = false)]
fn cron_metrics_text(per_job: Option<bool>) -> SqlResult<Vec<u8>> {
    Ok(to_server(&metrics::text(per_job.unwrap_or(true))?))
}
