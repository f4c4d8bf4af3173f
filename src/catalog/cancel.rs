//! Runs that are not under way, as those find them who want to end one.

use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;

use super::role::extension_owner;

const OWNER: &str = "SELECT d.jobid, \
     pg_catalog.convert_to(d.username, pg_catalog.getdatabaseencoding()), r.oid \
     FROM cron.job_run_details d LEFT JOIN pg_catalog.pg_roles r \
      ON r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) d.username \
     WHERE d.runid OPERATOR(pg_catalog.=) $1";

const REQUESTED: &str = "SELECT q.jobid FROM cron.run_request q \
     WHERE q.runid OPERATOR(pg_catalog.=) $1";

// Inserts only: a caller whose transaction stays open keeps nobody waiting.
const TAKE_BACK: &str = "INSERT INTO cron.run_cancel (runid, jobid, reason) VALUES ($1, $2, $3) \
     ON CONFLICT ON CONSTRAINT run_cancel_pkey DO NOTHING";

/// Who a run that has a row belonged to.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) jobid: i64,
    name: Vec<u8>,
    /// None: there is no such role any more.
    pub(crate) oid: Option<pg_sys::Oid>,
}

impl Owner {
    /// The role's name.
    pub(crate) fn name(&self) -> ServerText<'_> {
        ServerText::new(&self.name)
    }
}

/// The owner of a run that has a row.
pub(crate) fn owner(run: i64) -> Result<Option<Owner>, Error> {
    let role = extension_owner()?;
    as_role(role, || {
        Spi::connect(|client| {
            let rows = client.select(OWNER, Some(1), &[run.into()])?;
            if rows.is_empty() {
                return Ok(None);
            }
            let (jobid, name, oid) = rows.first().get_three()?;
            let jobid = jobid.ok_or(Error::NoRow)?;
            Ok(Some(Owner { jobid, name: name.unwrap_or_default(), oid }))
        })
    })
}

/// The job a run was asked for of that has not ended.
pub(crate) fn requested(run: i64) -> Result<Option<i64>, Error> {
    let role = extension_owner()?;
    as_role(role, || {
        Spi::connect(|client| {
            let rows = client.select(REQUESTED, Some(1), &[run.into()])?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one()?) }
        })
    })
}

/// Takes a request back, which takes effect at COMMIT.
pub(crate) fn take_back(run: i64, jobid: i64, reason: &[u8]) -> Result<(), Error> {
    let role = extension_owner()?;
    let args = [run.into(), jobid.into(), ServerText::new(reason).param()];
    as_role(role, || {
        Spi::connect_mut(|client| {
            client.update(TAKE_BACK, None, &args)?;
            Ok(())
        })
    })
}
