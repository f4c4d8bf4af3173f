//! Occurrences that are due while their job runs: `on_overlap` and `max_concurrency`.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until, stays_true};
use postgres::Client;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(45);

/// What a job's runs wait for, and the session that keeps them waiting.
fn gate(cluster: &Cluster) -> Client {
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    gate
}

/// Runs wait here, all at once, until the gate opens.
const THROUGH_THE_GATE: &str = "select pg_advisory_xact_lock_shared(7)";

fn job(cluster: &Cluster, overlap: &str) -> i64 {
    cluster.create_job(&json!({
        "job_name": "often", "schedule": "1 second", "command": THROUGH_THE_GATE,
        "on_overlap": overlap,
    }))
}

/// How many runs of a job are under way.
fn under_way(cluster: &Cluster, job: i64) -> i64 {
    cluster.one_with("select count(*) from cron.running where jobid = $1", &[&job])
}

fn skipped(cluster: &Cluster, job: i64) -> i64 {
    cluster.flush();
    cluster.one_with(
        "select coalesce(sum(count), 0)::bigint from cron.job_skip \
         where jobid = $1 and reason = 'overlap'",
        &[&job],
    )
}

#[test]
fn skip_leaves_out_what_is_due_meanwhile_and_says_so() {
    let cluster = Cluster::start();
    let gate = gate(&cluster);
    let job = job(&cluster, "skip");
    let first = cluster.run_in_status(job, "running");
    poll_until("skipped occurrences", PATIENCE, || (skipped(&cluster, job) >= 2).then_some(()));
    assert_eq!(cluster.runs_of(job).len(), 1);
    drop(gate);
    let runs = cluster.finished_runs(job, 3);
    assert_eq!(runs[0].runid, first.runid);
    let _ = runs[0].clone().must_have_succeeded();
    let gap = runs[1].scheduled_for.unwrap().duration_since(runs[0].scheduled_for.unwrap());
    assert!(gap.unwrap() >= Duration::from_secs(3), "nothing had waited: {runs:#?}");
    cluster.audit();
}

#[test]
fn queue_lets_them_wait_up_to_a_number() {
    let cluster = Cluster::builder().conf("cron.max_queued_runs", "2").start();
    let gate = gate(&cluster);
    let job = job(&cluster, "queue");
    let first = cluster.run_in_status(job, "running");
    poll_until("skipped occurrences", PATIENCE, || (skipped(&cluster, job) >= 1).then_some(()));
    drop(gate);
    let runs = cluster.finished_runs(job, 3);
    let apart = |n: usize| {
        let at = runs[n].scheduled_for.unwrap();
        at.duration_since(first.scheduled_for.unwrap()).unwrap().as_secs()
    };
    assert_eq!((apart(1), apart(2)), (1, 2), "the two that waited ran: {runs:#?}");
    cluster.audit();
}

#[test]
fn allow_runs_as_many_as_it_says_and_no_more() {
    let cluster = Cluster::builder().max_worker_processes(16).start();
    let gate = gate(&cluster);
    let job = cluster.create_job(&json!({
        "job_name": "often", "schedule": "1 second", "command": THROUGH_THE_GATE,
        "on_overlap": "allow", "max_concurrency": 3,
    }));
    poll_until("three at once", PATIENCE, || (under_way(&cluster, job) == 3).then_some(()));
    cluster.wait_for(&format!(
        "(select count(*) from pg_locks where locktype = 'advisory' and objid = {job} \
          and objsubid = 3 and mode = 'ShareLock' and granted) = 3"
    ));
    stays_true("no more than three", Duration::from_millis(2_500), || {
        under_way(&cluster, job) == 3
    });
    drop(gate);
    for run in cluster.finished_runs(job, 6) {
        let _ = run.must_have_succeeded();
    }
    cluster.audit();
}

#[test]
fn replace_ends_the_run_under_way_for_the_next_one() {
    let cluster = Cluster::start();
    let gate = gate(&cluster);
    let job = job(&cluster, "replace");
    // Not its row: a run that lasts for less than a second has none before it ends.
    let first = poll_until("a run", PATIENCE, || {
        let ids = format!("select runid from cron.running where jobid = {job}");
        cluster.column::<i64>(&ids).first().copied()
    });
    let runs = cluster.finished_runs(job, 2);
    assert_eq!(runs[0].runid, first);
    for run in &runs {
        assert_eq!(run.outcome.as_deref(), Some("cancelled"), "{run:#?}");
        assert!(run.reason.as_deref().is_some_and(|why| why.contains("replaced")), "{run:#?}");
    }
    assert!(runs[0].end_time <= runs[1].start_time, "one at a time: {runs:#?}");
    drop(gate);
    poll_until("a run that gets through", PATIENCE, || {
        cluster.finished_runs_of(job).iter().any(|run| run.status == "succeeded").then_some(())
    });
    cluster.audit();
}
