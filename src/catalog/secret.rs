//! `cron.secret` and `cron.secret_grant`.
//!
//! Owns one invariant: no statement of SQL has a value among its parameters, which extensions that
//! watch statements would log. Values are written with the table's own functions. Whether the
//! caller may change a secret is decided before, in `api`.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::table_row::{self, Column};
use crate::pg::text::ServerText;

use super::role::extension_owner;

const ADD: &str = "INSERT INTO cron.secret (name, owner, value) VALUES ($1, $2, '') \
     ON CONFLICT ON CONSTRAINT secret_pkey DO NOTHING";

// Locked against jobs that begin to name it, and against other changes of it.
const LOCK: &str = "SELECT s.owner, s.ctid FROM cron.secret s \
     WHERE s.name OPERATOR(pg_catalog.=) $1 FOR UPDATE";

// Whoever is the owner, or has the rights of a role it was granted to. Nobody can drop the secret
// before the job that names it is stored.
const MAY_USE: &str = "SELECT s.owner OPERATOR(pg_catalog.=) $2 OR EXISTS ( \
      SELECT FROM cron.secret_grant g WHERE g.name OPERATOR(pg_catalog.=) s.name \
       AND pg_catalog.pg_has_role($2, g.role, 'USAGE')) \
     FROM cron.secret s WHERE s.name OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF s";

const DROP: &str = "DELETE FROM cron.secret WHERE name OPERATOR(pg_catalog.=) $1";

const GRANT: &str = "INSERT INTO cron.secret_grant (name, role) VALUES ($1, $2) \
     ON CONFLICT ON CONSTRAINT secret_grant_pkey DO NOTHING";

const REVOKE: &str = "DELETE FROM cron.secret_grant WHERE name OPERATOR(pg_catalog.=) $1 \
     AND role OPERATOR(pg_catalog.=) $2";

const ALL: &str = "SELECT pg_catalog.convert_to(s.name, pg_catalog.getdatabaseencoding()), \
     s.owner, s.ctid, s.value, s.set_at \
     FROM cron.secret s ORDER BY s.name FOR UPDATE";

// How many jobs name a secret, and the names of those the caller may see.
const USED: &str = "SELECT pg_catalog.count(*), \
     pg_catalog.convert_to(pg_catalog.string_agg(coalesce(pg_catalog.quote_ident(j.jobname), j.jobid::pg_catalog.text), \
      ', ' ORDER BY j.jobid) FILTER (WHERE $2 OR j.username OPERATOR(pg_catalog.=) $3), \
      pg_catalog.getdatabaseencoding()), \
     pg_catalog.count(*) FILTER (WHERE NOT ($2 OR j.username OPERATOR(pg_catalog.=) $3)) \
     FROM cron.job j WHERE j.http IS NOT NULL \
      AND $1 OPERATOR(pg_catalog.=) ANY (cron.secrets_named(j.http))";

const FORGET: &str = "DELETE FROM cron.secret s \
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) s.owner)";
const FORGET_GRANTS: &str = "DELETE FROM cron.secret_grant g \
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) g.role)";

/// A secret that is locked for a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locked {
    pub(crate) owner: pg_sys::Oid,
    place: pg_sys::ItemPointerData,
}

/// A secret with what is stored of it.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) name: Vec<u8>,
    /// What the keyring made of the value.
    pub(crate) value: Vec<u8>,
    locked: Locked,
    set_at: TimestampWithTimeZone,
}

/// The jobs that name a secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Use {
    pub(crate) jobs: i64,
    /// Names of those the caller may see.
    pub(crate) seen: Option<Vec<u8>>,
    /// How many others there are.
    pub(crate) unseen: i64,
}

/// The secret of this name, locked; None if there is none.
pub(crate) fn lock(name: ServerText<'_>) -> Result<Option<Locked>, Error> {
    as_owner(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(LOCK, Some(1), &[name.param()])?;
            if rows.is_empty() {
                return Ok(None);
            }
            let (owner, place) = rows.first().get_two::<pg_sys::Oid, pg_sys::ItemPointerData>()?;
            Ok(Some(Locked {
                owner: owner.ok_or(Error::NoRow)?,
                place: place.ok_or(Error::NoRow)?,
            }))
        })
    })
}

/// The secret of this name, locked; made for this owner, without a value yet, if there is none.
pub(crate) fn lock_or_add(name: ServerText<'_>, owner: pg_sys::Oid) -> Result<Locked, Error> {
    write(ADD, &[name.param(), owner.into()])?;
    lock(name)?.ok_or(Error::NoRow)
}

/// Stores what the keyring made of a value.
pub(crate) fn store(name: ServerText<'_>, locked: Locked, sealed: &[u8]) -> Result<(), Error> {
    // SAFETY: a transaction is under way.
    let now = unsafe { pg_sys::GetCurrentTransactionStartTimestamp() };
    replace(name, locked, sealed, now)
}

/// Stores the value of a secret anew that is the same as before.
pub(crate) fn store_again(secret: &Stored, sealed: &[u8]) -> Result<(), Error> {
    let set_at = secret.set_at.into_inner();
    replace(ServerText::new(&secret.name), secret.locked, sealed, set_at)
}

fn replace(
    name: ServerText<'_>,
    locked: Locked,
    sealed: &[u8],
    set_at: pg_sys::TimestampTz,
) -> Result<(), Error> {
    let columns = [
        Column { name: c"name", value: name.bytes().into_datum() },
        Column { name: c"owner", value: locked.owner.into_datum() },
        Column { name: c"value", value: sealed.into_datum() },
        Column { name: c"set_at", value: Some(set_at.into()) },
    ];
    if table_row::replace(c"cron", c"secret", locked.place, &columns) {
        Ok(())
    } else {
        Err(Error::ExtensionMissing)
    }
}

/// Every secret, locked.
pub(crate) fn lock_all() -> Result<Vec<Stored>, Error> {
    as_owner(|| {
        Spi::connect_mut(|client| {
            let mut found = Vec::new();
            for row in client.update(ALL, None, &[])? {
                found.push(Stored {
                    name: row.get(1)?.unwrap_or_default(),
                    locked: Locked {
                        owner: row.get(2)?.ok_or(Error::NoRow)?,
                        place: row.get(3)?.ok_or(Error::NoRow)?,
                    },
                    value: row.get(4)?.unwrap_or_default(),
                    set_at: row.get(5)?.ok_or(Error::NoRow)?,
                });
            }
            Ok(found)
        })
    })
}

/// Whether jobs of this role may use a secret, which then stays until the transaction ends; None
/// if there is none of that name.
pub(crate) fn may_use(name: ServerText<'_>, role: pg_sys::Oid) -> Result<Option<bool>, Error> {
    as_owner(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(MAY_USE, Some(1), &[name.param(), role.into()])?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<bool>()?) }
        })
    })
}

/// The jobs that name a secret, for a caller who sees all jobs or his own.
pub(crate) fn used_by(
    name: ServerText<'_>,
    sees_all: bool,
    caller: ServerText<'_>,
) -> Result<Use, Error> {
    as_owner(|| {
        Spi::connect_mut(|client| {
            // As an update, so that it sees what was committed while the secret's lock was waited for.
            let args = [name.param(), sees_all.into(), caller.param()];
            let (jobs, seen, unseen) =
                client.update(USED, Some(1), &args)?.first().get_three::<i64, Vec<u8>, i64>()?;
            Ok(Use { jobs: jobs.unwrap_or(0), seen, unseen: unseen.unwrap_or(0) })
        })
    })
}

/// Drops a secret with its grants.
pub(crate) fn drop(name: ServerText<'_>) -> Result<(), Error> {
    write(DROP, &[name.param()])
}

/// Lets the jobs of a role use a secret.
pub(crate) fn grant(name: ServerText<'_>, role: pg_sys::Oid) -> Result<(), Error> {
    write(GRANT, &[name.param(), role.into()])
}

/// Takes that back.
pub(crate) fn revoke(name: ServerText<'_>, role: pg_sys::Oid) -> Result<(), Error> {
    write(REVOKE, &[name.param(), role.into()])
}

/// Deletes the secrets of roles that are gone, and what they were granted.
pub(crate) fn forget_the_gone() -> Result<(), Error> {
    as_owner(|| Ok(forget_strangers()?))
}

/// As [`forget_the_gone`], for a scheduler: roles can be dropped in any database.
pub(crate) fn forget_strangers() -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        client.update(FORGET, None, &[])?;
        client.update(FORGET_GRANTS, None, &[])?;
        Ok(())
    })
}

fn write(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<(), Error> {
    as_owner(|| {
        Spi::connect_mut(|client| {
            client.update(statement, None, args)?;
            Ok(())
        })
    })
}

fn as_owner<R>(body: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    as_role(extension_owner()?, body)
}
