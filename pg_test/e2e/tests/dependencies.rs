//! Jobs that wait for others: `run_after`.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until, stays_true};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(45);
/// The same instants for every job that has it.
const EVERY_OTHER_SECOND: &str = "seconds: */2 * * * * *";

fn job(cluster: &Cluster, name: &str, command: &str, after: &[&str]) -> i64 {
    cluster.create_job(&json!({
        "job_name": name, "schedule": EVERY_OTHER_SECOND, "command": command,
        "run_after": after,
    }))
}

fn skipped_for_upstream(cluster: &Cluster, job: i64) -> i64 {
    cluster.flush();
    cluster.one_with(
        "select coalesce(sum(count), 0)::bigint from cron.job_skip \
         where jobid = $1 and reason = 'upstream'",
        &[&job],
    )
}

#[test]
fn a_job_runs_once_those_it_waits_for_have_succeeded() {
    let cluster = Cluster::start();
    // Whoever waits has no instant that those it waits for do not have.
    let first = job(&cluster, "first", "select pg_sleep(0.1)", &[]);
    cluster.wait_known();
    let second = job(&cluster, "second", "select pg_sleep(0.1)", &["first"]);
    cluster.wait_known();
    let third = job(&cluster, "third", "select 1", &["first", "second"]);
    let _ = cluster.finished_runs(third, 3);
    for (upstream, job) in [(first, second), (first, third), (second, third)] {
        let runs = cluster.finished_runs_of(job);
        assert!(runs.len() >= 3, "{runs:#?}");
        let before = cluster.finished_runs_of(upstream);
        for run in runs {
            let own = before.iter().find(|other| other.scheduled_for == run.scheduled_for);
            let own = own.unwrap_or_else(|| panic!("nothing was waited for: {run:#?}"));
            let own = own.clone().must_have_succeeded();
            assert!(own.end_time <= run.start_time, "{own:#?} {run:#?}");
        }
    }
    cluster.audit();
}

#[test]
fn what_an_upstream_failed_for_is_skipped() {
    let cluster = Cluster::start();
    let _ = job(&cluster, "first", "select 1 / 0", &[]);
    cluster.wait_known();
    let second = job(&cluster, "second", "select 1", &["first"]);
    let third = job(&cluster, "third", "select 1", &["second"]);
    for job in [second, third] {
        poll_until("skipped occurrences", PATIENCE, || {
            (skipped_for_upstream(&cluster, job) >= 2).then_some(())
        });
    }
    cluster.sql("select cron.set_job('first', '{\"command\": \"select 1\"}')");
    let _ = cluster.finished_run(third).must_have_succeeded();
    cluster.audit();
}

#[test]
fn an_upstream_that_is_tried_again_is_waited_for() {
    let cluster = Cluster::start();
    cluster.sql("create sequence tries");
    let first = cluster.create_job(&json!({
        "job_name": "first", "schedule": "at 2000-01-01 00:00", "max_attempts": 3,
        "retry_delay": "1 second", "retry_on": "any",
        "command": "select 1 / (nextval('tries') - 1)",
    }));
    cluster.sql(&format!(
        "update cron.job set schedule = 'at ' || to_char((now() + '3 seconds') at time zone 'UTC', \
          'YYYY-MM-DD HH24:MI:SS'), timezone = 'UTC' where jobid = {first}"
    ));
    let schedule: String = cluster.one("select schedule from cron.job where jobname = 'first'");
    let second = cluster.create_job(&json!({
        "job_name": "second", "schedule": schedule, "timezone": "UTC", "command": "select 1",
        "run_after": ["first"],
    }));
    let run = cluster.finished_run(second).must_have_succeeded();
    let attempts = cluster.finished_runs_of(first);
    assert_eq!(attempts.len(), 2, "{attempts:#?}");
    assert!(attempts[1].end_time <= run.start_time, "{attempts:#?} {run:#?}");
}

#[test]
fn a_wait_survives_a_restart() {
    let cluster = Cluster::start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let first = job(&cluster, "first", "select pg_advisory_xact_lock_shared(7)", &[]);
    let second = job(&cluster, "second", "select 1", &["first"]);
    cluster.sql("update cron.job set on_missed = 'all'");
    let _ = cluster.executor_of(first);
    stays_true("the second one waits", Duration::from_millis(2_500), || {
        cluster.runs_of(second).is_empty()
    });
    drop(gate);
    cluster.restart();
    let runs = cluster.finished_runs(second, 2);
    for run in runs {
        let _ = run.must_have_succeeded();
    }
    cluster.audit();
}

#[test]
fn a_job_that_is_gone_or_switched_off_keeps_nobody_waiting() {
    let cluster = Cluster::start();
    let first = job(&cluster, "first", "select 1 / 0", &[]);
    cluster.wait_known();
    let second = job(&cluster, "second", "select 1", &["first"]);
    poll_until("a skipped occurrence", PATIENCE, || {
        (skipped_for_upstream(&cluster, second) >= 1).then_some(())
    });
    cluster.sql("select cron.set_job('first', '{\"active\": false}')");
    let before = cluster.runs_of(second).len();
    poll_until("a run", PATIENCE, || (cluster.runs_of(second).len() > before).then_some(()));
    cluster.unschedule(first);
    cluster.wait_known();
    let before = cluster.runs_of(second).len();
    poll_until("a run", PATIENCE, || (cluster.runs_of(second).len() > before).then_some(()));
}

#[test]
fn a_job_waits_for_whoever_has_the_name_now() {
    let cluster = Cluster::start();
    let first = job(&cluster, "first", "select 1 / 0", &[]);
    cluster.wait_known();
    let second = job(&cluster, "second", "select 1", &["first"]);
    let skipped_again = || {
        let before = skipped_for_upstream(&cluster, second);
        poll_until("a skipped occurrence", PATIENCE, || {
            (skipped_for_upstream(&cluster, second) > before).then_some(())
        });
    };
    let runs_again = || {
        let before = cluster.finished_runs_of(second).len();
        let _ = cluster.finished_runs(second, before + 1);
    };
    skipped_again();
    // The name is nobody's.
    cluster.sql(&format!("update cron.job set jobname = 'other' where jobid = {first}"));
    runs_again();
    // It is another job's, which comes after the one that waits.
    let _ = job(&cluster, "first", "select 1 / 0", &[]);
    skipped_again();
    cluster.sql("select cron.unschedule('first')");
    runs_again();
    cluster.sql(&format!("update cron.job set jobname = 'first' where jobid = {first}"));
    skipped_again();
    cluster.sql("select cron.set_job('second', '{\"run_after\": null}')");
    runs_again();
    cluster.audit();
}
