//! Jobs that wait for others (the option `run_after`).
//!
//! Invariant: an instant of such a job is handed out only when each job it waits for has succeeded
//! for its latest instant that lies after the one before and not after the instant itself, if there
//! is one; it is skipped once one of those is accounted for and has not succeeded. Requests wait for
//! nobody.

use std::sync::Arc;

use super::Engine;
use super::due::{Fold, last_before, later};
use super::requests::comes;
use super::rules::Settled;
use super::state::{Awaited, EVER, Latest};
use super::types::Occurrences;
use super::waiting::Waiting;
use crate::run::{SkipReason, Trigger, Verdict};
use crate::time::{JobId, Timestamp};

/// How many instants that wait in vain are skipped in one tick, those of all jobs together. Each
/// needs some hundred questions to schedules, and everybody waits for the tick to end.
pub(super) const VAIN_PER_TICK: u32 = 1_000;

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
        if how == Settled::WillRetry {
            // Somebody may begin to wait for it before that.
            self.retrying.insert((id, scheduled_for));
        } else {
            self.retrying.remove(&(id, scheduled_for));
        }
        if how == Settled::Succeeded {
            self.succeed(number, scheduled_for);
        } else {
            self.fail(number, scheduled_for, scheduled_for);
        }
        if self.dependents.contains_key(&id) {
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
        let before = &self.jobs[number].rare().after;
        if before.as_deref().unwrap_or_default() == &**after {
            return;
        }
        let before = before.clone().unwrap_or_default();
        for &id in &**after {
            if self.dependents.entry(id).or_default().insert(number) {
                self.presume(id);
            }
        }
        for &id in before.iter().filter(|id| !after.contains(id)) {
            if let Some(list) = self.dependents.get_mut(&id) {
                list.remove(&number);
                if list.is_empty() {
                    self.dependents.remove(&id);
                    self.presume(id);
                }
            }
        }
        let rare = self.jobs[number].rare_mut();
        rare.after = Some(Arc::clone(after)).filter(|after| !after.is_empty());
        (rare.cleared, rare.awaited) = (None, None);
        self.leave(number);
    }

    /// For whom a job waits that has instants in the past, and from where on it matters to it what
    /// became of theirs: see [`Self::unsuccessful`].
    #[must_use]
    pub fn asks_about(&self, id: JobId) -> Option<(Arc<[JobId]>, Timestamp)> {
        let job = self.jobs.lookup(*self.job_ids.get(&id)?)?;
        let (after, times) = (job.rare().after.clone()?, job.times.as_deref()?);
        let since = match times.after_completion() {
            Some(by) => job.cursor().plus(-by),
            None => previous(times, later(times, job.cursor()).filter(|&at| at <= self.now)?),
        };
        Some((after, since))
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
        let id = self.jobs[number].id;
        if self.dependents.contains_key(&id) {
            self.noted.insert(id);
        }
    }

    /// Lets those go on who wait for a job and need not any more, or do in vain. All others, many
    /// perhaps, are left where they are.
    pub(super) fn look_at_dependents(&mut self, id: JobId) {
        let Some(list) = self.dependents.get(&id) else { return };
        for number in list.iter().copied().collect::<Vec<u32>>() {
            if self.unopened(number).is_some_and(|(_, gate)| gate != Gate::Waits) {
                self.enter(number);
            }
        }
    }

    /// A tick begins: what the last one left is gone on with.
    pub(super) fn resume_gates(&mut self) {
        self.vain_left = VAIN_PER_TICK;
        for number in std::mem::take(&mut self.put_off) {
            if let Some(rare) = self.jobs.lookup_mut(number).and_then(|job| job.rare.as_mut()) {
                rare.put_off = false;
                self.inbox.push(number);
            }
        }
    }

    /// Lets a job's next instant through if it need not wait any more, skipping those that wait in
    /// vain, neighbours in one row.
    pub(super) fn open_gate(&mut self, number: u32) {
        let mut fold = None;
        while let Some((waiting, gate)) = self.unopened(number) {
            match gate {
                Gate::Waits => break,
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
                    if self.put_off_if_many(number) || !self.jobs[number].queue.remove(&waiting) {
                        break;
                    }
                    self.totals.queued -= 1;
                    self.turn_next_away(number, waiting.scheduled_for, &mut fold);
                    self.after_end(number);
                    self.refill_if_free(number);
                }
            }
        }
        self.turn_all_away(number, fold);
    }

    /// Whether enough was skipped in this tick. What a job has left is gone on with in the next one.
    fn put_off_if_many(&mut self, number: u32) -> bool {
        if let Some(left) = self.vain_left.checked_sub(1) {
            self.vain_left = left;
            return false;
        }
        if !std::mem::replace(&mut self.jobs[number].rare_mut().put_off, true) {
            self.put_off.push(number);
        }
        true
    }

    /// Adds an instant that waited in vain to those before it.
    fn turn_next_away(&mut self, number: u32, at: Timestamp, fold: &mut Option<Fold>) {
        let job = &self.jobs[number];
        if let Some(fold) = fold
            && job.is_of_one(fold.last, at)
            && job.follows(fold.last, at)
        {
            (fold.last, fold.count) = (at, fold.count + 1);
            return;
        }
        let before =
            fold.replace(Fold { reason: SkipReason::Upstream, first: at, last: at, count: 1 });
        self.turn_all_away(number, before);
    }

    /// The next instant of a job that waits for others, unless it was let through already.
    fn unopened(&mut self, number: u32) -> Option<(Waiting, Gate)> {
        let job = self.jobs.lookup(number)?;
        let rare = job.rare();
        let after = rare.after.as_ref()?;
        let waiting = *job.queue.nominal()?;
        let at = waiting.scheduled_for;
        if rare.cleared == Some(at) {
            return None;
        }
        let after = Arc::clone(after);
        let Some(mut awaited) = self.awaited(number, at, after.len()) else {
            return Some((waiting, Gate::Waits));
        };
        let mut gate = Gate::Clear(false);
        for (&id, latest) in after.iter().zip(&mut awaited.latest) {
            match (self.upstream(id, awaited.before, at, latest), gate) {
                (Gate::Never, _) => {
                    gate = Gate::Never;
                    break;
                }
                (Gate::Waits, _) => gate = Gate::Waits,
                (Gate::Clear(true), Gate::Clear(_)) => gate = Gate::Clear(true),
                _ => {}
            }
        }
        self.jobs[number].rare_mut().awaited = Some(awaited);
        Some((waiting, gate))
    }

    /// What is known of whom an instant waits for; `None` for a job without a schedule.
    fn awaited(&mut self, number: u32, at: Timestamp, jobs: usize) -> Option<Box<Awaited>> {
        let times = self.jobs[number].times.clone()?;
        let known = self.jobs[number].rare_mut().awaited.take().filter(|known| known.at == at);
        Some(known.unwrap_or_else(|| {
            let before = match times.after_completion() {
                Some(by) => at.plus(-by),
                None => previous(&*times, at),
            };
            let latest = std::iter::repeat_with(|| None).take(jobs).collect();
            Box::new(Awaited { at, before, latest })
        }))
    }

    /// How one upstream job stands for its latest instant in a stretch. That instant is looked up
    /// once for each of its schedules: everything else here is asked again and again.
    fn upstream(
        &self,
        id: JobId,
        before: Timestamp,
        at: Timestamp,
        known: &mut Option<Latest>,
    ) -> Gate {
        const NONE_DUE: Gate = Gate::Clear(false);
        let Some(&number) = self.job_ids.get(&id) else { return NONE_DUE };
        let job = &self.jobs[number];
        let Some(times) = job.times.as_ref().filter(|_| job.on) else { return NONE_DUE };
        if times.after_completion().is_some() {
            return NONE_DUE;
        }
        let latest = match known {
            Some(known) if Arc::ptr_eq(&known.of, times) => known.instant,
            _ => {
                let instant = last_before(|after| later(&**times, after), before, at.plus(1));
                *known = Some(Latest { of: Arc::clone(times), instant });
                instant
            }
        };
        let Some(latest) = latest.filter(|&latest| latest > job.began) else { return NONE_DUE };
        let succeeded = job.has_succeeded(latest);
        // An earlier scheduler's run may be for it; or it is not taken yet, to start later or because
        // its job is paused.
        let adopted = || job.runs.iter().any(|run| run.waiting.is_none());
        let starts = || matches!(times.verdict(latest), Verdict::Start(_));
        let may_come = || adopted() || latest > job.popped && !job.is_done(latest) && starts();
        if self.retrying.contains(&(id, latest)) || comes(job, latest) {
            Gate::Waits
        } else if succeeded && !(job.is_presumed(latest) && may_come()) {
            Gate::Clear(true)
        } else if job.stale || may_come() {
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
