//! Jobs and their like: overlapping runs, shared queues, jobs that wait for others.

#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until};
use serde_json::json;

/// A one-second job whose runs never end, under that policy.
fn endless(cluster: &Cluster, options: &serde_json::Value) -> i64 {
    let mut job = json!({
        "job_name": "endless", "schedule": "1 second", "command": "select pg_sleep(3600)",
    });
    let known = job.as_object_mut().unwrap();
    known.extend(options.as_object().unwrap().clone());
    cluster.create_job(&job)
}

fn running(cluster: &Cluster, job: i64) -> i64 {
    cluster.one_with("select count(*) from cron.running where jobid = $1", &[&job])
}

#[test]
fn instants_during_a_run_are_skipped_if_the_job_says_so() {
    let cluster = Cluster::start();
    let job = endless(&cluster, &json!({"on_overlap": "skip"}));
    poll_until("a record of several skips", Duration::from_secs(45), || {
        cluster.flush();
        let skips: Vec<String> =
            cluster.column("select reason || ' ' || (count > 1) from cron.job_skip");
        assert!(skips.len() <= 1, "{skips:?}");
        (skips == ["overlap true"]).then_some(())
    });
    assert_eq!(running(&cluster, job), 1);
}

#[test]
fn runs_of_a_job_that_allows_it_overlap_up_to_its_number() {
    let cluster = Cluster::start();
    let job = endless(&cluster, &json!({"on_overlap": "allow", "max_concurrency": 2}));
    poll_until("two runs", Duration::from_secs(45), || (running(&cluster, job) == 2).then_some(()));
    let locks: i64 = cluster.one(
        "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 3 \
         and mode = 'ShareLock' and granted",
    );
    assert_eq!(locks, 2);
    cluster.wait_for(
        "(select count(*) from cron.running r, clock_timestamp() now \
          where r.started_at < now - interval '3 seconds') = 2",
    );
    assert_eq!(running(&cluster, job), 2);
}

#[test]
fn the_latest_instant_replaces_the_run() {
    let cluster = Cluster::start();
    let job = endless(&cluster, &json!({"on_overlap": "replace"}));
    let _ = cluster.finished_runs(job, 2);
    let outcomes: Vec<String> = cluster
        .column("select distinct outcome from cron.job_run_details where outcome is not null");
    assert_eq!(outcomes, ["cancelled"]);
    assert!(running(&cluster, job) <= 1);
}

#[test]
fn a_queue_lets_no_more_through_than_it_has_places() {
    let cluster = Cluster::start();
    cluster.sql("select cron.create_queue('narrow', max_running => 1)");
    cluster.sql("create table inside (job text, at timestamptz default clock_timestamp())");
    for name in ["a", "b", "c"] {
        let _ = cluster.create_job(&json!({
            "job_name": name, "schedule": "1 second", "queue": "narrow",
            "command": format!("insert into inside values ('{name}'); select pg_sleep(0.2)"),
        }));
    }
    cluster.wait_for("(select count(distinct job) from inside) = 3");
    cluster
        .wait_for("(select count(*) from cron.job_run_details where outcome = 'succeeded') >= 6");
    let overlapping: i64 = cluster.one(
        "select count(*) from cron.job_run_details a join cron.job_run_details b \
         on a.runid < b.runid and a.start_time < b.end_time and b.start_time < a.end_time",
    );
    assert_eq!(overlapping, 0);
}

#[test]
fn a_job_runs_after_those_it_waits_for_and_not_if_they_fail() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (open boolean); insert into gate values (true)");
    let first = cluster.create_job(&json!({
        "job_name": "first", "schedule": "seconds: * * * * * *",
        "command": "select pg_sleep(0.2); select 1 / open::int from gate",
    }));
    let second = cluster.create_job(&json!({
        "job_name": "second", "schedule": "seconds: * * * * * *", "command": "select 2",
        "run_after": ["first"],
    }));
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details \
          where jobid = {second} and trigger = 'dependency' and outcome = 'succeeded') >= 2"
    ));
    let early: i64 = cluster.one(&format!(
        "select count(*) from cron.job_run_details d where d.jobid = {second} \
         and d.trigger = 'dependency' and not exists (select from cron.job_run_details u \
          where u.jobid = {first} and u.scheduled_for = d.scheduled_for \
          and u.outcome = 'succeeded' and u.end_time <= d.start_time)"
    ));
    assert_eq!(early, 0);
    cluster.sql("update gate set open = false");
    poll_until("skips for the failing job", Duration::from_secs(45), || {
        cluster.flush();
        let skipped: bool = cluster.one_with(
            "select exists (select from cron.job_skip where jobid = $1 and reason = 'upstream')",
            &[&second],
        );
        skipped.then_some(())
    });
}

#[test]
fn the_jobs_that_many_wait_for_are_found_without_reading_all_for_each() {
    let cluster = Cluster::start();
    let jobs: i64 = 300;
    let looked = || -> Vec<i64> {
        cluster.column(
            "select v from pg_stat_user_indexes, unnest(array[idx_scan, idx_tup_read]) \
             with ordinality as v (v, n) where indexrelname = 'jobname_username_uniq' order by n",
        )
    };
    let _ = cluster.create_job(&json!({
        "job_name": "upstream", "schedule": "0 0 1 1 *", "command": "select 1",
    }));
    cluster.sql(
        "do $$ begin for n in 1 .. 300 loop perform cron.create_job('job ' || n, '0 0 1 1 *', \
         'select 1', run_after => '{upstream}'); end loop; end $$",
    );
    cluster.wait_known();
    let before = looked();
    // Names have changed: all are looked up again, each once.
    cluster.sql("select cron.create_job('other', '0 0 1 1 *', 'select 1')");
    let mut turn = 0;
    poll_until("a look at each name", Duration::from_secs(45), || {
        // The scheduler tells what it has read after it has read a job, once a second at the most.
        turn += 1;
        cluster.sql(&format!("select cron.set_job('other', '{{\"command\": \"select {turn}\"}}')"));
        (looked()[0] >= before[0] + jobs).then_some(())
    });
    let (scans, read) = (looked()[0] - before[0], looked()[1] - before[1]);
    assert!(read < 3 * scans, "{read} read in {scans} looks");
}
