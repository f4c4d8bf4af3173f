//! Jobs that wait for others: `run_after`.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until, stays_true, utc};
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

#[test]
fn a_job_that_comes_again_is_waited_for_by_its_name() {
    let cluster = Cluster::start();
    let before = job(&cluster, "first", "select 1 / 0", &[]);
    cluster.wait_known();
    let second = job(&cluster, "second", "select 1", &["first"]);
    poll_until("a skipped occurrence", PATIENCE, || {
        (skipped_for_upstream(&cluster, second) >= 1).then_some(())
    });
    cluster.sql("select cron.unschedule('first')");
    let first = job(&cluster, "first", "select pg_sleep(0.1)", &[]);
    assert_ne!(first, before);
    cluster.wait_known();
    let runs = poll_until("runs that have waited", PATIENCE, || {
        let mut runs = cluster.finished_runs_of(second);
        runs.retain(|run| run.trigger == "dependency");
        (runs.len() >= 2).then_some(runs)
    });
    let upstream = cluster.finished_runs_of(first);
    for run in runs {
        let own = upstream.iter().find(|other| other.scheduled_for == run.scheduled_for).unwrap();
        assert!(own.end_time <= run.start_time, "{own:#?} {run:#?}");
    }
    cluster.audit();
}

/// What `cron.diagnose` says of a job.
fn findings(cluster: &Cluster, job: i64) -> Vec<String> {
    cluster.column(&format!("select finding from cron.diagnose({job})"))
}

#[test]
fn a_cycle_made_in_the_table_keeps_its_jobs_waiting_and_nobody_else() {
    let cluster = Cluster::start();
    let first = job(&cluster, "first", "select 1", &[]);
    let second = job(&cluster, "second", "select 1", &["first"]);
    let alone = job(&cluster, "alone", "select 1", &[]);
    let other = job(&cluster, "other", "select 1", &[]);
    let _ = (cluster.finished_run(second), cluster.finished_run(alone));
    cluster.sql(&format!("update cron.job set run_after = '{{second}}' where jobid = {first}"));
    cluster.sql(&format!("update cron.job set run_after = '{{alone}}' where jobid = {alone}"));
    // Each of them waits, and says so.
    for job in [first, second, alone] {
        poll_until("it waits", PATIENCE, || {
            findings(&cluster, job).contains(&"waits for upstream".to_owned()).then_some(())
        });
    }
    let ran = |job: i64| cluster.finished_runs_of(job).len();
    let (waiting, going) = ([ran(first), ran(second), ran(alone)], ran(other));
    let _ = cluster.finished_runs(other, going + 3);
    assert_eq!([ran(first), ran(second), ran(alone)], waiting);
    // Once that is undone they go on.
    cluster.sql("select cron.set_job('first', '{\"run_after\": null}')");
    cluster.sql("select cron.set_job('alone', '{\"run_after\": null}')");
    let _ = cluster.finished_runs(second, waiting[1] + 2);
    let _ = cluster.finished_runs(alone, waiting[2] + 2);
    cluster.audit();
}

const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

/// A server before eleven, with a job `first` that is due each hour and has these options, and one
/// that waits for it at a quarter to the next: the ids of both.
fn hours(minute: i64, first: serde_json::Value) -> (Cluster, i64, i64) {
    let cluster = Cluster::builder()
        .clock(utc(2026, 6, 1, 10, minute, 0))
        .conf("timezone", "UTC")
        .conf("cron.timezone", "UTC")
        .start();
    cluster.sql("create sequence tries; create table seen (low timestamptz, high timestamptz)");
    let mut options = json!({
        "job_name": "first", "schedule": "0 * * * *", "retry_on": "any", "retry_delay": "3 seconds",
    });
    options.as_object_mut().unwrap().extend(first.as_object().unwrap().clone());
    let first = cluster.create_job(&options);
    let second = cluster.create_job(&json!({
        "job_name": "second", "schedule": "45 * * * *", "command": "select 1", "run_after": ["first"],
    }));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    (cluster, first, second)
}

/// Lets the clock go on to 11:45, when the second job is due.
fn until_the_second_is_due(cluster: &Cluster) {
    cluster.advance_clock(utc(2026, 6, 1, 11, 45, 10), UP_TO_DATE);
}

#[test]
fn a_backfill_that_is_tried_again_lets_those_go_on_who_wait() {
    let fails_once = json!({"command": "select 1 / (nextval('tries') - 1)", "max_attempts": 2});
    let (cluster, first, second) = hours(50, fails_once);
    cluster.step_clock(40 * 60);
    cluster.wait_for(UP_TO_DATE);
    assert_eq!(cluster.skipped(first), ["missed 11:00 to 11:00: 1"]);
    cluster.sql("select cron.backfill('first', '2026-06-01 11:00', '2026-06-01 11:00')");
    cluster.wait_story(first, &["11:00 backfill failed", "11:00 retry"]);
    until_the_second_is_due(&cluster);
    cluster.wait_story(second, &["11:45 dependency"]);
    cluster.audit();
}

#[test]
fn a_success_by_backfill_is_known_to_the_next_scheduler() {
    let (cluster, first, second) = hours(50, json!({"command": "select 1"}));
    cluster.step_clock(40 * 60);
    cluster.wait_for(UP_TO_DATE);
    cluster.sql("select cron.backfill('first', '2026-06-01 11:00', '2026-06-01 11:00')");
    cluster.wait_story(first, &["11:00 backfill"]);
    // What it was asked for by is seen to before the server stops; whatever was not is when it starts.
    cluster.restart();
    until_the_second_is_due(&cluster);
    cluster.wait_story(second, &["11:45 dependency"]);
    cluster.audit();
}

#[test]
fn a_success_by_retry_is_known_after_a_crash() {
    let command = "do $$ begin if nextval('tries') = 1 then raise 'no'; end if; \
        perform pg_advisory_xact_lock_shared(7); \
        insert into seen select window_start, window_end from cron.current_run(); end $$";
    // Whether the scheduler had time to hear of the success.
    for heard in [true, false] {
        let (cluster, first, second) = hours(59, json!({"command": command, "max_attempts": 2}));
        let mut gate = cluster.client();
        gate.batch_execute("select pg_advisory_lock(7)").unwrap();
        cluster.step_clock(60);
        cluster.wait_story(first, &["11:00 schedule failed"]);
        // The occurrence is accounted for before it succeeds.
        cluster.wait_for(&format!(
            "(select cursor >= '2026-06-01 11:00' from cron.job_state where jobid = {first}) \
             and cron.flush()"
        ));
        let _ = cluster.executor_of(first);
        if !heard {
            pg_tock_test::signal(cluster.wait_scheduler(), rustix::process::Signal::STOP);
        }
        drop(gate);
        cluster.wait_for("exists (select from seen)");
        cluster.crash();
        let _ = cluster.wait_scheduler();
        cluster.advance_clock(utc(2026, 6, 1, 12, 0, 10), UP_TO_DATE);
        cluster.wait_story(first, &["11:00 schedule failed", "11:00 retry", "12:00 schedule"]);
        let windows: Vec<String> = cluster.column(
            "select format('%s to %s', low::time(0), high::time(0)) from seen order by high",
        );
        assert_eq!(windows[1..], ["11:00:00 to 12:00:00"], "{windows:?}, heard: {heard}");
        cluster.wait_story(second, &["11:45 dependency"]);
        cluster.audit();
    }
}

/// Waits until the first job's occurrence at eleven has failed for good, and resolves it.
fn resolve(cluster: &Cluster, first: i64) {
    cluster.wait_story(first, &["11:00 schedule failed"]);
    cluster.wait_for("exists (select from cron.dead_letters)");
    cluster.sql("select cron.resolve_run(runid, 'succeeded') from cron.dead_letters");
}

#[test]
fn what_was_resolved_as_succeeded_keeps_nobody_from_running() {
    for restarted in [false, true] {
        let (cluster, first, second) = hours(59, json!({"command": "select 1 / 0"}));
        cluster.step_clock(60);
        resolve(&cluster, first);
        if restarted {
            cluster.restart();
        }
        until_the_second_is_due(&cluster);
        cluster.wait_story(second, &["11:45 dependency"]);
        cluster.audit();
    }
}

#[test]
fn what_was_resolved_before_its_retry_was_written_keeps_nobody_waiting() {
    for (outcome, story) in [("succeeded", &["11:45 dependency"] as &[&str]), ("failed", &[])] {
        let fails_at_eleven = json!({
            "command": "select 1 / (current_setting('cron.scheduled_for') < '2026-06-01 10')::int",
            "max_attempts": 2,
        });
        let (cluster, first, second) = hours(59, fails_at_eleven);
        // Who asks for runs of the job keeps its retries waiting.
        let mut client = cluster.client();
        client
            .batch_execute(
                "begin; select cron.backfill('first', '2026-06-01 09:00', '2026-06-01 09:00')",
            )
            .unwrap();
        cluster.step_clock(60);
        cluster.wait_story(first, &["11:00 schedule failed"]);
        client
            .batch_execute(&format!(
                "select cron.resolve_run(runid, '{outcome}') from cron.job_run_details \
                 where trigger = 'schedule' and jobname = 'first'; commit"
            ))
            .unwrap();
        until_the_second_is_due(&cluster);
        if story.is_empty() {
            assert_eq!(cluster.skipped(second), ["upstream 11:45 to 11:45: 1"]);
        }
        cluster.wait_story(second, story);
        assert_eq!(cluster.story(first), ["09:00 backfill", "11:00 schedule failed"]);
        cluster.audit();
    }
}

/// A job whose occurrence at the instant in table `bad`, if there is one, fails each time.
fn fails_once_in_a_while(cluster: &Cluster, attempts: i64) -> i64 {
    cluster.sql("create table bad (at timestamptz)");
    let fails = "(select at from bad) = current_setting('cron.scheduled_for')::timestamptz";
    cluster.create_job(&json!({
        "job_name": "first", "schedule": EVERY_OTHER_SECOND, "max_attempts": attempts,
        "retry_on": "any", "retry_delay": "5 seconds",
        "command": format!("select 1 / (case when {fails} then 0 else 1 end)"),
    }))
}

/// Has an occurrence to come fail, and waits until it has and a later one has succeeded: its instant.
fn fails_before_a_success(cluster: &Cluster, first: i64) -> String {
    cluster.sql(
        "insert into bad select to_timestamp(2 * ceil(extract(epoch from clock_timestamp()) / 2) + 6)",
    );
    let run = "exists (select from cron.job_run_details, bad where jobid =";
    cluster.wait_for(&format!("{run} {first} and status = 'failed' and scheduled_for = at)"));
    cluster.wait_for(&format!("{run} {first} and status = 'succeeded' and scheduled_for > at)"));
    cluster.one("select at::text from bad")
}

/// Waits until a job has run for an instant after that one, which it has skipped.
fn skips_that_one(cluster: &Cluster, second: i64, at: &str) {
    let runs = format!("from cron.job_run_details where jobid = {second} and status = 'succeeded'");
    cluster.wait_for(&format!("exists (select {runs} and scheduled_for > '{at}')"));
    cluster.flush();
    let ran: i64 = cluster.one(&format!(
        "select count(*) from cron.job_run_details where jobid = {second} and scheduled_for = '{at}'"
    ));
    assert_eq!(ran, 0, "it ran although what it waits for has failed");
    cluster.wait_for(&format!(
        "exists (select from cron.job_skip where jobid = {second} and reason = 'upstream' \
          and first_at <= '{at}' and last_at >= '{at}')"
    ));
    cluster.audit();
}

#[test]
fn a_later_success_does_not_stand_in_for_what_is_tried_again_and_fails() {
    let cluster = Cluster::start();
    let first = fails_once_in_a_while(&cluster, 2);
    cluster.wait_known();
    let second = job(&cluster, "second", "select 1", &["first"]);
    cluster.wait_known();
    let at = fails_before_a_success(&cluster, first);
    skips_that_one(&cluster, second, &at);
    let attempts: i64 = cluster.one(&format!(
        "select count(*) from cron.job_run_details where jobid = {first} and scheduled_for = '{at}'"
    ));
    assert_eq!(attempts, 2);
}

#[test]
fn a_failure_before_somebody_waited_is_known_once_the_ledger_can_be_read() {
    let cluster = Cluster::start();
    let first = fails_once_in_a_while(&cluster, 1);
    let name = |name: &str| {
        cluster.sql(&format!("update cron.job set jobname = '{name}' where jobid = {first}"));
    };
    name("other");
    let _ = job(&cluster, "first", "select 1 / 0", &[]);
    cluster.wait_known();
    let second = job(&cluster, "second", "select pg_advisory_xact_lock_shared(7)", &["first"]);
    cluster.wait_known();
    // From now on it waits for nobody.
    cluster.sql("select cron.unschedule('first')");
    let _ = cluster.finished_runs(second, 1);
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let _ = cluster.executor_of(second);
    let at = fails_before_a_success(&cluster, first);
    let mut lock = cluster.client();
    lock.batch_execute("begin; lock table cron.job_run_details in access exclusive mode").unwrap();
    name("first");
    stays_true("the scheduler looks for whom it waits", Duration::from_secs(2), || {
        cluster.one("select exists (select from cron.running where jobname = 'second')")
    });
    lock.batch_execute("commit").unwrap();
    // It looks again before the second instant from now.
    let runs = format!("(select count(*) from cron.job_run_details where jobid = {first}");
    let now: String = cluster.one("select clock_timestamp()::text");
    cluster.wait_for(&format!("{runs} and status = 'succeeded' and scheduled_for > '{now}') >= 2"));
    drop(gate);
    skips_that_one(&cluster, second, &at);
}

#[test]
fn a_later_success_does_not_make_up_for_a_failure_before_a_restart() {
    let cluster = Cluster::start();
    let first = fails_once_in_a_while(&cluster, 1);
    cluster.wait_known();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let second = cluster.create_job(&json!({
        "job_name": "second", "schedule": EVERY_OTHER_SECOND, "on_missed": "all",
        "command": "select pg_advisory_xact_lock_shared(7)", "run_after": ["first"],
    }));
    // It runs for an instant before, and that one waits behind it.
    let _ = cluster.executor_of(second);
    let at = fails_before_a_success(&cluster, first);
    drop(gate);
    cluster.crash();
    let _ = cluster.wait_scheduler();
    skips_that_one(&cluster, second, &at);
}
