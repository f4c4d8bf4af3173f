//! `cron.export_jobs` and `cron.apply_jobs`: jobs as a document that can be kept in version control.
//!
//! Owns the rules of an apply: all of a document is checked before anything is written; whoever
//! applies it has the rights that creating and changing each of its jobs one by one would take; a
//! job that is as it is to be is not touched; and only jobs of the caller are removed, unless a
//! superuser applies a document that says that it is about the jobs of all roles.

use std::collections::HashSet;

use pg_tock_core::manifest::{
    self, Action, Change, Entry, Existing, Flaw, Manifest, Path, Site, Wanted,
};
use pg_tock_core::options::Document;
use pgrx::datum::{Array, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value as Json;

use crate::catalog::manifest as stored;
use crate::catalog::{job, options, role};
use crate::error::{Error, HttpError, SqlResult};
use crate::guc;
use crate::pg::identity::{CurrentUser, current_user, is_superuser};
use crate::pg::json::{self, Jsonb, from_server, to_server};
use crate::pg::settings;
use crate::pg::text::ServerText;

use super::http::Http;
use super::options::{Postgres, prepare};
use super::outlook::Calendars;
use super::preview::timestamptz;
use super::{manifest_outlook as outlook, rights, upstream};

#[pg_extern(sql = false)]
fn cron_export_jobs(tags: Option<Array<'_, &[u8]>>) -> SqlResult<Jsonb> {
    Ok(export(tags.as_ref())?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_apply_jobs(
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<
    TableIterator<
        'static,
        (
            name!(action, &'static str),
            name!(job_name, Option<Vec<u8>>),
            name!(field, &'static str),
            name!(old, Option<Vec<u8>>),
            name!(new, Option<Vec<u8>>),
            name!(next_run_before, Option<TimestampWithTimeZone>),
            name!(next_run_after, Option<TimestampWithTimeZone>),
        ),
    >,
    ErrorReport,
> {
    let document = json::document(fcinfo, 0).ok_or(Error::Null("doc"))?;
    let document = document.map_err(|(path, error)| Error::from(Flaw::unread(path, &error)))?;
    // SAFETY: its second and third arguments are booleans.
    let flag = |place| unsafe { pgrx::fcinfo::pg_getarg::<bool>(fcinfo, place) };
    let prune = flag(1).ok_or(Error::Null("prune"))?;
    let dry_run = flag(2).ok_or(Error::Null("dry_run"))?;
    Ok(TableIterator::new(apply(document, prune, dry_run)?))
}

type Row = (
    &'static str,
    Option<Vec<u8>>,
    &'static str,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
);

/// What jobs have that do not say.
struct Here {
    owner: String,
    database: String,
}

impl Here {
    fn new(caller: &CurrentUser) -> Result<Self, Error> {
        let owner = from_server(caller.name().bytes())?;
        Ok(Self { owner, database: from_server(&rights::default_database())? })
    }

    fn site(&self) -> Site<'_> {
        Site { owner: &self.owner, database: &self.database }
    }

    /// The jobs of a role, or all of them.
    fn jobs(&self, owner: Option<&str>) -> Result<Vec<Existing>, Error> {
        let owner = owner.map(to_server);
        let rows = stored::rows(owner.as_deref().map(ServerText::new))?;
        Ok(rows.into_iter().map(|(id, row)| self.existing(id, &row)).collect())
    }

    fn existing(&self, id: i64, row: &Document) -> Existing {
        let node = row.get("nodename").and_then(Json::as_str).unwrap_or_default();
        Existing {
            id,
            entry: Entry::of_row(row, &Postgres, self.site()),
            node: (!guc::is_local_node(node)).then(|| node.to_owned()),
        }
    }
}

fn export(tags: Option<&Array<'_, &[u8]>>) -> Result<Jsonb, Error> {
    let tags = match tags {
        None => None,
        Some(tags) => {
            let text = |tag: Option<&[u8]>| tag.map(from_server).ok_or(Error::Null("a tag"));
            let tags: Result<Result<Vec<_>, _>, _> = tags.iter().map(text).collect();
            Some(tags??)
        }
    };
    if tags.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::Empty("tags"));
    }
    let here = Here::new(&current_user())?;
    let all = is_superuser();
    let mut jobs = here.jobs(if all { None } else { Some(&here.owner) })?;
    // Those of other servers do not run here, and must not begin to because somebody restores them.
    jobs.retain(|job| {
        job.node.is_none() && tags.as_ref().is_none_or(|tags| job.entry.has_tag_of(tags))
    });
    let entries = jobs.into_iter().map(|job| job.entry).collect();
    Jsonb::new(&manifest::write(entries, tags.as_deref(), all)).ok_or(Error::NoRow)
}

fn apply(document: Json, prune: bool, dry_run: bool) -> Result<Vec<Row>, Error> {
    rights::refuse_in_recovery("cron.apply_jobs()")?;
    let caller = current_user();
    let here = Here::new(&caller)?;
    let manifest = manifest::read(document, &Postgres, here.site())?;
    let existing = find(&manifest, &here, &caller, prune)?;
    let wanted: Vec<&Entry> = manifest.jobs.iter().map(|job| &job.entry).collect();
    let all_owners = manifest.all_owners && is_superuser();
    let changes = manifest::compare(&wanted, &existing, |job| {
        prune
            && job.node.is_none()
            && (all_owners || job.entry.owner == here.owner)
            && (manifest.tags.is_empty() || job.entry.has_tag_of(&manifest.tags))
    });
    let apply =
        Apply { here, manifest: &manifest, existing: &existing, changes: &changes, dry_run };
    let documents = apply.check(&wanted)?;
    let mut calendars = Calendars::default();
    let before = changes.iter().map(|change| match apply.existing(change) {
        Some(old) => outlook::before(old.id, &mut calendars),
        None => Ok(None),
    });
    let before: Vec<Option<outlook::Before>> = before.collect::<Result<_, Error>>()?;
    let ids = if dry_run { vec![None; changes.len()] } else { apply.write(&documents)? };
    let mut rows = Vec::new();
    for ((change, before), id) in changes.iter().zip(&before).zip(ids) {
        let after = match apply.wanted(change) {
            Some(new) => outlook::after(new, change, before.as_ref(), id, &mut calendars)?,
            None => None,
        };
        let next = [before.as_ref().and_then(|before| before.next), after];
        let [next_before, next_after] = next.map(|at| at.and_then(timestamptz));
        let name = apply.entry(change).and_then(|entry| entry.name.as_deref()).map(to_server);
        let text = |value: &Option<String>| value.as_deref().map(to_server);
        rows.extend(change.fields.iter().map(|field| {
            let (old, new) = (text(&field.old), text(&field.new));
            (change.action.as_str(), name.clone(), field.name, old, new, next_before, next_after)
        }));
    }
    Ok(rows)
}

/// The jobs a document may be about. The caller has to have the right to change them.
fn find(
    manifest: &Manifest,
    here: &Here,
    caller: &CurrentUser,
    prune: bool,
) -> Result<Vec<Existing>, Error> {
    let mut owners: Vec<&str> = Vec::new();
    for (place, Wanted { entry, .. }) in manifest.jobs.iter().enumerate() {
        if !owners.contains(&entry.owner.as_str()) {
            require_owner(caller, &entry.owner).map_err(|error| locate(error, place, manifest))?;
            owners.push(&entry.owner);
        }
    }
    if !prune {
        return owned_by(&owners, here);
    }
    if manifest.all_owners && is_superuser() {
        return here.jobs(None);
    }
    if !owners.contains(&here.owner.as_str()) {
        owners.push(&here.owner);
    }
    owned_by(&owners, here)
}

fn owned_by(owners: &[&str], here: &Here) -> Result<Vec<Existing>, Error> {
    let mut found = Vec::new();
    for owner in owners {
        found.extend(here.jobs(Some(owner))?);
    }
    Ok(found)
}

/// Whether the caller may have and change jobs of this role. For a superuser that need not exist
/// any more: its jobs are there.
fn require_owner(caller: &CurrentUser, owner: &str) -> Result<(), Error> {
    let name = to_server(owner);
    let name = ServerText::new(&name);
    if is_superuser() || name == caller.name() {
        return Ok(());
    }
    let role = role::role(name)?.ok_or_else(|| Error::NoSuchRole(owner.to_owned()))?;
    if role::may_become(caller.oid, role.oid)? {
        Ok(())
    } else {
        Err(Error::RoleDenied(owner.to_owned()))
    }
}

/// An error about a job of the document, with the place where it says so.
fn locate(error: Error, place: usize, manifest: &Manifest) -> Error {
    let mut path = Path::job(place);
    if let Some(job) = manifest.jobs.get(place)
        && let Some(option) = option_of(&error, job)
        && job.keys.iter().any(|key| key == option)
    {
        path = path.member(option);
        if let Error::Http(HttpError::NoSuchSecret(name) | HttpError::SecretDenied { name, .. }) =
            &error
            && let Some(Json::Object(headers)) = job.http.as_ref().and_then(|http| http.get(option))
            && let Some((header, _)) = headers.iter().find(|(_, value)| names_secret(value, name))
        {
            path = path.member(header);
        }
        if let Error::NoSuchCalendar(name) = &error
            && let Some(item) = job.entry.names(option).position(|other| other == name)
        {
            path = path.item(item);
        }
    }
    Error::At { path, error: Box::new(error) }
}

/// Whether a part of a request names a secret.
fn names_secret(part: &Json, name: &str) -> bool {
    part.to_string().contains(&format!("{{{{secret:{name}}}}}"))
}

/// The option of a job that an error is about.
fn option_of<'a>(error: &Error, job: &'a Wanted) -> Option<&'a str> {
    let entry = &job.entry;
    Some(match error {
        Error::InvalidSchedule { .. } | Error::InvalidTimeZone { .. } => "schedule",
        Error::Condition { .. } => "run_if",
        Error::NoSuchQueue(_) | Error::QueueDenied { .. } => "queue",
        Error::NoSuchRole(_)
        | Error::RoleBarred(_)
        | Error::RoleDenied(_)
        | Error::SuperuserJob => "username",
        Error::OtherDatabase(_) | Error::DatabaseMissing(_) | Error::NoConnect { .. } => "database",
        Error::NoSuchCalendar(name) if entry.names("skip_on").any(|other| other == name) => {
            "skip_on"
        }
        Error::NoSuchCalendar(_) => "only_on",
        Error::Http(HttpError::Denied) => "url",
        Error::Http(HttpError::NoSuchSecret(name) | HttpError::SecretDenied { name, .. }) => {
            let parts = job.http.iter().flatten();
            parts.into_iter().find(|(_, part)| names_secret(part, name))?.0.as_str()
        }
        _ => return None,
    })
}

/// A document that was read and compared.
struct Apply<'a> {
    here: Here,
    manifest: &'a Manifest,
    existing: &'a [Existing],
    changes: &'a [Change],
    dry_run: bool,
}

impl<'a> Apply<'a> {
    fn wanted(&self, change: &Change) -> Option<&'a Wanted> {
        self.manifest.jobs.get(change.wanted?)
    }

    fn existing(&self, change: &Change) -> Option<&'a Existing> {
        self.existing.get(change.existing?)
    }

    fn entry(&self, change: &Change) -> Option<&'a Entry> {
        let new = self.wanted(change).map(|job| &job.entry);
        new.or_else(|| self.existing(change).map(|job| &job.entry))
    }

    /// Makes sure that every change may be made, and returns what is to be stored for each.
    fn check(&self, wanted: &[&Entry]) -> Result<Vec<Document>, Error> {
        self.check_upstreams(wanted)?;
        let mut documents = Vec::with_capacity(self.changes.len());
        for change in self.changes {
            documents.push(match (self.wanted(change), change.wanted) {
                (Some(new), Some(place)) => self
                    .check_one(change, new)
                    .map_err(|error| locate(error, place, self.manifest))?,
                _ => Document::new(),
            });
        }
        Ok(documents)
    }

    fn check_one(&self, change: &Change, new: &Wanted) -> Result<Document, Error> {
        let before = match self.existing(change) {
            Some(old) => Some(self.unchanged(old)?),
            None => None,
        };
        let named = |name: &str| change.fields.iter().any(|field| field.name == name);
        let http = new.http.as_ref().map(Http::read).transpose()?;
        prepare(&new.options, http, before.as_ref(), named)
    }

    /// The row of a job, which is still the one that was compared. If it is to be changed, it stays
    /// so until then.
    fn unchanged(&self, old: &Existing) -> Result<Document, Error> {
        let row = if self.dry_run { stored::one(old.id)? } else { stored::lock(old.id)? };
        let row = row.filter(|row| self.here.existing(old.id, row).entry == old.entry);
        row.ok_or(Error::JobChanged(old.id))
    }

    /// Whether jobs wait for jobs there will be: those that are new or wait for others than before,
    /// and those that wait for one that goes.
    fn check_upstreams(&self, wanted: &[&Entry]) -> Result<(), Error> {
        let gone: HashSet<(&str, &str)> = self
            .changes
            .iter()
            .filter(|change| change.action == Action::Remove)
            .filter_map(|change| self.entry(change))
            .filter_map(|entry| Some((entry.owner.as_str(), entry.name.as_deref()?)))
            .collect();
        let matched: HashSet<usize> =
            self.changes.iter().filter_map(|change| change.existing).collect();
        let others: Vec<&Entry> = self
            .existing
            .iter()
            .enumerate()
            .filter(|(place, _)| !matched.contains(place))
            .map(|(_, job)| &job.entry)
            .collect();
        let waits_anew: HashSet<usize> = self
            .changes
            .iter()
            .filter(|change| change.fields.iter().any(|field| field.name == "run_after"))
            .filter_map(|change| change.wanted)
            .collect();
        let checked = |place: usize, entry: &Entry| {
            waits_anew.contains(&place)
                || entry.names("run_after").any(|name| gone.contains(&(entry.owner.as_str(), name)))
        };
        let upset = match manifest::check_upstreams(wanted, &others, checked) {
            Ok(()) => return Ok(()),
            Err(upset) => upset,
        };
        let entry = wanted.get(upset.job);
        let name = entry.and_then(|entry| entry.names("run_after").nth(upset.item));
        let (name, role) = (name.unwrap_or_default().to_owned(), entry.map(|e| e.owner.clone()));
        let error = if upset.way.is_empty() {
            Error::NoUpstream { name, role: role.unwrap_or_default() }
        } else {
            let job = entry.and_then(|entry| entry.name.clone()).unwrap_or_default();
            Error::Cycle { job, way: upset.way }
        };
        let path = Path::job(upset.job).member("run_after").item(upset.item);
        Err(Error::At { path, error: Box::new(error) })
    }

    /// Makes the changes, and returns the ids of the jobs.
    fn write(&self, documents: &[Document]) -> Result<Vec<Option<i64>>, Error> {
        let mut ids = Vec::with_capacity(self.changes.len());
        for (change, document) in self.changes.iter().zip(documents) {
            ids.push(match (self.wanted(change), self.existing(change)) {
                (Some(_), Some(old)) if old.node.is_none() => {
                    options::set(old.id, document)?.then_some(old.id)
                }
                (Some(new), _) => {
                    let name = new.entry.name.as_deref().map(to_server);
                    let name = name.as_deref().map(ServerText::new);
                    Some(options::put(name, &guc::host(), settings::port(), document)?)
                }
                (None, Some(old)) => {
                    self.unchanged(old)?;
                    job::delete(old.id)?.then_some(old.id)
                }
                (None, None) => None,
            });
        }
        // Once all are written, so that they may come in any order; now those they wait for stay as
        // they are until the transaction ends.
        for change in self.changes {
            let Some(Wanted { entry, .. }) = self.wanted(change) else { continue };
            if change.fields.iter().any(|field| field.name == "run_after") {
                let names: Vec<String> = entry.names("run_after").map(str::to_owned).collect();
                let owner = to_server(&entry.owner);
                upstream::require(entry.name.as_deref(), ServerText::new(&owner), &names)?;
            }
        }
        Ok(ids)
    }
}
