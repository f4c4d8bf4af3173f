//! Whose turn it is.

use super::support::*;
use crate::engine::{Action, JobSpec, Limits, PoolKey};
use crate::time::JobId;

fn owners_of_runs(actions: &[Action]) -> Vec<i64> {
    let owner = |action: &Action| match action {
        Action::Run { occurrence, .. } => Some(occurrence.job.0 / 100),
        _ => None,
    };
    actions.iter().filter_map(owner).collect()
}

/// Jobs 100 x role + n, with `idle` executors for each role.
fn story(max_running: u32, owners: &[(u32, i64, i64)], idle: u32) -> Story {
    let mut story = Story::new(Limits { max_running, ..LIMITS });
    let mut executor = 0;
    for &(role, count, due_at) in owners {
        story.put((0..count).map(|n| job(i64::from(role) * 100 + n, role, Once(due_at))));
        for _ in 0..idle {
            story.up(role, executor);
            executor += 1;
        }
    }
    story
}

#[test]
fn the_owner_with_the_fewest_runs_is_next() {
    let mut story = story(4, &[(7, 50, SEC), (8, 2, SEC + 1)], 4);
    let actions = story.tick(SEC + 1);
    assert_eq!(owners_of_runs(&actions), [7, 8, 7, 8]);
}

/// Answers every question while there is a worker slot, and says for whom.
fn answer(story: &mut Story, slots: u32, used: &mut u32, actions: &[Action]) -> Vec<u32> {
    let mut started = Vec::new();
    for action in actions {
        let Action::StartExecutor { key } = action else { continue };
        if *used < slots {
            story.up(key.role, *used);
            *used += 1;
            started.push(key.role);
        } else {
            story.refused(key.role);
        }
    }
    started
}

#[test]
fn endless_runs_of_one_owner_leave_slots_to_others() {
    for (slots, kept) in [(4, 1), (5, 1), (16, 2), (40, 5)] {
        let mut story = Story::new(Limits { max_running: 100, ..LIMITS });
        story.engine.set_slots(slots);
        story.put((0..99).map(|n| job(700 + n, 7, Once(SEC))));
        let (mut used, mut now) = (0, SEC);
        for _ in 0..60 {
            let actions = story.tick(now);
            answer(&mut story, slots, &mut used, &actions);
            now += 100 * MS;
        }
        assert_eq!(used, slots - kept, "of {slots}");
        // Whoever comes later gets one at once, until none is left.
        for role in 0..kept {
            story.put([job(i64::from(role), 20 + role, Once(now))]);
            let actions = story.tick(now);
            let started = answer(&mut story, slots, &mut used, &actions);
            assert_eq!(started, [20 + role]);
            let actions = story.tick(now);
            assert!(actions.iter().any(|action| matches!(action, Action::Run { .. })));
            now += 100 * MS;
        }
        assert_eq!(used, slots);
    }
}

#[test]
fn with_few_slots_or_an_unknown_number_none_is_kept() {
    for slots in [0, 1, 3] {
        let mut story = Story::new(LIMITS);
        story.engine.set_slots(slots);
        let slots = if slots == 0 { 5 } else { slots };
        story.put((0..99).map(|n| job(700 + n, 7, Once(SEC))));
        let mut used = 0;
        for step in 0..40 {
            let actions = story.tick(SEC + step * 100 * MS);
            answer(&mut story, slots, &mut used, &actions);
        }
        assert_eq!(used, slots);
    }
}

#[test]
fn among_equals_the_one_who_waits_longest_is_next() {
    let mut story = story(2, &[(7, 1, SEC + 2), (8, 1, SEC), (9, 1, SEC + 1)], 1);
    let actions = story.tick(SEC + 2);
    assert_eq!(owners_of_runs(&actions), [8, 9]);
}

#[test]
fn within_an_owner_the_oldest_due_is_next_then_the_smaller_id() {
    let mut story = Story::new(LIMITS);
    (0..4).for_each(|executor| story.up(7, executor));
    story.put([
        job(3, 7, Once(SEC)),
        job(2, 7, Once(SEC)),
        job(1, 7, Once(SEC + 5)),
        job(4, 7, Once(SEC - 5)),
    ]);
    assert_eq!(
        story.tick(SEC + 5),
        [run(3, 4, SEC - 5), run(2, 2, SEC), run(1, 3, SEC), run(0, 1, SEC + 5)]
    );
}

#[test]
fn an_old_backlog_does_not_win_every_tie() {
    // One slot, so at each pick every owner has none running.
    let mut story = story(1, &[(7, 50, SEC), (8, 3, SEC + 100)], 1);
    let mut order = Vec::new();
    let mut now = SEC;
    for _ in 0..8 {
        let actions = story.tick(now);
        order.extend(owners_of_runs(&actions));
        now += 1_000;
        story.now = now;
        for executor in 0..2 {
            story.finished(executor);
        }
    }
    assert_eq!(order, [7, 8, 7, 8, 7, 8, 7, 7]);
}

#[test]
fn ties_at_one_instant_go_round() {
    let mut story = story(1, &[(7, 50, SEC), (8, 50, SEC), (9, 50, SEC)], 1);
    let mut order = Vec::new();
    for _ in 0..6 {
        order.extend(owners_of_runs(&story.tick(SEC)));
        (0..3).for_each(|executor| story.finished(executor));
    }
    assert_eq!(order, [7, 8, 9, 7, 8, 9]);
}

#[test]
fn an_owner_below_its_share_gets_executors_although_all_slots_run() {
    let mut story = story(4, &[(7, 50, SEC)], 4);
    assert_eq!(owners_of_runs(&story.tick(SEC)), [7, 7, 7, 7]);
    story.put((0..9).map(|n| job(800 + n, 8, Once(SEC + 10))));
    assert_eq!(story.tick(SEC + 10), [start(8)]);
    story.up(8, 10);
    assert_eq!(story.tick(SEC + 10), []);
    story.finished(0);
    assert_eq!(story.tick(SEC + 20), [run(10, 800, SEC + 10)]);
    assert_eq!(story.tick(SEC + 10 + MS), [start(8)], "one of two");
    story.up(8, 11);
    story.finished(1);
    assert_eq!(owners_of_runs(&story.tick(SEC + 2 * MS)), [8]);
    story.finished(10);
    assert_eq!(owners_of_runs(&story.tick(SEC + 3 * MS)), [8]);
    assert_eq!(story.engine.counts().running, 4);
}

#[test]
fn an_owner_with_nothing_to_do_is_seen_among_many_dues_of_a_busy_one() {
    let mut story = Story::new(Limits { max_running: 4, ..LIMITS });
    story.put((0..50).map(|n| job(700 + n, 7, Every(SEC))));
    story.put([job(800, 8, Once(SEC + 20 * MS)), job(801, 8, Once(SEC + 30 * MS))]);
    story.up(7, 0);
    // Before anything runs all are idle.
    assert_eq!(story.engine.next_of_idle_owner(at(SEC)), Some(at(SEC)));
    let _ = story.tick(SEC);
    assert_eq!(story.engine.next_of_idle_owner(at(2 * SEC)), Some(at(SEC + 20 * MS)));
    assert_eq!(story.engine.next_of_idle_owner(at(SEC + 19 * MS)), None);
    // It waits for an executor now.
    let _ = story.tick(SEC + 20 * MS);
    assert_eq!(story.engine.next_of_idle_owner(at(2 * SEC)), None);
}

#[test]
fn runs_without_end_of_one_owner_leave_places_to_those_with_nothing_to_do() {
    for (places, kept) in [(3, 0), (4, 1), (8, 1), (32, 4)] {
        let mut story = story(places, &[(7, 50, SEC), (8, 1, 9 * SEC)], places);
        let actions = story.tick(SEC);
        assert_eq!(owners_of_runs(&actions).len(), (places - kept) as usize);
        assert_eq!(story.engine.kept_places(), kept);
        assert!(story.tick(5 * SEC).is_empty());
        let begun = owners_of_runs(&story.tick(9 * SEC));
        // Whoever has nothing running is first; then nobody is left for whom to keep any.
        assert_eq!(begun.iter().filter(|owner| **owner == 8).count(), kept.min(1) as usize);
        assert_eq!(begun.len(), kept as usize);
    }
}

#[test]
fn a_place_is_kept_for_an_owner_while_it_waits_for_an_executor() {
    let mut story = story(4, &[(7, 50, SEC)], 4);
    story.put([job(800, 8, Once(2 * SEC))]);
    assert_eq!(owners_of_runs(&story.tick(SEC)), [7, 7, 7]);
    assert_eq!(story.tick(2 * SEC), [start(8)]);
    story.starting(8, 10);
    assert_eq!(story.tick(3 * SEC), []);
    story.ready(10);
    assert_eq!(owners_of_runs(&story.tick(4 * SEC)), [8]);
    assert_eq!(story.engine.kept_places(), 0);
}

#[test]
fn a_place_that_an_owner_has_left_is_kept_for_it() {
    let mut story = story(8, &[(7, 50, SEC)], 8);
    story.put([job(800, 8, Every(SEC))]);
    story.up(8, 100);
    let _ = story.tick(SEC);
    assert_eq!(story.engine.counts().running, 8);
    for second in 2..9 {
        story.finished(100);
        assert_eq!(owners_of_runs(&story.tick(second * SEC - 500 * MS)), [0_i64; 0]);
        assert_eq!(owners_of_runs(&story.tick(second * SEC)), [8]);
    }
}

#[test]
fn no_place_is_kept_for_who_only_sends_requests() {
    let mut story = story(8, &[(7, 50, SEC)], 8);
    story.put([JobSpec { key: PoolKey::http(9), ..job(900, 9, Every(SEC)) }]);
    assert_eq!(story.engine.next_of_idle_owner(at(SEC)), Some(at(SEC)));
    assert!(!story.engine.is_due(at(SEC - 1)) && story.engine.is_due(at(SEC)));
    assert_eq!(owners_of_runs(&story.tick(SEC)).len(), 8);
    // Nor is its next request waited for.
    assert_eq!(story.engine.next_of_idle_owner(at(9 * SEC)), None);
    story.engine.drop_job(JobId(900));
    assert_eq!(story.engine.kept_places(), 0);
}

#[test]
fn the_only_owner_has_all_places() {
    let mut story = story(8, &[(7, 50, SEC)], 8);
    assert_eq!(owners_of_runs(&story.tick(SEC)).len(), 8);
}
