//! Jobs that become another role's or another database's: what was asked for before is run as whom and
//! where it was asked for, or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]

mod web;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, sqlstate};
use serde_json::json;

/// Ways of handing a job on to another role or database.
const WAYS: [(&str, &str); 5] = [
    ("alter", "select cron.alter_job({job}, username => 'boss')"),
    ("set", "select cron.set_job({job}, '{\"username\": \"boss\"}')"),
    ("update", "update cron.job set username = 'boss' where jobid = {job}"),
    ("elsewhere", "select cron.set_job({job}, '{\"database\": \"other\"}')"),
    ("moved", "update cron.job set database = 'other' where jobid = {job}"),
];

/// Fails until the table `ready` has a row, and leaves a trace from then on, in whatever database.
const OLD: &str = "insert into trace values (current_user, 'old'); \
                   select 1 / (select count(*) from ready)";

/// A cluster with the role ann, a superuser named boss, and what her commands need in two databases.
fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create role boss superuser login");
    cluster.sql("create database other");
    for database in ["postgres", "other"] {
        cluster
            .client_in(database)
            .batch_execute(
                "create table trace (who text, word text); create table ready (n int); \
                 grant all on trace, ready to public",
            )
            .unwrap();
    }
    cluster
}

fn no_trace(cluster: &Cluster, word: &str) {
    for database in ["postgres", "other"] {
        let traces = cluster
            .client_in(database)
            .query("select who from trace where word = $1", &[&word])
            .unwrap();
        let who: Vec<String> = traces.iter().map(|row| row.get(0)).collect();
        assert_eq!(who, Vec::<String>::new(), "{word} in {database}");
    }
}

/// The run of this id, once it is over.
#[track_caller]
fn over(cluster: &Cluster, job: i64, run: i64) -> Run {
    poll_until(&format!("the end of run {run} of job {job}"), PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|finished| finished.runid == run)
    })
}

/// A run that did not fit its job any more.
#[track_caller]
fn not_run(run: &Run) {
    let said = (run.status.as_str(), run.outcome.as_deref(), run.sqlstate.as_deref());
    assert_eq!(said, ("failed", Some("failed"), Some("55000")), "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some("role or database changed"), "{run:#?}");
    let message = format!(
        "ERROR:  job {} has another role or database since this run was asked for\n",
        run.jobid
    );
    assert_eq!(run.return_message, message, "{run:#?}");
}

/// A run of ann's command has failed, and one more of it is asked for, which the pause keeps waiting. Her
/// job says something harmless by then. Returns the job and the run that waits.
fn ambush(cluster: &Cluster, name: &str) -> (i64, i64) {
    let mut ann = cluster.client_as("ann");
    let mut id = |query: &str| -> i64 { ann.query_one(query, &[]).unwrap().get(0) };
    let job = id(&format!("select cron.create_job('{name}', '0 0 29 2 *', $${OLD}$$)"));
    let failed = id(&format!("select cron.run_now('{name}', wait => true)"));
    cluster.sql(&format!("select cron.pause({job})"));
    let waits = id(&format!("select cron.retry_run({failed})"));
    let harmless = "insert into trace values (current_user, ''new'')";
    let set = format!("select cron.set_job('{name}', '{{\"command\": \"{harmless}\"}}')");
    ann.batch_execute(&set).unwrap();
    (job, waits)
}

/// What becomes of it, and that the job is run as it is now.
fn sprung(cluster: &Cluster, (job, waits): (i64, i64)) {
    cluster.sql(&format!("select cron.resume({job})"));
    let run = over(cluster, job, waits);
    not_run(&run);
    // Its row says whose command it is: nobody else can have it run again.
    assert_eq!((run.username.as_str(), run.database.as_str()), ("ann", "postgres"), "{run:#?}");
    assert_eq!(run.command, OLD);
    let retry = cluster.client().query_one("select cron.retry_run($1)", &[&waits]).unwrap_err();
    assert_eq!(sqlstate(&retry), "55000");
    cluster.wait_for(&format!("exists (select from cron.dead_letters where runid = {waits})"));
    cluster.sql(&format!("select cron.run_now({job}, wait => true)"));
}

#[test]
fn a_retry_asked_for_before_is_not_run_as_another_role_or_elsewhere() {
    let cluster = cluster();
    let ambushes = WAYS.map(|(name, _)| ambush(&cluster, name));
    cluster.sql("insert into ready values (1)");
    cluster.client_in("other").batch_execute("insert into ready values (1)").unwrap();
    for ((_, way), (job, waits)) in WAYS.into_iter().zip(ambushes) {
        cluster.sql(&way.replace("{job}", &job.to_string()));
        // It ends where it is, whatever keeps its job from running.
        not_run(&over(&cluster, job, waits));
        sprung(&cluster, (job, waits));
    }
    no_trace(&cluster, "old");
    let here: Vec<String> = cluster.column("select distinct who from trace");
    assert_eq!(here, ["boss"]);
    let there: String =
        cluster.client_in("other").query_one("select distinct who from trace", &[]).unwrap().get(0);
    assert_eq!(there, "ann");
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn a_scheduler_that_was_away_does_not_run_it_either() {
    let cluster = cluster();
    let ambushes = WAYS.map(|(name, _)| ambush(&cluster, name));
    cluster.sql("insert into ready values (1)");
    cluster.client_in("other").batch_execute("insert into ready values (1)").unwrap();
    // Nobody looks while the jobs are handed on.
    cluster.conf("cron.database_name", "template1");
    cluster.restart();
    for ((_, way), (job, _)) in WAYS.into_iter().zip(ambushes) {
        cluster.sql(&way.replace("{job}", &job.to_string()));
        cluster.sql(&format!("update cron.job set paused_until = null where jobid = {job}"));
    }
    cluster.conf("cron.database_name", "postgres");
    cluster.restart();
    for ambush in ambushes {
        sprung(&cluster, ambush);
    }
    no_trace(&cluster, "old");
    cluster.wait_for("not exists (select from cron.run_request)");
    // Nor does it come to another attempt once that is all in the past.
    cluster.restart();
    cluster.wait_known();
    assert_eq!(cluster.one::<i64>("select count(*) from cron.run_request"), 0);
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn an_attempt_that_was_to_follow_is_not_made_as_another_role() {
    let cluster = cluster();
    let job = cluster.create_job(&json!({
        "job_name": "job", "schedule": "0 0 29 2 *", "command": "select 1 / 0",
        "max_attempts": 5, "retry_on": "any", "retry_delay": "1 hour",
    }));
    cluster.sql(&format!("update cron.job set username = 'ann' where jobid = {job}"));
    let first: i64 = cluster.one("select cron.run_now('job'::text, wait => true)");
    cluster.wait_for("exists (select from cron.run_request where trigger = 'retry')");
    let asked: Vec<String> =
        cluster.column("select username || ' in ' || database from cron.run_request");
    assert_eq!(asked, ["ann in postgres"]);
    let retry: i64 = cluster.one("select runid from cron.run_request");
    cluster
        .sql("select cron.set_job('job', '{\"username\": \"boss\", \"command\": \"select 2\"}')");
    let run = over(&cluster, job, retry);
    not_run(&run);
    // There was no command of ann's to be run.
    assert_eq!((run.username.as_str(), run.command.as_str()), ("boss", "select 2"), "{run:#?}");
    cluster.wait_for("not exists (select from cron.run_request)");
    // However often it is looked at, nothing follows; what was to be done is left for people.
    cluster.restart();
    cluster.wait_known();
    assert_eq!(cluster.one::<i64>("select count(*) from cron.run_request"), 0);
    assert_eq!(cluster.column::<i64>("select runid from cron.dead_letters"), [retry]);
    assert_eq!(over(&cluster, job, first).username, "ann");
    let again: i64 = cluster.one_with("select cron.retry_run($1)", &[&retry]);
    let again = over(&cluster, job, again).must_have_succeeded();
    assert_eq!((again.username.as_str(), again.command.as_str()), ("boss", "select 2"));
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn an_attempt_that_follows_a_run_from_before_holds_up_nothing_of_the_new_owner() {
    let cluster = cluster();
    cluster.sql("create table gate (n int); insert into gate values (1); grant all on gate to ann");
    let job = cluster.create_job(&json!({
        "job_name": "job", "schedule": "0 0 29 2 *", "command": "update gate set n = n + 1; select 1 / 0",
        "max_attempts": 5, "retry_on": "any", "retry_delay": "1 second",
    }));
    cluster.sql(&format!("update cron.job set username = 'ann' where jobid = {job}"));
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    let first: i64 = cluster.one("select cron.run_now('job'::text)");
    let _ = cluster.executor_of(job);
    // Nothing else of the job waits when it is handed on.
    cluster
        .sql("select cron.set_job('job', '{\"username\": \"boss\", \"command\": \"select 2\"}')");
    gate.batch_execute("commit").unwrap();
    assert_eq!(over(&cluster, job, first).username, "ann");
    let retry = poll_until("the attempt that follows", PATIENCE, || {
        let runs = cluster.finished_runs_of(job).into_iter();
        runs.map(|run| run.runid).find(|run| *run != first)
    });
    not_run(&over(&cluster, job, retry));
    let again: i64 = cluster.one("select cron.run_now('job'::text, wait => true)");
    assert_eq!(over(&cluster, job, again).must_have_succeeded().username, "boss");
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn runs_asked_for_before_are_none_of_the_new_owner() {
    let cluster = cluster();
    let job: i64 = cluster
        .client_as("ann")
        .query_one("select cron.create_job('past', '0 0 1 * *', $$select 1$$)", &[])
        .unwrap()
        .get(0);
    cluster.sql(&format!("select cron.pause({job})"));
    let asked: Vec<i64> = cluster
        .client_as("ann")
        .query("select cron.backfill('past', '2020-01-01', '2020-03-31')", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(asked.len(), 3);
    let trace = "insert into trace values (current_user, ''new'')";
    cluster.sql(&format!(
        "select cron.set_job('past', '{{\"username\": \"boss\", \"command\": \"{trace}\"}}')"
    ));
    for run in asked {
        not_run(&over(&cluster, job, run));
    }
    no_trace(&cluster, "new");
    // Whoever owns it now asks for himself.
    cluster.sql(&format!("select cron.resume({job})"));
    let again = cluster.column::<i64>("select cron.backfill('past', '2020-01-01', '2020-03-31')");
    assert_eq!(again.len(), 3);
    for run in again {
        let run = over(&cluster, job, run).must_have_succeeded();
        assert_eq!((run.username.as_str(), run.attempt), ("boss", 2));
    }
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn a_handler_is_not_given_the_alerts_of_another_role() {
    let cluster = cluster();
    let mut ann = cluster.client_as("ann");
    let mut id = |query: &str| -> i64 { ann.query_one(query, &[]).unwrap().get(0) };
    let handler = id("select cron.create_job('handler', '0 0 29 2 *', 'select 1')");
    cluster.sql(&format!("select cron.pause({handler})"));
    let _ = id("select cron.create_job('breaks', '1 second', 'select 1 / 0', \
                alert_after_failures => 1, alert_job => 'handler')");
    cluster.wait_for("exists (select from cron.run_request where trigger = 'alert')");
    let call: i64 = cluster.one("select runid from cron.run_request where trigger = 'alert'");
    let trace = "insert into trace select current_user, current_setting(''cron.alert'')";
    cluster.sql(&format!(
        "select cron.set_job({handler}, '{{\"username\": \"boss\", \"command\": \"{trace}\"}}')"
    ));
    cluster.sql(&format!("select cron.resume({handler})"));
    not_run(&over(&cluster, handler, call));
    assert_eq!(cluster.one::<i64>("select count(*) from trace"), 0);
}

#[test]
fn a_request_sent_before_is_not_sent_with_the_secrets_of_another_role() {
    let servers = web::Servers::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let app = Router::new().fallback(any(move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        StatusCode::NOT_FOUND
    }));
    let url = format!("http://{}/", servers.http(app));
    let cluster = web::builder().start();
    cluster.role("ann");
    cluster.sql("create role boss superuser login");
    cluster
        .sql("grant execute on function cron.set_secret(text, text), cron.create_http_job to ann");
    for role in ["ann", "boss"] {
        cluster.client_as(role).batch_execute("select cron.set_secret('token', 'hidden')").unwrap();
    }
    let create = format!(
        "select cron.create_http_job('call', '0 0 29 2 *', '{url}', headers => \
         '{{\"Authorization\": \"{{{{secret:token}}}}\"}}')"
    );
    let job: i64 = cluster.client_as("ann").query_one(&create, &[]).unwrap().get(0);
    let failed: i64 = cluster.one("select cron.run_now('call'::text, wait => true)");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    cluster.sql(&format!("select cron.pause({job})"));
    let waits: i64 = cluster.one_with("select cron.retry_run($1)", &[&failed]);
    cluster.sql("update cron.job set username = 'boss', paused_until = null");
    not_run(&over(&cluster, job, waits));
    assert_eq!(seen.load(Ordering::SeqCst), 1, "nothing was sent");
}

#[test]
fn a_dry_run_shows_nobody_what_another_role_would_do() {
    let cluster = cluster();
    cluster.conf("cron.max_running_jobs", "1");
    cluster.restart();
    cluster.wait_known();
    let slow = cluster.schedule("slow", "1 second", "select pg_sleep(600)");
    let _ = cluster.executor_of(slow);
    let mut ann = cluster.client_as("ann");
    ann.batch_execute("set statement_timeout = '40 s'").unwrap();
    let job: i64 = ann
        .query_one("select cron.create_job('job', '0 0 29 2 *', 'select 1')", &[])
        .unwrap()
        .get(0);
    std::thread::scope(|scope| {
        let dry = scope.spawn(move || {
            ann.query_one("select status, return_message from cron.dry_run('job')", &[])
        });
        cluster.wait_for(
            "exists (select from pg_stat_activity where query like '%cron.dry_run(%' \
              and usename = 'ann' and wait_event = 'Extension')",
        );
        // It waits for its turn.
        cluster.flush();
        let secret = "do 'begin raise ''hidden''; end'";
        cluster.sql(&format!(
            "update cron.job set username = 'boss', command = $${secret}$$ where jobid = {job}"
        ));
        cluster.unschedule(slow);
        let row = dry.join().unwrap().unwrap();
        let said: (String, String) = (row.get(0), row.get(1));
        assert_eq!(said.0, "failed", "{said:?}");
        assert!(said.1.contains("has another role or database since"), "{said:?}");
    });
    assert!(cluster.runs_of(job).is_empty());
}
