//! `run_if`: the condition of a job, and what becomes of occurrences for which it is not true.

use std::time::Duration;

use pg_tock_test::{Cluster, Run, poll_until, stays_true};
use serde_json::json;

/// A job of that role that runs by hand only.
fn job(cluster: &Cluster, owner: &str, condition: &str, command: &str) -> i64 {
    let job = cluster.create_job(&json!({
        "job_name": format!("{owner}'s"), "schedule": "0 0 29 2 *", "command": command,
        "username": owner, "run_if": condition,
    }));
    cluster.wait_known();
    job
}

fn run_now(cluster: &Cluster, job: i64) -> i64 {
    cluster.one_with("select cron.run_now($1::bigint)", &[&job])
}

/// How the run of that id ended: its row, or none if it was skipped.
fn end_of(cluster: &Cluster, run: i64) -> Option<Run> {
    cluster.wait_for(&format!("not exists (select from cron.run_request where runid = {run})"));
    let job: Option<i64> = cluster
        .column(&format!("select jobid from cron.job_run_details where runid = {run}"))
        .pop();
    job.and_then(|job| cluster.runs_of(job).into_iter().find(|row| row.runid == run))
}

#[test]
fn an_occurrence_runs_if_the_condition_is_true_and_is_skipped_otherwise() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (open boolean); insert into gate values (false)");
    let job = cluster.create_job(&json!({
        "job_name": "gated", "schedule": "1 second", "command": "select 1",
        "run_if": "(select open from gate)",
    }));
    poll_until("several skipped occurrences in one record", Duration::from_secs(45), || {
        cluster.flush();
        let skips = cluster.skipped(job);
        assert!(skips.len() <= 1, "{skips:?}");
        let count: Vec<i64> = cluster.column("select count from cron.job_skip");
        (count.first().is_some_and(|&count| count >= 3)).then_some(())
    });
    assert!(cluster.runs_of(job).is_empty());
    let reason: String = cluster.one("select reason from cron.job_skip");
    assert_eq!(reason, "condition");
    cluster.sql("update gate set open = true");
    let _ = cluster.finished_run(job).must_have_succeeded();
    // NULL is not true.
    cluster.sql("update gate set open = null");
    poll_until("more occurrences that are skipped", Duration::from_secs(45), || {
        cluster.flush();
        (cluster.one::<i64>("select count(*) from cron.job_skip") >= 2).then_some(())
    });
    cluster.audit();
}

#[test]
fn a_condition_that_fails_is_a_failed_run() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let job = job(&cluster, "postgres", "1 / 0 > 0", "insert into effect values (1)");
    let run = end_of(&cluster, run_now(&cluster, job)).unwrap().must_have_failed_with("22012");
    assert_eq!(run.reason.as_deref(), Some("condition"));
    assert_eq!(run.return_message, "ERROR:  division by zero\n");
    assert_eq!(run.command, "insert into effect values (1)");
    for (condition, code) in [
        ("no_such_column", "42703"),
        ("1", "42804"),
        ("count(*) > 0", "42803"),
        ("exists (select from nowhere)", "42P01"),
    ] {
        cluster.sql(&format!("select cron.set_job({job}, '{{\"run_if\": \"{condition}\"}}')"));
        cluster.wait_known();
        let run = end_of(&cluster, run_now(&cluster, job)).unwrap().must_have_failed_with(code);
        assert_eq!(run.reason.as_deref(), Some("condition"), "{condition}");
    }
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
}

#[test]
fn a_condition_is_read_only_and_leaves_nothing_behind() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n text); create sequence s");
    cluster.sql(
        "create function writes() returns boolean language plpgsql as \
         $$ begin insert into effect values ('condition'); return true; end $$; \
         create function opens_up() returns boolean language plpgsql as \
         $$ begin set transaction read write; insert into effect values ('x'); return true; end $$",
    );
    let job = job(
        &cluster,
        "postgres",
        "writes()",
        "insert into effect values (current_setting('a.b', true))",
    );
    for (condition, code) in [
        ("writes()", "25006"),
        ("nextval('s') > 0", "25006"),
        ("opens_up()", "25001"),
        ("cron.log('info', 'x') is not null", "25006"),
    ] {
        let _ = cluster.rows(
            "select cron.set_job($1::bigint, jsonb_build_object('run_if', $2::text))",
            &[&job, &condition],
        );
        cluster.wait_known();
        let run = end_of(&cluster, run_now(&cluster, job)).unwrap();
        assert_eq!(run.sqlstate.as_deref(), Some(code), "{condition}: {run:#?}");
    }
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
    // A setting is gone with the transaction it was made in.
    let condition = "set_config('a.b', 'leaked', false) = 'leaked'";
    let _ = cluster.rows(
        "select cron.set_job($1::bigint, jsonb_build_object('run_if', $2::text))",
        &[&job, &condition],
    );
    cluster.wait_known();
    let _ = end_of(&cluster, run_now(&cluster, job)).unwrap().must_have_succeeded();
    assert_ne!(
        cluster.column::<Option<String>>("select n from effect"),
        [Some("leaked".to_owned())]
    );
}

#[test]
fn a_condition_is_evaluated_as_the_jobs_role_with_its_settings_and_context() {
    let cluster = Cluster::start();
    for role in ["ann", "bob"] {
        cluster.role(role);
    }
    cluster.sql("create table secret (n int); insert into secret values (1)");
    let denied = job(&cluster, "bob", "exists (select from secret)", "select 1");
    let run = end_of(&cluster, run_now(&cluster, denied)).unwrap();
    let _ = run.must_have_failed_with("42501");
    let job = cluster.create_job(&json!({
        "job_name": "hers", "schedule": "0 0 29 2 *", "command": "select 1", "username": "ann",
        "settings": {"a.b": "c", "search_path": "pg_catalog"},
        "run_if": "current_user = 'ann' and session_user = 'ann' and current_setting('a.b') = 'c' \
            and current_setting('search_path') = 'pg_catalog' \
            and current_setting('transaction_read_only') = 'on' \
            and current_setting('cron.attempt') = '1' \
            and current_setting('cron.job_id')::int > 0 and current_setting('cron.run_id') <> ''",
    }));
    cluster.wait_known();
    let _ = end_of(&cluster, run_now(&cluster, job)).unwrap().must_have_succeeded();
    cluster.wait_for(
        "(select requested_by = 'postgres' from cron.job_run_details where jobname = 'hers')",
    );
}

#[test]
fn limits_of_time_hold_for_conditions_too_and_a_slow_one_leaves_no_row() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("alter role ann set statement_timeout = '200ms'");
    let slow = job(&cluster, "ann", "pg_sleep(3600) is null", "select 1");
    let run = end_of(&cluster, run_now(&cluster, slow)).unwrap();
    assert_eq!(
        (run.outcome.as_deref(), run.reason.as_deref()),
        (Some("timeout"), Some("condition"))
    );
    // Longer than the second after which a run gets its row.
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let job = job(
        &cluster,
        "postgres",
        "pg_try_advisory_lock(1) or pg_advisory_lock(1) is null",
        "select 1",
    );
    let mut holder = cluster.client();
    holder.execute("select pg_advisory_lock(1)", &[]).unwrap();
    let run = run_now(&cluster, job);
    cluster.wait_for("exists (select from cron.running)");
    stays_true("the condition leaves no row", Duration::from_millis(2500), || {
        cluster.runs_of(job).is_empty()
    });
    drop(holder);
    assert!(end_of(&cluster, run).is_none(), "a void is not NULL, so the condition is false");
}

#[test]
fn a_condition_that_outlasts_its_scheduler_is_a_condition_all_the_same() {
    let cluster = Cluster::start();
    let job = job(&cluster, "postgres", "pg_advisory_lock(1) is null", "select 1");
    let mut holder = cluster.client();
    holder.execute("select pg_advisory_lock(1)", &[]).unwrap();
    let _ = run_now(&cluster, job);
    let _ = cluster.executor_of(job);
    cluster.terminate(cluster.wait_scheduler());
    let _ = cluster.wait_scheduler();
    cluster.wait_known();
    drop(holder);
    cluster.wait_for("not exists (select from cron.running)");
    cluster.wait_for("not exists (select from cron.run_request)");
    cluster.flush();
    let ends: Vec<String> = cluster.column(
        "select concat_ws(' ', 'row', outcome) from cron.job_run_details \
         union all select concat_ws(' ', 'skip', reason) from cron.job_skip \
         union all select concat_ws(' ', 'counted', total_runs) from cron.job_stats where total_runs > 0",
    );
    assert_eq!(ends, ["skip condition"]);
}

#[test]
fn conditions_work_in_other_databases() {
    let cluster = Cluster::start();
    cluster.sql("create database far");
    let mut far = cluster.client_in("far");
    far.batch_execute("create table gate (open boolean); insert into gate values (false)").unwrap();
    let job = cluster.create_job(&json!({
        "job_name": "far", "schedule": "0 0 29 2 *", "command": "insert into gate values (true)",
        "database": "far", "run_if": "not exists (select from gate where open)",
    }));
    cluster.wait_known();
    let run = end_of(&cluster, run_now(&cluster, job)).unwrap().must_have_succeeded();
    assert_eq!(run.trigger, "manual");
    assert!(end_of(&cluster, run_now(&cluster, job)).is_none(), "skipped without a row");
    cluster.flush();
    let skipped: i64 =
        cluster.one("select sum(count)::bigint from cron.job_skip where reason = 'condition'");
    assert_eq!(skipped, 1);
    let rows: i64 = far.query_one("select count(*) from gate", &[]).unwrap().get(0);
    assert_eq!(rows, 2);
    cluster.sql(&format!("select cron.set_job({job}, '{{\"run_if\": \"1/0 = 1\"}}')"));
    cluster.wait_known();
    let run = end_of(&cluster, run_now(&cluster, job)).unwrap().must_have_failed_with("22012");
    assert_eq!(run.reason.as_deref(), Some("condition"));
}
