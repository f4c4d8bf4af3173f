//! An edge that obeys the engine and lets a test say what happens.

use std::sync::Arc;

use crate::engine::{
    Action, Engine, ExecutorId, JobSpec, Limits, Occurrence, Occurrences, PoolKey,
};
use crate::run::{SkipReason, Trigger};
use crate::time::{JobId, Timestamp};

pub(super) const MS: i64 = 1_000;
pub(super) const SEC: i64 = 1_000_000;
pub(super) const LIMITS: Limits = Limits {
    max_running: 32,
    max_running_per_role: 0,
    http_max_requests: 100,
    max_queued_per_job: 100,
    idle_timeout: 60 * SEC,
    max_age: 0,
    launch: true,
};

/// Every multiple of a period.
#[derive(Debug)]
pub(super) struct Every(pub(super) i64);

impl Occurrences for Every {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        Some(Timestamp((after.0.div_euclid(self.0) + 1).checked_mul(self.0)?))
    }
}

/// Numbers from a seed.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    pub(super) fn up_to(&mut self, most: i64) -> i64 {
        i64::try_from(self.roll(u64::try_from(most).unwrap() + 1)).unwrap()
    }
}

/// Multiples of a period until an instant.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) period: i64,
    pub(super) until: i64,
}

impl Occurrences for Span {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        Every(self.period).next_after(after).filter(|next| next.0 <= self.until)
    }
}

/// One instant.
#[derive(Debug)]
pub(super) struct Once(pub(super) i64);

impl Occurrences for Once {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        (after.0 < self.0).then_some(Timestamp(self.0))
    }
}

/// So long after each run.
#[derive(Debug)]
pub(super) struct Rest(pub(super) i64);

impl Occurrences for Rest {
    fn next_after(&self, _: Timestamp) -> Option<Timestamp> {
        None
    }

    fn after_completion(&self) -> Option<i64> {
        Some(self.0)
    }
}

/// So many histories, unless `PROPTEST_CASES` says how many.
pub(super) fn cases(usual: u32) -> u32 {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked { proptest::test_runner::Config::default().cases } else { usual }
}

pub(super) fn at(micros: i64) -> Timestamp {
    Timestamp(micros)
}

pub(super) fn key(role: u32) -> PoolKey {
    PoolKey { database: 1, role }
}

pub(super) fn job(id: i64, role: u32, times: impl Occurrences + 'static) -> JobSpec {
    JobSpec::new(JobId(id), key(role), Arc::new(times))
}

pub(super) fn due(id: i64, at: i64) -> Occurrence {
    Occurrence {
        job: JobId(id),
        scheduled_for: Timestamp(at),
        trigger: Trigger::Schedule,
        attempt: 1,
        run: None,
    }
}

pub(super) fn run(executor: u32, id: i64, at: i64) -> Action {
    Action::Run { executor: ExecutorId(executor), occurrence: due(id, at), claim: false }
}

pub(super) fn skipped(reason: SkipReason, id: i64, first: i64, last: i64, count: u64) -> Action {
    let (first, last) = (Timestamp(first), Timestamp(last));
    Action::Skipped { job: JobId(id), reason, first, last, count, extends: None }
}

pub(super) fn start(role: u32) -> Action {
    Action::StartExecutor { key: key(role) }
}

pub(super) fn retire(executor: u32) -> Action {
    Action::Retire { executor: ExecutorId(executor) }
}

/// An engine, and the instant it was last told.
pub(super) struct Story {
    pub(super) engine: Engine,
    pub(super) now: i64,
}

impl Story {
    pub(super) fn new(limits: Limits) -> Self {
        Self { engine: Engine::new(limits), now: 0 }
    }

    /// Puts jobs as of the present instant.
    pub(super) fn put(&mut self, jobs: impl IntoIterator<Item = JobSpec>) {
        for job in jobs {
            self.engine.put_job(job, at(self.now));
        }
    }

    /// The actions at an instant. A second tick at the same instant must have nothing to add.
    pub(super) fn tick(&mut self, now: i64) -> Vec<Action> {
        self.now = now;
        let mut actions = Vec::new();
        self.engine.tick(at(now), &mut actions);
        if !actions.iter().any(|action| matches!(action, Action::StartExecutor { .. })) {
            let mut more = Vec::new();
            self.engine.tick(at(now), &mut more);
            assert_eq!(more, [], "the tick before left something undone");
            assert!(self.engine.next_wake().is_none_or(|wake| wake > at(now)), "spins");
        }
        actions
    }

    pub(super) fn starting(&mut self, role: u32, executor: u32) {
        self.engine.executor_starting(key(role), ExecutorId(executor), at(self.now));
    }

    pub(super) fn ready(&mut self, executor: u32) {
        self.engine.executor_ready(ExecutorId(executor), at(self.now));
    }

    pub(super) fn refused(&mut self, role: u32) {
        self.engine.executor_refused(key(role), at(self.now));
    }

    pub(super) fn finished(&mut self, executor: u32) {
        self.engine.run_finished(ExecutorId(executor), at(self.now));
    }

    pub(super) fn gone(&mut self, executor: u32) {
        self.engine.executor_gone(ExecutorId(executor), at(self.now));
    }

    /// Brings up an executor that was asked for or not.
    pub(super) fn up(&mut self, role: u32, executor: u32) {
        self.starting(role, executor);
        self.ready(executor);
    }

    pub(super) fn wake(&self) -> Option<i64> {
        self.engine.next_wake().map(|wake| wake.0)
    }
}
