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
use crate::engine::{
    Engine, ExecutorId, JobSpec, Limits, Occurrence, Occurrences, PoolKey, QueueId, QueueSpec,
    Rules,
};
use crate::run::{MissedPolicy, Overlap, SkipReason};
use crate::time::{JobId, RunId, Timestamp};

mod disturb;
mod obey;

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
    /// From where the engine was told that it counts.
    from: Timestamp,
    /// The latest instant from where others may count its instants, and those it has succeeded for.
    began: Timestamp,
    succeeded: BTreeSet<Timestamp>,
    /// Instants up to here may have waited for other jobs, although it waits for none now.
    awaited: Timestamp,
    /// Instants of it up to here are known to have their fates.
    checked: Timestamp,
    fates: BTreeMap<Timestamp, Fate>,
    /// The rows of skips: reason and last instant.
    skipped: BTreeSet<(SkipReason, Timestamp)>,
    running: u32,
    /// Occurrences of an earlier schedule may wait.
    changed: bool,
    /// Runs asked for and not handed out.
    asked: Vec<RunId>,
    held: bool,
    /// Instants that were put back, and whether they have to be claimed.
    back: BTreeMap<Timestamp, bool>,
}

/// What comes of a run.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Runs,
    /// It has not begun; what its next try has to say of claims.
    Unbegun(bool),
    /// Its job's condition is not met.
    Unmet,
    /// Its job's condition is met, and the run goes on as a request.
    Sends,
}

/// What an executor has.
#[derive(Clone, Copy, Debug)]
struct Busy {
    ends: i64,
    job: usize,
    occurrence: Occurrence,
    claim: bool,
    turn: Turn,
    cancelled: bool,
}

struct Ledger {
    engine: Engine,
    dice: Dice,
    now: i64,
    /// The latest instant the clock has shown.
    latest: i64,
    jobs: Vec<Job>,
    busy: BTreeMap<u32, Busy>,
    longest_run: i64,
    /// Nothing is tried again any more.
    settling: bool,
    /// What the clock had shown when it was set back last.
    stepped: Timestamp,
    /// Until here no scheduler lived, and whether the server had crashed.
    dead_until: i64,
    crashed: bool,
    runs: i64,
    /// Instants of each job skipped at this instant.
    counted: [u64; 8],
    seen: BTreeMap<String, u64>,
}

const LIMITS_HERE: Limits =
    Limits { max_queued_per_job: 3, idle_timeout: 0, http_max_requests: 2, ..LIMITS };
const QUEUE: QueueId = QueueId(1);
/// How many places the queue has.
const PLACES: u32 = 1;
const EXECUTORS: u32 = 3;

fn engine(now: i64) -> Engine {
    let mut engine = Engine::new(LIMITS_HERE);
    engine.put_queue(QUEUE, QueueSpec { max_running: Some(PLACES), start_interval: 0 });
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
            settling: false,
            stepped: at(i64::MIN),
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
                from: since,
                began: since,
                succeeded: BTreeSet::new(),
                awaited: at(i64::MIN),
                checked: since,
                fates,
                skipped: BTreeSet::new(),
                running: 0,
                changed: false,
                asked,
                held: false,
                back: BTreeMap::new(),
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

    fn random_rules(&mut self, id: i64) -> Rules {
        let others: &[i64] = match self.dice.roll(9) {
            0 | 1 if id > 0 => &[0],
            2 if id > 0 => &[0, 1][..usize::try_from(id.min(2)).unwrap()],
            _ => &[],
        };
        Rules {
            overlap: self.pick(Overlap::ALL),
            max_concurrency: self.pick(&[1, 2, 3]),
            priority: self.pick(&[0, 0, -3, 5]),
            queue: self.pick(&[None, None, Some(QUEUE)]),
            after: others.iter().map(|&id| JobId(id)).collect(),
        }
    }

    fn random_spec(&mut self, id: i64) -> (JobSpec, Arc<Shaped>) {
        let times = self.random_times();
        let place = self.pick(&[key(7), key(7), PoolKey::http(7)]);
        let spec = JobSpec {
            missed: self.pick(MissedPolicy::ALL),
            missed_window: self.pick(&[None, None, Some(900 * SEC)]),
            rules: self.random_rules(id),
            ..JobSpec::new(JobId(id), place, Arc::clone(&times) as Arc<dyn Occurrences>)
        };
        (spec, times)
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
        "cancel",
        "catch_up",
        "condition",
        "dependency",
        "held",
        "inactive",
        "manual",
        "missed",
        "overlap",
        "paused",
        "put back",
        "retry",
        "schedule",
        "send",
        "sent instead",
        "server crashed",
        "tried again",
        "upstream",
        "window",
    ];
    assert_eq!(often, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(96), ..ProptestConfig::default() })]

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
