//! `cron.queue`.
//!
//! Whether the caller may change or use a queue is decided before, in `api`.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;
use super::{Keep, Use, count};

const FOUND: &str = "SELECT pg_catalog.convert_to(q.owner, pg_catalog.getdatabaseencoding()), \
     (SELECT r.oid FROM pg_catalog.pg_roles r \
      WHERE r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) q.owner), q.shared \
     FROM cron.queue q WHERE q.name OPERATOR(pg_catalog.=) $1";

const PUT: &str = "INSERT INTO cron.queue AS queue \
      (name, max_running, max_start_rate, shared, description, owner) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT ON CONSTRAINT queue_pkey DO UPDATE SET max_running = excluded.max_running, \
      max_start_rate = excluded.max_start_rate, shared = excluded.shared, \
      description = excluded.description";

// How many jobs name it, and the names of those the caller may see.
const USED: &str = "SELECT pg_catalog.count(*), \
     pg_catalog.convert_to(pg_catalog.string_agg(coalesce(pg_catalog.quote_ident(j.jobname), j.jobid::pg_catalog.text), \
      ', ' ORDER BY j.jobid) FILTER (WHERE $2 OR j.username OPERATOR(pg_catalog.=) $3), \
      pg_catalog.getdatabaseencoding()), \
     pg_catalog.count(*) FILTER (WHERE NOT ($2 OR j.username OPERATOR(pg_catalog.=) $3)) \
     FROM cron.job j WHERE j.queue OPERATOR(pg_catalog.=) $1";

const OWNED: &str =
    "SELECT pg_catalog.count(*) FROM cron.queue q WHERE q.owner OPERATOR(pg_catalog.=) $1";

const DROP: &str = "DELETE FROM cron.queue WHERE name OPERATOR(pg_catalog.=) $1";

/// Who owns a queue, and whether others may use it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    owner: Vec<u8>,
    /// None: there is no such role any more.
    pub(crate) owner_oid: Option<pg_sys::Oid>,
    pub(crate) shared: bool,
}

impl Found {
    /// The owner's name.
    pub(crate) fn owner(&self) -> ServerText<'_> {
        ServerText::new(&self.owner)
    }
}

/// What a queue is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition<'a> {
    pub(crate) name: ServerText<'a>,
    pub(crate) max_running: Option<i32>,
    pub(crate) max_start_rate: Option<f64>,
    pub(crate) shared: bool,
    pub(crate) description: Option<ServerText<'a>>,
    pub(crate) owner: ServerText<'a>,
}

/// A queue, which is kept so; None if there is none of that name.
pub(crate) fn find(name: ServerText<'_>, keep: Keep) -> Result<Option<Found>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let query = FOUND.to_owned() + keep.clause();
            let rows = client.update(query.as_str(), Some(1), &[name.param()])?;
            if rows.is_empty() {
                return Ok(None);
            }
            let (owner, owner_oid, shared) =
                rows.first().get_three::<Vec<u8>, pg_sys::Oid, bool>()?;
            let owner = owner.unwrap_or_default();
            Ok(Some(Found { owner, owner_oid, shared: shared.unwrap_or(false) }))
        })
    })
}

/// Creates a queue, or gives the one of that name these limits.
pub(crate) fn put(queue: &Definition<'_>) -> Result<(), Error> {
    write(
        PUT,
        &[
            queue.name.param(),
            queue.max_running.into(),
            queue.max_start_rate.into(),
            queue.shared.into(),
            param(queue.description),
            queue.owner.param(),
        ],
    )
}

/// The jobs that name a queue, for a caller who sees all jobs or his own: how many, the names of
/// those he sees, the number of the others.
pub(crate) fn used_by(
    name: ServerText<'_>,
    sees_all: bool,
    caller: ServerText<'_>,
) -> Result<Use, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            // As an update, so that it sees what was committed while the queue's lock was waited for.
            let args = [name.param(), sees_all.into(), caller.param()];
            let (jobs, seen, unseen) =
                client.update(USED, Some(1), &args)?.first().get_three::<i64, Vec<u8>, i64>()?;
            Ok(Use { jobs: jobs.unwrap_or(0), seen, unseen: unseen.unwrap_or(0) })
        })
    })
}

/// How many queues a role has.
pub(crate) fn owned_by(role: ServerText<'_>) -> Result<i64, Error> {
    count(OWNED, role)
}

/// Drops a queue.
pub(crate) fn drop(name: ServerText<'_>) -> Result<(), Error> {
    write(DROP, &[name.param()])
}

fn write(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<(), Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            client.update(statement, None, args)?;
            Ok(())
        })
    })
}
