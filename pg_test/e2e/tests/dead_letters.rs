//! `cron.dead_letters`, `cron.retry_run` and `cron.resolve_run`: what is left for people to do.

use std::time::SystemTime;

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, sqlstate};
use serde_json::json;

/// The error of a statement, in a session of its own: SQLSTATE, message, hint.
#[track_caller]
fn refused(cluster: &Cluster, statement: &str) -> (String, String, String) {
    let Err(error) = cluster.client().batch_execute(statement) else {
        unreachable!("{statement} worked")
    };
    let detail = error.as_db_error();
    let text = |of: fn(&postgres::error::DbError) -> Option<&str>| {
        detail.and_then(of).unwrap_or_default().to_owned()
    };
    (sqlstate(&error).to_owned(), text(|e| Some(e.message())), text(postgres::error::DbError::hint))
}

/// Waits until a run has an end.
#[track_caller]
fn ended(cluster: &Cluster, job: i64, run: i64) -> Run {
    poll_until(&format!("the end of run {run}"), PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|row| row.runid == run)
    })
}

fn letters(cluster: &Cluster) -> Vec<i64> {
    cluster.column("select runid from cron.dead_letters")
}

/// Waits until these are the dead letters: an occurrence becomes one when what follows from its last
/// attempt is written, a moment after that attempt's end.
#[track_caller]
fn letters_are(cluster: &Cluster, wanted: &[i64]) {
    poll_until(&format!("{wanted:?} as dead letters"), PATIENCE, || {
        (letters(cluster) == wanted).then_some(())
    });
}

/// A job that fails once and is switched off then: its id and the failed run.
fn failed_once(cluster: &Cluster, name: &str, command: &str) -> (i64, Run) {
    let job = cluster.schedule(name, "1 second", command);
    let run = cluster.finished_run(job);
    cluster.sql(&format!("update cron.job set active = false where jobid = {job}"));
    cluster.wait_quiet();
    // A second one may have failed meanwhile.
    cluster.sql(&format!(
        "delete from cron.job_run_details where jobid = {job} and runid <> {}",
        run.runid
    ));
    (job, run)
}

#[test]
fn a_failed_occurrence_is_a_dead_letter_until_it_succeeds() {
    let cluster = Cluster::start();
    cluster.sql("create table divisor (n int); insert into divisor values (0)");
    let (job, failed) = failed_once(&cluster, "sum", "select 10 / n from divisor");
    letters_are(&cluster, &[failed.runid]);
    let same: bool = cluster.one_with(
        "select l.jobid = d.jobid and l.jobname = 'sum' and l.scheduled_for = d.scheduled_for \
          and l.attempts = 1 and l.outcome = 'failed' and l.sqlstate = '22012' \
          and l.return_message = d.return_message and l.end_time = d.end_time \
         from cron.dead_letters l join cron.job_run_details d using (runid) where runid = $1",
        &[&failed.runid],
    );
    assert!(same);

    // Once more, and it fails once more.
    let second: i64 = cluster.one_with("select cron.retry_run($1)", &[&failed.runid]);
    let second = ended(&cluster, job, second);
    assert_eq!((second.attempt, second.trigger.as_str()), (2, "retry"));
    assert_eq!(second.scheduled_for, failed.scheduled_for);
    letters_are(&cluster, &[second.runid]);

    cluster.sql("update divisor set n = 5");
    // An earlier attempt names the same occurrence.
    let third: i64 = cluster.one_with("select cron.retry_run($1)", &[&failed.runid]);
    let third = ended(&cluster, job, third).must_have_succeeded();
    assert_eq!(third.attempt, 3);
    letters_are(&cluster, &[]);
    let (state, message, _) =
        refused(&cluster, &format!("select cron.retry_run({})", failed.runid));
    assert_eq!(state, "55000");
    assert!(message.contains(&format!("has succeeded, with run {}", third.runid)), "{message}");
    cluster.wait_for("not exists (select from cron.run_request)");
}

#[test]
fn the_command_is_the_one_that_failed() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    cluster.sql("create table effect (word text)");
    cluster.client_in("other").batch_execute("create table effect (word text)").unwrap();
    for (name, database) in [("here", "postgres"), ("there", "other")] {
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database($1, '1 second', \
             'insert into effect values (''old''); select 1 / 0', $2)",
            &[&name, &database],
        );
        let failed = cluster.finished_run(job);
        cluster.sql(&format!(
            "select cron.set_job('{name}', '{{\"command\": \"insert into effect values (''new'')\", \
             \"active\": false}}')"
        ));
        cluster.wait_quiet();
        let run: i64 = cluster.one_with("select cron.retry_run($1)", &[&failed.runid]);
        let again = ended(&cluster, job, run);
        assert_eq!(again.command, failed.command, "{name}");
        let again = again.must_have_failed_with("22012");
        assert_eq!(again.database, database);
        let new: i64 = cluster
            .client_in(database)
            .query_one("select count(*) from effect where word = 'old'", &[])
            .unwrap()
            .get(0);
        assert_eq!(new, 0);
    }
}

#[test]
fn an_attempt_asked_for_as_its_job_is_switched_off_runs_and_is_recorded_once() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let job = cluster.schedule("off", "1 second", "insert into effect values (1 / 0)");
    let failed = cluster.finished_run(job);
    // Both are news to the scheduler at the same moment.
    let mut client = cluster.client();
    let mut together = client.transaction().unwrap();
    together.execute("select cron.set_job('off', '{\"active\": false}')", &[]).unwrap();
    let run: i64 =
        together.query_one("select cron.retry_run($1)", &[&failed.runid]).unwrap().get(0);
    together.commit().unwrap();
    let again = ended(&cluster, job, run).must_have_failed_with("22012");
    assert_eq!((again.attempt, again.outcome.as_deref()), (2, Some("failed")), "{again:#?}");
    cluster.wait_quiet();
    cluster.flush();
    let counted: i64 = cluster.one("select total_runs from cron.job_stats");
    assert_eq!(counted, 2, "neither was counted twice");
}

#[test]
fn two_who_ask_at_once_get_one_attempt() {
    let cluster = Cluster::start();
    let (job, failed) = failed_once(
        &cluster,
        "job",
        "select 1 / (current_setting('cron.attempt')::int - 1) \
         from pg_sleep(600 * (current_setting('cron.attempt')::int - 1))",
    );
    let ask = format!("select cron.retry_run({})", failed.runid);
    let mut one = cluster.client();
    let mut first = one.transaction().unwrap();
    let run: i64 = first.query_one(&ask, &[]).unwrap().get(0);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| refused(&cluster, &ask));
        cluster.wait_for(
            "exists (select from pg_locks where locktype = 'advisory' and objsubid = 4 and not granted)",
        );
        // Nobody else is in anybody's way.
        let tick = cluster.schedule("tick", "1 second", "select 1");
        let _ = cluster.finished_run(tick).must_have_succeeded();
        first.commit().unwrap();
        let (state, message, _) = other.join().unwrap();
        assert_eq!(state, "55000", "{message}");
    });
    assert_eq!(cluster.run_in_status(job, "running").runid, run);
    let attempts: Vec<i64> = cluster.runs_of(job).iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

#[test]
fn what_cannot_be_tried_again_is_refused() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let (job, failed) = failed_once(&cluster, "job", "select 1 / 0");
    let run = failed.runid;
    let retry = format!("select cron.retry_run({run})");
    assert_eq!(refused(&cluster, "select cron.retry_run(0)").0, "42704");
    let error = cluster.client_as("bob").batch_execute(&retry).unwrap_err();
    assert_eq!(sqlstate(&error), "42501");
    // Another role's command would run with the rights of the job's owner now.
    cluster.sql(&format!("update cron.job set username = 'ann' where jobid = {job}"));
    assert_eq!(refused(&cluster, &retry).0, "55000");
    cluster.sql(&format!("update cron.job set username = current_user where jobid = {job}"));

    let slow = cluster.schedule("slow", "1 second", "select pg_sleep(600)");
    let open = cluster.run_in_status(slow, "running");
    let (state, message, _) = refused(&cluster, &format!("select cron.retry_run({})", open.runid));
    assert!(state == "55000" && message.contains("under way"), "{message}");
    let (state, _, hint) =
        refused(&cluster, &format!("select cron.resolve_run({}, 'failed')", open.runid));
    assert!(state == "55000" && hint.contains("cron.cancel_run"), "{hint}");
    cluster.unschedule(slow);

    cluster.unschedule(job);
    let (state, message, hint) = refused(&cluster, &retry);
    assert_eq!(state, "42704");
    assert_eq!(message, format!("job {job} of run {run} does not exist"));
    assert!(hint.contains("cron.job_run_details"), "{hint}");
    // It can still be resolved.
    cluster.sql(&format!("select cron.resolve_run({run}, 'succeeded')"));
    assert!(!letters(&cluster).contains(&run));
}

#[test]
fn a_resolved_run_says_so_and_keeps_its_outcome() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let job = cluster.schedule_as("ann", "load", "1 second", "select 1 / 0");
    let failed = cluster.finished_run(job);
    cluster.stop_all_jobs();
    let run = failed.runid;
    cluster
        .client_as("ann")
        .batch_execute(&format!("select cron.resolve_run({run}, 'failed', 'not needed')"))
        .unwrap();
    let row = ended(&cluster, job, run).must_have_failed_with("22012");
    assert_eq!(row.outcome.as_deref(), Some("failed"));
    assert_eq!(row.reason.as_deref(), Some("resolved as failed by ann: not needed"));
    assert_eq!((row.end_time, &row.error), (failed.end_time, &failed.error));
    assert!(!letters(&cluster).contains(&run));
    // Somebody knows better; both are on record.
    cluster.sql(&format!("select cron.resolve_run({run}, 'succeeded')"));
    let row = ended(&cluster, job, run);
    let me: String = cluster.one("select current_user::text");
    let both =
        format!("resolved as succeeded by {me} (was: resolved as failed by ann: not needed)");
    assert_eq!(row.reason, Some(both));
    assert_eq!((row.status.as_str(), row.outcome.as_deref()), ("failed", Some("failed")));
    // What counts as done is not done again.
    let (state, message, _) = refused(&cluster, &format!("select cron.retry_run({run})"));
    assert!(state == "55000" && message.contains("has succeeded"), "{message}");
    let error = cluster.try_sql(&format!("select cron.resolve_run({run}, 'done')")).unwrap_err();
    assert_eq!(sqlstate(&error), "22023");
}

#[test]
fn a_run_whose_process_is_gone_can_be_given_an_end() {
    let cluster = Cluster::start();
    let job = cluster.schedule("job", "1 second", "select 1");
    let run = cluster.finished_run(job).must_have_succeeded();
    cluster.stop_all_jobs();
    // As a backup shows a run that was under way when it was taken, in a database without scheduler.
    cluster.conf("cron.database_name", "'template1'");
    cluster.restart();
    cluster.sql(&format!(
        "update cron.job_run_details set status = 'running', outcome = null, end_time = null, \
         return_message = null, job_pid = 1 where runid = {}",
        run.runid
    ));
    cluster.sql(&format!("select cron.resolve_run({}, 'succeeded', 'looked')", run.runid));
    let row = ended(&cluster, job, run.runid);
    assert_eq!((row.status.as_str(), row.outcome.as_deref()), ("failed", Some("crashed")));
    assert!(row.end_time >= row.start_time, "{row:#?}");
    assert!(row.reason.unwrap().starts_with("resolved as succeeded by "));
    letters_are(&cluster, &[]);
}

#[test]
fn a_cancelled_run_is_no_dead_letter() {
    let cluster = Cluster::start();
    let job = cluster.schedule("job", "1 second", "select pg_sleep(600)");
    let pid = cluster.executor_of(job);
    cluster.sql(&format!("select pg_cancel_backend({pid})"));
    let run = cluster.finished_run(job);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"));
    letters_are(&cluster, &[]);
    let (state, message, _) =
        refused(&cluster, &format!("select cron.resolve_run({}, 'failed')", run.runid));
    assert!(state == "55000" && message.contains("has not failed"), "{message}");
}

#[test]
fn a_role_sees_its_own_dead_letters_and_a_long_ledger_is_not_read() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let job = cluster.schedule_as("ann", "load", "0 0 1 1 *", "select 1");
    // Each occurrence has failed first; most have succeeded then.
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, runid, username, scheduled_for, attempt, status, \
          outcome, start_time, end_time) \
         select {job}, n, 'ann', timestamptz '2020-01-01' + n / 2 * interval '1 second', n % 2 + 1, \
          case when n % 2 = 1 and n % 1000 <> 999 then 'succeeded' else 'failed' end, \
          case when n % 2 = 1 and n % 1000 <> 999 then 'succeeded' else 'failed' end, \
          '2020-01-01', '2020-01-02' from generate_series(1000, 200999) n; \
         analyze cron.job_run_details"
    ));
    let mut ann = cluster.client_as("ann");
    let count = |client: &mut postgres::Client| -> i64 {
        client.query_one("select count(*) from cron.dead_letters", &[]).unwrap().get(0)
    };
    assert_eq!(count(&mut ann), 200);
    assert_eq!(count(&mut cluster.client_as("bob")), 0);
    for query in [
        "select * from cron.dead_letters limit 100",
        "select * from cron.dead_letters where jobid = 1 limit 10",
        "select count(*) from cron.dead_letters where end_time > now() - interval '1 day'",
    ] {
        let plan: Vec<String> = ann
            .query(&format!("explain (costs off) {query}"), &[])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let scans = plan.iter().filter(|line| line.contains("Seq Scan on job_run_details"));
        assert_eq!(scans.count(), 0, "{query}\n{}", plan.join("\n"));
    }
}

#[test]
fn what_was_resolved_before_its_retry_was_written_is_not_tried_again() {
    let cluster = Cluster::start();
    let job = cluster.create_job(&json!({
        "job_name": "job", "schedule": "seconds: * * * * * *", "command": "select 1 / 0",
        "max_attempts": 2, "retry_on": "any", "retry_delay": "0 seconds",
    }));
    cluster.wait_known();
    // Who asks for runs of the job keeps its retries waiting.
    let mut client = cluster.client();
    client.batch_execute("begin; select cron.backfill('job', '2001-01-01', '2001-01-01')").unwrap();
    let since: SystemTime =
        client.query_one("select clock_timestamp()", &[]).map(|row| row.get(0)).unwrap();
    let runs = poll_until("two runs that failed", PATIENCE, || {
        let mut runs = cluster.finished_runs_of(job);
        runs.retain(|run| run.attempt == 1 && run.start_time > Some(since));
        (runs.len() >= 2).then_some(runs)
    });
    let (resolved, later) = (&runs[0], &runs[1]);
    client
        .batch_execute(&format!("select cron.resolve_run({}, 'failed'); commit", resolved.runid))
        .unwrap();
    // All that waited is written at once.
    let attempts = |of: &Run| {
        let mut runs = cluster.runs_of(job);
        runs.retain(|run| run.scheduled_for == of.scheduled_for);
        runs.len()
    };
    poll_until("the retry of the later one", PATIENCE, || (attempts(later) == 2).then_some(()));
    cluster.stop_all_jobs();
    let asked: i64 = cluster.one_with(
        "select count(*) from cron.run_request r join cron.job_run_details d \
         using (jobid, scheduled_for) where d.runid = $1",
        &[&resolved.runid],
    );
    assert_eq!((attempts(resolved), asked), (1, 0));
}
