//! Queues that jobs of several owners share.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::*;
use crate::engine::{
    Action, ExecutorId, JobSpec, Limits, Occurrence, PoolKey, QueueId, QueueSpec, Rules,
};
use crate::run::Trigger;
use crate::time::{JobId, RunId};

const QUEUE: QueueId = QueueId(1);

fn most(max_running: u32) -> QueueSpec {
    QueueSpec { max_running: Some(max_running), start_interval: 0 }
}

fn apart(start_interval: i64) -> QueueSpec {
    QueueSpec { max_running: None, start_interval }
}

/// A job of the queue.
fn queued(id: i64, role: u32, priority: i32, due_at: i64) -> JobSpec {
    let rules = Rules { queue: Some(QUEUE), priority, ..Rules::default() };
    JobSpec { rules, ..job(id, role, Once(due_at)) }
}

/// A queue, and so many executors for each role, numbered from ten times the role.
fn story(limits: Limits, queue: QueueSpec, roles: &[u32], executors: u32) -> Story {
    let mut story = Story::new(limits);
    story.engine.put_queue(QUEUE, queue);
    for &role in roles {
        (0..executors).for_each(|n| story.up(role, role * 10 + n));
    }
    story
}

fn jobs_of_runs(actions: &[Action]) -> Vec<i64> {
    let job = |action: &Action| match action {
        Action::Run { occurrence, .. } | Action::Send { occurrence, .. } => Some(occurrence.job.0),
        _ => None,
    };
    actions.iter().filter_map(job).collect()
}

#[test]
fn who_may_have_no_further_run_keeps_no_place_from_others() {
    let limits = Limits { max_running_per_role: 1, ..LIMITS };
    for queue in [most(1), apart(SEC), QueueSpec { max_running: Some(1), start_interval: SEC }] {
        let mut story = story(limits, queue, &[7, 8], 2);
        // A run without end, elsewhere.
        story.put([job(1, 7, Once(SEC)), queued(2, 7, 100, 2 * SEC), queued(3, 7, 100, 2 * SEC)]);
        story.put([queued(4, 8, 0, 5 * SEC), queued(5, 8, 0, 5 * SEC)]);
        assert_eq!(jobs_of_runs(&story.tick(SEC)), [1]);
        assert_eq!(story.tick(2 * SEC), []);
        assert_eq!(jobs_of_runs(&story.tick(5 * SEC)), [4]);
        story.finished(81);
        assert_eq!(jobs_of_runs(&story.tick(9 * SEC)), [5]);
        story.finished(81);
        assert_eq!(story.tick(20 * SEC), []);
        // Whoever waited for his limit has the place once that is kept.
        story.finished(71);
        assert_eq!(jobs_of_runs(&story.tick(20 * SEC)), [2]);
    }
}

#[test]
fn who_came_first_to_a_place_he_cannot_use_gives_it_up_to_who_comes_later() {
    // Both are at their limit; whose run ends first has the place, whoever stood there before.
    let limits = Limits { max_running_per_role: 1, ..LIMITS };
    for (ends, has) in [(71, 2), (81, 4)] {
        let mut story = story(limits, most(1), &[7, 8], 2);
        story.put([job(1, 7, Once(SEC)), queued(2, 7, 0, 2 * SEC)]);
        story.put([job(3, 8, Once(SEC)), queued(4, 8, 0, 3 * SEC)]);
        assert_eq!(jobs_of_runs(&story.tick(SEC)), [1, 3]);
        assert_eq!(story.tick(2 * SEC), []);
        assert_eq!(story.tick(3 * SEC), []);
        story.finished(ends);
        let mut begun = jobs_of_runs(&story.tick(3 * SEC));
        if begun.is_empty() {
            let wake = story.wake().expect("somebody waits");
            assert!(wake <= 4 * SEC);
            begun = jobs_of_runs(&story.tick(wake));
        }
        assert_eq!(begun, [has]);
    }
}

#[test]
fn a_place_is_lost_to_a_run_of_its_owner_that_began_in_the_same_instant() {
    let limits = Limits { max_running_per_role: 1, ..LIMITS };
    for queue in [most(1), apart(SEC)] {
        let mut story = story(limits, queue, &[7, 8], 2);
        story.put([job(1, 7, Once(SEC)), queued(2, 7, 0, SEC), queued(3, 8, 0, SEC)]);
        assert_eq!(jobs_of_runs(&story.tick(SEC)), [1, 3]);
    }
}

#[test]
fn places_kept_for_others_are_used_through_a_queue() {
    // Three of four are taken without end, and the last is for who has none.
    let mut story = story(Limits { max_running: 4, ..LIMITS }, most(1), &[7, 8], 4);
    story.put((0..3).map(|id| job(id, 7, Once(SEC))));
    story.put([queued(5, 7, 100, 2 * SEC), queued(6, 8, 0, 4 * SEC), queued(7, 8, 0, 9 * SEC)]);
    assert_eq!(story.tick(SEC).len(), 3);
    assert_eq!(story.tick(2 * SEC), []);
    assert_eq!(jobs_of_runs(&story.tick(4 * SEC)), [6]);
    story.finished(83);
    assert_eq!(story.tick(5 * SEC), []);
    assert_eq!(jobs_of_runs(&story.tick(9 * SEC)), [7]);
}

#[test]
fn a_request_does_not_wait_behind_who_waits_for_a_run_slot() {
    let mut story = story(Limits { max_running: 1, ..LIMITS }, most(1), &[7], 2);
    story.put([job(1, 7, Once(SEC)), queued(2, 7, 0, SEC)]);
    story.put([JobSpec { key: PoolKey::http(8), ..queued(3, 8, 0, 2 * SEC) }]);
    assert_eq!(jobs_of_runs(&story.tick(SEC)), [1]);
    assert_eq!(jobs_of_runs(&story.tick(2 * SEC)), [3]);
}

#[test]
fn a_place_whose_job_finds_no_executor_is_passed_on_after_a_second() {
    let mut story = story(LIMITS, most(1), &[8], 1);
    story.put([queued(1, 7, 0, SEC)]);
    assert_eq!(story.tick(SEC), [start(7)]);
    // It is on its way, for long.
    story.starting(7, 70);
    story.put([queued(2, 8, 0, SEC + 100 * MS), queued(3, 8, 0, SEC + 100 * MS)]);
    assert_eq!(story.tick(SEC + 100 * MS), []);
    let mut begun = Vec::new();
    for now in [2 * SEC, 2 * SEC + 1] {
        begun.extend(jobs_of_runs(&story.tick(now)));
    }
    assert_eq!(begun, [2]);
    story.finished(80);
    // Now it is the turn of the first again, who has an executor at last.
    story.ready(70);
    assert_eq!(jobs_of_runs(&story.tick(3 * SEC)), [1]);
    story.finished(70);
    assert_eq!(jobs_of_runs(&story.tick(3 * SEC)), [3]);
}

#[test]
fn in_a_queue_owners_take_turns_and_priority_counts_among_the_jobs_of_each() {
    for queue in [most(1), apart(SEC)] {
        let mut story = story(LIMITS, queue, &[7, 8, 9], 1);
        story.put((0..50).map(|n| queued(700 + n, 7, 100, SEC)));
        story.put((0..3).map(|n| queued(800 + n, 8, i32::try_from(n).unwrap(), SEC)));
        story.put((0..3).map(|n| queued(900 + n, 9, -100, SEC)));
        let (mut order, mut now) = (Vec::new(), SEC);
        while order.len() < 10 {
            order.extend(jobs_of_runs(&story.tick(now)));
            now += SEC;
            story.now = now;
            [70, 80, 90].into_iter().for_each(|executor| story.finished(executor));
        }
        assert_eq!(order, [700, 802, 900, 701, 801, 901, 702, 800, 902, 703]);
    }
}

#[test]
fn who_has_fewer_of_the_places_is_next() {
    let mut story = story(LIMITS, most(4), &[7, 8], 4);
    story.put((0..9).map(|n| queued(700 + n, 7, 100, SEC)));
    assert_eq!(story.tick(SEC).len(), 4);
    story.put((0..9).map(|n| queued(800 + n, 8, 0, 2 * SEC)));
    assert_eq!(story.tick(2 * SEC), []);
    let mut of = Vec::new();
    for executor in [70, 71, 72, 73] {
        story.finished(executor);
        of.extend(jobs_of_runs(&story.tick(3 * SEC)).into_iter().map(|id| id / 100));
    }
    assert_eq!(of, [8, 8, 7, 7], "two of four each");
}

#[test]
fn a_run_counts_as_its_present_owners() {
    let mut story = story(LIMITS, most(1), &[7, 8, 9], 1);
    story.put([queued(1, 7, 0, SEC)]);
    assert_eq!(jobs_of_runs(&story.tick(SEC)), [1]);
    story.put([JobSpec { done: [at(SEC)].into(), ..queued(1, 8, 0, SEC) }]);
    story.engine.drop_job(JobId(1));
    story.put([queued(2, 9, 0, 2 * SEC)]);
    assert_eq!(
        story.tick(2 * SEC),
        [Action::Cancel {
            executor: ExecutorId(70),
            job: JobId(1),
            cause: crate::cancel::Cause::Dropped
        }]
    );
    story.finished(70);
    assert_eq!(jobs_of_runs(&story.tick(2 * SEC)), [2]);
    story.finished(90);
    story.engine.drop_job(JobId(2));
    assert_eq!(story.tick(2 * SEC), []);
    assert!(!story.engine.drop_queue(QUEUE), "nobody names it");
}

#[test]
fn of_queues_that_may_have_changed_those_are_asked_for_that_somebody_waits_for() {
    let mut story = story(LIMITS, most(1), &[7], 4);
    let in_queue = |id: i64, queue: u32, due_at| {
        let rules = Rules { queue: Some(QueueId(queue)), ..Rules::default() };
        JobSpec { rules, ..job(id, 7, Once(due_at)) }
    };
    (2..9).for_each(|id| story.engine.put_queue(QueueId(id), most(1)));
    story.put((1..9).map(|n| in_queue(i64::from(n), n, i64::from(n) * SEC)));
    story.put([in_queue(11, 1, SEC)]);
    assert_eq!(jobs_of_runs(&story.tick(SEC)), [1]);
    story.engine.doubt_queues();
    // One waits in the first; nobody in the others.
    assert_eq!(story.tick(SEC), []);
    assert_eq!(story.engine.unknown_queues(9), [QueueId(1)]);
    assert_eq!(story.tick(3 * SEC), []);
    assert_eq!(story.engine.unknown_queues(9), [1, 2, 3].map(QueueId));
    assert_eq!(story.engine.unknown_queues(2), [1, 2].map(QueueId));
    // Whatever becomes of the others goes on; a second doubt takes nobody's turn.
    story.engine.put_queue(QueueId(2), most(1));
    assert_eq!(jobs_of_runs(&story.tick(3 * SEC)), [2]);
    story.engine.doubt_queues();
    assert_eq!(story.tick(4 * SEC), []);
    assert_eq!(story.engine.unknown_queues(9), [1, 3, 4].map(QueueId));
    story.engine.put_queue(QueueId(1), most(2));
    assert_eq!(jobs_of_runs(&story.tick(4 * SEC)), [11]);
    assert!(story.engine.drop_queue(QueueId(3)) && story.engine.names_queue(QueueId(3)));
    assert_eq!(jobs_of_runs(&story.tick(4 * SEC)), [3]);
    // They cannot be read: they are what they were.
    story.engine.trust_queues();
    assert_eq!(story.engine.unknown_queues(9), []);
    story.finished(73);
    assert_eq!(jobs_of_runs(&story.tick(4 * SEC)), [4]);
    // One that is new is not known either; nor is one nobody names any more asked for.
    story.engine.doubt_queues();
    story.put([in_queue(50, 50, 5 * SEC)]);
    assert_eq!(story.tick(5 * SEC), []);
    assert_eq!(story.engine.unknown_queues(9), [5, 50].map(QueueId));
    story.engine.drop_job(JobId(50));
    assert_eq!(story.tick(5 * SEC), []);
    assert!(!story.engine.names_queue(QueueId(50)));
    assert_eq!(story.engine.unknown_queues(9), [5].map(QueueId));
}

#[test]
fn ten_thousand_due_at_once_of_a_thousand_owners_go_round() {
    const OWNERS: u32 = 1_000;
    let limits = Limits { max_running: 50, max_running_per_role: 1, idle_timeout: 0, ..LIMITS };
    let mut story = story(limits, most(20), &[], 0);
    (0..OWNERS).for_each(|role| story.up(role, role));
    // Every tenth of them has a run without end, and may have no other.
    story.put((0..OWNERS).step_by(25).map(|role| job(i64::from(role), role, Once(SEC))));
    story.put((0..100_000).map(|id| {
        let role = u32::try_from(id).unwrap() % OWNERS;
        let due_at = if id < 10_000 { 2 * SEC } else { i64::MAX - 1 };
        queued(10_000 + id, role, i32::try_from(id % 7).unwrap(), due_at)
    }));
    let mut out = Vec::new();
    story.engine.tick(at(SEC), &mut out);
    assert_eq!(out.len(), 40);
    let mut runs = BTreeMap::<u32, u32>::new();
    let mut busy = Vec::new();
    while runs.values().sum::<u32>() < 9_600 {
        out.clear();
        story.engine.tick(at(2 * SEC), &mut out);
        for action in &out {
            let Action::Run { executor, .. } = action else { panic!("{action:?}") };
            *runs.entry(executor.0).or_default() += 1;
            busy.push(executor.0);
        }
        let (least, most) = (runs.values().min().unwrap(), runs.values().max().unwrap());
        assert!(most - least <= 2, "{least} of one, {most} of another");
        assert!(busy.len() <= 10 && !busy.is_empty());
        story.engine.run_finished(ExecutorId(busy.remove(0)), at(2 * SEC));
    }
    assert_eq!(runs.len(), 960);
}

/// Some owners with a queue of a few places, runs without end of some of them, and executors that
/// come at once, late or never.
struct Shared {
    story: Story,
    dice: Dice,
    spec: QueueSpec,
    limits: Limits,
    /// By executor: the job, and when its run ends.
    busy: BTreeMap<u32, (i64, i64)>,
    coming: Vec<(i64, u32, u32)>,
    executors: u32,
    never: Option<u32>,
    /// Who has jobs.
    roles: BTreeSet<u32>,
    waiting: BTreeSet<i64>,
    started_at: i64,
}

/// Jobs of the queue have numbers up to here; their role is the number's last digit.
const QUEUED: i64 = 1_000;

fn role_of(id: i64) -> u32 {
    u32::try_from(id % 10).unwrap()
}

impl Shared {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let one_to = |dice: &mut Dice, most: i64| u32::try_from(1 + dice.up_to(most - 1)).unwrap();
        let limits = Limits {
            max_running: 8,
            max_running_per_role: one_to(&mut dice, 3),
            idle_timeout: 0,
            ..LIMITS
        };
        let spec = QueueSpec {
            max_running: Some(one_to(&mut dice, 3)),
            start_interval: dice.up_to(1) * 300 * MS,
        };
        let never = (dice.roll(2) == 0).then_some(3);
        let mut story = story(limits, spec, &[], 0);
        let (mut waiting, mut roles) = (BTreeSet::new(), BTreeSet::new());
        for role in 0..4 {
            let endless = i64::from(one_to(&mut dice, 3)) - 1;
            roles.extend((endless > 0).then_some(role));
            story.put((0..endless).map(|n| job(QUEUED + n * 10 + i64::from(role), role, Once(1))));
            for n in 0..dice.up_to(6) {
                let id = n * 10 + i64::from(role);
                let priority = i32::try_from(dice.up_to(200)).unwrap() - 100;
                story.put([queued(id, role, priority, i64::MIN)]);
                waiting.insert(id);
                roles.insert(role);
            }
        }
        let (busy, coming) = (BTreeMap::new(), Vec::new());
        let started_at = i64::MIN / 2;
        let executors = 0;
        Self {
            story,
            dice,
            spec,
            limits,
            busy,
            coming,
            executors,
            never,
            roles,
            waiting,
            started_at,
        }
    }

    fn running(&self, which: impl Fn(i64) -> bool) -> u32 {
        u32::try_from(self.busy.values().filter(|(id, _)| which(*id)).count()).unwrap()
    }

    /// Asks for what waits, over the first seconds.
    fn ask(&mut self, now: i64) {
        for &id in &self.waiting {
            if now == (1 + id % 7) * 100 * MS {
                let (trigger, run) = (Trigger::Manual, Some(RunId(id + 1)));
                assert!(self.story.engine.enqueue(Occurrence { trigger, run, ..due(id, now) }));
            }
        }
    }

    fn step(&mut self, now: i64) {
        self.ask(now);
        self.story.now = now;
        for (_, _, executor) in self.coming.extract_if(.., |coming| coming.0 <= now) {
            self.story.ready(executor);
        }
        let over = self.busy.extract_if(.., |_, run| run.1 <= now);
        for executor in over.map(|(executor, _)| executor).collect::<Vec<_>>() {
            self.story.finished(executor);
        }
        for action in self.story.tick(now) {
            match action {
                Action::Run { executor, occurrence, .. } => self.run(executor.0, occurrence, now),
                Action::StartExecutor { key } => {
                    let late =
                        if Some(key.role) == self.never { i64::MAX } else { self.dice.up_to(3) };
                    self.story.starting(key.role, self.executors);
                    let at = now.saturating_add(late.saturating_mul(100 * MS));
                    self.coming.push((at, key.role, self.executors));
                    self.executors += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn run(&mut self, executor: u32, occurrence: Occurrence, now: i64) {
        let id = occurrence.job.0;
        let ends = if id < QUEUED { now + self.dice.up_to(5) * 100 * MS } else { i64::MAX };
        if id < QUEUED {
            assert!(self.waiting.remove(&id), "twice");
            assert!(now - self.started_at >= self.spec.start_interval, "too soon");
            self.started_at = now;
        }
        let has_one = self.running(|other| role_of(other) == role_of(id)) > 0;
        let places = self.limits.max_running - if has_one { self.kept() } else { 0 };
        assert!(self.running(|_| true) < places, "a place that is kept for others");
        self.busy.insert(executor, (id, ends));
        assert!(self.running(|id| id < QUEUED) <= self.spec.max_running.unwrap());
        let of_role = self.running(|other| role_of(other) == role_of(id));
        assert!(of_role <= self.limits.max_running_per_role, "over the owner's limit");
    }

    /// Whether a job of the queue that was asked for waits although its owner may have a run and
    /// the queue has a place.
    fn is_idle(&self, now: i64) -> bool {
        let place = self.running(|id| id < QUEUED) < self.spec.max_running.unwrap();
        let open = now - self.started_at >= self.spec.start_interval;
        place && open && self.waiting.iter().any(|&id| self.may_run(role_of(id)))
    }

    /// One is kept as long as somebody has no run, also for one whose executor never comes.
    fn kept(&self) -> u32 {
        let runs = |role: &u32| self.running(|id| role_of(id) == *role) > 0;
        u32::from(!self.roles.iter().all(runs))
    }

    fn may_run(&self, role: u32) -> bool {
        let of_role = self.running(|id| role_of(id) == role);
        let kept = if of_role == 0 { 0 } else { self.kept() };
        // An executor on its way takes up a run's place, also one that never comes.
        let coming = u32::try_from(self.coming.len()).unwrap();
        let free = self.running(|_| true) + coming < self.limits.max_running - kept;
        Some(role) != self.never && of_role < self.limits.max_running_per_role && free
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(192), ..ProptestConfig::default() })]

    #[test]
    fn whoever_may_run_gets_his_place_in_a_queue_whatever_others_do(seed: u64) {
        let mut shared = Shared::new(seed);
        let mut idle = 0;
        for step in 1..400 {
            let now = step * 100 * MS;
            shared.step(now);
            idle = if shared.is_idle(now) { idle + 1 } else { 0 };
            // A place is passed on after a second, and may pass several who have no executor.
            prop_assert!(idle < 40, "a place was left for {} steps", idle);
        }
        let waits = shared.waiting.iter().any(|&id| shared.may_run(role_of(id)));
        prop_assert!(!waits, "{:?} wait still", shared.waiting);
    }
}
