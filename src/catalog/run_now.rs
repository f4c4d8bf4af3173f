//! Runs asked for by hand, and the jobs of a tag.

use pg_tock_core::run::Trigger;
use pg_tock_core::time::Timestamp;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;
use crate::pg::time::timestamptz;

use super::role::extension_owner;

// An instant that has a row, or has been asked for, is somebody else's.
const REQUEST: &str = "INSERT INTO cron.run_request \
     (jobid, scheduled_for, trigger, force, requested_by) \
     SELECT $1, $2, $3, $4, $5 \
     WHERE NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) $2) \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING RETURNING runid";

const TAGGED: &str = "SELECT j.jobid, \
     pg_catalog.convert_to(pg_catalog.quote_ident(j.jobname), pg_catalog.getdatabaseencoding()) \
     FROM cron.job j \
     WHERE $1 OPERATOR(pg_catalog.=) ANY (j.tags) ORDER BY j.jobid";

/// Asks for a run of a job at an instant of its own. Returns the run's id; None if the instant is
/// taken.
pub(crate) fn request(
    jobid: i64,
    at: Timestamp,
    force: bool,
    by: ServerText<'_>,
) -> Result<Option<i64>, Error> {
    let owner = extension_owner()?;
    let trigger = Trigger::Manual.as_str();
    let args = [jobid.into(), timestamptz(at).into(), trigger.into(), force.into(), by.param()];
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(REQUEST, None, &args)?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one()?) }
        })
    })
}

/// The jobs that have this tag, whoever owns them, by their ids, with their quoted names.
pub(crate) fn tagged(tag: ServerText<'_>) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect(|client| {
            let rows = client.select(TAGGED, None, &[tag.param()])?;
            rows.map(|row| {
                let id = row.get::<i64>(1)?.ok_or(Error::NoRow)?;
                Ok((id, row.get::<Vec<u8>>(2)?.unwrap_or_default()))
            })
            .collect()
        })
    })
}
