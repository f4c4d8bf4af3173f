//! The functions on calendars. Everybody may create one; its owner, whoever may SET ROLE to the
//! owner, and superusers change it.

use pgrx::datum::Date;
use pgrx::prelude::*;

use crate::catalog::Keep;
use crate::catalog::calendar::{self, CalendarOwner};
use crate::error::{Error, SqlResult};
use crate::pg::identity::{current_user, is_superuser};
use crate::pg::job_lock::JobLock;
use crate::pg::process;
use crate::pg::text::ServerText;

use super::rights::{may_change, refuse_in_recovery, refuse_long, used_words};

/// The most calendars of a role, and the most ranges of days in all of them: every change of one
/// makes the scheduler read them all.
const MOST_CALENDARS: i64 = 1_000;
const MOST_DATES: i64 = 10_000;
/// What to do about too many of them.
const DROP_SOME: &str = "Drop those that no job needs with cron.drop_calendar.";
const FEWER_DATES: &str = "Remove those that have passed with cron.remove_calendar_dates; days that follow each other are one range.";

#[pg_extern(sql = false)]
fn cron_create_calendar(name: Option<&[u8]>, description: Option<&[u8]>) -> SqlResult<()> {
    Ok(create(name, description.map(ServerText::new))?)
}

#[pg_extern(sql = false)]
fn cron_add_calendar_dates(
    name: Option<&[u8]>,
    from_date: Option<Date>,
    to_date: Option<Date>,
    note: Option<&[u8]>,
) -> SqlResult<()> {
    Ok(add(name, from_date, to_date, note.map(ServerText::new))?)
}

#[pg_extern(sql = false)]
fn cron_remove_calendar_dates(
    name: Option<&[u8]>,
    from_date: Option<Date>,
    to_date: Option<Date>,
) -> SqlResult<()> {
    Ok(remove(name, from_date, to_date)?)
}

#[pg_extern(sql = false)]
fn cron_drop_calendar(name: Option<&[u8]>) -> SqlResult<()> {
    Ok(drop_calendar(name)?)
}

fn create(name: Option<&[u8]>, description: Option<ServerText<'_>>) -> Result<(), Error> {
    refuse_in_recovery("cron.create_calendar()")?;
    let name = given(name)?;
    let caller = current_user();
    let owner = caller.name();
    lock_company(caller.oid);
    if !calendar::create(name, description, owner)? {
        return Err(Error::CalendarExists(name.readable().into_owned()));
    }
    let before = calendar::owned_by(owner)? - 1;
    refuse_more("calendars", owner, before, MOST_CALENDARS, DROP_SOME)
}

fn add(
    name: Option<&[u8]>,
    from: Option<Date>,
    to: Option<Date>,
    note: Option<ServerText<'_>>,
) -> Result<(), Error> {
    refuse_in_recovery("cron.add_calendar_dates()")?;
    let (name, days) = (given(name)?, days(from, to)?);
    let owner = lock(name, Keep::Unchanged)?;
    calendar::add(name, days, note)?;
    refuse_more_dates(&owner)
}

fn remove(name: Option<&[u8]>, from: Option<Date>, to: Option<Date>) -> Result<(), Error> {
    refuse_in_recovery("cron.remove_calendar_dates()")?;
    let (name, days) = (given(name)?, days(from, to)?);
    let owner = lock(name, Keep::Unchanged)?;
    let before = calendar::dates_of(owner.name())?;
    calendar::remove(name, days)?;
    // What is left of a range may be two. Who has too many already may always have fewer.
    if calendar::dates_of(owner.name())? > before { refuse_more_dates(&owner) } else { Ok(()) }
}

fn drop_calendar(name: Option<&[u8]>) -> Result<(), Error> {
    refuse_in_recovery("cron.drop_calendar()")?;
    let name = given(name)?;
    lock(name, Keep::Unnamed)?;
    let used = calendar::used_by(name, is_superuser(), current_user().name())?;
    if used.jobs > 0 {
        return Err(Error::CalendarUsed {
            name: name.readable().into_owned(),
            jobs: used_words(&used),
        });
    }
    calendar::drop(name)
}

pub(super) fn given(name: Option<&[u8]>) -> Result<ServerText<'_>, Error> {
    let name = name.ok_or(Error::Null("name"))?;
    if name.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty("name"));
    }
    refuse_long("name", name)?;
    Ok(ServerText::new(name))
}

/// The days from the first to the last, which is the first if it is not given.
fn days(from: Option<Date>, to: Option<Date>) -> Result<(Date, Date), Error> {
    let from = from.ok_or(Error::Null("from_date"))?;
    let to = to.unwrap_or(from);
    for (name, date) in [("from_date", from), ("to_date", to)] {
        if date.is_infinity() || date.is_neg_infinity() {
            return Err(Error::OutOfRange { problem: format!("{name} must be finite"), hint: "" });
        }
    }
    if to < from {
        return Err(Error::OutOfRange {
            problem: "to_date must not be before from_date".to_owned(),
            hint: "",
        });
    }
    Ok((from, to))
}

/// Keeps others from changing what a role has of queues, calendars and dates. It comes before the lock of
/// any row of these: of two who change the same in another order the second waits for the first, and the
/// first for nobody.
pub(super) fn lock_company(role: pg_sys::Oid) {
    JobLock::of_company(process::database().to_u32(), role.to_u32()).wait_for_transaction();
}

/// Refuses one more of what a role has.
pub(super) fn refuse_more(
    what: &str,
    role: ServerText<'_>,
    has: i64,
    most: i64,
    hint: &'static str,
) -> Result<(), Error> {
    if has < most {
        return Ok(());
    }
    let problem = format!("role \"{}\" has {most} {what} already", role.readable());
    Err(Error::TooMuch { problem, hint })
}

fn refuse_more_dates(owner: &CalendarOwner) -> Result<(), Error> {
    let before = calendar::dates_of(owner.name())? - 1;
    refuse_more("calendar dates", owner.name(), before, MOST_DATES, FEWER_DATES)
}

/// Locks a calendar that the caller may change, and says whose it is.
fn lock(name: ServerText<'_>, keep: Keep) -> Result<CalendarOwner, Error> {
    lock_company(found(name, Keep::Not)?.role());
    let owner = found(name, keep)?;
    // It may be another role's by now.
    lock_company(owner.role());
    Ok(owner)
}

/// A calendar that the caller may change.
fn found(name: ServerText<'_>, keep: Keep) -> Result<CalendarOwner, Error> {
    let readable = || name.readable().into_owned();
    let owner = calendar::owner(name, keep)?.ok_or_else(|| Error::NoSuchCalendar(readable()))?;
    if may_change(&current_user(), owner.name(), owner.oid)? {
        Ok(owner)
    } else {
        Err(Error::NotCalendarOwner(readable()))
    }
}
