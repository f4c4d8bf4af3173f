//! What the scheduler has to write, and when it gets to it.
//!
//! Nothing here may hold up a decision: rows wait in a queue until the ledger can be locked without
//! waiting, statistics until two seconds after the first run they speak of.

use std::collections::{HashMap, HashSet, VecDeque};

use pg_tock_core::time::{JobId, RunId, Timestamp};

use crate::catalog::run::{self, RunRow};
use crate::catalog::state::{self, Effective, Skip, Tally};
use crate::guc;
use crate::pg::{lock, time, txn};

/// How long statistics wait for company.
const COUNT_DELAY: i64 = 2 * Timestamp::SECOND;
/// Most jobs counted at once, and how long to wait before the next ones: in a flood, statistics
/// come later and cost no more.
const COUNT_AT_ONCE: usize = 400;
const COUNT_PAUSE: i64 = Timestamp::SECOND / 10;
/// How long to wait before asking for a locked table again.
const LOCK_RETRY: i64 = Timestamp::SECOND / 10;
/// Most rows that wait. Beyond that the oldest are given up, with a line in the server log.
const MOST_ROWS: usize = 100_000;
/// How often a row is tried on its own, and how many may fail in one go.
const MOST_TRIES: u32 = 20;
const MOST_FAILURES: u32 = 3;
/// Most run ids drawn at once.
const MOST_IDS: usize = 1_024;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Rows, and how often each could not be written.
    rows: VecDeque<(RunRow, u32)>,
    skips: HashMap<(JobId, &'static str), Skip>,
    effective: HashMap<JobId, Effective>,
    gone: HashSet<i64>,
    tallies: HashMap<JobId, Tally>,
    count_at: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    ids: VecDeque<i64>,
    drawn: usize,
    drawn_at: Timestamp,
    next_id: i64,
}

impl Records {
    /// A row to write as soon as possible.
    pub(crate) fn row(&mut self, row: RunRow) {
        if !guc::log_run() {
            return;
        }
        if self.rows.len() >= MOST_ROWS {
            self.rows.pop_front();
            pgrx::log!("pg_tock: the ledger has been locked for so long that a row was given up");
        }
        self.rows.push_back((row, 0));
    }

    /// Occurrences that did not run. Those of one job and reason share a row until it is written.
    pub(crate) fn skip(&mut self, skip: Skip, now: Timestamp) {
        self.count_at.get_or_insert(now.plus(COUNT_DELAY));
        let fold = self.skips.entry((skip.job, skip.reason)).or_insert(Skip { count: 0, ..skip });
        fold.first = fold.first.min(skip.first);
        fold.last = fold.last.max(skip.last);
        fold.count += skip.count;
    }

    /// Definitions that came into force.
    pub(crate) fn effective(&mut self, jobs: &mut Vec<Effective>) {
        for job in jobs.drain(..) {
            self.gone.remove(&job.job.0);
            self.effective.insert(job.job, job);
        }
    }

    /// A job that is gone.
    pub(crate) fn gone(&mut self, job: JobId) {
        self.tallies.remove(&job);
        self.skips.retain(|(of, _), _| *of != job);
        self.effective.remove(&job);
        self.gone.insert(job.0);
    }

    /// Forgets all that waits: the extension is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The tally of a job, which will be counted soon.
    pub(crate) fn tally(&mut self, job: JobId, now: Timestamp) -> &mut Tally {
        self.count_at.get_or_insert(now.plus(COUNT_DELAY));
        self.tallies.entry(job).or_default()
    }

    /// When there is something to write.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        let due = if self.wants_writing() { Some(Timestamp(i64::MIN)) } else { self.count_at };
        match (due, self.retry_at) {
            (Some(due), Some(retry)) => Some(due.max(retry)),
            (due, _) => due,
        }
    }

    fn wants_writing(&self) -> bool {
        !(self.rows.is_empty() && self.effective.is_empty() && self.gone.is_empty())
    }

    /// Makes sure that `needed` run ids are there; draws more at once the more are needed in short
    /// order, so that in a flood it costs nothing.
    pub(crate) fn provide_ids(&mut self, needed: usize, now: Timestamp) -> bool {
        if self.ids.len() >= needed {
            return true;
        }
        let soon = now.since(self.drawn_at) < Timestamp::SECOND;
        let count = if soon { (self.drawn * 2).min(MOST_IDS) } else { 0 }.max(needed);
        self.drawn = count;
        self.drawn_at = now;
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let Some(Ok(ids)) = txn::run("drawing run ids", || run::draw_ids(count)) else {
            return false;
        };
        self.ids.extend(ids);
        self.ids.len() >= needed
    }

    /// A run id, if one was provided.
    pub(crate) fn next_id(&mut self) -> Option<RunId> {
        let id = self.ids.pop_front()?;
        self.next_id = self.next_id.max(id.saturating_add(1));
        Some(RunId(id))
    }

    /// Writes what is due. `oldest`: the lowest id of a run that goes on.
    pub(crate) fn flush(&mut self, now: Timestamp, oldest: Option<RunId>) {
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        if self.wants_writing() && !self.write_rows() {
            self.retry_at = Some(time::now().plus(LOCK_RETRY));
            return;
        }
        if self.count_at.is_some_and(|at| at <= now) {
            self.count(oldest, COUNT_AT_ONCE);
        }
    }

    /// Writes rows, and what became of jobs. False if some of it has to wait.
    fn write_rows(&mut self) -> bool {
        let jobs = self.write_jobs();
        let rows = self.rows.is_empty() || self.write_ledger();
        jobs && rows
    }

    /// Stores definitions that came into force and forgets jobs that are gone.
    fn write_jobs(&mut self) -> bool {
        if self.effective.is_empty() && self.gone.is_empty() {
            return true;
        }
        let effective: Vec<Effective> = self.effective.values().cloned().collect();
        let gone: Vec<i64> = self.gone.iter().copied().collect();
        let written = txn::run("writing what became of jobs", || {
            state::forget(&gone)?;
            state::set_effective(&effective)
        });
        let written = matches!(written, Some(Ok::<(), pgrx::spi::Error>(())));
        if written {
            self.effective.clear();
            self.gone.clear();
        }
        written
    }

    /// Writes rows of the ledger: all in one transaction, or, if one of them is in the way of the
    /// others, one by one.
    fn write_ledger(&mut self) -> bool {
        match Self::write_some(self.rows.iter().map(|(row, _)| row)) {
            Some(true) => {
                self.rows.clear();
                return true;
            }
            Some(false) => return false,
            None => {}
        }
        let mut failures = 0;
        for _ in 0..self.rows.len() {
            let Some((row, tries)) = self.rows.pop_front() else { break };
            if Self::write_some(core::iter::once(&row)) == Some(true) {
                continue;
            }
            failures += 1;
            if tries < MOST_TRIES {
                self.rows.push_back((row, tries + 1));
            } else {
                pgrx::log!("pg_tock: the row of run {} cannot be written and is given up", row.run);
            }
            if failures >= MOST_FAILURES {
                break;
            }
        }
        self.rows.is_empty()
    }

    /// Writes rows in one transaction, unless the ledger is locked. `Some(false)`: the ledger is locked; None: an ERROR.
    pub(super) fn write_some<'a>(rows: impl Iterator<Item = &'a RunRow>) -> Option<bool> {
        let written = txn::run("writing the ledger", || {
            let Some(ledger) = run::ledger()? else { return Ok(false) };
            if !lock::try_lock_table(ledger) {
                return Ok(false);
            }
            run::write(rows).map(|()| true)
        });
        match written {
            Some(Ok::<bool, pgrx::spi::Error>(written)) => Some(written),
            _ => None,
        }
    }

    /// Writes a row now and says up to where WAL has to be on disk before the run may leave the
    /// server; None if it could not be written at once.
    pub(crate) fn write_now(&mut self, row: &RunRow) -> Option<u64> {
        let written = txn::run("claiming a run", || {
            let ledger = run::ledger().ok().flatten()?;
            if !lock::try_lock_table(ledger) {
                return None;
            }
            run::write(core::iter::once(row)).ok()
        });
        written.flatten()?;
        // SAFETY: this process's own variable, set by the commit just made.
        Some(unsafe { pgrx::pg_sys::XactLastCommitEnd })
    }

    /// Adds tallies to the statistics, `most` at the most.
    fn count(&mut self, oldest: Option<RunId>, most: usize) {
        let jobs: Vec<JobId> = self.tallies.keys().take(most).copied().collect();
        let tallies: Vec<(JobId, Tally)> =
            jobs.into_iter().filter_map(|job| self.tallies.remove_entry(&job)).collect();
        let below = oldest.map_or(self.next_id, |run| run.0);
        let below = self.tallies.is_empty().then_some(below);
        let skips: Vec<Skip> = self.skips.values().take(most).cloned().collect();
        let counted = txn::run("writing statistics", || {
            state::skip(&skips)?;
            state::count(&tallies, below)
        })
        .is_some_and(|written| written.is_ok());
        if counted {
            for skip in skips {
                self.skips.remove(&(skip.job, skip.reason));
            }
        } else {
            self.tallies.extend(tallies);
        }
        let pause = if counted { COUNT_PAUSE } else { Timestamp::SECOND };
        let more = !self.tallies.is_empty() || !self.skips.is_empty();
        self.count_at = more.then(|| time::now().plus(pause));
    }

    /// Writes all that waits, as the scheduler is about to let go of its database.
    pub(crate) fn flush_all(&mut self, oldest: Option<RunId>) {
        self.retry_at = None;
        self.write_rows();
        if self.count_at.is_some() {
            self.count(oldest, usize::MAX);
        }
    }
}
