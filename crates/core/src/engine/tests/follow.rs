//! What follows a run that has more to do.

use super::shaped::Shaped;
use super::support::*;
use crate::engine::{Action, ExecutorId, JobSpec, Limits, Occurrence, QueueId, QueueSpec, Rules};
use crate::run::Trigger;
use crate::time::{JobId, RunId};

/// A story in which a run of job 1, due at 1 s, is over.
fn after_a_run(spec: JobSpec) -> Story {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([spec]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    story.finished(0);
    story
}

fn once() -> JobSpec {
    job(1, 7, Once(SEC))
}

/// The run that follows, for this instant.
fn follower(at: i64) -> Action {
    let occurrence = Occurrence { trigger: Trigger::Manual, ..due(1, at) };
    Action::Run { executor: ExecutorId(0), occurrence, claim: false }
}

#[test]
fn a_run_that_asks_is_followed_at_once() {
    let mut story = after_a_run(once());
    assert!(story.engine.follow(&due(1, SEC), at(SEC + 5)));
    assert_eq!(story.tick(SEC + 5), [follower(SEC + 5)]);
    story.finished(0);
    // On a clock that stands still too each is an occurrence of its own.
    assert!(story.engine.follow(&due(1, SEC + 5), at(SEC + 5)));
    assert_eq!(story.tick(SEC + 5), [follower(SEC + 6)]);
    story.finished(0);
    assert_eq!(story.tick(2 * SEC), []);
}

#[test]
fn what_follows_is_never_for_an_instant_of_the_schedule() {
    let mut story = after_a_run(job(1, 7, Every(SEC)));
    assert!(story.engine.follow(&due(1, SEC), at(2 * SEC)));
    assert_eq!(story.tick(2 * SEC), [follower(2 * SEC + 1)]);
    story.finished(0);
    assert_eq!(story.tick(2 * SEC), [run(0, 1, 2 * SEC)]);
}

#[test]
fn a_free_instant_is_nobodys_and_not_the_schedules() {
    let mut story = after_a_run(job(1, 7, Every(SEC)));
    let free = |story: &Story, from| story.engine.free_instant(JobId(1), at(from));
    assert_eq!(free(&story, SEC + 5), Some(at(SEC + 5)));
    // Two sessions that ask in the same microsecond have a run each.
    for asked in [SEC + 5, SEC + 6] {
        let scheduled_for = free(&story, SEC + 5).unwrap();
        assert_eq!(scheduled_for, at(asked));
        let (run, trigger) = (Some(RunId(asked)), Trigger::Manual);
        assert!(story.engine.enqueue(Occurrence { run, trigger, ..due(1, asked) }));
    }
    assert_eq!(free(&story, 2 * SEC), Some(at(2 * SEC + 1)));
    assert_eq!(story.engine.free_instant(JobId(2), at(SEC)), None);
}

#[test]
fn one_that_waits_does_for_all_who_ask() {
    let mut story = after_a_run(once());
    for _ in 0..3 {
        assert!(story.engine.follow(&due(1, SEC), at(SEC)));
    }
    assert_eq!(story.engine.counts().waiting, 1);
    assert_eq!(story.tick(SEC), [follower(SEC + 1)]);
    story.finished(0);
    assert_eq!(story.tick(SEC), []);
}

#[test]
fn a_run_of_a_job_that_may_not_start_now_is_not_followed() {
    type Change = fn(&mut Story);
    let changes: [(&str, Change); 5] = [
        ("paused", |story| {
            story.put([JobSpec { paused_until: Some(at(i64::MAX)), ..once() }]);
        }),
        ("paused for a while", |story| {
            story.put([JobSpec { paused_until: Some(at(9 * SEC)), ..once() }]);
        }),
        ("switched off", |story| story.put([JobSpec { active: false, ..once() }])),
        ("no job is launched", |story| {
            story.engine.set_limits(Limits { launch: false, ..LIMITS }, at(SEC));
        }),
        ("dropped", |story| story.engine.drop_job(JobId(1))),
    ];
    for (why, change) in changes {
        // The run ends after the change.
        let mut story = after_a_run(once());
        change(&mut story);
        assert!(!story.engine.follow(&due(1, SEC), at(SEC)), "{why}");
        assert_eq!(story.tick(20 * SEC), [], "{why}");
        // The change comes while the next one waits for its turn.
        let mut story = after_a_run(once());
        story.engine.follow(&due(1, SEC), at(SEC));
        change(&mut story);
        assert_eq!(story.tick(SEC), [], "{why}");
        assert_eq!(story.engine.counts().waiting, 0, "{why}");
        story.put([once()]);
        story.engine.set_limits(LIMITS, at(SEC));
        assert_eq!(story.tick(20 * SEC), [], "{why}: another occurrence begins anew");
    }
}

#[test]
fn a_window_or_a_calendar_that_closes_ends_the_chain() {
    let open = Shaped { period: 40 * SEC, stretch: 10 * SEC, jitter: 0 };
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([job(1, 7, open)]);
    story.tick(SEC);
    assert_eq!(story.tick(40 * SEC), [run(0, 1, 40 * SEC)]);
    story.finished(0);
    // Open up to 50 s, closed up to 70 s.
    assert!(story.engine.follow(&due(1, 40 * SEC), at(50 * SEC - 1)));
    assert_eq!(story.tick(50 * SEC - 1), [follower(50 * SEC - 1)]);
    story.finished(0);
    for closed in [50 * SEC, 60 * SEC, 70 * SEC - 1] {
        assert!(!story.engine.follow(&due(1, 50 * SEC - 1), at(closed)));
        assert_eq!(story.tick(closed), []);
    }
    assert_eq!(story.tick(75 * SEC), []);
}

#[test]
fn one_whose_turn_comes_after_the_window_is_dropped() {
    let mut story = Story::new(LIMITS);
    let queue = QueueId(1);
    story.engine.put_queue(queue, QueueSpec { max_running: None, start_interval: 15 * SEC });
    story.up(7, 0);
    let shaped = Shaped { period: 40 * SEC, stretch: 10 * SEC, jitter: 0 };
    let rules = Rules { queue: Some(queue), ..Rules::default() };
    story.put([JobSpec { rules, ..job(1, 7, shaped) }]);
    story.tick(SEC);
    assert_eq!(story.tick(40 * SEC), [run(0, 1, 40 * SEC)]);
    story.finished(0);
    assert!(story.engine.follow(&due(1, 40 * SEC), at(41 * SEC)));
    assert_eq!(story.tick(41 * SEC), []);
    assert_eq!(story.tick(55 * SEC), []);
    assert_eq!(story.engine.counts().waiting, 0);
    assert_eq!(story.tick(75 * SEC), []);
}

#[test]
fn one_that_did_not_begin_still_only_follows() {
    let mut story = after_a_run(once());
    story.engine.follow(&due(1, SEC), at(SEC + 5));
    assert_eq!(story.tick(SEC + 5), [follower(SEC + 5)]);
    let mut again = due(1, SEC + 5);
    again.trigger = Trigger::Manual;
    // In another database it has an id by then.
    again.run = Some(RunId(8));
    assert!(story.engine.put_back(again, false));
    story.finished(0);
    story.put([JobSpec { paused_until: Some(at(i64::MAX)), ..once() }]);
    assert_eq!(story.tick(SEC + 5), []);
    assert_eq!(story.engine.counts().waiting, 0);
}

#[test]
fn what_somebody_asked_for_runs_all_the_same() {
    let mut story = after_a_run(once());
    story.engine.follow(&due(1, SEC), at(SEC));
    let mut forced = due(1, 2 * SEC);
    forced.trigger = Trigger::Manual;
    forced.run = Some(RunId(8));
    story.put([JobSpec { paused_until: Some(at(i64::MAX)), ..once() }]);
    assert!(story.engine.enqueue(forced));
    let run = Action::Run { executor: ExecutorId(0), occurrence: forced, claim: false };
    assert_eq!(story.tick(2 * SEC), [run]);
    story.finished(0);
    assert_eq!(story.tick(2 * SEC), []);
    assert_eq!(story.engine.counts().waiting, 0);
}
