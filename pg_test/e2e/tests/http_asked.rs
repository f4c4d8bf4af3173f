//! HTTP runs that people try, repeat and end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]

mod web;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, signal, sqlstate};
use postgres::Row;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use web::{Servers, get, job_with};

const TOKEN: &str = "s3cr3t/+\"ä";

/// What came: method, path, value of `Authorization`, body.
type Seen = Arc<Mutex<Vec<[String; 4]>>>;

/// A server that answers each request with the next of these statuses, the last for ever.
fn server(servers: &Servers, statuses: &'static [u16]) -> (SocketAddr, Seen) {
    let seen: Seen = Arc::default();
    let log = Arc::clone(&seen);
    let app = Router::new().fallback(any(
        move |method: Method, uri: Uri, headers: HeaderMap, body: String| async move {
            let mut log = log.lock().unwrap();
            let key = headers.get("authorization").map(|value| value.as_bytes().to_vec());
            let key = String::from_utf8(key.unwrap_or_default()).unwrap();
            let status = statuses.get(log.len()).or(statuses.last()).copied().unwrap();
            log.push([method.to_string(), uri.to_string(), key, body]);
            StatusCode::from_u16(status).unwrap()
        },
    ));
    (servers.http(app), seen)
}

/// A server that takes requests and never answers.
fn silent(servers: &Servers) -> SocketAddr {
    servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
    })
}

fn set_secret(cluster: &Cluster) {
    cluster.client().execute("select cron.set_secret('token', $1)", &[&TOKEN]).unwrap();
}

/// A job nobody but people runs.
fn create(cluster: &Cluster, name: &str, url: &str, further: &str) -> i64 {
    let id = cluster.one_with(
        &format!(
            "select cron.create_http_job($1, '0 0 29 2 *', $2, headers => \
             '{{\"Authorization\": \"Bearer {{{{secret:token}}}}\"}}'{further})"
        ),
        &[&name, &url],
    );
    cluster.wait_known();
    id
}

fn run_now(cluster: &Cluster, job: &str) -> i64 {
    cluster.one_with("select cron.run_now($1::text)", &[&job])
}

/// The run of this id, once it is over.
fn over(cluster: &Cluster, job: i64, run: i64) -> Run {
    poll_until("the end of the run", PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|finished| finished.runid == run)
    })
}

/// A run whose answer was none of those expected.
fn failed(run: Run) -> Run {
    assert_eq!((run.status.as_str(), run.sqlstate.as_deref()), ("failed", None), "{run:#?}");
    run
}

fn dry_run(cluster: &Cluster, job: &str) -> Row {
    let mut rows = cluster.rows("select * from cron.dry_run($1::text)", &[&job]);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

fn text(row: &Row, column: &str) -> String {
    row.get::<_, Option<String>>(column).unwrap_or_default()
}

#[test]
fn a_dry_run_shows_the_request_and_sends_nothing() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let url = format!("http://{address}/{{{{secret:token}}}}/{{{{job_name}}}}?at={{{{attempt}}}}");
    let body =
        ", body => '{\"run\": {{run_id}}, \"key\": \"{{secret:token}}\"}', max_attempts => 3";
    let _ = create(&cluster, "tried", &url, body);
    let row = dry_run(&cluster, "tried");
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    assert_eq!(text(&row, "return_message"), "request would be sent to 127.0.0.1");
    assert!(row.get::<_, f64>("duration_ms") >= 0.0);
    assert_eq!(row.get::<_, Option<Value>>("error"), None);
    let request: Value = row.get("request");
    assert_eq!(request["method"], json!("POST"));
    assert_eq!(request["url"], json!(format!("http://{address}/***/tried?at=1")));
    assert_eq!(request["headers"]["authorization"], json!("Bearer ***"));
    assert_eq!(request["headers"]["x-cron-job"], json!("tried"));
    assert!(request["headers"]["idempotency-key"].is_string(), "{request}");
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["key"], json!("***"));
    assert!(body["run"].is_i64(), "{body}");
    let addresses: Value = row.get("addresses");
    assert_eq!(addresses, json!([{"address": "127.0.0.1", "allowed": true}]));
    cluster.flush();
    for nothing in ["cron.job_run_details", "cron.run_request", "cron.job_stat", "cron.job_skip"] {
        assert_eq!(cluster.one::<i64>(&format!("select count(*) from {nothing}")), 0, "{nothing}");
    }
    assert!(cluster.column::<i64>("select jobid from cron.running").is_empty());
    // The same job can be run, and tried again, whatever was tried.
    let run: i64 = cluster.one("select cron.run_now('tried'::text, wait => true)");
    assert_eq!(
        cluster.one_with::<String>(
            "select status from cron.job_run_details where runid = $1",
            &[&run]
        ),
        "succeeded"
    );
    assert_eq!(text(&dry_run(&cluster, "tried"), "status"), "succeeded");
    assert_eq!(seen.lock().unwrap().len(), 1, "only the run has sent something");
    assert!(!cluster.log().contains("s3cr3t"));
}

#[test]
fn a_dry_run_says_what_would_keep_a_request_from_leaving() {
    let cluster = Cluster::start();
    set_secret(&cluster);
    for (name, url, code, allowed) in [
        ("metadata", "http://169.254.169.254/", "42501", Some(false)),
        ("here", "http://localhost/", "42501", Some(false)),
        ("public", "http://192.0.2.1/", "42501", Some(false)),
        ("no such host", "http://nowhere.invalid/", "08001", None),
    ] {
        let _ = create(&cluster, name, url, "");
        let row = dry_run(&cluster, name);
        assert_eq!(text(&row, "status"), "failed", "{name}: {row:?}");
        let error: Value = row.get("error");
        assert_eq!(error["sqlstate"], json!(code), "{name}: {error}");
        assert_eq!(error["message"], json!(text(&row, "return_message")));
        assert_eq!(row.get::<_, Value>("request")["url"], json!(url));
        let addresses: Value = row.get("addresses");
        assert_eq!(addresses[0]["allowed"].as_bool(), allowed, "{name}: {addresses}");
    }
    // A secret that is not there any more keeps it, too.
    cluster.sql("set session_replication_role = replica; delete from cron.secret");
    let row = dry_run(&cluster, "here");
    assert_eq!(row.get::<_, Value>("error")["sqlstate"], json!("22023"));
    assert!(text(&row, "return_message").contains("\"token\""), "{row:?}");
    assert_eq!(row.get::<_, Option<Value>>("request"), None);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job_run_details"), 0);
}

#[test]
fn retry_run_sends_what_its_run_sent() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[404, 200, 404, 200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let old = format!("http://{address}/old");
    let id = create(&cluster, "call", &old, ", method => 'PUT', body => 'for {{job_name}}'");
    let first = run_now(&cluster, "call");
    let first = failed(over(&cluster, id, first));
    cluster.sql(&format!(
        "select cron.set_job('call', '{{\"url\": \"http://{address}/new\", \"method\": \"GET\", \
          \"body\": null, \"headers\": {{}}, \"expect_status\": \"500\"}}')"
    ));
    cluster.client().execute("select cron.set_secret('token', 'n3w')", &[]).unwrap();
    let second: i64 = cluster.one_with("select cron.retry_run($1)", &[&first.runid]);
    let second = over(&cluster, id, second).must_have_succeeded();
    assert_eq!(second.command, format!("PUT {old}"));
    assert_eq!((second.attempt, second.scheduled_for), (2, first.scheduled_for));
    {
        let seen = seen.lock().unwrap();
        let wanted = |key: &str| ["PUT", "/old", key, "for call"].map(str::to_owned);
        assert_eq!(seen[0], wanted(&format!("Bearer {TOKEN}")));
        // The request is that of the run; the value of a secret is never kept, and is the present one.
        assert_eq!(seen[1], wanted("Bearer n3w"));
    }
    let kept: Value = cluster.one_with(
        "select http->'request' from cron.job_run_details where runid = $1",
        &[&second.runid],
    );
    assert_eq!(kept["headers"]["Authorization"], json!("Bearer {{secret:token}}"));
    assert_eq!((&kept["method"], &kept["body"]), (&json!("PUT"), &json!("for {{job_name}}")));

    // One that is too long to be kept can be sent as long as the job has not changed.
    let body = "x".repeat(10_000);
    let long = create(&cluster, "long", &old, &format!(", body => '{body}'"));
    let run = run_now(&cluster, "long");
    let run = failed(over(&cluster, long, run));
    let retry = |run: i64| cluster.client().query_one("select cron.retry_run($1)", &[&run]);
    cluster.sql("select cron.set_job('long', '{\"body\": \"short\"}')");
    assert_eq!(sqlstate(&retry(run.runid).unwrap_err()), "55000");
    cluster.sql(&format!("select cron.set_job('long', '{{\"body\": \"{body}\"}}')"));
    cluster.wait_known();
    let again: i64 = retry(run.runid).unwrap().get(0);
    let _ = over(&cluster, long, again).must_have_succeeded();
    assert_eq!(seen.lock().unwrap()[3][3], body);

    // What was SQL is not sent, and what was sent is not run as SQL.
    let sql = cluster.one("select cron.schedule('was sql', '0 0 29 2 *', 'select 1/0')");
    cluster.wait_known();
    let ran = run_now(&cluster, "was sql");
    let ran = over(&cluster, sql, ran).must_have_failed_with("22012");
    let _ = create(&cluster, "was sql", &old, "");
    assert_eq!(sqlstate(&retry(ran.runid).unwrap_err()), "55000");
    cluster.sql("select cron.schedule('call', '0 0 29 2 *', 'select 1')");
    cluster.sql("update cron.job_run_details set status = 'failed' where attempt = 2");
    assert_eq!(sqlstate(&retry(second.runid).unwrap_err()), "55000");
}

#[test]
fn a_request_under_way_is_neither_resolved_nor_sent_again() {
    let servers = Servers::new();
    let url = format!("http://{}/", silent(&servers));
    let cluster = web::builder().conf("cron.http_timeout", "1h").start();
    set_secret(&cluster);
    let id = create(&cluster, "slow", &url, "");
    let run = run_now(&cluster, "slow");
    cluster.wait_for("exists (select from pg_locks where objsubid = 3 and locktype = 'advisory')");
    for statement in ["select cron.resolve_run($1, 'failed')", "select cron.retry_run($1)"] {
        let error = cluster.client().execute(statement, &[&run]).unwrap_err();
        assert_eq!(sqlstate(&error), "55000", "{statement}: {error:?}");
    }
    assert!(cluster.one::<bool>(&format!("select cron.cancel_run({run})")));
    assert_eq!(over(&cluster, id, run).outcome.as_deref(), Some("cancelled"));
}

#[test]
fn a_request_that_was_cancelled_before_it_was_sent_is_not_sent() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let paths = || seen.lock().unwrap().iter().map(|seen| seen[1].clone()).collect::<Vec<_>>();
    let [first, unwanted, witness] = ["/first", "/unwanted", "/witness"]
        .map(|path| create(&cluster, path, &format!("http://{address}{path}"), ""));
    let _ = over(&cluster, first, run_now(&cluster, "/first")).must_have_succeeded();
    let (scheduler, worker) = (cluster.wait_scheduler(), cluster.pid_of("pg_tock http"));
    // They are on the way to the worker, and the scheduler reads nothing of the cancel.
    signal(worker, Signal::STOP);
    let (run, other) = (run_now(&cluster, "/unwanted"), run_now(&cluster, "/witness"));
    // The second one is answered by a turn that has read of both.
    cluster.flush();
    cluster.flush();
    signal(scheduler, Signal::STOP);
    assert!(cluster.one::<bool>(&format!("select cron.cancel_run({run}, 'not needed')")));
    signal(worker, Signal::CONT);
    poll_until("what comes after it", PATIENCE, || {
        paths().contains(&"/witness".to_owned()).then_some(())
    });
    signal(scheduler, Signal::CONT);
    let ended = over(&cluster, unwanted, run);
    assert_eq!(ended.outcome.as_deref(), Some("cancelled"), "{ended:#?}");
    assert_eq!(ended.reason.as_deref(), Some("cancelled by postgres: not needed"), "{ended:#?}");
    let _ = over(&cluster, witness, other).must_have_succeeded();
    assert_eq!(paths(), ["/first", "/witness"]);
}

#[test]
fn an_attempt_that_has_a_row_is_not_made_again_and_keeps_nobody_waiting() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    cluster.sql("create database other");
    let asks = create(&cluster, "asks", &format!("http://{address}/"), "");
    let there: i64 =
        cluster.one("select cron.schedule_in_database('there', '0 0 29 2 *', 'select 1', 'other')");
    for (name, job) in [("asks", asks), ("there", there)] {
        let first = over(&cluster, job, run_now(&cluster, name)).must_have_succeeded();
        // Nobody but a superuser can ask for that.
        cluster.sql(&format!(
            "insert into cron.run_request (jobid, scheduled_for, trigger) \
             select jobid, scheduled_for, 'manual' from cron.job_run_details where runid = {}",
            first.runid
        ));
        let next = over(&cluster, job, run_now(&cluster, name)).must_have_succeeded();
        cluster.wait_for("not exists (select from cron.run_request)");
        let runs: Vec<i64> = cluster.runs_of(job).iter().map(|run| run.runid).collect();
        assert_eq!(runs, [first.runid, next.runid]);
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn runs_that_are_ended_say_who_and_why() {
    let servers = Servers::new();
    let url = format!("http://{}/", silent(&servers));
    let cluster = web::builder().conf("cron.http_timeout", "1h").start();
    set_secret(&cluster);
    let started = |id: i64| {
        cluster.wait_for(&format!("exists (select from cron.running where jobid = {id})"));
    };

    // On request, the second one while it waits for the first.
    let asked = create(&cluster, "asked", &url, "");
    let (first, second) = (run_now(&cluster, "asked"), run_now(&cluster, "asked"));
    started(asked);
    let limit: f64 = cluster.one(
        "select extract(epoch from deadline - started_at)::float8 from cron.running where not stuck",
    );
    assert!((limit - 3600.0).abs() < 0.001, "{limit}");
    for (run, why) in [(second, "'not needed'"), (first, "'broken, sorry'")] {
        assert!(cluster.one::<bool>(&format!("select cron.cancel_run({run}, {why})")));
    }
    for (run, reason) in [
        (first, "cancelled by postgres: broken, sorry"),
        (second, "cancelled by postgres: not needed"),
    ] {
        let run = over(&cluster, asked, run);
        assert_eq!(
            (run.outcome.as_deref(), run.reason.as_deref()),
            (Some("cancelled"), Some(reason)),
            "{run:#?}"
        );
    }

    // By its timeout, having been called stuck before.
    let slow = create(&cluster, "slow", &url, ", timeout => '2 s', stuck_after => '100 ms'");
    let run = run_now(&cluster, "slow");
    cluster.wait_for(&format!("exists (select from cron.running where jobid = {slow} and stuck)"));
    let run = over(&cluster, slow, run).must_have_failed_with("57014");
    assert_eq!(run.outcome.as_deref(), Some("timeout"));
    assert_eq!(run.reason.as_deref(), Some("timeout of 00:00:02"), "{run:#?}");

    // By its silence, if its job says so: a request cannot give heartbeats.
    let limits = ", timeout => '1 hour', stuck_after => '300 ms', on_stuck => 'cancel'";
    let mute = create(&cluster, "mute", &url, limits);
    let run = run_now(&cluster, "mute");
    let run = over(&cluster, mute, run).must_have_failed_with("57014");
    assert_eq!(run.outcome.as_deref(), Some("timeout"));
    assert_eq!(run.reason.as_deref(), Some("no heartbeat for 00:00:00.3"), "{run:#?}");
    cluster.wait_for(&format!(
        "exists (select from cron.alerts where jobid = {mute} and rule = 'stuck')"
    ));

    // By a newer one.
    let further = (", on_overlap", ", 'replace'");
    let replaced = job_with(&cluster, "replaced", "1 second", &get(&url), further);
    let run = cluster.finished_run(replaced);
    cluster.unschedule(replaced);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"), "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some("replaced by a newer run"), "{run:#?}");
    let last = cluster.finished_runs_of(replaced).len();
    assert!(last >= 1);

    // With its job.
    let dropped = create(&cluster, "dropped", &url, "");
    let run = run_now(&cluster, "dropped");
    started(dropped);
    cluster.unschedule(dropped);
    let run = over(&cluster, dropped, run);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"), "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some("job dropped or inactive"), "{run:#?}");

    // With the worker.
    let lost = create(&cluster, "lost", &url, "");
    let run = run_now(&cluster, "lost");
    started(lost);
    cluster.wait_for("exists (select from pg_locks where objsubid = 3 and locktype = 'advisory')");
    cluster.sql(&format!("select pg_terminate_backend({})", cluster.pid_of("pg_tock http")));
    let run = over(&cluster, lost, run);
    assert_eq!(run.outcome.as_deref(), Some("crashed"), "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some("HTTP worker ended"), "{run:#?}");
}

#[test]
fn a_dry_run_nobody_waits_for_is_given_up() {
    let servers = Servers::new();
    let url = format!("http://{}/", silent(&servers));
    let cluster = web::builder().start();
    set_secret(&cluster);
    // It waits for a run of its job, and ends with the call.
    let id = create(&cluster, "busy", &url, "");
    let run = run_now(&cluster, "busy");
    cluster.wait_for(&format!("exists (select from cron.running where jobid = {id})"));
    let mut caller = cluster.client();
    caller.batch_execute("set statement_timeout = '300ms'").unwrap();
    let error = caller.query("select * from cron.dry_run('busy')", &[]).unwrap_err();
    assert_eq!(sqlstate(&error), "57014");
    assert!(cluster.one::<bool>(&format!("select cron.cancel_run({run})")));
    let _ = over(&cluster, id, run);
    let row = dry_run(&cluster, "busy");
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    cluster.wait_for("not exists (select from cron.running)");
    assert_eq!(cluster.finished_runs_of(id).len(), 1, "one run, and no dry one");
}
