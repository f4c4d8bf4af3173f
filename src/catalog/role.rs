//! What the system catalogs say about roles and databases a job names.

use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::text::ServerText;

const EXTENSION_OWNER: &str = "SELECT e.extowner FROM pg_catalog.pg_extension e \
     WHERE e.extname OPERATOR(pg_catalog.=) 'pg_tock'";

const ROLE: &str = "SELECT r.oid, r.rolcanlogin, r.rolsuper FROM pg_catalog.pg_roles r \
     WHERE r.rolname OPERATOR(pg_catalog.=) $1";

const CAN_CONNECT: &str = "SELECT pg_catalog.has_database_privilege($1, d.oid, 'CONNECT') \
     FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) $2";

const MAY_DELETE: &str = "SELECT pg_catalog.has_table_privilege($1, 'cron.job', 'DELETE')";

const MAY_BECOME: &str = "SELECT pg_catalog.pg_has_role($1, $2, $3)";

const MAY_EXECUTE: &str = "SELECT pg_catalog.has_function_privilege($1, \
     'cron.schedule_in_database(pg_catalog.text, pg_catalog.text, pg_catalog.text, \
      pg_catalog.text, pg_catalog.text, pg_catalog.bool)', 'EXECUTE')";

// By name, whatever arguments it has.
const MAY_CALL_URLS: &str = "SELECT coalesce(pg_catalog.bool_and( \
     pg_catalog.has_function_privilege($1, p.oid, 'EXECUTE')), false) FROM pg_catalog.pg_proc p \
     WHERE p.pronamespace OPERATOR(pg_catalog.=) 'cron'::pg_catalog.regnamespace \
      AND p.proname OPERATOR(pg_catalog.=) 'create_http_job'";

/// The right to act as another role, as `pg_has_role` has it.
#[cfg(feature = "pg15")]
const SET_ROLE: &str = "MEMBER";
#[cfg(not(feature = "pg15"))]
const SET_ROLE: &str = "SET";

/// A role as far as jobs are concerned.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) oid: pg_sys::Oid,
    pub(crate) can_log_in: bool,
    pub(crate) is_superuser: bool,
}

/// The role that owns the extension, and with it `cron.job`.
pub(crate) fn extension_owner() -> Result<pg_sys::Oid, Error> {
    Spi::connect(|client| {
        let rows = client.select(EXTENSION_OWNER, Some(1), &[])?;
        if rows.is_empty() {
            return Err(Error::ExtensionMissing);
        }
        rows.first().get_one::<pg_sys::Oid>()?.ok_or(Error::ExtensionMissing)
    })
}

/// The role of that name, if there is one.
pub(crate) fn role(name: ServerText<'_>) -> Result<Option<Role>, Error> {
    Spi::connect(|client| {
        let rows = client.select(ROLE, Some(1), &[name.param()])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let (oid, can_log_in, is_superuser) =
            rows.first().get_three::<pg_sys::Oid, bool, bool>()?;
        Ok(oid.map(|oid| Role {
            oid,
            can_log_in: can_log_in.unwrap_or(false),
            is_superuser: is_superuser.unwrap_or(false),
        }))
    })
}

/// Whether a role may connect to a database; None if there is no such database.
pub(crate) fn can_connect(
    role: pg_sys::Oid,
    database: ServerText<'_>,
) -> Result<Option<bool>, Error> {
    Spi::connect(|client| {
        let rows = client.select(CAN_CONNECT, Some(1), &[role.into(), database.param()])?;
        if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<bool>()?) }
    })
}

/// Whether a role may delete any row of `cron.job`.
pub(crate) fn may_delete_jobs(role: pg_sys::Oid) -> Result<bool, Error> {
    Spi::connect(|client| {
        let rows = client.select(MAY_DELETE, Some(1), &[role.into()])?;
        Ok(rows.first().get_one::<bool>()?.unwrap_or(false))
    })
}

/// Whether a role has the right to SET ROLE to another one, which superusers always have.
pub(crate) fn may_become(role: pg_sys::Oid, other: pg_sys::Oid) -> Result<bool, Error> {
    Spi::connect(|client| {
        let args = [role.into(), other.into(), SET_ROLE.into()];
        let rows = client.select(MAY_BECOME, Some(1), &args)?;
        Ok(rows.first().get_one::<bool>()?.unwrap_or(false))
    })
}

/// Whether a role may have jobs that call URLs.
pub(crate) fn may_call_urls(role: pg_sys::Oid) -> Result<bool, Error> {
    Spi::connect(|client| {
        let rows = client.select(MAY_CALL_URLS, Some(1), &[role.into()])?;
        Ok(rows.first().get_one::<bool>()?.unwrap_or(false))
    })
}

/// Whether a role may have jobs in other databases.
pub(crate) fn may_schedule_elsewhere(role: pg_sys::Oid) -> Result<bool, Error> {
    Spi::connect(|client| {
        let rows = client.select(MAY_EXECUTE, Some(1), &[role.into()])?;
        Ok(rows.first().get_one::<bool>()?.unwrap_or(false))
    })
}
