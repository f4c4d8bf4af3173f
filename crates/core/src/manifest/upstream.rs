//! Whether jobs can wait for one another as they will say they do.

use std::collections::{HashMap, HashSet};

use super::Entry;

/// Why a job cannot wait for one of those it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upset {
    /// Its place in the document.
    pub job: usize,
    /// The place in its list of the one it cannot wait for.
    pub item: usize,
    /// The way from that one back to the job; empty if there is no such job.
    pub way: Vec<String>,
}

/// Makes sure that every job of the document waits for jobs there will be, and none for itself.
/// `wanted`: the jobs of the document; `checked` says which of them are looked at. `others`: those
/// that stay as they are.
///
/// # Errors
/// The first that does not.
pub fn check_upstreams(
    wanted: &[&Entry],
    others: &[&Entry],
    checked: impl Fn(usize, &Entry) -> bool,
) -> Result<(), Upset> {
    let mut jobs: HashMap<(&str, &str), &Entry> = HashMap::new();
    for entry in others.iter().chain(wanted) {
        if let Some(name) = &entry.name {
            jobs.insert((&entry.owner, name), entry);
        }
    }
    for (job, entry) in wanted.iter().enumerate().filter(|(job, entry)| checked(*job, entry)) {
        for (item, first) in entry.names("run_after").enumerate() {
            if !jobs.contains_key(&(entry.owner.as_str(), first)) {
                return Err(Upset { job, item, way: Vec::new() });
            }
            if let Some(way) = way_back(entry, first, &jobs) {
                return Err(Upset { job, item, way });
            }
        }
    }
    Ok(())
}

/// How one comes from a job that is waited for to the one that waits.
fn way_back(
    entry: &Entry,
    first: &str,
    jobs: &HashMap<(&str, &str), &Entry>,
) -> Option<Vec<String>> {
    let name = entry.name.as_deref()?;
    let mut seen: HashSet<String> = HashSet::new();
    let mut next = vec![vec![first.to_owned()]];
    while let Some(way) = next.pop() {
        let last = way.last()?;
        if last == name {
            return Some(way);
        }
        if !seen.insert(last.clone()) {
            continue;
        }
        let upstream = jobs.get(&(entry.owner.as_str(), last.as_str()));
        next.extend(upstream.into_iter().flat_map(|job| job.names("run_after")).map(|name| {
            let mut longer = way.clone();
            longer.push(name.to_owned());
            longer
        }));
    }
    None
}
