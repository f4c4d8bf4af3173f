//! Overlapping runs, queues, limits of an owner, runs that turn out not to be any.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use crate::cancel::Cause;
use crate::engine::{Action, ExecutorId, JobSpec, Limits, Occurrence, QueueId, QueueSpec, Rules};
use crate::run::{Overlap, SkipReason};
use crate::time::JobId;

fn every(id: i64, overlap: Overlap, max_concurrency: u32) -> JobSpec {
    let rules = Rules { overlap, max_concurrency, ..Rules::default() };
    JobSpec { rules, ..job(id, 7, Every(SEC)) }
}

fn overlapped(first: i64, last: i64, count: u64) -> Action {
    skipped(SkipReason::Overlap, 1, first, last, count)
}

#[test]
fn skip_skips_what_is_due_while_it_runs_or_waits() {
    let mut story = Story::new(LIMITS);
    story.put([every(1, Overlap::Skip, 1)]);
    assert_eq!(story.tick(SEC), [start(7)]);
    assert_eq!(story.tick(2 * SEC), [overlapped(2 * SEC, 2 * SEC, 1)]);
    story.up(7, 0);
    assert_eq!(story.tick(2 * SEC), [run(0, 1, SEC)]);
    let Action::Skipped { job, reason, .. } = overlapped(0, 0, 1) else { panic!() };
    let (first, last, extends) = (at(3 * SEC), at(3 * SEC), Some(at(2 * SEC)));
    let next = Action::Skipped { job, reason, first, last, count: 1, extends };
    assert_eq!(story.tick(3 * SEC), [next]);
    story.finished(0);
    assert_eq!(story.tick(3 * SEC + 1), []);
    assert_eq!(story.tick(4 * SEC), [run(0, 1, 4 * SEC)]);
}

#[test]
fn what_waits_behind_its_own_jobs_run_has_an_age() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([every(1, Overlap::Queue, 1)]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.engine.oldest_due(), None);
    story.tick(2 * SEC);
    story.tick(9 * SEC);
    // For a slot nothing waits.
    assert_eq!(story.engine.oldest_waiting(), None);
    assert_eq!(story.engine.counts().oldest_due, Some(at(2 * SEC)));
    story.finished(0);
    assert_eq!(story.tick(9 * SEC), [run(0, 1, 2 * SEC)]);
    assert_eq!(story.engine.oldest_due(), Some(at(3 * SEC)));
}

#[test]
fn allow_runs_beside_and_queues_beyond_its_number() {
    let mut story = Story::new(Limits { max_queued_per_job: 1, ..LIMITS });
    (0..4).for_each(|id| story.up(7, id));
    story.put([every(1, Overlap::Allow, 2)]);
    assert_eq!(story.tick(SEC), [run(3, 1, SEC)]);
    assert_eq!(story.tick(2 * SEC), [run(2, 1, 2 * SEC)]);
    assert_eq!(story.tick(3 * SEC), []);
    assert_eq!(story.tick(4 * SEC), [overlapped(4 * SEC, 4 * SEC, 1)]);
    assert_eq!(story.engine.runs_of(JobId(1)).count(), 2);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(SEC - 1)));
    story.finished(3);
    assert_eq!(story.tick(4 * SEC), [run(3, 1, 3 * SEC)]);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(2 * SEC - 1)));
}

#[test]
fn what_waits_for_an_executor_keeps_to_the_number_of_the_day() {
    for JobSpec { rules, .. } in [every(1, Overlap::Allow, 1), every(1, Overlap::Queue, 2)] {
        let mut story = Story::new(LIMITS);
        story.up(7, 0);
        let before = every(1, Overlap::Allow, 2);
        story.put([before.clone()]);
        assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
        // A second run may begin, and stands for want of an executor.
        assert_eq!(story.tick(2 * SEC), []);
        assert_eq!(story.tick(2 * SEC + 1_000), [start(7)]);
        story.put([JobSpec { rules, ..before }]);
        story.up(7, 1);
        assert_eq!(story.tick(2 * SEC + 2_000), []);
        story.finished(0);
        assert_eq!(story.tick(2 * SEC + 3_000), [run(0, 1, 2 * SEC)]);
    }
}

#[test]
fn replace_cancels_the_run_and_starts_the_latest_when_it_has_ended() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([every(1, Overlap::Replace, 1)]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    let (executor, job) = (ExecutorId(0), JobId(1));
    let cancel = Action::Cancel { executor, job, cause: Cause::Replaced };
    assert_eq!(story.tick(2 * SEC), [cancel]);
    // It takes its time; the next ones replace what waits, in one row.
    assert_eq!(story.tick(3 * SEC), [overlapped(2 * SEC, 2 * SEC, 1)]);
    let Action::Skipped { job, reason, .. } = overlapped(0, 0, 1) else { panic!() };
    let (first, last, extends) = (at(3 * SEC), at(3 * SEC), Some(at(2 * SEC)));
    let next = Action::Skipped { job, reason, first, last, count: 1, extends };
    assert_eq!(story.tick(4 * SEC), [next]);
    story.finished(0);
    assert_eq!(story.tick(4 * SEC), [run(0, 1, 4 * SEC)]);
    story.finished(0);
    assert_eq!(story.tick(5 * SEC), [run(0, 1, 5 * SEC)]);
}

#[test]
fn what_is_replaced_before_it_starts_leaves_its_place_to_what_replaces_it() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    // One executor, and more to do than it gets through: what another job has waiting is always older
    // than the latest instant of a job that is due every second.
    story.put([every(1, Overlap::Replace, 1), every(2, Overlap::Queue, 1)]);
    let mut runs = 0;
    for second in 1..=40 {
        for action in story.tick(second * SEC) {
            runs += usize::from(matches!(
                action,
                Action::Run { occurrence, .. } if occurrence.job == JobId(1)
            ));
        }
        if second % 2 == 0 {
            story.finished(0);
        }
    }
    assert!(runs >= 4, "it ran {runs} times");
}

#[test]
fn what_is_replaced_in_the_line_of_a_queue_leaves_its_place_too() {
    for (role, least) in [(7, 3), (8, 15)] {
        let mut story = Story::new(LIMITS);
        let queue = QueueId(1);
        story.engine.put_queue(queue, QueueSpec { max_running: Some(1), start_interval: 0 });
        [(7, 0), (8, 1)].into_iter().for_each(|(role, executor)| story.up(role, executor));
        let spec = |id, role, overlap| {
            let rules = Rules { overlap, queue: Some(queue), ..Rules::default() };
            JobSpec { rules, ..job(id, role, Every(SEC)) }
        };
        // What the others have waiting is older each time than the latest instant of the first.
        story.put([spec(1, 7, Overlap::Replace)]);
        story.put([spec(2, role, Overlap::Queue), spec(3, role, Overlap::Queue)]);
        let mut runs = 0;
        for second in 1..=60 {
            let first = |action: &Action| matches!(action, Action::Run { occurrence, .. } if occurrence.job == JobId(1));
            runs += story.tick(second * SEC).iter().filter(|action| first(action)).count();
            if second % 2 == 0 {
                (0..2).for_each(|executor| story.finished(executor));
            }
        }
        assert!(runs >= least, "it ran {runs} times");
    }
}

#[test]
fn what_is_replaced_before_it_begins_leaves_its_place_to_what_replaces_it() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([every(1, Overlap::Replace, 1), job(2, 7, Once(SEC + 500 * MS))]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(SEC + 500 * MS), []);
    let (executor, job) = (ExecutorId(0), JobId(1));
    let cancel = Action::Cancel { executor, job, cause: Cause::Replaced };
    assert!(story.tick(2 * SEC).contains(&cancel));
    assert!(!story.engine.put_back(due(1, SEC), false));
    story.finished(0);
    let skipped = overlapped(SEC, SEC, 1);
    assert_eq!(story.tick(2 * SEC), [skipped, run(0, 1, 2 * SEC)]);
}

/// Jobs of one owner, some of which replace what is due before, and fewer executors than they need.
struct Turns {
    story: Story,
    dice: Dice,
    periods: Vec<i64>,
    /// By job, since when it waits, or will: an instant of its own.
    since: Vec<i64>,
    /// By executor: the run it has, and whether it comes to nothing.
    busy: BTreeMap<u32, (Occurrence, bool)>,
}

impl Turns {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let limits = Limits { max_queued_per_job: 10_000, idle_timeout: 0, ..LIMITS };
        let mut story = Story::new(limits);
        (0..1 + u32::from(dice.roll(2) == 0)).for_each(|executor| story.up(7, executor));
        let periods: Vec<i64> = (0..5).map(|_| (1 + dice.up_to(9)) * 100 * MS).collect();
        for (id, &period) in (0..).zip(&periods) {
            let overlap = if dice.roll(2) == 0 { Overlap::Replace } else { Overlap::Queue };
            let rules = Rules { overlap, ..Rules::default() };
            story.put([JobSpec { rules, ..job(id, 7, Every(period)) }]);
        }
        Self { story, dice, since: periods.clone(), periods, busy: BTreeMap::new() }
    }

    fn step(&mut self, now: i64) {
        self.story.now = now;
        let over = self.busy.extract_if(.., |_, _| self.dice.roll(3) == 0).collect::<Vec<_>>();
        for (executor, (run, nothing)) in over {
            let id = usize::try_from(run.job.0).unwrap();
            if nothing {
                self.story.engine.put_back(run, false);
            } else {
                self.since[id] = run.scheduled_for.0 + self.periods[id];
            }
            self.story.finished(executor);
        }
        for action in self.story.tick(now) {
            if let Action::Run { executor, occurrence, .. } = action {
                let id = usize::try_from(occurrence.job.0).unwrap();
                let runs = |id| self.busy.values().any(|(run, _)| run.job == JobId(id));
                let older = (0..5).filter(|&other| self.since[other] < self.since[id]);
                let passed: Vec<usize> =
                    older.filter(|&id| !runs(i64::try_from(id).unwrap())).collect();
                assert_eq!(passed, [0; 0], "{occurrence:?} came before who waited longer");
                self.busy.insert(executor.0, (occurrence, self.dice.roll(3) == 0));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(64), ..ProptestConfig::default() })]

    #[test]
    fn who_waits_longest_is_next_also_if_it_is_replaced_again_and_again(seed: u64) {
        let mut turns = Turns::new(seed);
        (1..300).for_each(|step| turns.step(step * 100 * MS));
    }
}

#[test]
fn a_thousand_due_at_once_never_exceed_a_queue_and_come_in_order() {
    let mut story = Story::new(LIMITS);
    (0..32).for_each(|id| story.up(7, id));
    let queue = Some(QueueId(1));
    let spec = QueueSpec { max_running: Some(3), ..QueueSpec::default() };
    story.engine.put_queue(QueueId(1), spec);
    story.put((0..1_000).map(|id| {
        let rules = Rules { queue, ..Rules::default() };
        JobSpec { rules, ..job(id, 7, Once(SEC - 1 - (id * 7_919) % 1_000)) }
    }));
    // None of these is in the queue.
    story.put((2_000..2_005).map(|id| job(id, 7, Once(SEC))));
    story.engine.set_missed_before(at(0));
    let (mut busy, mut order, mut others) = (Vec::new(), Vec::new(), 0);
    while order.len() < 1_000 {
        for action in story.tick(SEC) {
            let Action::Run { executor, occurrence, .. } = action else { panic!("{action:?}") };
            if occurrence.job.0 >= 2_000 {
                others += 1;
                continue;
            }
            order.push(occurrence.scheduled_for);
            busy.push(executor.0);
        }
        assert_eq!(
            busy.len(),
            3.min(busy.len() + 1_000 - order.len()),
            "a place is left or too many"
        );
        story.finished(busy.remove(0));
    }
    assert_eq!(others, 5);
    assert!(order.is_sorted(), "not the oldest first");
}

#[test]
fn starts_of_a_queue_keep_their_distance_and_wake_for_it() {
    let mut story = Story::new(LIMITS);
    (0..8).for_each(|id| story.up(7, id));
    let spec = QueueSpec { max_running: None, start_interval: 300 * MS };
    story.engine.put_queue(QueueId(9), spec);
    let rules = Rules { queue: Some(QueueId(9)), ..Rules::default() };
    story.put((1..=4).map(|id| JobSpec { rules: rules.clone(), ..job(id, 7, Once(SEC)) }));
    let mut starts = Vec::new();
    let mut now = SEC;
    while starts.len() < 4 {
        let runs = story.tick(now);
        starts.extend(runs.iter().map(|_| now));
        now = story.wake().unwrap_or(now);
    }
    assert_eq!(starts, [SEC, SEC + 300 * MS, SEC + 600 * MS, SEC + 900 * MS]);
}

#[test]
fn a_queue_can_be_changed_and_dropped_while_jobs_wait() {
    let mut story = Story::new(LIMITS);
    (0..8).for_each(|id| story.up(7, id));
    let rules = Rules { queue: Some(QueueId(9)), ..Rules::default() };
    let most = |n| QueueSpec { max_running: Some(n), ..QueueSpec::default() };
    story.engine.put_queue(QueueId(9), most(0));
    story.put((1..=5).map(|id| JobSpec { rules: rules.clone(), ..job(id, 7, Once(SEC)) }));
    assert_eq!(story.tick(SEC), []);
    story.engine.put_queue(QueueId(9), most(1));
    assert_eq!(story.tick(SEC), [run(7, 1, SEC)]);
    // A job that leaves the queue takes its run along.
    story.engine.put_job(JobSpec { done: [at(SEC)].into(), ..job(1, 7, Once(SEC)) }, at(0));
    assert_eq!(story.tick(SEC), [run(6, 2, SEC)]);
    story.engine.drop_queue(QueueId(9));
    assert_eq!(story.tick(SEC).len(), 3);
}

#[test]
fn nothing_of_a_queue_begins_while_it_is_not_known_what_it_is() {
    let mut story = Story::new(LIMITS);
    let rules = Rules { queue: Some(QueueId(9)), ..Rules::default() };
    let most = |n| QueueSpec { max_running: Some(n), ..QueueSpec::default() };
    story.engine.put_queue(QueueId(9), most(2));
    story.put((1..=3).map(|id| JobSpec { rules: rules.clone(), ..job(id, 7, Once(SEC)) }));
    story.put([job(4, 8, Once(SEC))]);
    story.up(8, 4);
    // Two have a place already, and stand for want of an executor.
    assert_eq!(story.tick(SEC), [run(4, 4, SEC), start(7)]);
    story.engine.doubt_queues();
    (0..3).for_each(|id| story.up(7, id));
    assert_eq!(story.tick(SEC), []);
    assert_eq!(story.engine.unknown_queues(5), [QueueId(9)]);
    story.engine.put_queue(QueueId(9), most(1));
    assert_eq!(story.engine.unknown_queues(5), []);
    assert_eq!(story.tick(SEC), [run(2, 1, SEC)]);
    story.engine.doubt_queues();
    story.finished(2);
    assert_eq!(story.tick(2 * SEC), []);
    // A name that turns out to stand for nothing limits nothing.
    assert!(story.engine.drop_queue(QueueId(9)));
    assert_eq!(story.tick(2 * SEC).len(), 2);
}

#[test]
fn a_place_is_given_up_to_a_run_that_joins_the_queue_and_when_there_are_fewer() {
    let queue = Some(QueueId(9));
    let most = |n, apart| QueueSpec { max_running: Some(n), start_interval: apart };
    for (joins, spec) in [(true, most(1, 0)), (false, most(0, 0)), (false, most(1, 3 * SEC))] {
        let mut story = Story::new(LIMITS);
        story.up(7, 0);
        story.engine.put_queue(QueueId(9), most(2, 0));
        let before = JobSpec { rules: Rules { queue, ..Rules::default() }, ..job(1, 7, Once(SEC)) };
        let alone = JobSpec { rules: Rules::default(), ..before.clone() };
        story.put([if joins { alone } else { before.clone() }]);
        story.put([JobSpec { rules: before.rules.clone(), ..job(2, 7, Once(SEC)) }]);
        assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
        // The second has a place, and stands for want of an executor.
        assert_eq!(story.tick(SEC + 1_000), [start(7)]);
        story.put([before]);
        story.engine.put_queue(QueueId(9), spec);
        story.up(7, 1);
        assert_eq!(story.tick(SEC + 2_000), []);
        story.finished(0);
        story.engine.put_queue(QueueId(9), most(1, spec.start_interval));
        let early = if spec.start_interval == 0 { vec![run(0, 2, SEC)] } else { vec![] };
        assert_eq!(story.tick(SEC + 3_000), early);
        if early.is_empty() {
            assert_eq!(story.tick(4 * SEC), [run(0, 2, SEC)]);
        }
    }
}

#[test]
fn what_an_earlier_schedule_left_has_a_row_of_its_own() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([job(1, 7, Every(SEC))]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    story.now = SEC + 1;
    story.put([job(1, 7, Every(2 * SEC))]);
    let condition = |at| skipped(SkipReason::Condition, 1, at, at, 1);
    story.engine.run_skipped(ExecutorId(0), SkipReason::Condition, at(SEC + 2));
    assert_eq!(story.tick(SEC + 2), [condition(SEC)]);
    assert_eq!(story.tick(2 * SEC), [run(0, 1, 2 * SEC)]);
    story.engine.run_skipped(ExecutorId(0), SkipReason::Condition, at(2 * SEC));
    assert_eq!(story.tick(2 * SEC), [condition(2 * SEC)]);
}

#[test]
fn an_owner_has_no_more_runs_than_an_owner_may() {
    let mut story = Story::new(Limits { max_running_per_role: 2, ..LIMITS });
    (0..4).for_each(|id| story.up(7, id));
    story.put((1..=5).map(|id| job(id, 7, Once(SEC))));
    story.put([job(9, 8, Once(SEC))]);
    assert_eq!(story.tick(SEC), [run(3, 1, SEC), run(2, 2, SEC), start(8)]);
    assert_eq!(story.tick(2 * SEC), []);
    story.finished(3);
    assert_eq!(story.tick(2 * SEC), [run(3, 3, SEC)]);
    story.engine.set_limits(LIMITS, at(2 * SEC));
    assert_eq!(story.tick(2 * SEC).len(), 2);
}

#[test]
fn runs_whose_condition_is_not_met_are_skipped_in_one_row() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([job(1, 7, Every(SEC))]);
    let mut rows: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
    for second in 1..=4 {
        let now = second * SEC;
        assert_eq!(story.tick(now), [run(0, 1, now)]);
        story.engine.run_skipped(ExecutorId(0), SkipReason::Condition, at(now));
        for action in story.tick(now) {
            let Action::Skipped { first, last, count, extends, .. } = action else { panic!() };
            let begin = extends.map_or(first.0, |_| SEC);
            let row = rows.entry(begin).or_insert((0, 0));
            *row = (last.0, row.1 + count);
        }
        assert_eq!(story.engine.cursor(JobId(1)), Some(at(now)));
    }
    assert_eq!(rows, BTreeMap::from([(SEC, (4 * SEC, 4))]));
}
