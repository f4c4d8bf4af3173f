//! Jobs that wait for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::*;
use crate::engine::{Action, ExecutorId, JobSpec, Limits, Occurrence, Occurrences, Rules, Settled};
use crate::run::{MissedPolicy, Overlap, SkipReason, Trigger};
use crate::time::{JobId, RunId, Timestamp};

fn after(id: i64, times: Every, upstream: &[i64]) -> JobSpec {
    let after = upstream.iter().map(|&id| JobId(id)).collect();
    JobSpec { rules: Rules { after, ..Rules::default() }, ..job(id, 7, times) }
}

fn dependent(executor: u32, id: i64, at: i64) -> Action {
    let occurrence = Occurrence { trigger: Trigger::Dependency, ..due(id, at) };
    Action::Run { executor: ExecutorId(executor), occurrence, claim: false }
}

/// Counts how often it is asked for an instant.
#[derive(Debug)]
struct Asked(Every, Arc<AtomicUsize>);

impl Occurrences for Asked {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.next_after(after)
    }
}

#[test]
fn many_who_wait_are_not_asked_again_and_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut story = Story::new(Limits { max_queued_per_job: 1, ..LIMITS });
    story.up(7, 0);
    let counted = |period| Arc::new(Asked(Every(period), Arc::clone(&asked)));
    story.now = 999 * SEC;
    story.put([JobSpec { times: counted(SEC), ..job(1, 7, Every(SEC)) }]);
    let times = counted(1_000 * SEC);
    story.put((2..502).map(|id| JobSpec { times: times.clone(), ..after(id, Every(1), &[1]) }));
    // It hangs, and soon each of its instants is skipped.
    assert_eq!(story.tick(1_000 * SEC), [run(0, 1, 1_000 * SEC)]);
    asked.store(0, Ordering::Relaxed);
    for second in 1_001..1_101 {
        assert!(story.tick(second * SEC).len() < 2);
    }
    let asked_by_them = asked.load(Ordering::Relaxed);
    assert!(asked_by_them < 2_000, "{asked_by_them} questions for 100 instants of one job");
    story.finished(0);
    story.engine.settled(JobId(1), at(1_000 * SEC), Settled::FailedForGood);
    let actions = story.tick(1_101 * SEC);
    let upstream = |action: &&Action| matches!(action, Action::Skipped { .. });
    assert_eq!(actions.iter().filter(upstream).count(), 500);
}

#[test]
fn a_schedule_read_anew_is_asked_anew() {
    let mut story = both_due();
    story.finished(1);
    assert_eq!(story.tick(10 * SEC), []);
    // By its new schedule the other has its latest instant earlier.
    story.put([job(1, 7, Every(4 * SEC))]);
    story.engine.settled(JobId(1), at(8 * SEC), Settled::Succeeded);
    let effective_from = Some(at(0));
    story.put([JobSpec { effective_from, ..job(1, 7, Every(4 * SEC)) }]);
    assert_eq!(story.tick(10 * SEC), [dependent(1, 2, 10 * SEC)]);
}

#[test]
fn a_long_backlog_that_waits_in_vain_is_skipped_in_few_rows_and_ticks() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|id| story.up(7, id));
    let times = Arc::new(Asked(Every(SEC), Arc::clone(&asked)));
    let paused_until = Some(Timestamp(i64::MAX));
    let missed = MissedPolicy::All;
    story.put([job(1, 7, Every(SEC))]);
    let waits = JobSpec { times, missed, paused_until, ..after(2, Every(SEC), &[1]) };
    story.put([waits.clone()]);
    // The other runs at none of its instants, all that time.
    story.now = 10_000 * SEC;
    story.engine.set_missed_before(at(9_999 * SEC + 1));
    let mut out = Vec::new();
    story.engine.tick(at(story.now), &mut out);
    story.engine.run_skipped(ExecutorId(1), SkipReason::Condition, at(story.now));
    story.engine.tick(at(story.now), &mut out);
    story.put([JobSpec { paused_until: None, ..waits }]);
    let (mut counts, mut last) = (Vec::new(), None);
    while story.engine.next_wake().is_some_and(|wake| wake <= at(story.now)) {
        let (before, mut actions) = (asked.load(Ordering::Relaxed), Vec::new());
        story.engine.tick(at(story.now), &mut actions);
        assert!(asked.load(Ordering::Relaxed) - before < 100_000, "one tick asks and asks");
        // Something else has its turn in between.
        assert!(actions.len() <= 1, "{actions:?}");
        for action in actions {
            let Action::Skipped { reason, first, last: end, count, extends, .. } = action else {
                panic!("{action:?}");
            };
            assert_eq!((reason, extends), (SkipReason::Upstream, last), "{first:?}");
            counts.push(count);
            last = Some(end);
        }
    }
    assert_eq!(counts, [1_000; 10]);
    assert_eq!(last, Some(at(10_000 * SEC)));
    assert_eq!(story.engine.cursor(JobId(2)), last);
}

fn upstream(id: i64, at: i64) -> Action {
    skipped(SkipReason::Upstream, id, at, at, 1)
}

/// Job 1 every ten seconds, job 2 after it, two executors, at the instant both are due.
fn both_due() -> Story {
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|id| story.up(7, id));
    story.put([after(2, Every(10 * SEC), &[1]), job(1, 7, Every(10 * SEC))]);
    assert_eq!(story.tick(10 * SEC), [run(1, 1, 10 * SEC)]);
    assert_eq!(story.engine.cursor(JobId(2)), Some(at(10 * SEC - 1)));
    story
}

#[test]
fn it_runs_when_the_other_has_succeeded() {
    let mut story = both_due();
    story.finished(1);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::Succeeded);
    assert_eq!(story.tick(11 * SEC), [dependent(1, 2, 10 * SEC)]);
}

#[test]
fn it_is_skipped_when_the_other_has_failed_for_good() {
    let mut story = both_due();
    story.finished(1);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::FailedForGood);
    assert_eq!(story.tick(11 * SEC), [upstream(2, 10 * SEC)]);
    assert_eq!(story.engine.cursor(JobId(2)), Some(at(10 * SEC)));
    // The next instant begins anew.
    assert_eq!(story.tick(20 * SEC), [run(1, 1, 20 * SEC)]);
}

#[test]
fn it_waits_for_a_retry() {
    let mut story = both_due();
    story.finished(1);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::WillRetry);
    assert_eq!(story.tick(11 * SEC), []);
    let retry =
        Occurrence { trigger: Trigger::Retry, attempt: 2, run: Some(RunId(1)), ..due(1, 10 * SEC) };
    assert!(story.engine.enqueue_at(retry, at(15 * SEC)));
    assert_eq!(story.tick(12 * SEC), []);
    let run = Action::Run { executor: ExecutorId(1), occurrence: retry, claim: false };
    assert_eq!(story.tick(15 * SEC), [run]);
    story.finished(1);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::Succeeded);
    assert_eq!(story.tick(16 * SEC), [dependent(1, 2, 10 * SEC)]);
}

#[test]
fn only_the_latest_instant_since_its_last_one_counts() {
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|id| story.up(7, id));
    story.put([job(1, 7, Every(4 * SEC)), after(2, Every(10 * SEC), &[1])]);
    assert_eq!(story.tick(4 * SEC), [run(1, 1, 4 * SEC)]);
    story.finished(1);
    story.engine.settled(JobId(1), at(4 * SEC), Settled::FailedForGood);
    assert_eq!(story.tick(8 * SEC), [run(1, 1, 8 * SEC)]);
    story.finished(1);
    story.engine.settled(JobId(1), at(8 * SEC), Settled::Succeeded);
    assert_eq!(story.tick(10 * SEC), [dependent(1, 2, 10 * SEC)]);
}

#[test]
fn who_has_nothing_due_keeps_nobody_waiting() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    let inactive = JobSpec { active: false, ..job(3, 7, Every(SEC)) };
    story.put([job(1, 7, Every(3_600 * SEC)), inactive]);
    story.put([after(2, Every(10 * SEC), &[1, 3, 4])]);
    assert_eq!(story.tick(10 * SEC), [run(0, 2, 10 * SEC)]);
}

#[test]
fn what_the_other_skips_is_skipped_down_the_line() {
    let mut story = Story::new(LIMITS);
    (0..3).for_each(|id| story.up(7, id));
    story.put([after(3, Every(10 * SEC), &[2]), after(2, Every(10 * SEC), &[1])]);
    story.put([job(1, 7, Every(10 * SEC))]);
    assert_eq!(story.tick(10 * SEC), [run(2, 1, 10 * SEC)]);
    story.engine.run_skipped(ExecutorId(2), SkipReason::Condition, at(10 * SEC));
    let condition = skipped(SkipReason::Condition, 1, 10 * SEC, 10 * SEC, 1);
    assert_eq!(story.tick(10 * SEC), [condition, upstream(2, 10 * SEC), upstream(3, 10 * SEC)]);
}

#[test]
fn a_new_scheduler_knows_of_successes_before_it() {
    for (last_success, expected) in [
        (Some(at(20 * SEC)), dependent(0, 2, 25 * SEC)),
        (Some(at(10 * SEC)), upstream(2, 25 * SEC)),
        (None, upstream(2, 25 * SEC)),
    ] {
        let mut story = Story::new(LIMITS);
        story.up(7, 0);
        story.now = 22 * SEC;
        let effective_from = Some(at(SEC));
        story.put([JobSpec { last_success, effective_from, ..job(1, 7, Every(20 * SEC)) }]);
        story.put([after(2, Every(25 * SEC), &[1])]);
        assert_eq!(story.tick(25 * SEC), [expected]);
    }
    // What lies before the job's own time is nothing anybody waits for.
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.now = 22 * SEC;
    story.put([job(1, 7, Every(20 * SEC)), after(2, Every(25 * SEC), &[1])]);
    assert_eq!(story.tick(25 * SEC), [run(0, 2, 25 * SEC)]);
}

#[test]
fn requests_wait_for_nobody_and_dropping_the_other_lets_it_go() {
    let mut story = both_due();
    let asked = Occurrence { trigger: Trigger::Manual, run: Some(RunId(7)), ..due(2, 11 * SEC) };
    assert!(story.engine.enqueue(asked));
    let run = Action::Run { executor: ExecutorId(0), occurrence: asked, claim: false };
    assert_eq!(story.tick(11 * SEC), [run]);
    story.finished(0);
    story.finished(1);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::WillRetry);
    story.engine.drop_job(JobId(1));
    let alone = Action::Run { executor: ExecutorId(1), occurrence: due(2, 10 * SEC), claim: false };
    assert_eq!(story.tick(11 * SEC), [alone]);
}

/// A run of a job is over, and what became of it.
fn over(story: &mut Story, executor: u32, id: i64, instant: i64, how: Settled) {
    story.finished(executor);
    story.engine.settled(JobId(id), at(instant), how);
}

#[test]
fn a_later_success_does_not_stand_in_for_one_that_is_tried_again() {
    for (how, expected) in [
        (Settled::Succeeded, vec![dependent(1, 2, 10 * SEC)]),
        (Settled::FailedForGood, vec![upstream(2, 10 * SEC), dependent(1, 2, 20 * SEC)]),
    ] {
        let mut story = both_due();
        over(&mut story, 1, 1, 10 * SEC, Settled::WillRetry);
        assert_eq!(story.tick(20 * SEC), [run(1, 1, 20 * SEC)]);
        over(&mut story, 1, 1, 20 * SEC, Settled::Succeeded);
        assert_eq!(story.tick(21 * SEC), []);
        story.engine.settled(JobId(1), at(10 * SEC), how);
        assert_eq!(story.tick(22 * SEC), expected);
    }
}

#[test]
fn a_later_run_that_ends_first_does_not_stand_in_for_the_one_that_goes_on() {
    let mut story = Story::new(LIMITS);
    (0..3).for_each(|id| story.up(7, id));
    let rules = Rules { overlap: Overlap::Allow, max_concurrency: 2, ..Rules::default() };
    story.put([JobSpec { rules, ..job(1, 7, Every(10 * SEC)) }]);
    story.put([after(2, Every(10 * SEC), &[1])]);
    assert_eq!(story.tick(10 * SEC), [run(2, 1, 10 * SEC)]);
    assert_eq!(story.tick(20 * SEC), [run(1, 1, 20 * SEC)]);
    over(&mut story, 1, 1, 20 * SEC, Settled::Succeeded);
    assert_eq!(story.tick(21 * SEC), []);
    over(&mut story, 2, 1, 10 * SEC, Settled::Succeeded);
    assert_eq!(story.tick(22 * SEC), [dependent(2, 2, 10 * SEC)]);
    story.finished(2);
    assert_eq!(story.tick(23 * SEC), [dependent(2, 2, 20 * SEC)]);
}

#[test]
fn a_later_success_does_not_make_up_for_a_failure() {
    let mut story = Story::new(LIMITS);
    (0..3).for_each(|id| story.up(7, id));
    story.put([job(1, 7, Every(10 * SEC)), job(3, 7, Every(10 * SEC))]);
    story.put([after(2, Every(10 * SEC), &[1, 3])]);
    assert_eq!(story.tick(10 * SEC), [run(2, 1, 10 * SEC), run(1, 3, 10 * SEC)]);
    over(&mut story, 2, 1, 10 * SEC, Settled::Succeeded);
    over(&mut story, 1, 3, 10 * SEC, Settled::Succeeded);
    assert_eq!(story.tick(11 * SEC), [dependent(1, 2, 10 * SEC)]);
    // It goes on while the first one fails and succeeds again, and the second one is late.
    assert_eq!(story.tick(20 * SEC), [run(2, 1, 20 * SEC), run(0, 3, 20 * SEC)]);
    over(&mut story, 2, 1, 20 * SEC, Settled::FailedForGood);
    assert_eq!(story.tick(30 * SEC), [run(2, 1, 30 * SEC)]);
    over(&mut story, 2, 1, 30 * SEC, Settled::Succeeded);
    over(&mut story, 0, 3, 20 * SEC, Settled::Succeeded);
    assert_eq!(story.tick(31 * SEC), [run(0, 3, 30 * SEC)]);
    over(&mut story, 0, 3, 30 * SEC, Settled::Succeeded);
    story.finished(1);
    assert_eq!(story.tick(32 * SEC), [upstream(2, 20 * SEC), dependent(1, 2, 30 * SEC)]);
}

#[test]
fn a_success_beside_the_schedule_does_not_make_up_for_a_failure() {
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|id| story.up(7, id));
    story.put([job(1, 7, Every(10 * SEC)), after(2, Every(15 * SEC), &[1])]);
    assert_eq!(story.tick(10 * SEC), [run(1, 1, 10 * SEC)]);
    over(&mut story, 1, 1, 10 * SEC, Settled::FailedForGood);
    // A retry for what an earlier schedule named before the clock was set back.
    story.engine.settled(JobId(1), at(12 * SEC), Settled::Succeeded);
    assert_eq!(story.tick(15 * SEC), [upstream(2, 15 * SEC)]);
}

#[test]
fn a_retry_that_was_decided_before_anybody_waited_is_waited_for() {
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|id| story.up(7, id));
    story.put([job(1, 7, Every(10 * SEC))]);
    assert_eq!(story.tick(10 * SEC), [run(1, 1, 10 * SEC)]);
    over(&mut story, 1, 1, 10 * SEC, Settled::WillRetry);
    story.put([after(2, Every(15 * SEC), &[1])]);
    assert_eq!(story.tick(15 * SEC), []);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::Succeeded);
    assert_eq!(story.tick(16 * SEC), [dependent(1, 2, 15 * SEC)]);
}

/// A new scheduler: job 1 succeeded for 20 s, and job 2 has to catch up all its instants to 30 s.
fn catches_up() -> Story {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.put([after(2, Every(10 * SEC), &[1])].map(|spec| JobSpec {
        missed: MissedPolicy::All,
        effective_from: Some(at(1)),
        ..spec
    }));
    story.now = 25 * SEC;
    story.put([JobSpec {
        last_success: Some(at(20 * SEC)),
        effective_from: Some(at(1)),
        ..job(1, 7, Every(10 * SEC))
    }]);
    story.engine.set_missed_before(at(story.now));
    story
}

fn caught_up(executor: u32, id: i64, at: i64) -> Action {
    let occurrence = Occurrence { trigger: Trigger::CatchUp, ..due(id, at) };
    Action::Run { executor: ExecutorId(executor), occurrence, claim: false }
}

#[test]
fn what_an_earlier_scheduler_saw_fail_is_skipped_if_somebody_tells_of_it() {
    let mut story = catches_up();
    // Only the latest success is known.
    assert_eq!(story.tick(25 * SEC), [caught_up(0, 2, 10 * SEC)]);
    let mut story = catches_up();
    story.engine.unsuccessful(JobId(1), at(10 * SEC), at(25 * SEC));
    assert_eq!(story.tick(25 * SEC), [upstream(2, 10 * SEC), caught_up(0, 2, 20 * SEC)]);
    // What was heard since is not taken back.
    let mut story = catches_up();
    story.engine.settled(JobId(1), at(10 * SEC), Settled::WillRetry);
    assert_eq!(story.tick(25 * SEC), []);
    story.engine.settled(JobId(1), at(10 * SEC), Settled::Succeeded);
    assert_eq!(story.tick(26 * SEC), [caught_up(0, 2, 10 * SEC)]);
}

#[test]
fn a_long_failure_that_is_told_of_instant_by_instant_hides_no_success_before_it() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    let (missed, effective_from) = (MissedPolicy::All, Some(at(1)));
    story.put([JobSpec { missed, effective_from, ..after(2, Every(SEC), &[1]) }]);
    story.now = 3_000 * SEC;
    let last_success = Some(at(story.now));
    story.put([JobSpec { last_success, effective_from, ..job(1, 7, Every(SEC)) }]);
    story.engine.set_missed_before(at(story.now));
    for failed in (1..2_999).filter(|&second| second != 2) {
        story.engine.unsuccessful(JobId(1), at(failed * SEC), at(failed * SEC));
    }
    assert_eq!(story.tick(story.now), [upstream(2, SEC), caught_up(0, 2, 2 * SEC)]);
}

#[test]
fn a_run_of_an_earlier_scheduler_may_be_the_one_that_is_waited_for() {
    let mut story = Story::new(LIMITS);
    story.up(7, 0);
    story.engine.adopt(ExecutorId(1), key(7), JobId(1), at(25 * SEC));
    story.put(
        [after(2, Every(10 * SEC), &[1])].map(|spec| JobSpec { missed: MissedPolicy::All, ..spec }),
    );
    story.now = 25 * SEC;
    let (last_success, effective_from) = (Some(at(20 * SEC)), Some(at(1)));
    story.put([JobSpec { last_success, effective_from, ..job(1, 7, Every(10 * SEC)) }]);
    assert_eq!(story.tick(25 * SEC), []);
    over(&mut story, 1, 1, 10 * SEC, Settled::FailedForGood);
    assert_eq!(story.tick(26 * SEC), [upstream(2, 10 * SEC), dependent(0, 2, 20 * SEC)]);
}

#[test]
fn failures_that_nobody_asks_about_are_not_kept() {
    let mut story = Story::new(LIMITS);
    (0..2).for_each(|id| story.up(7, id));
    story.put([job(1, 7, Every(SEC)), job(3, 7, Every(SEC))]);
    story.put([after(2, Every(100 * SEC), &[1])]);
    let kept = |story: &Story, id: i64| {
        let number = story.engine.job_ids[&JobId(id)];
        story.engine.jobs[number].rare.as_ref().map(|rare| rare.failures.len())
    };
    for second in 1..1_000 {
        for action in story.tick(second * SEC) {
            let Action::Run { executor, occurrence, .. } = action else { continue };
            let fails = second % 2 == 0 && occurrence.job != JobId(2);
            let how = if fails { Settled::FailedForGood } else { Settled::Succeeded };
            over(&mut story, executor.0, occurrence.job.0, occurrence.scheduled_for.0, how);
        }
        assert!(kept(&story, 1).is_none_or(|kept| kept <= 1), "{second}");
        assert_eq!(kept(&story, 3), None);
    }
    assert_eq!(kept(&story, 1), Some(1));
}
