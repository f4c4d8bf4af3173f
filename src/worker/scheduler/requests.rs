//! The requests the engine has, or waits for the time of, and reading them.
//!
//! Invariants: a run is here exactly as long as its row of `cron.run_request` need not be taken again:
//! until it is answered, or the engine has dropped what waits of its job. All requests are read some at a time,
//! so that a flood of them makes nobody late; each is read that was there when that began.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::time::Instant;

use pg_tock_core::portion::Portion;
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::sight::Source;
use super::{LOCK_RETRY, Scheduler};
use crate::catalog::request::{self, Known, Request};
use crate::catalog::resets;
use crate::pg::{time, txn};

/// Most requests of jobs that are read with their jobs. If there are more, all are read.
const MOST: i64 = 200;
/// How many requests are looked at in the time one is read in: most are known.
const KNOWN: usize = 8;

/// The runs after one, up to another.
pub(super) type Page = (Bound<i64>, Bound<i64>);

/// There is something to be read now.
const AT_ONCE: Timestamp = Timestamp(i64::MIN);

/// Runs that were asked for, by job.
#[derive(Debug, Default)]
pub(super) struct Requests {
    runs: HashMap<JobId, HashSet<RunId>>,
    /// The jobs, by run.
    by_run: BTreeMap<i64, JobId>,
    /// Jobs that have become another role's or another database's: what was asked of them before is to end.
    doubted: HashSet<JobId>,
    /// All are being read.
    reading: Option<Reading>,
    /// How many are read at a time.
    page: Portion,
}

/// How far the reading of all requests has come.
#[derive(Debug)]
struct Reading {
    /// The last run it has passed.
    after: i64,
    /// What was there, as far as it was not known or a session waits for it.
    there: HashSet<RunId>,
    /// The runs for which sessions waited when it began.
    awaited: HashSet<RunId>,
    /// The jobs that were doubted then.
    doubted: HashSet<JobId>,
    /// It is to begin anew when it is done.
    again: bool,
}

impl Requests {
    /// The engine has it now. False if it had before.
    pub(super) fn insert(&mut self, job: JobId, run: RunId) -> bool {
        self.by_run.insert(run.0, job);
        self.runs.entry(job).or_default().insert(run)
    }

    /// It is answered. False if it was not there.
    pub(super) fn remove(&mut self, job: JobId, run: RunId) -> bool {
        let Some(runs) = self.runs.get_mut(&job) else { return false };
        let was_there = runs.remove(&run);
        if was_there {
            self.by_run.remove(&run.0);
        }
        if runs.is_empty() {
            self.runs.remove(&job);
        }
        was_there
    }

    /// Whether the engine has it.
    pub(super) fn contains(&self, job: JobId, run: RunId) -> bool {
        self.runs.get(&job).is_some_and(|runs| runs.contains(&run))
    }

    /// The runs of these jobs that it has, but for those that may have to end.
    fn of_jobs(&self, jobs: &[i64]) -> Vec<i64> {
        let known = jobs.iter().map(|job| JobId(*job)).filter(|job| !self.is_doubted(*job));
        known.filter_map(|job| self.runs.get(&job)).flatten().map(|run| run.0).collect()
    }

    /// The runs after one and up to another that it has, but for those that may have to end.
    fn between(&self, page: Page) -> Vec<i64> {
        let known = self.by_run.range(page).filter(|(_, job)| !self.is_doubted(**job));
        known.map(|(run, _)| *run).collect()
    }

    /// A job has become another role's or another database's.
    pub(super) fn doubt(&mut self, job: JobId) {
        if self.runs.contains_key(&job) {
            self.doubted.insert(job);
        }
    }

    fn is_doubted(&self, job: JobId) -> bool {
        self.doubted.contains(&job)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn jobs(&self) -> Vec<JobId> {
        self.runs.keys().copied().collect()
    }

    fn take(&mut self, job: JobId) -> HashSet<RunId> {
        let runs = self.runs.remove(&job).unwrap_or_default();
        for run in &runs {
            self.by_run.remove(&run.0);
        }
        runs
    }
}

impl Scheduler {
    /// Takes the runs that were asked for of these jobs, and what has been resolved. False if that could not be
    /// read.
    pub(super) fn take_requests(&mut self, jobs: &[i64]) -> bool {
        let these: HashSet<i64> = jobs.iter().copied().collect();
        let over = self.records.answers.of(|job| these.contains(&job.0)).collect();
        let known = Known { taken: self.requests.of_jobs(jobs), over };
        let read = txn::run("reading requests", || {
            let requests = request::of_jobs(jobs, known, MOST)?;
            Ok::<_, pgrx::spi::Error>((requests, resets::made_good(Some(jobs))?))
        });
        let Some(Ok((requests, made_good))) = read else { return false };
        if i64::try_from(requests.len()).is_ok_and(|count| count < MOST) {
            for job in jobs {
                self.requests.doubted.remove(&JobId(*job));
            }
        } else {
            self.take_all_requests();
        }
        self.take_read(requests, made_good);
        true
    }

    /// Takes all runs that were asked for: from now on, some at a time.
    pub(super) fn take_all_requests(&mut self) {
        self.requests_at = Some(AT_ONCE);
        match &mut self.requests.reading {
            Some(reading) => reading.again = true,
            None => self.begin_reading(),
        }
    }

    /// Takes the next of them, if that is due.
    pub(super) fn take_requests_again(&mut self) {
        let now = time::now();
        // A clock that was set back makes that time lie far ahead.
        let due = |at: Timestamp| at <= now || at.since(now) > LOCK_RETRY;
        if !self.requests_at.is_some_and(due) {
            return;
        }
        self.requests_at = None;
        if !self.installed {
            return; // all are read once the extension is there
        }
        let over = self.take_page();
        self.saw_source(Source::Requests, over.is_some(), time::now());
        match over {
            Some(true) => self.end_reading(),
            Some(false) => self.requests_at = Some(time::now()),
            None => self.requests_at = Some(time::now().plus(LOCK_RETRY)),
        }
    }

    fn begin_reading(&mut self) {
        self.requests.reading = Some(Reading {
            after: i64::MIN,
            there: HashSet::new(),
            awaited: self.awaited_runs(),
            doubted: self.requests.doubted.clone(),
            again: false,
        });
    }

    fn end_reading(&mut self) {
        let Some(reading) = self.requests.reading.take() else { return };
        self.settle_asks(&reading.awaited, &reading.there);
        if reading.again {
            self.requests_at = Some(AT_ONCE);
            self.begin_reading();
        } else {
            self.requests.doubted.retain(|job| !reading.doubted.contains(job));
        }
    }

    /// Takes some of all requests. Says whether those were the last; None: it has to wait.
    fn take_page(&mut self) -> Option<bool> {
        let since = Instant::now();
        let (requests, most) = (&self.requests, self.requests.page.size() * KNOWN);
        let after = requests.reading.as_ref()?.after;
        let read = txn::run("reading requests", || {
            let first = after == i64::MIN;
            let made_good = if first { resets::made_good(None)? } else { Vec::new() };
            let next = request::next(after, most)?;
            let found = next.map(|(last, _)| {
                let page = (Bound::Excluded(after), Bound::Included(last));
                let over = self.records.answers.between(page);
                request::page(after, last, Known { taken: requests.between(page), over })
            });
            Ok::<_, pgrx::spi::Error>((next, found.transpose()?.unwrap_or_default(), made_good))
        });
        let Some(Ok((next, found, made_good))) = read else { return None };
        let (last, count) = next.unwrap_or((after, 0));
        let Requests { reading, by_run, .. } = &mut self.requests;
        if let Some(reading) = reading {
            reading.after = last;
            // What is known now may be forgotten before all is read.
            let known = reading.awaited.iter().filter(|run| by_run.contains_key(&run.0));
            reading.there.extend(known);
            reading.there.extend(found.iter().filter_map(|request| request.occurrence.run));
        }
        self.take_read(found, made_good);
        self.requests.page.done(count.div_ceil(KNOWN), since.elapsed());
        Some(count < most)
    }

    fn take_read(&mut self, requests: Vec<Request>, made_good: Vec<(JobId, Timestamp)>) {
        for (job, at) in made_good {
            self.make_good(job, at);
        }
        for request in requests {
            self.take_request(request);
        }
    }

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
