//! The chore of deleting history that need not be kept any longer.
//!
//! A pass consists of several walks, each along an index, with a position that goes on from batch to
//! batch. Failed runs go before the others, so that of an occurrence the earlier attempts go first.

use core::ffi::CStr;

use pg_tock_core::time::Timestamp;
use pgrx::spi;

use super::{Batch, Work};
use crate::catalog::load::Installed;
use crate::catalog::prune::{self, Spans};
use crate::guc::retention;
use crate::pg::{lock, time};
use crate::shmem::keeper::Pruned;

/// Most rows looked at in one batch.
const ROWS: i64 = 1_000;

/// After how long all runs are looked at again: those that were passed over may be free by then.
const WHOLE: i64 = 86_400 * Timestamp::SECOND;

/// The walk a pass is at, and where.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Runs that failed, beyond this one, for their age.
    Failed(i64),
    /// All runs beyond this one, for their age.
    All(i64),
    /// All is done.
    Over,
}

/// How far a pass is.
#[derive(Clone, Debug)]
struct Pass {
    spans: Spans,
    step: Step,
    /// From where all runs are looked at.
    from: i64,
    /// Runs up to this one are old: what is left of them is kept, or looked at once a day.
    settled: i64,
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
        let from = self.shared.begin(now, WHOLE);
        let (succeeded, failed) = retention::keep_days();
        let spans = Spans { now, succeeded, failed };
        let step = Step::Failed(i64::MIN);
        self.pass = Some(Pass { spans, step, from, settled: from, deleted: 0 });
    }

    fn batch(&mut self, installed: Installed) -> Result<Batch, spi::Error> {
        let Some(mut pass) = self.pass.clone() else { return Ok(Batch::Done) };
        if !lock::try_lock_table(installed.ledger) {
            return Ok(Batch::Later);
        }
        pass.step = match pass.step {
            Step::Failed(after) => pass.failed(after)?,
            Step::All(after) => pass.all(after)?,
            Step::Over => Step::Over,
        };
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
        let Some(days) = self.spans.succeeded else { return Ok(Step::Over) };
        let page = prune::page(&self.spans, false, after, ROWS, self.spans.limit(days))?;
        self.delete(&page.due)?;
        if self.settled == after {
            self.settled = page.settled.unwrap_or(after);
        }
        Ok(page.next(ROWS).map_or(Step::Over, Step::All))
    }

    fn delete(&mut self, runs: &[i64]) -> Result<(), spi::Error> {
        let deleted = prune::delete(runs)?;
        self.deleted = self.deleted.saturating_add(i64::try_from(deleted).unwrap_or(i64::MAX));
        Ok(())
    }
}
