//! What a run may call: `cron.current_run`, `heartbeat`, `checkpoint`, `last_checkpoint`, `log` and
//! `run_again`.
//!
//! Owns one invariant: a run is found by the process it is executed in, so these can say nothing
//! about, and write nothing for, any other.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::inside;
use crate::error::{Error, SqlResult};
use crate::exec::context;
use crate::pg::text::{ServerText, clip};
use crate::pg::time::to_pg;
use crate::pg::{process, time};
use crate::shmem::progress::NOTE;
use crate::shmem::slots::{CurrentRun, Slot};
use crate::shmem::{databases, mine};

/// The levels of `cron.log`.
const LEVELS: [&str; 5] = ["debug", "info", "notice", "warning", "error"];

/// The run this process executes for the scheduler of this database.
fn this_run() -> Result<(&'static Slot, CurrentRun), Error> {
    let slot = mine::slot().ok_or(Error::NotInRun)?;
    if slot.scheduler() != process::database().to_u32() {
        return Err(Error::NotInRun);
    }
    let run = slot.current().ok_or(Error::NotInRun)?;
    Ok((slot, run))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_current_run() -> Result<
    TableIterator<
        'static,
        (
            name!(jobid, i64),
            name!(jobname, Option<Vec<u8>>),
            name!(runid, i64),
            name!(scheduled_for, Option<TimestampWithTimeZone>),
            name!(attempt, i32),
            name!(trigger, &'static str),
            name!(started_at, Option<TimestampWithTimeZone>),
            name!(window_start, Option<TimestampWithTimeZone>),
            name!(window_end, Option<TimestampWithTimeZone>),
        ),
    >,
    ErrorReport,
> {
    let (_, run) = this_run()?;
    let stamp = |at| TimestampWithTimeZone::try_from(to_pg(at)).ok();
    Ok(TableIterator::once((
        run.job.0,
        context::job_name(),
        run.run.0,
        stamp(run.scheduled_for),
        run.attempt.cast_signed(),
        run.trigger.as_str(),
        stamp(run.started_at),
        run.window.and_then(|(start, _)| stamp(start)),
        run.window.and_then(|(_, end)| stamp(end)),
    )))
}

#[pg_extern(sql = false)]
fn cron_heartbeat(progress: Option<f64>, note: Option<&[u8]>) -> SqlResult<()> {
    let (slot, _) = this_run()?;
    if progress.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        return Err(Error::OutOfRange {
            problem: "progress must be between 0 and 100".to_owned(),
            hint: "It is how much of the run's work is done, in percent.",
        }
        .into());
    }
    if slot.progress.beat(time::now(), progress, note.map(|note| clip(note, NOTE)))
        && let Some(database) = databases::find(slot.scheduler())
    {
        database.wake();
    }
    Ok(())
}

#[pg_extern(sql = false)]
fn cron_checkpoint(data: Option<&[u8]>) -> SqlResult<()> {
    let (_, run) = this_run()?;
    let data = data.ok_or(Error::Null("data"))?;
    inside::checkpoint(&run, Some(data))?;
    context::checkpointed();
    Ok(())
}

#[pg_extern(sql = false)]
fn cron_last_checkpoint() -> SqlResult<Option<Vec<u8>>> {
    let (_, run) = this_run()?;
    let found = inside::last_checkpoint(&run)?;
    if found.is_some() {
        context::checkpointed();
    }
    Ok(found)
}

#[pg_extern(sql = false)]
fn cron_log(level: Option<&[u8]>, message: Option<&[u8]>, data: Option<&[u8]>) -> SqlResult<()> {
    let (slot, run) = this_run()?;
    let given = level.ok_or(Error::Null("level"))?;
    let message = message.ok_or(Error::Null("message"))?;
    let level = LEVELS.into_iter().find(|level| level.as_bytes() == given);
    let level = level.ok_or_else(|| Error::OutOfRange {
        problem: format!("unknown level \"{}\"", ServerText::new(given).readable()),
        hint: "The levels are debug, info, notice, warning and error.",
    })?;
    inside::log(&run, slot.role(), level, ServerText::new(message), data)?;
    Ok(())
}

#[pg_extern(sql = false)]
fn cron_run_again() -> SqlResult<()> {
    let (slot, _) = this_run()?;
    slot.ask_again();
    Ok(())
}
