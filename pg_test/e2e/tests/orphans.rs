//! What a scheduler that is terminated leaves behind: reports nobody has recorded, orders nobody has
//! begun.

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, signal};
use rustix::process::Signal;

/// A job in another database.
fn elsewhere(cluster: &Cluster, name: &str, command: &str) -> i64 {
    cluster.one_with(
        "select cron.schedule_in_database($1, '1 second', $2, 'other')",
        &[&name, &command],
    )
}

fn row_of(cluster: &Cluster, run: &Run) -> Run {
    let runs = cluster.runs_of(run.jobid);
    let Some(row) = runs.into_iter().find(|row| row.runid == run.runid) else {
        unreachable!("the row of run {} is gone", run.runid)
    };
    row
}

#[test]
fn a_scheduler_lost_before_it_has_recorded_a_report_loses_nothing() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    for (name, text, state) in [
        ("good", "select pg_sleep(1.5)", None),
        ("bad", "select 1 / (pg_sleep(1.5) is null)::int", Some("22012")),
    ] {
        let job = elsewhere(&cluster, name, text);
        let run = cluster.run_in_status(job, "running");
        // The report is read, and its row cannot be written.
        let mut session = cluster.client();
        let mut holder = session.transaction().unwrap();
        holder.batch_execute("lock table cron.job_run_details in access exclusive mode").unwrap();
        let executor = run.job_pid.unwrap();
        cluster.wait_for(&format!(
            "exists (select from pg_stat_activity where pid = {executor} and state = 'idle')"
        ));
        let scheduler = cluster.wait_scheduler();
        cluster.terminate(scheduler);
        poll_until("another scheduler", PATIENCE, || {
            cluster.pids_of("pg_tock scheduler").into_iter().find(|pid| *pid != scheduler)
        });
        holder.rollback().unwrap();

        let closed = poll_until("the run is recorded", PATIENCE, || {
            Some(row_of(&cluster, &run)).filter(|row| row.end_time.is_some())
        });
        let closed = match state {
            None => closed.must_have_succeeded(),
            Some(state) => closed.must_have_failed_with(state),
        };
        assert_eq!(closed.row_count, state.is_none().then_some(1), "{closed:#?}");
        assert_eq!(closed.reason, None, "{closed:#?}");
        cluster.audit();
        cluster.unschedule(job);
    }
    cluster.wait_quiet();
}

#[test]
fn an_order_not_begun_when_its_scheduler_goes_is_never_begun() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    let mut other = cluster.client_in("other");
    other.batch_execute("create table effect (pid int)").unwrap();
    let job = elsewhere(&cluster, "tick", "insert into effect values (pg_backend_pid())");
    let executor = cluster.finished_run(job).job_pid.unwrap();
    // It has the order (the run is claimed when it is handed over) and cannot look at it.
    signal(executor, Signal::STOP);
    let handed = poll_until("a run handed over", PATIENCE, || {
        let claimed = |run: &Run| run.status == "running" && run.job_pid == Some(executor);
        cluster.runs_of(job).into_iter().find(claimed)
    });
    let mut count = || -> i64 {
        other.query_one("select count(*) from effect where pid = $1", &[&executor]).unwrap().get(0)
    };
    let before = count();
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    signal(executor, Signal::CONT);
    poll_until("the executor leaves", PATIENCE, || {
        (!pg_tock_test::is_alive(executor)).then_some(())
    });
    assert_eq!(count(), before, "it began an order of a scheduler that is gone");
    // The next scheduler goes on, and nobody takes the run for done.
    poll_until("the job runs again", PATIENCE, || {
        let later = |run: &Run| run.runid > handed.runid && run.status == "succeeded";
        cluster.finished_runs_of(job).iter().any(later).then_some(())
    });
    let row = row_of(&cluster, &handed);
    assert!(row.status == "failed" && row.end_time.is_some(), "{row:#?}");
    cluster.audit();
}
