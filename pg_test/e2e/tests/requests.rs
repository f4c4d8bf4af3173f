//! Runs that were asked for: nobody's hold up anybody else's, and none is forgotten while its job
//! cannot be run or its row cannot be read.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until};
use serde_json::{Value, json};

/// What the scheduler says when the table of requests, or one read with it, is locked.
const LOCKED: &str = "reading requests has to wait";

/// A job that runs when asked to, and never by itself.
#[track_caller]
fn job(cluster: &Cluster, name: &str, more: Value) -> i64 {
    let mut options = json!({"job_name": name, "schedule": "0 0 1 1 *", "command": "select 1"});
    if let (Value::Object(options), Value::Object(more)) = (&mut options, more) {
        options.extend(more);
    }
    cluster.create_job(&options)
}

fn run_now(cluster: &Cluster, job: i64) -> i64 {
    cluster.one_with("select cron.run_now($1::bigint)", &[&job])
}

#[track_caller]
fn finished(cluster: &Cluster, job: i64, run: i64) -> Run {
    poll_until(&format!("the end of run {run}"), PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|row| row.runid == run)
    })
}

/// Waits until the request of a run is answered.
#[track_caller]
fn answered(cluster: &Cluster, run: i64) {
    cluster.wait_for(&format!("not exists (select from cron.run_request where runid = {run})"));
}

/// Waits until another job has begun a run at a time when this retry was due already.
#[track_caller]
fn wait_past(cluster: &Cluster, retry: i64) {
    let due: String = cluster
        .one_with("select not_before::text from cron.run_request where runid = $1", &[&retry]);
    let tick = cluster.schedule("tick", "1 second", "select 1");
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {tick} \
         and start_time > '{due}'::timestamptz)"
    ));
    cluster.unschedule(tick);
}

/// The id of a job's next attempt.
#[track_caller]
fn promised(cluster: &Cluster, job: i64) -> i64 {
    poll_until("a retry that waits", PATIENCE, || {
        let runs: Vec<i64> = cluster.column(&format!(
            "select runid from cron.run_request where jobid = {job} and trigger = 'retry'"
        ));
        runs.first().copied()
    })
}

#[test]
fn an_open_transaction_that_asks_for_a_retry_holds_up_nobody_else() {
    let cluster = Cluster::start();
    let failing = job(&cluster, "failing", json!({"command": "select 1 / 0"}));
    let first = run_now(&cluster, failing);
    let _ = finished(&cluster, failing, first);
    answered(&cluster, first);
    cluster.sql(
        "select cron.set_job('failing', \
         '{\"max_attempts\": 2, \"retry_on\": \"any\", \"retry_delay\": \"1 hour\"}')",
    );
    let mut open = cluster.client();
    let mut transaction = open.transaction().unwrap();
    let again: i64 =
        transaction.query_one("select cron.retry_run($1::bigint)", &[&first]).unwrap().get(0);
    // Its next attempt cannot be asked for while that is open.
    let second = run_now(&cluster, failing);
    let _ = finished(&cluster, failing, second);

    let other = job(&cluster, "other", json!({}));
    let run = run_now(&cluster, other);
    let _ = finished(&cluster, other, run);
    answered(&cluster, run);
    cluster.flush();
    cluster.wait_for(&format!(
        "exists (select from cron.job_stat where jobid = {other} and total_runs = 1)"
    ));

    // A new scheduler looks at what an earlier one may have left, and takes all jobs.
    let before = cluster.wait_scheduler();
    cluster.terminate(before);
    cluster.wait_scheduler();
    let late = job(&cluster, "late", json!({}));
    let run = run_now(&cluster, late);
    let _ = finished(&cluster, late, run);
    answered(&cluster, run);
    // Rows that come from elsewhere have it look again.
    cluster.sql(
        "insert into cron.job_run_details (runid, jobid, database, username, command, status) \
         values (nextval('cron.runid_seq'), 4711, 'x', 'x', 'x', 'succeeded')",
    );
    let run = run_now(&cluster, late);
    let _ = finished(&cluster, late, run);
    answered(&cluster, run);

    // The request of the run that has to be followed stays as long.
    let kept: bool = cluster
        .one_with("select exists (select from cron.run_request where runid = $1)", &[&second]);
    assert!(kept);
    transaction.commit().unwrap();
    let _ = finished(&cluster, failing, again);
    answered(&cluster, second);
    let followed: bool = cluster.one_with(
        "select exists (select from cron.run_request r join cron.job_run_details d \
          on d.jobid = r.jobid and d.scheduled_for = r.scheduled_for \
           and r.attempt = d.attempt + 1 where d.runid = $1)",
        &[&second],
    );
    assert!(followed);
}

#[test]
fn a_retry_whose_turn_had_come_survives_that_its_job_is_switched_off() {
    let cluster = Cluster::start();
    cluster.sql("create sequence calls");
    let job = job(
        &cluster,
        "job",
        json!({
            "command": "select 1 / (nextval('calls') - 1)", "max_attempts": 2, "retry_on": "any",
            "retry_delay": "1 second",
        }),
    );
    run_now(&cluster, job);
    let retry = promised(&cluster, job);
    // The pause keeps it from running once it is due.
    cluster.sql("select cron.pause('job')");
    wait_past(&cluster, retry);
    cluster.sql("select cron.set_job('job', '{\"active\": false}')");
    cluster.wait_known();
    cluster.sql("select cron.set_job('job', '{\"active\": true}'); select cron.resume('job')");
    let _ = finished(&cluster, job, retry).must_have_succeeded();
    answered(&cluster, retry);
}

#[test]
fn what_was_asked_for_waits_while_no_job_is_to_be_run() {
    let cluster = Cluster::start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let job = job(&cluster, "job", json!({"command": "select pg_advisory_xact_lock_shared(7)"}));
    let first = run_now(&cluster, job);
    let _ = cluster.executor_of(job);
    let second = run_now(&cluster, job);
    cluster.wait_known();
    cluster.conf("cron.launch_active_jobs", "off");
    cluster.reload();
    let run = finished(&cluster, job, first);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"));
    drop(gate);
    cluster.conf("cron.launch_active_jobs", "on");
    cluster.reload();
    let _ = finished(&cluster, job, second).must_have_succeeded();
    answered(&cluster, second);
}

#[test]
fn what_was_asked_for_waits_while_its_job_cannot_be_run() {
    let cluster = Cluster::start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let job = job(&cluster, "job", json!({"command": "select pg_advisory_xact_lock_shared(7)"}));
    let first = run_now(&cluster, job);
    let _ = cluster.executor_of(job);
    let second = run_now(&cluster, job);
    cluster.wait_known();
    cluster.sql("update cron.job set schedule = 'never ever'");
    let run = finished(&cluster, job, first);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"));
    drop(gate);
    cluster.sql("update cron.job set schedule = '0 0 1 1 *'");
    let _ = finished(&cluster, job, second).must_have_succeeded();
    answered(&cluster, second);
}

#[test]
fn what_was_asked_for_while_its_rows_were_locked_runs() {
    let cluster = Cluster::builder().conf("cron.log_min_messages", "debug1").start();
    let job = job(&cluster, "job", json!({}));
    cluster.wait_known();
    let mut locked = cluster.client();
    for restart in [false, true] {
        let mut lock = locked.transaction().unwrap();
        lock.batch_execute("lock table cron.run_cancel in access exclusive mode").unwrap();
        let said = |times| cluster.log().matches(LOCKED).count() >= times;
        let before = cluster.log().matches(LOCKED).count();
        let run = run_now(&cluster, job);
        poll_until("a look that found the table locked", PATIENCE, || {
            said(before + 1).then_some(())
        });
        if restart {
            let scheduler = cluster.wait_scheduler();
            cluster.terminate(scheduler);
            cluster.wait_scheduler();
            let before = cluster.log().matches(LOCKED).count();
            poll_until("another one", PATIENCE, || said(before + 1).then_some(()));
        }
        lock.rollback().unwrap();
        let _ = finished(&cluster, job, run).must_have_succeeded();
        answered(&cluster, run);
    }
}

#[test]
fn a_retry_that_was_taken_back_is_in_nobodys_way_once_its_job_was_off() {
    let cluster = Cluster::start();
    cluster.sql("create sequence calls");
    let job = job(
        &cluster,
        "job",
        json!({
            "command": "select 1 / (nextval('calls') - 1)", "max_attempts": 2, "retry_on": "any",
            "retry_delay": "2 seconds",
        }),
    );
    cluster.wait_known();
    let first = run_now(&cluster, job);
    let retry = promised(&cluster, job);
    let due: String = cluster
        .one_with("select not_before::text from cron.run_request where runid = $1", &[&retry]);
    assert!(cluster.one_with::<bool>("select cron.cancel_run($1::bigint)", &[&retry]));
    let run = finished(&cluster, job, retry);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"));
    cluster.sql("select cron.set_job('job', '{\"active\": false}')");
    let tick = cluster.schedule("tick", "1 second", "select 1");
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {tick} \
         and start_time > '{due}'::timestamptz)"
    ));
    cluster.unschedule(tick);
    cluster.sql("select cron.set_job('job', '{\"active\": true}')");
    let again: i64 = cluster.one_with("select cron.retry_run($1::bigint)", &[&first]);
    let _ = finished(&cluster, job, again).must_have_succeeded();
    answered(&cluster, again);
}

#[test]
fn an_open_transaction_with_a_job_that_is_over_holds_up_nobody_else() {
    let cluster = Cluster::start();
    let at: String = cluster.one(
        "select to_char((now() + interval '3 seconds') at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
    );
    let once = job(&cluster, "once", json!({"schedule": format!("at {at}"), "timezone": "UTC"}));
    let other = job(&cluster, "other", json!({}));
    cluster.wait_known();
    let mut open = cluster.client();
    let mut transaction = open.transaction().unwrap();
    transaction
        .batch_execute("select cron.set_job('once', '{\"description\": \"mine\"}')")
        .unwrap();
    let _ = cluster.finished_run(once);
    let run = run_now(&cluster, other);
    let _ = finished(&cluster, other, run);
    cluster.flush();
    cluster.wait_for(&format!(
        "exists (select from cron.job_stat where jobid = {other} and total_runs = 1)"
    ));
    transaction.commit().unwrap();
    cluster.wait_for(&format!("not (select active from cron.job where jobid = {once})"));
}

#[test]
fn a_locked_row_of_a_dead_run_holds_up_nobody_else() {
    let cluster = Cluster::start();
    let first = job(&cluster, "first", json!({}));
    cluster.wait_known();
    let scheduler = cluster.wait_scheduler();
    pg_tock_test::signal(scheduler, rustix::process::Signal::STOP);
    cluster.sql(&format!(
        "insert into cron.job_run_details (runid, jobid, database, username, command, status, start_time) \
         values (nextval('cron.runid_seq'), {first}, 'postgres', 'postgres', 'x', 'running', now())"
    ));
    let mut open = cluster.client();
    let mut transaction = open.transaction().unwrap();
    transaction
        .batch_execute("select from cron.job_run_details where status = 'running' for update")
        .unwrap();
    pg_tock_test::signal(scheduler, rustix::process::Signal::CONT);
    let second = job(&cluster, "second", json!({}));
    let run = run_now(&cluster, second);
    let _ = finished(&cluster, second, run).must_have_succeeded();
    answered(&cluster, run);
    assert_eq!(
        cluster.one::<i64>("select count(*) from cron.job_run_details where end_time is null"),
        1
    );
    transaction.rollback().unwrap();
    cluster.wait_for("not exists (select from cron.job_run_details where end_time is null)");
}

#[test]
fn what_is_asked_for_while_all_jobs_are_read_is_not_lost() {
    let cluster = Cluster::start();
    let mut client = cluster.client();
    let ask = client
        .prepare(
            "select cron.run_now(cron.create_job(jsonb_build_object('job_name', $1::text, \
             'schedule', '0 0 1 1 *', 'command', 'select 1')))",
        )
        .unwrap();
    for n in 0..2_000 {
        if n % 100 == 0 {
            // All jobs are read again, at most once a second.
            client.batch_execute("alter role postgres connection limit -1").unwrap();
        }
        let _ = client.query_one(&ask, &[&n.to_string()]).unwrap();
    }
    // Each request is answered by the row of its run.
    cluster.wait_for("not exists (select from cron.run_request)");
    let rows: i64 =
        cluster.one("select count(*) from cron.job_run_details where status = 'succeeded'");
    assert_eq!(rows, 2_000);
}

#[test]
fn a_full_table_of_locks_does_not_end_the_scheduler() {
    let cluster = Cluster::builder()
        .conf("max_locks_per_transaction", "10")
        .conf("cron.log_min_messages", "debug1")
        .start();
    cluster.sql("create database other");
    let job = cluster
        .create_job(&json!({"job_name": "job", "schedule": "1 second", "command": "select 1", "database": "other"}));
    let _ = cluster.finished_run(job).must_have_succeeded();
    let scheduler = cluster.wait_scheduler();
    let mut greedy = cluster.client();
    // What it has got stays its own when the statement fails.
    let full =
        greedy.batch_execute("select pg_advisory_lock(n) from generate_series(1, 1000000) n");
    assert_eq!(
        full.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(),
        Some("53200")
    );
    poll_until("a look that could not say whether the job is held", PATIENCE, || {
        cluster.log().contains(&format!("whether job {job} is held is not known")).then_some(())
    });
    greedy.batch_execute("select pg_advisory_unlock_all()").unwrap();
    let last: i64 = cluster.one("select max(runid) from cron.job_run_details");
    poll_until("a run after that", PATIENCE, || {
        let runs = cluster.finished_runs_of(job);
        runs.into_iter().find(|run| run.runid > last && run.status == "succeeded")
    });
    assert_eq!(cluster.wait_scheduler(), scheduler);
}

#[test]
fn a_request_outlasts_a_time_in_which_the_row_of_its_job_cannot_be_read() {
    let cluster = Cluster::with_legacy_database();
    let mut legacy = cluster.client_in("legacy");
    legacy.batch_execute("create extension pg_tock").unwrap();
    let mut schedule = |name: &str| -> i64 {
        let query = "select cron.schedule($1, '0 0 1 1 *', 'select 1')";
        legacy.query_one(query, &[&name]).unwrap().get(0)
    };
    let (job, other) = (schedule("job"), schedule("other"));
    let mut holder = cluster.client_in("legacy");
    holder.execute("select cron.hold($1::bigint)", &[&job]).unwrap();
    let mut run_now = |job: i64| -> i64 {
        legacy.query_one("select cron.run_now($1::bigint)", &[&job]).unwrap().get(0)
    };
    let (run, later) = (run_now(job), run_now(other));
    let mut succeeded = |run: i64| {
        let query = "select from cron.job_run_details where runid = $1 and status = 'succeeded'";
        poll_until("the end of a run", PATIENCE, || {
            legacy.query_opt(query, &[&run]).unwrap().map(drop)
        });
    };
    // By then the scheduler knows of the first.
    succeeded(later);
    // A character of that encoding that Unicode does not have.
    let mut set_window = |window: &str| {
        let update = format!("update cron.job set run_window = {window} where jobid = {job}");
        holder.batch_execute(&update).unwrap();
    };
    set_window("convert_from('\\xa9a1', 'EUC_JP')");
    let complaint = format!("job {job} does not run: its row cannot be read");
    poll_until("the complaint", PATIENCE, || cluster.log().contains(&complaint).then_some(()));
    set_window("null");
    holder.execute("select cron.release($1::bigint)", &[&job]).unwrap();
    succeeded(run);
}
