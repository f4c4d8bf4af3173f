//! Statistics that begin anew, and the histograms they are kept in.

use pg_tock_core::stats::sketch::{self, Sketch};
use pgrx::prelude::*;

use crate::catalog::stats_reset;
use crate::error::{Error, SqlResult};
use crate::pg::identity::{current_user, is_superuser};

use super::rights::{JobRef, refuse_in_recovery};

#[pg_extern(sql = false)]
fn cron_reset_stats(job: Option<i64>) -> SqlResult<()> {
    Ok(reset(JobRef::id(job)?)?)
}

#[pg_extern(sql = false)]
fn cron_reset_stats_named(job: Option<&[u8]>) -> SqlResult<()> {
    Ok(reset(JobRef::name(job)?)?)
}

#[pg_extern(sql = false)]
fn cron_reset_all_stats() -> SqlResult<i64> {
    refuse_in_recovery("cron.reset_stats()")?;
    let caller = current_user();
    let owner = (!is_superuser()).then(|| caller.name());
    Ok(stats_reset::all(owner)?)
}

fn reset(job: JobRef<'_>) -> Result<(), Error> {
    refuse_in_recovery("cron.reset_stats()")?;
    stats_reset::one(job.resolve()?.jobid)
}

#[pg_extern(sql = false)]
fn cron_sketch_merge(one: Option<&[u8]>, other: Option<&[u8]>) -> Option<Vec<u8>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(sketch::merge(one, other)),
        (one, other) => one.or(other).map(<[u8]>::to_vec),
    }
}

#[pg_extern(sql = false)]
fn cron_sketch_quantile(sketch: &[u8], part: f64) -> Option<f32> {
    let part = Some(part).filter(|part| (0.0..=1.0).contains(part))?;
    let micros = Sketch::from_bytes(sketch)?.quantile(part)?;
    #[allow(clippy::cast_possible_truncation, reason = "its error is greater by far")]
    let ms = (micros / 1_000.0) as f32;
    Some(ms)
}
