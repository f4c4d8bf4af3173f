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
fn cron_sketch_merge(one: Option<&[u8]>, other: Option<&[u8]>) -> SqlResult<Option<Vec<u8>>> {
    let Some(first) = one.or(other) else { return Ok(None) };
    // One alone has to be a histogram, too.
    let second = one.and(other).unwrap_or_default();
    Ok(Some(sketch::merge(first, second).ok_or(Error::NotASketch)?))
}

/// What the scheduler adds up with: nothing that somebody wrote into its tables may keep it from counting.
#[pg_extern(sql = false)]
fn cron_sketch_add(kept: Option<&[u8]>, more: Option<&[u8]>) -> Option<Vec<u8>> {
    match (kept, more) {
        (Some(kept), Some(more)) => Some(sketch::add(kept, more)),
        (kept, more) => kept.or(more).map(|one| sketch::add(one, &[])),
    }
}

#[pg_extern(sql = false)]
fn cron_sketch_quantile(sketch: &[u8], part: f64) -> SqlResult<Option<f32>> {
    #[allow(clippy::cast_possible_truncation, reason = "its error is greater by far")]
    Ok(quantile(sketch, part)?.map(|micros| (micros / 1_000.0) as f32))
}

#[pg_extern(sql = false)]
fn cron_sketch_quantile_within(sketch: &[u8], part: f64, most: f64) -> SqlResult<Option<f64>> {
    // In whole microseconds, as it is shown: a half one would be a tie, which takes long to round.
    Ok(quantile(sketch, part)?.map(|micros| (micros.round() / 1_000.0).min(most)))
}

/// In microseconds.
fn quantile(sketch: &[u8], part: f64) -> Result<Option<f64>, Error> {
    if !(0.0..=1.0).contains(&part) {
        return Err(Error::OutOfRange {
            problem: format!("part {part} of a histogram is not between 0 and 1"),
            hint: "The part that 95 percent are is 0.95.",
        });
    }
    let sketch = Sketch::from_bytes(sketch).ok_or(Error::NotASketch)?;
    Ok(sketch.quantile(part))
}
