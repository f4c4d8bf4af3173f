//! Servers, databases and extensions come and go.

use pg_tock_test::{Cluster, PATIENCE, poll_until, sqlstate, stays_true};
use std::time::Duration;

#[test]
fn a_fast_shutdown_does_not_wait_for_jobs() {
    let cluster = Cluster::start();
    let jobs: Vec<i64> = (0..5)
        .map(|n| cluster.schedule(&format!("nap {n}"), "1 second", "select pg_sleep(3600)"))
        .collect();
    for job in &jobs {
        let _ = cluster.executor_of(*job);
    }
    cluster.stop();
    cluster.boot();
    cluster.wait_scheduler();
    for job in jobs {
        // Its first run was cut short; if it had a row, the row has an end.
        poll_until("rows of the life before are closed", PATIENCE, || {
            let open = cluster.one_with::<i64>(
                "select count(*) from cron.job_run_details where jobid = $1 and end_time is null \
                 and start_time < pg_postmaster_start_time()",
                &[&job],
            );
            (open == 0).then_some(())
        });
    }
}

#[test]
fn jobs_go_on_after_a_restart() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let before = cluster.finished_runs(job, 2).len();
    cluster.restart();
    let runs = cluster.finished_runs(job, before + 2);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
}

#[test]
fn drop_extension_ends_its_jobs_and_create_begins_anew() {
    let cluster = Cluster::start();
    let nap = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    let _ = cluster.executor_of(nap);
    let tick = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(tick);
    cluster.sql("drop extension pg_tock");
    cluster.wait_for(
        "not exists (select from pg_stat_activity \
         where backend_type = 'pg_tock executor' and state <> 'idle')",
    );
    cluster.sql("create extension pg_tock");
    let job = cluster.schedule("again", "1 second", "select 1");
    let _ = cluster.finished_run(job).must_have_succeeded();
}

#[test]
fn a_job_in_another_database_runs_there_and_is_recorded_here() {
    let cluster = Cluster::start();
    cluster.sql("create database shop");
    cluster
        .client_in("shop")
        .batch_execute("create table sale (at timestamptz default now())")
        .unwrap();
    let job: i64 = cluster.one(
        "select cron.schedule_in_database('sale', '1 second', 'insert into sale default values', 'shop')",
    );
    let run = cluster.finished_run(job).must_have_succeeded();
    assert_eq!(run.database, "shop");
    assert_eq!(run.return_message, "INSERT 0 1");
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"));
    let sold: i64 =
        cluster.client_in("shop").query_one("select count(*) from sale", &[]).unwrap().get(0);
    assert!(sold >= 1);

    let failing: i64 =
        cluster.one("select cron.schedule_in_database('oops', '1 second', 'select 1/0', 'shop')");
    let run = cluster.finished_run(failing).must_have_failed_with("22012");
    assert_eq!(run.return_message, "ERROR:  division by zero\n");
}

#[test]
fn databases_can_be_dropped_renamed_and_copied_while_executors_idle_in_them() {
    let cluster = Cluster::start();
    cluster.sql("create database shop");
    let job: i64 =
        cluster.one("select cron.schedule_in_database('tick', '1 second', 'select 1', 'shop')");
    let _ = cluster.finished_run(job).must_have_succeeded();
    cluster.sql(&format!("update cron.job set active = false where jobid = {job}"));
    cluster.wait_quiet();
    cluster.sql("create database branch template shop");
    cluster.sql("alter database branch rename to twig");

    cluster.sql(&format!("update cron.job set active = true where jobid = {job}"));
    let before = cluster.finished_runs_of(job).len();
    let _ = cluster.finished_runs(job, before + 1);
    cluster.sql(&format!("update cron.job set active = false where jobid = {job}"));
    cluster.wait_quiet();
    cluster.sql("drop database shop");
    cluster.sql(&format!("update cron.job set active = true where jobid = {job}"));
    let state: String = cluster.one_with("select state from cron.jobs where jobid = $1", &[&job]);
    assert_eq!(state, "database missing");
    let tick = cluster.schedule("here", "1 second", "select 1");
    let _ = cluster.finished_runs(tick, 2);
}

#[test]
fn several_databases_have_a_scheduler_each() {
    for listed in ["postgres, shop", "*"] {
        let cluster =
            Cluster::builder().conf("cron.database_name", listed).without_extension().start();
        cluster.sql("create database shop");
        for database in ["postgres", "shop"] {
            cluster.client_in(database).batch_execute("create extension pg_tock").unwrap();
        }
        for database in ["postgres", "shop"] {
            let mut client = cluster.client_in(database);
            client.batch_execute("create table here (at timestamptz default now())").unwrap();
            client
                .query_one(
                    "select cron.schedule('mine', '1 second', 'insert into here default values')",
                    &[],
                )
                .unwrap();
            poll_until(&format!("{listed}: a run recorded in {database}"), PATIENCE, || {
                let found = client
                    .query_one(
                        "select exists (select from cron.job_run_details \
                         where status = 'succeeded' and database = current_database()) \
                         and exists (select from here)",
                        &[],
                    )
                    .unwrap();
                found.get::<_, bool>(0).then_some(())
            });
        }
        assert_eq!(cluster.pids_of("pg_tock scheduler").len(), 2, "{listed}");
    }
}

#[test]
fn a_dump_brings_jobs_history_and_sequences_to_another_cluster() {
    let old = Cluster::start();
    let paused = old.schedule("paused", "0 0 1 1 *", "select 1");
    old.sql(&format!("select cron.alter_job({paused}, active => false)"));
    let tick = old.schedule("tick", "1 second", "select 1");
    let _ = old.finished_runs(tick, 2);
    old.stop_all_jobs();
    old.sql(&format!("update cron.job set active = true where jobid = {tick}"));
    let history = old.finished_runs_of(tick).len();
    let dump = old.dir().join("dump.sql");
    let status = old.tool("pg_dump").arg("-f").arg(&dump).status().unwrap();
    assert!(status.success());

    let new = Cluster::builder().without_extension().start();
    let status = new
        .tool("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&dump)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!new.one::<bool>("select active from cron.job where jobname = 'paused'"));
    new.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {tick} \
         and status = 'succeeded' and start_time > pg_postmaster_start_time())"
    ));
    let restored: i64 = new.one_with(
        "select count(*) from cron.job_run_details \
         where jobid = $1 and start_time < pg_postmaster_start_time()",
        &[&tick],
    );
    assert!(usize::try_from(restored).unwrap() >= history, "{restored} of {history} runs restored");
    assert!(new.schedule("next", "0 0 1 1 *", "select 1") > tick.max(paused));
}

#[test]
fn nothing_runs_on_a_standby_until_it_is_promoted() {
    let primary = Cluster::start();
    let boot = primary.schedule("boot", "@reboot", "select 1");
    let job = primary.schedule("tick", "1 second", "select 1");
    let _ = primary.finished_runs(job, 2);
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    primary.stop();
    let before = standby.runs_of(job).len();
    stays_true("no process of ours on a standby", Duration::from_secs(3), || {
        standby.one::<i64>(
            "select count(*) from pg_stat_activity where backend_type ~ '^pg_tock (scheduler|executor)'",
        ) == 0
    });
    assert_eq!(standby.runs_of(job).len(), before);
    standby.promote();
    let runs = standby.finished_runs(job, before + 2);
    assert!(runs.iter().skip(before).all(|run| run.status == "succeeded"), "{runs:#?}");
    let run = standby.finished_run(boot).must_have_succeeded();
    assert_eq!(run.trigger, "startup", "a promotion is a start");
}

#[test]
fn not_preloaded_the_extension_says_what_to_do() {
    let cluster =
        Cluster::builder().conf("shared_preload_libraries", "").without_extension().start();
    let refused = cluster.try_sql("create extension pg_tock").unwrap_err();
    assert_eq!(sqlstate(&refused), "XX000");
    let said = refused.as_db_error().unwrap();
    assert_eq!(said.message(), "pg_tock can only be loaded via shared_preload_libraries");
    assert!(said.hint().unwrap().contains("shared_preload_libraries"));
    assert_eq!(
        cluster.one::<i64>("select count(*) from pg_extension where extname = 'pg_tock'"),
        0
    );
}

#[test]
fn executors_leave_when_idle() {
    let cluster = Cluster::builder().conf("cron.executor_idle_timeout", "2s").start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    cluster.unschedule(job);
    cluster.wait_for(
        "not exists (select from pg_stat_activity where backend_type = 'pg_tock executor')",
    );
    stays_true("none comes back", Duration::from_secs(1), || {
        cluster.pids_of("pg_tock executor").is_empty()
    });
}

#[test]
fn executors_leave_when_old() {
    let cluster = Cluster::builder().conf("cron.executor_max_age", "2s").start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    poll_until("a second executor serves the job", PATIENCE, || {
        let runs = cluster.finished_runs_of(job);
        assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
        runs.iter().any(|run| run.job_pid != runs[0].job_pid).then_some(())
    });
}
