//! Requests whose runs have ended, and deleting them.
//!
//! Invariant: a request goes when all that follows from its run is written, and not before; those who wait for
//! the run are told then. However many go, few do in one turn.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use pg_tock_core::portion::Portion;
use pg_tock_core::time::{JobId, RunId};

use super::records::Records;
use super::requests::Page;
use crate::catalog::request;
use crate::catalog::state::Reached;
use crate::pg::{process, txn};
use crate::shmem::asks::{self, State};
use crate::shmem::taken_back;

/// How many are deleted in the time of one other thing.
const EACH: usize = 4;

/// Runs that were asked for and have ended.
#[derive(Debug, Default)]
pub(super) struct Answers {
    runs: BTreeMap<i64, JobId>,
    /// How many are deleted in one turn.
    portion: Portion,
}

impl Answers {
    /// The runs of jobs that `pick` likes.
    pub(super) fn of(&self, pick: impl Fn(JobId) -> bool) -> impl Iterator<Item = i64> {
        self.runs.iter().filter(move |(_, job)| pick(**job)).map(|(run, _)| *run)
    }

    /// Those of a page of requests.
    pub(super) fn between(&self, page: Page) -> Vec<i64> {
        self.runs.range(page).map(|(run, _)| *run).collect()
    }
}

impl Records {
    /// Whether a request is about to be deleted.
    pub(crate) fn is_answered(&self, run: RunId) -> bool {
        self.answers.runs.contains_key(&run.0) || self.decided.is_kept(run)
    }

    /// The run somebody asked for of a job has ended.
    pub(crate) fn answered(&mut self, job: JobId, run: RunId) {
        self.answers.runs.insert(run.0, job);
        taken_back::forget(self.scheduler, run);
    }

    /// Those that can be deleted: not those whose rows are in the way of others.
    pub(super) fn answers_to_write(&self) -> Vec<i64> {
        let stuck: HashSet<i64> = self.stuck.iter().map(|row| row.row.run.0).collect();
        self.answers.runs.keys().filter(|&run| !stuck.contains(run)).copied().collect()
    }

    /// Deletes the requests whose runs have ended. Only they tell the next scheduler of successes of
    /// occurrences its cursors have passed, so what those come to is written with it.
    pub(super) fn write_answers(&mut self) -> bool {
        let (decided, runs) = (&mut self.decided, &mut self.answers.runs);
        runs.extend(decided.take_freed().into_iter().map(|(run, job)| (run.0, job)));
        runs.retain(|&run, _| !decided.keeps(RunId(run)));
        let (since, mut over) = (Instant::now(), self.answers_to_write());
        if over.is_empty() {
            return true;
        }
        let most = self.answers.portion.size() * EACH;
        let all = over.len() <= most;
        over.truncate(most);
        let runs = &self.answers.runs;
        let jobs: HashSet<JobId> = over.iter().filter_map(|run| runs.get(run)).copied().collect();
        let reached = |&job: &JobId| Some(self.progress.get(&job)?.succeeded(job));
        let reached = jobs.iter().filter_map(reached).filter(Reached::has_succeeded);
        let reached: Vec<Reached> = reached.collect();
        let done = txn::run("answering requests", || request::forget(&over, &reached));
        if !matches!(done, Some(Ok::<(), pgrx::spi::Error>(()))) {
            return false;
        }
        self.answers.portion.done(over.len().div_ceil(EACH), since.elapsed());
        self.more |= !all;
        let over: HashSet<i64> = over.into_iter().collect();
        self.answers.runs.retain(|run, _| !over.contains(run));
        asks::tell(process::database().to_u32(), State::Ended, |ask| {
            ask.run().is_some_and(|run| over.contains(&run.0))
        });
        all
    }
}
