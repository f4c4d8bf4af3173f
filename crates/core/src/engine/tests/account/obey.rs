//! What the engine says, held against the account.

use std::sync::Arc;

use super::super::support::*;
use super::{Busy, Fate, Job, LIMITS_HERE, Ledger, PLACES, Turn, done};
use crate::cancel::Cause;
use crate::engine::after::VAIN_PER_TICK;
use crate::engine::{Action, ExecutorId, JobSpec, LATE, Occurrence, Occurrences, PoolKey, Settled};
use crate::run::{MissedPolicy, Overlap, SkipReason, Trigger};
use crate::time::{JobId, RunId, Timestamp};

/// How many instants were skipped because they waited in vain.
fn vain(actions: &[Action]) -> u64 {
    let count = |action: &Action| match action {
        Action::Skipped { reason: SkipReason::Upstream, count, .. } => *count,
        _ => 0,
    };
    actions.iter().map(count).sum()
}

impl Ledger {
    pub(super) fn tick(&mut self) -> bool {
        self.latest = self.latest.max(self.now);
        let mut out = Vec::new();
        self.engine.tick(at(self.now), &mut out);
        self.obey_all(&out);
        if vain(&out) >= VAIN_PER_TICK.into() {
            // There may be more of them.
            return self.tick() || !out.is_empty();
        }
        let mut again = Vec::new();
        if !out.iter().any(|action| matches!(action, Action::ClockBack { .. })) {
            self.engine.tick(at(self.now), &mut again);
            assert_eq!(again, [], "left something undone");
            assert!(self.engine.next_wake().is_none_or(|wake| wake.0 > self.now), "spins");
        }
        self.check_cursors();
        !out.is_empty()
    }

    pub(super) fn obey_all(&mut self, actions: &[Action]) {
        self.counted = [0; 8];
        for &action in actions {
            match action {
                Action::Run { executor, occurrence, claim } => {
                    self.run(executor.0, occurrence, claim);
                }
                Action::Send { executor, occurrence, job, claim } => {
                    assert!(claim && job == occurrence.job);
                    assert!(self.spec(job).key.is_http());
                    *self.seen.entry("send".to_owned()).or_default() += 1;
                    self.run(executor.0, occurrence, claim);
                    let sent = self.busy.keys().filter(|&&id| id > ExecutorId::MAX).count();
                    assert!(sent <= LIMITS_HERE.http_max_requests as usize, "too many requests");
                }
                // A request that was none: no schedule here names its instant.
                Action::Skipped { reason: SkipReason::Condition, first, .. }
                    if first.0 % SEC != 0 => {}
                Action::Skipped { job, reason, first, last, count, extends } => {
                    *self.seen.entry(reason.to_string()).or_default() += 1;
                    self.skip(
                        usize::try_from(job.0).unwrap(),
                        reason,
                        (first, last),
                        count,
                        extends,
                    );
                }
                Action::ClockBack { to } => self.clock_back(to),
                Action::Cancel { executor, job, cause } => self.cancel(executor.0, job, cause),
                Action::StartExecutor { key } => {
                    self.engine.executor_refused(key, at(self.now));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn run(&mut self, executor: u32, occurrence: Occurrence, claim: bool) {
        let index = usize::try_from(occurrence.job.0).unwrap();
        *self.seen.entry(occurrence.trigger.to_string()).or_default() += 1;
        let now = at(self.now);
        if let Some(queue) = self.jobs[index].spec.rules.queue {
            let of_queue = self.jobs.iter().filter(|job| job.spec.rules.queue == Some(queue));
            let running: u32 = of_queue.map(|job| job.running).sum();
            assert!(running < PLACES, "no place left");
        }
        let job = &mut self.jobs[index];
        job.running += 1;
        // Fewer may be allowed by now than when they began.
        assert!(job.running <= job.spec.rules.places(), "too many runs at a time");
        assert!(!job.held, "started although held");
        let nominal = occurrence.scheduled_for;
        if let Some(run) = occurrence.run {
            let place = job.asked.iter().position(|&asked| asked == run).expect("asked for");
            job.asked.remove(place);
        } else {
            let before = job.fates.insert(nominal, Fate::Ran);
            assert_eq!(before, None, "{occurrence:?} has its fate");
            let started = job.times.start(nominal).0 <= self.latest;
            assert!(started || job.changed, "too early: {occurrence:?}");
            let made_up = job.spec.missed != MissedPolicy::Skip;
            let waited = occurrence.trigger == Trigger::Dependency;
            // For whom it waited may have been taken back since.
            let awaited = !job.spec.rules.after.is_empty() || nominal <= job.awaited;
            assert!(!waited || awaited, "waited for nobody");
            let planned = waited || occurrence.trigger == Trigger::Schedule;
            assert!(made_up || planned, "{occurrence:?}");
            self.check_upstream(index, nominal);
        }
        let job = &mut self.jobs[index];
        if occurrence.trigger != Trigger::Manual {
            assert_eq!(job.spec.times.opens(now), Some(now), "started while closed");
            assert!(
                job.spec.paused_until.is_none_or(|until| until.0 <= self.latest),
                "started in a pause"
            );
        }
        let lost = occurrence.trigger == Trigger::CatchUp && nominal.0 <= self.dead_until;
        let http = job.spec.key.is_http();
        match job.back.remove(&nominal) {
            Some(expected) => assert_eq!(claim, http || expected, "forgot about the claim"),
            None => assert!(!claim || http || (self.crashed && lost)),
        }
        let ends = self.now + self.dice.up_to(self.longest_run);
        let turn = match self.dice.roll(12) {
            0 => Turn::Unbegun(true),
            1 => Turn::Unbegun(false),
            2 => Turn::Unmet,
            3 if executor <= ExecutorId::MAX => Turn::Sends,
            _ => Turn::Runs,
        };
        let cancelled = false;
        let busy = Busy { ends, job: index, occurrence, claim, turn, cancelled };
        assert!(self.busy.insert(executor, busy).is_none(), "two runs on one executor");
    }

    /// The latest instants of those an instant waits for, since the one before, that did not succeed:
    /// of whom, and whether they count for sure.
    fn failed_upstream(&self, index: usize, nominal: Timestamp) -> Vec<(JobId, Timestamp, bool)> {
        let job = &self.jobs[index];
        let mut failed = Vec::new();
        for &other in &*job.spec.rules.after {
            let upstream = &self.jobs[usize::try_from(other.0).unwrap()];
            let period = |job: &Job| job.times.period;
            let latest = at(nominal.0.div_euclid(period(upstream)) * period(upstream));
            let due = latest > nominal.plus(-period(job));
            if due && !upstream.succeeded.contains(&latest) {
                // What began before the present schedules may have been let through by others.
                let since = job.since.max(upstream.since).max(self.stepped);
                failed.push((other, latest, nominal > since && latest > upstream.began));
            }
        }
        failed
    }

    /// Each of those an instant waits for has succeeded.
    fn check_upstream(&self, index: usize, nominal: Timestamp) {
        let mut failed = self.failed_upstream(index, nominal);
        failed.retain(|&(.., counts)| counts);
        assert_eq!(failed, [], "not succeeded, and not waited for");
    }

    /// One of those an instant waits for has not succeeded.
    fn check_vain(&self, index: usize, nominal: Timestamp) {
        if nominal > self.jobs[index].since.max(self.stepped) {
            let failed = self.failed_upstream(index, nominal);
            assert_ne!(failed, [], "{nominal:?} has waited for nobody in vain");
        }
    }

    /// A run makes way, soon.
    fn cancel(&mut self, executor: u32, job: JobId, cause: Cause) {
        *self.seen.entry("cancel".to_owned()).or_default() += 1;
        let later = self.now + self.dice.up_to(3 * SEC);
        let busy = self.busy.get_mut(&executor).expect("runs");
        let spec = &self.jobs[busy.job].spec;
        assert_eq!(spec.id, job);
        let expected = if spec.active { Cause::Replaced } else { Cause::Dropped };
        assert_eq!(cause, expected);
        assert!(!spec.active || spec.rules.overlap == Overlap::Replace);
        assert!(!std::mem::replace(&mut busy.cancelled, true), "cancelled twice");
        busy.ends = busy.ends.min(later);
    }

    /// An executor has nothing to do any more. It may not have begun.
    fn end(&mut self, id: u32) {
        let Some(busy) = self.busy.remove(&id) else { return };
        let Busy { job: index, occurrence, claim, turn, cancelled, .. } = busy;
        if let Turn::Sends = turn {
            return self.send_instead(id, busy);
        }
        let job = &mut self.jobs[index];
        job.running -= 1;
        let (now, run, nominal) = (at(self.now), ExecutorId(id), occurrence.scheduled_for);
        let mut again = false;
        if let Turn::Unmet = turn {
            if occurrence.attempt > 1 {
                // Its instant has failed before, and for good now.
                self.engine.settled(occurrence.job, nominal, Settled::FailedForGood);
                return self.engine.run_finished(run, now);
            }
            if occurrence.run.is_none() {
                assert_eq!(job.fates.remove(&nominal), Some(Fate::Ran));
                job.checked = job.checked.min(nominal.plus(-1));
            }
            return self.engine.run_skipped(run, SkipReason::Condition, now);
        }
        if let Turn::Unbegun(claims) = turn {
            *self.seen.entry("put back".to_owned()).or_default() += 1;
            let replaced = cancelled && occurrence.run.is_none();
            assert_eq!(self.engine.put_back(occurrence, claims), !replaced);
            if !replaced {
                assert!(!self.engine.put_back(occurrence, claims), "taken twice");
            }
            job.back.insert(nominal, claim || claims);
            match occurrence.run {
                Some(run) => job.asked.push(run),
                None => assert_eq!(job.fates.remove(&nominal), Some(Fate::Ran)),
            }
            job.checked = job.checked.min(nominal.plus(-1));
        } else if occurrence.trigger != Trigger::Manual {
            use Settled::{FailedForGood, Succeeded, WillRetry};
            let last = if self.settling { FailedForGood } else { WillRetry };
            let how = self.pick(&[Succeeded, Succeeded, FailedForGood, last]);
            if how == Succeeded {
                self.jobs[index].succeeded.insert(nominal);
            }
            self.engine.settled(occurrence.job, nominal, how);
            again = how == WillRetry;
        }
        self.engine.run_finished(run, now);
        if again {
            self.retry(index, occurrence);
        }
    }

    /// A run that failed is tried again, some time.
    fn retry(&mut self, index: usize, failed: Occurrence) {
        *self.seen.entry("tried again".to_owned()).or_default() += 1;
        self.runs += 1;
        let (run, attempt) = (Some(RunId(self.runs)), failed.attempt + 1);
        let retry = Occurrence { run, attempt, trigger: Trigger::Retry, ..failed };
        let then = at(self.now + self.dice.up_to(100 * SEC));
        assert!(self.engine.enqueue_at(retry, then), "refused: {retry:?}");
        self.jobs[index].asked.extend(run);
    }

    /// A run has only asked for its condition, and is to be sent.
    fn send_instead(&mut self, id: u32, busy: Busy) {
        *self.seen.entry("sent instead".to_owned()).or_default() += 1;
        let send = self.engine.send_instead(ExecutorId(id), PoolKey::http(7), at(self.now));
        let ends = self.now + self.dice.up_to(self.longest_run);
        let turn = self.pick(&[Turn::Runs, Turn::Runs, Turn::Unbegun(true), Turn::Unbegun(false)]);
        let before = self.busy.insert(send.expect("a run").0, Busy { ends, turn, ..busy });
        assert!(before.is_none(), "two runs under one number");
    }

    pub(super) fn skip(
        &mut self,
        index: usize,
        reason: SkipReason,
        (first, last): (Timestamp, Timestamp),
        count: u64,
        extends: Option<Timestamp>,
    ) {
        if reason == SkipReason::Upstream {
            self.check_vain(index, first);
            self.check_vain(index, last);
        }
        let job = &mut self.jobs[index];
        let known = &self.engine.jobs[self.engine.job_ids[&job.spec.id]];
        let comes = |nominal| {
            let mut runs = known.runs.iter().filter_map(|run| run.waiting);
            known.queue.has(nominal) || runs.any(|run| run.scheduled_for == nominal)
        };
        let times = Arc::clone(&job.times);
        let of_old = last <= job.since;
        self.counted[index] += count;
        // Beyond what is counted one by one the rest is one row, whatever has one already or waits,
        // and its count a lower bound. What waits still has its own fate to come.
        let exact = self.counted[index] < 50_000;
        let mut covered = 0;
        let mut next = Some(first);
        while let Some(nominal) = next.filter(|&nominal| nominal <= last) {
            let before = job.fates.get(&nominal).copied().filter(|_| exact || covered == 0);
            assert_eq!(before, None, "{nominal:?} skipped for {reason} has its fate");
            if exact || covered == 0 || !comes(nominal) {
                job.fates.entry(nominal).or_insert(Fate::Skipped(reason));
            }
            // What an earlier schedule left may wait after a step back of the clock.
            let shaped = matches!(reason, SkipReason::Window | SkipReason::Calendar);
            let left_over = job.changed && !shaped;
            if !of_old && exact && !left_over {
                let closed = times.closed(nominal);
                assert_eq!(closed, Some(reason).filter(|_| shaped), "wrong reason");
                if reason == SkipReason::Missed {
                    let start = times.start(nominal).0;
                    assert!(start <= self.dead_until || self.now - start > LATE, "not missed");
                }
            }
            covered += 1;
            next = times.next_after(nominal);
        }
        assert!(
            of_old || covered == count || (!exact && count < covered),
            "{covered} instants counted as {count}"
        );
        if let Some(longer) = extends {
            assert!(job.skipped.remove(&(reason, longer)), "extends no row");
            let apart = (longer <= job.from) != (first <= job.from);
            assert!(!apart, "{reason}: one row for two schedules");
            let neighbours = of_old || times.next_after(longer) == Some(first);
            assert!(neighbours, "{reason}: something came between {longer:?} and {first:?}");
        }
        job.skipped.insert((reason, last));
    }

    pub(super) fn clock_back(&mut self, to: Timestamp) {
        assert_eq!(to, at(self.now));
        self.stepped = at(self.latest);
        for job in &mut self.jobs {
            // Either is right: the engine keeps what is before it.
            let cursor = self.engine.cursor(job.spec.id).unwrap().max(job.since);
            let after = if self.dice.roll(2) == 0 { to } else { to.min(cursor) };
            job.spec.done = done(job, after);
            (job.since, job.from, job.checked) = (after, after, after);
            job.began = after;
            job.skipped.clear();
            self.engine.put_job(job.spec.clone(), after);
        }
        self.tick();
    }

    fn spec(&self, id: JobId) -> &JobSpec {
        &self.jobs[usize::try_from(id.0).unwrap()].spec
    }

    /// Every instant up to the cursor has its fate.
    pub(super) fn check_cursors(&mut self) {
        for job in &mut self.jobs {
            let cursor = self.engine.cursor(job.spec.id).expect("known");
            let mut next = job.times.next_after(job.since.max(job.checked));
            while let Some(nominal) = next.filter(|&nominal| nominal <= cursor) {
                assert!(job.fates.contains_key(&nominal), "cursor {cursor:?} passed {nominal:?}");
                job.checked = nominal;
                next = job.times.next_after(nominal);
            }
        }
    }

    /// Sleeps until something happens.
    pub(super) fn step(&mut self) -> bool {
        let end = self.busy.iter().map(|(&id, busy)| (busy.ends, id)).min();
        let wake = self.engine.next_wake().map(|wake| wake.0);
        let Some(then) = [end.map(|(end, _)| end), wake].into_iter().flatten().min() else {
            return false;
        };
        let then = then.max(self.now);
        if then > self.now + 1 && self.dice.roll(3) == 0 {
            self.now += self.dice.up_to(then - self.now - 1);
            assert!(!self.tick(), "there was work before the promised instant");
        }
        self.now = then;
        if let Some((end, id)) = end
            && end <= self.now
        {
            self.end(id);
        }
        self.tick();
        true
    }

    /// Lets everything come to its end and closes the account.
    pub(super) fn settle(&mut self) {
        (self.longest_run, self.settling) = (0, true);
        self.release();
        for index in 0..self.jobs.len() {
            self.jobs[index].spec.paused_until = None;
            self.engine.put_job(self.jobs[index].spec.clone(), at(self.now));
        }
        // Backlogs of one-second jobs over hours take their runs; then a while of quiet life.
        let (mut steps, lived) = (0, u64::try_from(self.latest).unwrap() / 1_000_000 - 1_000_000);
        while steps < 300 || self.jobs.iter().any(|job| !job.asked.is_empty()) {
            assert!(self.step() && steps < 100_000 + 5 * lived, "asked for and never run");
            steps += 1;
        }
        let mut out = Vec::new();
        self.engine.flush_skips(at(self.now), &mut out);
        self.obey_all(&out);
        self.tick();
        for job in &self.jobs {
            let waits = self.engine.cursor(job.spec.id).unwrap();
            let mut next = job.times.next_after(job.since.max(waits));
            // What has no fate is waiting, in a backlog, or not yet to start.
            if job.running > 0 || self.engine.counts().waiting > 0 {
                continue;
            }
            while let Some(nominal) = next.filter(|nominal| nominal.0 <= self.now) {
                let fated = job.fates.contains_key(&nominal);
                assert!(fated || job.times.start(nominal).0 > self.now, "{nominal:?} was lost");
                next = job.times.next_after(nominal);
            }
        }
    }
}
