//! Reading a document of jobs.

use serde_json::Value as Json;

use crate::http::document::{self, KEYS};
use crate::options::{
    Document, MOST_NAME, OPTIONS, OptionError, Options, Part, Server, wrong_part,
};
use crate::quote::excerpt;

use super::entry::fields;
use super::{Entry, Flaw, Manifest, Path, Problem, Site, VERSION, Wanted};

/// The keys of a document.
const TOP: [&str; 4] = ["version", "tags", "all_owners", "jobs"];

/// Reads a document, and checks every option of every job.
///
/// # Errors
/// The first thing that is wrong, in the order of the document.
pub fn read(document: Json, server: &dyn Server, site: Site<'_>) -> Result<Manifest, Flaw> {
    let root = Path::root();
    let Json::Object(mut document) = document else {
        return Err(wrong(&root, "an object", &document));
    };
    if let Some(stranger) = document.keys().find(|key| !TOP.contains(&key.as_str())) {
        let problem = format!("there is no key \"{}\"", excerpt(stranger));
        let hint = format!("The keys of the document are {}.", TOP.join(", "));
        return Err(Flaw::form(root.member(stranger), problem, hint));
    }
    check_version(&document)?;
    let tags = tags(&document)?;
    let all_owners = match document.get("all_owners") {
        None | Some(Json::Null) => false,
        Some(Json::Bool(all)) => *all,
        Some(other) => return Err(wrong(&root.member("all_owners"), "true or false", other)),
    };
    let list = match document.remove("jobs") {
        Some(Json::Array(list)) => list,
        None => {
            let hint = "Without a job it is an empty list.";
            return Err(Flaw::form(root, "it has no key \"jobs\"", hint));
        }
        Some(other) => return Err(wrong(&root.member("jobs"), "a list", &other)),
    };
    let mut jobs: Vec<Wanted> = Vec::with_capacity(list.len());
    for (place, given) in list.into_iter().enumerate() {
        let job = job(given, &Path::job(place), server, site)?;
        if !tags.is_empty() && !job.entry.has_tag_of(&tags) {
            let problem = "it has none of the document's tags";
            let hint = "Give it one of them, or leave \"tags\" out of the document.";
            return Err(Flaw::form(Path::job(place), problem, hint));
        }
        jobs.push(job);
    }
    refuse_twins(&jobs)?;
    Ok(Manifest { tags, all_owners, jobs })
}

fn wrong(path: &Path, expected: &str, given: &Json) -> Flaw {
    let problem = format!("it must be {expected}, not {}", crate::options::type_name(given));
    Flaw::form(path.clone(), problem, "")
}

fn check_version(document: &Document) -> Result<(), Flaw> {
    match document.get("version") {
        None | Some(Json::Null) => Ok(()),
        Some(version) if version.as_u64() == Some(VERSION) => Ok(()),
        Some(other) => {
            let problem = format!("version {} is not known", excerpt(&other.to_string()));
            let hint = format!("This release reads version {VERSION}.");
            Err(Flaw::form(Path::root().member("version"), problem, hint))
        }
    }
}

fn tags(document: &Document) -> Result<Vec<String>, Flaw> {
    let path = Path::root().member("tags");
    let list = match document.get("tags") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(list)) if !list.is_empty() => list,
        Some(Json::Array(_)) => {
            let hint = "Leave it out if the document is about jobs with any tags.";
            return Err(Flaw::form(path, "it must not be empty", hint));
        }
        Some(other) => return Err(wrong(&path, "a list of texts", other)),
    };
    let text = |(place, tag): (usize, &Json)| match tag.as_str() {
        Some(tag) => Ok(tag.to_owned()),
        None => Err(wrong(&path.item(place), "a text", tag)),
    };
    list.iter().enumerate().map(text).collect()
}

fn job(given: Json, path: &Path, server: &dyn Server, site: Site<'_>) -> Result<Wanted, Flaw> {
    let Json::Object(mut given) = given else { return Err(wrong(path, "an object", &given)) };
    if let Some(stranger) = given.keys().find(|key| !is_key(key)) {
        let problem = format!("unknown option \"{}\"", excerpt(stranger));
        let names: Vec<&str> = fields().collect();
        let hint = format!("The keys of a job are job_name, {}.", names.join(", "));
        return Err(Flaw::form(path.member(stranger), problem, hint));
    }
    let keys: Vec<String> = given.keys().cloned().collect();
    let name = name(&mut given, path)?;
    let http = request(&mut given, path)?;
    given.retain(|_, value| !value.is_null());
    let options = Options::read(given.clone(), server).map_err(|error| Flaw {
        path: match named(&error).filter(|name| keys.iter().any(|key| key == name)) {
            Some(name) => of_option(path, name, given.get(name), server),
            None => path.clone(),
        },
        problem: Problem::Option(error),
    })?;
    let entry = Entry::new(name, options.canonical(), http.as_ref(), site);
    Ok(Wanted { entry, options, http, keys })
}

/// Where an option stands, or the part of its value that is wrong.
fn of_option(job: &Path, name: &str, given: Option<&Json>, server: &dyn Server) -> Path {
    let path = job.member(name);
    match given.and_then(|given| wrong_part(name, given, server)) {
        Some(Part::Item(place)) => path.item(place),
        Some(Part::Member(member)) => path.member(&member),
        None => path,
    }
}

fn is_key(key: &str) -> bool {
    key == "job_name" || KEYS.contains(&key) || OPTIONS.iter().any(|option| option.name == key)
}

/// The option an error speaks of.
fn named(error: &OptionError) -> Option<&str> {
    match error {
        OptionError::WrongType { option, .. }
        | OptionError::Invalid { option, .. }
        | OptionError::Required(option)
        | OptionError::Conflict { first: option, .. } => Some(option),
        OptionError::Unknown(option) => Some(option),
        OptionError::NotAnObject(_) => None,
    }
}

fn name(given: &mut Document, path: &Path) -> Result<Option<String>, Flaw> {
    match given.remove("job_name") {
        Some(Json::Null) => Ok(None),
        Some(Json::String(name)) if name.len() > MOST_NAME => {
            let problem = format!("job_name must not be longer than {MOST_NAME} bytes");
            Err(Flaw::form(path.member("job_name"), problem, ""))
        }
        Some(Json::String(name)) if !name.trim().is_empty() => Ok(Some(name)),
        Some(Json::String(_)) => {
            Err(Flaw::form(path.member("job_name"), "job_name must not be empty", ""))
        }
        Some(other) => Err(wrong(&path.member("job_name"), "a text or null", &other)),
        None => {
            let hint = "A job that has no name says \"job_name\": null.";
            Err(Flaw::form(path.clone(), "it has no key \"job_name\"", hint))
        }
    }
}

/// The request among the keys of a job, of which it is taken out; `command` is put in its place.
fn request(given: &mut Document, path: &Path) -> Result<Option<Document>, Flaw> {
    let is_named = |options: &Document, key: &str| options.get(key).is_some_and(|v| !v.is_null());
    let has_command = is_named(given, "command");
    let parts = document::take(given);
    let Some(first) = KEYS.into_iter().find(|key| is_named(&parts, key)) else { return Ok(None) };
    if !is_named(&parts, "url") {
        let problem = format!("option \"{first}\" is for HTTP jobs");
        return Err(Flaw::form(path.member(first), problem, "An HTTP job has a url."));
    }
    if has_command {
        let problem = "an HTTP job has no command of its own";
        let hint = "A job has either a url or a command.";
        return Err(Flaw::form(path.member("command"), problem, hint));
    }
    let (request, http) = document::read(&parts).map_err(|refused| {
        let part = refused.argument();
        let path = if is_named(&parts, part) { path.member(part) } else { path.clone() };
        Flaw { path, problem: Problem::Request(refused) }
    })?;
    given.insert("command".to_owned(), request.command().into());
    Ok(Some(http))
}

/// An owner has one job of a name.
fn refuse_twins(jobs: &[Wanted]) -> Result<(), Flaw> {
    let mut seen = std::collections::HashMap::new();
    for (place, Wanted { entry, .. }) in jobs.iter().enumerate() {
        let Some(name) = &entry.name else { continue };
        if let Some(first) = seen.insert((name, &entry.owner), place) {
            let path = Path::job(place).member("job_name");
            let problem = format!("job \"{}\" is there twice", excerpt(name));
            let hint = format!("{} has the same name and owner.", Path::job(first));
            return Err(Flaw::form(path, problem, hint));
        }
    }
    Ok(())
}
