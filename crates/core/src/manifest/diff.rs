//! What has to be done so that jobs are as a document says.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value as Json;

use super::Entry;
use super::entry::fields;

/// A job that is there.
#[derive(Clone, Debug)]
pub struct Existing {
    /// Its id.
    pub id: i64,
    /// It, as it is compared.
    pub entry: Entry,
    /// The node it is for, if that is not this server.
    pub node: Option<String>,
}

/// What is to be done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there yet.
    Create,
    /// It is there, and not as it is to be.
    Update,
    /// It is there, and in no document.
    Remove,
}

impl Action {
    /// The word for it in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Remove => "remove",
        }
    }
}

/// One thing about a job that is to be otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The option.
    pub name: &'static str,
    /// What it is; `None` = its default.
    pub old: Option<String>,
    /// What it is to be; `None` = its default.
    pub new: Option<String>,
}

/// One job that is not as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is to be done.
    pub action: Action,
    /// Its place in the document, if it is in it.
    pub wanted: Option<usize>,
    /// Its place among those that are there, if it is.
    pub existing: Option<usize>,
    /// What is to be otherwise, at least one.
    pub fields: Vec<Field>,
}

/// What has to be done, in the order of the document, removals last. `goes`: whether a job goes
/// that is not in it.
pub fn compare(
    wanted: &[&Entry],
    existing: &[Existing],
    goes: impl Fn(&Existing) -> bool,
) -> Vec<Change> {
    let partners = pair(wanted, existing);
    let mut changes = Vec::new();
    for (place, (new, partner)) in wanted.iter().zip(&partners).enumerate() {
        let old = partner.and_then(|partner| existing.get(partner));
        let fields = differences(old, Some(new));
        if old.is_none() || !fields.is_empty() {
            let action = if old.is_some() { Action::Update } else { Action::Create };
            changes.push(Change { action, wanted: Some(place), existing: *partner, fields });
        }
    }
    let stays: HashSet<usize> = partners.into_iter().flatten().collect();
    let mut removed: Vec<(usize, &Existing)> = existing.iter().enumerate().collect();
    removed.retain(|(place, job)| !stays.contains(place) && goes(job));
    removed.sort_by_key(|(_, job)| (job.entry.name.is_none(), job.entry.name.clone(), job.id));
    changes.extend(removed.into_iter().map(|(place, job)| Change {
        action: Action::Remove,
        wanted: None,
        existing: Some(place),
        fields: differences(Some(job), None),
    }));
    changes
}

/// For each wanted job the place of the one that is to become it.
fn pair(wanted: &[&Entry], existing: &[Existing]) -> Vec<Option<usize>> {
    let named: HashMap<_, usize> = existing
        .iter()
        .enumerate()
        .filter_map(|(place, job)| Some(((job.entry.name.as_ref()?, &job.entry.owner), place)))
        .collect();
    let mut partners: Vec<Option<usize>> =
        wanted.iter().map(|new| named.get(&(new.name.as_ref()?, &new.owner)).copied()).collect();
    // Of the jobs without a name, those that are as they are to be are paired first, so that they
    // are left alone.
    let mut taken = HashSet::new();
    for key in [Entry::whole, Entry::work] {
        let mut free: HashMap<String, VecDeque<usize>> = HashMap::new();
        for (place, job) in existing.iter().enumerate() {
            // Of a job of another server nothing is known that could be compared.
            if job.entry.name.is_none() && job.node.is_none() && !taken.contains(&place) {
                free.entry(key(&job.entry)).or_default().push_back(place);
            }
        }
        for (new, partner) in wanted.iter().zip(&mut partners) {
            if new.name.is_none() && partner.is_none() {
                *partner = free.get_mut(&key(new)).and_then(VecDeque::pop_front);
                taken.extend(*partner);
            }
        }
    }
    partners
}

/// What two jobs differ in. One that is not there has nothing, not even an owner.
fn differences(old: Option<&Existing>, new: Option<&Entry>) -> Vec<Field> {
    let value = |entry: Option<&Entry>, name: &str| match name {
        "username" => entry.map(|entry| entry.owner.clone()),
        _ => entry.and_then(|entry| entry.options.get(name)).map(shown),
    };
    let entry = old.map(|old| &old.entry);
    let mut found: Vec<Field> = fields()
        .map(|name| Field { name, old: value(entry, name), new: value(new, name) })
        .filter(|field| field.old != field.new)
        .collect();
    if let Some(node) = old.and_then(|old| old.node.clone()).filter(|_| new.is_some()) {
        found.push(Field { name: "nodename", old: Some(node), new: None });
    }
    found
}

/// A value as people read it: text as it is, everything else as JSON.
#[must_use]
pub fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
