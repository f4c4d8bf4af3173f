//! The server log: a line for each run that did not succeed, with fields that tools can read.

mod web;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use pg_tock_test::{Builder, Cluster, PATIENCE, poll_until};
use serde_json::Value;
use web::Servers;

/// A cluster that logs as JSON, and into a file.
fn cluster(settings: &[(&str, &str)]) -> Cluster {
    logging(Cluster::builder(), settings)
}

fn logging(builder: Builder, settings: &[(&str, &str)]) -> Cluster {
    let json = [
        ("logging_collector", "on"),
        ("log_destination", "jsonlog"),
        ("log_directory", "log"),
        ("log_filename", "server.log"),
    ];
    let with = |builder: Builder, (name, value): &(&str, &str)| builder.conf(name, value);
    json.iter().chain(settings).fold(builder, with).start()
}

/// The lines of the log whose message contains a text.
fn lines(cluster: &Cluster, text: &str) -> Vec<Value> {
    let log = cluster.dir().join("data/log/server.json");
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let read = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter(|line| line["message"].as_str().is_some_and(|said| said.contains(text))).collect()
}

/// Waits for the first such line.
#[track_caller]
fn line(cluster: &Cluster, text: &str) -> Value {
    poll_until(&format!("a line with {text:?}"), PATIENCE, || {
        lines(cluster, text).into_iter().next()
    })
}

#[test]
fn a_failure_is_one_line_with_its_sqlstate() {
    let cluster = cluster(&[]);
    let failing =
        "do $$ begin raise 'out of\npaper' using errcode = 'TK001', detail = 'a4'; end $$";
    let job = cluster.schedule("print\ner", "1 second", failing);
    let run = cluster.finished_run(job);
    let said = line(&cluster, &format!("cron job {job} failed: run {}", run.runid));
    let message = format!(
        "cron job {job} failed: run {} of \"print\\ner\", SQLSTATE TK001: ERROR:  out of",
        run.runid
    );
    assert_eq!(said["message"], message);
    assert_eq!((&said["state_code"], &said["error_severity"]), (&"TK001".into(), &"LOG".into()));
    assert_eq!(said["backend_type"], "pg_tock executor", "{said}");
    assert!(said["statement"].is_null(), "{said}");
    cluster.unschedule(job);
    cluster.wait_quiet();
    let runs = cluster.finished_runs_of(job).len();
    assert_eq!(lines(&cluster, &format!("cron job {job} failed")).len(), runs);
    // The error itself has its own line, as in any session.
    let all = lines(&cluster, "out of\npaper");
    let error = all.iter().find(|line| line["message"] == "out of\npaper").unwrap();
    assert_eq!(
        (&error["state_code"], &error["error_severity"]),
        (&"TK001".into(), &"ERROR".into())
    );
    assert_eq!(error["detail"], "a4");
    // What goes well is no failure.
    let fine = cluster.schedule("fine", "1 second", "select 1");
    let _ = cluster.finished_run(fine);
    assert_eq!(line(&cluster, &format!("cron job {fine} completed"))["error_severity"], "LOG");
}

#[test]
fn runs_that_cannot_tell_are_logged_by_the_scheduler() {
    let cluster = cluster(&[("cron.log_statement", "off")]);
    cluster.sql("create database other");
    let lost: i64 =
        cluster.one("select cron.create_job('lost', '1 second', 'select 1', database => 'other')");
    let _ = cluster.finished_run(lost);
    cluster.sql("update cron.job set database = 'nowhere'");
    let said = line(&cluster, "database \"nowhere\" does not exist");
    assert_eq!(said["state_code"], "3D000", "{said}");
    assert_eq!(said["backend_type"], "pg_tock scheduler", "{said}");
    cluster.unschedule(lost);
    let killed = cluster.schedule("killed", "1 second", "select pg_sleep(3600)");
    let executor = cluster.executor_of(killed);
    cluster.terminate(executor);
    let said = line(&cluster, &format!("cron job {killed} cancelled: run "));
    assert_eq!(
        (&said["state_code"], &said["backend_type"]),
        (&"57P01".into(), &"pg_tock scheduler".into())
    );
    assert_eq!(lines(&cluster, "starting: ").len(), 0, "cron.log_statement is off");
}

#[test]
fn a_request_that_fails_is_one_line() {
    let servers = Servers::new();
    let burns = || async { (StatusCode::INTERNAL_SERVER_ERROR, "on fire") };
    let address = servers.http(Router::new().fallback(any(burns)));
    let cluster = logging(web::builder(), &[]);
    let create = "select cron.create_http_job($1, '@yearly', $2, method => 'GET')";
    // An answer is no error of the server, and has no SQLSTATE; that there is none has one.
    for (name, url, code, words) in [
        ("burns", format!("http://{address}/"), Value::Null, "HTTP 500"),
        ("gone", "http://127.0.0.1:1/".to_owned(), "08001".into(), "SQLSTATE 08001: "),
    ] {
        let job: i64 = cluster.one_with(create, &[&name, &url]);
        let _: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
        let run = cluster.finished_run(job);
        let begins = format!("cron job {job} failed: run {} of \"{name}\"", run.runid);
        let said = line(&cluster, &begins);
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
        assert_eq!((&said["state_code"], &said["error_severity"]), (&code, &"LOG".into()));
        assert_eq!(said["backend_type"], "pg_tock scheduler", "{said}");
        assert_eq!(lines(&cluster, &begins).len(), 1);
    }
}

#[test]
fn what_the_scheduler_says_follows_a_setting_of_its_own() {
    let cluster = cluster(&[("cron.log_min_messages", "fatal")]);
    // Nobody but the scheduler can tell that these fail; the others tell it themselves.
    let lost: i64 = cluster.one(
        "insert into cron.job (nodeport, jobname, schedule, command, database) \
         values (1, 'lost', '1 second', 'select 1', 'nowhere') returning jobid",
    );
    let broken = cluster.schedule("broken", "1 second", "select 1/0");
    let _ = cluster.finished_runs(lost, 2);
    let said = line(&cluster, &format!("cron job {broken} failed: run "));
    assert_eq!(said["backend_type"], "pg_tock executor", "{said}");
    let silent = |cluster: &Cluster| {
        let lost = lines(cluster, &format!("cron job {lost} failed"));
        (lost, lines(cluster, "pg_tock launcher started"))
    };
    assert_eq!(silent(&cluster), (vec![], vec![]));
    cluster.conf("cron.log_min_messages", "warning");
    cluster.reload();
    let said = line(&cluster, &format!("cron job {lost} failed: run "));
    assert_eq!(said["backend_type"], "pg_tock scheduler", "{said}");
    cluster.restart();
    let _ = line(&cluster, "pg_tock launcher started");
}

#[test]
fn failures_are_silent_when_that_is_wanted() {
    let cluster = cluster(&[("cron.log_failures", "off")]);
    let job = cluster.schedule("broken", "1 second", "select 1/0");
    let _ = cluster.finished_runs(job, 2);
    // cron.log_statement has its lines as pg_cron has.
    let said = line(&cluster, &format!("cron job {job} failed"));
    assert_eq!(said["message"], format!("cron job {job} failed: ERROR:  division by zero"));
    assert_eq!(lines(&cluster, "SQLSTATE").len(), 0);
}
