//! Occurrences that could not run at their time, because the clock jumped over them, the server was
//! down, or the job was paused: each goes by its job's `on_missed`, and none is without an account.

use pg_tock_test::{Cluster, PATIENCE, poll_until, utc};
use serde_json::{Value, json};

/// The jobs of these scenarios: one every ten minutes for each policy, and one every minute.
struct Jobs {
    skip: i64,
    once: i64,
    all: i64,
    /// All, but nothing older than 25 minutes.
    cut: i64,
    minute: i64,
}

/// The clock of these scenarios, two minutes past ten.
fn start() -> i64 {
    utc(2026, 6, 1, 10, 2, 0)
}

/// When they go on: an hour and a bit later, with six occurrences of a ten-minute job in between.
fn later() -> i64 {
    utc(2026, 6, 1, 11, 6, 30)
}

fn server() -> Cluster {
    Cluster::builder().clock(start()).conf("timezone", "UTC").conf("cron.timezone", "UTC").start()
}

fn job(cluster: &Cluster, name: &str, schedule: &str, more: &Value) -> i64 {
    let mut options = json!({ "job_name": name, "schedule": schedule, "command": "select 1" });
    if let (Some(options), Some(more)) = (options.as_object_mut(), more.as_object()) {
        options.extend(more.clone());
    }
    cluster.create_job(&options)
}

fn jobs(cluster: &Cluster) -> Jobs {
    let ten = |name: &str, more: Value| job(cluster, name, "*/10 * * * *", &more);
    let jobs = Jobs {
        skip: ten("skip", json!({})),
        once: ten("once", json!({ "on_missed": "once" })),
        all: ten("all", json!({ "on_missed": "all" })),
        cut: ten("cut", json!({ "on_missed": "all", "missed_window": "25 minutes" })),
        minute: job(cluster, "minute", "* * * * *", &json!({})),
    };
    cluster.wait_known();
    jobs
}

/// The minute job has a row for the minute the clock shows.
const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

/// Seconds by which to set the clock to be at `target`.
fn until(cluster: &Cluster, target: i64) -> i64 {
    target - cluster.now()
}

/// What each policy makes of six occurrences of which none could run.
fn each_went_by_its_policy(cluster: &Cluster, jobs: &Jobs, reason: &str) {
    cluster.wait_story(jobs.once, &["11:00 catch_up"]);
    cluster.wait_story(
        jobs.all,
        &[
            "10:10 catch_up",
            "10:20 catch_up",
            "10:30 catch_up",
            "10:40 catch_up",
            "10:50 catch_up",
            "11:00 catch_up",
        ],
    );
    cluster.wait_story(jobs.cut, &["10:50 catch_up", "11:00 catch_up"]);
    let in_order: bool = cluster.one_with(
        "select bool_and(start_time >= before) from (select start_time, \
           lag(end_time, 1, start_time) over (order by scheduled_for) before \
         from cron.job_run_details where jobid = $1) r",
        &[&jobs.all],
    );
    assert!(in_order, "oldest first, one after another: {:#?}", cluster.runs_of(jobs.all));
    assert_eq!(cluster.story(jobs.skip), Vec::<String>::new());
    assert_eq!(cluster.skipped(jobs.skip), [format!("{reason} 10:10 to 11:00: 6")]);
    assert_eq!(cluster.skipped(jobs.once), [format!("{reason} 10:10 to 10:50: 5")]);
    assert_eq!(cluster.skipped(jobs.all), Vec::<String>::new());
    assert_eq!(cluster.skipped(jobs.cut), [format!("{reason} 10:10 to 10:40: 4")]);
}

/// Time goes on as ever after that.
fn goes_on(cluster: &Cluster, jobs: &Jobs) {
    cluster.advance_clock(utc(2026, 6, 1, 11, 11, 0), UP_TO_DATE);
    cluster.wait_story(jobs.skip, &["11:10 schedule"]);
    cluster.wait_story(jobs.once, &["11:00 catch_up", "11:10 schedule"]);
    cluster.audit();
}

#[test]
fn the_clock_jumps_over_an_hour() {
    let cluster = server();
    let jobs = jobs(&cluster);
    cluster.step_clock(until(&cluster, later()));
    cluster.wait_for(UP_TO_DATE);
    each_went_by_its_policy(&cluster, &jobs, "missed");
    let late = cluster.story(jobs.minute);
    assert_eq!(late.last().map(String::as_str), Some("11:06 schedule"), "{late:?}");
    assert!(late.contains(&"11:03 schedule".to_owned()), "late is not missed: {late:?}");
    assert!(!late.contains(&"11:00 schedule".to_owned()), "six minutes is: {late:?}");
    goes_on(&cluster, &jobs);
}

#[test]
fn the_server_is_stopped_for_an_hour() {
    let cluster = server();
    let jobs = jobs(&cluster);
    cluster.stop();
    cluster.step_clock(later() - start());
    cluster.boot();
    cluster.wait_scheduler();
    each_went_by_its_policy(&cluster, &jobs, "missed");
    let none_late: bool = cluster.one_with(
        "select count(*) = 0 from cron.job_run_details where jobid = $1 \
         and scheduled_for < pg_postmaster_start_time()",
        &[&jobs.minute],
    );
    assert!(
        none_late,
        "what fell due without a server is missed: {:?}",
        cluster.story(jobs.minute)
    );
    goes_on(&cluster, &jobs);
}

#[test]
fn the_server_crashes_and_is_away_for_an_hour() {
    let cluster = server();
    let jobs = jobs(&cluster);
    cluster.stop_immediately();
    cluster.step_clock(later() - start());
    cluster.boot();
    cluster.wait_scheduler();
    each_went_by_its_policy(&cluster, &jobs, "server crashed");
    goes_on(&cluster, &jobs);
}

#[test]
fn a_killed_backend_takes_the_server_down_and_an_hour_is_lost() {
    let cluster = server();
    let ten = job(&cluster, "ten", "*/10 * * * *", &json!({}));
    cluster.wait_known();
    cluster.step_clock_unnoticed(until(&cluster, later()));
    cluster.crash();
    cluster.wait_scheduler();
    // The cursor is written lazily, so wait for the account rather than for a moment.
    cluster.wait_for(&format!(
        "cron.flush() and exists (select from cron.job_skip where jobid = {ten})"
    ));
    assert_eq!(cluster.skipped(ten), ["server crashed 10:10 to 11:00: 6"]);
    cluster.audit();
}

#[test]
fn a_run_that_crashes_the_server_is_caught_up_once() {
    let cluster = server();
    cluster.sql("create table t (line text)");
    cluster.sql(
        "create function die() returns void language plpgsql as \
         $$ begin execute $c$ copy t from program 'kill -9 $PPID' $c$; end $$",
    );
    let poison = job(
        &cluster,
        "poison",
        "*/10 * * * *",
        &json!({ "command": "select die()", "on_missed": "all" }),
    );
    job(&cluster, "minute", "* * * * *", &json!({}));
    cluster.wait_known();
    cluster.step_clock(until(&cluster, utc(2026, 6, 1, 10, 6, 0)));
    cluster.wait_for(UP_TO_DATE);
    cluster.step_clock(until(&cluster, utc(2026, 6, 1, 10, 10, 1)));
    // Its first run crashes the server and leaves no trace. So it is caught up, which is written down
    // first, and crashes the server again. Then it is over.
    cluster.wait_through_crashes(&format!(
        "exists (select from cron.job_run_details where jobid = {poison} and end_time is not null)"
    ));
    cluster.wait_scheduler();
    cluster.advance_clock(utc(2026, 6, 1, 10, 12, 0), UP_TO_DATE);
    assert_eq!(cluster.story(poison), ["10:10 catch_up crashed"]);
    cluster.audit();
}

#[test]
fn jobs_are_paused_for_an_hour() {
    let cluster = server();
    let jobs = jobs(&cluster);
    for name in ["skip", "once", "all", "cut"] {
        cluster.sql(&format!("select cron.pause('{name}', reason => 'migration')"));
    }
    cluster.advance_clock(later(), UP_TO_DATE);
    for job in [jobs.skip, jobs.once, jobs.all, jobs.cut] {
        assert_eq!(cluster.story(job), Vec::<String>::new(), "a paused job does not run");
    }
    for name in ["skip", "once", "all", "cut"] {
        cluster.sql(&format!("select cron.resume('{name}')"));
    }
    each_went_by_its_policy(&cluster, &jobs, "paused");
    goes_on(&cluster, &jobs);
}

#[test]
fn a_pause_ends_by_itself() {
    let cluster = server();
    let jobs = jobs(&cluster);
    cluster.sql("select cron.pause('once', until => '2026-06-01 10:35')");
    cluster.advance_clock(utc(2026, 6, 1, 10, 34, 0), UP_TO_DATE);
    assert_eq!(cluster.story(jobs.once), Vec::<String>::new());
    cluster.advance_clock(utc(2026, 6, 1, 10, 41, 0), UP_TO_DATE);
    cluster.wait_story(jobs.once, &["10:30 catch_up", "10:40 schedule"]);
    assert_eq!(cluster.skipped(jobs.once), ["paused 10:10 to 10:20: 2"]);
    cluster.audit();
}

#[test]
fn a_pause_survives_a_restart() {
    let cluster = server();
    let jobs = jobs(&cluster);
    cluster.sql("select cron.pause('all')");
    cluster.advance_clock(utc(2026, 6, 1, 10, 12, 0), UP_TO_DATE);
    cluster.restart();
    cluster.wait_scheduler();
    cluster.advance_clock(utc(2026, 6, 1, 10, 22, 0), UP_TO_DATE);
    assert_eq!(cluster.story(jobs.all), Vec::<String>::new());
    cluster.sql("select cron.resume('all')");
    cluster.wait_story(jobs.all, &["10:10 catch_up", "10:20 catch_up"]);
    cluster.audit();
}

#[test]
fn a_skip_lengthens_one_row_of_two_that_end_alike() {
    let cluster = Cluster::start();
    cluster.sql("select cron.create_calendar('never')");
    cluster.create_job(&json!({
        "job_name": "closed", "schedule": "1 second", "command": "select 1", "only_on": ["never"],
    }));
    // They are written when somebody wants to know.
    let wait = |what: &str| {
        poll_until(what, PATIENCE, || {
            cluster.flush();
            cluster.one::<bool>(&format!("select {what}")).then_some(())
        });
    };
    wait("exists (select from cron.job_skip where count > 1)");
    // As a clock leaves them that was set back.
    cluster.sql(
        "insert into cron.job_skip select jobid, reason, last_at, last_at, 1 from cron.job_skip",
    );
    let before: i64 = cluster.one("select max(count) from cron.job_skip");
    wait("(select count(distinct last_at) = 2 from cron.job_skip)");
    let counts: Vec<i64> = cluster.column("select count from cron.job_skip order by last_at");
    assert_eq!((counts.len(), counts[0]), (2, before), "{counts:?}");
}
