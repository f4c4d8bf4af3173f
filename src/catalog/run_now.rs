//! Runs asked for by hand, and the jobs of a tag.

use pg_tock_core::run::Trigger;
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::prelude::*;
use pgrx::spi;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;
use crate::pg::time::timestamptz;
use crate::shmem::asks::Wanted;

use super::lookup::Found;
use super::role::extension_owner;

// An instant that has a row, or has been asked for, is somebody else's.
const REQUEST: &str = "INSERT INTO cron.run_request \
     (jobid, scheduled_for, trigger, force, requested_by, username, database) \
     SELECT $1, $2, $3, $4, $5, $6, (SELECT j.database FROM cron.job j \
       WHERE j.jobid OPERATOR(pg_catalog.=) $1) \
     WHERE NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) $2) \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING RETURNING runid";

const TAGGED: &str = "SELECT j.jobid, \
     pg_catalog.convert_to(pg_catalog.quote_ident(j.jobname), pg_catalog.getdatabaseencoding()) \
     FROM cron.job j \
     WHERE $1 OPERATOR(pg_catalog.=) ANY (j.tags) ORDER BY j.jobid";

/// Asks for a run of a job at an instant of its own, for the role that was found to own it. Returns the
/// run's id; None if the instant is taken.
pub(crate) fn request(
    job: &Found,
    at: Timestamp,
    force: bool,
    by: ServerText<'_>,
) -> Result<Option<i64>, Error> {
    let owner = extension_owner()?;
    let trigger = Trigger::Manual.as_str();
    let args = [
        job.jobid.into(),
        timestamptz(at).into(),
        trigger.into(),
        force.into(),
        by.param(),
        job.owner().param(),
    ];
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(REQUEST, None, &args)?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one()?) }
        })
    })
}

// Who asks is known by oid, and so is what he saw of the job; what is gone meanwhile is named by it. A
// database that did not exist has no oid.
const PUT: &str = "INSERT INTO cron.run_request \
     (runid, jobid, scheduled_for, trigger, force, requested_by, username, database) \
     SELECT $1, $2, $3, $4, $5, \
      coalesce((SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r \
        WHERE r.oid OPERATOR(pg_catalog.=) $6), $6::pg_catalog.text), \
      coalesce((SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r \
        WHERE r.oid OPERATOR(pg_catalog.=) $7), $7::pg_catalog.text), \
      CASE WHEN $8 OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN (SELECT j.database FROM cron.job j \
        WHERE j.jobid OPERATOR(pg_catalog.=) $2) \
       ELSE coalesce((SELECT d.datname::pg_catalog.text FROM pg_catalog.pg_database d \
        WHERE d.oid OPERATOR(pg_catalog.=) $8), $8::pg_catalog.text) END \
     WHERE NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $2 AND d.scheduled_for OPERATOR(pg_catalog.=) $3) \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING RETURNING runid";

const IS_THERE: &str = "SELECT EXISTS (SELECT FROM cron.run_request r \
      WHERE r.runid OPERATOR(pg_catalog.=) $1) \
     OR EXISTS (SELECT FROM cron.job_run_details d WHERE d.runid OPERATOR(pg_catalog.=) $1)";

const HAS_JOB: &str =
    "SELECT EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) $1)";

/// Writes the request of a session that waits, as the scheduler, in a transaction. It may be there
/// already. False if there is no such job.
pub(crate) fn put(run: RunId, wanted: &Wanted) -> Result<bool, spi::Error> {
    let holds = |query: &str, id: i64| {
        Spi::connect(|client| {
            client.select(query, Some(1), &[id.into()])?.first().get_one::<bool>()
        })
    };
    if holds(IS_THERE, run.0)? == Some(true) {
        return Ok(true);
    }
    if holds(HAS_JOB, wanted.job.0)? != Some(true) {
        return Ok(false);
    }
    let trigger = Trigger::Manual.as_str();
    let mut at = wanted.scheduled_for;
    loop {
        let role = pg_sys::Oid::from(wanted.role);
        let args = [
            run.0.into(),
            wanted.job.0.into(),
            timestamptz(at).into(),
            trigger.into(),
            wanted.force.into(),
            role.into(),
            pg_sys::Oid::from(wanted.owner).into(),
            pg_sys::Oid::from(wanted.database).into(),
        ];
        let written =
            Spi::connect_mut(|client| Ok::<_, spi::Error>(client.update(PUT, None, &args)?.len()))?;
        if written > 0 {
            return Ok(true);
        }
        at = at.plus(1);
    }
}

const IS_AT: &str = "SELECT EXISTS (SELECT FROM cron.job j \
      JOIN pg_catalog.pg_roles r ON r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) j.username \
      LEFT JOIN pg_catalog.pg_database d ON d.datname::pg_catalog.text OPERATOR(pg_catalog.=) j.database \
     WHERE j.jobid OPERATOR(pg_catalog.=) $1 AND r.oid OPERATOR(pg_catalog.=) $2 \
      AND coalesce(d.oid, 0::pg_catalog.oid) OPERATOR(pg_catalog.=) $3)";

/// Whether a job runs as this role and in this database; 0 stands for one that does not exist.
pub(crate) fn is_at(job: JobId, role: u32, database: u32) -> Result<bool, spi::Error> {
    let (role, database) = (pg_sys::Oid::from(role), pg_sys::Oid::from(database));
    let args = [job.0.into(), role.into(), database.into()];
    Spi::connect(|client| {
        let found = client.select(IS_AT, Some(1), &args)?.first().get_one::<bool>()?;
        Ok(found == Some(true))
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
