//! Keeps an account of every nominal instant of a few jobs through random histories: windows,
//! jitter, pauses, downtime, crashes, stalls, clock steps, changed schedules, requests.
//!
//! At any time, every instant of a job from where its present schedule began up to its cursor has
//! exactly one fate: a run handed out, a skip that covers it, or a row from before. Nothing runs
//! twice, and what has no fate yet lies after the cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::shaped::Shaped;
use super::support::*;
use crate::engine::{Action, Engine, ExecutorId, JobSpec, LATE, Limits, Occurrence, Occurrences};
use crate::run::{MissedPolicy, SkipReason, Trigger};
use crate::time::{JobId, RunId, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Ran,
    Skipped(SkipReason),
}

struct Job {
    spec: JobSpec,
    times: Arc<Shaped>,
    /// From where its present schedule counts.
    since: Timestamp,
    /// Instants of it up to here are known to have their fates.
    checked: Timestamp,
    fates: BTreeMap<Timestamp, Fate>,
    /// The rows of skips: reason and last instant.
    skipped: BTreeSet<(SkipReason, Timestamp)>,
    running: bool,
    /// Occurrences of an earlier schedule may wait.
    changed: bool,
    /// Runs asked for and not handed out.
    asked: Vec<RunId>,
}

struct Ledger {
    engine: Engine,
    dice: Dice,
    now: i64,
    /// The latest instant the clock has shown.
    latest: i64,
    jobs: Vec<Job>,
    /// When each executor's run ends, and whose it is.
    busy: BTreeMap<u32, (i64, usize)>,
    longest_run: i64,
    /// Until here no scheduler lived, and whether the server had crashed.
    dead_until: i64,
    crashed: bool,
    runs: i64,
    /// Instants of each job skipped at this instant.
    counted: [u64; 8],
    seen: BTreeMap<String, u64>,
}

const LIMITS_HERE: Limits = Limits { max_queued_per_job: 3, idle_timeout: 0, ..LIMITS };
const EXECUTORS: u32 = 3;

fn engine(now: i64) -> Engine {
    let mut engine = Engine::new(LIMITS_HERE);
    for id in 0..EXECUTORS {
        engine.executor_starting(key(7), ExecutorId(id), at(now));
        engine.executor_ready(ExecutorId(id), at(now));
    }
    engine
}

impl Ledger {
    fn new(seed: u64, jobs: i64, longest_run: i64) -> Self {
        let now = 1_000_000 * SEC;
        let mut ledger = Self {
            engine: engine(now),
            dice: Dice(seed),
            now,
            latest: now,
            jobs: Vec::new(),
            busy: BTreeMap::new(),
            longest_run,
            dead_until: i64::MIN,
            crashed: false,
            runs: 0,
            counted: [0; 8],
            seen: BTreeMap::new(),
        };
        for id in 0..jobs {
            let (spec, times) = ledger.random_spec(id);
            let since = at(now);
            ledger.engine.put_job(spec.clone(), since);
            let (fates, asked) = (BTreeMap::new(), Vec::new());
            ledger.jobs.push(Job {
                spec,
                times,
                since,
                checked: since,
                fates,
                skipped: BTreeSet::new(),
                running: false,
                changed: false,
                asked,
            });
        }
        ledger
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.dice.roll(of.len() as u64)).unwrap()]
    }

    fn random_times(&mut self) -> Arc<Shaped> {
        Arc::new(Shaped {
            period: self.pick(&[SEC, 7 * SEC, 60 * SEC, 400 * SEC]),
            stretch: self.pick(&[0, 0, 30 * SEC, 411 * SEC, 3_600 * SEC]),
            jitter: self.pick(&[0, 0, 3 * SEC, 390 * SEC]),
        })
    }

    fn random_spec(&mut self, id: i64) -> (JobSpec, Arc<Shaped>) {
        let times = self.random_times();
        let spec = JobSpec {
            missed: self.pick(MissedPolicy::ALL),
            missed_window: self.pick(&[None, None, Some(900 * SEC)]),
            ..JobSpec::new(JobId(id), key(7), Arc::clone(&times) as Arc<dyn Occurrences>)
        };
        (spec, times)
    }

    // ---- what happens --------------------------------------------------------------------------

    fn disturb(&mut self) {
        let index = usize::try_from(self.dice.roll(self.jobs.len() as u64)).unwrap();
        match self.dice.roll(12) {
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
            _ => self.longest_run = self.pick(&[0, 2 * SEC, 100 * SEC]),
        }
    }

    fn pause(&mut self, index: usize) {
        let until = match self.dice.roll(4) {
            0 => Some(Timestamp(i64::MAX)),
            1 | 2 => Some(at(self.now + self.dice.up_to(2_000 * SEC))),
            _ => None,
        };
        let job = &mut self.jobs[index];
        job.spec.paused_until = until;
        self.engine.put_job(job.spec.clone(), at(self.now));
    }

    fn ask(&mut self, index: usize, trigger: Trigger) {
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
    fn change(&mut self, index: usize) {
        self.tick();
        let times = self.random_times();
        let now = at(self.now);
        let job = &mut self.jobs[index];
        job.spec.times = Arc::clone(&times) as Arc<dyn Occurrences>;
        job.spec.done = done(job, now);
        self.engine.put_job(job.spec.clone(), now);
        // What of the old one is not accounted for by now is closed.
        // What was taken before the clock went back a little is not taken again.
        job.since = now.max(at(self.latest));
        self.tick();
        let job = &mut self.jobs[index];
        (job.times, job.changed, job.checked) = (times, true, at(i64::MIN));
        job.skipped.clear();
    }

    /// The same schedule, read anew.
    fn rebuild(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        let Shaped { period, stretch, jitter } = *job.times;
        job.times = Arc::new(Shaped { period, stretch, jitter });
        job.spec.times = Arc::clone(&job.times) as Arc<dyn Occurrences>;
        let after = if self.dice.roll(2) == 0 {
            job.since
        } else {
            self.engine.cursor(job.spec.id).unwrap()
        };
        job.spec.done = done(job, after);
        self.engine.put_job(job.spec.clone(), after);
    }

    /// The scheduler dies, and another one comes up later.
    fn restart(&mut self) {
        let cursors: Vec<Timestamp> =
            self.jobs.iter().map(|job| self.engine.cursor(job.spec.id).unwrap()).collect();
        self.now += self.dice.up_to(3_000 * SEC);
        self.engine = engine(self.now);
        self.busy.clear();
        self.crashed = self.dice.roll(2) == 0;
        self.dead_until = self.now;
        self.engine.set_missed_before(at(self.now));
        let reason = if self.crashed { SkipReason::ServerCrashed } else { SkipReason::Missed };
        self.engine.set_gap_reason(reason);
        for (job, cursor) in self.jobs.iter_mut().zip(cursors) {
            let after = cursor.max(job.since);
            job.spec.done = done(job, after);
            job.running = false;
            job.skipped.clear();
            job.asked.clear();
            self.engine.put_job(job.spec.clone(), after);
        }
    }

    // ---- what the engine says ------------------------------------------------------------------

    fn tick(&mut self) -> bool {
        self.latest = self.latest.max(self.now);
        let mut out = Vec::new();
        self.engine.tick(at(self.now), &mut out);
        self.obey_all(&out);
        let mut again = Vec::new();
        if !out.iter().any(|action| matches!(action, Action::ClockBack { .. })) {
            self.engine.tick(at(self.now), &mut again);
            assert_eq!(again, [], "left something undone");
            assert!(self.engine.next_wake().is_none_or(|wake| wake.0 > self.now), "spins");
        }
        self.check_cursors();
        !out.is_empty()
    }

    fn obey_all(&mut self, actions: &[Action]) {
        self.counted = [0; 8];
        for &action in actions {
            match action {
                Action::Run { executor, occurrence, claim } => {
                    self.run(executor.0, occurrence, claim);
                }
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
                Action::StartExecutor { key } => {
                    self.engine.executor_refused(key, at(self.now));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn run(&mut self, executor: u32, occurrence: Occurrence, claim: bool) {
        let index = usize::try_from(occurrence.job.0).unwrap();
        *self.seen.entry(occurrence.trigger.to_string()).or_default() += 1;
        let now = at(self.now);
        let job = &mut self.jobs[index];
        assert!(!job.running, "second run at a time");
        job.running = true;
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
            assert!(made_up || occurrence.trigger == Trigger::Schedule, "{occurrence:?}");
        }
        if occurrence.trigger != Trigger::Manual {
            assert_eq!(job.spec.times.opens(now), Some(now), "started while closed");
            assert!(
                job.spec.paused_until.is_none_or(|until| until.0 <= self.latest),
                "started in a pause"
            );
        }
        let lost = occurrence.trigger == Trigger::CatchUp && nominal.0 <= self.dead_until;
        assert!(!claim || (self.crashed && lost));
        let end = self.now + self.dice.up_to(self.longest_run);
        assert_eq!(self.busy.insert(executor, (end, index)), None, "two runs on one executor");
    }

    fn skip(
        &mut self,
        index: usize,
        reason: SkipReason,
        (first, last): (Timestamp, Timestamp),
        count: u64,
        extends: Option<Timestamp>,
    ) {
        let job = &mut self.jobs[index];
        let times = Arc::clone(&job.times);
        let of_old = last <= job.since;
        self.counted[index] += count;
        // Beyond what is counted one by one the rest is one row, and its count a lower bound.
        let exact = self.counted[index] < 50_000;
        let mut covered = 0;
        let mut next = Some(first);
        while let Some(nominal) = next.filter(|&nominal| nominal <= last) {
            let before = job.fates.insert(nominal, Fate::Skipped(reason));
            assert_eq!(before, None, "{nominal:?} skipped for {reason} has its fate");
            if !of_old && exact {
                let closed = times.closed(nominal);
                let shaped = matches!(reason, SkipReason::Window | SkipReason::Calendar);
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
            assert!(of_old || times.next_after(longer) == Some(first), "something came between");
        }
        job.skipped.insert((reason, last));
    }

    fn clock_back(&mut self, to: Timestamp) {
        assert_eq!(to, at(self.now));
        for job in &mut self.jobs {
            // Either is right: the engine keeps what is before it.
            let cursor = self.engine.cursor(job.spec.id).unwrap().max(job.since);
            let after = if self.dice.roll(2) == 0 { to } else { to.min(cursor) };
            job.spec.done = done(job, after);
            (job.since, job.checked) = (after, after);
            job.skipped.clear();
            self.engine.put_job(job.spec.clone(), after);
        }
        self.tick();
    }

    /// Every instant up to the cursor has its fate.
    fn check_cursors(&mut self) {
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
    fn step(&mut self) -> bool {
        let end = self.busy.iter().map(|(&id, &(end, _))| (end, id)).min();
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
            && let Some((_, index)) = self.busy.remove(&id)
        {
            self.jobs[index].running = false;
            self.engine.run_finished(ExecutorId(id), at(self.now));
        }
        self.tick();
        true
    }

    /// Lets everything come to its end and closes the account.
    fn settle(&mut self) {
        self.longest_run = 0;
        for index in 0..self.jobs.len() {
            self.jobs[index].spec.paused_until = None;
            self.engine.put_job(self.jobs[index].spec.clone(), at(self.now));
        }
        // Backlogs of one-second jobs over hours take their runs; then a while of quiet life.
        let mut steps = 0;
        while steps < 300 || self.jobs.iter().any(|job| !job.asked.is_empty()) {
            assert!(self.step() && steps < 100_000, "asked for and never run");
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
            if job.running || self.engine.counts().waiting > 0 {
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

/// What the ledger has of a job after an instant.
fn done(job: &Job, after: Timestamp) -> Arc<[Timestamp]> {
    job.fates.range(after.plus(1)..).map(|(&nominal, _)| nominal).collect()
}

fn live(seed: u64, jobs: i64, longest_run: i64, disturbances: u64) -> Ledger {
    let mut ledger = Ledger::new(seed, jobs, longest_run);
    for _ in 0..disturbances {
        for _ in 0..ledger.dice.roll(30) {
            ledger.step();
        }
        ledger.disturb();
    }
    ledger.settle();
    ledger
}

#[test]
fn the_random_histories_are_varied() {
    let mut seen = BTreeMap::new();
    for seed in 0..12 {
        for (name, count) in live(seed, 4, 2 * SEC, 60).seen {
            *seen.entry(name).or_insert(0) += count;
        }
    }
    let often: Vec<&str> = seen.iter().filter(|(_, n)| **n >= 5).map(|(name, _)| &**name).collect();
    let expected = [
        "calendar",
        "catch_up",
        "manual",
        "missed",
        "overlap",
        "paused",
        "retry",
        "schedule",
        "server crashed",
        "window",
    ];
    assert_eq!(often, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_instant_has_exactly_one_fate(
        seed: u64,
        jobs in 1i64..5,
        longest_run in prop_oneof![Just(0), Just(3 * SEC), Just(60 * SEC)],
        disturbances in 0u64..60,
    ) {
        live(seed, jobs, longest_run, disturbances);
    }
}
