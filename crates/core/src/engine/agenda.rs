//! Jobs and their instants: from schedules to due occurrences.
//!
//! Invariant: a job that is on and has a next instant stands in `agenda` at the first instant after
//! the later of the `after` it was put with and the last one taken. A job that waits for nothing
//! but a slot or an executor stands in its key's heap, every other one does not.

use std::sync::Arc;

use super::state::{Job, Waiting};
use super::types::{Action, ExecutorId, JobSpec, Occurrence, Occurrences};
use super::{Engine, LATE};
use crate::run::Trigger;
use crate::time::{JobId, Timestamp};

/// Missed instants counted one by one, for one job and in one tick.
const COUNTED_PER_JOB: u64 = 1_000;
const COUNTED_PER_TICK: u64 = 100_000;

impl Engine {
    /// Makes a job known, or takes over a change to it. Instants strictly after `after` are due.
    ///
    /// `after` is when the present schedule, zone and activation began (`effective_from`), or the
    /// job's cursor after a restart. No instant already taken is taken again and none is lost by a
    /// change that leaves the schedule alone: pass the same `after` again, or the same `times`
    /// (`Arc::ptr_eq`), with which `after` is ignored. What is queued or running goes on, under the
    /// new key when that changed (a running run stays where it is). `active = false` on an active
    /// job clears its queue and cancels its run.
    pub fn put_job(&mut self, spec: JobSpec, after: Timestamp) {
        self.dirty = true;
        let key = self.key_for(spec.key);
        let number = match self.job_ids.get(&spec.id) {
            Some(&number) => number,
            None => self.add_job(spec.id, key),
        };
        if self.jobs[number].key != key {
            self.leave(number);
            let old = std::mem::replace(&mut self.jobs[number].key, key);
            self.keys[key].refs += 1;
            self.release_key(old);
            self.enter(number);
        }
        let job = &mut self.jobs[number];
        job.dropped = false;
        job.active = spec.active;
        let same = job.times.as_ref().is_some_and(|times| Arc::ptr_eq(times, &spec.times));
        if !same {
            job.times = Some(spec.times);
        }
        self.switch(number, after, !same);
    }

    /// Forgets a job: what it has queued is gone, its run is cancelled.
    pub fn drop_job(&mut self, id: JobId) {
        let Some(&number) = self.job_ids.get(&id) else { return };
        self.dirty = true;
        self.stop(number);
        let job = &mut self.jobs[number];
        job.active = false;
        job.dropped = true;
        job.times = None;
        self.forget_if_over(number);
    }

    /// Adds an occurrence that does not come from the agenda (manual, retry, backfill and so on).
    /// False when the job is unknown or its queue is full. An inactive job takes it too: only the
    /// change to inactive clears the queue.
    pub fn enqueue(&mut self, occurrence: Occurrence) -> bool {
        let Some(&number) = self.job_ids.get(&occurrence.job) else { return false };
        if self.jobs[number].dropped || !self.has_room(number) {
            return false;
        }
        self.dirty = true;
        self.jobs[number].queue.push(Waiting {
            scheduled_for: occurrence.scheduled_for,
            attempt: occurrence.attempt,
            trigger: occurrence.trigger,
        });
        self.totals.queued += 1;
        self.inbox.push(number);
        true
    }

    /// Makes what `enqueue` brought eligible, now that the time is known.
    pub(super) fn admit(&mut self) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for number in inbox.drain(..) {
            self.enter(number);
        }
        self.inbox = inbox;
    }

    /// A record for a job, counted as a user of `key`.
    pub(super) fn add_job(&mut self, id: JobId, key: u32) -> u32 {
        let number = self.jobs.insert(Job { id, key, ..Job::default() });
        self.keys[key].refs += 1;
        self.job_ids.insert(id, number);
        number
    }

    /// Brings `on` and the agenda in line with `active`, `launch` and the schedule.
    pub(super) fn switch(&mut self, number: u32, after: Timestamp, changed: bool) {
        let job = &mut self.jobs[number];
        let on = job.active && self.limits.launch && !job.dropped;
        match (job.on, on) {
            (false, false) => {}
            (true, false) => self.stop(number),
            (true, true) if !changed => {}
            _ => {
                job.on = true;
                let after = after.max(job.popped);
                self.plan(number, after);
            }
        }
    }

    fn plan(&mut self, number: u32, after: Timestamp) {
        let next = self.jobs[number].times.as_deref().and_then(|times| later(times, after));
        match next {
            Some(at) => self.agenda.set(&mut self.places.agenda, number, at),
            None => {
                self.agenda.remove(&mut self.places.agenda, number);
            }
        }
    }

    /// Off the agenda, nothing queued, the run to be cancelled.
    fn stop(&mut self, number: u32) {
        self.agenda.remove(&mut self.places.agenda, number);
        self.leave(number);
        let job = &mut self.jobs[number];
        job.on = false;
        self.totals.queued -= job.queue.clear();
        if let Some(executor) = job.running
            && !job.cancelled
        {
            self.outbox.push(Action::Cancel { executor: ExecutorId(executor), job: job.id });
        }
    }

    /// Drops the record of a job that is neither wanted nor running.
    pub(super) fn forget_if_over(&mut self, number: u32) {
        let job = &self.jobs[number];
        if !job.dropped || job.running.is_some() {
            return;
        }
        let (id, key) = (job.id, job.key);
        self.job_ids.remove(&id);
        self.jobs.remove(number);
        self.release_key(key);
    }

    /// After a large step back of the clock: every job begins anew.
    pub(super) fn restart_agenda(&mut self) {
        let now = self.now;
        for number in self.jobs.ids() {
            self.jobs[number].popped = self.jobs[number].popped.min(now);
            if self.jobs[number].on {
                self.plan(number, now);
            }
        }
    }

    /// Whether one more occurrence may queue: the limit is about those behind the one that runs or
    /// is next to run.
    fn has_room(&self, number: u32) -> bool {
        let job = &self.jobs[number];
        let next_to_run = usize::from(job.running.is_none());
        job.queue.len() < (self.limits.max_queued_per_job as usize).saturating_add(next_to_run)
    }

    /// Takes every instant up to `now` from the agenda.
    pub(super) fn take_due(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut budget = COUNTED_PER_TICK;
        while let Some((at, number)) = self.agenda.peek()
            && at <= now
        {
            let Some(times) = self.jobs[number].times.take() else {
                self.agenda.remove(&mut self.places.agenda, number);
                continue;
            };
            let next = self.take_instants(number, &*times, at, now, &mut budget, out);
            self.jobs[number].times = Some(times);
            match next {
                Some(at) => self.agenda.set(&mut self.places.agenda, number, at),
                None => {
                    self.agenda.remove(&mut self.places.agenda, number);
                }
            }
            self.enter(number);
        }
    }

    /// One job's instants from `first` to `now`; gives the next one.
    fn take_instants(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        first: Timestamp,
        now: Timestamp,
        budget: &mut u64,
        out: &mut Vec<Action>,
    ) -> Option<Timestamp> {
        let mut next = Some(first);
        let late = now.plus(-LATE);
        if first < late {
            let (last, count) = count_until(times, first, late, budget);
            out.push(Action::Missed { job: self.jobs[number].id, first, last, count });
            self.jobs[number].popped = last;
            next = later(times, last);
        }
        while let Some(at) = next
            && at <= now
        {
            let room = self.has_room(number);
            let job = &mut self.jobs[number];
            job.popped = at;
            if room {
                let trigger = Trigger::Schedule;
                job.queue.push(Waiting { scheduled_for: at, attempt: 1, trigger });
                self.totals.queued += 1;
            } else {
                out.push(Action::Overflow { job: job.id, scheduled_for: at });
            }
            next = later(times, at);
        }
        next
    }

    /// Puts a job into its key's heap if it waits for a slot or an executor only.
    pub(super) fn enter(&mut self, number: u32) {
        let now = self.now;
        let Some(job) = self.jobs.lookup_mut(number) else { return };
        let Some(due) = job.queue.head().filter(|_| job.running.is_none()) else { return };
        let head = (due, job.id);
        let key = job.key;
        if self.keys[key].jobs.key(&self.places.key_jobs, number).is_some() {
            return;
        }
        job.eligible_since = now;
        self.keys[key].jobs.set(&mut self.places.key_jobs, number, head);
        self.refresh_key(key);
    }

    /// Takes a job out of its key's heap.
    pub(super) fn leave(&mut self, number: u32) {
        let key = self.jobs[number].key;
        if self.keys[key].jobs.remove(&mut self.places.key_jobs, number) {
            self.refresh_key(key);
        }
    }
}

/// The next instant, distrusting an implementation that does not move on.
fn later(times: &dyn Occurrences, after: Timestamp) -> Option<Timestamp> {
    times.next_after(after).filter(|&next| next > after)
}

/// The last instant before `end` and how many there are from `first` on.
///
/// Counts while `budget` and the cap for one job allow; what lies beyond is found by bisection,
/// with some 50 questions however wide the gap is.
fn count_until(
    times: &dyn Occurrences,
    first: Timestamp,
    end: Timestamp,
    budget: &mut u64,
) -> (Timestamp, u64) {
    let (mut last, mut count) = (first, 1);
    let next_before_end = |after| later(times, after).filter(|&next| next < end);
    while count < COUNTED_PER_JOB && *budget > 0 {
        let Some(next) = next_before_end(last) else { return (last, count) };
        (last, count) = (next, count + 1);
        *budget -= 1;
    }
    let mut beyond = end;
    while last.plus(1) < beyond {
        let middle = last.plus(beyond.since(last) / 2);
        match next_before_end(middle) {
            Some(next) => last = next,
            None => beyond = middle,
        }
    }
    // The bisection leaves out an instant at `beyond` itself, if `beyond` was ever moved.
    next_before_end(last).map_or((last, count), |next| (next, count + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Instants(Vec<i64>);

    impl Occurrences for Instants {
        fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
            self.0.iter().map(|&at| Timestamp(at)).find(|&at| at > after)
        }
    }

    proptest! {
        #[test]
        fn the_last_missed_instant_is_exact(instants in proptest::collection::btree_set(0i64..5_000, 1..60),
                                            end in 1i64..6_000, budget in 0u64..80) {
            let instants: Vec<i64> = instants.into_iter().collect();
            let before: Vec<i64> = instants.iter().copied().filter(|&at| at < end).collect();
            prop_assume!(!before.is_empty());
            let mut left = budget;
            let first = Timestamp(before[0]);
            let (last, count) = count_until(&Instants(instants), first, Timestamp(end), &mut left);
            prop_assert_eq!(Some(&last.0), before.last());
            let exact = before.len() as u64;
            prop_assert!(count <= exact && (count == exact || left == 0));
        }
    }
}
