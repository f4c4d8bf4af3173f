//! Jobs that wait for others (the option `run_after`).
//!
//! Invariant: an instant of such a job is handed out only when each job it waits for has succeeded
//! for its latest instant that lies after the one before and not after the instant itself, if there
//! is one; it is skipped once one of those is accounted for and has not succeeded. Requests wait for
//! nobody.

use std::sync::Arc;

use super::Engine;
use super::due::{last_before, later};
use super::requests::comes;
use super::rules::Settled;
use super::state::EVER;
use super::types::Occurrences;
use crate::run::{SkipReason, Trigger, Verdict};
use crate::time::{JobId, Timestamp};

/// Whether an instant may run, as far as other jobs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// It may; whether it had to wait for anybody.
    Clear(bool),
    Waits,
    Never,
}

impl Engine {
    /// What became of a run for an instant of a job's schedule (its own, a retry, a backfill of it),
    /// so that jobs that wait for it go on. To be called for every such run, with or after the
    /// report of its end and before the next tick; not for runs by hand, which are for no instant.
    pub fn settled(&mut self, id: JobId, scheduled_for: Timestamp, how: Settled) {
        let Some(&number) = self.job_ids.get(&id) else { return };
        let awaited = self.dependents.contains_key(&id);
        match how {
            Settled::WillRetry if awaited => {
                self.retrying.insert((id, scheduled_for));
            }
            _ => {
                self.retrying.remove(&(id, scheduled_for));
            }
        }
        if how == Settled::Succeeded {
            let job = &mut self.jobs[number];
            job.succeeded = job.succeeded.max(scheduled_for);
        }
        if awaited {
            self.dirty = true;
            self.note_dependents(number);
        }
    }

    /// Says for whom a job waits, as [`Rules::after`](super::Rules::after) does when it is put.
    pub fn run_after(&mut self, id: JobId, after: &Arc<[JobId]>) {
        if let Some(&number) = self.job_ids.get(&id) {
            self.dirty = true;
            self.set_after(number, after);
            self.inbox.push(number);
        }
    }

    /// Takes over for whom a job waits.
    pub(super) fn set_after(&mut self, number: u32, after: &Arc<[JobId]>) {
        let before = self.jobs[number].rare().after.clone().unwrap_or_default();
        if before == *after {
            return;
        }
        for id in &*before {
            if let Some(list) = self.dependents.get_mut(id) {
                list.retain(|&dependent| dependent != number);
                if list.is_empty() {
                    self.dependents.remove(id);
                }
            }
        }
        for &id in &**after {
            self.dependents.entry(id).or_default().push(number);
        }
        let rare = self.jobs[number].rare_mut();
        rare.after = Some(Arc::clone(after)).filter(|after| !after.is_empty());
        rare.cleared = None;
        self.leave(number);
    }

    /// A job is gone, and with it what is known of its retries.
    pub(super) fn forget_retries(&mut self, id: JobId) {
        let all = (id, Timestamp(i64::MIN))..=(id, Timestamp(i64::MAX));
        while let Some(&entry) = self.retrying.range(all.clone()).next() {
            self.retrying.remove(&entry);
        }
    }

    /// Those who wait for a job are looked at again.
    pub(super) fn note_dependents(&mut self, number: u32) {
        if self.dependents.is_empty() {
            return;
        }
        if let Some(list) = self.dependents.get(&self.jobs[number].id) {
            self.inbox.extend(list);
        }
    }

    /// Lets a job's next instant through if it need not wait any more, skipping those that wait in
    /// vain.
    pub(super) fn open_gate(&mut self, number: u32) {
        while let job = &self.jobs[number]
            && let Some(after) = job.rare().after.clone()
            && let Some(&waiting) = job.queue.nominal()
            && job.rare().cleared != Some(waiting.scheduled_for)
        {
            match self.gate(number, &after, waiting.scheduled_for) {
                Gate::Waits => return,
                Gate::Clear(waited) => {
                    let job = &mut self.jobs[number];
                    job.rare_mut().cleared = Some(waiting.scheduled_for);
                    if waited && waiting.trigger == Trigger::Schedule && job.queue.remove(&waiting)
                    {
                        let mut waiting = waiting;
                        waiting.trigger = Trigger::Dependency;
                        job.queue.push(waiting);
                    }
                }
                Gate::Never => {
                    if !self.jobs[number].queue.remove(&waiting) {
                        return;
                    }
                    self.totals.queued -= 1;
                    self.turn_away(number, SkipReason::Upstream, &waiting);
                    self.after_end(number);
                    self.refill_if_free(number);
                }
            }
        }
    }

    fn gate(&self, number: u32, after: &[JobId], at: Timestamp) -> Gate {
        let Some(times) = self.jobs[number].times.as_deref() else { return Gate::Waits };
        let before = match times.after_completion() {
            Some(by) => at.plus(-by),
            None => previous(times, at),
        };
        let mut gate = Gate::Clear(false);
        for &id in after {
            match (self.upstream(id, before, at), gate) {
                (Gate::Never, _) => return Gate::Never,
                (Gate::Waits, _) => gate = Gate::Waits,
                (Gate::Clear(true), Gate::Clear(_)) => gate = Gate::Clear(true),
                _ => {}
            }
        }
        gate
    }

    /// How one upstream job stands for its latest instant in a stretch.
    fn upstream(&self, id: JobId, before: Timestamp, at: Timestamp) -> Gate {
        const NONE_DUE: Gate = Gate::Clear(false);
        let Some(&number) = self.job_ids.get(&id) else { return NONE_DUE };
        let job = &self.jobs[number];
        let Some(times) = job.times.as_deref().filter(|_| job.on) else { return NONE_DUE };
        if times.after_completion().is_some() {
            return NONE_DUE;
        }
        let latest = last_before(|after| later(times, after), before, at.plus(1));
        let Some(latest) = latest.filter(|&latest| latest > job.began) else { return NONE_DUE };
        let adopted = || job.runs.iter().any(|run| run.waiting.is_none());
        if job.succeeded >= latest {
            Gate::Clear(true)
        } else if job.stale
            || self.retrying.contains(&(id, latest))
            || comes(job, latest)
            || adopted()
        {
            Gate::Waits
        } else if latest > job.popped && matches!(times.verdict(latest), Verdict::Start(_)) {
            // Not taken yet: it is to start later, or its job is paused.
            Gate::Waits
        } else {
            Gate::Never
        }
    }
}

/// The last instant before another one; before all time if there is none.
fn previous(times: &dyn Occurrences, at: Timestamp) -> Timestamp {
    let mut width = Timestamp::SECOND;
    loop {
        let from = at.plus(-width);
        if let Some(found) = last_before(|after| later(times, after), from, at) {
            return found;
        }
        // Half of all time is as good as all of it.
        if width > i64::MAX / 8 {
            return EVER;
        }
        width *= 4;
    }
}
