//! The functions on secrets. Whoever was granted EXECUTE on `cron.set_secret`, or INSERT on
//! `cron.secret_input`, may set new ones; the owner, whoever may SET ROLE to the owner, and
//! superusers change them.
//!
//! Owns one invariant: no error raised here, and nothing the server says about one, has a value.

use pg_tock_core::quote::cut;
use pg_tock_core::secret::{self, Secret};
use pgrx::prelude::*;

use crate::catalog::{role, secret as stored};
use crate::error::{Error, HttpError, SqlResult};
use crate::pg::conceal::{hide_activity, without_context};
use crate::pg::identity::{current_user, is_superuser};
use crate::pg::json::from_server;
use crate::pg::keys;
use crate::pg::text::ServerText;
use crate::pg::trigger::{self, Row};

use super::rights::{may_become, refuse_in_recovery};

/// The most characters of a list of jobs in an error.
const LISTED: usize = 600;

#[pg_extern(sql = false)]
fn cron_set_secret(name: Option<&[u8]>, value: Option<&[u8]>) -> SqlResult<()> {
    hide_activity();
    Ok(without_context(|| {
        refuse_in_recovery("cron.set_secret()")?;
        set(name, value)
    })?)
}

/// `cron.secret_given()`, the trigger of `cron.secret_input`.
#[pg_extern(sql = false)]
fn cron_secret_given(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Row> {
    hide_activity();
    Ok(without_context(|| {
        refuse_in_recovery("INSERT")?;
        let row = trigger::new_row(fcinfo).ok_or(Error::NotATrigger)?;
        set(row.text(c"name"), row.text(c"value"))?;
        Ok::<_, Error>(row.unchanged())
    })?)
}

#[pg_extern(sql = false)]
fn cron_drop_secret(name: Option<&[u8]>) -> SqlResult<()> {
    Ok(drop_secret(name)?)
}

#[pg_extern(sql = false)]
fn cron_grant_secret(name: Option<&[u8]>, role: Option<&[u8]>) -> SqlResult<()> {
    let (name, role) = change_grant("cron.grant_secret()", name, role)?;
    Ok(stored::grant(name, role)?)
}

#[pg_extern(sql = false)]
fn cron_revoke_secret(name: Option<&[u8]>, role: Option<&[u8]>) -> SqlResult<()> {
    let (name, role) = change_grant("cron.revoke_secret()", name, role)?;
    Ok(stored::revoke(name, role)?)
}

#[pg_extern(sql = false)]
fn cron_rotate_secrets() -> SqlResult<i64> {
    Ok(without_context(rotate)?)
}

/// Sets a secret, new or the caller's.
fn set(name: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Error> {
    let name = from_server(name.ok_or(Error::Null("name"))?)?;
    let value = value.ok_or(Error::Null("value"))?;
    let value = Secret::new(from_server(value).map_err(|_| HttpError::Encoding)?);
    secret::check(&name, value.expose()).map_err(HttpError::from)?;
    let sealed =
        keys::load().map_err(HttpError::from)?.seal(&name, &value).map_err(HttpError::from)?;
    let bytes = ServerText::new(name.as_bytes());
    let locked = stored::lock_or_add(bytes, current_user().oid)?;
    if !may_become(locked.owner)? {
        return Err(HttpError::NotSecretOwner(name).into());
    }
    stored::store(bytes, locked, &sealed)
}

fn drop_secret(name: Option<&[u8]>) -> Result<(), Error> {
    refuse_in_recovery("cron.drop_secret()")?;
    let name = lock_own(name)?;
    let used = stored::used_by(name, is_superuser(), current_user().name())?;
    if used.jobs > 0 {
        let jobs = used_words(&used);
        return Err(HttpError::SecretUsed { name: name.readable().into_owned(), jobs }.into());
    }
    stored::drop(name)
}

fn used_words(used: &stored::Use) -> String {
    let seen = used.seen.as_deref().map(|names| cut(&ServerText::new(names).readable(), LISTED));
    match (seen, used.unseen) {
        (Some(seen), 0) => format!("Jobs that use it: {seen}."),
        (Some(seen), unseen) => format!("Jobs that use it: {seen}, and {unseen} of other roles."),
        (None, unseen) => format!("Jobs of other roles that use it: {unseen}."),
    }
}

/// The secret, which the caller may change, and the role.
fn change_grant<'a>(
    function: &'static str,
    name: Option<&'a [u8]>,
    role: Option<&[u8]>,
) -> Result<(ServerText<'a>, pg_sys::Oid), Error> {
    refuse_in_recovery(function)?;
    let role = ServerText::new(role.ok_or(Error::Null("role"))?);
    let name = lock_own(name)?;
    let found = role::role(role)?.ok_or_else(|| Error::NoSuchRole(role.readable().into_owned()))?;
    Ok((name, found.oid))
}

/// Locks a secret that the caller may change.
fn lock_own(name: Option<&[u8]>) -> Result<ServerText<'_>, Error> {
    let name = ServerText::new(name.ok_or(Error::Null("name"))?);
    let readable = || name.readable().into_owned();
    let locked = stored::lock(name)?.ok_or_else(|| HttpError::NoSuchSecret(readable()))?;
    if may_become(locked.owner)? {
        Ok(name)
    } else {
        Err(HttpError::NotSecretOwner(readable()).into())
    }
}

/// Seals with the first key what is not yet.
fn rotate() -> Result<i64, Error> {
    refuse_in_recovery("cron.rotate_secrets()")?;
    if !is_superuser() {
        return Err(HttpError::Rotate.into());
    }
    let keys = keys::load().map_err(HttpError::from)?;
    let mut changed = 0;
    for found in stored::lock_all()?.iter().filter(|found| keys.is_stale(&found.value)) {
        let name = from_server(&found.name)?;
        let sealed = keys.open(&name, &found.value).and_then(|value| keys.seal(&name, &value));
        let sealed = sealed.map_err(|error| HttpError::Stored { name, error })?;
        stored::store_again(found, &sealed)?;
        changed += 1;
    }
    Ok(changed)
}
