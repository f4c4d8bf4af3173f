//! The window of a run: the time its data is for.

use pg_tock_test::{Cluster, utc};
use serde_json::json;

#[test]
fn windows_of_successful_runs_meet_whatever_lies_between_them() {
    let cluster = Cluster::start();
    cluster.sql(
        "create table seen (low timestamptz, high timestamptz, due timestamptz); \
         create table gate (open int); insert into gate values (1)",
    );
    let job = cluster.schedule(
        "windows",
        "1 second",
        "insert into seen select window_start, window_end, scheduled_for from cron.current_run(); \
         select 1 / open from gate",
    );
    let seen_since = |at: &str| {
        cluster.wait_for(&format!("(select count(*) from seen where due > '{at}') >= 2"));
    };
    let now = || cluster.one::<String>("select clock_timestamp()::text");
    seen_since("-infinity");
    // Runs that failed.
    cluster.sql("update gate set open = 0");
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details where jobid = {job} and status = 'failed') >= 2"
    ));
    cluster.sql("update gate set open = 1");
    seen_since(&now());
    // Occurrences that were missed.
    cluster.sql("select cron.pause('windows')");
    let paused = now();
    cluster
        .wait_for(&format!("clock_timestamp() > '{paused}'::timestamptz + interval '3 seconds'"));
    cluster.sql("select cron.resume('windows')");
    seen_since(&now());
    // Another scheduler, and another server.
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    seen_since(&now());
    cluster.restart();
    seen_since(&now());
    cluster.flush();
    let missed: bool = cluster.one("select exists (select from cron.job_skip)");
    assert!(missed);
    let gaps: Vec<String> = cluster.column(
        "select format('%s is not %s, or %s not %s', low, before, high, due) from \
          (select *, lag(high) over (order by due) as before from seen) seen \
         where low <> before or high <> due",
    );
    assert_eq!(gaps, [""; 0]);
}

/// Has a run note its window.
const NOTE: &str = "insert into seen select jobid, window_start, window_end, scheduled_for, trigger \
    from cron.current_run()";

const SEEN: &str = "create table seen \
    (jobid bigint, low timestamptz, high timestamptz, due timestamptz, trigger text)";

#[test]
fn runs_that_may_overlap_have_no_window() {
    let cluster = Cluster::start();
    cluster.sql(SEEN);
    cluster.sql("create table shown (low text, high text)");
    let job = |name: &str, overlap: &str| {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "1 second", "command": NOTE, "on_overlap": overlap,
        }))
    };
    let (alone, beside) = (job("alone", "skip"), job("beside", "allow"));
    let _ = (cluster.finished_runs(alone, 3), cluster.finished_runs(beside, 3));
    let windows = |job: i64| -> Vec<i64> {
        cluster.column(&format!(
            "select distinct num_nonnulls(low, high)::bigint from seen where jobid = {job}"
        ))
    };
    assert_eq!((windows(alone), windows(beside)), (vec![2], vec![0]));
    // Nor is there one to be read as a setting.
    cluster.sql(&format!(
        "select cron.set_job({beside}, jsonb_build_object('command', $$insert into shown \
          select current_setting('cron.window_start'), current_setting('cron.window_end')$$))"
    ));
    cluster.wait_for("(select count(*) >= 2 from shown)");
    let shown: Vec<String> =
        cluster.column("select distinct format('%s and %s', low, high) from shown");
    assert_eq!(shown, [" and "]);
    // Once its runs come one after another, their windows meet.
    cluster.sql(&format!(
        "select cron.set_job({beside}, jsonb_build_object('command', $${NOTE}$$, 'on_overlap', 'queue'))"
    ));
    cluster.wait_for(&format!(
        "(select count(*) >= 2 from \
          (select low, lag(high) over (order by due) as before from seen where jobid = {beside}) s \
          where low = before)"
    ));
}

const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

#[test]
fn runs_by_hand_and_backfills_move_no_window_and_have_none_behind_it() {
    let cluster = Cluster::builder()
        .clock(utc(2026, 6, 1, 10, 2, 0))
        .conf("timezone", "UTC")
        .conf("cron.timezone", "UTC")
        .start();
    cluster.sql(SEEN);
    cluster.sql("create table gate (open int); insert into gate values (1)");
    let job =
        cluster.schedule("ten", "*/10 * * * *", &format!("{NOTE}; select 1 / open from gate"));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    let until = |hour: i64, minute: i64| {
        cluster.advance_clock(utc(2026, 6, 1, hour, minute, 5), UP_TO_DATE);
        cluster.wait_quiet();
    };
    let backfill = |minute: &str| {
        let at = format!("2026-06-01 10:{minute}");
        cluster.sql(&format!("select cron.backfill('ten', '{at}', '{at}')"));
        cluster.wait_for(&format!(
            "exists (select from seen where trigger = 'backfill' and due = '{at}')"
        ));
    };
    until(10, 11);
    cluster.sql("update gate set open = 0");
    until(10, 21);
    cluster.sql("update gate set open = 1");
    until(10, 31);
    // What lies behind the windows there were; what is beyond them; what comes after that.
    backfill("20");
    cluster.sql(&format!("select cron.run_now({job})"));
    cluster.wait_for("exists (select from seen where trigger = 'manual')");
    cluster.sql("update gate set open = 0");
    until(10, 41);
    cluster.sql("update gate set open = 1");
    backfill("40");
    until(10, 51);
    let seen: Vec<String> = cluster.column(
        "select format('%s %s to %s', trigger, to_char(low, 'HH24:MI'), \
            case when trigger = 'manual' and high = due then 'itself' \
                 else to_char(high, 'HH24:MI') end) \
         from seen where due > '2026-06-01 10:10' order by due",
    );
    assert_eq!(
        seen,
        [
            "backfill  to ",
            "schedule 10:10 to 10:30",
            "manual 10:30 to itself",
            "backfill 10:30 to 10:40",
            "schedule 10:30 to 10:50",
        ]
    );
    cluster.audit();
}
