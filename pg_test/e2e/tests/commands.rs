//! What a job's text may be and what it then does: the semantics of the simple query protocol.

use pg_tock_test::{Cluster, PATIENCE, poll_until};
use std::time::Duration;

fn cluster_with_table() -> Cluster {
    let cluster = Cluster::start();
    cluster.sql("create table t (n int)");
    cluster
}

#[test]
fn several_statements_are_one_transaction() {
    let cluster = cluster_with_table();
    let run = cluster.run_once("insert into t values (1); insert into t values (2); select 1/0");
    run.must_have_failed_with("22012");
    assert_eq!(cluster.one::<i64>("select count(*) from t"), 0, "all or nothing");

    let run = cluster.run_once("create table if not exists u (n int); insert into u values (7)");
    let run = run.must_have_succeeded();
    assert_eq!(run.return_message, "INSERT 0 1");
    assert_eq!(run.guarantee.as_deref(), Some("exactly_once"));
}

#[test]
fn vacuum_runs_alone_and_only_alone() {
    let cluster = cluster_with_table();
    let run = cluster.run_once("vacuum t").must_have_succeeded();
    assert_eq!(run.return_message, "VACUUM");
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"));
    cluster
        .wait_for("(select last_vacuum is not null from pg_stat_user_tables where relname = 't')");
    let _ = cluster.run_once("vacuum t; select 1").must_have_failed_with("25001");
}

#[test]
fn create_index_concurrently_is_not_blocked_by_the_scheduler() {
    let cluster = cluster_with_table();
    let run = cluster.run_once("create index concurrently if not exists t_n on t (n)");
    assert_eq!(run.must_have_succeeded().return_message, "CREATE INDEX");
    assert!(
        cluster.one::<bool>("select indisvalid from pg_index where indexrelid = 't_n'::regclass")
    );
}

#[test]
fn create_database_works() {
    let cluster = Cluster::start();
    let run = cluster.run_once("create database made_by_a_job");
    assert_eq!(run.must_have_succeeded().return_message, "CREATE DATABASE");
    drop(cluster.client_in("made_by_a_job"));
}

#[test]
fn call_and_do_may_commit() {
    let cluster = cluster_with_table();
    cluster.sql(
        "create procedure p() language plpgsql as $$ begin \
           insert into t values (1); commit; insert into t values (2); rollback; end $$",
    );
    let run = cluster.run_once("call p()").must_have_succeeded();
    assert_eq!(run.return_message, "CALL");
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"));
    cluster.wait_quiet();
    assert_eq!(cluster.one::<i32>("select max(n) from t"), 1, "the second insert was rolled back");
    let _ = cluster.run_once("call p(); select 1").must_have_failed_with("2D000");

    cluster.sql("truncate t");
    let run = cluster.run_once("do $$ begin insert into t values (5); commit; perform 1/0; end $$");
    let run = run.must_have_failed_with("22012");
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"));
    assert_eq!(cluster.one::<i32>("select max(n) from t"), 5, "what DO committed stays");
}

#[test]
fn a_do_that_does_not_commit_is_one_transaction() {
    let cluster = cluster_with_table();
    let run = cluster.run_once("do $$ begin insert into t values (5); perform 1/0; end $$");
    let _ = run.must_have_failed_with("22012");
    assert_eq!(cluster.one::<i64>("select count(*) from t"), 0);
}

#[test]
fn explicit_transaction_blocks_work() {
    let cluster = cluster_with_table();
    let run = cluster.run_once(
        "begin; insert into t values (1); savepoint s; insert into t values (2); \
         rollback to s; commit",
    );
    assert_eq!(run.must_have_succeeded().return_message, "COMMIT");
    cluster.wait_quiet();
    assert_eq!(cluster.column::<i32>("select distinct n from t"), [1]);

    cluster.sql("truncate t");
    let run = cluster.run_once("insert into t values (3); commit; select 1/0");
    let run = run.must_have_failed_with("22012");
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"));
    cluster.wait_quiet();
    assert_eq!(
        cluster.column::<i32>("select distinct n from t"),
        [3],
        "committed before it failed"
    );
}

#[test]
fn a_transaction_left_open_is_a_failure_that_says_so() {
    let cluster = cluster_with_table();
    let run = cluster.run_once("begin; insert into t values (1)");
    assert_eq!(run.status, "failed", "{run:#?}");
    assert!(run.return_message.contains("transaction"), "{run:#?}");
    assert!(run.return_message.contains("open"), "{run:#?}");
    assert!(run.sqlstate.is_some() && run.end_time.is_some(), "{run:#?}");
    cluster.wait_quiet();
    assert_eq!(cluster.one::<i64>("select count(*) from t"), 0, "rolled back");
}

#[test]
fn timeouts_set_in_the_text_hold_for_the_rest_of_it() {
    let cluster = cluster_with_table();
    let run = cluster.run_once("set statement_timeout = '100ms'; select pg_sleep(3600)");
    let _ = run.must_have_failed_with("57014");

    let mut holder = cluster.client();
    let mut blocking = holder.transaction().unwrap();
    blocking.batch_execute("lock table t").unwrap();
    let run = cluster.run_once("set lock_timeout = '100ms'; insert into t values (1)");
    let _ = run.must_have_failed_with("55P03");
    blocking.rollback().unwrap();

    let run = cluster.run_once(
        "set work_mem = '9MB'; create table seen as select current_setting('work_mem') as w",
    );
    let _ = run.must_have_succeeded();
    assert_eq!(cluster.one::<String>("select w from seen"), "9MB");
}

#[test]
fn settings_of_role_and_database_apply_and_changes_reach_live_executors() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("alter role ann set statement_timeout = '100ms'");
    cluster.sql("create table seen (w text); grant insert on seen to ann");
    let _ = cluster.run_once_as("ann", "select pg_sleep(3600)").must_have_failed_with("57014");

    cluster.sql("alter database postgres set work_mem = '7MB'");
    let job = cluster.schedule_as(
        "ann",
        "look",
        "1 second",
        "insert into seen values (current_setting('work_mem'))",
    );
    cluster.wait_for("exists (select from seen where w = '7MB')");
    cluster.sql("alter role ann set work_mem = '8MB'");
    cluster.wait_for("exists (select from seen where w = '8MB')");
    cluster.unschedule(job);
}

#[test]
fn the_ledger_is_written_whatever_the_job_set() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("alter role ann set default_transaction_read_only = on");
    cluster.sql("alter role ann set search_path = nowhere");
    cluster.sql("alter role ann set row_security = off");
    for text in [
        "select 1",
        "set transaction read only; select 1",
        "set transaction isolation level serializable; select 1",
        "set session characteristics as transaction read only; select 1",
    ] {
        // Not by ann: with such settings she could not even schedule.
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database('once', '1 second', $1, 'postgres', 'ann')",
            &[&text],
        );
        let run = cluster.finished_run(job).must_have_succeeded();
        assert_eq!(run.username, "ann");
        cluster.unschedule(job);
    }
}

#[test]
fn copy_to_or_from_the_client_is_refused_before_anything_runs() {
    let cluster = cluster_with_table();
    for text in [
        "copy t to stdout",
        "copy t from stdin",
        "copy (select 1) to stdout",
        "insert into t values (1); copy t to stdout",
        "insert into t values (1); commit; copy t to stdout",
    ] {
        let _ = cluster.run_once(text).must_have_failed_with("0A000");
    }
    cluster.wait_quiet();
    assert_eq!(cluster.one::<i64>("select count(*) from t"), 0, "refused as a whole");
    cluster.sql("insert into t values (1)");
    let run = cluster.run_once("copy t to '/dev/null'").must_have_succeeded();
    assert_eq!(run.return_message, "COPY 1");
}

#[test]
fn long_texts_and_large_results_are_fine() {
    let cluster = Cluster::builder().conf("cron.max_job_size", "2MB").start();
    let text = format!("select length('{}')", "x".repeat(1_000_000));
    let run = cluster.run_once(&text).must_have_succeeded();
    assert_eq!(run.command, text);
    let run = cluster.run_once("select * from generate_series(1, 100000)").must_have_succeeded();
    assert_eq!(run.return_message, "100000 rows");
    assert_eq!(run.row_count, Some(100_000));
}

#[test]
fn a_notification_sent_by_a_job_arrives() {
    let cluster = Cluster::start();
    let mut listener = cluster.client();
    listener.batch_execute("listen news").unwrap();
    let job = cluster.schedule("herald", "1 second", "notify news, 'hear ye'");
    let heard = poll_until("the job's notification", PATIENCE, || {
        use postgres::fallible_iterator::FallibleIterator;
        listener.notifications().timeout_iter(Duration::from_millis(50)).next().unwrap()
    });
    assert_eq!(heard.payload(), "hear ye");
    cluster.unschedule(job);
}
