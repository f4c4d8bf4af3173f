//! The trigger functions on `cron.job`: they report what changed, to be told to the scheduler at
//! COMMIT.

use pgrx::prelude::*;

use crate::error::{Error, SqlResult};
use crate::pg::trigger::{self, Call};
use crate::shmem::changes;

/// `cron.job_cache_invalidate()`, pg_cron's statement trigger. On `cron.job` the row trigger has
/// reported every changed row already, so that only TRUNCATE is left to it; on `cron.queue` it
/// reports that queues have changed; on any other table it is somebody's way to say that everything may have changed.
#[pg_extern(sql = false)]
fn cron_job_cache_invalidate(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    match trigger::call(fcinfo).ok_or(Error::NotATrigger)? {
        Call { truncate: false, on_job_table: true, .. } => {}
        Call { on_queue_table: true, .. } => changes::queues_changed(),
        Call { .. } => changes::all_changed(),
    }
    Ok(())
}

/// `cron.job_changed()`, the row trigger: reports the job of the row, and of the row before an
/// UPDATE that changed the id.
#[pg_extern(sql = false)]
fn cron_job_changed(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    let call = trigger::call(fcinfo).ok_or(Error::NotATrigger)?;
    let jobid = call.jobid.ok_or(Error::NotTheJobTable)?;
    changes::job_changed(jobid);
    if let Some(new_jobid) = call.new_jobid.filter(|&new| new != jobid) {
        changes::job_changed(new_jobid);
    }
    Ok(())
}

/// `cron.ledger_changed()`, a statement trigger on the ledger: reports that somebody has inserted
/// rows, as a restore does. Runs do not fire it, their rows are written without the executor.
#[pg_extern(sql = false)]
fn cron_ledger_changed(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    trigger::call(fcinfo).ok_or(Error::NotATrigger)?;
    changes::ledger_changed();
    Ok(())
}
