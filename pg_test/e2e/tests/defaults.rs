//! The settings `cron.default_*` hold for jobs that do not say.

use pg_tock_test::Cluster;
use serde_json::{Value, json};

/// A job that says nothing of what the settings are about, and what shows that one of them holds.
struct Case {
    setting: &'static str,
    job: Value,
    shows: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |setting, schedule, command, shows| Case {
        setting,
        job: json!({ "job_name": setting, "schedule": schedule, "command": command }),
        shows,
    };
    vec![
        case(
            "max_attempts",
            "1 second",
            "select 1 / 0",
            "exists (select from cron.job_run_details where jobname = 'max_attempts' and attempt = 2)",
        ),
        // Without it ten seconds, less a tenth.
        case(
            "retry_delay",
            "1 second",
            "select 1 / 0",
            "exists (select from cron.job_run_details a join cron.job_run_details b \
              using (jobid, scheduled_for) where a.jobname = 'retry_delay' and a.attempt = 1 \
              and b.attempt = 2 and b.start_time - a.end_time < interval '9 seconds')",
        ),
        case(
            "on_overlap",
            "1 second",
            "select pg_sleep(3600)",
            "(select count(*) from cron.running where jobname = 'on_overlap') > 1",
        ),
        case(
            "session",
            "1 second",
            "select 1",
            "(select count(distinct job_pid) from cron.job_run_details \
              where jobname = 'session' and status = 'succeeded') >= 4",
        ),
        case(
            "stuck_after",
            "1 second",
            "select pg_sleep(3600)",
            "exists (select from cron.running where jobname = 'stuck_after' and stuck)",
        ),
        // Each of its starts is late by another part of the time.
        case(
            "jitter",
            "2 seconds",
            "select 1",
            "(select max(start_time - scheduled_for) - min(start_time - scheduled_for) \
              > interval '250 milliseconds' from cron.job_run_details where jobname = 'jitter')",
        ),
    ]
}

fn with_other_defaults() -> Cluster {
    Cluster::builder()
        .max_worker_processes(24)
        .conf("cron.default_max_attempts", "2")
        .conf("cron.default_retry_delay", "100ms")
        .conf("cron.default_retry_on", "any")
        .conf("cron.default_on_overlap", "allow")
        .conf("cron.default_max_concurrency", "2")
        .conf("cron.default_priority", "50")
        .conf("cron.default_session", "fresh")
        .conf("cron.default_stuck_after", "300ms")
        .conf("cron.default_on_missed", "all")
        .conf("cron.default_jitter", "2s")
        .start()
}

#[test]
fn defaults_of_the_cluster_hold_for_jobs_that_do_not_say() {
    let cluster = with_other_defaults();
    let cases = cases();
    for case in &cases {
        cluster.create_job(&case.job);
    }
    for Case { setting, shows, .. } in &cases {
        cluster.wait_for(&format!("/* default_{setting} */ {shows}"));
    }
    // Many more are due by now than may run at once.
    cluster.wait_for("(select max(elapsed) from cron.running) > interval '5 seconds'");
    let running: i64 =
        cluster.one("select count(*) from cron.running where jobname = 'on_overlap'");
    assert_eq!(running, 2, "default_max_concurrency");
    // What a job says goes before all of them.
    let own = cluster.create_job(&json!({
        "job_name": "own", "schedule": "1 second", "command": "select pg_sleep(3600)",
        "on_overlap": "skip", "stuck_after": "1 day",
    }));
    cluster.wait_for(&format!(
        "cron.flush() and exists (select from cron.job_skip where jobid = {own} and reason = 'overlap')"
    ));
    let alone: bool = cluster.one_with(
        "select count(*) = 1 and not bool_or(stuck) from cron.running where jobid = $1",
        &[&own],
    );
    assert!(alone);
}

#[test]
fn what_was_missed_is_caught_up_by_default_if_the_cluster_says_so() {
    let cluster = with_other_defaults();
    let job = cluster.schedule("missed", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    cluster.sql("select cron.pause('missed')");
    let paused: String = cluster.one("select clock_timestamp()::text");
    cluster
        .wait_for(&format!("clock_timestamp() > '{paused}'::timestamptz + interval '3 seconds'"));
    cluster.sql("select cron.resume('missed')");
    cluster.wait_for("(select count(*) from cron.job_run_details where trigger = 'catch_up') >= 2");
}

#[test]
fn the_priority_of_the_cluster_is_that_of_jobs_that_do_not_say() {
    let cluster = with_other_defaults();
    cluster.sql("select cron.create_queue('one', max_running => 1)");
    let mut gate = cluster.client();
    let locked = gate.batch_execute("select pg_advisory_lock(7)");
    assert!(locked.is_ok());
    for (name, command, options) in [
        ("blocker", "select pg_advisory_xact_lock(7)", json!({})),
        ("low", "select 1", json!({"priority": 0})),
        ("high", "select 1", json!({})),
    ] {
        let mut job = json!({
            "job_name": name, "schedule": "0 0 29 2 *", "queue": "one", "command": command,
        });
        if let (Some(job), Some(options)) = (job.as_object_mut(), options.as_object()) {
            job.extend(options.clone());
        }
        cluster.create_job(&job);
        cluster.sql(&format!("select cron.run_now('{name}')"));
        cluster.wait_for("exists (select from cron.running where jobname = 'blocker')");
    }
    cluster.wait_known();
    drop(gate);
    cluster.wait_for("(select count(*) from cron.job_run_details where status = 'succeeded') = 3");
    let order: Vec<String> =
        cluster.column("select jobname from cron.job_run_details order by start_time");
    assert_eq!(order, ["blocker", "high", "low"]);
}

#[test]
fn stuck_runs_are_cancelled_by_default_if_the_cluster_says_so() {
    let cluster = Cluster::builder()
        .conf("cron.default_stuck_after", "300ms")
        .conf("cron.default_on_stuck", "cancel")
        .start();
    let left = cluster.create_job(&json!({
        "job_name": "left", "schedule": "1 second", "command": "select pg_sleep(3600)",
        "on_stuck": "alert",
    }));
    let run = cluster.run_once("select pg_sleep(3600)");
    assert_eq!(run.outcome.as_deref(), Some("timeout"), "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some("no heartbeat for 00:00:00.3"), "{run:#?}");
    // What a job says goes before.
    cluster.wait_for(&format!(
        "exists (select from cron.running where jobid = {left} and stuck \
         and elapsed > interval '2 seconds')"
    ));
    assert!(cluster.finished_runs_of(left).is_empty());
}
