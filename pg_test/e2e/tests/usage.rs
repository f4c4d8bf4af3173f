//! What a run used of the server, in the column `usage` of its row.

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until};

/// A figure of a run's usage; 0 where it is left out.
#[track_caller]
fn used(cluster: &Cluster, run: &Run, figure: &str) -> f64 {
    cluster.one_with(
        "select coalesce((usage->>$2)::float8, 0) from cron.job_run_details where runid = $1",
        &[&run.runid, &figure],
    )
}

#[track_caller]
fn at_least(cluster: &Cluster, run: &Run, figure: &str, least: f64) -> f64 {
    let value = used(cluster, run, figure);
    assert!(value >= least, "{figure} is {value}, not at least {least}: {run:#?}");
    value
}

#[test]
fn a_run_that_does_nothing_has_used_nothing_worth_mentioning() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    // The first in a session fills caches.
    let runs = cluster.finished_runs(job, 4);
    for run in &runs {
        assert_eq!(used(&cluster, run, "wal_bytes"), 0.0, "its own row is not the run's: {run:#?}");
        assert_eq!(used(&cluster, run, "rows"), 0.0, "rows has a column of its own: {run:#?}");
    }
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {job} and status = 'succeeded' and usage is null)"
    ));
}

#[test]
fn what_a_run_reads_and_writes_is_in_its_row() {
    let cluster = Cluster::start();
    cluster.sql("create table big (n int, t text)");
    let run = cluster
        .run_once(
            "insert into big select n, repeat('x', 200) from generate_series(1, 20000) n; \
             select count(*) from big; update big set n = n + 1 where n <= 50",
        )
        .must_have_succeeded();
    assert_eq!(run.row_count, Some(50));
    assert_eq!(used(&cluster, &run, "rows"), 20_051.0, "{run:#?}");
    let wal = at_least(&cluster, &run, "wal_bytes", 4_000_000.0);
    let records = at_least(&cluster, &run, "wal_records", 20_050.0);
    assert!(wal / records > 100.0, "{wal} in {records}");
    at_least(&cluster, &run, "shared_hit", 20_000.0);
    at_least(&cluster, &run, "shared_dirtied", 500.0);
    at_least(&cluster, &run, "cpu_ms", 1.0);

    let run = cluster
        .run_once("set work_mem = '64kB'; select n from generate_series(1, 30000) n order by md5(n::text)")
        .must_have_succeeded();
    at_least(&cluster, &run, "temp_bytes", 1_000_000.0);
    assert_eq!(used(&cluster, &run, "wal_bytes"), 0.0, "{run:#?}");
}

#[test]
fn pages_that_are_read_and_written_are_counted_each() {
    // Nobody else may bring the table into memory, or write it.
    let cluster = Cluster::builder().conf("autovacuum", "off").start();
    cluster.sql("create table big (n int, t text)");
    let fill = "insert into big select n, repeat('x', 200) from generate_series(1, 20000) n";
    let filling = cluster.run_once(fill).must_have_succeeded();
    let pages: f64 =
        cluster.one("select (pg_table_size('big') / current_setting('block_size')::int)::float8");
    assert!(pages > 500.0, "{pages}");
    let near = |run: &Run, figure: &str| {
        let most = pages + 200.0;
        let value = at_least(&cluster, run, figure, 0.95 * pages);
        assert!(value <= most, "{figure} is {value}, more than {most}: {run:#?}");
    };
    // A page that is new is written when the file grows.
    near(&filling, "shared_written");
    cluster.restart();
    cluster.wait_scheduler();
    let reading = cluster.run_once("select count(*) from big").must_have_succeeded();
    near(&reading, "shared_read");
    assert!(used(&cluster, &reading, "shared_written") < 100.0, "{reading:#?}");
    let again = cluster.run_once("select count(*) from big").must_have_succeeded();
    near(&again, "shared_hit");
    assert!(used(&cluster, &again, "shared_read") < 200.0, "they are in memory: {again:#?}");
}

#[test]
fn cpu_time_is_that_of_the_run_alone() {
    let cluster = Cluster::start();
    let spin = "do $$ declare until timestamptz := clock_timestamp() + interval '300 ms'; \
                begin while clock_timestamp() < until loop end loop; end $$";
    let busy = cluster.run_once(spin).must_have_succeeded();
    let wall: f64 = cluster.one_with(
        "select extract(epoch from end_time - start_time)::float8 * 1000 \
         from cron.job_run_details where runid = $1",
        &[&busy.runid],
    );
    let cpu = at_least(&cluster, &busy, "cpu_ms", 1.0);
    assert!(cpu <= wall + 20.0, "{cpu} ms of CPU in {wall} ms");
    let lazy = cluster.run_once("select pg_sleep(0.3)").must_have_succeeded();
    let idle = used(&cluster, &lazy, "cpu_ms");
    assert!(idle < cpu, "{idle} ms asleep, {cpu} ms busy");
}

#[test]
fn a_call_that_commits_has_used_what_all_its_transactions_did() {
    let cluster = Cluster::start();
    cluster.sql("create table steps (n int)");
    cluster.sql(
        "create procedure walk() language plpgsql as $$ begin \
         for n in 1..50 loop insert into steps select n from generate_series(1, 100); commit; end loop; end $$",
    );
    let run = cluster.run_once("call walk()").must_have_succeeded();
    at_least(&cluster, &run, "wal_records", 5_000.0);
    // Begun and ended by hand: its row comes after the last of its transactions.
    let run =
        cluster.run_once("begin; insert into steps values (1), (2); commit").must_have_succeeded();
    at_least(&cluster, &run, "wal_records", 2.0);
    assert_eq!(used(&cluster, &run, "rows"), 2.0, "{run:#?}");
}

#[test]
fn the_running_row_is_not_the_runs_doing() {
    let cluster = Cluster::start();
    // A claim of its own before it starts, and a row of the scheduler's while it goes on.
    for command in ["vacuum (disable_page_skipping false) nothing", "select pg_sleep(1.3)"] {
        cluster.sql("create table if not exists nothing (n int)");
        let run = cluster.run_once(command).must_have_succeeded();
        let wal = used(&cluster, &run, "wal_bytes");
        assert!(wal < 20_000.0, "{wal} bytes for {command}");
    }
    let run = cluster.run_once("select pg_sleep(1.3)").must_have_succeeded();
    assert_eq!(used(&cluster, &run, "wal_bytes"), 0.0, "{run:#?}");
    let run = cluster.run_once("do $$ begin perform 1; end $$").must_have_succeeded();
    assert_eq!(used(&cluster, &run, "wal_bytes"), 0.0, "{run:#?}");
}

#[test]
fn a_run_that_fails_has_used_what_it_did_in_vain() {
    let cluster = Cluster::start();
    cluster.sql("create table big (n int)");
    let run = cluster
        .run_once("insert into big select generate_series(1, 5000); select 1 / 0")
        .must_have_failed_with("22012");
    at_least(&cluster, &run, "wal_records", 5_000.0);
    assert_eq!(used(&cluster, &run, "rows"), 0.0, "they are undone: {run:#?}");
}

#[test]
fn a_run_in_another_database_reports_what_it_used() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    cluster
        .client_in("other")
        .batch_execute("create table big (n int); create table small (n int)")
        .unwrap();
    for (name, command, rows) in [
        (
            "good",
            "insert into big select generate_series(1, 5000); insert into small values (1)",
            5_001.0,
        ),
        ("bad", "insert into big select generate_series(1, 5000); select 1 / 0", 0.0),
    ] {
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database($1, '1 second', $2, 'other')",
            &[&name, &command],
        );
        let run = cluster.finished_run(job);
        at_least(&cluster, &run, "wal_records", 5_000.0);
        assert_eq!(used(&cluster, &run, "rows"), rows, "{run:#?}");
        cluster.unschedule(job);
    }
}

#[test]
fn what_a_run_used_is_not_lost_with_the_scheduler() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    cluster.client_in("other").batch_execute("create table big (n int)").unwrap();
    let command = "insert into big select generate_series(1, 5000); select pg_sleep(1.5)";
    let job: i64 = cluster
        .one_with("select cron.schedule_in_database('big', '1 second', $1, 'other')", &[&command]);
    let run = cluster.run_in_status(job, "running");
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    let closed = poll_until("the run is recorded", PATIENCE, || {
        cluster
            .runs_of(job)
            .into_iter()
            .find(|row| row.runid == run.runid && row.end_time.is_some())
    })
    .must_have_succeeded();
    at_least(&cluster, &closed, "wal_records", 5_000.0);
    assert_eq!(used(&cluster, &closed, "rows"), 5_001.0, "{closed:#?}");
}

#[test]
fn the_row_says_it_also_where_it_goes_through_the_executor() {
    let cluster = Cluster::start();
    cluster.sql("create table big (n int)");
    cluster.sql(
        "create function see() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger see before insert or update on cron.job_run_details \
         for each row execute function see()",
    );
    let run = cluster
        .run_once("insert into big select generate_series(1, 5000); select 1")
        .must_have_succeeded();
    at_least(&cluster, &run, "wal_records", 5_000.0);
    assert_eq!(used(&cluster, &run, "rows"), 5_001.0, "{run:#?}");
}
