//! `cron.health`, when all is well and when nothing is.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of scenarios, which fail by panicking"
)]

use pg_tock_test::{Cluster, PATIENCE, poll_until};
use postgres::Client;

/// Status and reasons.
fn health(client: &mut Client, view: &str) -> (String, Vec<String>) {
    let row = client
        .query_one(&format!("select status, reasons from cron.{view}"), &[])
        .unwrap_or_else(|error| panic!("{}", pg_tock_test::explain(&error)));
    (row.get(0), row.get(1))
}

fn healthy(cluster: &Cluster) {
    cluster.wait_for("(select status = 'healthy' and reasons = '{}' from cron.health)");
}

/// Waits for this status with a reason that contains the words.
fn becomes(cluster: &Cluster, status: &str, words: &str) {
    cluster.wait_for(&format!(
        "(select status = '{status}' and array_to_string(reasons, '|') ~ '{words}' from cron.health)"
    ));
}

#[test]
fn a_server_where_jobs_run_is_healthy() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    healthy(&cluster);
    let (pid, alive): (i32, bool) = {
        let row = &cluster.rows("select scheduler_pid, scheduler_alive from cron.health", &[])[0];
        (row.get(0), row.get(1))
    };
    assert!(alive);
    assert_eq!(
        pid,
        cluster.one::<i32>(
            "select pid from pg_stat_activity where backend_type = 'pg_tock scheduler'"
        )
    );
    assert!(!cluster.one::<bool>("select in_recovery from cron.health"));
    assert!(cluster.one::<bool>("select slots > 0 and jobs = 1 from cron.health"));
}

#[test]
fn what_is_wrong_with_jobs_is_a_warning() {
    let cluster = Cluster::builder().conf("max_worker_processes", "12").start();
    healthy(&cluster);
    let failing = cluster.schedule("failing", "1 second", "select 1/0");
    becomes(&cluster, "warning", "last run failed: 1 .failing.");
    assert_eq!(cluster.one::<i64>("select failing_jobs from cron.health"), 1);
    // Another attempt may help.
    cluster.sql(&format!("select cron.set_job({failing}, '{{\"schedule\": \"0 0 1 1 *\"}}')"));
    cluster.sql("select cron.set_job('failing', '{\"max_attempts\": 2, \"retry_on\": \"any\", \"retry_delay\": \"1 hour\"}')");
    cluster.sql("select cron.run_now('failing')");
    cluster.wait_for("exists (select from cron.run_request where trigger = 'retry')");
    cluster.wait_for("(select failing_jobs = 0 from cron.health)");
    cluster.unschedule(failing);
    healthy(&cluster);
    let broken = cluster.schedule("broken", "1 second", "select 1");
    cluster.sql(&format!("update cron.job set schedule = 'nonsense' where jobid = {broken}"));
    becomes(&cluster, "warning", "cannot run, see cron.jobs: 1$");
    cluster.sql(&format!("update cron.job set active = false where jobid = {broken}"));
    healthy(&cluster);
    cluster.unschedule(broken);
    cluster.sql("select cron.create_job('stuck', '1 second', 'select pg_sleep(3600)', stuck_after => '1 second')");
    becomes(&cluster, "warning", "stuck, see cron.running: 1$");
    cluster.stop_all_jobs();
    healthy(&cluster);
    cluster.conf("cron.launch_active_jobs", "off");
    cluster.reload();
    becomes(&cluster, "warning", "launch_active_jobs");
}

/// Failing jobs, by the views.
fn failing_everywhere(cluster: &Cluster, jobs: i64) {
    poll_until(&format!("{jobs} failing jobs everywhere"), PATIENCE, || {
        let failing: Vec<i64> = cluster.column(
            "select failing_jobs from cron.health union all select failing_jobs from cron.monitor_health \
             union all select value::bigint from cron.metrics where name = 'pg_tock_jobs_failing'",
        );
        (failing == [jobs; 3]).then_some(())
    });
}

#[test]
fn failures_that_somebody_has_seen_to_are_over() {
    let cluster = Cluster::start();
    healthy(&cluster);
    let bad = cluster.schedule("bad", "@yearly", "select 1/0");
    let fail =
        || cluster.one::<i64>("select runid from cron.run_now('bad'::text, wait => true) as runid");
    let diagnosed = |finding: &str| {
        cluster.one::<bool>(&format!(
            "select exists (select from cron.diagnose({bad}) where finding = '{finding}')"
        ))
    };
    let first = fail();
    // At once: what is resolved may not have been counted yet.
    cluster.sql(&format!("select cron.resolve_run({first}, 'succeeded', 'by hand')"));
    cluster.wait_for("(select failed_runs = 1 and consecutive_failures = 0 from cron.job_stats)");
    failing_everywhere(&cluster, 0);
    healthy(&cluster);
    assert!(!diagnosed("failing"));
    cluster.wait_for(&format!(
        "exists (select from cron.diagnose({bad}) where finding = 'nothing wrong')"
    ));
    let (second, third) = (fail(), fail());
    failing_everywhere(&cluster, 1);
    becomes(&cluster, "warning", "last run failed: 1 .bad.");
    assert!(diagnosed("failing"));
    // The newest counts.
    cluster.sql(&format!("select cron.resolve_run({second}, 'failed', 'known')"));
    cluster.sql("select cron.flush()");
    failing_everywhere(&cluster, 1);
    cluster.sql(&format!("select cron.resolve_run({third}, 'failed', 'known')"));
    failing_everywhere(&cluster, 0);
    assert!(!diagnosed("failing"));
    let _ = fail();
    failing_everywhere(&cluster, 1);
    cluster.sql("select cron.reset_stats('bad')");
    failing_everywhere(&cluster, 0);
    healthy(&cluster);
    // A run that somebody ended says nothing about its job.
    let _ = cluster.schedule("long", "@yearly", "select pg_sleep(3600)");
    let run: i64 = cluster.one("select cron.run_now('long')");
    cluster.wait_for(&format!("exists (select from cron.running where runid = {run})"));
    cluster.sql(&format!("select cron.cancel_run({run})"));
    cluster.wait_for("(select cancelled_runs = 1 from cron.job_stats where jobname = 'long')");
    failing_everywhere(&cluster, 0);
    healthy(&cluster);
}

/// Jobs that cannot run, by the views and by the check.
fn broken_everywhere(cluster: &Cluster) -> Vec<i64> {
    let states = "('remote node', 'invalid schedule', 'invalid options', 'owner missing', \
                   'owner cannot log in', 'superuser jobs disabled', 'database missing')";
    let mut broken: Vec<i64> = cluster.column(&format!(
        "select count(*) from cron.jobs where state in {states} \
         union all select count(*) from cron.monitor_jobs where state in {states} \
         union all select cron.broken_jobs() \
         union all select broken_jobs from cron.health \
         union all select broken_jobs from cron.monitor_health \
         union all select value::bigint from cron.metrics where name = 'pg_tock_jobs_broken'"
    ));
    let (_, text) = cluster.check(&[]);
    let told = text.split(" broken=").nth(1).and_then(|rest| rest.split(';').next());
    broken.extend(told.and_then(|number| number.parse::<i64>().ok()));
    broken
}

fn all_say_broken(cluster: &Cluster, jobs: i64) {
    poll_until(&format!("{jobs} broken jobs everywhere"), PATIENCE, || {
        let broken = broken_everywhere(cluster);
        eprintln!("broken jobs: {broken:?}");
        (broken == [jobs; 7]).then_some(())
    });
}

#[test]
fn jobs_that_cannot_run_are_counted_alike_everywhere() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create database elsewhere");
    healthy(&cluster);
    let _ = cluster.schedule_as("ann", "hers", "@yearly", "select 1");
    cluster.sql("select cron.create_job('there', '@yearly', 'select 1', database => 'elsewhere')");
    for name in ["nodeless", "senseless", "ownerless", "off"] {
        let _ = cluster.schedule(name, "@yearly", "select 1");
    }
    all_say_broken(&cluster, 0);
    cluster.sql("alter role ann nologin");
    all_say_broken(&cluster, 1);
    becomes(&cluster, "warning", "cannot run, see cron.jobs: 1$");
    assert_eq!(cluster.check(&[]).0, 1);
    cluster.sql("drop database elsewhere");
    all_say_broken(&cluster, 2);
    cluster.sql("update cron.job set nodename = 'another' where jobname = 'nodeless'");
    cluster.sql("update cron.job set schedule = 'nonsense' where jobname = 'senseless'");
    cluster.sql("update cron.job set username = 'nobody at all' where jobname = 'ownerless'");
    all_say_broken(&cluster, 5);
    cluster.sql("update cron.job set active = false, database = 'nowhere' where jobname = 'off'");
    cluster.sql("alter role ann login");
    all_say_broken(&cluster, 4);
    // What has no turn at all does not wait for somebody to mend it.
    cluster.conf("cron.launch_active_jobs", "off");
    cluster.reload();
    all_say_broken(&cluster, 0);
    cluster.conf("cron.launch_active_jobs", "on");
    cluster.conf("cron.enable_superuser_jobs", "off");
    cluster.restart();
    // All but hers and the one that is off.
    all_say_broken(&cluster, 4);
    cluster.sql("update cron.job set active = true, database = 'postgres' where jobname = 'off'");
    all_say_broken(&cluster, 5);
    let state: String = cluster.one("select state from cron.jobs where jobname = 'off'");
    assert_eq!(state, "superuser jobs disabled");
}

#[test]
fn executors_in_use_are_counted_and_one_sees_what_runs_wait_for() {
    let cluster = Cluster::start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(1)").expect("a lock");
    let in_use = |count: usize| {
        cluster.wait_for(&format!(
            "(select slots_in_use = {count} and running = {count} from cron.health)"
        ));
        cluster.wait_for(&format!(
            "(select slots_in_use = {count} and slots > {count} from cron.monitor_health)"
        ));
        assert_eq!(cluster.pids_of("pg_tock executor").len(), count);
    };
    assert_eq!(cluster.one::<i32>("select slots_in_use from cron.health"), 0);
    cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    in_use(1);
    cluster.schedule("locked", "1 second", "select pg_advisory_xact_lock(1)");
    in_use(2);
    cluster.wait_for(
        "(select string_agg(concat_ws(' ', jobname, wait_event_type, wait_event), ', ' \
           order by jobname) = 'locked Lock advisory, nap Timeout PgSleep' from cron.running)",
    );
    // One that computes waits for nothing.
    cluster.schedule("busy", "1 second", "do $$ begin loop end loop; end $$");
    in_use(3);
    cluster.wait_for(
        "(select wait_event_type is null and wait_event is null from cron.running \
          where jobname = 'busy')",
    );
}

/// What waits behind a run of its own job has an age, and alarms nobody: that is what was asked for.
#[test]
fn what_waits_behind_its_own_jobs_run_has_an_age() {
    let cluster = Cluster::start();
    let long = cluster.schedule("long", "1 second", "select pg_sleep(3600)");
    let run = cluster.run_in_status(long, "running");
    for view in ["health", "monitor_health"] {
        cluster
            .wait_for(&format!("(select waiting > 0 and waited > '2 seconds' from cron.{view})"));
    }
    cluster.wait_for("(select oldest_waiting is null from cron.scheduler_figures())");
    // It is as old as the instant after that of the run.
    let since: bool = cluster.one_with(
        "select oldest_due = d.scheduled_for + interval '1 second' \
         from cron.scheduler_figures(), cron.job_run_details d where d.runid = $1",
        &[&run.runid],
    );
    assert!(since);
    healthy(&cluster);
    cluster.stop_all_jobs();
    cluster.wait_for("(select waiting = 0 and waited is null from cron.health)");
}

#[test]
fn runs_that_wait_for_long_are_critical_in_the_end() {
    let cluster = Cluster::builder().conf("cron.max_running_jobs", "1").start();
    let long = cluster.schedule("long", "1 second", "select pg_sleep(3600)");
    let _ = cluster.run_in_status(long, "running");
    let waits = cluster.schedule("waits", "1 second", "select 1");
    cluster.wait_for("(select waiting > 0 and waited > '1 second' from cron.health)");
    let _ = waits;
    // The figures are of what waits now, and no older.
    cluster.sql(&format!("select cron.unschedule({waits})"));
    cluster.wait_for("(select oldest_waiting is null from cron.scheduler_figures())");
    cluster.stop_all_jobs();
    cluster.wait_for("(select waiting = 0 and waited is null from cron.health)");
    let judged: Vec<String> = cluster.column(
        "select coalesce(critical[1], warning[1]) from unnest(array['59 s', '61 s', '299 s', '301 s']) waited, \
         cron.judge_health(true, false, 1, 1, now(), null, true, waited::interval, false, 0, null, 0, 0, now()) \
         where critical || warning <> '{}'",
    );
    assert_eq!(judged.len(), 3, "{judged:?}");
    let overdue: Vec<i32> = cluster.column(
        "select cardinality(critical) * 10 + cardinality(warning) from unnest(array['4 s', '6 s', '31 s']) late, \
         cron.judge_health(true, false, 1, 1, now(), late::interval, true, null, false, 0, null, 0, 0, now())",
    );
    assert_eq!(overdue, [0, 1, 10]);
    // Four hours without pruning.
    let pruned: Vec<i32> = cluster.column(
        "select cardinality(warning) from (values (now() - interval '4 hours', null), \
          (now() - interval '4 hours', now() - interval '4 hours'), (now() - interval '4 hours', now()), \
          (now(), now() - interval '4 hours')) v (started, pruned), \
         cron.judge_health(true, false, 1, 1, started, null, true, null, false, 0, null, 0, 0, pruned::timestamptz)",
    );
    assert_eq!(pruned, [1, 1, 0, 0]);
}

#[test]
fn without_a_scheduler_it_is_critical() {
    let cluster = Cluster::start();
    healthy(&cluster);
    // A scheduler that is stopped in its tracks misses what it has announced.
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    let scheduler: i32 = cluster.one("select scheduler_pid from cron.health");
    signal(scheduler, "STOP");
    becomes(&cluster, "warning", "past its announced wake-up");
    signal(scheduler, "CONT");
    cluster.wait_for("(select overdue is null from cron.health)");
    // No launcher, no scheduler: both are away for at least a moment.
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type in \
                ('pg_tock launcher', 'pg_tock scheduler') order by backend_type";
    poll_until("a view without a scheduler", PATIENCE, || {
        cluster.sql(kill);
        let (status, reasons) = health(&mut cluster.client(), "health");
        (status == "critical").then_some(reasons)
    });
    healthy(&cluster);
    let text = poll_until("a check without a scheduler", PATIENCE, || {
        cluster.sql(kill);
        let (code, text) = cluster.check(&[]);
        (code == 2).then_some(text)
    });
    assert!(text.starts_with("PG_TOCK CRITICAL - ") && text.contains("scheduler"), "{text}");
    healthy(&cluster);
}

#[test]
fn a_scheduler_that_takes_no_news_is_overdue() {
    let cluster = Cluster::start();
    let _ = cluster.schedule("rare", "@yearly", "select 1");
    cluster.sql("select cron.flush()");
    healthy(&cluster);
    let scheduler: i32 = cluster.one("select scheduler_pid from cron.health");
    // Its next wake-up is months away, so only what somebody wants of it can tell.
    for wanted in
        ["select cron.run_now('rare')", "select cron.schedule('new', '1 second', 'select 1')"]
    {
        signal(scheduler, "STOP");
        healthy(&cluster);
        cluster.sql(wanted);
        cluster.wait_for("(select overdue > '0 seconds' from cron.health)");
        becomes(&cluster, "warning", "past its announced wake-up");
        assert_eq!(cluster.check(&[]).0, 1);
        signal(scheduler, "CONT");
        cluster.wait_for("(select overdue is null from cron.health)");
        healthy(&cluster);
    }
}

fn signal(pid: i32, name: &str) {
    let done =
        std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()));
}

#[test]
fn a_server_without_the_library_says_so() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let _ = cluster.schedule("tick", "1 second", "select 1");
    cluster.conf("shared_preload_libraries", "");
    // A setting that is only written down does not make a server preload the library.
    cluster.conf("cron.executor_max_age", "60");
    cluster.restart();
    let refused = cluster.try_sql("select * from cron.jobs");
    assert!(refused.is_err());
    for role in ["postgres", "ann"] {
        let (status, reasons) = health(&mut cluster.client_as(role), "health");
        assert_eq!(status, "critical");
        assert!(reasons[0].contains("shared_preload_libraries"), "{reasons:?}");
    }
    let (status, _) = health(&mut cluster.client(), "monitor_health");
    assert_eq!(status, "critical");
    for connection in ["user=postgres", "user=ann"] {
        let (code, text) = cluster.check(&[connection]);
        assert!(code == 2 && text.contains("shared_preload_libraries"), "{code} {text}");
    }
    assert!(!cluster.one::<bool>("select preloaded from cron.health"));
}

#[test]
fn a_standby_says_so() {
    let primary = Cluster::start();
    let job = primary.schedule("tick", "1 second", "select 1");
    let _ = primary.finished_run(job);
    let standby = primary.standby();
    let (status, reasons) = health(&mut standby.client(), "health");
    assert_eq!(status, "critical");
    assert_eq!(reasons, ["this server is a standby: jobs run on its primary"]);
    let out = standby.check(&[]);
    assert_eq!(out.0, 2, "{}", out.1);
    primary.stop();
    standby.promote();
    healthy(&standby);
}

#[test]
fn a_scheduler_that_cannot_read_its_tables_says_so() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let runs = cluster.finished_runs(job, 1).len();
    healthy(&cluster);
    // As if the tables were another release's.
    cluster.sql("alter table cron.queue rename column max_running to most; create role news");
    becomes(&cluster, "warning", "not been able to read its tables for .*: .*max_running");
    becomes(&cluster, "critical", "not been able to read its tables for .*: .*max_running");
    // What it has read goes on meanwhile.
    let _ = cluster.finished_runs(job, runs + 2);
    cluster.sql("alter table cron.queue rename column most to max_running");
    healthy(&cluster);
    // Who sees only his own is told that it is so, and not what the server says.
    cluster.role("ann");
    let mut ann = cluster.client_as("ann");
    let mut holder = cluster.client();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("lock table cron.queue in access exclusive mode").unwrap();
    cluster.sql("create role more_news");
    becomes(&cluster, "warning", "read its tables for .*: somebody has locked one of them");
    let (_, reasons) = health(&mut ann, "health");
    let hers: Vec<&String> = reasons.iter().filter(|why| why.contains("its tables")).collect();
    assert!(hers.len() == 1 && !hers[0].contains("locked"), "{reasons:?}");
    lock.rollback().unwrap();
    healthy(&cluster);
}
