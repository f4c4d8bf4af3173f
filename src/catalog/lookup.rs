//! Finding the job a caller means, whoever owns it.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;

use super::role::extension_owner;

macro_rules! find {
    ($where:literal) => {
        concat!(
            "SELECT j.jobid, ",
            "pg_catalog.convert_to(j.username, pg_catalog.getdatabaseencoding()), r.oid, ",
            "(SELECT d.oid FROM pg_catalog.pg_database d ",
            "WHERE d.datname::pg_catalog.text OPERATOR(pg_catalog.=) j.database) ",
            "FROM cron.job j LEFT JOIN pg_catalog.pg_roles r ",
            "ON r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) j.username WHERE ",
            $where,
            " LIMIT 2"
        )
    };
}

const BY_ID: &str = find!("j.jobid OPERATOR(pg_catalog.=) $1");
const OWN: &str =
    find!("j.jobname OPERATOR(pg_catalog.=) $1 AND j.username OPERATOR(pg_catalog.=) $2");
const BY_NAME: &str = find!("j.jobname OPERATOR(pg_catalog.=) $1");

/// A job and who owns it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) jobid: i64,
    owner: Vec<u8>,
    /// None: there is no such role any more.
    pub(crate) owner_oid: Option<pg_sys::Oid>,
    /// The database it runs in; None: there is no such database.
    pub(crate) database_oid: Option<pg_sys::Oid>,
}

impl Found {
    /// The role that owns it.
    pub(crate) fn owner(&self) -> ServerText<'_> {
        ServerText::new(&self.owner)
    }
}

/// The job of this id.
pub(crate) fn by_id(jobid: i64) -> Result<Option<Found>, Error> {
    Ok(select(BY_ID, &[jobid.into()])?.pop())
}

/// The job of this name that this role owns.
pub(crate) fn own(name: ServerText<'_>, owner: ServerText<'_>) -> Result<Option<Found>, Error> {
    Ok(select(OWN, &[name.param(), owner.param()])?.pop())
}

/// Up to two jobs of this name, whoever owns them.
pub(crate) fn by_name(name: ServerText<'_>) -> Result<Vec<Found>, Error> {
    select(BY_NAME, &[name.param()])
}

fn select(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<Vec<Found>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect(|client| {
            let mut found = Vec::new();
            for row in client.select(statement, None, args)? {
                found.push(Found {
                    jobid: row.get(1)?.ok_or(Error::NoRow)?,
                    owner: row.get(2)?.unwrap_or_default(),
                    owner_oid: row.get(3)?,
                    database_oid: row.get(4)?,
                });
            }
            Ok(found)
        })
    })
}
