//! Runs with effects that a rollback does not undo: they are claimed before they begin, as soon as
//! that is known of their job, and that is known for good.

use pg_tock_test::{Cluster, Run};

#[test]
fn a_job_that_reaches_outside_claims_first_and_has_its_executor_to_itself() {
    let cluster = Cluster::start();
    cluster.sql("create extension dblink; create table claims (running bigint)");
    let (host, port) = (cluster.dir().display(), cluster.port());
    // Looks from outside whether its own run has a committed row while it runs.
    let job = cluster.schedule(
        "reaches",
        "1 second",
        &format!(
            "select dblink_connect('kept', 'host={host} port={port} user=postgres dbname=postgres'); \
             select dblink_exec('kept', 'insert into claims select count(*) \
             from cron.job_run_details where status = ''running'' ')"
        ),
    );
    let runs = cluster.finished_runs(job, 3);
    // A connection of the run before would be an error: it has the same name.
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
    assert!(runs.iter().all(|run| run.guarantee.as_deref() == Some("at_most_once")), "{runs:#?}");
    assert!(runs.windows(2).all(|pair| pair[0].job_pid != pair[1].job_pid), "{runs:#?}");
    let claims: Vec<i64> = cluster.column("select running from claims limit 3");
    assert_eq!(claims, [0, 1, 1], "known from the first run on");
}

/// Statements that note from outside, through dblink, whether the run's own row is committed by then.
fn look_through_dblink(cluster: &Cluster) -> String {
    let (host, port) = (cluster.dir().display(), cluster.port());
    format!(
        "select dblink_connect('kept', 'host={host} port={port} user=postgres dbname=postgres'); \
         select dblink_exec('kept', 'insert into claims select count(*) \
         from cron.job_run_details where status = ''running'' ')"
    )
}

fn remembered(job: i64) -> String {
    format!("(select reaches_outside from cron.job_state where jobid = {job})")
}

fn must_be_at_most_once(runs: &[Run]) {
    for run in runs {
        assert_eq!(run.guarantee.as_deref(), Some("at_most_once"), "{run:#?}");
    }
}

#[test]
fn what_is_known_of_a_job_outlives_scheduler_and_server() {
    let cluster = Cluster::start();
    cluster.sql("create extension dblink; create table claims (running bigint)");
    let look = look_through_dblink(&cluster);
    let job = cluster.schedule("reaches", "1 second", &look);
    let inside = cluster.schedule("inside", "1 second", "select 1");
    let _ = cluster.finished_runs(inside, 1);
    cluster.wait_for(&remembered(job));
    cluster.stop_all_jobs();
    cluster.restart();
    cluster.wait_scheduler();
    cluster.sql("delete from claims");
    cluster.sql("update cron.job set active = true");
    cluster.wait_for("(select count(*) > 0 from claims)");
    let claims: Vec<i64> = cluster.column("select running from claims limit 1");
    assert_eq!(claims, [1], "claimed from the first run after the restart on");
    assert!(!cluster.one::<bool>(&format!("select {}", remembered(inside))));
    cluster.audit();
}

#[test]
fn an_executor_that_dies_outside_has_said_so() {
    let cluster = Cluster::start();
    cluster.sql("create extension dblink; create table claims (running bigint)");
    let look = look_through_dblink(&cluster);
    let job = cluster.schedule("dies", "1 second", &format!("{look}; select pg_sleep(600)"));
    cluster.wait_for("(select count(*) > 0 from claims)");
    let executor = cluster.executor_of(job);
    cluster.terminate(executor);
    let run = cluster.finished_run(job).must_have_failed_with("57P01");
    must_be_at_most_once(&[run]);
    cluster.wait_for(&remembered(job));
    cluster.audit();
    cluster.stop_all_jobs();
}

#[test]
fn foreign_tables_and_untrusted_languages_reach_outside() {
    let cluster = Cluster::start();
    let (host, port) = (cluster.dir().display(), cluster.port());
    cluster.sql(&format!(
        "create extension postgres_fdw; create extension plperlu; \
         create table near (a int); \
         create server here foreign data wrapper postgres_fdw \
          options (host '{host}', port '{port}', dbname 'postgres'); \
         create user mapping for postgres server here options (user 'postgres'); \
         create foreign table far (a int) server here options (table_name 'near'); \
         create function note() returns int language plperlu as 'return 1'"
    ));
    for (name, command) in
        [("foreign", "insert into far values (1)"), ("perl", "select note(), pg_backend_pid()")]
    {
        let job = cluster.schedule(name, "1 second", command);
        let runs = cluster.finished_runs(job, 2);
        must_be_at_most_once(&runs);
        assert_ne!(runs[0].job_pid, runs[1].job_pid, "one process for each run: {runs:#?}");
        for run in runs {
            let _ = run.must_have_succeeded();
        }
        cluster.wait_for(&remembered(job));
        cluster.unschedule(job);
    }
    cluster.wait_quiet();
}

#[test]
fn copy_with_a_program_is_claimed_from_the_first_run_on() {
    let cluster = Cluster::start();
    cluster.sql("create table claims (running bigint)");
    let psql = cluster.bindir().join("psql");
    let (psql, host, port) = (psql.display(), cluster.dir().display(), cluster.port());
    let job = cluster.schedule(
        "program",
        "1 second",
        &format!(
            "copy (select 'insert into claims select count(*) from cron.job_run_details \
             where status = ''running'' ') \
             to program '{psql} -X -q -v ON_ERROR_STOP=1 -h {host} -p {port} -U postgres postgres'"
        ),
    );
    let runs = cluster.finished_runs(job, 2);
    must_be_at_most_once(&runs);
    for run in runs {
        let _ = run.must_have_succeeded();
    }
    let claims: Vec<i64> = cluster.column("select running from claims limit 2");
    assert_eq!(claims, [1, 1]);
    // Known by the statement, not by what was loaded.
    cluster.stop_all_jobs();
}
