//! Asking the scheduler to have statistics begin anew: `cron.stat_reset`.

use pgrx::prelude::*;

use super::role::extension_owner;
use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

// Inserts only: a caller whose transaction stays open keeps nobody waiting.
const ONE: &str = "INSERT INTO cron.stat_reset (jobid) VALUES ($1)";

const RESOLVED: &str = "INSERT INTO cron.stat_reset (jobid, runid) VALUES ($1, $2)";

const ALL: &str = "INSERT INTO cron.stat_reset (jobid) SELECT j.jobid FROM cron.job j \
     WHERE $1 IS NULL OR j.username OPERATOR(pg_catalog.=) $1";

/// Asks for a job, which takes effect at COMMIT.
pub(crate) fn one(job: i64) -> Result<(), Error> {
    as_role(extension_owner()?, || {
        Spi::connect_mut(|client| {
            client.update(ONE, None, &[job.into()])?;
            Ok(())
        })
    })
}

/// Says that a run of a job was resolved, which ends its row of failures.
pub(crate) fn resolved(job: i64, run: i64) -> Result<(), Error> {
    as_role(extension_owner()?, || {
        Spi::connect_mut(|client| {
            client.update(RESOLVED, None, &[job.into(), run.into()])?;
            Ok(())
        })
    })
}

/// Asks for all jobs, or for those of this owner, and says how many that are.
pub(crate) fn all(owner: Option<ServerText<'_>>) -> Result<i64, Error> {
    as_role(extension_owner()?, || {
        Spi::connect_mut(|client| {
            let asked = client.update(ALL, None, &[param(owner)])?;
            Ok(i64::try_from(asked.len()).unwrap_or(i64::MAX))
        })
    })
}
