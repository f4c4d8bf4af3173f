//! The functions on queues. Everybody may create one; its owner, whoever may SET ROLE to the owner,
//! and superusers change it.
//!
//! Owns the rule who may put jobs in it: roles that have the rights of its owner, and everybody if
//! it is shared. Else anybody could fill a queue that keeps somebody else's jobs apart.

use pgrx::prelude::*;

use crate::catalog::queue::{self, Definition, Found};
use crate::catalog::{Keep, role};
use crate::error::{Error, SqlResult};
use crate::pg::identity::{CurrentUser, current_user, is_superuser};
use crate::pg::text::ServerText;

use super::calendars::{given, lock_company, refuse_more};
use super::rights::{may_change, refuse_in_recovery, used_words};

/// The most starts in a second a queue can be told to let through.
const MOST_STARTS: f64 = 1_000_000.0;
/// What to do about too many of them.
const DROP_SOME: &str = "Drop those that no job needs with cron.drop_queue.";
/// The most queues of a role.
const MOST_QUEUES: i64 = 1_000;

#[pg_extern(sql = false)]
fn cron_create_queue(
    name: Option<&[u8]>,
    max_running: Option<i32>,
    max_start_rate: Option<f64>,
    shared: Option<bool>,
    description: Option<&[u8]>,
) -> SqlResult<()> {
    let description = description.map(ServerText::new);
    Ok(create(name, max_running, max_start_rate, shared.unwrap_or(false), description)?)
}

#[pg_extern(sql = false)]
fn cron_drop_queue(name: Option<&[u8]>) -> SqlResult<()> {
    Ok(drop_queue(name)?)
}

fn create(
    name: Option<&[u8]>,
    max_running: Option<i32>,
    max_start_rate: Option<f64>,
    shared: bool,
    description: Option<ServerText<'_>>,
) -> Result<(), Error> {
    refuse_in_recovery("cron.create_queue()")?;
    let name = given(name)?;
    if max_running.is_some_and(|most| most < 1) {
        return Err(Error::OutOfRange {
            problem: "max_running must be at least 1".to_owned(),
            hint: "Leave it out for no limit; pause jobs to keep them from running.",
        });
    }
    // NaN is none of these.
    if max_start_rate.is_some_and(|rate| !(rate > 0.0 && rate <= MOST_STARTS)) {
        return Err(Error::OutOfRange {
            problem: "max_start_rate must be greater than 0 and at most 1000000".to_owned(),
            hint: "It is a number of starts in a second; 0.1 is one in ten seconds.",
        });
    }
    let caller = current_user();
    let owner = caller.name();
    if lock(name, &caller, Keep::Unchanged)?.is_none() {
        lock_company(caller.oid);
        refuse_more("queues", owner, queue::owned_by(owner)?, MOST_QUEUES, DROP_SOME)?;
    }
    queue::put(&Definition { name, max_running, max_start_rate, shared, description, owner })
}

fn drop_queue(name: Option<&[u8]>) -> Result<(), Error> {
    refuse_in_recovery("cron.drop_queue()")?;
    let name = given(name)?;
    let readable = || name.readable().into_owned();
    let caller = current_user();
    lock(name, &caller, Keep::Unnamed)?.ok_or_else(|| Error::NoSuchQueue(readable()))?;
    let used = queue::used_by(name, is_superuser(), caller.name())?;
    if used.jobs > 0 {
        return Err(Error::QueueUsed { name: readable(), jobs: used_words(&used) });
    }
    queue::drop(name)
}

/// Locks a queue, which has to be one that the caller may change; None if there is none of that name.
fn lock(name: ServerText<'_>, caller: &CurrentUser, keep: Keep) -> Result<Option<Found>, Error> {
    let found = |keep| match queue::find(name, keep)? {
        Some(found) if !may_change(caller, found.owner(), found.owner_oid)? => {
            Err(Error::NotQueueOwner(name.readable().into_owned()))
        }
        found => Ok(found),
    };
    let role = found(Keep::Not)?.map_or(Some(caller.oid), |queue| queue.owner_oid);
    lock_company(role.unwrap_or(pg_sys::InvalidOid));
    found(keep)
}

/// Makes sure that there is a queue of this name, that it stays, and that jobs of this role may be
/// in it.
pub(super) fn require(name: ServerText<'_>, username: ServerText<'_>) -> Result<(), Error> {
    let readable = || name.readable().into_owned();
    let found = queue::find(name, Keep::There)?.ok_or_else(|| Error::NoSuchQueue(readable()))?;
    if found.shared || found.owner() == username {
        return Ok(());
    }
    let (member, owner) = (role::role(username)?.map(|role| role.oid), found.owner_oid);
    match member.zip(owner) {
        Some((member, owner)) if role::may_become(member, owner)? => Ok(()),
        _ => Err(Error::QueueDenied { name: readable(), role: username.readable().into_owned() }),
    }
}
