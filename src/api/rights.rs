//! Which job or calendar a caller means, and whether the caller may change it.
//!
//! Owns the rule: the owner, whoever may SET ROLE to the owner, and superusers. Functions pg_cron
//! has keep pg_cron's rules, in `jobs`.

use pg_tock_core::options::MOST_NAME;
use pg_tock_core::quote::{cut, excerpt};
use pgrx::pg_sys;

use crate::catalog::lookup::{self, Found};
use crate::catalog::{Use, role};
use crate::error::Error;
use crate::guc;
use crate::pg::identity::{CurrentUser, current_database, current_user, in_recovery, is_superuser};
use crate::pg::text::ServerText;

/// How a caller names a job.
#[derive(Clone, Copy, Debug)]
pub(super) enum JobRef<'a> {
    Id(i64),
    Name(ServerText<'a>),
}

impl<'a> JobRef<'a> {
    pub(super) fn id(job: Option<i64>) -> Result<Self, Error> {
        job.map(Self::Id).ok_or(Error::Null("job"))
    }

    pub(super) fn name(job: Option<&'a [u8]>) -> Result<Self, Error> {
        job.map(|name| Self::Name(ServerText::new(name))).ok_or(Error::Null("job"))
    }

    /// The job, if the caller may change it. A name is one of the caller's own jobs; a superuser
    /// who has none of that name means the only one there is.
    pub(super) fn resolve(self) -> Result<Found, Error> {
        let caller = current_user();
        let found = match self {
            Self::Id(jobid) => lookup::by_id(jobid)?,
            Self::Name(name) => named(name, &caller)?,
        };
        let found = found.ok_or_else(|| Error::NoSuchJob(self.shown()))?;
        if may_change(&caller, found.owner(), found.owner_oid)? {
            Ok(found)
        } else {
            Err(Error::NotJobOwner(found.jobid))
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Id(jobid) => jobid.to_string(),
            Self::Name(name) => format!("\"{}\"", excerpt(&name.readable())),
        }
    }
}

fn named(name: ServerText<'_>, caller: &CurrentUser) -> Result<Option<Found>, Error> {
    if let Some(own) = lookup::own(name, caller.name())? {
        return Ok(Some(own));
    }
    if !is_superuser() {
        return Ok(None);
    }
    let mut found = lookup::by_name(name)?;
    if found.len() > 1 {
        return Err(Error::AmbiguousJob(name.readable().into_owned()));
    }
    Ok(found.pop())
}

/// Whether the caller may change what belongs to this role.
pub(super) fn may_change(
    caller: &CurrentUser,
    owner: ServerText<'_>,
    owner_oid: Option<pg_sys::Oid>,
) -> Result<bool, Error> {
    if is_superuser() || caller.name() == owner {
        return Ok(true);
    }
    owner_oid.map_or(Ok(false), |oid| role::may_become(caller.oid, oid))
}

/// Whether the caller may act as this role, which need not exist any more.
pub(super) fn may_become(owner: pg_sys::Oid) -> Result<bool, Error> {
    let caller = current_user();
    if is_superuser() || caller.oid == owner {
        return Ok(true);
    }
    role::may_become(caller.oid, owner)
}

/// The role a job is to run as: the caller, or one the caller may become.
pub(super) fn require_role(caller: &CurrentUser, name: &[u8]) -> Result<pg_sys::Oid, Error> {
    let name = ServerText::new(name);
    if name == caller.name() {
        return Ok(caller.oid);
    }
    let readable = || name.readable().into_owned();
    let found = role::role(name)?.ok_or_else(|| Error::NoSuchRole(readable()))?;
    if !role::may_become(caller.oid, found.oid)? {
        return Err(Error::RoleDenied(readable()));
    }
    if !found.can_log_in {
        return Err(Error::RoleBarred(readable()));
    }
    Ok(found.oid)
}

/// A role's oid, if it exists.
pub(super) fn role_oid(name: &[u8]) -> Result<Option<pg_sys::Oid>, Error> {
    Ok(role::role(ServerText::new(name))?.map(|role| role.oid))
}

/// Refuses a superuser as a job's role where there are to be none.
pub(super) fn refuse_superuser(name: &[u8]) -> Result<(), Error> {
    let superuser = role::role(ServerText::new(name))?.is_some_and(|role| role.is_superuser);
    if superuser && !guc::enable_superuser_jobs() { Err(Error::SuperuserJob) } else { Ok(()) }
}

/// The database a job gets if nobody says which.
pub(super) fn default_database() -> Vec<u8> {
    guc::default_job_database().map_or_else(current_database, String::into_bytes)
}

/// Whether the caller may have a job in this database: the current one, the default, or any
/// other with the right that takes.
pub(super) fn require_reach(caller: &CurrentUser, database: &[u8]) -> Result<(), Error> {
    let allowed = database == current_database()
        || database == default_database()
        || role::may_schedule_elsewhere(caller.oid)?;
    let readable = || ServerText::new(database).readable().into_owned();
    if allowed { Ok(()) } else { Err(Error::OtherDatabase(readable())) }
}

/// Whether a role may run jobs in this database.
pub(super) fn require_connect(
    role: pg_sys::Oid,
    name: &[u8],
    database: &[u8],
) -> Result<(), Error> {
    let database = ServerText::new(database);
    let readable = || database.readable().into_owned();
    match role::can_connect(role, database)? {
        None => Err(Error::DatabaseMissing(readable())),
        Some(true) => Ok(()),
        Some(false) => Err(Error::NoConnect {
            role: ServerText::new(name).readable().into_owned(),
            database: readable(),
        }),
    }
}

/// Refuses changes on a standby.
pub(super) fn refuse_in_recovery(function: &'static str) -> Result<(), Error> {
    if in_recovery() { Err(Error::InRecovery(function)) } else { Ok(()) }
}

/// Refuses names that are too long to be of use; `argument`: what it was given as.
pub(super) fn refuse_long(argument: &'static str, name: &[u8]) -> Result<(), Error> {
    if name.len() <= MOST_NAME {
        return Ok(());
    }
    Err(Error::OutOfRange {
        problem: format!("{argument} must not be longer than {MOST_NAME} bytes"),
        hint: "A description has room for the rest.",
    })
}

/// Refuses a job that says more than the scheduler is to handle with each run. `before`: as much as it has said so
/// far is no matter.
pub(super) fn refuse_large(size: usize, before: usize) -> Result<(), Error> {
    let most = guc::max_job_size();
    if size <= most.max(before) {
        return Ok(());
    }
    Err(Error::TooMuch {
        problem: format!("a job of {size} bytes is larger than cron.max_job_size, {most} bytes"),
        hint: "Put what it does into a function or procedure and call that.",
    })
}

/// The most characters of a list of jobs in an error.
const LISTED: usize = 600;

/// The jobs that name something, as a sentence.
pub(super) fn used_words(used: &Use) -> String {
    let seen = used.seen.as_deref().map(|names| cut(&ServerText::new(names).readable(), LISTED));
    match (seen, used.unseen) {
        (Some(seen), 0) => format!("Jobs that use it: {seen}."),
        (Some(seen), unseen) => format!("Jobs that use it: {seen}, and {unseen} of other roles."),
        (None, unseen) => format!("Jobs of other roles that use it: {unseen}."),
    }
}
