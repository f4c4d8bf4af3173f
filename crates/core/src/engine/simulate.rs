//! What an outage would do to jobs: the engine itself, played through in virtual time.
//!
//! Invariant: nothing is decided here. Every event is an action of an [`Engine`] that was put
//! together as the scheduler does after a restart, so a forecast cannot differ from what happens
//! in anything but how long runs take and how soon executors come up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Action, Engine, ExecutorId, JobSpec, Limits, Occurrence, PoolKey, Settled};
use crate::run::{SkipReason, Trigger};
use crate::time::{JobId, Timestamp};

/// Most events a simulation gives; it ends early when it has so many.
pub const MOST_EVENTS: usize = 1_000_000;

/// A job to be simulated.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The job as the engine is told of it.
    pub spec: JobSpec,
    /// Everything of it at or before this instant is accounted for.
    pub cursor: Timestamp,
    /// How long each of its runs takes, in microseconds; at least one is counted.
    pub duration: i64,
}

/// Something that would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happens, or, of what is skipped, when that is decided first.
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// The instant it is about; the first one of what is skipped.
    pub scheduled_for: Timestamp,
    /// What happens.
    pub what: What,
}

/// What becomes of an instant or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It starts to run.
    Run {
        /// What makes it run.
        trigger: Trigger,
    },
    /// It does not run, and neither do those up to `last`.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// The latest of them.
        last: Timestamp,
        /// How many; exact up to 100,000, beyond that a lower bound.
        count: u64,
    },
}

/// Says what becomes of the jobs' instants when no scheduler lives from `down_from` to `down_to`,
/// until `resume_for` microseconds after that, in the order in which it happens and at most
/// [`MOST_EVENTS`] of it. Jobs run under `limits`; an executor is there whenever one is wanted.
/// Before the outage no job is behind, and none runs.
#[must_use]
pub fn simulate(
    jobs: Vec<Simulated>,
    down_from: Timestamp,
    down_to: Timestamp,
    resume_for: i64,
    limits: Limits,
) -> Vec<Event> {
    let mut stage = Stage::new(limits);
    stage.engine.set_missed_before(down_to);
    for Simulated { spec, cursor, duration } in jobs {
        stage.durations.insert(spec.id, duration.max(1));
        let mut after = cursor.max(down_from);
        if spec.times.after_completion().is_some() {
            // Counts from the end of its last run, however long ago that was.
            after = spec.last_end.map_or(after, |end| end.min(after));
        }
        stage.engine.put_job(spec, after);
    }
    stage.play(down_to, down_to.plus(resume_for.max(0)));
    stage.events
}

/// The engine and what it believes to be around it.
#[derive(Debug)]
struct Stage {
    engine: Engine,
    durations: HashMap<JobId, i64>,
    /// When runs end.
    ends: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// When each executor's run ends: others of its ends are of runs that were cancelled.
    busy: HashMap<u32, (Timestamp, Occurrence)>,
    /// Numbers of executors: below `numbers` all but the free ones are in use.
    numbers: u32,
    free: Vec<u32>,
    events: Vec<Event>,
    /// Where the last `Skipped` of a job stands among the events.
    skipped: HashMap<JobId, usize>,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        Self {
            engine: Engine::new(limits),
            durations: HashMap::new(),
            ends: BinaryHeap::new(),
            busy: HashMap::new(),
            numbers: 0,
            free: Vec::new(),
            events: Vec::new(),
            skipped: HashMap::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MOST_EVENTS
    }

    /// From one instant to another, both included.
    fn play(&mut self, mut now: Timestamp, until: Timestamp) {
        let mut actions = Vec::new();
        while !self.is_full() {
            self.engine.tick(now, &mut actions);
            self.obey(&mut actions, now);
            let end = self.ends.peek().map(|Reverse((at, _))| *at);
            let next = end.into_iter().chain(self.engine.next_wake()).min();
            let Some(next) = next.filter(|&next| next <= until) else { break };
            now = now.max(next);
            while let Some(&Reverse((at, executor))) = self.ends.peek()
                && at <= now
            {
                self.ends.pop();
                if let Some((end, run)) = self.busy.get(&executor).copied()
                    && end == at
                {
                    self.busy.remove(&executor);
                    self.engine.run_finished(ExecutorId(executor), now);
                    self.engine.settled(run.job, run.scheduled_for, Settled::Succeeded);
                }
            }
        }
        if !self.is_full() {
            self.engine.flush_skips(until, &mut actions);
            self.obey(&mut actions, until);
        }
    }

    fn obey(&mut self, actions: &mut Vec<Action>, now: Timestamp) {
        for action in actions.drain(..) {
            match action {
                Action::Run { executor, occurrence, .. }
                | Action::Send { executor, occurrence, .. } => {
                    let job = occurrence.job;
                    let what = What::Run { trigger: occurrence.trigger };
                    self.note(Event {
                        at: now,
                        job,
                        scheduled_for: occurrence.scheduled_for,
                        what,
                    });
                    let takes = self.durations.get(&job).copied().unwrap_or(1);
                    self.ends_at(executor.0, occurrence, now.plus(takes));
                }
                Action::Skipped { job, reason, first, last, count, extends } => {
                    let folded = extends.is_some() && self.extend(job, last, count);
                    if !folded {
                        self.skipped.insert(job, self.events.len());
                        let what = What::Skipped { reason, last, count };
                        self.note(Event { at: now, job, scheduled_for: first, what });
                    }
                }
                Action::StartExecutor { key } => self.start(key, now),
                Action::Retire { executor } => {
                    self.engine.executor_gone(executor, now);
                    self.free.push(executor.0);
                }
                // The next instant of its job takes the place of a run.
                Action::Cancel { executor, .. } => {
                    if let Some((_, run)) = self.busy.get(&executor.0).copied() {
                        self.ends_at(executor.0, run, now);
                    }
                }
                // Executors come up, and the clock goes on.
                Action::Fail { .. } | Action::ClockBack { .. } => {}
            }
        }
    }

    fn ends_at(&mut self, executor: u32, run: Occurrence, at: Timestamp) {
        self.busy.insert(executor, (at, run));
        self.ends.push(Reverse((at, executor)));
    }

    /// Beyond the limit events are left out; what led to them goes on until the present is over.
    fn note(&mut self, event: Event) {
        if !self.is_full() {
            self.events.push(event);
        }
    }

    /// Lengthens what a job skipped before; false if that is not known.
    fn extend(&mut self, job: JobId, to: Timestamp, by: u64) -> bool {
        let at = self.skipped.get(&job).copied();
        let before = at.and_then(|at| self.events.get_mut(at));
        let Some(Event { what: What::Skipped { last, count, .. }, .. }) = before else {
            return false;
        };
        (*last, *count) = (to, count.saturating_add(by));
        true
    }

    /// An executor that is ready at once.
    fn start(&mut self, key: PoolKey, now: Timestamp) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.numbers += 1;
            self.numbers - 1
        });
        if number > ExecutorId::MAX {
            self.numbers = number;
            return self.engine.executor_refused(key, now);
        }
        self.engine.executor_starting(key, ExecutorId(number), now);
        self.engine.executor_ready(ExecutorId(number), now);
    }
}
