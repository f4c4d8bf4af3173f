//! Jobs as documents have them: whole rows of `cron.job`, the same to the letter whatever the
//! caller's session has set.

use pg_tock_core::options::Document;
use pgrx::prelude::*;
use pgrx::spi::SpiTupleTable;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;

// How intervals and numbers are written; gone with the role.
const FORMS: &str = "SELECT pg_catalog.set_config('intervalstyle', 'postgres', true), \
     pg_catalog.set_config('extra_float_digits', '1', true)";

const OF_OWNER: &str = "SELECT job.jobid, \
      pg_catalog.convert_to(pg_catalog.to_jsonb(job)::pg_catalog.text, 'UTF8') \
     FROM cron.job AS job WHERE $1 IS NULL OR job.username OPERATOR(pg_catalog.=) $1 \
     ORDER BY job.jobid";

const ONE: &str = "SELECT job.jobid, \
      pg_catalog.convert_to(pg_catalog.to_jsonb(job)::pg_catalog.text, 'UTF8') \
     FROM cron.job AS job WHERE job.jobid OPERATOR(pg_catalog.=) $1";

/// The jobs of a role, or all if none is given, by their ids: each as an object by column names.
pub(crate) fn rows(username: Option<ServerText<'_>>) -> Result<Vec<(i64, Document)>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect(|client| {
            client.select(FORMS, None, &[])?;
            read(client.select(OF_OWNER, None, &[param(username)])?)
        })
    })
}

/// The job of this id.
pub(crate) fn one(jobid: i64) -> Result<Option<Document>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect(|client| {
            client.select(FORMS, None, &[])?;
            Ok(read(client.select(ONE, None, &[jobid.into()])?)?.pop().map(|(_, row)| row))
        })
    })
}

/// The job of this id, as others have committed it by now, locked against changes by them.
pub(crate) fn lock(jobid: i64) -> Result<Option<Document>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            client.select(FORMS, None, &[])?;
            let statement = format!("{ONE} FOR NO KEY UPDATE");
            let rows = client.update(statement.as_str(), None, &[jobid.into()])?;
            Ok(read(rows)?.pop().map(|(_, row)| row))
        })
    })
}

fn read(rows: SpiTupleTable<'_>) -> Result<Vec<(i64, Document)>, Error> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.get::<i64>(1)?.ok_or(Error::NoRow)?;
        let text = row.get::<Vec<u8>>(2)?.unwrap_or_default();
        found.push((id, serde_json::from_slice(&text)?));
    }
    Ok(found)
}
