//! The settings `cron.default_*` hold for jobs that do not say.

use pg_tock_test::{Cluster, utc};
use serde_json::{Value, json};

/// A job that says nothing of what the settings are about, and what shows that one of them holds.
struct Case {
    setting: &'static str,
    job: Value,
    shows: &'static str,
}

/// Options with others over them.
fn with(mut options: Value, more: &Value) -> Value {
    if let (Some(options), Some(more)) = (options.as_object_mut(), more.as_object()) {
        options.extend(more.clone());
    }
    options
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
        let job = json!({
            "job_name": name, "schedule": "0 0 29 2 *", "queue": "one", "command": command,
        });
        cluster.create_job(&with(job, &options));
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
    cluster.wait_for(&format!(
        "exists (select from cron.alerts where jobid = {left} and rule = 'stuck' and open)"
    ));
}

/// Runs a job by hand that fails as often as it may: the seconds between its attempts, by what its
/// retries say when they are asked for.
fn waits(cluster: &Cluster, name: &str, more: &Value) -> Vec<f64> {
    let options = json!({
        "job_name": name, "schedule": "0 0 29 2 *", "command": "select 1 / 0",
    });
    let job = cluster.create_job(&with(options, more));
    cluster.sql(&format!("select cron.run_now({job})"));
    // Until none is left, or the next one is far off.
    cluster.wait_for(&format!(
        "exists (select from cron.dead_letters where jobid = {job}) \
         or exists (select from cron.run_request where jobid = {job} \
                    and not_before > now() + interval '1 minute')"
    ));
    cluster.column(&format!("select wait from plan where jobid = {job} order by attempt"))
}

/// Each is as long as expected, up to the tenth by which delays differ, and none longer than `most`.
#[track_caller]
fn are_near(waits: &[f64], expected: &[f64], most: f64) {
    let near = |(wait, expected): (&f64, &f64)| {
        (0.899 * expected..=1.101 * expected).contains(wait) && *wait <= most + 0.001
    };
    let all = waits.len() == expected.len() && waits.iter().zip(expected).all(near);
    assert!(all, "{waits:?} are to be near {expected:?}, and no more than {most}");
}

#[test]
fn delays_grow_by_the_clusters_factor_up_to_its_longest() {
    let cluster = Cluster::builder()
        .conf("cron.default_max_attempts", "4")
        .conf("cron.default_retry_on", "any")
        .conf("cron.default_retry_delay", "200ms")
        .conf("cron.default_retry_backoff", "5")
        .conf("cron.default_retry_max_delay", "3s")
        .start();
    cluster.note_retries();
    are_near(&waits(&cluster, "silent", &json!({})), &[0.2, 1.0, 3.0], 3.0);
    // What a job says goes before.
    let own = json!({"retry_backoff": 1.5, "retry_max_delay": "400 ms"});
    are_near(&waits(&cluster, "own", &own), &[0.2, 0.3, 0.4], 0.4);
}

#[test]
fn jobs_that_fail_together_are_not_tried_again_together() {
    let cluster = Cluster::builder()
        .conf("cron.default_max_attempts", "2")
        .conf("cron.default_retry_on", "any")
        .conf("cron.default_retry_delay", "30min")
        .start();
    cluster.note_retries();
    let first = |n: i32| waits(&cluster, &format!("job {n}"), &json!({})).remove(0);
    let mut delays: Vec<f64> = (0..10).map(first).collect();
    delays.sort_by(f64::total_cmp);
    // Each is another one of those within a tenth.
    assert!(delays.windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
}

#[test]
fn a_job_is_held_to_the_pair_of_delays_it_gives_itself_only() {
    let cluster = Cluster::builder()
        .conf("cron.default_retry_on", "any")
        .conf("cron.default_max_attempts", "2")
        .start();
    cluster.note_retries();
    let refused = cluster.try_sql(
        "select cron.create_job('pair', '0 0 29 2 *', 'select 1', retry_delay => '10 s', \
          retry_max_delay => '1 s')",
    );
    assert_eq!(refused.err().as_ref().map(pg_tock_test::sqlstate), Some("22023"));
    // The ten seconds of the cluster are clipped; an hour is its longest delay, and this job's longer.
    are_near(&waits(&cluster, "clipped", &json!({"retry_max_delay": "1 s"})), &[1.0], 1.0);
    are_near(&waits(&cluster, "raised", &json!({"retry_delay": "5 hours"})), &[18_000.0], 18_000.0);
}

#[test]
fn a_crash_is_repeated_by_default_if_the_cluster_says_so() {
    let cluster = Cluster::builder()
        .conf("cron.default_max_attempts", "2")
        .conf("cron.default_retry_delay", "100ms")
        .conf("cron.default_retry_on_crash", "on")
        .start();
    cluster.sql("create database other");
    // A run in another database may have done its work.
    let job = |name: &str, more: Value| {
        let options = json!({
            "job_name": name, "schedule": "0 0 29 2 *", "command": "select pg_sleep(3600)",
            "database": "other",
        });
        let job = cluster.create_job(&with(options, &more));
        cluster.sql(&format!("select cron.run_now({job})"));
        (job, cluster.run_in_status(job, "running"))
    };
    let (own, _) = job("own", json!({"retry_on_crash": false}));
    let (silent, run) = job("silent", json!({}));
    cluster.wait_for(
        "(select count(*) from pg_stat_activity \
          where datname = 'other' and wait_event = 'PgSleep') = 2",
    );
    cluster.crash_by_killing(run.job_pid.unwrap_or_default());
    cluster.wait_scheduler();
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {silent} and attempt = 2)"
    ));
    cluster.wait_for(&format!("exists (select from cron.dead_letters where jobid = {own})"));
    assert_eq!(cluster.runs_of(own).len(), 1);
}

/// The minute job has a row for the minute the clock shows.
const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

#[test]
fn what_is_older_than_the_clusters_window_is_not_caught_up() {
    let cluster = Cluster::builder()
        .clock(utc(2026, 6, 1, 10, 2, 0))
        .conf("timezone", "UTC")
        .conf("cron.timezone", "UTC")
        .conf("cron.default_on_missed", "all")
        .conf("cron.default_missed_window", "25min")
        .start();
    let job = |name: &str, more: Value| {
        let options = json!({"job_name": name, "schedule": "*/10 * * * *", "command": "select 1"});
        cluster.create_job(&with(options, &more))
    };
    let silent = job("silent", json!({}));
    let own = job("own", json!({"missed_window": "45 minutes"}));
    cluster.wait_known();
    cluster.step_clock(utc(2026, 6, 1, 11, 6, 30) - cluster.now());
    cluster.wait_story(silent, &["10:50 catch_up", "11:00 catch_up"]);
    cluster
        .wait_story(own, &["10:30 catch_up", "10:40 catch_up", "10:50 catch_up", "11:00 catch_up"]);
    assert_eq!(cluster.skipped(silent), ["missed 10:10 to 10:40: 4"]);
    cluster.audit();
}

#[test]
fn a_clock_change_goes_by_the_rule_of_the_cluster() {
    // An hour before the clock of New York is set back.
    let cluster = Cluster::builder()
        .clock(utc(2026, 11, 1, 5, 20, 0))
        .conf("timezone", "America/New_York")
        .conf("cron.timezone", "America/New_York")
        .conf("cron.default_dst_policy", "wall")
        .start();
    let job = |name: &str, more: Value| {
        let options = json!({"job_name": name, "schedule": "30 1 * * *", "command": "select 1"});
        cluster.create_job(&with(options, &more))
    };
    let silent = job("silent", json!({}));
    let own = job("own", json!({"dst_policy": "cron"}));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    cluster.advance_clock(utc(2026, 11, 1, 6, 35, 0), UP_TO_DATE);
    cluster.wait_story(silent, &["01:30 schedule", "01:30 schedule"]);
    cluster.wait_story(own, &["01:30 schedule"]);
    cluster.audit();
}
