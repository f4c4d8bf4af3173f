//! What becomes of the instants of a schedule once their time has come.
//!
//! Invariant: instants are taken in order, each once, and what is taken is queued, stands in a
//! backlog, has a row already, or is reported as skipped. Instants that could not run at their
//! time (no scheduler lived, the clock jumped, the job was paused) form one kind of gap, whatever
//! made it: window and calendars are asked first, then the job's missed-run policy decides.

use super::state::{Backlog, EVER, Job};
use super::types::{Action, Occurrences};
use super::waiting::Waiting;
use super::{Engine, LATE};
use crate::run::{MissedPolicy, SkipReason, Trigger, Verdict};
use crate::time::Timestamp;

/// Instants counted one by one, of one job and in one tick. Beyond that counts are lower bounds.
pub(super) const COUNTED_PER_JOB: u64 = 100_000;
const COUNTED_PER_TICK: u64 = 1_000_000;
/// So many are counted of each job although those of the tick are used up.
const COUNTED_AT_LEAST: u64 = 100;

/// Neighbours that do not run for one reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fold {
    pub(super) reason: SkipReason,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
}

/// What is known when a job's instants are taken.
#[derive(Clone, Copy, Debug)]
struct Gap {
    now: Timestamp,
    /// Instants whose start lies before this are missed.
    end: Timestamp,
    /// Those before this one are too old to be caught up.
    oldest: Timestamp,
    /// The one instant that runs under the policy `once`.
    chosen: Option<Timestamp>,
}

impl Engine {
    /// Instants at or before `at` that are not accounted for are missed, however little they are
    /// late: no scheduler lived then.
    pub fn set_missed_before(&mut self, at: Timestamp) {
        self.missed_before = at;
        self.dirty = true;
    }

    /// Why the instants before [`Self::set_missed_before`] did not run. After a crash of the
    /// server those that are caught up are claimed first.
    pub fn set_gap_reason(&mut self, reason: SkipReason) {
        self.gap_reason = reason;
    }

    /// Takes every instant up to `now` from the agenda.
    pub(super) fn take_due(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut budget = COUNTED_PER_TICK;
        while let Some((at, number)) = self.agenda.peek()
            && at <= now
        {
            self.take(number, now, false, &mut budget, out);
            self.plan(number);
            // A schedule that names what it has named before must not keep us here.
            if self.agenda.key(&self.places.agenda, number).is_some_and(|at| at <= now) {
                self.agenda.set(&mut self.places.agenda, number, now.plus(1));
            }
            self.enter(number);
        }
    }

    /// Reports the instants up to `now` that will not run and were not reported because nothing
    /// had to be done about them: those outside windows, and those of a pause that nobody will
    /// catch up.
    pub fn flush_skips(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.hear(now);
        let mut budget = COUNTED_PER_TICK;
        for number in self.jobs.ids() {
            let job = &self.jobs[number];
            if job.on && !job.stale {
                self.take(number, now, true, &mut budget, out);
                self.plan(number);
                self.inbox.push(number);
            }
        }
    }

    /// Takes one job's instants up to `now`.
    fn take(
        &mut self,
        number: u32,
        now: Timestamp,
        flush: bool,
        budget: &mut u64,
        out: &mut Vec<Action>,
    ) {
        let Some(times) = self.jobs[number].times.take() else { return };
        let paused = self.jobs[number].is_paused(now);
        let hopeless = flush && self.jobs[number].missed == MissedPolicy::Skip;
        if times.after_completion().is_some() {
            if !paused {
                self.end_pause(number, now);
                self.take_next_after_run(number, &*times, now, out);
            }
        } else if !paused || hopeless {
            self.end_pause(number, now);
            self.take_instants(number, &*times, now, budget, out);
        }
        self.jobs[number].times = Some(times);
        self.note_dependents(number);
    }

    /// Notes up to where a pause went, if one is over; also in the middle of one.
    fn end_pause(&mut self, number: u32, now: Timestamp) {
        let job = &mut self.jobs[number];
        let rare = job.rare();
        let Some(until) = rare.resumed.max(rare.paused_until) else { return };
        let goes_on = job.is_paused(now);
        let rare = job.rare_mut();
        rare.resumed = None;
        rare.pause_end = Some(until.min(now));
        if !goes_on {
            rare.paused_until = None;
        }
    }

    /// What is a gap for a job at `now`.
    fn gap(&self, job: &Job, times: &dyn Occurrences, now: Timestamp) -> Gap {
        let rare = job.rare();
        let known = rare.pause_end.max(Some(self.missed_before)).unwrap_or(EVER);
        let end = now.plus(-LATE).max(known.plus(1)).min(now.plus(1));
        let oldest = rare.missed_window.map_or(EVER, |window| now.plus(-window));
        let mut gap = Gap { now, end, oldest, chosen: None };
        if job.missed == MissedPolicy::Once {
            gap.chosen = latest_open(job, times, gap);
        }
        gap
    }

    /// Takes a job's instants up to `now`, in order.
    fn take_instants(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        now: Timestamp,
        budget: &mut u64,
        out: &mut Vec<Action>,
    ) {
        let gap = self.gap(&self.jobs[number], times, now);
        let mut fold = None;
        let mut left = COUNTED_PER_JOB.min((*budget).max(COUNTED_AT_LEAST));
        while let Some(at) = later(times, self.jobs[number].popped).filter(|&at| at <= now) {
            let verdict = times.verdict(at);
            // What has a row is not counted, and nothing begins with it.
            let done = self.jobs[number].is_done(at);
            if left == 0 && !done && self.skim(number, times, (at, verdict), gap, &mut fold) {
                continue;
            }
            left = left.saturating_sub(u64::from(!done));
            *budget = budget.saturating_sub(u64::from(!done));
            let mut kept = None;
            let job = &self.jobs[number];
            let skip = match verdict {
                Verdict::Start(start) if start > now => break,
                _ if done => None,
                Verdict::Skip(reason) => Some(reason),
                Verdict::Start(start) if start < gap.end => match job.missed {
                    MissedPolicy::All if at >= gap.oldest => {
                        self.emit(number, &mut fold, out);
                        self.stock(number, times, at, gap);
                        continue;
                    }
                    MissedPolicy::Once if gap.chosen == Some(at) => {
                        let waiting = self.caught_up(at, now);
                        self.emit(number, &mut fold, out);
                        self.wait(number, waiting);
                        None
                    }
                    _ => Some(self.reason_of(job, at)),
                },
                Verdict::Start(start) if self.obstacle(number).is_none() => {
                    self.emit(number, &mut fold, out);
                    let since = self.since_of_replaced(number).map_or(start, |at| at.min(start));
                    kept = self.make_way(number, times, out);
                    let waiting = self.nominal(at, since, Trigger::Schedule);
                    self.wait(number, waiting);
                    None
                }
                Verdict::Start(_) => self.obstacle(number),
            };
            self.jobs[number].took(at);
            match skip {
                Some(reason) => self.skip(number, reason, at, &mut fold, out),
                None => {
                    self.emit(number, &mut fold, out);
                    self.jobs[number].skipped = kept;
                    self.note_moved(number);
                }
            }
        }
        self.emit(number, &mut fold, out);
    }

    /// Takes the rest of a very long stretch whose instants share the fate of its first, as one.
    /// False if they do not.
    fn skim(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        (at, verdict): (Timestamp, Verdict),
        gap: Gap,
        fold: &mut Option<Fold>,
    ) -> bool {
        let job = &self.jobs[number];
        let (reason, end) = match (verdict, job.missed, gap.chosen) {
            (Verdict::Skip(reason), _, _) => {
                let open = times.next_open(at).filter(|&open| open > at);
                (reason, open.map_or(gap.now.plus(1), |open| open.min(gap.now.plus(1))))
            }
            (_, MissedPolicy::All, _) => (self.reason_of(job, at), gap.end.min(gap.oldest)),
            (_, _, Some(chosen)) if chosen >= at => (self.reason_of(job, at), chosen),
            _ => (self.reason_of(job, at), gap.end),
        };
        let found = last_before(|after| later(times, after), job.popped, end);
        let starts_later = |&last: &Timestamp| matches!(times.verdict(last), Verdict::Start(start) if start >= gap.end);
        let Some(last) = found.filter(|last| !starts_later(last)) else { return false };
        match fold {
            Some(fold) => (fold.last, fold.count) = (last, fold.count + 1),
            None => *fold = Some(Fold { reason, first: at, last, count: 1 }),
        }
        self.jobs[number].took(last);
        true
    }

    /// Keeps the rest of a gap for later: all of it is to run.
    fn stock(&mut self, number: u32, times: &dyn Occurrences, first: Timestamp, gap: Gap) {
        let job = &mut self.jobs[number];
        let last = last_before(|after| later(times, after), job.popped, gap.end);
        // The last one may start after the gap, with jitter.
        let last = last.filter(
            |&last| matches!(times.verdict(last), Verdict::Start(start) if start >= gap.end),
        );
        let until = last.unwrap_or(gap.end);
        job.rare_mut().backlogs.push_back(Backlog { after: first.plus(-1), until });
        job.took(until.plus(-1));
        job.skipped = None;
    }

    /// Brings the next instant of a backlog into the queue, if nothing of one is there yet.
    pub(super) fn refill(&mut self, number: u32) {
        let mut out = std::mem::take(&mut self.outbox);
        let mut fold = None;
        let mut left = COUNTED_PER_JOB;
        // What was skipped last came after all of this.
        let skipped = self.jobs[number].skipped.take();
        while let Some(&Backlog { after, until }) = self.jobs[number].rare().backlogs.front()
            && !self.jobs[number].queue.catches_up()
        {
            let next = self.jobs[number].times.as_deref().and_then(|times| {
                let mut at = later(times, after).filter(|&at| at < until)?;
                if left == 0 && fold.is_some() {
                    // A very long closed stretch is taken as one; its count is a lower bound.
                    let open = times.next_open(after).filter(|&open| open < until);
                    let end = open.unwrap_or(until);
                    at = last_before(|after| later(times, after), after, end).or(open)?;
                }
                Some((at, times.verdict(at)))
            });
            let job = &mut self.jobs[number];
            let Some((at, verdict)) = next else {
                job.rare_mut().backlogs.pop_front();
                self.note_moved(number);
                continue;
            };
            if let Some(front) = job.rare_mut().backlogs.front_mut() {
                front.after = at;
            }
            match verdict {
                _ if self.jobs[number].is_done(at) => {
                    self.emit(number, &mut fold, &mut out);
                    self.jobs[number].skipped = None;
                }
                Verdict::Skip(reason) => {
                    match &mut fold {
                        Some(fold) if left == 0 => (fold.last, fold.count) = (at, fold.count + 1),
                        _ => self.skip(number, reason, at, &mut fold, &mut out),
                    }
                    left = left.saturating_sub(1);
                }
                Verdict::Start(_) => {
                    let waiting = self.caught_up(at, self.now);
                    self.emit(number, &mut fold, &mut out);
                    self.jobs[number].queue.push(waiting);
                    self.totals.queued += 1;
                }
            }
        }
        self.emit(number, &mut fold, &mut out);
        self.jobs[number].skipped = skipped;
        self.outbox = out;
    }

    /// The next run of a job that counts from the end of the last.
    fn take_next_after_run(
        &mut self,
        number: u32,
        times: &dyn Occurrences,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(at) = self.after_run(number, times).filter(|&at| at <= now) else { return };
        let gap = self.gap(&self.jobs[number], times, now);
        let job = &mut self.jobs[number];
        job.took(at);
        if at >= gap.end {
            let waiting = self.nominal(at, at, Trigger::Schedule);
            self.wait(number, waiting);
        } else if job.missed != MissedPolicy::Skip && at >= gap.oldest {
            let waiting = self.caught_up(at, now);
            self.wait(number, waiting);
        } else {
            job.rare_mut().base = Some(now);
            let mut fold = None;
            let reason = self.reason_of(&self.jobs[number], at);
            self.skip(number, reason, at, &mut fold, out);
            self.emit(number, &mut fold, out);
        }
    }

    /// When a job that counts from the end of its runs is due; `None` while one runs or waits.
    pub(super) fn after_run(&self, number: u32, times: &dyn Occurrences) -> Option<Timestamp> {
        let job = &self.jobs[number];
        let by = times.after_completion()?;
        if !job.runs.is_empty() || job.queue.nominal().is_some() {
            return None;
        }
        times.opens(job.rare().base?.plus(by))
    }

    /// Why an instant of a gap does not run.
    fn reason_of(&self, job: &Job, at: Timestamp) -> SkipReason {
        if job.rare().pause_end.is_some_and(|end| at <= end) {
            SkipReason::Paused
        } else if at <= self.missed_before {
            self.gap_reason
        } else {
            SkipReason::Missed
        }
    }

    fn caught_up(&mut self, at: Timestamp, now: Timestamp) -> Waiting {
        let claim = self.gap_reason == SkipReason::ServerCrashed && at <= self.missed_before;
        Waiting { claim, ..self.nominal(at, now, Trigger::CatchUp) }
    }

    fn nominal(&mut self, at: Timestamp, ready_at: Timestamp, trigger: Trigger) -> Waiting {
        let turn = self.next_arrival();
        let (run, claim, follows) = (None, false, false);
        Waiting { scheduled_for: at, ready_at, turn, run, attempt: 1, trigger, claim, follows }
    }

    /// Orders what comes to wait at one instant.
    pub(super) const fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// Puts an occurrence into its job's queue.
    pub(super) fn wait(&mut self, number: u32, waiting: Waiting) {
        let job = &mut self.jobs[number];
        job.queue.push(waiting);
        job.skipped = None;
        self.totals.queued += 1;
    }

    /// Adds an instant to what is skipped.
    pub(super) fn skip(
        &mut self,
        number: u32,
        reason: SkipReason,
        at: Timestamp,
        fold: &mut Option<Fold>,
        out: &mut Vec<Action>,
    ) {
        if let Some(fold) = fold
            && fold.reason == reason
            && self.jobs[number].is_of_one(fold.last, at)
        {
            (fold.last, fold.count) = (at, fold.count + 1);
            return;
        }
        self.emit(number, fold, out);
        *fold = Some(Fold { reason, first: at, last: at, count: 1 });
    }

    /// Reports what was skipped.
    pub(super) fn emit(&mut self, number: u32, fold: &mut Option<Fold>, out: &mut Vec<Action>) {
        let Some(Fold { reason, first, last, count }) = fold.take() else { return };
        let job = &mut self.jobs[number];
        let before = job.skipped.replace((reason, last)).filter(|(other, _)| *other == reason);
        let extends = before.map(|(_, last)| last).filter(|&last| job.is_of_one(last, first));
        out.push(Action::Skipped { job: job.id, reason, first, last, count, extends });
        self.fail(number, first, last);
        self.note_moved(number);
        self.note_dependents(number);
    }
}

/// The next instant, distrusting an implementation that does not move on.
pub(super) fn later(times: &dyn Occurrences, after: Timestamp) -> Option<Timestamp> {
    times.next_after(after).filter(|&next| next > after)
}

/// The latest instant of a gap that may run and has not.
fn latest_open(job: &Job, times: &dyn Occurrences, gap: Gap) -> Option<Timestamp> {
    let open = |after| times.next_open(after).filter(|&next| next > after);
    let mut end = gap.end;
    loop {
        let last = last_before(open, job.popped, end).filter(|&last| last >= gap.oldest)?;
        let starts = matches!(times.verdict(last), Verdict::Start(start) if start < gap.end);
        if starts && !job.is_done(last) {
            return Some(last);
        }
        end = last;
    }
}

/// The last instant after `after` and before `end`, with some 50 questions however many there are.
pub(super) fn last_before(
    next: impl Fn(Timestamp) -> Option<Timestamp>,
    after: Timestamp,
    end: Timestamp,
) -> Option<Timestamp> {
    let next_before_end = |after| next(after).filter(|&next| next < end);
    let mut last = next_before_end(after)?;
    let mut beyond = end;
    while last.plus(1) < beyond {
        let middle = last.plus(beyond.since(last) / 2);
        match next_before_end(middle) {
            Some(next) => last = next,
            None => beyond = middle,
        }
    }
    // The bisection leaves out an instant at `beyond` itself, if `beyond` was ever moved.
    next_before_end(last).or(Some(last))
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
        fn the_last_instant_before_an_end_is_exact(
            instants in proptest::collection::btree_set(0i64..5_000, 0..60),
            after in -1i64..5_000, end in 0i64..6_000,
        ) {
            let instants: Vec<i64> = instants.into_iter().collect();
            let exact = instants.iter().copied().rfind(|&at| at > after && at < end);
            let times = Instants(instants);
            let last = last_before(|at| later(&times, at), Timestamp(after), Timestamp(end));
            prop_assert_eq!(last, exact.map(Timestamp));
        }
    }
}
