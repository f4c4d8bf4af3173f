//! The functions on calendars. Everybody may create one; its owner, whoever may SET ROLE to the
//! owner, and superusers change it.

use pgrx::datum::Date;
use pgrx::prelude::*;

use crate::catalog::calendar;
use crate::error::{Error, SqlResult};
use crate::pg::identity::{current_user, is_superuser};
use crate::pg::text::ServerText;

use super::rights::{may_change, refuse_in_recovery, refuse_long, used_words};

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
    if calendar::create(name, description, current_user().name())? {
        Ok(())
    } else {
        Err(Error::CalendarExists(name.readable().into_owned()))
    }
}

fn add(
    name: Option<&[u8]>,
    from: Option<Date>,
    to: Option<Date>,
    note: Option<ServerText<'_>>,
) -> Result<(), Error> {
    refuse_in_recovery("cron.add_calendar_dates()")?;
    let (name, days) = (given(name)?, days(from, to)?);
    lock(name)?;
    calendar::add(name, days, note)
}

fn remove(name: Option<&[u8]>, from: Option<Date>, to: Option<Date>) -> Result<(), Error> {
    refuse_in_recovery("cron.remove_calendar_dates()")?;
    let (name, days) = (given(name)?, days(from, to)?);
    lock(name)?;
    calendar::remove(name, days)
}

fn drop_calendar(name: Option<&[u8]>) -> Result<(), Error> {
    refuse_in_recovery("cron.drop_calendar()")?;
    let name = given(name)?;
    lock(name)?;
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

/// Locks a calendar that the caller may change.
fn lock(name: ServerText<'_>) -> Result<(), Error> {
    let readable = || name.readable().into_owned();
    let owner =
        calendar::lock_for_change(name)?.ok_or_else(|| Error::NoSuchCalendar(readable()))?;
    if may_change(&current_user(), owner.name(), owner.oid)? {
        Ok(())
    } else {
        Err(Error::NotCalendarOwner(readable()))
    }
}
