//! `cron.backfill` runs what never succeeded, and only that.

use pg_tock_test::{Cluster, utc};
use serde_json::json;

const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

/// A server at two minutes past ten, with a job that works while table `works` says so.
fn server() -> (Cluster, i64) {
    let cluster = Cluster::builder()
        .clock(utc(2026, 6, 1, 10, 2, 0))
        .conf("timezone", "UTC")
        .conf("cron.timezone", "UTC")
        .start();
    cluster.sql("create table works (divisor int); insert into works values (1)");
    let job = cluster.create_job(&json!({
        "job_name": "report", "schedule": "*/5 * * * *", "command": "select 1 / divisor from works",
    }));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    (cluster, job)
}

fn backfill(cluster: &Cluster, from: &str, to: &str) -> Vec<i64> {
    cluster.column(&format!(
        "select * from cron.backfill('report', '2026-06-01 {from}', '2026-06-01 {to}')"
    ))
}

#[test]
fn it_runs_exactly_what_never_succeeded() {
    let (cluster, job) = server();
    cluster.advance_clock(utc(2026, 6, 1, 10, 11, 0), UP_TO_DATE);
    cluster.wait_story(job, &["10:05 schedule", "10:10 schedule"]);
    cluster.sql("update works set divisor = 0");
    cluster.advance_clock(utc(2026, 6, 1, 10, 16, 0), UP_TO_DATE);
    cluster.wait_story(job, &["10:05 schedule", "10:10 schedule", "10:15 schedule failed"]);
    cluster.step_clock(utc(2026, 6, 1, 10, 37, 0) - cluster.now());
    cluster.wait_for(UP_TO_DATE);
    let story =
        ["10:05 schedule", "10:10 schedule", "10:15 schedule failed", "10:35 schedule failed"];
    cluster.wait_story(job, &story);
    cluster.sql("update works set divisor = 1");
    // 10:15 failed, 10:20 to 10:30 were missed. Nothing is due at 10:05 any more, and 10:35 is beyond.
    let runs = backfill(&cluster, "10:03", "10:34");
    assert_eq!(runs.len(), 4);
    let story = [
        "10:05 schedule",
        "10:10 schedule",
        "10:15 schedule failed",
        "10:15 backfill",
        "10:20 backfill",
        "10:25 backfill",
        "10:30 backfill",
        "10:35 schedule failed",
    ];
    cluster.wait_story(job, &story);
    let ran: Vec<i64> = cluster.column(
        "select runid from cron.job_run_details where trigger = 'backfill' order by start_time",
    );
    assert_eq!(ran, runs, "under the ids that were promised, oldest first");
    assert_eq!(backfill(&cluster, "10:03", "10:34"), Vec::<i64>::new(), "there is nothing left");
    assert_eq!(cluster.story(job), story);
    cluster.audit();
}

#[test]
fn it_goes_on_after_a_crash() {
    let (cluster, job) = server();
    cluster.step_clock(utc(2026, 6, 1, 11, 7, 0) - cluster.now());
    cluster.wait_for(UP_TO_DATE);
    cluster.wait_story(job, &["11:05 schedule"]);
    cluster.sql("create table gate (open boolean); insert into gate values (true)");
    cluster.sql(
        "create procedure pass() language plpgsql as $$ begin \
           while not (select open from gate) loop perform pg_sleep(0.02); end loop; end $$",
    );
    cluster.sql("select cron.set_job('report', '{\"command\": \"call pass()\"}')");
    let runs = backfill(&cluster, "10:03", "11:00");
    assert_eq!(runs.len(), 12);
    assert_eq!(backfill(&cluster, "10:03", "11:00"), Vec::<i64>::new(), "asked for already");
    cluster.wait_for("(select count(*) >= 2 from cron.job_run_details where trigger = 'backfill')");
    cluster.sql("update gate set open = false");
    cluster.crash();
    cluster.wait_scheduler();
    cluster.sql("update gate set open = true");
    // The run the crash cut off had been claimed, unless the crash was faster than the disk: a
    // procedure may have committed, so it is not repeated by itself.
    cluster.wait_for(
        "(select count(distinct scheduled_for) = 12 from cron.job_run_details \
         where trigger = 'backfill' and end_time is not null)",
    );
    cluster.wait_for("not exists (select from cron.run_request)");
    let order: bool = cluster.one(
        "select bool_and(start_time >= before) from (select start_time, \
           lag(start_time, 1, start_time) over (order by scheduled_for) before \
         from cron.job_run_details where trigger = 'backfill' and status = 'succeeded') r",
    );
    assert!(order, "oldest first: {:#?}", cluster.runs_of(job));
    let again = backfill(&cluster, "10:03", "11:00");
    assert!(again.len() <= 1, "only what was cut off: {again:?}");
    cluster.wait_for(
        "(select count(distinct scheduled_for) = 12 from cron.job_run_details \
         where trigger = 'backfill' and status = 'succeeded')",
    );
    assert_eq!(backfill(&cluster, "10:03", "11:00"), Vec::<i64>::new());
    cluster.audit();
}

#[test]
fn who_asked_for_it_is_in_its_rows() {
    let cluster = Cluster::start();
    for role in ["ann", "clerk"] {
        cluster.role(role);
    }
    cluster.sql("grant ann to clerk");
    let job = cluster.schedule_as("ann", "yearly", "0 0 1 1 *", "select 1");
    let asked = cluster
        .client_as("clerk")
        .query("select cron.backfill($1::bigint, '2024-01-01', '2025-06-01')", &[&job])
        .unwrap();
    assert_eq!(asked.len(), 2);
    let _ = cluster.finished_runs(job, 2);
    cluster.sql(&format!("select cron.run_now({job})"));
    let _ = cluster.finished_runs(job, 3);
    let who: Vec<String> = cluster.column(
        "select format('%s by %s for %s', trigger, requested_by, username) \
         from cron.job_run_details order by scheduled_for",
    );
    assert_eq!(
        who,
        ["backfill by clerk for ann", "backfill by clerk for ann", "manual by postgres for ann"]
    );
}
