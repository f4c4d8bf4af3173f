//! Priorities, requests that are not ready yet, runs that did not begin.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use crate::engine::{Action, ExecutorId, JobSpec, Limits, Occurrence, QueueId, QueueSpec, Rules};
use crate::run::{SkipReason, Trigger};
use crate::time::{JobId, RunId};

fn ranked(id: i64, priority: i32, due_at: i64) -> JobSpec {
    JobSpec { rules: Rules { priority, ..Rules::default() }, ..job(id, 7, Once(due_at)) }
}

fn asked(id: i64, at: i64, trigger: Trigger, attempt: u32) -> Occurrence {
    Occurrence { trigger, attempt, run: Some(RunId(at)), ..due(id, at) }
}

#[test]
fn a_point_of_priority_is_worth_a_minute_of_waiting() {
    let mut story = Story::new(Limits { max_running: 1, ..LIMITS });
    story.up(7, 0);
    story.put([ranked(1, 0, SEC), ranked(2, 1, 60 * SEC), ranked(3, 1, 62 * SEC)]);
    story.put([ranked(4, -1, SEC), ranked(5, 2, 62 * SEC)]);
    let mut order = Vec::new();
    for _ in 0..5 {
        for action in story.tick(62 * SEC) {
            let Action::Run { occurrence, .. } = action else { panic!("{action:?}") };
            order.push(occurrence.job.0);
        }
        story.finished(0);
    }
    assert_eq!(order, [5, 2, 1, 3, 4]);
}

#[test]
fn priority_is_nothing_to_other_owners() {
    let mut story = Story::new(Limits { max_running: 1, ..LIMITS });
    story.up(7, 0);
    story.up(8, 1);
    story.put([ranked(1, 1_000, SEC + 1), job(2, 8, Once(SEC))]);
    assert_eq!(story.tick(SEC + 1), [run(1, 2, SEC)]);
}

#[test]
fn a_changed_priority_counts_at_once() {
    let mut story = Story::new(Limits { max_running: 1, ..LIMITS });
    story.put([ranked(1, 0, SEC), ranked(2, 0, SEC)]);
    story.tick(SEC);
    let spec = ranked(2, 3, SEC);
    story.engine.put_job(JobSpec { done: [at(SEC)].into(), ..spec }, at(0));
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 2, SEC)]);
}

#[test]
fn a_request_for_later_starts_at_its_time() {
    let mut story = Story::new(Limits { max_queued_per_job: 0, ..LIMITS });
    story.up(7, 0);
    story.put([job(1, 7, Every(10 * SEC))]);
    assert_eq!(story.tick(10 * SEC), [run(0, 1, 10 * SEC)]);
    story.finished(0);
    let retry = asked(1, 10 * SEC, Trigger::Retry, 2);
    assert!(story.engine.enqueue_at(retry, at(13 * SEC)));
    assert!(!story.engine.enqueue_at(retry, at(13 * SEC)), "waits already");
    assert_eq!(story.tick(10 * SEC), []);
    assert_eq!(story.engine.counts().waiting, 0);
    assert_eq!(story.wake(), Some(13 * SEC));
    let run = Action::Run { executor: ExecutorId(0), occurrence: retry, claim: false };
    assert_eq!(story.tick(13 * SEC), [run]);
    story.finished(0);
    // It goes with its job.
    assert!(story.engine.enqueue_at(retry, at(15 * SEC)));
    story.engine.drop_job(JobId(1));
    assert_eq!(story.tick(15 * SEC), []);
}

#[test]
fn what_did_not_begin_keeps_its_place_in_a_full_queue() {
    let mut story = Story::new(Limits { max_queued_per_job: 1, ..LIMITS });
    story.up(7, 0);
    story.put([job(1, 7, Every(SEC))]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(2 * SEC), []);
    assert!(story.engine.put_back(due(1, SEC), true));
    story.finished(0);
    let again = Action::Run { executor: ExecutorId(0), occurrence: due(1, SEC), claim: true };
    assert_eq!(story.tick(2 * SEC), [again]);
    story.finished(0);
    assert_eq!(story.tick(2 * SEC), [run(0, 1, 2 * SEC)]);
}

#[test]
fn what_did_not_begin_of_a_job_switched_off_is_skipped() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([job(1, 7, Every(SEC))]);
    story.tick(SEC);
    story.put([JobSpec { active: false, ..job(1, 7, Every(SEC)) }]);
    assert!(!story.engine.put_back(due(1, SEC), false));
    story.finished(0);
    assert_eq!(story.tick(SEC), [skipped(SkipReason::Inactive, 1, SEC, SEC, 1)]);
}

#[test]
fn of_a_held_job_nothing_starts_and_what_has_no_room_is_skipped_as_held() {
    let mut story = Story::new(Limits { max_queued_per_job: 1, ..LIMITS });
    story.up(7, 0);
    story.put([job(1, 7, Every(SEC))]);
    story.engine.hold(JobId(1));
    assert_eq!(story.tick(SEC), []);
    assert_eq!(story.tick(2 * SEC), []);
    assert_eq!(story.tick(3 * SEC), [skipped(SkipReason::Held, 1, 3 * SEC, 3 * SEC, 1)]);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(SEC - 1)));
    story.engine.release_holds();
    assert_eq!(story.tick(3 * SEC), [run(0, 1, SEC)]);
}

#[test]
fn a_long_queue_is_as_quick_as_a_short_one() {
    const MANY: i64 = 100_000;
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([job(1, 7, Once(i64::MAX - 1))]);
    for n in 1..=MANY {
        assert!(story.engine.enqueue(asked(1, n, Trigger::Backfill, 1)));
        assert!(!story.engine.enqueue(asked(1, n, Trigger::Backfill, 1)));
        assert_eq!(story.engine.cursor(JobId(1)), Some(at(0)));
    }
    let mut out = Vec::new();
    for n in 1..=MANY {
        story.engine.tick(at(SEC), &mut out);
        let Some(Action::Run { occurrence, .. }) = out.pop() else { panic!("nothing runs") };
        assert_eq!(occurrence.scheduled_for, at(n));
        story.finished(0);
    }
    assert_eq!(story.engine.counts().waiting, 0);
}

/// Jobs of two roles that have no instants, each asked for because the server has started: the queue
/// has a place, a role two, the server three, and some are held. Whose they are, and whether they queue.
fn started(dice: &mut Dice, jobs: i64) -> (Story, Vec<(u32, bool)>) {
    let mut story = Story::new(Limits { max_running: 3, max_running_per_role: 2, ..LIMITS });
    let queue = QueueId(1);
    story.engine.put_queue(queue, QueueSpec { max_running: Some(1), start_interval: 0 });
    let of: Vec<(u32, bool)> =
        (0..jobs).map(|_| (7 + u32::from(dice.roll(2) == 0), dice.roll(2) == 0)).collect();
    for (id, &(role, queued)) in (0..).zip(&of) {
        let rules = Rules { queue: queued.then_some(queue), ..Rules::default() };
        story.put([JobSpec { rules, ..job(id, role, Once(i64::MIN)) }]);
        let (trigger, run) = (Trigger::Startup, Some(RunId(100 + id)));
        assert!(story.engine.enqueue(Occurrence { trigger, run, ..due(id, SEC) }));
        if dice.roll(3) == 0 {
            story.engine.hold(JobId(id));
        }
    }
    (story, of)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(128), ..ProptestConfig::default() })]

    #[test]
    fn starts_of_the_server_keep_to_every_limit_and_run_once(seed: u64, jobs in 1i64..12) {
        let mut dice = Dice(seed);
        let (mut story, of) = started(&mut dice, jobs);
        let (mut running, mut done) = (BTreeMap::new(), vec![0; of.len()]);
        let (mut executors, mut now, mut released) = (0, SEC, false);
        while done.contains(&0) {
            now += SEC;
            prop_assert!(now < 1_000 * SEC, "never run: {:?}", done);
            if !released && running.is_empty() && dice.roll(3) == 0 {
                story.engine.release_holds();
                released = true;
            }
            for action in story.tick(now) {
                match action {
                    Action::Run { executor, occurrence, claim } => {
                        prop_assert!(!claim && occurrence.trigger == Trigger::Startup);
                        let id = usize::try_from(occurrence.job.0).unwrap();
                        prop_assert!(released || !story.engine.is_held(occurrence.job));
                        running.insert(executor.0, (id, occurrence));
                    }
                    Action::StartExecutor { key } => {
                        story.up(key.role, executors);
                        executors += 1;
                    }
                    Action::Retire { executor } => story.gone(executor.0),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            let count = |which: &dyn Fn((u32, bool)) -> bool| {
                running.values().filter(|(id, _)| which(of[*id])).count()
            };
            prop_assert!(count(&|_| true) <= 3 && count(&|(_, queued)| queued) <= 1);
            prop_assert!(count(&|(role, _)| role == 7) <= 2 && count(&|(role, _)| role == 8) <= 2);
            let ends = running.keys().copied().nth(usize::try_from(dice.roll(3)).unwrap());
            if let Some((executor, (id, occurrence))) = ends.and_then(|id| running.remove_entry(&id)) {
                if dice.roll(4) == 0 {
                    prop_assert!(story.engine.put_back(occurrence, false));
                } else {
                    done[id] += 1;
                }
                story.finished(executor);
            }
        }
        prop_assert_eq!(done, vec![1; of.len()]);
        prop_assert!(running.is_empty());
    }
}
