//! The keeper's process: comes when there is something to do, goes when it is in the way.

use pg_tock_test::{Cluster, PATIENCE, poll_until};

const KEEPERS: &str = "select count(*) from pg_stat_activity where backend_type = 'pg_tock keeper'";

fn has_keeper(cluster: &Cluster) -> String {
    let _ = cluster;
    format!("(({KEEPERS}) = 1)")
}

/// A history in which each row costs the keeper this many seconds.
fn slow_history(cluster: &Cluster, rows: i64, seconds: f64) {
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, username, status, start_time, end_time) \
         select -1, 'postgres', 'succeeded', now() - interval '1 year', now() - interval '1 year' \
         from generate_series(1, {rows})"
    ));
    cluster.sql(&format!(
        "create function slowly() returns trigger language plpgsql as \
         'begin perform pg_sleep({seconds}); return old; end'; \
         create trigger slowly before delete on cron.job_run_details \
         for each row execute function slowly()"
    ));
    // Rows are not deleted before they are counted.
    cluster.wait_for("(select counted_below from cron.engine_state) > (select max(runid) from cron.job_run_details)");
}

#[test]
fn it_comes_when_it_is_needed_and_leaves_when_it_is_not() {
    let cluster = Cluster::start();
    assert_eq!(cluster.one::<i64>(KEEPERS), 0);
    assert!(cluster.one::<bool>("select cron.prune()"));
    cluster.wait_for("exists (select from cron.keeper_state)");
    cluster.wait_for(&format!("({KEEPERS}) = 0"));
    let pruned: String = cluster.one("select pruned_at::text from cron.keeper_state");
    cluster.sql("select cron.prune()");
    cluster.wait_for(&format!("(select pruned_at::text <> '{pruned}' from cron.keeper_state)"));
}

#[test]
fn it_ends_at_once_inside_a_statement_and_its_work_is_taken_up() {
    let cluster = Cluster::start();
    slow_history(&cluster, 1, 3600.0);
    cluster.sql("select cron.prune()");
    let busy = "(select pid from pg_stat_activity where backend_type = 'pg_tock keeper' \
                 and wait_event = 'PgSleep')";
    cluster.wait_for(&format!("{busy} is not null"));
    let first: i32 = cluster.one(&format!("select {busy}"));
    cluster.sql(&format!("select pg_terminate_backend({first})"));
    cluster.wait_for(&format!("{busy} <> {first}"));
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'pg_tock scheduler'");
    cluster.stop();
}

#[test]
fn it_is_not_in_the_way_of_its_database_or_of_the_extension() {
    let cluster = Cluster::builder().conf("cron.database_name", "*").without_extension().start();
    cluster.sql("create database other");
    let mut other = cluster.client_in("other");
    other.batch_execute("create extension pg_tock").expect("create extension");
    drop(other);
    // DROP EXTENSION first, with a keeper in the middle of its work.
    let begin = || {
        let mut other = cluster.client_in("other");
        other
            .batch_execute(
                "insert into cron.job_run_details (jobid, username, status, start_time, end_time) \
                 select -1, 'postgres', 'succeeded', now() - interval '1 year', now() - interval '1 year'; \
                 create or replace function slowly() returns trigger language plpgsql as \
                 'begin perform pg_sleep(3600); return old; end'; \
                 create trigger slowly before delete on cron.job_run_details \
                 for each row execute function slowly()",
            )
            .expect("a slow history");
        let mut asked = || {
            let row = other.query_one("select cron.prune()", &[]).ok()?;
            row.get::<_, bool>(0).then_some(())
        };
        poll_until("a scheduler in the other database", PATIENCE, &mut asked);
        cluster.wait_for(
            "exists (select from pg_stat_activity where datname = 'other' \
             and backend_type = 'pg_tock keeper' and wait_event = 'PgSleep')",
        );
    };
    begin();
    cluster.sql("drop database other");
    assert_eq!(cluster.one::<i64>("select count(*) from pg_database where datname = 'other'"), 0);
    assert_eq!(cluster.one::<i64>(KEEPERS), 0);
}

#[test]
fn a_run_gets_the_last_slot() {
    // Launcher, logical replication and scheduler have three of these.
    let cluster =
        Cluster::builder().max_worker_processes(4).conf("cron.executor_idle_timeout", "2").start();
    slow_history(&cluster, 1, 3600.0);
    cluster.sql("select cron.prune()");
    cluster.wait_for(&has_keeper(&cluster));
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job).must_have_succeeded();
    cluster.sql(&format!("select cron.unschedule({job})"));
    // It comes back when the executor has gone.
    cluster.wait_for(&has_keeper(&cluster));
    cluster.stop();
}
