//! Failures, alike ones together: a job that fails every minute says the same a hundred times.

use std::collections::HashMap;

use crate::run::Outcome;
use crate::time::Timestamp;

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its id.
    pub run: i64,
    /// The job.
    pub job: i64,
    /// When it started.
    pub started: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say.
    pub reason: Option<String>,
    /// SQLSTATE of its error.
    pub sqlstate: Option<String>,
    /// Which attempt at its occurrence it was.
    pub attempt: i32,
    /// What it said.
    pub message: String,
}

/// Failures of one job that say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// The newest of them.
    pub newest: Failure,
    /// What the job is called.
    pub job: String,
    /// When the oldest of them started.
    pub since: Timestamp,
    /// How many they are.
    pub count: u64,
}

/// Puts alike failures together, the group with the newest one first; at most so many groups.
pub(super) fn group(
    mut failures: Vec<Failure>,
    title: impl Fn(i64) -> String,
    most: usize,
) -> Vec<FailureGroup> {
    failures.sort_by_key(|failure| std::cmp::Reverse((failure.started, failure.run)));
    let mut places: HashMap<_, usize> = HashMap::new();
    let mut groups: Vec<FailureGroup> = Vec::new();
    for failure in failures {
        let first_line = failure.message.lines().next().unwrap_or_default().to_owned();
        let key = (failure.job, failure.outcome, failure.sqlstate.clone(), first_line);
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.count += 1;
                group.since = group.since.min(failure.started);
            }
            None => groups.push(FailureGroup {
                job: title(failure.job),
                since: failure.started,
                count: 1,
                newest: failure,
            }),
        }
    }
    groups.truncate(most);
    groups
}
