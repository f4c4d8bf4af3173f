//! All watched jobs, and when to look at them.
//!
//! Invariant: a run that may have to be looked at has an entry in `slow` no later than that, a job whose
//! success may be missed one in `absent`. An entry may come too early: a success makes none anew.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::watch::{Running, Watch};
use super::{Change, Ended, Event, Pace, Past, Recovery, Rule, Rules, Terms};
use crate::run::Outcome;
use crate::time::{JobId, RunId, Timestamp};

/// The jobs that have rules.
#[derive(Debug, Default)]
pub struct Book {
    jobs: HashMap<JobId, Watch>,
    /// Jobs whose past has not been told.
    unknown: BTreeSet<JobId>,
    /// Jobs of which it is to be told, for the first time or anew, how long their runs take.
    unmeasured: BTreeSet<JobId>,
    absent: BTreeSet<(Timestamp, JobId)>,
    /// On the steady clock.
    slow: BTreeSet<(i64, JobId, RunId)>,
    events: Vec<Event>,
}

impl Book {
    /// Whether no job has a rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether a job has rules.
    #[must_use]
    pub fn watches(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Whether an alert of a job is open.
    #[must_use]
    pub fn has_open(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|watch| watch.open_rules().next().is_some())
    }

    /// The rules of a job.
    #[must_use]
    pub fn rules(&self, job: JobId) -> Option<Rules> {
        Some(self.jobs.get(&job)?.terms.rules)
    }

    /// Since when a job is as it is.
    #[must_use]
    pub fn since(&self, job: JobId) -> Option<Timestamp> {
        Some(self.jobs.get(&job)?.terms.since)
    }

    /// A job as it is now. Its past is to be told if it is new here.
    pub fn put(&mut self, job: JobId, terms: Terms, now: Timestamp) {
        if !terms.rules.any() {
            return self.close(job, Recovery::JobChanged);
        }
        let relative = terms.rules.is_relative();
        self.forget_looks(job);
        let Some(watch) = self.jobs.get_mut(&job) else {
            self.jobs.insert(job, Watch::new(terms));
            self.unknown.insert(job);
            if relative {
                self.unmeasured.insert(job);
            }
            return;
        };
        let before = watch.terms;
        let resumed = before.paused_until.is_some_and(|until| until > now);
        let mut terms = terms;
        if before.since < terms.since {
            watch.begin_anew(terms);
        } else {
            // A job that was resumed is not late for what it could not do.
            terms.since = if resumed && terms.paused_until.is_none() { now } else { before.since };
            watch.terms = terms;
        }
        let slow = |rules: &Rules| (rules.slower, rules.times_slower);
        if slow(&before.rules) != slow(&terms.rules) {
            watch.judge_anew();
        }
        watch.compare(job, now, Recovery::JobChanged, &mut self.events);
        if !relative {
            self.unmeasured.remove(&job);
        } else if !before.rules.is_relative() {
            self.unmeasured.insert(job);
        }
        self.plan_looks(job);
        self.plan_absence(job);
    }

    /// A job is gone.
    pub fn drop_job(&mut self, job: JobId) {
        self.close(job, Recovery::JobDropped);
    }

    fn close(&mut self, job: JobId, why: Recovery) {
        self.forget_looks(job);
        let Some(watch) = self.jobs.remove(&job) else { return };
        self.unknown.remove(&job);
        self.unmeasured.remove(&job);
        if let Some(at) = watch.noted {
            self.absent.remove(&(at, job));
        }
        for rule in watch.open_rules() {
            let change = Change::Recovered { run: None, outcome: None, why };
            self.events.push(Event { job, rule, change });
        }
    }

    /// An earlier scheduler has raised this and it is not over. To be told before the job's past.
    /// `there`: the job is not gone, whether or not it has rules.
    pub fn was_open(&mut self, job: JobId, rule: Rule, there: bool) {
        match self.jobs.get_mut(&job) {
            Some(watch) => watch.was_open(rule),
            None => {
                let why = if there { Recovery::JobChanged } else { Recovery::JobDropped };
                let change = Change::Recovered { run: None, outcome: None, why };
                self.events.push(Event { job, rule, change });
            }
        }
    }

    /// Some of the jobs whose past is to be told. How long its runs take has to be known before.
    #[must_use]
    pub fn unknown(&self, most: usize) -> Vec<JobId> {
        let measured = |job: &&JobId| !self.unmeasured.contains(job);
        self.unknown.iter().filter(measured).take(most).copied().collect()
    }

    /// Some of the jobs of which it is to be told how long their runs take.
    #[must_use]
    pub fn unmeasured(&self, most: usize) -> Vec<JobId> {
        self.unmeasured.iter().take(most).copied().collect()
    }

    /// The statistics of a job have changed.
    pub fn counted(&mut self, job: JobId) {
        if self.jobs.get(&job).is_some_and(|watch| watch.terms.rules.is_relative()) {
            self.unmeasured.insert(job);
        }
    }

    /// So long a job's runs take now.
    pub fn measured(&mut self, job: JobId, pace: Pace, now: Timestamp) {
        self.unmeasured.remove(&job);
        self.forget_looks(job);
        let Some(watch) = self.jobs.get_mut(&job) else { return };
        watch.measured(pace);
        watch.compare(job, now, Recovery::Recovered, &mut self.events);
        self.plan_looks(job);
    }

    /// Whether something is to be told of jobs.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        !(self.unknown.is_empty() && self.unmeasured.is_empty())
    }

    /// What a job's runs came to. Those under way are to be told before.
    pub fn remember(&mut self, job: JobId, past: &Past, now: Timestamp, steady: i64) {
        self.unknown.remove(&job);
        let Some(watch) = self.jobs.get_mut(&job).filter(|watch| !watch.known) else { return };
        watch.remember(past);
        watch.look(steady);
        let why = if watch.terms.on { Recovery::Recovered } else { Recovery::JobChanged };
        watch.compare(job, now, why, &mut self.events);
        self.plan_absence(job);
    }

    /// A run has begun, or it turns out that it did so later than was said. `silent`: it cannot give
    /// a heartbeat.
    pub fn began(&mut self, job: JobId, run: RunId, began: i64, silent: bool) {
        let Some(watch) = self.jobs.get_mut(&job) else { return };
        let running = Running { run, began, silent, slow: false };
        watch.began(running);
        if let Some(at) = watch.next_look(&running) {
            self.slow.insert((at, job, run));
        }
    }

    /// A run did not begin after all.
    pub fn forget_run(&mut self, job: JobId, run: RunId) {
        if let Some(watch) = self.jobs.get_mut(&job) {
            watch.runs.retain(|running| running.run != run);
        }
    }

    /// A run has ended.
    pub fn ended(&mut self, job: JobId, ended: &Ended, now: Timestamp) {
        let Some(watch) = self.jobs.get_mut(&job) else { return };
        let running = watch.runs.iter().find(|running| running.run == ended.run);
        if let Some(at) = running.and_then(|running| watch.next_look(running)) {
            self.slow.remove(&(at, job, ended.run));
        }
        watch.ended(ended);
        watch.compare(job, now, Recovery::Recovered, &mut self.events);
        // After an alert there is no note for the next one.
        if watch.noted.is_none() && ended.outcome == Outcome::Succeeded {
            self.plan_absence(job);
        }
    }

    /// A run has given no heartbeat for too long.
    pub fn stuck(&mut self, job: JobId, run: RunId, now: Timestamp) {
        if let Some(watch) = self.jobs.get_mut(&job) {
            watch.stuck(run);
            watch.compare(job, now, Recovery::Recovered, &mut self.events);
        }
    }

    /// A run that gave none gives heartbeats again.
    pub fn spoke(&mut self, job: JobId, run: RunId, now: Timestamp) {
        if let Some(watch) = self.jobs.get_mut(&job) {
            watch.spoke(run);
            watch.compare(job, now, Recovery::Recovered, &mut self.events);
        }
    }

    /// The runs to be looked at by now. They are told again if they have begun later than was said.
    #[must_use]
    pub fn overdue(&self, steady: i64) -> Vec<(JobId, RunId)> {
        let due = self.slow.iter().take_while(|(at, ..)| *at <= steady);
        due.map(|&(_, job, run)| (job, run)).collect()
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Timestamp, steady: i64) {
        let mut jobs = HashSet::new();
        while let Some(&(at, job, run)) = self.slow.first()
            && at <= steady
        {
            self.slow.remove(&(at, job, run));
            jobs.insert(job);
        }
        while let Some(&(at, job)) = self.absent.first()
            && at <= now
        {
            self.absent.remove(&(at, job));
            if let Some(watch) = self.jobs.get_mut(&job) {
                watch.noted = None;
            }
            jobs.insert(job);
        }
        for job in jobs {
            let Some(watch) = self.jobs.get_mut(&job) else { continue };
            watch.look(steady);
            watch.compare(job, now, Recovery::Recovered, &mut self.events);
            let again = watch.runs.iter().filter_map(|running| {
                let at = watch.next_look(running).filter(|&at| at > steady)?;
                Some((at, job, running.run))
            });
            self.slow.extend(again);
            if watch.absent_at().is_some_and(|at| at > now) {
                self.plan_absence(job);
            }
        }
    }

    /// The clock was set back by a lot.
    pub fn set_back(&mut self, to: Timestamp) {
        for watch in self.jobs.values_mut() {
            watch.set_back(to);
            watch.noted = None;
        }
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        self.absent.clear();
        for job in jobs {
            self.plan_absence(job);
        }
    }

    /// When time has something to do with it next: the time of day, and the steady clock.
    #[must_use]
    pub fn next_wake(&self) -> (Option<Timestamp>, Option<i64>) {
        (self.absent.first().map(|(at, _)| *at), self.slow.first().map(|(at, ..)| *at))
    }

    /// What there is to be told, in the order in which it happened.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether there is something to be told.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Forgets everything: the extension is gone.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes when to look at the runs of a job that are under way.
    fn plan_looks(&mut self, job: JobId) {
        let Some(watch) = self.jobs.get(&job) else { return };
        let looks = watch.runs.iter().filter_map(|one| Some((watch.next_look(one)?, job, one.run)));
        self.slow.extend(looks);
    }

    /// Takes that back, before something changes that it depends on.
    fn forget_looks(&mut self, job: JobId) {
        let Some(watch) = self.jobs.get(&job) else { return };
        for running in &watch.runs {
            if let Some(at) = watch.next_look(running) {
                self.slow.remove(&(at, job, running.run));
            }
        }
    }

    /// Notes when the absence of a job's success may be an alert, unless there is a note for an earlier
    /// instant.
    fn plan_absence(&mut self, job: JobId) {
        let Some(watch) = self.jobs.get_mut(&job) else { return };
        let Some(at) = watch.absent_at().filter(|at| at.0 < i64::MAX) else { return };
        match watch.noted {
            Some(noted) if noted <= at => return,
            Some(noted) => self.absent.remove(&(noted, job)),
            None => false,
        };
        watch.noted = Some(at);
        self.absent.insert((at, job));
    }
}
