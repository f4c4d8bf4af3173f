//! A run's effects and its `succeeded` row are one commit: whatever is killed, whenever.

use pg_tock_test::{Cluster, PATIENCE, poll_until, stays_true};
use serde_json::json;
use std::time::Duration;

/// Jobs that each leave one row in `effect` per run, with a moment in the middle to be killed in.
fn load(cluster: &Cluster, jobs: i32) {
    cluster.sql("create table effect (job int, at timestamptz default clock_timestamp())");
    for n in 0..jobs {
        cluster.schedule(
            &format!("job {n}"),
            "1 second",
            &format!("insert into effect values ({n}); select pg_sleep(0.02)"),
        );
    }
}

/// Jobs whose effects and `succeeded` rows differ. One statement, so one snapshot: this holds at
/// every instant, not only at the end.
const DIFFERENCES: &str = "select format('%s: %s effects, %s rows', j.jobname, e.n, r.n) \
    from cron.job j, \
    lateral (select count(*) n from effect where job = substr(j.jobname, 5)::int) e, \
    lateral (select count(*) n from cron.job_run_details d \
             where d.jobid = j.jobid and d.status = 'succeeded') r \
    where j.jobname like 'job %' and e.n <> r.n";

fn effects(cluster: &Cluster) -> i64 {
    cluster.one("select count(*) from effect")
}

/// Waits for `more` effects beyond those there are.
#[track_caller]
fn work_on(cluster: &Cluster, more: i64) {
    let before = effects(cluster);
    poll_until(&format!("{more} more effects"), PATIENCE, || {
        (effects(cluster) >= before + more).then_some(())
    });
}

#[track_caller]
fn check_balance(cluster: &Cluster) {
    // It looks at jobs that are active.
    cluster.audit();
    cluster.stop_all_jobs();
    assert_eq!(cluster.column::<String>(DIFFERENCES), Vec::<String>::new());
    let doubled: i64 = cluster.one(
        "select count(*) from (select from cron.job_run_details where status = 'succeeded' \
         group by jobid, scheduled_for having count(*) > 1) twice",
    );
    assert_eq!(doubled, 0, "an occurrence succeeded twice");
}

/// What a crash left to be caught up brings the server down before it would have a row.
#[test]
fn what_is_caught_up_is_claimed_whichever_scheduler_does_it() {
    let cluster = Cluster::start();
    cluster.sql("select cron.create_queue('narrow', max_running => 1)");
    let job = |name: &str, priority: i32| {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "1 second", "command": "select pg_sleep(3600)",
            "queue": "narrow", "priority": priority, "on_missed": "once", "on_overlap": "skip",
        }))
    };
    let (first, second) = (job("first", 100), job("second", 0));
    let executor = cluster.executor_of(first);
    cluster.wait_for("exists (select from cron.job_run_details where jobname = 'first')");
    // Both are caught up after the crash; the second waits, also for the next scheduler.
    cluster.crash_by_killing(executor);
    let executor = cluster.executor_of(first);
    cluster.terminate(cluster.wait_scheduler());
    let _ = cluster.wait_scheduler();
    cluster.wait_known();
    assert!(cluster.runs_of(second).is_empty());
    cluster.sql("select cron.pause('first'::text)");
    cluster.terminate(executor);
    cluster.crash_by_killing(cluster.executor_of(second));
    let runs = poll_until("the run that was caught up is over", PATIENCE, || {
        Some(cluster.finished_runs_of(second)).filter(|runs| !runs.is_empty())
    });
    let ends: Vec<_> =
        runs.iter().map(|run| (run.trigger.as_str(), run.outcome.as_deref())).collect();
    assert_eq!(ends, [("catch_up", Some("crashed"))]);
}

/// A run that was claimed before its condition was asked says so however it ends, and to whomever.
#[test]
fn a_run_that_was_claimed_early_is_known_as_such_to_the_next_scheduler() {
    let cluster = Cluster::start();
    let job = cluster.create_job(&json!({
        "job_name": "claimed", "schedule": "1 second", "command": "select 1",
        "on_missed": "once", "on_overlap": "skip", "run_if": "(select true from pg_sleep(3600))",
    }));
    // What a crash left to be caught up is claimed.
    cluster.crash_by_killing(cluster.executor_of(job));
    let executor = cluster.executor_of(job);
    cluster.wait_for("exists (select from cron.job_run_details where trigger = 'catch_up')");
    cluster.terminate(cluster.wait_scheduler());
    let _ = cluster.wait_scheduler();
    cluster.wait_known();
    cluster.terminate(executor);
    cluster.wait_for("exists (select from cron.job_run_details where outcome is not null)");
    let ends: Vec<String> = cluster.column(
        "select concat_ws(' ', trigger, outcome, guarantee) from cron.job_run_details \
         where outcome is not null",
    );
    assert_eq!(ends, ["catch_up cancelled at_most_once"]);
}

#[test]
fn effects_equal_succeeded_rows_at_every_instant() {
    let cluster = Cluster::start();
    load(&cluster, 20);
    work_on(&cluster, 20);
    stays_true("effects equal rows", Duration::from_secs(3), || {
        cluster.column::<String>(DIFFERENCES).is_empty()
    });
    check_balance(&cluster);
}

#[test]
fn executors_killed_under_load_leave_effects_equal_to_succeeded_rows() {
    let cluster = Cluster::start();
    load(&cluster, 20);
    for round in 0..6 {
        work_on(&cluster, 30);
        let busy = poll_until("a busy executor", PATIENCE, || {
            let busy: Vec<i32> = cluster.column(
                "select pid from pg_stat_activity where backend_type = 'pg_tock executor' \
                 and state = 'active' order by random() limit 1",
            );
            busy.first().copied()
        });
        cluster.crash_by_killing(busy);
        cluster.wait_scheduler();
        assert_eq!(cluster.column::<String>(DIFFERENCES), Vec::<String>::new(), "round {round}");
    }
    work_on(&cluster, 20);
    check_balance(&cluster);
}

#[test]
fn an_immediate_stop_under_load_leaves_effects_equal_to_succeeded_rows() {
    let cluster = Cluster::start();
    load(&cluster, 20);
    for _ in 0..3 {
        work_on(&cluster, 30);
        cluster.stop_immediately();
        cluster.boot();
        cluster.wait_scheduler();
        assert_eq!(cluster.column::<String>(DIFFERENCES), Vec::<String>::new());
    }
    check_balance(&cluster);
}

#[test]
fn terminated_executors_leave_effects_equal_to_succeeded_rows() {
    let cluster = Cluster::start();
    load(&cluster, 20);
    for _ in 0..10 {
        work_on(&cluster, 10);
        cluster.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where backend_type = 'pg_tock executor'",
        );
    }
    check_balance(&cluster);
}

#[test]
fn a_deferred_constraint_that_fails_at_commit_is_a_failure_without_effects() {
    let cluster = Cluster::start();
    cluster.sql("create table parent (id int primary key)");
    cluster.sql(
        "create table child (id int, parent int constraint has_parent references parent \
         deferrable initially deferred)",
    );
    let run = cluster.run_once("insert into child values (1, 99)").must_have_failed_with("23503");
    assert_eq!(run.outcome.as_deref(), Some("failed"));
    assert_eq!(run.error_field("constraint"), "has_parent");
    assert_eq!(run.error_field("table"), "child");
    assert_eq!(run.error_field("schema"), "public");
    cluster.wait_quiet();
    assert_eq!(cluster.one::<i64>("select count(*) from child"), 0);

    let run = cluster.run_once("begin; insert into child values (1, 99); commit");
    let _ = run.must_have_failed_with("23503");
    assert_eq!(cluster.one::<i64>("select count(*) from child"), 0);
}

#[test]
fn a_lost_scheduler_neither_stops_nor_repeats_a_run() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (at timestamptz)");
    let job = cluster.schedule(
        "long",
        "1 second",
        "insert into effect values (now()); select pg_sleep(4)",
    );
    let executor = cluster.executor_of(job);
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    let next = poll_until("a new scheduler", PATIENCE, || {
        cluster.pids_of("pg_tock scheduler").into_iter().find(|pid| *pid != scheduler)
    });
    assert_ne!(next, scheduler);
    let run = cluster.finished_run(job).must_have_succeeded();
    assert_eq!(run.job_pid, Some(executor), "the executor finished what it had begun");
    let _ = cluster.finished_runs(job, 2);
    cluster.audit();
    cluster.stop_all_jobs();

    let overlapping: i64 = cluster.one_with(
        "select count(*) from cron.job_run_details a join cron.job_run_details b using (jobid) \
         where jobid = $1 and a.runid < b.runid \
         and tstzrange(a.start_time, a.end_time) && tstzrange(b.start_time, b.end_time)",
        &[&job],
    );
    assert_eq!(overlapping, 0, "never two at a time");
    assert_eq!(
        cluster.one::<i64>("select count(*) from cron.job_run_details where end_time is null"),
        0
    );
    let succeeded = cluster.runs_of(job).iter().filter(|run| run.status == "succeeded").count();
    assert_eq!(usize::try_from(effects(&cluster)).unwrap(), succeeded);
}

#[test]
fn schedulers_lost_again_and_again_lose_and_repeat_nothing() {
    let cluster = Cluster::start();
    load(&cluster, 10);
    for _ in 0..5 {
        work_on(&cluster, 10);
        let scheduler = cluster.wait_scheduler();
        cluster.terminate(scheduler);
        assert_eq!(cluster.column::<String>(DIFFERENCES), Vec::<String>::new());
    }
    work_on(&cluster, 20);
    check_balance(&cluster);
}

#[test]
fn a_run_interrupted_by_a_crash_is_closed_as_such() {
    let cluster = Cluster::start();
    let job = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    let run = cluster.run_in_status(job, "running");
    // That row was committed asynchronously: another commit takes it to disk.
    cluster.sql("create table flushes_wal ()");
    cluster.stop_immediately();
    cluster.boot();
    let closed = poll_until("the interrupted run is closed", PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|closed| closed.runid == run.runid)
    });
    assert_eq!(closed.status, "failed");
    assert_eq!(closed.return_message, "server restarted");
    assert_eq!(closed.outcome.as_deref(), Some("crashed"));
    assert!(closed.end_time.is_some());
    cluster.audit();
}

#[test]
fn a_killed_scheduler_is_a_crash_that_everything_survives() {
    let cluster = Cluster::start();
    load(&cluster, 5);
    work_on(&cluster, 5);
    let scheduler = cluster.wait_scheduler();
    cluster.crash_by_killing(scheduler);
    assert_ne!(cluster.wait_scheduler(), scheduler);
    work_on(&cluster, 5);
    check_balance(&cluster);
}

#[test]
fn nothing_begins_before_it_is_due() {
    let cluster = Cluster::start();
    // Short and long sleeps in between, those that follow each other closely among them.
    for (name, schedule) in [
        ("a", "1 second"),
        ("b", "seconds: * * * * * *"),
        ("c", "every 3 seconds"),
        ("d", "seconds: */2 * * * * *"),
    ] {
        let _ = cluster.schedule(name, schedule, "select 1");
    }
    cluster.wait_for(
        "(select count(*) = 4 from (select jobid from cron.job_run_details \
           group by jobid having count(*) >= 4) jobs)",
    );
    let early: Vec<String> = cluster.column(
        "select format('%s: due %s, begun %s', jobname, scheduled_for, start_time) \
         from cron.job_run_details where start_time < scheduled_for",
    );
    assert!(early.is_empty(), "{early:#?}");
}
