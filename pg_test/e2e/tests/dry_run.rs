//! `cron.dry_run`: what a job would do, and that nothing of it stays.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::thread::spawn;

use pg_tock_test::{Cluster, sqlstate};
use postgres::Row;
use serde_json::{Value, json};

fn job(cluster: &Cluster, name: &str, command: &str) -> i64 {
    cluster.create_job(&json!({"job_name": name, "schedule": "0 0 29 2 *", "command": command}))
}

fn dry_run(cluster: &Cluster, command: &str) -> Row {
    job(cluster, "tried", command);
    cluster.wait_known();
    let mut rows = cluster.rows("select * from cron.dry_run('tried')", &[]);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn text(row: &Row, column: &str) -> String {
    row.get::<_, Option<String>>(column).unwrap_or_default()
}

fn error(row: &Row, key: &str) -> String {
    let error: Option<Value> = row.get("error");
    error.as_ref().and_then(|error| error[key].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn it_says_what_the_job_would_do_and_leaves_nothing() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let row = dry_run(
        &cluster,
        "create table more (n int); insert into effect select generate_series(1, 100)",
    );
    assert_eq!(text(&row, "status"), "succeeded");
    assert_eq!(text(&row, "return_message"), "INSERT 0 100");
    assert_eq!(row.get::<_, Option<i64>>("row_count"), Some(100));
    assert!(row.get::<_, f64>("duration_ms") > 0.0);
    assert!(row.get::<_, i64>("wal_bytes") > 100, "{row:?}");
    let locks: Value = row.get("locks");
    assert!(
        locks
            .as_array()
            .unwrap()
            .contains(&json!({"relation": "public.effect", "mode": "RowExclusiveLock"})),
        "{locks}"
    );
    assert_eq!(row.get::<_, Option<Value>>("error"), None);
    cluster.flush();
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
    assert!(cluster.one::<bool>("select to_regclass('more') is null"));
    for nothing in ["cron.job_run_details", "cron.run_request", "cron.job_stat", "cron.job_skip"] {
        assert_eq!(cluster.one::<i64>(&format!("select count(*) from {nothing}")), 0, "{nothing}");
    }
    assert!(cluster.column::<i64>("select jobid from cron.running").is_empty());
}

#[test]
fn errors_come_back_with_their_fields_also_those_of_the_commit() {
    let cluster = Cluster::start();
    cluster.sql(
        "create table parent (id int primary key); \
         create table child (id int references parent deferrable initially deferred)",
    );
    for (command, code) in [
        ("select 1 / 0", "22012"),
        ("insert into child values (1)", "23503"),
        ("selec 1", "42601"),
        ("copy child to stdout", "0A000"),
    ] {
        let row = dry_run(&cluster, command);
        assert_eq!(text(&row, "status"), "failed", "{command}");
        assert_eq!(error(&row, "sqlstate"), code, "{command}: {row:?}");
        assert!(text(&row, "return_message").starts_with("ERROR:"), "{row:?}");
        assert_eq!(row.get::<_, Option<Value>>("locks"), None);
    }
    let row = dry_run(&cluster, "insert into child values (1)");
    assert!(error(&row, "constraint").contains("child"), "{row:?}");
}

#[test]
fn what_would_commit_is_refused() {
    let cluster = Cluster::start();
    cluster.sql(
        "create table effect (n int); create procedure commits() language plpgsql as \
         $$ begin insert into effect values (1); commit; end $$",
    );
    for (command, code) in [
        ("insert into effect values (1); commit", "25001"),
        ("begin; insert into effect values (1); end", "25001"),
        ("vacuum effect", "25001"),
        ("create index concurrently on effect (n)", "25001"),
        ("call commits()", "2D000"),
        ("do $$ begin insert into effect values (1); commit; end $$", "2D000"),
        ("create database nothing", "25001"),
    ] {
        let row = dry_run(&cluster, command);
        assert_eq!(error(&row, "sqlstate"), code, "{command}: {row:?}");
        assert!(error(&row, "hint").starts_with("A dry run is one transaction"), "{row:?}");
        assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0, "{command}");
    }
    // A procedure that does not commit can be tried.
    cluster.sql("create procedure plain() language sql as 'insert into effect values (1)'");
    assert_eq!(text(&dry_run(&cluster, "call plain()"), "status"), "succeeded");
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
}

#[test]
fn it_runs_as_the_jobs_role_in_the_jobs_database_whatever_keeps_the_job_from_running() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create database far");
    cluster.create_job(&json!({
        "job_name": "hers", "schedule": "0 0 29 2 *", "username": "ann", "active": false,
        "command": "do $$ begin if current_user || current_database() || current_setting('a.b') \
            <> 'annpostgresc' then raise exception '%', current_user; end if; end $$",
        "settings": {"a.b": "c"},
    }));
    cluster.sql(
        "select cron.create_job('far', '0 0 29 2 *', 'create table t (n int)', database => 'far')",
    );
    cluster.wait_known();
    cluster.sql("select cron.pause('far')");
    for name in ["hers", "far"] {
        let statement = format!(
            "select status from cron.dry_run((select jobid from cron.job where jobname = '{name}'))"
        );
        assert_eq!(cluster.one::<String>(&statement), "succeeded", "{name}");
    }
    let mut far = cluster.client_in("far");
    let there: bool = far.query_one("select to_regclass('t') is not null", &[]).unwrap().get(0);
    assert!(!there);
    let mut ann = cluster.client_as("ann");
    let refused = ann.query("select * from cron.dry_run(2)", &[]).unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
}

#[test]
fn it_waits_for_a_run_under_way_and_is_cancelled_with_its_caller() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let slow = job(&cluster, "slow", "update gate set n = n + 1");
    cluster.wait_known();
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    let asked: i64 = cluster.one("select cron.run_now('slow')");
    let _ = cluster.executor_of(slow);
    let call = "select status from cron.dry_run('slow')";
    let mut client = cluster.client();
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let waiting = format!(
        "exists (select from pg_stat_activity where pid = {pid} and wait_event = 'Extension')"
    );
    // Given up while it waits behind the real run: it never begins.
    let thread = spawn(move || {
        let error = client.query_one(call, &[]).unwrap_err();
        assert_eq!(sqlstate(&error), "57014");
        client
    });
    cluster.wait_for(&waiting);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.running"), 1);
    let _: bool = cluster.one_with("select pg_cancel_backend($1)", &[&pid]);
    let mut client = thread.join().unwrap();
    gate.batch_execute("commit").unwrap();
    let _ = cluster.finished_runs(slow, 1).remove(0).must_have_succeeded();
    assert_eq!(cluster.one::<i32>("select n from gate"), 2);

    // Given up while it runs: it is cancelled.
    gate.batch_execute("begin; select from gate for update").unwrap();
    let thread = spawn(move || {
        let error = client.query_one(call, &[]).unwrap_err();
        assert_eq!(sqlstate(&error), "57014");
        client
    });
    // The executor of the run before may not have gone to rest yet, but it does not wait for the gate.
    cluster.wait_for(
        "exists (select from pg_stat_activity where backend_type = 'pg_tock executor' and wait_event_type = 'Lock')",
    );
    let _: bool = cluster.one_with("select pg_cancel_backend($1)", &[&pid]);
    let mut client = thread.join().unwrap();
    cluster.wait_for("not exists (select from cron.running)");
    gate.batch_execute("commit").unwrap();
    let status: String = client.query_one(call, &[]).unwrap().get(0);
    assert_eq!(status, "succeeded");
    let runs = cluster.runs_of(slow);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(runs[0].runid, asked);
    assert_eq!(cluster.one::<i32>("select n from gate"), 2);
}

#[test]
fn a_dry_run_survives_the_scheduler() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let slow = job(&cluster, "slow", "update gate set n = n + 1");
    cluster.wait_known();
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    let mut client = cluster.client();
    let thread = spawn(move || {
        client
            .query_one("select status from cron.dry_run('slow')", &[])
            .unwrap()
            .get::<_, String>(0)
    });
    let _ = cluster.executor_of(slow);
    cluster.terminate(cluster.pid_of("pg_tock scheduler"));
    let _ = cluster.wait_scheduler();
    gate.batch_execute("commit").unwrap();
    assert_eq!(thread.join().unwrap(), "succeeded");
    cluster.flush();
    assert!(cluster.runs_of(slow).is_empty());
    assert_eq!(cluster.one::<i32>("select n from gate"), 1);
}
