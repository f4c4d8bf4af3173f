//! What a trigger function of ours was called for.

use pgrx::pg_sys;
use pgrx::prelude::*;

/// The facts of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Call {
    /// The event is TRUNCATE.
    pub(crate) truncate: bool,
    /// The table is `cron.job`.
    pub(crate) on_job_table: bool,
    /// Column `jobid` of the row: the deleted one, the inserted one, or before the update.
    pub(crate) jobid: Option<i64>,
    /// Column `jobid` after the update.
    pub(crate) new_jobid: Option<i64>,
}

/// The facts of this call; None if the function was not called by a trigger.
pub(crate) fn call(fcinfo: pg_sys::FunctionCallInfo) -> Option<Call> {
    // SAFETY: Postgres passed it to the function that passes it on.
    let info = unsafe { fcinfo.as_ref() }?;
    // SAFETY: as above; what is read below stays valid during the call.
    let trigger = unsafe { PgTrigger::from_fcinfo(info) }.ok()?;
    let jobid = |row: Option<PgHeapTuple<'_, AllocatedByPostgres>>| {
        row.and_then(|row| row.get_by_name::<i64>("jobid").ok().flatten())
    };
    let on_job_table = trigger
        .relation()
        .is_ok_and(|relation| relation.name() == "job" && relation.namespace() == "cron");
    let inserted = trigger.event().fired_by_insert();
    let (jobid, new_jobid) = if inserted {
        (jobid(trigger.new()), None)
    } else {
        (jobid(trigger.old()), jobid(trigger.new()))
    };
    Some(Call { truncate: trigger.event().fired_by_truncate(), on_job_table, jobid, new_jobid })
}
