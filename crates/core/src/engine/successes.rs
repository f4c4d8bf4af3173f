//! For which of its instants a job that others wait for has succeeded.
//!
//! Invariant: of its instants up to its latest success a job has succeeded for those that lie in no
//! stretch of its failures, as far as anybody who waits for it may still ask. Only where success is
//! presumed (before this scheduler, or before all waited for it that do) a failure counts as success
//! until somebody tells of it. What has succeeded stays so.
//!
//! A job that never fails keeps nothing but its latest success, and so does one nobody waits for.

use std::collections::BTreeMap;

use super::Engine;
use super::due::later;
use super::state::{EVER, Job};
use crate::time::{JobId, Timestamp};

/// Most stretches kept of one job. Beyond that the oldest two become one, with what succeeded
/// between them: nobody runs after a failure, and some are skipped who need not be.
const MOST: usize = 1_000;

/// Where a job has not succeeded, before its latest success.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Success up to here is presumed.
    presumed: Option<Timestamp>,
    /// First and last of each, apart from each other.
    stretches: BTreeMap<Timestamp, Timestamp>,
}

impl Failures {
    pub(super) const NONE: Self = Self { presumed: None, stretches: BTreeMap::new() };

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stretches.len()
    }

    fn has(&self, at: Timestamp) -> bool {
        self.stretches.range(..=at).next_back().is_some_and(|(_, &last)| at <= last)
    }

    fn add(&mut self, mut first: Timestamp, mut last: Timestamp) {
        while let Some((&start, &end)) = self.stretches.range(..=last.plus(1)).next_back()
            && end >= first.plus(-1)
        {
            self.stretches.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.stretches.insert(first, last);
        if self.stretches.len() > MOST
            && let Some((first, _)) = self.stretches.pop_first()
            && let Some((_, last)) = self.stretches.pop_first()
        {
            self.stretches.insert(first, last);
        }
    }

    /// Takes an instant out; `next` is the one after it.
    fn remove(&mut self, at: Timestamp, next: Option<Timestamp>) {
        let found = self.stretches.range(..=at).next_back().filter(|(_, last)| at <= **last);
        let Some((&first, &last)) = found else { return };
        self.stretches.remove(&first);
        if first < at {
            self.stretches.insert(first, at.plus(-1));
        }
        if let Some(next) = next.filter(|&next| next <= last) {
            self.stretches.insert(next, last);
        }
    }
}

impl Job {
    /// Whether it has succeeded for an instant, as far as is known.
    pub(super) fn has_succeeded(&self, at: Timestamp) -> bool {
        at <= self.succeeded && !self.rare().failures.has(at)
    }

    /// Whether nobody has told for which instants around this one it has succeeded.
    pub(super) fn is_presumed(&self, at: Timestamp) -> bool {
        Some(at) <= self.rare().failures.presumed && at != self.succeeded
    }
}

impl Engine {
    /// None of a job's instants from `first` to `last` has succeeded by now, says the ledger. To be
    /// told when somebody begins to wait for the job who has instants in the past; what was not known
    /// until then is.
    pub fn unsuccessful(&mut self, id: JobId, first: Timestamp, last: Timestamp) {
        let Some(&number) = self.job_ids.get(&id) else { return };
        let job = &self.jobs[number];
        let next = job.times.as_deref().and_then(|times| later(times, last));
        if self.is_asked_about(job, first, next.unwrap_or(Timestamp(i64::MAX))) {
            self.dirty = true;
            // Neighbours that are told of one by one are one stretch.
            self.fail(number, first, next.map_or(last, |next| next.plus(-1)));
            self.note_dependents(number);
        }
    }

    /// A job is new, or others wait for it than before: of what was until now it may be that only the
    /// latest success is known.
    pub(super) fn presume(&mut self, id: JobId) {
        let Some(&number) = self.job_ids.get(&id) else { return };
        let job = &mut self.jobs[number];
        if !self.dependents.contains_key(&id) {
            if let Some(rare) = &mut job.rare {
                rare.failures = Failures::default();
            }
        } else if job.succeeded > EVER {
            job.rare_mut().failures.presumed = Some(job.succeeded);
        }
    }

    /// A job has succeeded for an instant.
    pub(super) fn succeed(&mut self, number: u32, at: Timestamp) {
        let job = &self.jobs[number];
        if at <= job.succeeded {
            let next = job.times.as_deref().and_then(|times| later(times, at));
            if let Some(rare) = &mut self.jobs[number].rare {
                rare.failures.remove(at, next);
            }
            return;
        }
        let passed_over = self.passed_over(job, at);
        self.jobs[number].succeeded = at;
        if let Some(first) = passed_over {
            self.jobs[number].rare_mut().failures.add(first, at.plus(-1));
            self.forget_failures(number);
        }
    }

    /// A job has not succeeded for its instants from `first` to `last`. That is news only where
    /// success is presumed: where it is not, each success is known.
    pub(super) fn fail(&mut self, number: u32, first: Timestamp, last: Timestamp) {
        let Some(rare) = &mut self.jobs[number].rare else { return };
        let Some(presumed) = rare.failures.presumed else { return };
        // For that one it has.
        let last = last.min(presumed.plus(-1));
        if first <= last {
            rare.failures.add(first, last);
        }
    }

    /// The first instant between a job's latest success and a later one, if somebody asks about what
    /// lies there.
    fn passed_over(&self, job: &Job, at: Timestamp) -> Option<Timestamp> {
        let known = job.succeeded.max(job.began);
        let times = job.times.as_deref().filter(|_| self.dependents.contains_key(&job.id))?;
        let first = later(times, known).filter(|&first| first < at)?;
        // What succeeded may be none of the schedule's instants.
        let next = later(times, at.plus(-1)).unwrap_or(Timestamp(i64::MAX));
        self.is_asked_about(job, first, next).then_some(first)
    }

    /// Whether what a job did from `first` on and before `end`, the instant after that, is anything to
    /// somebody who waits for it.
    fn is_asked_about(&self, job: &Job, first: Timestamp, end: Timestamp) -> bool {
        let asks = |&number: &u32| self.jobs[number].asks_about(first, end);
        self.dependents.get(&job.id).is_some_and(|list| list.iter().any(asks))
    }

    /// Forgets failures for which nobody waits any more.
    fn forget_failures(&mut self, number: u32) {
        let job = &self.jobs[number];
        let (Some(times), Some(dependents)) = (job.times.clone(), self.dependents.get(&job.id))
        else {
            return;
        };
        let waiting = dependents.iter().map(|&number| &self.jobs[number]).filter(|job| job.on);
        let passed = waiting.map(|job| if job.stale { EVER } else { job.cursor() });
        let passed = passed.min().unwrap_or(Timestamp(i64::MAX));
        let stretches = &mut self.jobs[number].rare_mut().failures.stretches;
        while let Some(oldest) = stretches.first_entry()
            && later(&*times, *oldest.get()).is_some_and(|next| next <= passed.plus(1))
        {
            oldest.remove();
        }
    }
}

impl Job {
    /// Whether the latest instant of another job before one of this job's may lie in a stretch of the
    /// other's: at or after `first` and before `end`, the instant that comes next.
    fn asks_about(&self, first: Timestamp, end: Timestamp) -> bool {
        let Some(times) = self.times.as_deref().filter(|_| self.on) else { return false };
        // What an earlier schedule left may wait, of which the present one knows nothing.
        let left_over = self.queue.nominal().is_some_and(|one| one.scheduled_for <= self.since);
        let named = || later(times, first.plus(-1)).is_some_and(|at| at < end);
        self.stale || left_over || times.after_completion().is_some() || named()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(failures: &Failures) -> Vec<(i64, i64)> {
        failures.stretches.iter().map(|(first, last)| (first.0, last.0)).collect()
    }

    #[test]
    fn what_succeeds_after_all_is_taken_out_of_a_stretch() {
        let mut failures = Failures::NONE;
        failures.add(Timestamp(10), Timestamp(39));
        failures.remove(Timestamp(20), Some(Timestamp(30)));
        assert_eq!(stretches(&failures), [(10, 19), (30, 39)]);
        assert!(!failures.has(Timestamp(20)));
        assert!(failures.has(Timestamp(10)) && failures.has(Timestamp(30)));
        failures.remove(Timestamp(10), Some(Timestamp(20)));
        failures.remove(Timestamp(30), Some(Timestamp(40)));
        assert_eq!(stretches(&failures), []);
        // What touches becomes one.
        for between in [(15, 30), (20, 29)] {
            let mut failures = Failures::NONE;
            for (first, last) in [(10, 19), (30, 39), between] {
                failures.add(Timestamp(first), Timestamp(last));
            }
            assert_eq!(stretches(&failures), [(10, 39)]);
        }
    }

    #[test]
    fn only_so_many_stretches_are_kept() {
        let mut failures = Failures::NONE;
        for n in 0..i64::try_from(MOST).unwrap() + 5 {
            failures.add(Timestamp(n * 10), Timestamp(n * 10 + 4));
        }
        assert_eq!(failures.stretches.len(), MOST);
        // Nothing that failed is forgotten.
        assert_eq!(stretches(&failures)[..2], [(0, 54), (60, 64)]);
    }
}
