//! The chore of deleting history that need not be kept any longer.
//!
//! A pass consists of several walks, each along an index, with a position that goes on from batch to
//! batch. Failed runs go before the others, so that of an occurrence the earlier attempts go first.

use core::ffi::CStr;
use std::collections::VecDeque;

use pg_tock_core::time::Timestamp;
use pgrx::spi;

use super::{Batch, Work};
use crate::catalog::load::{self, Installed};
use crate::catalog::prune::{self, Oldest, Place, Ruled, Spans};
use crate::guc::retention;
use crate::pg::{lock, time};
use crate::shmem::keeper::Pruned;

/// Most rows looked at in one batch.
const ROWS: i64 = 1_000;

/// Most jobs looked at in one batch, and what a job costs, in rows.
const JOBS: i64 = 200;
const PER_JOB: i64 = 20;

/// After how long all runs are looked at again: those that were passed over may be free by then.
const WHOLE: i64 = 86_400 * Timestamp::SECOND;

/// The walk a pass is at, and where.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Runs that failed, beyond this one, for their age.
    Failed(i64),
    /// All runs beyond this one, for their age.
    All(i64),
    /// Runs of jobs beyond this one that have rules of their own, and first those of `Pass::ruled`.
    Jobs(i64),
    /// Skipped occurrences of jobs beyond this one.
    Skips(i64),
    /// Alerts that are over.
    Alerts,
    /// What runs beyond this one have noted, without having a row.
    Logs(i64),
    /// Checkpoints of such runs, of a job beyond this occurrence, and of jobs beyond it.
    Checkpoints(i64, Timestamp),
    /// All is done.
    Over,
}

/// A job with a rule of its own, and where the walk through its runs is.
#[derive(Clone, Copy, Debug)]
struct Walk {
    of: Ruled,
    after: Place,
    oldest: Oldest,
    /// Nothing beyond this occurrence is too old, or one too many; None if nothing is at all.
    last: Option<Timestamp>,
}

/// How far a pass is.
#[derive(Clone, Debug)]
struct Pass {
    spans: Spans,
    /// How many runs are kept of jobs that do not say.
    runs: i32,
    step: Step,
    /// From where all runs are looked at.
    from: i64,
    /// Runs up to this one are old: what is left of them is kept, or looked at once a day.
    settled: i64,
    ruled: VecDeque<Ruled>,
    walk: Option<Walk>,
    deleted: i64,
}

/// The chore.
pub(super) struct Prune {
    /// What all keepers of this database know.
    shared: &'static Pruned,
    pass: Option<Pass>,
    /// The pass as it will be once the batch is committed.
    next: Option<Pass>,
}

impl Prune {
    /// Nothing to do yet.
    pub(super) const fn new(shared: &'static Pruned) -> Self {
        Self { shared, pass: None, next: None }
    }
}

impl Work for Prune {
    fn name(&self) -> &'static CStr {
        c"pruning the history"
    }

    fn begin(&mut self, now: Timestamp) {
        if self.pass.is_some() && !self.shared.wants_all() {
            return; // the one under way goes on
        }
        let from = self.shared.begin(now, WHOLE);
        let (succeeded, failed) = retention::keep_days();
        self.pass = Some(Pass {
            spans: Spans { now, succeeded, failed },
            runs: retention::keep_runs(),
            step: Step::Failed(i64::MIN),
            from,
            settled: from,
            ruled: VecDeque::new(),
            walk: None,
            deleted: 0,
        });
    }

    fn batch(&mut self, installed: Installed) -> Result<Batch, spi::Error> {
        let Some(mut pass) = self.pass.clone() else { return Ok(Batch::Done) };
        if !lock::try_lock_table(installed.ledger) || !lock::try_read_table(installed.jobs) {
            return Ok(Batch::Later);
        }
        pass.step = pass.go_on()?;
        let over = matches!(pass.step, Step::Over);
        if over {
            prune::note(time::now(), pass.deleted)?;
        }
        self.next = Some(pass);
        Ok(if over { Batch::Done } else { Batch::More })
    }

    fn committed(&mut self) {
        let Some(pass) = self.next.take() else { return };
        self.shared.settle(pass.settled);
        let over = matches!(pass.step, Step::Over);
        self.pass = (!over).then_some(pass);
    }
}

impl Pass {
    /// One batch; says what comes next.
    fn go_on(&mut self) -> Result<Step, spi::Error> {
        match self.step {
            Step::Failed(after) => self.failed(after),
            Step::All(after) => self.all(after),
            Step::Jobs(after) => self.jobs(after),
            Step::Skips(after) => self.skips(after),
            Step::Alerts => self.alerts(),
            Step::Logs(after) => self.logs(after),
            Step::Checkpoints(job, at) => self.checkpoints(job, at),
            Step::Over => Ok(Step::Over),
        }
    }

    /// Deletes failed runs that are too old.
    fn failed(&mut self, after: i64) -> Result<Step, spi::Error> {
        let end = Step::All(self.from);
        let Some(days) = self.spans.failed else { return Ok(end) };
        let page = prune::page(&self.spans, true, after, ROWS, self.spans.limit(days))?;
        self.delete(&page.due)?;
        Ok(page.next(ROWS).map_or(end, Step::Failed))
    }

    /// Deletes runs that are too old.
    fn all(&mut self, after: i64) -> Result<Step, spi::Error> {
        let end = Step::Jobs(i64::MIN);
        let Some(days) = self.spans.succeeded else { return Ok(end) };
        let page = prune::page(&self.spans, false, after, ROWS, self.spans.limit(days))?;
        self.delete(&page.due)?;
        if self.settled == after {
            self.settled = page.settled.unwrap_or(after);
        }
        Ok(page.next(ROWS).map_or(end, Step::All))
    }

    /// Deletes runs of jobs with rules of their own.
    fn jobs(&mut self, mut after: i64) -> Result<Step, spi::Error> {
        let mut budget = ROWS;
        while budget > 0 {
            if let Some(walk) = self.walk.take() {
                budget -= self.walk_on(walk, budget)?;
            } else if let Some(ruled) = self.ruled.pop_front() {
                self.walk = Some(self.begin_walk(ruled)?);
            } else {
                let (ruled, last) = prune::ruled(after, JOBS, self.runs, self.spans.now)?;
                let Some(last) = last else { return Ok(Step::Skips(i64::MIN)) };
                (self.ruled, after) = (ruled.into(), last);
                budget -= JOBS;
            }
        }
        Ok(Step::Jobs(after))
    }

    fn begin_walk(&self, of: Ruled) -> Result<Walk, spi::Error> {
        let oldest = if of.runs > 0 { prune::oldest(of.job, of.runs)? } else { Oldest::default() };
        let by_age = of.days.filter(|&days| days > 0).map(|days| self.spans.limit(days));
        let by_number = [oldest.failed, oldest.other].into_iter().flatten().map(|place| place.at);
        let last = by_number.chain(by_age).max();
        Ok(Walk { of, after: Place::FIRST, oldest, last })
    }

    /// Goes on with one job; says what that has cost.
    fn walk_on(&mut self, walk: Walk, budget: i64) -> Result<i64, spi::Error> {
        let job = walk.of.job;
        if let Some(last) = walk.last {
            let (due, seen, end) =
                prune::of_job(&self.spans, job, walk.after, budget, last, walk.oldest)?;
            self.delete(&due)?;
            let seen = i64::try_from(seen).unwrap_or(i64::MAX);
            // The rest of its runs follow, or those that are for no occurrence.
            let last = walk.last.filter(|_| seen >= budget);
            if let Some(after) = end.filter(|_| last.is_some()) {
                self.walk = Some(Walk { after, ..walk });
            } else if walk.of.days.is_some_and(|days| days > 0) {
                self.walk = Some(Walk { last: None, ..walk });
            }
            return Ok(seen.max(PER_JOB));
        }
        let due = prune::old_of_job(&self.spans, job, budget)?;
        self.delete(&due)?;
        let found = i64::try_from(due.len()).unwrap_or(i64::MAX);
        self.walk = (found >= budget).then_some(walk);
        Ok(found.max(PER_JOB))
    }

    /// Deletes skipped occurrences that are too old.
    fn skips(&self, after: i64) -> Result<Step, spi::Error> {
        let Some(&last) = load::ids(after, JOBS)?.last() else {
            return Ok(Step::Alerts);
        };
        let deleted = prune::skips(&self.spans, after, last, ROWS)?;
        let more = i64::try_from(deleted).is_ok_and(|deleted| deleted >= ROWS);
        Ok(Step::Skips(if more { after } else { last }))
    }

    /// Deletes alerts that are over for as long as failed runs are kept.
    fn alerts(&self) -> Result<Step, spi::Error> {
        let Some(days) = self.spans.failed else { return Ok(Step::Over) };
        let deleted = prune::alerts(ROWS, self.spans.limit(days))?;
        Ok(if i64::try_from(deleted).is_ok_and(|deleted| deleted >= ROWS) {
            Step::Alerts
        } else if self.from == i64::MIN {
            // What is for a whole pass only.
            Step::Logs(i64::MIN)
        } else {
            Step::Over
        })
    }

    fn logs(&self, after: i64) -> Result<Step, spi::Error> {
        let Some(days) = self.spans.failed else { return Ok(Step::Over) };
        let last = prune::stray_logs(after, ROWS, self.spans.limit(days))?;
        let end = Step::Checkpoints(i64::MIN, Timestamp(i64::MIN));
        Ok(last.map_or(end, Step::Logs))
    }

    fn checkpoints(&self, job: i64, at: Timestamp) -> Result<Step, spi::Error> {
        let Some(days) = self.spans.failed else { return Ok(Step::Over) };
        let last = prune::stray_checkpoints((job, at), ROWS, self.spans.limit(days))?;
        Ok(last.map_or(Step::Over, |(job, at)| Step::Checkpoints(job, at)))
    }

    fn delete(&mut self, runs: &[i64]) -> Result<(), spi::Error> {
        let deleted = prune::delete(runs)?;
        self.deleted = self.deleted.saturating_add(i64::try_from(deleted).unwrap_or(i64::MAX));
        Ok(())
    }
}
