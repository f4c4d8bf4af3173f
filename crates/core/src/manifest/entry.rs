//! One job in canonical form.

use serde_json::{Value as Json, json};

use crate::http::document::{self, KEYS};
use crate::options::{Document, OPTIONS, Options, Server};

/// What a job has that does not say.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Its owner: who reads or writes the document.
    pub owner: &'a str,
    /// Its database.
    pub database: &'a str,
}

/// A job as a document describes it. Two that mean the same are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name; `None` if it has none.
    pub name: Option<String>,
    /// The role that owns it.
    pub owner: String,
    /// Its other options by their names, in canonical form and without defaults; of an HTTP job
    /// the parts of the request in place of `command`.
    pub options: Document,
}

impl Entry {
    pub(super) fn new(
        name: Option<String>,
        mut options: Document,
        http: Option<&Document>,
        site: Site<'_>,
    ) -> Self {
        let owner = match options.remove("username") {
            Some(Json::String(owner)) => owner,
            _ => site.owner.to_owned(),
        };
        options.retain(|key, value| match key.as_str() {
            "database" => value != site.database,
            "active" => value != true,
            "command" => http.is_none(),
            _ => true,
        });
        for (key, value) in http.into_iter().flatten() {
            if !is_default(key, value) {
                options.insert(key.clone(), value.clone());
            }
        }
        Self { name, owner, options }
    }

    /// The job of a row of `cron.job`, by the names of its columns. A row that nobody checked when
    /// it was written is taken as it is.
    #[must_use]
    pub fn of_row(row: &Document, server: &dyn Server, site: Site<'_>) -> Self {
        let is_option = |name: &str| OPTIONS.iter().any(|option| option.name == name);
        let stored: Document = row
            .iter()
            .filter(|(name, value)| is_option(name) && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let options = match Options::read(stored.clone(), server) {
            Ok(options) => options.canonical(),
            Err(_) => stored,
        };
        let http = row.get("http").and_then(Json::as_object);
        let request = http.map(|http| document::read(http).map_or_else(|_| http.clone(), |r| r.1));
        let name = row.get("jobname").and_then(Json::as_str).map(str::to_owned);
        Self::new(name, options, request.as_ref(), site)
    }

    /// The job as a document has it, with its owner or without.
    #[must_use]
    pub fn to_json(&self, with_owner: bool) -> Json {
        let mut job = self.options.clone();
        job.insert("job_name".to_owned(), self.name.clone().map_or(Json::Null, Json::String));
        if with_owner {
            job.insert("username".to_owned(), self.owner.clone().into());
        }
        Json::Object(job)
    }

    /// The names in one of its lists.
    pub fn names(&self, option: &str) -> impl Iterator<Item = &str> {
        self.options
            .get(option)
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
    }

    /// Whether it has one of these tags.
    #[must_use]
    pub fn has_tag_of(&self, tags: &[String]) -> bool {
        self.names("tags").any(|tag| tags.iter().any(|other| other == tag))
    }

    /// All there is to say of a job without a name.
    pub(super) fn whole(&self) -> String {
        self.to_json(true).to_string()
    }

    /// What a job without a name is known by: where, as whom and what it runs.
    pub(super) fn work(&self) -> String {
        let parts = ["database", "command", "method", "url"].map(|key| self.options.get(key));
        json!([self.owner, parts]).to_string()
    }
}

/// Whether a part of a request has its default.
fn is_default(key: &str, value: &Json) -> bool {
    match key {
        "method" => value == "POST",
        "headers" => *value == json!({}),
        "expect_status" => value == "200-299",
        "follow_redirects" => value == false,
        _ => value.is_null(),
    }
}

/// The names of all that a job in a document can have beside its name, in the order in which they
/// are spoken of.
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    let first = ["username", "schedule", "command"];
    let others = OPTIONS.iter().map(|option| option.name).filter(move |name| !first.contains(name));
    first.into_iter().chain(KEYS).chain(others)
}

/// The document that describes these jobs; `tags` if it is about those with these tags alone.
#[must_use]
pub fn write(mut jobs: Vec<Entry>, tags: Option<&[String]>, all_owners: bool) -> Json {
    let rest = |job: &Entry| Json::Object(job.options.clone()).to_string();
    jobs.sort_by(|one, other| {
        // A job without a name comes behind those that have one.
        let key = |job: &Entry| (job.name.is_none(), job.name.clone(), job.owner.clone());
        key(one).cmp(&key(other)).then_with(|| rest(one).cmp(&rest(other)))
    });
    let jobs: Vec<Json> = jobs.iter().map(|job| job.to_json(all_owners)).collect();
    let mut document = Document::new();
    document.insert("version".to_owned(), super::VERSION.into());
    document.insert("jobs".to_owned(), jobs.into());
    if let Some(tags) = tags {
        let mut tags = tags.to_vec();
        tags.sort();
        tags.dedup();
        document.insert("tags".to_owned(), tags.into());
    }
    if all_owners {
        document.insert("all_owners".to_owned(), true.into());
    }
    Json::Object(document)
}
