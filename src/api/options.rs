//! `cron.create_job` and `cron.set_job`: jobs with all their options.
//!
//! Owns two invariants: options are checked together, before anything is written, by both
//! functions alike; and no job gets a role or a database its creator has no right to.

use pg_tock_core::http::document::KEYS;
use pg_tock_core::options::{Document, Interval, Options, Server, merge};
use pg_tock_core::quote::excerpt;
use pg_tock_core::schedule::Schedule;
use pgrx::PgTryBuilder;
use pgrx::prelude::*;
use serde_json::Value as Json;

use crate::catalog::{calendar, options as stored};
use crate::error::{Error, SqlResult};
use crate::guc;
use crate::pg::identity::current_user;
use crate::pg::json::{self, to_server};
use crate::pg::text::ServerText;
use crate::pg::{settings, zone};

use super::http::{self, Http};
use super::rights::{self, JobRef};
use super::schedules::{check_schedule, warn_if_passed};
use super::{condition, presets, queues, upstream};

/// `cron.create_job(options jsonb)`: what the function with many arguments calls, too.
#[pg_extern(sql = false)]
fn cron_create_job(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<i64> {
    Ok(create(argument(fcinfo, 0)?)?)
}

#[pg_extern(sql = false)]
fn cron_set_job(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    // SAFETY: its first argument is a bigint.
    let job = unsafe { pgrx::fcinfo::pg_getarg::<i64>(fcinfo, 0) };
    Ok(change(JobRef::id(job)?, argument(fcinfo, 1)?)?)
}

#[pg_extern(sql = false)]
fn cron_set_job_named(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    // SAFETY: its first argument is a text.
    let job = unsafe { pgrx::fcinfo::pg_getarg::<&[u8]>(fcinfo, 0) };
    Ok(change(JobRef::name(job)?, argument(fcinfo, 1)?)?)
}

fn argument(fcinfo: pg_sys::FunctionCallInfo, place: usize) -> Result<Json, Error> {
    Ok(json::argument(fcinfo, place).ok_or(Error::Null("options"))??)
}

/// What Postgres says about values.
pub(super) struct Postgres;

impl Server for Postgres {
    fn interval(&self, text: &str) -> Result<Interval, String> {
        use pgrx::datum::Interval as Read;
        let is_none = |what: &str| format!("\"{}\" {what}", excerpt(text));
        // One that is too long is an ERROR of its own, which would not say whose value it is.
        let read =
            PgTryBuilder::new(|| text.parse::<Read>().map_err(|_| is_none("is not an interval")))
                .catch_when(PgSqlErrorCode::ERRCODE_INTERVAL_FIELD_OVERFLOW, |_| {
                    Err(is_none("is out of range for an interval"))
                })
                .execute()?;
        Ok(Interval { months: read.months(), days: read.days(), micros: read.micros() })
    }

    fn has_zone(&self, name: &str) -> bool {
        zone::exists(name)
    }
}

/// Stores a job from its name and options in one object.
fn create(mut given: Json) -> Result<i64, Error> {
    rights::refuse_in_recovery("cron.create_job()")?;
    let name = given.as_object_mut().map(|object| object.remove("job_name"));
    let name = match name.flatten() {
        None if !given.is_object() => {
            merge(Document::new(), given)?;
            return Err(Error::Null("job_name"));
        }
        None | Some(Json::Null) => return Err(Error::Null("job_name")),
        Some(Json::String(name)) if name.trim().is_empty() => return Err(Error::Empty("job_name")),
        Some(Json::String(name)) => {
            rights::refuse_long("job_name", name.as_bytes())?;
            name
        }
        Some(_) => return Err(Error::InvalidArgument("job_name must be text")),
    };
    let http = http::of_new_job(&mut given)?;
    let options = Options::read(merge(Document::new(), given)?, &Postgres)?;
    let mut document = authorize(&options, None)?;
    let text = options.text("schedule").unwrap_or_default();
    warn_if_passed(text, &check_schedule(text)?, options.text("timezone"));
    keep_named(&options, &document, Some(&name), |_| true)?;
    keep_request(http, &mut document, true)?;
    refuse_large(&document, None)?;
    let name = to_server(&name);
    stored::put(Some(ServerText::new(&name)), &guc::host(), settings::port(), &document)
}

/// Changes those options of a job that the patch names.
fn change(job: JobRef<'_>, mut patch: Json) -> Result<(), Error> {
    rights::refuse_in_recovery("cron.set_job()")?;
    let found = job.resolve()?;
    let no_such_job = || Error::NoSuchJob(found.jobid.to_string());
    let before = stored::get(found.jobid)?.ok_or_else(no_such_job)?;
    let is_request = |key: &&str| patch.get(*key).is_some();
    let new_request = KEYS.iter().any(is_request);
    let http = http::of_change(&before, &mut patch)?;
    let named: Vec<String> =
        patch.as_object().map(|p| p.keys().cloned().collect()).unwrap_or_default();
    let options = Options::read(merge(before.clone(), patch)?, &Postgres)?;
    let mut document = authorize(&options, Some(&before))?;
    let is_named = |name: &str| named.iter().any(|other| other == name);
    let text = options.text("schedule").unwrap_or_default();
    let schedule = if is_named("schedule") {
        Some(check_schedule(text)?)
    } else {
        // What is stored was checked when it was written; the zone may say now that it has passed.
        Schedule::parse(text).ok().filter(|_| is_named("timezone"))
    };
    if let Some(schedule) = schedule {
        warn_if_passed(text, &schedule, options.text("timezone"));
    }
    let name = before.get("jobname").and_then(Json::as_str);
    keep_named(&options, &document, name, is_named)?;
    keep_request(http, &mut document, new_request || is_named("username"))?;
    refuse_large(&document, Some(&before))?;
    if stored::set(found.jobid, &document)? { Ok(()) } else { Err(no_such_job()) }
}

/// Checks a job of a document that is to be created or, if there is one `before`, changed in the
/// options named, and returns what is to be stored. Who owns it stays; what it waits for is checked
/// with the other jobs of the document.
pub(super) fn prepare(
    options: &Options,
    http: Option<Http>,
    before: Option<&Document>,
    named: impl Fn(&str) -> bool,
) -> Result<Document, Error> {
    let mut document = authorize(options, before)?;
    let text = options.text("schedule").unwrap_or_default();
    if named("schedule") || named("timezone") {
        warn_if_passed(text, &check_schedule(text)?, options.text("timezone"));
    }
    keep_named(options, &document, None, |name| {
        named(name) && name != "run_after" && name != "username"
    })?;
    let new = KEYS.iter().any(|key| named(key));
    if new && http.is_some() {
        http::require_right()?;
    }
    keep_request(http, &mut document, new)?;
    refuse_large(&document, before)?;
    Ok(document)
}

/// Refuses a job that says too much, and more than `before`. What it sends has a bound of its own.
fn refuse_large(document: &Document, before: Option<&Document>) -> Result<(), Error> {
    let of = |value: &Json| match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(text) => text.len(),
        other => other.to_string().len(),
    };
    let said = || document.iter().filter(|(key, _)| *key != "http");
    let earlier = said().filter_map(|(key, _)| before?.get(key));
    rights::refuse_large(said().map(|(_, value)| of(value)).sum(), earlier.map(of).sum())
}

/// Checks the job's role and database against the caller's rights, as far as they are new, and
/// returns the options with all that has no NULL in its column.
fn authorize(options: &Options, before: Option<&Document>) -> Result<Document, Error> {
    let caller = current_user();
    let text = |name| options.text(name).map(to_server);
    let username = text("username").unwrap_or_else(|| caller.name().bytes().to_vec());
    let database = text("database").unwrap_or_else(rights::default_database);
    let old = |name| before.and_then(|row| row.get(name)).and_then(Json::as_str).map(to_server);
    let same_role = old("username").as_ref() == Some(&username);
    let same_database = old("database").as_ref() == Some(&database);
    if !same_role || !same_database {
        let role = if same_role { None } else { Some(rights::require_role(&caller, &username)?) };
        if !same_database {
            rights::require_reach(&caller, &database)?;
        }
        if let Some(role) = role.or(rights::role_oid(&username)?) {
            rights::require_connect(role, &username, &database)?;
        }
    }
    rights::refuse_superuser(&username)?;
    let mut document = options.document().clone();
    let fill = |document: &mut Document, name: &str, value: Vec<u8>| -> Result<(), Error> {
        if options.text(name).is_none() {
            document.insert(name.to_owned(), json::from_server(&value)?.into());
        }
        Ok(())
    };
    fill(&mut document, "username", username)?;
    fill(&mut document, "database", database)?;
    document.insert("active".to_owned(), options.flag("active").unwrap_or(true).into());
    Ok(document)
}

/// Makes sure that what the options named refer to by name is there, and may be used by the job's
/// role, and that its condition is one. A new role has to have the right to what the old one used.
fn keep_named(
    options: &Options,
    document: &Document,
    name: Option<&str>,
    named: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    keep_calendars(options, &named)?;
    if let Some(text) = options.text("run_if")
        && named("run_if")
    {
        condition::check(text)?;
    }
    let username = document.get("username").and_then(Json::as_str).unwrap_or_default();
    let username = to_server(username);
    let username = ServerText::new(&username);
    if (named("settings") || named("username"))
        && let Some(role) = rights::role_oid(username.bytes())?
    {
        presets::check(document, role)?;
    }
    if let Some(queue) = options.text("queue")
        && (named("queue") || named("username"))
    {
        queues::require(ServerText::new(&to_server(queue)), username)?;
    }
    if named("run_after") || named("username") {
        upstream::require(name, username, options.texts("run_after"))?;
    }
    Ok(())
}

/// Puts the job's request among its options. If it or the owner is new, the owner has to have the
/// right to its secrets, which then stay.
fn keep_request(http: Option<Http>, document: &mut Document, new: bool) -> Result<(), Error> {
    let Some(http) = http else { return Ok(()) };
    if new {
        let username = document.get("username").and_then(Json::as_str).unwrap_or_default();
        http.require_secrets(ServerText::new(&to_server(username)))?;
    }
    document.insert("http".to_owned(), http.document.into());
    Ok(())
}

/// Makes sure that the calendars in the options named exist, and stay.
fn keep_calendars(options: &Options, named: impl Fn(&str) -> bool) -> Result<(), Error> {
    for option in ["skip_on", "only_on"].into_iter().filter(|option| named(option)) {
        for name in options.texts(option) {
            if !calendar::keep(ServerText::new(&to_server(name)))? {
                return Err(Error::NoSuchCalendar(name.clone()));
            }
        }
    }
    Ok(())
}
