//! What one role, or one bad run, must not be able to do to everybody else.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::{Cluster, PATIENCE, poll_until, sqlstate};
use postgres::Client;
use serde_json::json;

/// Runs of a job that succeeded so far.
fn succeeded(cluster: &Cluster, job: i64) -> i64 {
    cluster.one_with(
        "select count(*) from cron.job_run_details where jobid = $1 and status = 'succeeded'",
        &[&job],
    )
}

/// The job's schedule goes on from now.
fn goes_on(cluster: &Cluster, job: i64) {
    let before = succeeded(cluster, job);
    cluster.wait_for(&format!(
        "(select count(*) >= {} from cron.job_run_details where jobid = {job} and status = 'succeeded')",
        before + 2
    ));
}

/// A session that keeps everybody from a table until it commits.
fn locker(cluster: &Cluster, table: &str) -> Client {
    let mut client = cluster.client();
    client.batch_execute(&format!("begin; lock table {table} in access exclusive mode")).unwrap();
    client
}

#[test]
fn an_error_inside_an_explicit_block_is_recorded_and_costs_no_executor() {
    let cluster = Cluster::start();
    let failing = cluster.schedule("failing", "1 second", "begin; select 1/0; commit");
    let runs = cluster.finished_runs(failing, 3);
    for run in &runs {
        assert_eq!(run.status, "failed", "{run:#?}");
    }
    assert!(runs.iter().all(|run| run.job_pid == runs[0].job_pid), "one executor: {runs:#?}");
}

#[test]
fn durability_of_the_next_run_is_not_lowered_by_this_one() {
    let cluster = Cluster::start();
    cluster.sql("create table seen (how text)");
    let first = cluster.schedule("first", "1 second", "begin; select 1; commit");
    let _ = cluster.finished_run(first).must_have_succeeded();
    let look = "insert into seen select current_setting('synchronous_commit')";
    let second = cluster.schedule("second", "1 second", look);
    let _ = cluster.finished_runs(second, 2);
    assert_eq!(cluster.column::<String>("select distinct how from seen"), ["on"]);
}

#[test]
fn a_refused_drop_database_disturbs_no_scheduler() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create database elsewhere");
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job).must_have_succeeded();
    let scheduler = cluster.pid_of("pg_tock scheduler");
    let mut ann = cluster.connect("elsewhere", "ann");
    for _ in 0..20 {
        let refused = ann.batch_execute("drop database postgres").unwrap_err();
        assert_eq!(sqlstate(&refused), "42501");
    }
    goes_on(&cluster, job);
    assert_eq!(cluster.pid_of("pg_tock scheduler"), scheduler);
}

#[test]
fn a_view_is_no_way_to_lock_the_ledger() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let mut ann = cluster.client_as("ann");
    ann.batch_execute("create temp view v as select * from cron.job_run_details").unwrap();
    for mode in ["share row exclusive", "access exclusive"] {
        let refused =
            ann.batch_execute(&format!("begin; lock table v in {mode} mode")).unwrap_err();
        assert_eq!(sqlstate(&refused), "42501", "{mode}");
        ann.batch_execute("rollback").unwrap();
    }
}

#[test]
fn a_locked_job_table_delays_changes_but_no_schedule() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job).must_have_succeeded();
    let mut locker = locker(&cluster, "cron.job");
    // Makes the scheduler read the jobs again, which it cannot.
    cluster.sql("create role news");
    goes_on(&cluster, job);
    locker.batch_execute("commit").unwrap();
    let later = cluster.schedule("later", "1 second", "select 2");
    let _ = cluster.finished_run(later).must_have_succeeded();
}

#[test]
fn roles_that_change_themselves_all_the_time_stop_nobody() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let job = cluster.schedule("tick", "1 second", "select 1");
    let first = cluster.finished_run(job).must_have_succeeded();
    let mut ann = cluster.client_as("ann");
    for n in 0..200 {
        ann.batch_execute(&format!("alter role ann set work_mem = '{}kB'", 100 + n)).unwrap();
        ann.batch_execute("drop schema if exists nope").unwrap();
    }
    goes_on(&cluster, job);
    let last = cluster.finished_runs_of(job).pop().expect("runs");
    assert_eq!(last.job_pid, first.job_pid, "another role's executor stays");
}

#[test]
fn settle_waits_for_the_ledger_longer_than_the_jobs_own_timeouts() {
    let cluster = Cluster::start();
    cluster.sql("create table done (n int)");
    let mut locker = locker(&cluster, "cron.job_run_details");
    let command = "set statement_timeout = '300ms'; set lock_timeout = '300ms'; \
                   insert into done values (1)";
    let job = cluster.schedule("once", "1 second", command);
    let waits = "(select count(*) > 0 from pg_stat_activity where backend_type = 'pg_tock executor' \
                 and wait_event_type = 'Lock' and clock_timestamp() - query_start > '1 second')";
    cluster.wait_for(waits);
    locker.batch_execute("commit").unwrap();
    let _ = cluster.finished_run(job).must_have_succeeded();
}

#[test]
fn a_job_made_while_the_ledger_is_locked_since_before_the_scheduler_came_runs() {
    let cluster = Cluster::start();
    cluster.sql("create table done (n int)");
    let mut locker = locker(&cluster, "cron.job_run_details");
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    let _ = cluster.wait_scheduler();
    let job = cluster.schedule("new", "1 second", "insert into done values (1)");
    cluster.wait_for(
        "exists (select from pg_stat_activity where backend_type = 'pg_tock executor' and wait_event_type = 'Lock')",
    );
    locker.batch_execute("commit").unwrap();
    let _ = cluster.finished_run(job).must_have_succeeded();
}

#[test]
fn spans_beyond_all_reason_harm_nobody() {
    let cluster = Cluster::start();
    let job = cluster.schedule("steady", "1 second", "select 1");
    cluster.sql(
        "select cron.schedule('for ever', '1 second', 'select 1');
         select cron.pause('for ever', '294276-12-31 23:59:59');
         insert into cron.job (schedule, command, nodeport, username, jitter, missed_window)
         values ('1 second', 'select 1', 5432, 'postgres', '178000000 years', '178000000 years');
         insert into cron.job (schedule, command, nodeport, username, skip_on)
         values ('1 second', 'select 1', 5432, 'postgres', '{never,heard of}')",
    );
    goes_on(&cluster, job);
    cluster.restart();
    goes_on(&cluster, job);
    let seen: i64 = cluster.one("select count(*) from cron.job_next_runs('steady', 3)");
    assert_eq!(seen, 3);
    let states: i64 = cluster.one("select count(*) from cron.jobs");
    assert_eq!(states, 4);
    cluster.sql("select count(*) from cron.forecast('1 minute')");
}

#[test]
fn a_flush_that_waits_for_its_own_transaction_ends() {
    let cluster = Cluster::start();
    let job = cluster.schedule("steady", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    let mut client = cluster.connect("postgres", "postgres");
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute("lock table cron.job_state in share mode").unwrap();
    let flushed: bool = transaction.query_one("select cron.flush()", &[]).unwrap().get(0);
    assert!(!flushed);
    transaction.rollback().unwrap();
    goes_on(&cluster, job);
}

#[test]
fn a_row_that_cannot_be_read_harms_nobody_else() {
    let cluster = Cluster::with_legacy_database();
    let mut legacy = cluster.client_in("legacy");
    // A character of that encoding that Unicode does not have.
    legacy
        .batch_execute(
            "create extension pg_tock;
             insert into cron.job (schedule, command, nodeport, run_window)
             select '1 second', 'select ' || n, 5432, convert_from('\\xa9a1', 'EUC_JP')
             from generate_series(1, 5) n where n in (2, 3);
             insert into cron.job (schedule, command, nodeport, run_window)
             values ('1 second', '-- ' || repeat('x', 5000), 5432, convert_from('\\xa9a1', 'EUC_JP'));
             select cron.schedule('steady', '1 second', 'select 1')",
        )
        .unwrap();
    another_run(&mut legacy);
    // All are read again.
    cluster.sql("alter system set cron.default_missed_window = '1h'");
    cluster.reload();
    another_run(&mut legacy);
    drop(legacy);
    cluster.restart();
    another_run(&mut cluster.client_in("legacy"));
    for job in 1..=3 {
        let complaint = format!("job {job} does not run: its row cannot be read");
        assert!(cluster.log().contains(&complaint), "{complaint}");
    }
}

#[test]
fn long_texts_that_are_corrupt_harm_nobody_else_and_are_read_again_when_they_change() {
    let cluster = Cluster::builder().conf("cron.log_statement", "off").start();
    let steady = cluster.schedule("steady", "1 second", "select 1");
    // The first is read by itself, the second along with others; neither can be compressed.
    let schedule = |name: &str, digests: i32| -> i64 {
        cluster.one_with(
            "select cron.schedule($1, '1 second', \
              (select '-- ' || string_agg(md5(n::text), '') || e'\nselect 2' from generate_series(1, $2) n))",
            &[&name, &digests],
        )
    };
    let broken = [schedule("long", 2000), schedule("short", 100)];
    for job in broken {
        let _ = cluster.finished_run(job).must_have_succeeded();
    }
    let toast: String = cluster
        .one("select reltoastrelid::regclass::text from pg_class where oid = 'cron.job'::regclass");
    cluster.sql(&format!(
        "create extension pg_surgery;
         select heap_force_kill('{toast}'::regclass, array(select ctid from {toast}))"
    ));
    let said = |job: i64| {
        let line = format!("job {job} does not run: its row cannot be read");
        cluster.log().lines().filter(|said| said.contains(&line)).count()
    };
    for round in 0..3 {
        cluster.sql(&format!("create role r{round}"));
        for job in broken {
            poll_until("the complaint", PATIENCE, || (said(job) > 0).then_some(()));
        }
        cluster.flush();
        goes_on(&cluster, steady);
    }
    assert_eq!(broken.map(said), [1, 1], "it is said once");
    let later = cluster.schedule("later", "1 second", "select 3");
    let _ = cluster.finished_run(later).must_have_succeeded();
    for job in broken {
        cluster.sql(&format!("select cron.alter_job({job}, command => 'select 4')"));
        cluster.wait_for(&format!(
            "exists (select from cron.job_run_details where jobid = {job} and command = 'select 4')"
        ));
    }
}

fn another_run(client: &mut Client) {
    let mut count = || -> i64 {
        let query = "select count(*) from cron.job_run_details where status = 'succeeded'";
        client.query_one(query, &[]).unwrap().get(0)
    };
    let before = count();
    poll_until("another run", PATIENCE, || (count() > before).then_some(()));
}

#[test]
fn a_row_somebody_keeps_locked_is_written_in_the_end_and_nobody_else_waits_for_it() {
    let cluster = Cluster::start();
    let other = cluster.schedule("other", "1 second", "select 1");
    let failing = cluster.create_job(&json!({
        "job_name": "failing", "schedule": "1 second", "command": "select 1 / 0",
        "max_attempts": 2, "retry_delay": "1 ms", "retry_on": "any",
    }));
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let job = cluster.schedule("held", "1 second", "select pg_advisory_lock(7); select 1 / 0");
    let run = cluster.run_in_status(job, "running");
    let mut locker = cluster.client();
    locker
        .batch_execute(&format!(
            "begin; select from cron.job_run_details where runid = {} for update",
            run.runid
        ))
        .unwrap();
    gate.batch_execute(
        "select cron.set_job('held', '{\"active\": false}'); select pg_advisory_unlock(7)",
    )
    .unwrap();
    cluster.wait_for(&format!(
        "not exists (select from pg_stat_activity where pid = {} and state = 'active')",
        run.job_pid.unwrap()
    ));
    let since: String = cluster.one("select clock_timestamp()::text");
    // Rows, retries and statistics of others come as ever, and long after any number of tries.
    cluster.wait_for(&format!(
        "(select count(*) >= 6 from cron.job_run_details where jobid = {other} and start_time > '{since}') \
         and (select count(*) >= 4 from cron.job_run_details \
              where jobid = {failing} and attempt = 2 and start_time > '{since}' and status = 'failed') \
         and (select last_run_at > '{since}' from cron.job_stats where jobid = {other})"
    ));
    assert_eq!(cluster.run_in_status(job, "running").runid, run.runid, "its row is locked");
    locker.batch_execute("commit").unwrap();
    // Ended by its own error, or because the job was switched off: whichever came first.
    let ended = cluster.finished_run(job);
    assert!(matches!(ended.sqlstate.as_deref(), Some("22012" | "57P01")), "{ended:#?}");
}
