//! The requests the engine has, or waits for the time of.
//!
//! Invariant: a run is here exactly as long as its row of `cron.run_request` need not be taken again:
//! until it is answered, or the engine has dropped what waits of its job.

use std::collections::{HashMap, HashSet};

use pg_tock_core::time::{JobId, RunId};

use super::Scheduler;

/// Runs that were asked for, by job.
#[derive(Debug, Default)]
pub(super) struct Requests(HashMap<JobId, HashSet<RunId>>);

impl Requests {
    /// The engine has it now. False if it had before.
    pub(super) fn insert(&mut self, job: JobId, run: RunId) -> bool {
        self.0.entry(job).or_default().insert(run)
    }

    /// It is answered. False if it was not there.
    pub(super) fn remove(&mut self, job: JobId, run: RunId) -> bool {
        let Some(runs) = self.0.get_mut(&job) else { return false };
        let was_there = runs.remove(&run);
        if runs.is_empty() {
            self.0.remove(&job);
        }
        was_there
    }

    /// Whether the engine has it.
    pub(super) fn contains(&self, job: JobId, run: RunId) -> bool {
        self.0.get(&job).is_some_and(|runs| runs.contains(&run))
    }

    /// The runs of these jobs, or of all, that it has.
    pub(super) fn runs(&self, jobs: Option<&[i64]>) -> Vec<i64> {
        let ids = |runs: &HashSet<RunId>| runs.iter().map(|run| run.0).collect::<Vec<i64>>();
        match jobs {
            Some(jobs) => {
                jobs.iter().filter_map(|job| self.0.get(&JobId(*job))).flat_map(ids).collect()
            }
            None => self.0.values().flat_map(ids).collect(),
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn jobs(&self) -> Vec<JobId> {
        self.0.keys().copied().collect()
    }

    fn take(&mut self, job: JobId) -> HashSet<RunId> {
        self.0.remove(&job).unwrap_or_default()
    }
}

impl Scheduler {
    /// The engine has dropped what waited of a job: what was asked for and is not under way is taken
    /// again when the job is, as far as it is still asked for then. Returns those runs.
    pub(super) fn forget_requests(&mut self, job: JobId) -> HashSet<RunId> {
        let mut runs = self.requests.take(job);
        if runs.is_empty() && !self.asked.has_taken_back(job) {
            return runs;
        }
        let handed = self.http.due.iter().filter_map(|(_, occurrence, _)| occurrence.run);
        let current = self.currents().filter(|current| current.occurrence.job == job);
        let going: HashSet<RunId> = current.map(|current| current.run).chain(handed).collect();
        self.asked.in_the_way_no_more(job, &going);
        runs.retain(|&run| {
            let goes_on = going.contains(&run);
            if goes_on {
                self.requests.insert(job, run);
            } else {
                self.asked.forget_who(run);
                self.retries.forget(run);
            }
            !goes_on
        });
        self.retries.forget_waiting(job);
        runs
    }

    /// The engine has dropped what waited of every job.
    pub(super) fn forget_all_requests(&mut self) {
        for job in self.requests.jobs() {
            self.forget_requests(job);
        }
    }
}
