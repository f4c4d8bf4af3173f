//! What happens to jobs and to the scheduler.

use std::sync::Arc;

use super::super::shaped::Shaped;
use super::super::support::*;
use super::{Fate, Job, Ledger, Turn, done, engine};
use crate::engine::{JobSpec, LATE, Occurrence, Occurrences};
use crate::run::{SkipReason, Trigger};
use crate::time::{RunId, Timestamp};

impl Ledger {
    pub(super) fn disturb(&mut self) {
        let index = usize::try_from(self.dice.roll(self.jobs.len() as u64)).unwrap();
        match self.dice.roll(16) {
            0 | 1 => self.pause(index),
            2 => self.ask(index, Trigger::Manual),
            3 => self.ask(index, Trigger::Retry),
            4 => self.change(index),
            5 => self.rebuild(index),
            6 => self.restart(),
            7 => self.now += self.dice.up_to(4_000 * SEC),
            8 => {
                self.now -= self.dice.up_to(4_000 * SEC);
                self.tick();
            }
            9 => {
                // Less than what counts as a step.
                self.now -= self.dice.up_to(LATE);
                self.tick();
            }
            10 => {
                let mut out = Vec::new();
                self.engine.flush_skips(at(self.now), &mut out);
                self.obey_all(&out);
                self.tick();
            }
            11 => self.longest_run = self.pick(&[0, 2 * SEC, 100 * SEC]),
            12 => self.release(),
            13 => self.change_rules(index),
            14 => self.switch_off_and_on(index),
            _ => {
                let job = &mut self.jobs[index];
                job.held = true;
                self.engine.hold(job.spec.id);
                assert!(self.engine.is_held(job.spec.id));
            }
        }
    }

    /// Other options, the same schedule.
    fn change_rules(&mut self, index: usize) {
        let rules = self.random_rules(self.jobs[index].spec.id.0);
        let job = &mut self.jobs[index];
        if rules.after.is_empty() && !job.spec.rules.after.is_empty() {
            // What has waited for somebody may still wait, for an executor.
            job.awaited = at(self.latest);
        }
        job.spec.rules = rules;
        self.engine.put_job(job.spec.clone(), job.since);
        self.recall_failures();
    }

    pub(super) fn release(&mut self) {
        self.engine.release_holds();
        self.jobs.iter_mut().for_each(|job| job.held = false);
    }

    pub(super) fn pause(&mut self, index: usize) {
        let until = match self.dice.roll(4) {
            0 => Some(Timestamp(i64::MAX)),
            1 | 2 => Some(at(self.now + self.dice.up_to(2_000 * SEC))),
            _ => None,
        };
        let job = &mut self.jobs[index];
        job.spec.paused_until = until;
        self.engine.put_job(job.spec.clone(), at(self.now));
    }

    pub(super) fn ask(&mut self, index: usize, trigger: Trigger) {
        self.runs += 1;
        let run = RunId(self.runs);
        // An instant no schedule names.
        let scheduled_for = at(self.now / SEC * SEC + self.runs % SEC + 1);
        let job = &mut self.jobs[index];
        let occurrence =
            Occurrence { job: job.spec.id, scheduled_for, trigger, attempt: 1, run: Some(run) };
        assert!(self.engine.enqueue(occurrence), "refused");
        assert!(!self.engine.enqueue(occurrence), "taken twice");
        job.asked.push(run);
    }

    /// Another schedule from now on.
    pub(super) fn change(&mut self, index: usize) {
        self.tick();
        let times = self.random_times();
        let now = at(self.now);
        let job = &mut self.jobs[index];
        job.spec.times = Arc::clone(&times) as Arc<dyn Occurrences>;
        job.spec.done = done(job, now);
        self.engine.put_job(job.spec.clone(), now);
        // What of the old one is not accounted for by now is closed.
        // What was taken before the clock went back a little is not taken again.
        (job.since, job.from) = (now.max(at(self.latest)), now);
        job.began = job.since;
        self.tick();
        let job = &mut self.jobs[index];
        (job.times, job.changed, job.checked) = (times, true, at(i64::MIN));
        job.skipped.clear();
    }

    /// Off for a while: what waits is given up, what runs is cancelled, and the job begins anew.
    fn switch_off_and_on(&mut self, index: usize) {
        self.tick();
        let now = at(self.now);
        // The scheduler reads the schedule anew each time; the engine must not depend on that.
        let anew = self.dice.roll(2) == 0;
        let job = &mut self.jobs[index];
        job.spec.active = false;
        job.asked.clear();
        job.back.clear();
        // Nobody waits for what is off.
        job.began = Timestamp(i64::MAX);
        job.since = now.max(at(self.latest));
        if anew {
            job.read_anew();
            job.from = now;
        }
        job.spec.done = done(job, now);
        self.engine.put_job(job.spec.clone(), now);
        self.tick();
        if anew {
            self.jobs[index].skipped.clear();
        }
        self.now += self.dice.up_to(400 * SEC);
        self.tick();
        let now = at(self.now);
        let job = &mut self.jobs[index];
        job.spec.active = true;
        if anew {
            job.read_anew();
        }
        (job.since, job.from, job.changed) = (now.max(at(self.latest)), now, true);
        (job.began, job.checked) = (job.since, at(i64::MIN));
        job.spec.done = done(job, now);
        self.engine.put_job(job.spec.clone(), now);
        self.tick();
    }

    /// The same schedule, read anew.
    pub(super) fn rebuild(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        job.read_anew();
        let after = if self.dice.roll(2) == 0 {
            job.from
        } else {
            // What an earlier schedule left may hold the cursor back before the present one.
            self.engine.cursor(job.spec.id).unwrap().max(job.from)
        };
        job.spec.done = done(job, after);
        job.began = job.began.max(after);
        self.engine.put_job(job.spec.clone(), after);
    }

    /// The scheduler dies, and another one comes up later.
    pub(super) fn restart(&mut self) {
        let cursors: Vec<Timestamp> =
            self.jobs.iter().map(|job| self.engine.cursor(job.spec.id).unwrap()).collect();
        self.now += self.dice.up_to(3_000 * SEC);
        self.engine = engine(self.now);
        for busy in std::mem::take(&mut self.busy).into_values() {
            // What has not begun is as if it had never been handed out.
            if let (Turn::Unbegun(_) | Turn::Sends, None) = (busy.turn, busy.occurrence.run) {
                let (job, nominal) = (&mut self.jobs[busy.job], busy.occurrence.scheduled_for);
                assert_eq!(job.fates.remove(&nominal), Some(Fate::Ran));
                job.checked = job.checked.min(nominal.plus(-1));
            }
        }
        self.crashed = self.dice.roll(2) == 0;
        self.dead_until = self.now;
        self.engine.set_missed_before(at(self.now));
        let reason = if self.crashed { SkipReason::ServerCrashed } else { SkipReason::Missed };
        self.engine.set_gap_reason(reason);
        for (job, cursor) in self.jobs.iter_mut().zip(cursors) {
            let after = cursor.max(job.from);
            job.spec.done = done(job, after);
            job.running = 0;
            job.skipped.clear();
            job.asked.clear();
            job.back.clear();
            job.held = false;
            let known = JobSpec {
                effective_from: Some(job.began),
                last_success: job.succeeded.last().copied(),
                ..job.spec.clone()
            };
            self.engine.put_job(known, after);
        }
        self.recall_failures();
    }

    /// Tells the engine of what the ledger has of instants that did not succeed, neighbours in one:
    /// of what was skipped there is one row, and of very many stretches the engine forgets some.
    fn recall_failures(&mut self) {
        for job in &self.jobs {
            let mut stretches: Vec<(Timestamp, Timestamp)> = Vec::new();
            for &nominal in job.fates.range(job.began..).map(|(nominal, _)| nominal) {
                if job.succeeded.contains(&nominal) {
                    continue;
                }
                match stretches.last_mut() {
                    Some((_, last)) if job.times.next_after(*last) == Some(nominal) => {
                        *last = nominal;
                    }
                    _ => stretches.push((nominal, nominal)),
                }
            }
            for (first, last) in stretches {
                self.engine.unsuccessful(job.spec.id, first, last);
            }
        }
    }
}

impl Job {
    /// The same instants, as another object.
    fn read_anew(&mut self) {
        let Shaped { period, stretch, jitter } = *self.times;
        self.times = Arc::new(Shaped { period, stretch, jitter });
        self.spec.times = Arc::clone(&self.times) as Arc<dyn Occurrences>;
    }
}
