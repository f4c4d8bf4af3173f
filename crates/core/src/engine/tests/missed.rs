//! What could not run at its time, rule by rule.

use std::sync::Arc;

use super::shaped::Shaped;
use super::support::*;
use crate::engine::{Action, ExecutorId, JobSpec, Occurrence, Occurrences};
use crate::run::{MissedPolicy, SkipReason, Trigger};
use crate::time::{JobId, Timestamp};

const MINUTE: i64 = 60 * SEC;

/// So long after each run's end.
#[derive(Debug)]
struct AfterEnd(i64);

impl Occurrences for AfterEnd {
    fn next_after(&self, _: Timestamp) -> Option<Timestamp> {
        None
    }

    fn after_completion(&self) -> Option<i64> {
        Some(self.0)
    }
}

fn missing(policy: MissedPolicy, times: impl Occurrences + 'static) -> JobSpec {
    JobSpec { missed: policy, ..job(1, 7, times) }
}

fn made_up(at: i64, claim: bool) -> Action {
    let occurrence = Occurrence { trigger: Trigger::CatchUp, ..due(1, at) };
    Action::Run { executor: ExecutorId(0), occurrence, claim }
}

/// An executor that is up, and nobody who had lived before `now`.
fn back_at(now: i64, reason: SkipReason) -> Story {
    let mut story = Story::new(LIMITS);
    story.now = now;
    story.up(7, 0);
    story.engine.set_missed_before(at(now));
    story.engine.set_gap_reason(reason);
    story
}

#[test]
fn what_no_scheduler_saw_is_missed_however_little_it_is_late() {
    let mut story = back_at(10 * SEC, SkipReason::Missed);
    story.engine.put_job(missing(MissedPolicy::Skip, Every(SEC)), at(7 * SEC));
    let told = skipped(SkipReason::Missed, 1, 8 * SEC, 10 * SEC, 3);
    assert_eq!(story.tick(10 * SEC), [told]);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(10 * SEC)));
    assert_eq!(story.tick(11 * SEC), [run(0, 1, 11 * SEC)]);
}

#[test]
fn once_runs_the_latest_and_claims_it_after_a_crash() {
    let mut story = back_at(10 * SEC, SkipReason::ServerCrashed);
    story.engine.put_job(missing(MissedPolicy::Once, Every(SEC)), at(7 * SEC));
    let told = skipped(SkipReason::ServerCrashed, 1, 8 * SEC, 9 * SEC, 2);
    assert_eq!(story.tick(10 * SEC), [told, made_up(10 * SEC, true)]);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(10 * SEC - 1)), "it runs");
    story.finished(0);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(10 * SEC)));
}

#[test]
fn all_runs_each_of_them_oldest_first_and_the_cursor_follows() {
    let mut story = back_at(10 * SEC, SkipReason::Missed);
    story.engine.put_job(missing(MissedPolicy::All, Every(SEC)), at(7 * SEC));
    for instant in [8, 9, 10] {
        assert_eq!(story.tick(10 * SEC), [made_up(instant * SEC, false)]);
        let cursor = story.engine.cursor(JobId(1));
        assert!(cursor < Some(at(instant * SEC)), "{cursor:?}");
        story.finished(0);
    }
    assert_eq!(story.tick(10 * SEC), []);
    assert_eq!(story.engine.cursor(JobId(1)), Some(at(10 * SEC)));
    assert_eq!(story.engine.take_moved(), [(JobId(1), at(10 * SEC))]);
    assert_eq!(story.engine.take_moved(), []);
}

#[test]
fn what_is_older_than_the_missed_window_is_skipped() {
    for (policy, ran) in [(MissedPolicy::Once, vec![10]), (MissedPolicy::All, vec![8, 9, 10])] {
        let mut story = back_at(10 * SEC, SkipReason::Missed);
        let spec = JobSpec { missed_window: Some(2 * SEC), ..missing(policy, Every(SEC)) };
        story.engine.put_job(spec, at(SEC));
        let mut seen = Vec::new();
        for _ in 0..5 {
            for action in story.tick(10 * SEC) {
                match action {
                    Action::Run { occurrence, .. } => seen.push(occurrence.scheduled_for.0 / SEC),
                    Action::Skipped { reason, first, .. } => {
                        assert_eq!((reason, first), (SkipReason::Missed, at(2 * SEC)));
                    }
                    other => panic!("{other:?}"),
                }
            }
            story.finished(0);
        }
        assert_eq!(seen, ran);
    }
}

#[test]
fn a_pause_lets_the_run_go_on_holds_what_waits_and_is_a_gap_afterwards() {
    let mut story = Story::new(LIMITS);
    let spec = missing(MissedPolicy::Skip, Every(SEC));
    story.put([spec.clone()]);
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.tick(2 * SEC), []);
    story.put([JobSpec { paused_until: Some(Timestamp(i64::MAX)), ..spec.clone() }]);
    assert_eq!(story.tick(2 * SEC), []);
    story.finished(0);
    assert_eq!(story.tick(5 * SEC), [], "the second one waits");
    assert_eq!(story.engine.counts().waiting, 1);
    story.put([spec]);
    let told = skipped(SkipReason::Paused, 1, 3 * SEC, 5 * SEC, 3);
    assert_eq!(story.tick(5 * SEC), [told, run(0, 1, 2 * SEC)]);
}

#[test]
fn a_pause_with_an_end_wakes_once_at_that_end() {
    let mut story = Story::new(LIMITS);
    let paused_until = Some(at(100 * SEC + 1));
    story.put([JobSpec { paused_until, ..missing(MissedPolicy::Once, Every(SEC)) }]);
    story.up(7, 0);
    story.engine.set_limits(crate::engine::Limits { idle_timeout: 0, ..LIMITS }, at(0));
    assert_eq!(story.tick(0), []);
    assert_eq!(story.wake(), Some(100 * SEC + 1));
    let told = skipped(SkipReason::Paused, 1, SEC, 99 * SEC, 99);
    assert_eq!(story.tick(100 * SEC + 1), [told, made_up(100 * SEC, false)]);
}

#[test]
fn a_one_second_job_outside_its_window_sleeps_through_and_costs_one_row() {
    let hour = 3_600 * SEC;
    let mut story = Story::new(crate::engine::Limits { idle_timeout: 0, ..LIMITS });
    // Of four hours the second is outside the window, the third on a free day.
    story.put([job(1, 7, Shaped { period: SEC, stretch: hour, jitter: 0 })]);
    story.engine.put_job(job(1, 7, Shaped { period: SEC, stretch: hour, jitter: 0 }), at(hour - 1));
    story.up(7, 0);
    assert_eq!(story.tick(hour), []);
    assert_eq!(story.wake(), Some(3 * hour));
    let mut out = Vec::new();
    story.engine.flush_skips(at(hour + 9 * SEC), &mut out);
    assert_eq!(out, [skipped(SkipReason::Window, 1, hour, hour + 9 * SEC, 10)]);
    let actions = story.tick(3 * hour);
    let longer = Action::Skipped {
        job: JobId(1),
        reason: SkipReason::Window,
        first: at(hour + 10 * SEC),
        last: at(2 * hour - SEC),
        count: 3_590,
        extends: Some(at(hour + 9 * SEC)),
    };
    let calendar = skipped(SkipReason::Calendar, 1, 2 * hour, 3 * hour - SEC, 3_600);
    assert_eq!(actions, [longer, calendar, run(0, 1, 3 * hour)]);
}

#[test]
fn jitter_of_an_hour_is_not_lateness() {
    let hour = 3_600 * SEC;
    let times = Shaped { period: hour, stretch: 0, jitter: hour };
    let mut story = Story::new(crate::engine::Limits { idle_timeout: 0, ..LIMITS });
    story.put([job(1, 7, times)]);
    story.up(7, 0);
    for _ in 0..50 {
        story.tick(story.now);
        let wake = story.wake().unwrap();
        let actions = story.tick(wake);
        assert!(matches!(actions[..], [Action::Run { .. }]), "{actions:?}");
        story.finished(0);
    }
}

#[test]
fn a_request_does_not_wait_for_a_backlog() {
    let mut story = back_at(1_000 * SEC, SkipReason::Missed);
    story.engine.put_job(missing(MissedPolicy::All, Every(SEC)), at(0));
    assert_eq!(story.tick(1_000 * SEC), [made_up(SEC, false)]);
    let request = Occurrence {
        trigger: Trigger::Manual,
        run: Some(crate::time::RunId(5)),
        ..due(1, 1_000 * SEC + 7)
    };
    assert!(story.engine.enqueue(request));
    assert_eq!(story.tick(1_000 * SEC), []);
    story.now += 1;
    story.finished(0);
    let run = Action::Run { executor: ExecutorId(0), occurrence: request, claim: false };
    assert_eq!(story.tick(1_000 * SEC + 1), [run]);
}

#[test]
fn a_request_for_an_instant_that_is_coming_anyway_is_refused() {
    let mut story = back_at(10 * SEC, SkipReason::Missed);
    story.engine.put_job(missing(MissedPolicy::All, Every(SEC)), at(0));
    story.tick(10 * SEC);
    let request = |micros| Occurrence {
        trigger: Trigger::Backfill,
        run: Some(crate::time::RunId(5)),
        ..due(1, micros)
    };
    assert!(!story.engine.enqueue(request(SEC)), "it runs");
    assert!(!story.engine.enqueue(request(5 * SEC)), "in the backlog");
    assert!(story.engine.enqueue(request(5 * SEC + 1)), "no instant of the schedule");
}

#[test]
fn the_next_run_counts_from_the_end_of_the_last() {
    let mut story = Story::new(crate::engine::Limits { idle_timeout: 0, ..LIMITS });
    story.put([job(1, 7, AfterEnd(MINUTE))]);
    story.up(7, 0);
    assert_eq!(story.tick(0), []);
    assert_eq!(story.wake(), Some(MINUTE), "the first counts from when it was made");
    assert_eq!(story.tick(MINUTE), [run(0, 1, MINUTE)]);
    assert_eq!(story.wake(), None, "not while it runs");
    story.now = 3 * MINUTE;
    story.finished(0);
    assert_eq!(story.tick(3 * MINUTE), []);
    assert_eq!(story.wake(), Some(4 * MINUTE));
    let late = 30 * MINUTE;
    let told = skipped(SkipReason::Missed, 1, 4 * MINUTE, 4 * MINUTE, 1);
    assert_eq!(story.tick(late), [told]);
    assert_eq!(story.wake(), Some(late + MINUTE), "counts from now");
    assert_eq!(story.tick(late + MINUTE), [run(0, 1, late + MINUTE)]);
}

#[test]
fn after_a_restart_it_counts_from_the_recorded_end() {
    let mut story = back_at(5 * MINUTE, SkipReason::Missed);
    story.engine.set_limits(crate::engine::Limits { idle_timeout: 0, ..LIMITS }, at(5 * MINUTE));
    let last_end = Some(at(5 * MINUTE - SEC));
    story.engine.put_job(JobSpec { last_end, ..job(1, 7, AfterEnd(MINUTE)) }, at(MINUTE));
    assert_eq!(story.tick(5 * MINUTE), []);
    assert_eq!(story.wake(), Some(6 * MINUTE - SEC));
}

#[test]
fn instants_with_a_row_are_passed_over() {
    let mut story = back_at(10 * SEC, SkipReason::Missed);
    let done = Arc::from([at(9 * SEC), at(8 * SEC), at(11 * SEC)]);
    let spec = JobSpec { done, ..missing(MissedPolicy::Skip, Every(SEC)) };
    story.engine.put_job(spec, at(7 * SEC));
    assert_eq!(story.tick(10 * SEC), [skipped(SkipReason::Missed, 1, 10 * SEC, 10 * SEC, 1)]);
    assert_eq!(story.tick(11 * SEC), []);
    assert_eq!(story.tick(12 * SEC), [run(0, 1, 12 * SEC)]);
}

#[test]
fn a_backlog_is_closed_by_another_schedule_after_the_clock_went_back_a_little() {
    let mut story = Story::new(LIMITS);
    let times = Every(10 * SEC);
    story.put([JobSpec { missed: MissedPolicy::All, ..job(1, 7, times) }]);
    story.engine.set_missed_before(at(100 * SEC));
    assert_eq!(story.tick(100 * SEC), [start(7)]);
    // The first waits, nine are to be caught up; the other schedule would have them elsewhere.
    assert_eq!(story.tick(90 * SEC), []);
    story.put([JobSpec { missed: MissedPolicy::All, ..job(1, 7, Every(7 * SEC)) }]);
    let closed = skipped(SkipReason::Missed, 1, 20 * SEC, 100 * SEC, 9);
    assert_eq!(story.tick(90 * SEC), [closed]);
    story.up(7, 0);
    let caught_up = Occurrence { trigger: Trigger::CatchUp, ..due(1, 10 * SEC) };
    let run_it = Action::Run { executor: ExecutorId(0), occurrence: caught_up, claim: false };
    assert_eq!(story.tick(91 * SEC), [run_it]);
    story.finished(0);
    assert_eq!(story.tick(104 * SEC), []);
    assert_eq!(story.tick(105 * SEC), [run(0, 1, 105 * SEC)]);
}

#[test]
fn a_backlog_of_a_job_that_was_switched_on_again_survives_reading_it_again() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    let spec = JobSpec { missed: MissedPolicy::All, ..job(1, 7, Every(10 * SEC)) };
    story.put([spec.clone()]);
    assert_eq!(story.tick(10 * SEC), [run(0, 1, 10 * SEC)]);
    story.put([JobSpec { active: false, ..spec.clone() }]);
    story.tick(15 * SEC);
    story.put([spec.clone()]);
    assert_eq!(story.tick(400 * SEC), [], "it still runs");
    // The same schedule read anew begins where the job was switched on.
    story.engine.put_job(JobSpec { times: Arc::new(Every(10 * SEC)), ..spec }, at(15 * SEC));
    assert_eq!(story.tick(400 * SEC), []);
    story.finished(0);
    assert_eq!(story.tick(400 * SEC), [made_up(20 * SEC, false)]);
}

#[test]
fn a_row_of_many_does_not_begin_with_what_has_one() {
    let many: Vec<_> = (1..=150_000).map(|second| at(second * SEC)).collect();
    let put = |times: Every, missed| {
        let mut story = Story::new(LIMITS);
        story.engine.set_missed_before(at(150_010 * SEC));
        story.put([JobSpec { missed, done: many.clone().into(), ..job(1, 7, times) }]);
        story
    };
    let missed = |first, last, count| skipped(SkipReason::Missed, 1, first, last, count);
    let mut story = put(Every(SEC), MissedPolicy::Skip);
    let ten = missed(150_001 * SEC, 150_010 * SEC, 10);
    assert_eq!(story.tick(150_010 * SEC), [ten]);
    // The same of a backlog that another schedule ends.
    let mut story = put(Every(SEC), MissedPolicy::All);
    assert_eq!(story.tick(150_010 * SEC), [start(7)]);
    story.put([JobSpec { missed: MissedPolicy::All, ..job(1, 7, Every(SEC)) }]);
    assert_eq!(story.tick(150_010 * SEC), [missed(150_002 * SEC, 150_010 * SEC, 9)]);
}
