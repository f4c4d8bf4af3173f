//! The columns of `cron.job` that say whether a job is paused, and who ended its last pause.

use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;

const SET: &str = "UPDATE cron.job SET paused_until = $2, paused_by = $3, pause_reason = $4, \
      resumed_at = NULL, resumed_by = NULL \
     WHERE jobid OPERATOR(pg_catalog.=) $1 RETURNING jobid";

// A pause that is over by itself was ended by nobody.
const END: &str = "UPDATE cron.job SET paused_until = NULL, paused_by = NULL, pause_reason = NULL, \
      resumed_at = CASE WHEN paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() \
       THEN pg_catalog.clock_timestamp() ELSE resumed_at END, \
      resumed_by = CASE WHEN paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() \
       THEN $2 ELSE resumed_by END \
     WHERE jobid OPERATOR(pg_catalog.=) $1 RETURNING jobid";

/// Pauses a job. Returns whether there was one.
pub(crate) fn set(
    jobid: i64,
    until: TimestampWithTimeZone,
    by: ServerText<'_>,
    reason: Option<ServerText<'_>>,
) -> Result<bool, Error> {
    update(SET, &[jobid.into(), until.into(), by.param(), param(reason)])
}

/// Ends the pause of a job. Returns whether there was such a job.
pub(crate) fn end(jobid: i64, by: ServerText<'_>) -> Result<bool, Error> {
    update(END, &[jobid.into(), by.param()])
}

fn update(statement: &str, args: &[DatumWithOid<'_>]) -> Result<bool, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| Ok(!client.update(statement, None, args)?.is_empty()))
    })
}
