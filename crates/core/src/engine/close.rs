//! What becomes of a schedule's past when the job gets another one.
//!
//! Invariant: of the old schedule nothing is left that could come due: what was to be caught up,
//! and what was passed over without being told, is reported as skipped up to where the new one
//! begins.

use std::collections::VecDeque;

use super::Engine;
use super::due::{COUNTED_PER_JOB, Fold, last_before, later};
use super::types::{Action, Occurrences};
use crate::run::{SkipReason, Verdict};
use crate::time::Timestamp;

impl Engine {
    /// Closes what a job has passed over of times it is about to lose: what it is too late to catch
    /// up, and the instants up to `after` outside its window or in a pause.
    pub(super) fn close_until(&mut self, number: u32, after: Timestamp) {
        let Some(times) = self.jobs[number].times.take() else { return };
        let mut out = std::mem::take(&mut self.outbox);
        let mut fold = None;
        let skipped = self.jobs[number].skipped.take();
        let backlogs = match &mut self.jobs[number].rare {
            Some(rare) => std::mem::take(&mut rare.backlogs),
            None => VecDeque::new(),
        };
        for backlog in backlogs {
            let stretch = (backlog.after, backlog.until);
            self.pass(number, &*times, stretch, SkipReason::Missed, &mut fold, &mut out);
            self.emit(number, &mut fold, &mut out);
            self.jobs[number].skipped = None;
        }
        self.jobs[number].skipped = skipped;
        let job = &self.jobs[number];
        if job.on && times.after_completion().is_none() {
            let end = match times.next_open(job.popped) {
                Some(open) if !job.is_paused(self.now) => open.min(after.plus(1)),
                _ => after.plus(1),
            };
            let stretch = (job.popped, end);
            self.pass(number, &*times, stretch, SkipReason::Paused, &mut fold, &mut out);
            self.emit(number, &mut fold, &mut out);
        }
        self.outbox = out;
        self.jobs[number].times = Some(times);
    }

    /// Skips the instants after and before these two, those that might have run for `reason`.
    pub(super) fn pass(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        (mut after, end): (Timestamp, Timestamp),
        reason: SkipReason,
        fold: &mut Option<Fold>,
        out: &mut Vec<Action>,
    ) {
        let mut left = COUNTED_PER_JOB;
        while left > 0 {
            let Some(at) = later(times, after).filter(|&at| at < end) else { return };
            after = at;
            if self.jobs[number].is_done(at) {
                self.emit(number, fold, out);
                self.jobs[number].skipped = None;
                continue;
            }
            let reason = match times.verdict(at) {
                Verdict::Skip(reason) => reason,
                Verdict::Start(_) => reason,
            };
            left -= 1;
            self.skip(number, reason, at, fold, out);
        }
        if let (Some(fold), Some(last)) = (fold, last_before(|at| later(times, at), after, end)) {
            (fold.last, fold.count) = (last, fold.count + 1);
        }
    }
}
