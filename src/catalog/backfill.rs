//! `cron.run_request`, as those who ask for runs write it.

use pg_tock_core::time::JobId;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::job_lock::JobLock;
use crate::pg::process::database;
use crate::pg::text::ServerText;

use super::lookup::Found;
use super::role::extension_owner;

// Oldest first, so that run ids are in the order of the occurrences. An occurrence that succeeded,
// is under way or has been asked for is left out; one that failed gets its next attempt.
const REQUEST: &str = "INSERT INTO cron.run_request \
     (jobid, scheduled_for, attempt, trigger, requested_by, username, database) \
     SELECT $1, o.at, coalesce((SELECT pg_catalog.max(d.attempt) FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) o.at), \
       0) OPERATOR(pg_catalog.+) 1, $3, $4, $5, j.database \
     FROM pg_catalog.unnest($2) WITH ORDINALITY AS o (at, place) \
     JOIN cron.job j ON j.jobid OPERATOR(pg_catalog.=) $1 \
     WHERE NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) o.at \
        AND (d.status OPERATOR(pg_catalog.=) 'succeeded' OR d.end_time IS NULL \
         OR pg_catalog.starts_with(d.reason, 'resolved as succeeded '))) \
      AND NOT EXISTS (SELECT FROM cron.run_request r \
       WHERE r.jobid OPERATOR(pg_catalog.=) $1 AND r.scheduled_for OPERATOR(pg_catalog.=) o.at) \
     ORDER BY o.place \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING RETURNING runid";

/// Asks for runs of those of these occurrences, given oldest first, that have not succeeded, for the role
/// that was found to own the job. Returns the runs' ids.
pub(crate) fn request(
    job: &Found,
    occurrences: Vec<TimestampWithTimeZone>,
    trigger: &'static str,
    by: ServerText<'_>,
) -> Result<Vec<i64>, Error> {
    let owner = extension_owner()?;
    JobLock::of_requests(database().to_u32(), JobId(job.jobid)).wait_for_transaction();
    let args =
        [job.jobid.into(), occurrences.into(), trigger.into(), by.param(), job.owner().param()];
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(REQUEST, None, &args)?;
            rows.map(|row| row.get::<i64>(1)?.ok_or(Error::NoRow)).collect()
        })
    })
}
