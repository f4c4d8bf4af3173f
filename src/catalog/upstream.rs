//! The jobs that others wait for: the column `run_after` of `cron.job`.

use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;

use super::role::extension_owner;

// Locked, so that nobody makes them wait for others before this transaction has ended.
const FOUND: &str = "SELECT pg_catalog.convert_to(pg_catalog.to_jsonb(coalesce(j.run_after, '{}'))::pg_catalog.text, \
      'UTF8') \
     FROM cron.job j WHERE j.jobname OPERATOR(pg_catalog.=) $1 \
      AND j.username OPERATOR(pg_catalog.=) $2 FOR SHARE";

/// The names a role's job waits for; None if the role has no job of that name. The job stays as it
/// is until the transaction ends.
pub(crate) fn of(
    name: ServerText<'_>,
    username: ServerText<'_>,
) -> Result<Option<Vec<String>>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(FOUND, Some(1), &[name.param(), username.param()])?;
            if rows.is_empty() {
                return Ok(None);
            }
            let names = rows.first().get_one::<Vec<u8>>()?.unwrap_or_default();
            Ok(Some(serde_json::from_slice(&names).unwrap_or_default()))
        })
    })
}
