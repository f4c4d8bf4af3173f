//! `cron.metrics_text`, and what `cron.metrics` has from shared memory.
//!
//! Owns one invariant: figures of everybody's jobs go to nobody but those who may read that view, also
//! if they ask for them without it.

use std::collections::BTreeMap;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::metrics;
use crate::error::{Error, SqlResult};
use crate::pg::json::to_server;
use crate::pg::settings::max_worker_processes;
use crate::pg::{process, time};
use crate::shmem::slots::{self, Phase};
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
    let entry = databases::find(here).filter(|entry| entry.pid() != 0);
    let late = entry.map(|entry| entry.overslept(time::now()));
    let executors = slots::of_scheduler(here).count();
    let mut figures = vec![
        ("up", None, f64::from(u8::from(entry.is_some()))),
        ("executors", None, small(executors)),
        ("worker_slots", None, f64::from(max_worker_processes())),
        ("scheduler_late_seconds", None, late.map_or(0.0, seconds)),
    ];
    figures.extend(running(here).into_iter().map(|(job, runs)| ("running", Some(job), runs)));
    figures
}

/// How many runs of each job are under way.
fn running(here: u32) -> BTreeMap<i64, f64> {
    let in_executors = slots::of_scheduler(here)
        .filter_map(|(_, slot)| slot.current().filter(|_| slot.phase() != Phase::Reported))
        .map(|run| run.job.0);
    let requests = http::of_scheduler(here)
        .filter(|(_, slot)| slot.phase() != http::Phase::Over)
        .map(|(_, slot)| slot.current().job.0);
    let mut running = BTreeMap::new();
    for job in in_executors.chain(requests) {
        *running.entry(job).or_insert(0.0) += 1.0;
    }
    running
}

fn small(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of centuries fit")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}

#[pg_extern(sql = false)]
fn cron_metrics_text(per_job: Option<bool>) -> SqlResult<Vec<u8>> {
    Ok(to_server(&metrics::text(per_job.unwrap_or(true))?))
}
