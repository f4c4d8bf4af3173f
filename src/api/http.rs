//! Jobs that call a URL: what `cron.create_job`, `cron.set_job` and the trigger of `cron.job` check
//! of a request.
//!
//! Owns the rule: whatever way a request takes into `cron.job`, whoever writes it has EXECUTE on
//! `cron.create_http_job`, it can be sent, and `command` says what it is. Its secrets exist and the
//! job's owner may use them; a superuser's INSERT, such as that of a restore, may come before them.

use pg_tock_core::http::document;
use pg_tock_core::http::request::Request;
use pg_tock_core::options::Document;
use pgrx::prelude::*;
use serde_json::Value as Json;

use crate::catalog::{role, secret};
use crate::error::{Error, HttpError, SqlResult};
use crate::pg::identity::{current_user, is_superuser};
use crate::pg::json::{self, to_server};
use crate::pg::text::ServerText;
use crate::pg::trigger::{self, NewRow, Row};

/// The request of a job that is being written.
pub(super) struct Http {
    /// What goes to the column.
    pub(super) document: Document,
    /// None: it is what it was.
    request: Option<Request>,
}

impl Http {
    /// A request by its parts, which are checked.
    pub(super) fn read(parts: &Document) -> Result<Self, HttpError> {
        let (request, document) = document::read(parts)?;
        Ok(Self { document, request: Some(request) })
    }

    /// Makes sure that the owner may use the secrets the request names, and that they stay.
    pub(super) fn require_secrets(&self, owner: ServerText<'_>) -> Result<(), Error> {
        match &self.request {
            Some(request) => require_secrets(request, owner),
            None => match document::read(&self.document) {
                Ok((request, _)) => require_secrets(&request, owner),
                // It was valid once, and its runs say what is wrong now.
                Err(_) => Ok(()),
            },
        }
    }
}

/// The request among the options of a new job, of which it is taken out; `command` is put in its
/// place. None if the job runs SQL.
pub(super) fn of_new_job(given: &mut Json) -> Result<Option<Http>, Error> {
    let Some(options) = given.as_object_mut() else { return Ok(None) };
    let is_named = |options: &Document, key: &str| options.get(key).is_some_and(|v| !v.is_null());
    let has_command = is_named(options, "command");
    let parts = document::take(options);
    let Some(first) = first_named(&parts) else { return Ok(None) };
    if !is_named(&parts, "url") {
        let error = if has_command { HttpError::NotHttp(first) } else { HttpError::NoUrl };
        return Err(error.into());
    }
    if has_command {
        return Err(HttpError::Command.into());
    }
    require_right()?;
    let http = Http::read(&parts)?;
    put_command(options, &http);
    Ok(Some(http))
}

/// As [`of_new_job`], for a change of the job whose row is `before`.
pub(super) fn of_change(before: &Document, patch: &mut Json) -> Result<Option<Http>, Error> {
    let old = before.get("http").and_then(Json::as_object);
    let Some(options) = patch.as_object_mut() else {
        return Ok(old.map(|old| Http { document: old.clone(), request: None }));
    };
    let parts = document::take(options);
    let Some(old) = old else {
        let first = document::KEYS.into_iter().find(|key| parts.contains_key(*key));
        return first.map_or(Ok(None), |key| Err(HttpError::NotHttp(key).into()));
    };
    if options.contains_key("command") {
        return Err(HttpError::Command.into());
    }
    if parts.is_empty() {
        return Ok(Some(Http { document: old.clone(), request: None }));
    }
    require_right()?;
    let mut merged = old.clone();
    merged.extend(parts);
    if merged.get("url").is_none_or(Json::is_null) {
        return Err(HttpError::NoUrl.into());
    }
    let http = Http::read(&merged)?;
    put_command(options, &http);
    Ok(Some(http))
}

fn first_named(parts: &Document) -> Option<&'static str> {
    document::KEYS.into_iter().find(|key| parts.get(*key).is_some_and(|value| !value.is_null()))
}

fn put_command(options: &mut Document, http: &Http) {
    let command = http.request.as_ref().map(Request::command).unwrap_or_default();
    options.insert("command".to_owned(), command.into());
}

/// Whether the caller may have jobs that call URLs.
pub(super) fn require_right() -> Result<(), Error> {
    if is_superuser() || role::may_call_urls(current_user().oid)? {
        Ok(())
    } else {
        Err(HttpError::Denied.into())
    }
}

fn require_secrets(request: &Request, owner: ServerText<'_>) -> Result<(), Error> {
    let oid = role::role(owner)?.map_or(pg_sys::InvalidOid, |role| role.oid);
    for name in request.secrets() {
        match secret::may_use(ServerText::new(name.as_bytes()), oid)? {
            Some(true) => {}
            Some(false) => {
                let role = owner.readable().into_owned();
                return Err(HttpError::SecretDenied { name: name.to_owned(), role }.into());
            }
            None => return Err(HttpError::NoSuchSecret(name.to_owned()).into()),
        }
    }
    Ok(())
}

/// `cron.check_http_job()`, the trigger before a row with a request is written to `cron.job`.
#[pg_extern(sql = false)]
fn cron_check_http_job(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Row> {
    Ok(check_row(trigger::new_row(fcinfo).ok_or(Error::NotATrigger)?)?)
}

fn check_row(row: NewRow<'_>) -> Result<Row, Error> {
    let Some(http) = row.value(c"http") else { return Ok(row.unchanged()) };
    if row.is_as_before(c"http") {
        if !row.is_as_before(c"command") {
            return Err(HttpError::Command.into());
        }
        if row.is_as_before(c"username") {
            return Ok(row.unchanged());
        }
    }
    require_right()?;
    let http = json::value(http)?;
    let (request, document) = match http {
        Json::Object(parts) => document::read(&parts).map_err(HttpError::from)?,
        _ => return Err(HttpError::NoUrl.into()),
    };
    if !is_superuser() {
        require_secrets(&request, ServerText::new(row.text(c"username").unwrap_or_default()))?;
    }
    let command = to_server(&request.command());
    let (http, command) = (json::datum(&Json::Object(document)), command.as_slice().into_datum());
    Ok(row.with(&[(c"http", http), (c"command", command)]))
}

/// `cron.secrets_named(http jsonb)`.
#[pg_extern(sql = false)]
fn cron_secrets_named(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Vec<String>> {
    let http = json::argument(fcinfo, 0).and_then(Result::ok).unwrap_or_default();
    let request = http.as_object().and_then(|parts| document::read(parts).ok());
    let names = request.iter().flat_map(|(request, _)| request.secrets());
    Ok(names.map(str::to_owned).collect())
}
