//! The columns of `cron.job` that say whether a job is paused.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;

const SET: &str = "UPDATE cron.job SET paused_until = $2, paused_by = $3, pause_reason = $4 \
     WHERE jobid OPERATOR(pg_catalog.=) $1 RETURNING jobid";

/// Pauses a job, or resumes it if `until` is None. Returns whether there was one.
pub(crate) fn set(
    jobid: i64,
    until: Option<TimestampWithTimeZone>,
    by: Option<ServerText<'_>>,
    reason: Option<ServerText<'_>>,
) -> Result<bool, Error> {
    let owner = extension_owner()?;
    let args = [jobid.into(), until.into(), param(by), param(reason)];
    as_role(owner, || Spi::connect_mut(|client| Ok(!client.update(SET, None, &args)?.is_empty())))
}
