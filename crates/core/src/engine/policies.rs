//! What becomes of an instant that is due while its job runs or waits.
//!
//! Invariant: an instant that gives way, or that has to, is reported as skipped before anything
//! later of its job is handed out. Requests neither replace anything nor are they replaced while
//! they wait: somebody counts on them.

use std::collections::VecDeque;

use super::Engine;
use super::due::{Fold, later};
use super::types::{Action, ExecutorId, Occurrences};
use crate::cancel::Cause;
use crate::run::{Overlap, SkipReason};
use crate::time::Timestamp;

impl Engine {
    /// Whether one more instant may come to wait, and why not.
    pub(super) fn obstacle(&self, number: u32) -> Option<SkipReason> {
        let job = &self.jobs[number];
        let is_clear = match job.overlap {
            Overlap::Skip => {
                job.runs.is_empty() && job.queue.len() == 0 && job.rare().backlogs.is_empty()
            }
            Overlap::Replace => true,
            Overlap::Queue | Overlap::Allow => self.has_room(number),
        };
        match is_clear {
            true => None,
            false if job.held => Some(SkipReason::Held),
            false => Some(SkipReason::Overlap),
        }
    }

    /// Since when what one more instant replaces has waited. It takes that place in the line, or a job
    /// that is due more often than its turn comes would be the youngest each time, and never run.
    pub(super) fn since_of_replaced(&self, number: u32) -> Option<Timestamp> {
        let job = &self.jobs[number];
        job.queue.nominal().filter(|_| job.overlap == Overlap::Replace).map(|first| first.ready_at)
    }

    /// An instant is about to come to wait: if its job wants only the latest, what waits of the
    /// schedule is skipped and what runs is cancelled.
    /// Says what was skipped last, to which what is skipped next may be added as long as nothing of
    /// the job is handed out.
    pub(super) fn make_way(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        out: &mut Vec<Action>,
    ) -> Option<(SkipReason, Timestamp)> {
        let job = &mut self.jobs[number];
        if job.overlap != Overlap::Replace {
            return None;
        }
        let (id, cause) = (job.id, Cause::Replaced);
        for run in job.runs.iter_mut().filter(|run| !run.cancelled) {
            run.cancelled = true;
            let executor = ExecutorId(run.executor);
            out.push(Action::Cancel { executor, job: id, cause });
        }
        if job.queue.nominal().is_some() || !job.rare().backlogs.is_empty() {
            self.leave(number);
            self.give_up_waiting(number, times, SkipReason::Overlap, out);
            self.inbox.push(number);
            // Of other reasons the next one may lie beyond what is about to wait.
            return self.jobs[number].skipped.filter(|(reason, _)| *reason == SkipReason::Overlap);
        }
        None
    }

    /// What of a job's schedule was due and waits, or was to be caught up, does not run.
    pub(super) fn give_up_waiting(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        reason: SkipReason,
        out: &mut Vec<Action>,
    ) {
        let job = &mut self.jobs[number];
        if job.dropped {
            return; // nobody asks any more
        }
        let mut waiting = job.queue.take_nominal().into_iter().peekable();
        let backlogs = match &mut job.rare {
            Some(rare) => std::mem::take(&mut rare.backlogs),
            None => VecDeque::new(),
        };
        let mut fold = None;
        for backlog in backlogs {
            while let Some(at) = waiting.next_if(|&at| at <= backlog.after) {
                self.give_up(number, times, reason, at, &mut fold, out);
            }
            if let Some(first) = later(times, backlog.after) {
                self.part(number, times, first, &mut fold, out);
            }
            let stretch = (backlog.after, backlog.until);
            self.pass(number, times, stretch, reason, &mut fold, out);
        }
        for at in waiting {
            self.give_up(number, times, reason, at, &mut fold, out);
        }
        self.emit(number, &mut fold, out);
    }

    fn give_up(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        reason: SkipReason,
        at: Timestamp,
        fold: &mut Option<Fold>,
        out: &mut Vec<Action>,
    ) {
        self.totals.queued -= 1;
        self.part(number, times, at, fold, out);
        self.skip(number, reason, at, fold, out);
    }

    /// Keeps what is skipped at `at` apart from what was skipped before, if something lies between
    /// that has a fate of its own.
    fn part(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        at: Timestamp,
        fold: &mut Option<Fold>,
        out: &mut Vec<Action>,
    ) {
        let folded = fold.map(|fold| fold.last);
        let last = folded.or(self.jobs[number].skipped.map(|(_, last)| last));
        if last.is_some_and(|last| later(times, last) != Some(at)) {
            self.emit(number, fold, out);
            self.jobs[number].skipped = None;
        }
    }
}
