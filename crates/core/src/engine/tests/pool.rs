//! Executors: started, grown, refused, retired, failed, adopted.

use super::support::*;
use crate::engine::{Action, ExecutorId, Limits, PoolKey};
use crate::time::JobId;

/// `count` jobs of a role, with ids from `first`, due at `due_at`.
fn flood(story: &mut Story, role: u32, first: i64, count: i64, due_at: i64) {
    story.put((first..first + count).map(|id| job(id, role, Once(due_at))));
}

/// Answers every question of `actions`, giving executors ids from `next` on.
fn accept(story: &mut Story, actions: &[Action], next: &mut u32) -> usize {
    let mut accepted = 0;
    for action in actions {
        if let Action::StartExecutor { key } = action {
            story.engine.executor_starting(*key, ExecutorId(*next), at(story.now));
            *next += 1;
            accepted += 1;
        }
    }
    accepted
}

#[test]
fn the_most_recently_used_idle_executor_is_taken() {
    let mut story = Story::new(LIMITS);
    (0..3).for_each(|executor| story.up(7, executor));
    flood(&mut story, 7, 1, 3, SEC);
    assert_eq!(story.tick(SEC), [run(2, 1, SEC), run(1, 2, SEC), run(0, 3, SEC)]);
    story.finished(1);
    story.finished(0);
    story.finished(2);
    flood(&mut story, 7, 9, 1, 2 * SEC);
    assert_eq!(story.tick(2 * SEC), [run(2, 9, 2 * SEC)]);
}

#[test]
fn the_executor_that_gets_the_next_run_is_known_before() {
    let mut story = Story::new(LIMITS);
    assert_eq!(story.engine.next_executor(), None, "nothing is due");
    flood(&mut story, 7, 1, 1, 3 * SEC);
    let _ = story.tick(SEC);
    assert_eq!(story.engine.next_executor(), None, "there is none");
    (0..2).for_each(|executor| story.up(7, executor));
    story.up(8, 2);
    assert_eq!(story.engine.next_executor(), Some(ExecutorId(1)));
    assert_eq!(story.tick(3 * SEC), [run(1, 1, 3 * SEC)]);
}

#[test]
fn a_key_doubles_its_executors_only_after_a_millisecond() {
    let mut story = Story::new(LIMITS);
    let mut next = 0;
    flood(&mut story, 7, 1, 20, SEC);
    let actions = story.tick(SEC);
    assert_eq!(actions, [start(7)]);
    accept(&mut story, &actions, &mut next);
    assert_eq!(story.tick(SEC + 500), [], "one is on its way");
    story.ready(0);
    assert_eq!(story.tick(SEC + 999), [run(0, 1, SEC)]);
    assert_eq!(story.wake(), Some(SEC + MS));
    for (step, grown) in [1, 2, 4, 8, 4].into_iter().enumerate() {
        let actions = story.tick(SEC + MS + 10 * i64::try_from(step).unwrap());
        assert_eq!(accept(&mut story, &actions, &mut next), grown, "no more than wait");
        (0..next).for_each(|executor| story.ready(executor));
    }
    assert_eq!(story.engine.counts().running, 16);
}

#[test]
fn very_short_runs_get_no_more_executors_than_cores() {
    let mut story = Story::new(LIMITS);
    story.engine.set_cores(2);
    (0..2).for_each(|executor| story.up(7, executor));
    flood(&mut story, 7, 1, 100, SEC);
    let mut now = SEC;
    for _ in 0..40 {
        let actions = story.tick(now);
        assert!(!actions.contains(&start(7)), "{actions:?}");
        now += 50;
        for executor in 0..2 {
            story.engine.observe_run(ExecutorId(executor), 40);
            story.finished(executor);
        }
    }
    // Both get stuck: the others must not wait for them.
    story.tick(now);
    assert_eq!(story.wake(), Some(now + MS));
    assert_eq!(story.tick(now + MS), [start(7), start(7)]);
}

#[test]
fn a_flood_never_starts_more_than_can_run() {
    let mut story = Story::new(Limits { max_running: 5, ..LIMITS });
    let mut next = 0;
    flood(&mut story, 7, 1, 100, SEC);
    for step in 0..20 {
        let actions = story.tick(SEC + step * 10 * MS);
        accept(&mut story, &actions, &mut next);
        (0..next).for_each(|executor| story.ready(executor));
    }
    assert_eq!((next, story.engine.counts().running), (5, 5));
}

#[test]
fn many_owners_at_once_start_no_more_than_can_run() {
    let mut story = Story::new(Limits { max_running: 5, ..LIMITS });
    story.put((1..=1_000).map(|id| job(id, u32::try_from(id).unwrap(), Once(SEC))));
    let mut next = 0;
    let actions = story.tick(SEC);
    assert_eq!(accept(&mut story, &actions, &mut next), 5);
    (0..5).for_each(|executor| story.ready(executor));
    let actions = story.tick(SEC);
    let runs = actions.iter().filter(|action| matches!(action, Action::Run { .. })).count();
    assert_eq!(runs, 5);
    // As many again come up in advance, so that the next ones are ready when a run ends.
    assert_eq!(accept(&mut story, &actions, &mut next), 5);
    (5..10).for_each(|executor| story.ready(executor));
    assert_eq!(story.tick(SEC), []);
}

#[test]
fn zero_running_counts_as_one() {
    let mut story = Story::new(Limits { max_running: 0, ..LIMITS });
    story.up(7, 0);
    story.up(7, 1);
    flood(&mut story, 7, 1, 2, SEC);
    assert_eq!(story.tick(SEC), [run(1, 1, SEC)]);
}

#[test]
fn an_idle_executor_leaves_after_the_timeout() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    assert_eq!(story.tick(0), []);
    assert_eq!(story.wake(), Some(60 * SEC));
    flood(&mut story, 7, 1, 1, SEC);
    story.tick(SEC);
    story.now = 2 * SEC;
    story.finished(0);
    assert_eq!(story.tick(60 * SEC), []);
    assert_eq!(story.tick(62 * SEC), [retire(0)]);
    assert_eq!(story.wake(), None);
    assert_eq!(story.engine.counts().leaving, 1);
    story.gone(0);
    assert_eq!(story.tick(63 * SEC), []);
    assert_eq!(story.engine.counts().leaving, 0);
}

#[test]
fn an_executor_that_only_waits_for_a_run_slot_stays() {
    let mut story = Story::new(Limits { max_running: 1, ..LIMITS });
    story.up(7, 0);
    story.up(8, 1);
    story.put([job(1, 7, Once(SEC)), job(2, 8, Once(SEC + 1))]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(SEC + 1), []);
    assert_eq!(story.tick(60 * SEC), []);
    assert_eq!(story.wake(), None);
    story.engine.drop_job(JobId(2));
    assert_eq!(story.tick(70 * SEC), [retire(1)]);
}

#[test]
fn an_old_executor_leaves_once_idle_and_not_before() {
    let mut story = Story::new(Limits { max_age: 10 * SEC, ..LIMITS });
    story.up(7, 0);
    story.up(8, 1);
    flood(&mut story, 7, 1, 2, 9 * SEC);
    assert_eq!(story.tick(9 * SEC), [run(0, 1, 9 * SEC)]);
    assert_eq!(story.tick(10 * SEC), [start(7), retire(1)]);
    story.refused(7);
    story.now = 12 * SEC;
    story.finished(0);
    let actions = story.tick(12 * SEC);
    assert!(actions.contains(&retire(0)), "{actions:?}");
}

#[test]
fn executors_of_an_altered_role_leave() {
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|executor| story.up(7, executor));
    story.up(8, 2);
    story.starting(7, 3);
    flood(&mut story, 7, 1, 1, SEC);
    assert_eq!(story.tick(SEC), [run(1, 1, SEC)]);
    story.engine.retire_where(|key| key.role == 7);
    assert_eq!(story.tick(SEC), [retire(0)]);
    story.finished(1);
    story.ready(3);
    assert_eq!(story.tick(SEC), [retire(1), retire(3)]);
    // Work that comes meanwhile gets a new executor at once.
    flood(&mut story, 7, 2, 1, 2 * SEC);
    assert_eq!(story.tick(2 * SEC), [start(7)]);
}

#[test]
fn a_failed_start_fails_what_waits_and_the_next_instant_tries_again() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC)), job(2, 7, Once(SEC)), job(3, 8, Once(SEC))]);
    assert_eq!(story.tick(SEC), [start(7), start(8)]);
    story.starting(7, 0);
    story.starting(8, 1);
    story.engine.executor_start_failed(ExecutorId(0), at(SEC));
    let fail = |id| Action::Fail { occurrence: due(id, SEC), key: key(7) };
    assert_eq!(story.tick(SEC), [fail(1), fail(2)]);
    assert_eq!(story.wake(), Some(2 * SEC));
    assert_eq!(story.tick(2 * SEC), [start(7)]);
}

/// One tick: how many occurrences fail, and everything else.
fn failures(story: &mut Story, now: i64) -> (Vec<JobId>, Vec<Action>) {
    let mut actions = Vec::new();
    story.engine.tick(at(now), &mut actions);
    let failed = |action: &Action| match action {
        Action::Fail { occurrence, .. } => Some(occurrence.job),
        _ => None,
    };
    let jobs = actions.iter().filter_map(failed).collect();
    actions.retain(|action| failed(action).is_none());
    (jobs, actions)
}

#[test]
fn thousands_that_cannot_start_hold_nobody_up() {
    let mut story = Story::new(LIMITS);
    story.put((2..=2_501).map(|id| job(id, 7, Once(SEC))));
    story.put([job(1, 8, Once(SEC + MS))]);
    story.up(8, 1);
    assert_eq!(story.tick(SEC), [start(7)]);
    story.starting(7, 0);
    story.engine.executor_start_failed(ExecutorId(0), at(SEC));
    let mut failed = Vec::new();
    for tick in 0..25 {
        assert!(story.wake() <= Some(SEC + MS), "there is more to do");
        let (some, others) = failures(&mut story, SEC + MS);
        assert_eq!(some.len(), 100);
        failed.extend(some);
        let expected = if tick == 0 { vec![run(1, 1, SEC + MS)] } else { Vec::new() };
        assert_eq!(others, expected, "another owner's run starts beside the first of them");
    }
    failed.sort_unstable();
    assert!(failed.into_iter().eq((2..=2_501).map(JobId)), "each has failed, once");
    story.tick(SEC + MS);
    assert_eq!(story.wake(), None);
}

#[test]
fn only_what_waited_when_a_start_failed_fails_for_it() {
    let mut story = Story::new(LIMITS);
    story.put((1..=150).map(|id| job(id, 7, Once(SEC))));
    story.put([job(151, 7, Once(SEC + MS))]);
    assert_eq!(story.tick(SEC), [start(7)]);
    story.starting(7, 0);
    story.engine.executor_start_failed(ExecutorId(0), at(SEC));
    let (first, others) = failures(&mut story, SEC + MS);
    assert_eq!((first.len(), others), (100, vec![]));
    let (rest, others) = failures(&mut story, SEC + MS);
    assert_eq!(others, [], "starts cost much: none for a second");
    assert_eq!(story.wake(), Some(2 * SEC));
    let (none, others) = failures(&mut story, 2 * SEC);
    assert_eq!((none, others), (vec![], vec![start(7)]), "for the one that has come since");
    let mut failed: Vec<JobId> = first.into_iter().chain(rest).collect();
    failed.sort_unstable();
    assert!(failed.into_iter().eq((1..=150).map(JobId)));
}

#[test]
fn a_job_dropped_before_it_could_fail_is_forgotten() {
    let mut story = Story::new(LIMITS);
    story.put((1..=150).map(|id| job(id, 7, Once(SEC))));
    assert_eq!(story.tick(SEC), [start(7)]);
    story.starting(7, 0);
    story.engine.executor_start_failed(ExecutorId(0), at(SEC));
    let (first, _) = failures(&mut story, SEC);
    for id in 1..=150 {
        story.engine.drop_job(JobId(id));
    }
    assert_eq!(first.len(), 100);
    assert_eq!(failures(&mut story, SEC), (vec![], vec![]));
    // The key went with its last job: the next one begins as any other.
    story.put([job(1, 7, Once(2 * SEC))]);
    assert_eq!(story.tick(2 * SEC), [start(7)]);
}

#[test]
fn a_failed_growth_fails_nobody() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    flood(&mut story, 7, 1, 3, SEC);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(SEC + MS), [start(7)]);
    story.starting(7, 1);
    story.engine.executor_start_failed(ExecutorId(1), at(story.now));
    assert_eq!(story.tick(SEC + 2 * MS), []);
    assert_eq!(story.wake(), Some(2 * SEC + MS), "no second try for a second");
    story.finished(0);
    assert_eq!(story.tick(SEC + 3 * MS), [run(0, 2, SEC)]);
}

#[test]
fn a_dead_executor_ends_its_run() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC))]);
    story.up(7, 0);
    story.tick(SEC);
    assert_eq!(story.engine.running(JobId(1)), Some(ExecutorId(0)));
    story.tick(2 * SEC);
    story.gone(0);
    assert_eq!(story.engine.running(JobId(1)), None);
    assert_eq!(story.tick(2 * SEC), [start(7)]);
    story.up(7, 0);
    assert_eq!(story.tick(2 * SEC), [run(0, 1, 2 * SEC)]);
}

#[test]
fn an_adopted_run_holds_its_job_and_its_slot() {
    let mut story = Story::new(Limits { max_running: 1, ..LIMITS });
    story.engine.adopt(ExecutorId(4), key(7), JobId(1), at(0));
    story.put([job(1, 7, Every(SEC)), job(2, 7, Every(SEC))]);
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [], "the only slot is taken");
    story.gone(4);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    let mut story = Story::new(LIMITS);
    story.engine.adopt(ExecutorId(4), key(7), JobId(1), at(0));
    assert_eq!(story.engine.counts().jobs, 0, "not put yet");
    story.put([job(1, 7, Every(SEC)), job(2, 7, Every(SEC))]);
    assert_eq!(story.tick(SEC), [start(7)], "an adopted executor takes no more work");
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 2, SEC)]);
    story.finished(4);
    story.gone(4);
    story.finished(0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
}

#[test]
fn refused_without_anything_to_free_asks_again_after_a_second() {
    let mut story = Story::new(LIMITS);
    flood(&mut story, 7, 1, 1, SEC);
    assert_eq!(story.tick(SEC), [start(7)]);
    story.refused(7);
    assert_eq!(story.tick(SEC), []);
    assert!(story.engine.counts().short_of_slots);
    assert_eq!(story.wake(), Some(2 * SEC));
    assert_eq!(story.tick(2 * SEC), [start(7)]);
    story.up(7, 0);
    assert_eq!(story.tick(2 * SEC), [run(0, 1, SEC)]);
    assert!(!story.engine.counts().short_of_slots);
}

#[test]
fn refused_retires_the_longest_idle_and_starts_when_it_is_gone() {
    let mut story = Story::new(LIMITS);
    story.up(8, 0);
    story.now = 10;
    story.up(9, 1);
    flood(&mut story, 7, 1, 1, SEC);
    assert_eq!(story.tick(SEC), [start(7)]);
    story.refused(7);
    assert_eq!(story.tick(SEC), [retire(0)]);
    assert_eq!(story.tick(SEC + 1), [], "one is enough");
    story.gone(0);
    assert_eq!(story.tick(SEC + 2), [start(7)]);
}

/// One worker slot, role 7 with a backlog on it, role 8 waiting.
fn one_slot() -> Story {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    flood(&mut story, 7, 1, 100, SEC);
    flood(&mut story, 8, 200, 2, SEC + 10);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(SEC + 10), [start(8)]);
    story.refused(8);
    assert_eq!(story.tick(SEC + 10), []);
    story
}

#[test]
fn a_flooding_owner_gives_up_its_slot_after_its_quantum() {
    let mut story = one_slot();
    story.now = SEC + 20;
    story.finished(0);
    assert_eq!(story.tick(SEC + 20), [retire(0)], "it has been up for a second");
    story.gone(0);
    assert_eq!(story.tick(SEC + 30), [start(8)]);
    story.up(8, 0);
    // A slot was free, so another one might be.
    assert_eq!(story.tick(SEC + 30), [run(0, 200, SEC + 10), start(7)]);
    story.refused(7);
    // Now role 7 waits without an executor, and role 8 keeps its own for a quantum.
    story.now = SEC + 40;
    story.finished(0);
    assert_eq!(story.tick(SEC + 40), [run(0, 201, SEC + 10)]);
    story.now = SEC + 50;
    story.finished(0);
    assert_eq!(story.tick(SEC + 50), [retire(0)], "idle, it need not finish its quantum");
}

#[test]
fn within_its_quantum_an_executor_stays() {
    let mut story = Story::new(LIMITS);
    flood(&mut story, 7, 1, 100, SEC);
    flood(&mut story, 8, 200, 1, SEC + 10);
    story.tick(SEC);
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(SEC + 10), [start(8)]);
    story.refused(8);
    story.now = SEC + 49 * MS;
    story.finished(0);
    assert_eq!(story.tick(SEC + 49 * MS), [run(0, 2, SEC)]);
    story.now = SEC + 50 * MS;
    story.finished(0);
    assert_eq!(story.tick(SEC + 50 * MS), [retire(0)]);
}

#[test]
fn an_owner_in_two_databases_shares_its_slot_between_them() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    flood(&mut story, 7, 1, 10, SEC);
    let elsewhere = PoolKey { database: 2, role: 7 };
    story.put([crate::engine::JobSpec { key: elsewhere, ..job(99, 7, Once(SEC - 10)) }]);
    assert_eq!(story.tick(SEC - 10), [Action::StartExecutor { key: elsewhere }]);
    story.engine.executor_refused(elsewhere, at(SEC - 10));
    assert_eq!(story.tick(SEC - 10), [retire(0)]);
    story.gone(0);
    assert_eq!(story.tick(SEC), [Action::StartExecutor { key: elsewhere }]);
}

#[test]
fn unknown_and_repeated_reports_do_nothing() {
    let mut story = Story::new(LIMITS);
    story.finished(3);
    story.ready(3);
    story.gone(3);
    story.engine.executor_start_failed(ExecutorId(3), at(0));
    story.refused(7);
    story.engine.executor_starting(key(7), ExecutorId(u32::MAX), at(0));
    assert_eq!(story.tick(0), []);
    story.up(7, 0);
    story.ready(0);
    story.finished(0);
    story.up(7, 0);
    assert_eq!(story.tick(0), []);
    assert_eq!(story.engine.counts().idle, 1);
}
