//! A model of everything around the engine: executors that take their time and die, worker slots
//! that run out, users who change jobs, a clock that steps. It keeps its own simple account of what
//! is due and checks every action against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::settle::{is_missed, name};
use super::support::*;
use crate::engine::{Action, Engine, ExecutorId, JobSpec, LATE, Limits, Occurrence, PoolKey};
use crate::run::{SkipReason, Trigger};
use crate::time::{JobId, Timestamp};

mod all;
mod settle;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Starting,
    Idle,
    Busy { job: i64, run: u64 },
    Leaving,
}

#[derive(Debug)]
struct Executor {
    key: PoolKey,
    phase: Phase,
    life: u64,
}

#[derive(Debug)]
struct Job {
    spec: JobSpec,
    /// Up to where its instants are accounted for, and the last one that was one.
    taken: Timestamp,
    last: Timestamp,
    /// When its present schedule or activation began; nothing before is ever due.
    since: Timestamp,
    dropped: bool,
    running: bool,
    /// Its instants that were handed out.
    ran: BTreeSet<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ready { id: u32, life: u64 },
    Died { id: u32, life: u64 },
    Finished { id: u32, run: u64 },
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    pub(super) dice: Dice,
    /// Time that never steps.
    pub(super) now: i64,
    /// Clock minus that.
    pub(super) offset: i64,
    pub(super) slots: usize,
    pub(super) longest_run: i64,
    /// Of a hundred starts, how many fail.
    pub(super) failing_starts: u64,
    executors: BTreeMap<u32, Executor>,
    jobs: BTreeMap<i64, Job>,
    /// Due and not accounted for: job, instant, attempt.
    owed: BTreeSet<(i64, i64, u32)>,
    /// What was owed when its job was dropped or deactivated; some may have failed just before.
    forgiven: BTreeSet<(i64, i64, u32)>,
    events: BTreeMap<(i64, u64), Event>,
    serial: u64,
    runs: u64,
    /// How often each kind of action came up, by name.
    pub(super) seen: BTreeMap<&'static str, u64>,
    delivered: u64,
    idle_wakes: u64,
    /// Since when owners wait without any run, and the longest such wait.
    hungry: BTreeMap<u32, i64>,
    pub(super) longest_hunger: i64,
}

impl World {
    pub(super) fn new(limits: Limits, slots: usize, seed: u64) -> Self {
        Self {
            engine: Engine::new(limits),
            limits,
            dice: Dice(seed),
            now: 0,
            offset: 1_000_000 * SEC,
            slots,
            longest_run: 300 * MS,
            failing_starts: 0,
            executors: BTreeMap::new(),
            jobs: BTreeMap::new(),
            owed: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            events: BTreeMap::new(),
            serial: 0,
            runs: 0,
            seen: BTreeMap::new(),
            delivered: 0,
            idle_wakes: 0,
            hungry: BTreeMap::new(),
            longest_hunger: 0,
        }
    }

    pub(super) fn clock(&self) -> Timestamp {
        at(self.now + self.offset)
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn after(&mut self, delay: i64, event: Event) {
        let serial = self.serial();
        self.events.insert((self.now + delay, serial), event);
    }

    // ---- what users do -------------------------------------------------------------------------

    pub(super) fn job_ids(&self) -> Vec<i64> {
        self.jobs.iter().filter(|(_, job)| !job.dropped).map(|(&id, _)| id).collect()
    }

    pub(super) fn spec(&self, id: i64) -> Option<JobSpec> {
        self.jobs.get(&id).filter(|job| !job.dropped).map(|job| job.spec.clone())
    }

    pub(super) fn put(&mut self, spec: JobSpec) {
        let clock = self.clock();
        self.engine.put_job(spec.clone(), clock);
        let launch = self.limits.launch;
        let job = self.jobs.entry(spec.id.0).or_insert_with(|| Job {
            spec: JobSpec { active: false, ..spec.clone() },
            taken: at(i64::MIN),
            last: at(i64::MIN),
            since: clock,
            dropped: false,
            running: false,
            ran: BTreeSet::new(),
        });
        let was_on = job.spec.active && launch && !job.dropped;
        let same = Arc::ptr_eq(&job.spec.times, &spec.times);
        if !(was_on && spec.active && same) {
            job.taken = job.last.max(clock);
        }
        if !same || job.dropped || (spec.active && !job.spec.active) {
            job.since = clock;
        }
        job.dropped = false;
        job.spec = spec;
        if was_on && !job.spec.active {
            let id = job.spec.id.0;
            self.forgive(id);
        }
    }

    pub(super) fn drop_job(&mut self, id: i64) {
        self.engine.drop_job(JobId(id));
        if let Some(job) = self.jobs.get_mut(&id) {
            job.dropped = true;
            self.forgive(id);
            self.bury(id);
        }
    }

    fn forgive(&mut self, id: i64) {
        self.forgiven.extend(self.owed.extract_if(.., |owed| owed.0 == id));
    }

    fn bury(&mut self, id: i64) {
        if self.jobs.get(&id).is_some_and(|job| job.dropped && !job.running) {
            self.jobs.remove(&id);
        }
    }

    pub(super) fn enqueue(&mut self, id: i64) {
        let attempt = u32::try_from(self.serial() + 10).unwrap();
        let scheduled_for = self.clock();
        let trigger = Trigger::Manual;
        let taken = self.engine.enqueue(Occurrence {
            job: JobId(id),
            scheduled_for,
            trigger,
            attempt,
            run: None,
        });
        assert!(!taken || self.spec(id).is_some(), "took work for an unknown job");
        if taken {
            self.owed.insert((id, scheduled_for.0, attempt));
        }
    }

    // ---- what executors do ---------------------------------------------------------------------

    pub(super) fn executor_ids(&self) -> Vec<u32> {
        self.executors.keys().copied().collect()
    }

    /// An executor dies, whatever it does.
    pub(super) fn kill(&mut self, id: u32) {
        let Some(executor) = self.executors.remove(&id) else { return };
        if let Phase::Busy { job, .. } = executor.phase {
            self.over(job);
        }
        let clock = self.clock();
        match executor.phase {
            Phase::Starting => self.engine.executor_start_failed(ExecutorId(id), clock),
            _ => self.engine.executor_gone(ExecutorId(id), clock),
        }
    }

    fn over(&mut self, job: i64) {
        self.jobs.get_mut(&job).unwrap().running = false;
        self.bury(job);
    }

    fn deliver(&mut self, event: Event) {
        self.delivered += 1;
        let clock = self.clock();
        match event {
            Event::Ready { id, life } => {
                if let Some(executor) = self.executors.get_mut(&id)
                    && executor.life == life
                    && executor.phase == Phase::Starting
                {
                    executor.phase = Phase::Idle;
                    self.engine.executor_ready(ExecutorId(id), clock);
                }
            }
            Event::Died { id, life } => {
                if self.executors.get(&id).is_some_and(|executor| executor.life == life) {
                    self.kill(id);
                }
            }
            Event::Finished { id, run } => {
                if let Some(executor) = self.executors.get_mut(&id)
                    && let Phase::Busy { job, run: present } = executor.phase
                    && present == run
                {
                    executor.phase = Phase::Idle;
                    self.over(job);
                    self.engine.run_finished(ExecutorId(id), clock);
                }
            }
        }
    }

    fn answer(&mut self, key: PoolKey) {
        let clock = self.clock();
        if self.executors.len() >= self.slots {
            return self.engine.executor_refused(key, clock);
        }
        let id = (0..).find(|id| !self.executors.contains_key(id)).unwrap();
        let life = self.serial();
        self.executors.insert(id, Executor { key, phase: Phase::Starting, life });
        self.engine.executor_starting(key, ExecutorId(id), clock);
        let delay = 1 + self.dice.up_to(4 * MS);
        let event = if self.dice.roll(100) < self.failing_starts {
            Event::Died { id, life }
        } else {
            Event::Ready { id, life }
        };
        self.after(delay, event);
    }

    // ---- what the scheduler does ---------------------------------------------------------------

    /// Ticks at the present instant, checks and obeys.
    pub(super) fn tick(&mut self) -> Vec<Action> {
        let missed = self.fall_due();
        let mut actions = Vec::new();
        let clock = self.clock();
        self.engine.tick(clock, &mut actions);
        let told = actions.iter().filter(is_missed).count();
        assert_eq!(told, missed.len());
        for &action in &actions {
            self.obey(action, &missed);
        }
        self.check();
        actions
    }

    /// The model's own account of what the present instant makes due.
    fn fall_due(&mut self) -> BTreeMap<i64, (i64, i64, u64)> {
        let mut missed = BTreeMap::new();
        let clock = self.clock();
        for (&id, job) in &mut self.jobs {
            if !job.spec.active || job.dropped || !self.limits.launch {
                continue;
            }
            while let Some(next) = job.spec.times.next_after(job.taken).filter(|&at| at <= clock) {
                (job.taken, job.last) = (next, next);
                if clock.since(next) > LATE {
                    let fold = missed.entry(id).or_insert((next.0, next.0, 0));
                    *fold = (fold.0, next.0, fold.2 + 1);
                } else if !job.ran.contains(&next.0) {
                    self.owed.insert((id, next.0, 1));
                }
            }
        }
        missed
    }

    fn obey(&mut self, action: Action, missed: &BTreeMap<i64, (i64, i64, u64)>) {
        *self.seen.entry(name(&action)).or_default() += 1;
        match action {
            Action::Run { executor, occurrence, .. } => self.run(executor.0, occurrence),
            Action::StartExecutor { key } => self.answer(key),
            Action::Retire { executor } => {
                let record = self.executors.get_mut(&executor.0).expect("retires somebody");
                assert_eq!(record.phase, Phase::Idle, "retires a busy executor");
                record.phase = Phase::Leaving;
                let (id, life) = (executor.0, record.life);
                let delay = self.dice.up_to(2 * MS);
                self.after(delay, Event::Died { id, life });
            }
            Action::Cancel { executor, job, .. } => {
                let phase = self.executors[&executor.0].phase;
                let Phase::Busy { job: runs, run } = phase else { panic!("cancels nothing") };
                assert_eq!(runs, job.0);
                let record = &self.jobs[&runs];
                assert!(record.dropped || !record.spec.active || !self.limits.launch);
                self.after(1, Event::Finished { id: executor.0, run });
            }
            Action::Fail { occurrence, .. } => {
                let Occurrence { job, scheduled_for, attempt, .. } = occurrence;
                let owed = (job.0, scheduled_for.0, attempt);
                let known = self.owed.remove(&owed) || self.forgiven.remove(&owed);
                assert!(known, "{occurrence:?}");
            }
            Action::Skipped { job, first, last, count, .. } if is_missed(&&action) => {
                let expected = missed[&job.0];
                assert_eq!((first.0, last.0), (expected.0, expected.1));
                assert!(count == expected.2 || (100_000..expected.2).contains(&count));
            }
            // What waited when its job was switched off is forgiven.
            Action::Skipped { reason: SkipReason::Inactive, .. } => {}
            Action::Skipped { job, reason, first, last, count, .. } => {
                assert_eq!(reason, SkipReason::Overlap);
                let times = Arc::clone(&self.jobs[&job.0].spec.times);
                let mut instant = Some(first);
                let mut told = 0;
                while let Some(at) = instant.filter(|&at| at <= last) {
                    let owed = self.owed.remove(&(job.0, at.0, 1));
                    assert!(owed || self.jobs[&job.0].ran.contains(&at.0), "{job} {at:?}");
                    told += u64::from(owed);
                    instant = times.next_after(at);
                }
                assert_eq!(told, count);
                let of_job = (job.0, i64::MIN, 0)..=(job.0, i64::MAX, u32::MAX);
                let limit = self.limits.max_queued_per_job as usize;
                let queued = self.owed.range(of_job).take(limit).count();
                assert_eq!(queued, limit, "there was room");
            }
            Action::ClockBack { to } => self.put_again(to),
            Action::Send { .. } => panic!("nobody has requests here"),
        }
    }

    fn run(&mut self, id: u32, occurrence: Occurrence) {
        let Occurrence { job, scheduled_for, attempt, .. } = occurrence;
        assert!(self.owed.remove(&(job.0, scheduled_for.0, attempt)), "not due: {occurrence:?}");
        assert!(self.busy() < self.limits.max_running.max(1) as usize, "too many runs");
        let key = self.executors[&id].key;
        self.check_turn(key.role);
        let record = self.jobs.get_mut(&job.0).unwrap();
        assert!(!record.running, "second run of {job}");
        assert_eq!(record.spec.key, key);
        record.running = true;
        if occurrence.trigger == Trigger::Schedule {
            assert!(record.ran.insert(scheduled_for.0), "{occurrence:?} ran before");
        }
        let run = self.serial();
        let executor = self.executors.get_mut(&id).unwrap();
        assert_eq!(executor.phase, Phase::Idle);
        executor.phase = Phase::Busy { job: job.0, run };
        self.runs += 1;
        let duration = self.dice.up_to(self.longest_run);
        self.after(duration, Event::Finished { id, run });
    }

    fn busy(&self) -> usize {
        self.executors.values().filter(|e| matches!(e.phase, Phase::Busy { .. })).count()
    }

    fn running(&self, role: u32) -> usize {
        let busy = |e: &&Executor| e.key.role == role && matches!(e.phase, Phase::Busy { .. });
        self.executors.values().filter(busy).count()
    }

    /// Keys with a job that only waits for a slot or an executor.
    fn waiting_keys(&self) -> BTreeSet<PoolKey> {
        let waits = |(id, _, _): &(i64, i64, u32)| {
            self.jobs.get(id).filter(|job| !job.running).map(|job| job.spec.key)
        };
        self.owed.iter().filter_map(waits).collect()
    }

    /// Nobody with fewer runs was passed over although an executor stood ready.
    fn check_turn(&self, role: u32) {
        let running = self.running(role);
        for key in self.waiting_keys() {
            let idle = self.executors.values().any(|e| e.key == key && e.phase == Phase::Idle);
            assert!(!idle || self.running(key.role) >= running, "{key:?} was passed over");
        }
    }

    fn check(&mut self) {
        let counts = self.engine.counts();
        assert_eq!(counts.waiting, self.owed.len(), "{:?}", self.owed);
        // Whatever waits here waits for a slot, an executor or its own job's run.
        assert_eq!(counts.oldest_due.is_some(), !self.owed.is_empty(), "{:?}", self.owed);
        assert!(counts.oldest_waiting.is_none() || counts.oldest_due <= counts.oldest_waiting);
        assert_eq!(counts.running as usize, self.busy());
        assert_eq!(counts.jobs, self.job_ids().len());
        let phases = |phase| self.executors.values().filter(|e| e.phase == phase).count();
        assert_eq!(counts.idle as usize, phases(Phase::Idle));
        assert_eq!(counts.leaving as usize, phases(Phase::Leaving));
        let waiting: BTreeSet<u32> = self.waiting_keys().iter().map(|key| key.role).collect();
        let hungry: Vec<u32> =
            waiting.into_iter().filter(|&role| self.running(role) == 0).collect();
        let now = self.now;
        self.hungry.retain(|role, _| hungry.contains(role));
        for role in hungry {
            let since = *self.hungry.entry(role).or_insert(now);
            self.longest_hunger = self.longest_hunger.max(now - since);
        }
    }

    /// Sleeps until something happens or the engine wants to be woken, then ticks. False when
    /// neither will ever be. Somewhere on the way it ticks unasked: nothing may come of that.
    pub(super) fn step(&mut self) -> bool {
        let event = self.events.first_key_value().map(|(&(at, _), _)| at);
        let wake = self.engine.next_wake().map(|at| at.0.saturating_sub(self.offset));
        let Some(then) = [event, wake].into_iter().flatten().min() else { return false };
        let then = then.max(self.now);
        if then > self.now + 1 && self.dice.roll(4) == 0 {
            self.now += 1 + self.dice.up_to((then - self.now - 2).min(1_000 * SEC));
            assert_eq!(self.tick(), [], "there was work before the promised instant");
        }
        self.now = then;
        let mut happened = false;
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            self.deliver(event);
            happened = true;
            if self.dice.roll(2) == 0 {
                break;
            }
        }
        let before = (self.engine.next_wake(), self.serial);
        let did = !self.tick().is_empty();
        let wake = self.engine.next_wake();
        assert!(did || wake != before.0 || happened, "woke for nothing, and will again");
        assert!(before.1 != self.serial || did || wake.is_none_or(|at| at > self.clock()), "spins");
        self.idle_wakes += u64::from(!did && !happened);
        let seconds = u64::try_from(self.now / SEC).unwrap();
        let allowed = 2 * (self.delivered + self.runs) + seconds + self.serial + 100;
        assert!(self.idle_wakes <= allowed, "{} idle wake-ups", self.idle_wakes);
        true
    }
}
