//! Who is told of alerts: sessions that listen, and jobs that handle them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]

mod web;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, poll_until, sqlstate};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use serde_json::{Value, json};
use web::Servers;

/// A job that fails as long as the table `fate` says so.
const FATED: &str = "select 1 / (1 - fails::int) from fate";

fn failing() -> Cluster {
    let cluster = Cluster::start();
    cluster.sql("create table fate as select true as fails");
    cluster
}

fn heal(cluster: &Cluster) {
    cluster.sql("update fate set fails = false");
}

fn fated(cluster: &Cluster, name: &str, options: &str) -> i64 {
    let create = format!("select cron.create_job($1, '1 second', $2, {options})");
    cluster.one_with(&create, &[&name, &FATED])
}

/// Waits until the newest alert of a job is open, or over for this reason.
#[track_caller]
fn wait_alert(cluster: &Cluster, job: i64, recovery: Option<&str>) {
    let query = "select recovery from cron.alert where jobid = $1 order by id desc limit 1";
    poll_until(&format!("an alert of job {job}: {recovery:?}"), PATIENCE, || {
        let rows = cluster.rows(query, &[&job]);
        (rows.first()?.get::<_, Option<String>>(0).as_deref() == recovery).then_some(())
    });
}

fn runs(cluster: &Cluster, job: i64) -> usize {
    cluster.finished_runs_of(job).len()
}

/// Adds what has been sent on the channel.
fn receive(client: &mut Client, heard: &mut Vec<Value>) {
    let mut notifications = client.notifications();
    let mut some = notifications.timeout_iter(Duration::from_millis(50));
    while let Some(one) = some.next().unwrap() {
        assert_eq!(one.channel(), "cron_events");
        heard.push(serde_json::from_str(one.payload()).unwrap());
    }
}

#[test]
fn events_are_sent_and_say_nothing_but_numbers() {
    let cluster = failing();
    let mut listener = cluster.client();
    listener.batch_execute("listen cron_events").unwrap();
    let job = fated(&cluster, "s3cret name", "alert_after_failures => 1");
    let mut heard = Vec::new();
    poll_until("the alert", PATIENCE, || {
        receive(&mut listener, &mut heard);
        heard.first().cloned()
    });
    heal(&cluster);
    poll_until("the recovery", PATIENCE, || {
        receive(&mut listener, &mut heard);
        heard.get(1).cloned()
    });
    let mut events = Vec::new();
    for event in &heard {
        let object = event.as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["event", "jobid", "outcome", "runid"]);
        assert!(object["runid"].is_i64() && object["jobid"] == job, "{event}");
        events.push((object["event"].clone(), object["outcome"].clone()));
    }
    assert_eq!(
        events,
        [(json!("alert"), json!("failed")), (json!("recovery"), json!("succeeded"))]
    );
    // An alert that no run has raised names none.
    heard.clear();
    let absent: i64 = cluster.one(
        "select cron.create_job('absent', '@yearly', 'select 1', alert_if_absent => '1 second')",
    );
    poll_until("the alert without a run", PATIENCE, || {
        receive(&mut listener, &mut heard);
        let event = json!({ "event": "alert", "jobid": absent, "runid": null, "outcome": null });
        heard.contains(&event).then_some(())
    });
    // Runs are told of when that is asked for.
    cluster.conf("cron.notify_runs", "on");
    cluster.reload();
    heard.clear();
    poll_until("a run from start to end", PATIENCE, || {
        receive(&mut listener, &mut heard);
        heard.iter().filter(|event| event["event"] == "run_finished").find_map(|end| {
            assert_eq!((&end["outcome"], &end["jobid"]), (&json!("succeeded"), &json!(job)));
            let run = &end["runid"];
            let start =
                json!({ "event": "run_started", "jobid": job, "runid": run, "outcome": null });
            heard.contains(&start).then_some(())
        })
    });
    cluster.stop_all_jobs();
    cluster.wait_for("not exists (select from cron.event_queue)");
}

#[test]
fn handlers_get_the_alert_and_the_recovery() {
    let cluster = failing();
    cluster.sql("create table told (run bigint, alert jsonb)");
    let handler: i64 = cluster.one(
        "select cron.create_job('tell', '@yearly', $$ insert into told values \
          (current_setting('cron.run_id')::bigint, current_setting('cron.alert')::jsonb) $$)",
    );
    let name = "n\u{e4}me \"q\"";
    let job = fated(&cluster, name, "alert_after_failures => 1, alert_job => 'tell'");
    let told = |count: usize| -> Vec<Value> {
        poll_until(&format!("{count} calls"), PATIENCE, || {
            let told = cluster.column::<Value>("select alert from told order by run");
            (told.len() >= count).then_some(told)
        })
    };
    let _ = told(1);
    heal(&cluster);
    let told = told(2);
    let id: i64 = cluster.one("select id from cron.alert");
    for (call, event) in told.iter().zip(["alert", "recovery"]) {
        assert_eq!((&call["event"], &call["id"]), (&json!(event), &json!(id)), "{call}");
        assert_eq!((&call["jobid"], &call["job"]), (&json!(job), &json!(name)), "{call}");
        assert_eq!((&call["rule"], &call["outcome"]), (&json!("failures"), &json!("failed")));
        assert!(call["runid"].is_i64() && call["raised_at"].is_string(), "{call}");
        assert_eq!(call["recovered_at"].is_null(), event == "alert", "{call}");
    }
    let runs = cluster.finished_runs(handler, 2);
    assert!(runs.iter().all(|run| run.trigger == "alert"), "{runs:#?}");
    assert_eq!(cluster.one::<String>("select handler from cron.alerts"), "tell");
    // Elsewhere the setting is empty.
    let empty = "do $$ begin assert current_setting('cron.alert') = ''; end $$";
    let _ = cluster.run_once(empty).must_have_succeeded();
    assert_eq!(cluster.one::<String>("show cron.alert"), "");
    cluster.wait_for("not exists (select from cron.run_request)");
}

#[test]
fn a_webhook_gets_the_alert() {
    let servers = Servers::new();
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |body: String| async move {
        let mut log = log.lock().unwrap();
        log.push(serde_json::from_str(&body).unwrap());
        // The first attempt is refused, and made again with the same alert.
        if log.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }));
    let address = servers.http(app);
    let cluster = web::builder().start();
    let body = "{\"text\": \"{{alert.text}}\", \"alert\": {{alert}}}";
    let _: i64 = cluster.one_with(
        "select cron.create_http_job('hook', '@yearly', $1, body => $2, max_attempts => 2, \
          retry_delay => '10 ms')",
        &[&format!("http://{address}/"), &body],
    );
    let job: i64 = cluster.one(
        "select cron.create_job('broken', '1 second', 'select 1/0', alert_after_failures => 1, \
          alert_job => 'hook')",
    );
    poll_until("two requests", PATIENCE, || (seen.lock().unwrap().len() >= 2).then_some(()));
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0], seen[1]);
    let alert = &seen[0]["alert"];
    assert_eq!((&alert["jobid"], &alert["event"]), (&json!(job), &json!("alert")), "{alert}");
    let text = format!("alert: broken (job {job} in postgres): an occurrence has failed");
    assert_eq!((&alert["text"], &seen[0]["text"]), (&json!(text), &json!(text)));
}

#[test]
fn a_handler_that_fails_calls_nobody() {
    let cluster = failing();
    let options = "alert_after_failures => 1, alert_job => 'sick'";
    let sick = "select cron.create_job('sick', '@yearly', 'select 1/0', ";
    let sick: i64 = cluster.one(&format!("{sick}{options})"));
    let job = fated(&cluster, "failing", options);
    wait_alert(&cluster, job, None);
    // Its failure is an alert like any other, and calls no handler.
    wait_alert(&cluster, sick, None);
    let before = runs(&cluster, job);
    poll_until("more failures", PATIENCE, || (runs(&cluster, job) > before + 2).then_some(()));
    assert_eq!(runs(&cluster, sick), 1, "it was called once, for the other job");
    let query = "select coalesce(handler, '-') from cron.alert order by id";
    assert_eq!(cluster.column::<String>(query), ["sick", "-"]);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.run_request"), 0);
}

/// A handler that fails when it is first called, and then at every other call.
fn fickle(cluster: &Cluster, name: &str, handler: &str) -> i64 {
    cluster.sql(&format!("create sequence {name} start 2"));
    let command = format!("select 1 / (nextval('{name}') % 2)");
    cluster.one_with(
        "select cron.create_job($1, '@yearly', $2, alert_after_failures => 1, alert_job => $3)",
        &[&name, &command, &handler],
    )
}

/// Waits until a call that is asked for now has been made: those asked for before it have been, too.
fn wait_called(cluster: &Cluster, marker: &str) {
    let handler = cluster.schedule(&format!("{marker} tells"), "@yearly", "select 1");
    let _: i64 = cluster.one_with(
        "select cron.create_job($1, '1 second', 'select 1/0', alert_after_failures => 1, \
          alert_job => $1 || ' tells')",
        &[&marker],
    );
    let _ = cluster.finished_run(handler);
    cluster.wait_for("not exists (select from cron.run_request)");
}

/// The calls of handlers, as `name runs`, without those of the markers.
fn called(cluster: &Cluster) -> Vec<String> {
    cluster.column(
        "select format('%s %s', j.jobname, count(*)) from cron.job_run_details d \
          join cron.job j using (jobid) where d.trigger = 'alert' and j.jobname !~ ' tells$' \
         group by j.jobname order by 1",
    )
}

#[test]
fn handlers_of_each_other_call_nobody() {
    let cluster = failing();
    let handlers = [fickle(&cluster, "here", "there"), fickle(&cluster, "there", "here")];
    let jobs = ["here", "there"].map(|handler| {
        let options = format!("alert_after_failures => 1, alert_job => '{handler}'");
        fated(&cluster, &format!("told {handler}"), &options)
    });
    // Were the one called for the other, each call would fail or recover, and be told with the next.
    for (recovery, marker, calls) in [
        (None, "first", ["here 1", "there 1"]),
        (Some("recovered"), "second", ["here 2", "there 2"]),
    ] {
        for job in jobs.into_iter().chain(handlers) {
            wait_alert(&cluster, job, recovery);
        }
        wait_called(&cluster, marker);
        assert_eq!(called(&cluster), calls);
        heal(&cluster);
    }
    let query = "select format('%s %s', jobname, coalesce(handler, '-')) from cron.alert \
         where jobname like '%here' order by 1";
    assert_eq!(
        cluster.column::<String>(query),
        ["here -", "there -", "told here here", "told there there"]
    );
    assert_eq!(handlers.map(|job| runs(&cluster, job)), [2, 2]);
}

#[test]
fn a_handler_has_no_handler() {
    let cluster = failing();
    let last = cluster.schedule("last", "@yearly", "select 1");
    let middle = fickle(&cluster, "middle", "last");
    let job = fated(&cluster, "failing", "alert_after_failures => 1, alert_job => 'middle'");
    wait_alert(&cluster, job, None);
    wait_alert(&cluster, middle, None);
    heal(&cluster);
    wait_alert(&cluster, job, Some("recovered"));
    wait_alert(&cluster, middle, Some("recovered"));
    wait_called(&cluster, "marker");
    assert_eq!(called(&cluster), ["middle 2"], "for the alert and for the recovery");
    assert_eq!(runs(&cluster, last), 0);
    let query = "select handler from cron.alert where jobid = $1";
    assert_eq!(cluster.one_with::<Option<String>>(query, &[&middle]), None);
}

#[test]
fn a_handler_that_cannot_be_called_is_said_once() {
    let cluster = failing();
    cluster.role("ann");
    cluster.sql("grant select on fate to ann");
    let other: i64 = cluster.one("select cron.create_job('theirs', '@yearly', 'select 1')");
    cluster.sql("select cron.create_job('off', '@yearly', 'select 1', active => false)");
    let mut ann = cluster.client_as("ann");
    let mut create = |name: &str, handler: &str| {
        let create = "select cron.create_job($1, '1 second', $2, alert_after_failures => 1, \
             alert_job => $3)";
        Ok::<i64, postgres::Error>(ann.query_one(create, &[&name, &FATED, &handler])?.get(0))
    };
    // Nothing she writes there is a line of its own, or a long one.
    let forged = format!("none\n2026-01-01 PANIC:  no disk{}", "x".repeat(900));
    let error = create("e", &"x".repeat(1_001)).unwrap_err();
    assert_eq!(sqlstate(&error), "22023");
    let jobs = [("a", "theirs"), ("b", "theirs"), ("e", forged.as_str())]
        .map(|(name, handler)| create(name, handler).unwrap());
    let off = ["c", "d"]
        .map(|name| fated(&cluster, name, "alert_after_failures => 1, alert_job => 'off'"));
    for job in jobs.into_iter().chain(off) {
        wait_alert(&cluster, job, None);
    }
    let log = cluster.log();
    let said = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    let theirs = "WARNING:  pg_tock: job \"theirs\", which handles alerts of job";
    assert_eq!(said(theirs), 1, "it is not ann's");
    assert_eq!(said("WARNING:  pg_tock: job \"off\", which handles alerts of job"), 1);
    assert_eq!(said("does not exist"), 2);
    assert_eq!(said(r#": job "none\n2026-01-01 PANIC:  no disk"#), 1);
    assert!(!log.contains("\n2026-01-01 PANIC"), "{log}");
    assert!(!log.contains(&"x".repeat(100)), "{log}");
    assert_eq!(said("is switched off"), 1);
    assert_eq!(runs(&cluster, other), 0);
    // A role sees the alerts of its own jobs.
    let seen: i64 = ann.query_one("select count(*) from cron.alerts", &[]).unwrap().get(0);
    assert_eq!(seen, 3);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.alerts"), 5);
}

#[test]
fn the_default_handler_is_each_owners_own() {
    let cluster = Cluster::builder()
        .conf("cron.default_alert_after_failures", "1")
        .conf("cron.default_alert_job", "tell")
        .start();
    cluster.sql("create table told (alert jsonb)");
    let handler: i64 = cluster.one(
        "select cron.create_job('tell', '@yearly', $$ insert into told \
          values (current_setting('cron.alert')::jsonb) $$)",
    );
    let job: i64 = cluster.one("select cron.create_job('broken', '1 second', 'select 1/0')");
    cluster.wait_for("exists (select from told)");
    assert_eq!(cluster.one::<i64>("select (alert->>'jobid')::bigint from told"), job);
    // The handler itself is nobody's to handle.
    cluster.sql("select cron.set_job('tell', '{\"command\": \"select 1/0\"}')");
    cluster.sql("select cron.set_job('broken', '{\"command\": \"select 1\"}')");
    wait_alert(&cluster, job, Some("recovered"));
    wait_alert(&cluster, handler, None);
    let query = "select handler is null from cron.alert where jobid = $1";
    assert!(cluster.one_with::<bool>(query, &[&handler]));
}
