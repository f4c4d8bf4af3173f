//! `cron.run_now` with `wait`: the session sees the end of its run, whatever happens meanwhile.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use pg_tock_test::{Cluster, poll_until, sqlstate, stays_true};
use postgres::Client;

/// A job that never runs by itself.
fn job(cluster: &Cluster, name: &str, command: &str) -> i64 {
    let job = cluster.schedule(name, "0 0 29 2 *", command);
    cluster.wait_known();
    job
}

const CALL: &str = "select cron.run_now($1::bigint, wait => true)";

fn pid(client: &mut Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).unwrap().get(0)
}

/// A session that waits for a run of the job, and its process.
fn waiter(cluster: &Cluster, job: i64) -> (JoinHandle<Result<i64, postgres::Error>>, i32) {
    let mut client = cluster.client();
    let pid = pid(&mut client);
    let thread = spawn(move || client.query_one(CALL, &[&job]).map(|row| row.get(0)));
    cluster.wait_for(&format!(
        "exists (select from pg_stat_activity where pid = {pid} and wait_event = 'Extension')"
    ));
    (thread, pid)
}

/// A table a job's run waits for, and the session that keeps it waiting.
fn gate(cluster: &Cluster) -> Client {
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    gate
}

const THROUGH_THE_GATE: &str = "update gate set n = n + 1";

#[test]
fn the_call_returns_when_the_run_has_ended_however_it_ended() {
    let cluster = Cluster::start();
    let good = job(&cluster, "good", "select 1");
    let bad = job(&cluster, "bad", "select 1 / 0");
    cluster.sql("create database far");
    let far: i64 =
        cluster.one("select cron.schedule_in_database('far', '0 0 29 2 *', 'select 1', 'far')");
    cluster.wait_known();
    let mut client = cluster.client();
    for (job, status) in [(good, "succeeded"), (bad, "failed"), (far, "succeeded")] {
        let run: i64 = client.query_one(CALL, &[&job]).unwrap().get(0);
        // Nothing is waited for any more: the row is there.
        let row = client
            .query_one(
                "select status, trigger, requested_by, end_time is not null \
                 from cron.job_run_details where runid = $1",
                &[&run],
            )
            .unwrap();
        let row: (String, String, String, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!(row, (status.to_owned(), "manual".to_owned(), "postgres".to_owned(), true));
        assert!(cluster.column::<i64>("select runid from cron.run_request").is_empty());
    }
    // As many as one likes in one statement: nothing has been written in between.
    let runs = client
        .query("select cron.run_now(jobid, wait => true) from cron.job order by jobid", &[])
        .unwrap();
    assert_eq!(runs.len(), 3);
    // A condition that is not met is an end, too.
    cluster.sql("select cron.set_job('good', '{\"run_if\": \"false\"}')");
    cluster.wait_known();
    let _ = client.query_one(CALL, &[&good]).unwrap();
    assert_eq!(cluster.runs_of(good).len(), 2);
}

#[test]
fn it_is_refused_where_it_could_wait_for_itself() {
    let cluster = Cluster::start();
    let id = job(&cluster, "rare", "select 1");
    let mut client = cluster.client();
    cluster.sql("create table t (n bigint)");
    cluster.sql(
        "create procedure writes_first() language plpgsql as $$ begin \
         insert into t values (1); perform cron.run_now('rare', wait => true); end $$; \
         create procedure commits_first() language plpgsql as $$ begin \
         insert into t values (1); commit; perform cron.run_now('rare', wait => true); end $$",
    );
    for refused in [
        "begin; select cron.run_now('rare', wait => true)",
        "select 1; select cron.run_now('rare', wait => true)",
        "call writes_first()",
        "select pg_current_xact_id(), cron.run_now('rare', wait => true)",
        "begin; select * from cron.dry_run('rare')",
    ] {
        let error = client.batch_execute(refused).unwrap_err();
        assert_eq!(sqlstate(&error), "25001", "{refused}");
        client.batch_execute("rollback").unwrap();
    }
    assert!(cluster.runs_of(id).is_empty());
    client.batch_execute("call commits_first()").unwrap();
    assert_eq!(cluster.runs_of(id).len(), 1);
    let run = cluster.run_once("select cron.run_now('rare', wait => true)");
    let _ = run.must_have_failed_with("25001");
    // The session keeps the job from running itself.
    client.batch_execute("set statement_timeout = '30s'; select cron.hold('rare')").unwrap();
    for refused in
        ["select cron.run_now('rare', wait => true)", "select * from cron.dry_run('rare')"]
    {
        let error = client.batch_execute(refused).unwrap_err();
        assert_eq!(sqlstate(&error), "55000", "{refused}: {error}");
        let hint = error.as_db_error().and_then(postgres::error::DbError::hint);
        assert_eq!(hint, Some(format!("Release it first: SELECT cron.release({id});").as_str()));
    }
    let other = job(&cluster, "other", "select 1");
    let _ = client.query_one(CALL, &[&other]).unwrap();
    client.batch_execute("select cron.release('rare')").unwrap();
    let _ = client.query_one(CALL, &[&id]).unwrap();
    // A hold that was lost is none.
    client.batch_execute("select cron.hold('rare'); select pg_advisory_unlock_all()").unwrap();
    let _ = client.query_one(CALL, &[&id]).unwrap();
}

#[test]
fn a_wait_survives_the_scheduler() {
    let cluster = Cluster::start();
    let mut gate = gate(&cluster);
    let slow = job(&cluster, "slow", THROUGH_THE_GATE);
    let (first, _) = waiter(&cluster, slow);
    let _ = cluster.executor_of(slow);
    let (second, _) = waiter(&cluster, slow);
    cluster.wait_for("(select count(*) = 2 from cron.run_request)");
    cluster.terminate(cluster.pid_of("pg_tock scheduler"));
    let _ = cluster.wait_scheduler();
    gate.batch_execute("commit").unwrap();
    let (first, second) = (first.join().unwrap().unwrap(), second.join().unwrap().unwrap());
    let runs = cluster.finished_runs(slow, 2);
    let ids: Vec<i64> = runs.iter().map(|run| run.runid).collect();
    assert_eq!(ids, [first, second]);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
}

#[test]
fn a_wait_can_be_given_up_and_the_run_goes_on() {
    let cluster = Cluster::start();
    let mut gate = gate(&cluster);
    let slow = job(&cluster, "slow", THROUGH_THE_GATE);
    let (cancelled, pid) = waiter(&cluster, slow);
    let _ = cluster.executor_of(slow);
    let _: bool = cluster.one_with("select pg_cancel_backend($1)", &[&pid]);
    assert_eq!(sqlstate(&cancelled.join().unwrap().unwrap_err()), "57014");
    let (terminated, pid) = waiter(&cluster, slow);
    cluster.wait_for("(select count(*) = 2 from cron.run_request)");
    cluster.terminate(pid);
    let _ = terminated.join().unwrap().unwrap_err();
    gate.batch_execute("commit").unwrap();
    let runs = cluster.finished_runs(slow, 2);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
    // Their places are free again, and so are all the others.
    let mut client = cluster.client();
    for _ in 0..300 {
        let _ = client.query_one(CALL, &[&slow]).unwrap();
    }
}

#[test]
fn a_wait_for_a_run_that_is_taken_back_ends_when_that_is_recorded() {
    let cluster = Cluster::start();
    let mut gate = gate(&cluster);
    let slow = job(&cluster, "slow", THROUGH_THE_GATE);
    let first: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&slow]);
    let _ = cluster.executor_of(slow);
    let (waits, _) = waiter(&cluster, slow);
    cluster.wait_for("(select count(*) = 2 from cron.run_request)");
    let second: i64 = cluster.one("select max(runid) from cron.run_request");
    let mut ledger = cluster.client();
    ledger.batch_execute("begin; lock table cron.job_run_details in share mode").unwrap();
    cluster.sql(&format!("select cron.cancel_run({second})"));
    // All jobs and requests are read again meanwhile.
    let mut count = 0;
    stays_true("the session waits", Duration::from_secs(3), || {
        count += 1;
        cluster.sql(&format!("select cron.create_calendar('calendar {count}')"));
        !waits.is_finished()
    });
    ledger.batch_execute("commit").unwrap();
    assert_eq!(waits.join().unwrap().unwrap(), second);
    let recorded = "select status from cron.job_run_details where runid = $1";
    assert_eq!(cluster.one_with::<String>(recorded, &[&second]), "failed");
    gate.batch_execute("commit").unwrap();
    let _ = cluster.finished_runs(slow, 2);
    assert_eq!(cluster.runs_of(slow).iter().filter(|run| run.runid == first).count(), 1);
}

#[test]
fn a_job_that_goes_ends_the_wait() {
    let cluster = Cluster::start();
    let mut gate = gate(&cluster);
    let slow = job(&cluster, "slow", THROUGH_THE_GATE);
    let (running, _) = waiter(&cluster, slow);
    let _ = cluster.executor_of(slow);
    let (queued, _) = waiter(&cluster, slow);
    cluster.wait_for("(select count(*) = 2 from cron.run_request)");
    cluster.unschedule(slow);
    for waiter in [running, queued] {
        assert_eq!(sqlstate(&waiter.join().unwrap().unwrap_err()), "55000");
    }

    // Switched off, what was asked for is over without having run.
    let slow = job(&cluster, "slow", THROUGH_THE_GATE);
    let (running, _) = waiter(&cluster, slow);
    let _ = cluster.executor_of(slow);
    let (queued, _) = waiter(&cluster, slow);
    cluster.wait_for("(select count(*) = 2 from cron.run_request)");
    cluster.sql("select cron.set_job('slow', '{\"active\": false}')");
    for waiter in [running, queued] {
        let run = waiter.join().unwrap().unwrap();
        let row = poll_until("the row of a cancelled run", Duration::from_secs(45), || {
            cluster.finished_runs_of(slow).into_iter().find(|row| row.runid == run)
        });
        assert_eq!(row.outcome.as_deref(), Some("cancelled"), "{row:#?}");
    }
    gate.batch_execute("commit").unwrap();
}
