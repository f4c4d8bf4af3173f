//! HTTP requests, which take no executor.

use super::support::*;
use crate::cancel::Cause;
use crate::engine::{Action, ExecutorId, JobSpec, Limits, PoolKey};
use crate::run::Trigger;
use crate::time::JobId;

fn request(id: i64, role: u32, due_at: i64) -> JobSpec {
    JobSpec { key: PoolKey::http(role), ..job(id, role, Once(due_at)) }
}

/// Jobs sent, and the numbers that stand for the runs.
fn sent(actions: &[Action]) -> Vec<(i64, ExecutorId)> {
    let send = |action: &Action| match *action {
        Action::Send { executor, job, occurrence, claim } => {
            assert!(claim && executor.0 > ExecutorId::MAX);
            assert_eq!((occurrence.job, occurrence.trigger), (job, Trigger::Schedule));
            (job.0, executor)
        }
        other => panic!("{other:?}"),
    };
    actions.iter().map(send).collect()
}

#[test]
fn requests_have_a_limit_of_their_own_and_need_no_executor() {
    let mut story = Story::new(Limits { max_running: 1, http_max_requests: 2, ..LIMITS });
    story.up(7, 0);
    story.put((1..=4).map(|id| request(id, 7, SEC)));
    story.put([job(9, 7, Once(SEC))]);
    let actions = story.tick(SEC);
    let (runs, sends): (Vec<_>, Vec<_>) =
        actions.into_iter().partition(|action| matches!(action, Action::Run { .. }));
    assert_eq!(runs, [run(0, 9, SEC)]);
    let sends = sent(&sends);
    assert_eq!(sends.iter().map(|&(job, _)| job).collect::<Vec<_>>(), [1, 2]);
    let counts = story.engine.counts();
    assert_eq!((counts.running, counts.sending, counts.waiting), (1, 2, 2));
    story.engine.run_finished(sends[0].1, at(SEC));
    // Said twice, it frees one place.
    story.engine.run_finished(sends[0].1, at(SEC));
    assert_eq!(sent(&story.tick(SEC)).len(), 1);
}

#[test]
fn owners_share_the_places_for_requests() {
    let mut story = Story::new(Limits { http_max_requests: 4, ..LIMITS });
    story.put((100..150).map(|id| request(id, 1, SEC)));
    story.put((200..202).map(|id| request(id, 2, SEC + 1)));
    let owners: Vec<i64> = sent(&story.tick(SEC + 1)).iter().map(|(job, _)| job / 100).collect();
    assert_eq!(owners, [1, 2, 1, 2]);
}

#[test]
fn a_request_that_was_not_sent_waits_again_and_one_of_a_dropped_job_is_cancelled() {
    let mut story = Story::new(LIMITS);
    story.put([request(1, 7, SEC)]);
    let [(1, first)] = sent(&story.tick(SEC))[..] else { panic!("nothing is sent") };
    assert!(story.engine.put_back(due(1, SEC), false));
    story.engine.run_finished(first, at(SEC));
    let [(1, second)] = sent(&story.tick(SEC))[..] else { panic!("nothing is sent again") };
    story.engine.drop_job(JobId(1));
    let cancel = Action::Cancel { executor: second, job: JobId(1), cause: Cause::Dropped };
    assert_eq!(story.tick(SEC), [cancel]);
    assert_eq!(story.engine.counts().jobs, 0);
    story.engine.executor_gone(second, at(SEC));
    assert_eq!(story.engine.counts().sending, 0);
}

#[test]
fn a_request_of_an_earlier_scheduler_keeps_its_job_and_its_place() {
    let mut story = Story::new(Limits { http_max_requests: 1, ..LIMITS });
    let adopted = story.engine.adopt_send(PoolKey::http(7), JobId(1), at(0));
    assert_eq!(story.engine.running(JobId(1)), Some(adopted));
    story.put([request(1, 7, SEC), request(2, 7, SEC)]);
    assert_eq!(story.tick(SEC), []);
    story.engine.run_finished(adopted, at(SEC));
    assert_eq!(sent(&story.tick(SEC)).len(), 1);
}

#[test]
fn a_run_that_goes_on_as_a_request_is_not_accounted_for_before_it_is_over() {
    let mut story = Story::new(Limits { http_max_requests: 1, ..LIMITS });
    story.up(7, 0);
    story.put([job(1, 7, Every(SEC))]);
    assert_eq!(story.tick(SEC), [run(0, 1, SEC)]);
    let before = Some(at(SEC - 1));
    assert_eq!(story.engine.cursor(JobId(1)), before);
    let send = story.engine.send_instead(ExecutorId(0), PoolKey::http(7), at(SEC)).expect("a run");
    assert_eq!(story.engine.running(JobId(1)), Some(send));
    assert_eq!(story.engine.cursor(JobId(1)), before);
    let counts = story.engine.counts();
    assert_eq!((counts.running, counts.sending), (0, 1));
    assert_eq!(story.engine.send_instead(ExecutorId(0), PoolKey::http(7), at(SEC)), None);
    // Its claim cannot be written: the same occurrence is next.
    assert!(story.engine.put_back(due(1, SEC), false));
    story.engine.run_finished(send, at(SEC));
    assert_eq!(story.tick(2 * SEC), [run(0, 1, SEC)]);
    let send = story.engine.send_instead(ExecutorId(0), PoolKey::http(7), at(SEC)).expect("a run");
    story.engine.run_finished(send, at(2 * SEC));
    assert_eq!(story.tick(2 * SEC), [run(0, 1, 2 * SEC)]);
    assert_eq!(story.engine.counts().sending, 0);
}
