//! Jobs, instants and queues.

use std::sync::Arc;

use super::support::*;
use crate::cancel::Cause;
use crate::engine::{Action, ExecutorId, JobSpec, Limits};
use crate::run::{SkipReason, Trigger};
use crate::time::JobId;

fn missed(id: i64, first: i64, last: i64, count: u64) -> Action {
    skipped(SkipReason::Missed, id, first, last, count)
}

#[test]
fn a_due_job_starts_an_executor_and_runs_on_it() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC))]);
    assert_eq!(story.tick(0), []);
    assert_eq!(story.wake(), Some(SEC));
    assert_eq!(story.tick(SEC), [start(7)]);
    story.starting(7, 3);
    assert_eq!(story.tick(SEC + 1), []);
    story.ready(3);
    assert_eq!(story.tick(SEC + 2), [run(3, 1, SEC)]);
    story.finished(3);
    assert_eq!(story.tick(SEC + 3), []);
    assert_eq!(story.wake(), Some(2 * SEC));
    assert_eq!(story.tick(2 * SEC), [run(3, 1, 2 * SEC)]);
}

#[test]
fn nothing_due_means_no_wake_up() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Once(SEC))]);
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.wake(), None);
}

#[test]
fn instants_queue_behind_the_running_one_up_to_the_limit() {
    let mut story = Story::new(Limits { max_queued_per_job: 2, ..LIMITS });
    story.put([job(1, 7, Every(SEC))]);
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    let overlap = |first, last, count| skipped(SkipReason::Overlap, 1, first, last, count);
    assert_eq!(story.tick(5 * SEC), [overlap(4 * SEC, 5 * SEC, 2)]);
    let Action::Skipped { job, reason, first, last, count, .. } = overlap(6 * SEC, 6 * SEC, 1)
    else {
        panic!()
    };
    let extends = Some(at(5 * SEC));
    let longer = Action::Skipped { job, reason, first, last, count, extends };
    assert_eq!(story.tick(6 * SEC), [longer], "neighbours share a row");
    story.finished(0);
    assert_eq!(story.tick(6 * SEC), [run(0, 1, 2 * SEC)]);
    story.finished(0);
    assert_eq!(story.tick(6 * SEC), [run(0, 1, 3 * SEC)]);
    story.finished(0);
    assert_eq!(story.tick(6 * SEC), []);
}

#[test]
fn a_queue_limit_of_zero_still_lets_the_job_run() {
    let mut story = Story::new(Limits { max_queued_per_job: 0, ..LIMITS });
    story.put([job(1, 7, Every(SEC))]);
    assert_eq!(story.tick(SEC), [start(7)]);
    story.starting(7, 0);
    assert!(!story.engine.enqueue(due(1, 1)), "one is next to run already");
    story.ready(0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert!(!story.engine.enqueue(due(1, 1)));
}

#[test]
fn instants_more_than_five_minutes_late_are_missed_and_folded() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(60 * SEC))]);
    story.up(7, 0);
    let now = 3_600 * SEC;
    let actions = story.tick(now);
    assert_eq!(
        actions[..2],
        [missed(1, 60 * SEC, now - 360 * SEC, 54), run(0, 1, now - 300 * SEC)]
    );
    assert_eq!(story.engine.counts().waiting, 5);
    assert_eq!(story.wake(), Some(now + 60 * SEC));
}

#[test]
fn counting_missed_instants_is_capped_but_their_ends_are_exact() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC))]);
    let year = 365 * 86_400 * SEC;
    let actions = story.tick(year);
    let Some(Action::Skipped { first, last, count, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    assert_eq!((first.0, last.0), (SEC, year - 301 * SEC));
    assert!((100_000..200_000).contains(count), "{count}");
}

#[test]
fn an_unrelated_change_does_not_lose_the_next_instant() {
    let mut story = Story::new(LIMITS);
    let spec = job(1, 7, Every(SEC));
    story.put([spec.clone()]);
    story.tick(0);
    // The change arrives just after the instant, before the tick.
    story.engine.put_job(spec.clone(), at(SEC + 1));
    assert_eq!(story.tick(SEC + 2), [start(7)]);
    story.up(7, 0);
    assert_eq!(story.tick(SEC + 2), [run(0, 1, SEC)]);
    // A rebuilt schedule with the old `after` neither repeats nor loses one.
    story.put([]);
    story.engine.put_job(job(1, 7, Every(SEC)), at(0));
    assert_eq!(story.tick(SEC + 3), []);
    assert_eq!(story.wake(), Some(2 * SEC));
    assert_eq!(story.engine.running(JobId(1)).map(|id| id.0), Some(0));
}

#[test]
fn a_changed_schedule_counts_from_after() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC))]);
    story.tick(0);
    story.engine.put_job(job(1, 7, Every(10 * SEC)), at(500 * MS));
    assert_eq!(story.tick(SEC), []);
    assert_eq!(story.engine.next_due(JobId(1)), Some(at(10 * SEC)));
}

#[test]
fn deactivating_clears_the_queue_and_cancels_the_run() {
    let mut story = Story::new(LIMITS);
    let spec = job(1, 7, Every(SEC));
    story.put([spec.clone()]);
    story.up(7, 0);
    story.tick(SEC);
    story.tick(3 * SEC);
    assert_eq!(story.engine.counts().waiting, 2);
    let off = JobSpec { active: false, ..spec.clone() };
    story.put([off.clone()]);
    let cancel = Action::Cancel { executor: ExecutorId(0), job: JobId(1), cause: Cause::Dropped };
    let gone = skipped(SkipReason::Inactive, 1, 2 * SEC, 3 * SEC, 2);
    assert_eq!(story.tick(3 * SEC), [gone, cancel]);
    story.put([off]);
    assert_eq!(story.tick(3 * SEC), [], "cancelled once");
    assert_eq!(story.wake(), None);
    story.finished(0);
    assert_eq!(story.tick(4 * SEC), []);
    story.put([spec]);
    assert_eq!(story.tick(4 * SEC + 1), []);
    assert_eq!(story.wake(), Some(5 * SEC));
}

#[test]
fn dropping_cancels_and_a_job_put_again_waits_for_the_old_run() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC))]);
    story.up(7, 0);
    story.up(7, 1);
    assert_eq!(story.tick(SEC), [run(1, 1, SEC)]);
    story.engine.drop_job(JobId(1));
    let cancel = Action::Cancel { executor: ExecutorId(1), job: JobId(1), cause: Cause::Dropped };
    assert_eq!(story.tick(SEC), [cancel]);
    assert_eq!(story.engine.counts().jobs, 0);
    story.put([job(1, 7, Every(SEC))]);
    assert_eq!(story.tick(2 * SEC), [], "the cancelled run is still there");
    story.finished(1);
    assert_eq!(story.tick(2 * SEC), [run(1, 1, 2 * SEC)]);
}

#[test]
fn an_off_and_on_before_the_tick_cancels_nothing() {
    let mut story = Story::new(LIMITS);
    let spec = job(1, 7, Every(SEC));
    story.put([spec.clone()]);
    story.up(7, 0);
    story.tick(SEC);
    story.put([JobSpec { active: false, ..spec.clone() }, spec]);
    assert_eq!(story.tick(SEC), []);
    assert_eq!(story.engine.running(JobId(1)).map(|id| id.0), Some(0));
}

#[test]
fn an_inactive_job_takes_manual_runs() {
    let mut story = Story::new(LIMITS);
    let spec = JobSpec { active: false, ..job(1, 7, Every(SEC)) };
    story.put([spec.clone()]);
    story.up(7, 0);
    let manual = crate::engine::Occurrence { trigger: Trigger::Manual, ..due(1, 5) };
    assert!(story.engine.enqueue(manual));
    assert_eq!(
        story.tick(10),
        [Action::Run { executor: ExecutorId(0), occurrence: manual, claim: false }]
    );
    story.put([spec]);
    assert_eq!(story.tick(11), [], "an unrelated change does not cancel it");
    assert!(!story.engine.enqueue(due(2, 5)), "unknown job");
}

#[test]
fn launching_switched_off_stops_every_job() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(SEC)), job(2, 7, Once(9 * SEC))]);
    story.up(7, 0);
    story.tick(SEC);
    story.engine.set_limits(Limits { launch: false, ..LIMITS }, at(SEC));
    let cancel = Action::Cancel { executor: ExecutorId(0), job: JobId(1), cause: Cause::Dropped };
    assert_eq!(story.tick(SEC), [cancel]);
    assert_eq!(story.wake(), None);
    story.finished(0);
    story.put([job(3, 7, Every(SEC))]);
    assert_eq!(story.tick(5 * SEC), []);
    story.engine.set_limits(LIMITS, at(5 * SEC));
    assert_eq!(story.tick(5 * SEC), []);
    assert_eq!(story.wake(), Some(6 * SEC));
}

#[test]
fn a_large_step_back_starts_the_agenda_anew_and_a_small_one_waits() {
    let mut story = Story::new(LIMITS);
    story.put([job(1, 7, Every(60 * SEC))]);
    story.up(7, 0);
    story.engine.set_limits(Limits { idle_timeout: 0, ..LIMITS }, at(0));
    let hour = 3_600 * SEC;
    story.engine.put_job(job(1, 7, Every(60 * SEC)), at(hour - 1));
    assert_eq!(story.tick(hour), [run(0, 1, hour)]);
    story.finished(0);
    assert_eq!(story.tick(hour - 290 * SEC), []);
    assert_eq!(story.wake(), Some(hour + 60 * SEC));
    assert_eq!(story.tick(hour + 10 * SEC), []);
    assert_eq!(story.tick(hour / 2), [Action::ClockBack { to: at(hour / 2) }]);
    assert_eq!(story.wake(), None, "waits for being put again");
    let done = Arc::from([at(hour), at(hour / 2 + 60 * SEC)]);
    story.put([JobSpec { done, ..job(1, 7, Every(60 * SEC)) }]);
    assert_eq!(story.tick(hour / 2), []);
    assert_eq!(story.wake(), Some(hour / 2 + 60 * SEC));
    assert_eq!(story.tick(hour / 2 + 60 * SEC), [], "has a row");
    assert_eq!(story.tick(hour / 2 + 120 * SEC), [run(0, 1, hour / 2 + 120 * SEC)]);
}

#[test]
fn a_clock_set_back_between_the_first_put_and_the_first_tick_is_noticed() {
    let mut story = Story::new(LIMITS);
    let hour = 3_600 * SEC;
    story.engine.hear(at(hour));
    story.engine.put_job(job(1, 7, Every(60 * SEC)), at(hour));
    assert_eq!(story.tick(hour / 2), [Action::ClockBack { to: at(hour / 2) }]);
}

#[test]
fn a_new_owner_takes_its_queue_along() {
    let mut story = Story::new(LIMITS);
    let spec = job(1, 7, Every(SEC));
    story.put([spec.clone()]);
    assert_eq!(story.tick(SEC), [start(7)]);
    story.starting(7, 0);
    story.put([JobSpec { key: key(8), ..spec }]);
    assert_eq!(story.tick(SEC), [start(8)]);
    story.up(8, 1);
    assert_eq!(story.tick(SEC), [run(1, 1, SEC)]);
}

#[test]
fn a_schedule_that_stands_still_is_not_followed() {
    #[derive(Debug)]
    struct Stuck;
    impl crate::engine::Occurrences for Stuck {
        fn next_after(&self, _: crate::time::Timestamp) -> Option<crate::time::Timestamp> {
            Some(at(SEC))
        }
    }
    let mut story = Story::new(LIMITS);
    story.put([JobSpec { times: Arc::new(Stuck), ..job(1, 7, Once(0)) }]);
    story.up(7, 0);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    assert_eq!(story.wake(), None);
}

#[test]
fn what_begins_anew_after_a_small_step_back_of_the_clock_is_missed_in_one_row() {
    let spec = job(1, 7, Every(SEC));
    let begun = || {
        let mut story = Story::new(LIMITS);
        story.now = 75 * SEC;
        story.put([spec.clone()]);
        assert_eq!(story.tick(75 * SEC), []);
        assert_eq!(story.tick(70 * SEC), []);
        story
    };
    // Runs are not launched for a moment: the schedule still begins where it began.
    let mut story = begun();
    story.engine.set_limits(Limits { launch: false, ..LIMITS }, at(70 * SEC));
    story.engine.set_limits(LIMITS, at(70 * SEC));
    let actions = story.tick(1_000 * SEC);
    assert_eq!(actions[0], missed(1, 76 * SEC, 699 * SEC, 624));
    // The job is switched off and on again: it begins now.
    let mut story = begun();
    story.put([JobSpec { active: false, ..spec.clone() }]);
    story.put([spec.clone()]);
    let actions = story.tick(1_000 * SEC);
    assert_eq!(actions[0], missed(1, 71 * SEC, 699 * SEC, 629));
}
