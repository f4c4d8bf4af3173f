//! `cron.calendar` and `cron.calendar_date`.
//!
//! Whether the caller may change a calendar is decided before, in `api`.

use std::sync::Arc;

use pg_tock_core::plan::Dates;
use pgrx::datum::{Date, DatumWithOid};
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;
use super::{Keep, Use, count};

const CREATE: &str = "INSERT INTO cron.calendar (name, description, owner) VALUES ($1, $2, $3) \
     ON CONFLICT ON CONSTRAINT calendar_pkey DO NOTHING RETURNING name";

const OWNER: &str = "SELECT pg_catalog.convert_to(c.owner, pg_catalog.getdatabaseencoding()), \
     (SELECT r.oid FROM pg_catalog.pg_roles r \
      WHERE r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) c.owner) \
     FROM cron.calendar c WHERE c.name OPERATOR(pg_catalog.=) $1";

const ADD: &str = "INSERT INTO cron.calendar_date (calendar, from_date, to_date, note) \
     VALUES ($1, $2, $3, $4) \
     ON CONFLICT ON CONSTRAINT calendar_date_pkey DO UPDATE SET note = excluded.note";

// What is left of a range before and after the days that go stays. The days next to $2 and $3 are
// counted from the range: $3 may be the last day there is.
const REMOVE: &str = "WITH gone AS (DELETE FROM cron.calendar_date \
      WHERE calendar OPERATOR(pg_catalog.=) $1 AND from_date OPERATOR(pg_catalog.<=) $3 \
       AND to_date OPERATOR(pg_catalog.>=) $2 RETURNING calendar, from_date, to_date, note), \
     rest (calendar, from_date, to_date, note) AS ( \
      SELECT calendar, from_date, \
       from_date OPERATOR(pg_catalog.+) ($2 OPERATOR(pg_catalog.-) from_date OPERATOR(pg_catalog.-) 1), \
       note FROM gone WHERE from_date OPERATOR(pg_catalog.<) $2 \
      UNION ALL SELECT calendar, \
       to_date OPERATOR(pg_catalog.-) (to_date OPERATOR(pg_catalog.-) $3 OPERATOR(pg_catalog.-) 1), \
       to_date, note FROM gone WHERE to_date OPERATOR(pg_catalog.>) $3) \
     INSERT INTO cron.calendar_date (calendar, from_date, to_date, note) \
     SELECT calendar, from_date, to_date, note FROM rest \
     ON CONFLICT ON CONSTRAINT calendar_date_pkey DO NOTHING";

// How many jobs name a calendar, and the names of those the caller may see.
const USED: &str = "SELECT pg_catalog.count(*), \
     pg_catalog.convert_to(pg_catalog.string_agg(coalesce(pg_catalog.quote_ident(j.jobname), j.jobid::pg_catalog.text), \
      ', ' ORDER BY j.jobid) FILTER (WHERE $2 OR j.username OPERATOR(pg_catalog.=) $3), \
      pg_catalog.getdatabaseencoding()), \
     pg_catalog.count(*) FILTER (WHERE NOT ($2 OR j.username OPERATOR(pg_catalog.=) $3)) \
     FROM cron.job j WHERE $1 OPERATOR(pg_catalog.=) ANY (j.skip_on) \
      OR $1 OPERATOR(pg_catalog.=) ANY (j.only_on)";

const OWNED: &str =
    "SELECT pg_catalog.count(*) FROM cron.calendar c WHERE c.owner OPERATOR(pg_catalog.=) $1";

const OWNED_DATES: &str = "SELECT pg_catalog.count(*) FROM cron.calendar c \
     JOIN cron.calendar_date d ON d.calendar OPERATOR(pg_catalog.=) c.name \
     WHERE c.owner OPERATOR(pg_catalog.=) $1";

const DROP: &str = "DELETE FROM cron.calendar WHERE name OPERATOR(pg_catalog.=) $1";

// Nobody can drop them before the job that names them is stored.
const LOCK: &str = "SELECT c.name FROM cron.calendar c \
     WHERE c.name OPERATOR(pg_catalog.=) $1 FOR KEY SHARE";

const DATES: &str = "SELECT (d.from_date OPERATOR(pg_catalog.-) '1970-01-01'::pg_catalog.date), \
     (d.to_date OPERATOR(pg_catalog.-) '1970-01-01'::pg_catalog.date) \
     FROM cron.calendar c LEFT JOIN cron.calendar_date d \
      ON d.calendar OPERATOR(pg_catalog.=) c.name \
      AND pg_catalog.isfinite(d.from_date) AND pg_catalog.isfinite(d.to_date) \
     WHERE c.name OPERATOR(pg_catalog.=) $1";

/// Who owns a calendar.
#[derive(Clone, Debug)]
pub(crate) struct CalendarOwner {
    name: Vec<u8>,
    /// None: there is no such role any more.
    pub(crate) oid: Option<pg_sys::Oid>,
}

impl CalendarOwner {
    /// The role's name.
    pub(crate) fn name(&self) -> ServerText<'_> {
        ServerText::new(&self.name)
    }

    /// The role; no role's oid if there is none any more.
    pub(crate) fn role(&self) -> pg_sys::Oid {
        self.oid.unwrap_or(pg_sys::InvalidOid)
    }
}

/// Creates a calendar; false if there is one of that name.
pub(crate) fn create(
    name: ServerText<'_>,
    description: Option<ServerText<'_>>,
    owner: ServerText<'_>,
) -> Result<bool, Error> {
    Ok(write(CREATE, &[name.param(), param(description), owner.param()])? > 0)
}

/// Whose a calendar is, which is kept so; None if there is none of that name.
pub(crate) fn owner(name: ServerText<'_>, keep: Keep) -> Result<Option<CalendarOwner>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let query = OWNER.to_owned() + keep.clause();
            let rows = client.update(query.as_str(), Some(1), &[name.param()])?;
            if rows.is_empty() {
                return Ok(None);
            }
            let (name, oid) = rows.first().get_two::<Vec<u8>, pg_sys::Oid>()?;
            Ok(Some(CalendarOwner { name: name.unwrap_or_default(), oid }))
        })
    })
}

/// Adds days; a range that is there already gets the note.
pub(crate) fn add(
    name: ServerText<'_>,
    (from, to): (Date, Date),
    note: Option<ServerText<'_>>,
) -> Result<(), Error> {
    write(ADD, &[name.param(), from.into(), to.into(), param(note)])?;
    Ok(())
}

/// Takes days away; ranges that reach beyond them keep the rest.
pub(crate) fn remove(name: ServerText<'_>, (from, to): (Date, Date)) -> Result<(), Error> {
    write(REMOVE, &[name.param(), from.into(), to.into()])?;
    Ok(())
}

/// The jobs that name a calendar, for a caller who sees all jobs or his own.
pub(crate) fn used_by(
    name: ServerText<'_>,
    sees_all: bool,
    caller: ServerText<'_>,
) -> Result<Use, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            // As an update, so that it sees what was committed while the calendar's lock was waited for.
            let args = [name.param(), sees_all.into(), caller.param()];
            let (jobs, seen, unseen) =
                client.update(USED, Some(1), &args)?.first().get_three::<i64, Vec<u8>, i64>()?;
            Ok(Use { jobs: jobs.unwrap_or(0), seen, unseen: unseen.unwrap_or(0) })
        })
    })
}

/// How many calendars a role has.
pub(crate) fn owned_by(role: ServerText<'_>) -> Result<i64, Error> {
    count(OWNED, role)
}

/// How many ranges of days all calendars of a role have.
pub(crate) fn dates_of(role: ServerText<'_>) -> Result<i64, Error> {
    count(OWNED_DATES, role)
}

/// Drops a calendar with its days.
pub(crate) fn drop(name: ServerText<'_>) -> Result<(), Error> {
    write(DROP, &[name.param()])?;
    Ok(())
}

/// Keeps a calendar until the transaction ends; false if there is none of that name.
pub(crate) fn keep(name: ServerText<'_>) -> Result<bool, Error> {
    Ok(write(LOCK, &[name.param()])? > 0)
}

/// The days of a calendar; None if there is none of that name. Anybody may read them.
pub(crate) fn dates(name: ServerText<'_>) -> Result<Option<Arc<Dates>>, Error> {
    Spi::connect(|client| {
        let rows = client.select(DATES, None, &[name.param()])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut ranges = Vec::with_capacity(rows.len());
        for row in rows {
            let range = row.get::<i32>(1)?.zip(row.get::<i32>(2)?);
            ranges.extend(range.map(|(from, to)| (i64::from(from), i64::from(to))));
        }
        Ok(Some(Arc::new(Dates::from_days(ranges))))
    })
}

fn write(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<usize, Error> {
    let owner = extension_owner()?;
    as_role(owner, || Spi::connect_mut(|client| Ok(client.update(statement, None, args)?.len())))
}
