//! HTTP jobs as their owners have them: real schedules, secrets in headers, retries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]

mod web;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, poll_until};
use serde_json::json;
use web::{Servers, answer};

/// The value of secret `token`, with all that an encoding would change.
const TOKEN: &str = "s3cr3t/+\"ä";

fn set_secret(cluster: &Cluster) {
    let mut client = cluster.client();
    client.execute("select cron.set_secret('token', $1)", &[&TOKEN]).unwrap();
}

/// What came, by job: the headers of each request.
type Seen = Arc<Mutex<HashMap<String, Vec<HeaderMap>>>>;

/// A server that answers each request of a job with the next of these statuses, the last for ever.
fn server(servers: &Servers, statuses: &'static [u16]) -> (std::net::SocketAddr, Seen) {
    let seen: Seen = Arc::default();
    let log = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |headers: HeaderMap| async move {
        let name = headers["x-cron-job"].to_str().unwrap().to_owned();
        let mut log = log.lock().unwrap();
        let requests = log.entry(name).or_default();
        let status = statuses.get(requests.len()).or(statuses.last()).copied().unwrap();
        requests.push(headers.clone());
        // A server that shows what it got must not spread secrets.
        let echo = String::from_utf8_lossy(headers["authorization"].as_bytes()).into_owned();
        (StatusCode::from_u16(status).unwrap(), [("retry-after", "1")], format!("you sent {echo}"))
    }));
    (servers.http(app), seen)
}

fn create(cluster: &Cluster, name: &str, schedule: &str, url: &str, further: &str) -> i64 {
    cluster.one_with(
        &format!(
            "select cron.create_http_job($1, $2, $3, headers => \
             '{{\"Authorization\": \"Bearer {{{{secret:token}}}}\"}}', body => '{{\"run\": {{{{run_id}}}}}}'{further})"
        ),
        &[&name, &schedule, &url],
    )
}

#[test]
fn jobs_that_fail_twice_and_then_succeed_send_one_key() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[503, 429, 200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let further = ", max_attempts => 3, retry_delay => '10 ms'";
    let id = create(&cluster, "thrice", "@yearly", &format!("http://{address}/"), further);
    let _: i64 = cluster.one("select cron.run_now('thrice'::text)");
    poll_until("three requests", PATIENCE, || {
        (seen.lock().unwrap().get("thrice").map_or(0, Vec::len) >= 3).then_some(())
    });
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {id} and attempt = 3 \
          and status = 'succeeded')"
    ));
    cluster.stop_all_jobs();
    let seen = seen.lock().unwrap();
    let first = &seen["thrice"][..3];
    let key = |at: usize| first[at]["idempotency-key"].clone();
    assert!(key(0) == key(1) && key(1) == key(2));
    assert!(first[0]["traceparent"] != first[1]["traceparent"], "a span each");
    assert_eq!(first[0]["authorization"].as_bytes(), format!("Bearer {TOKEN}").as_bytes());
    // The server asked for a second's patience each time, more than the job's own delay.
    let waits: Vec<f64> = cluster.column(&format!(
        "select extract(epoch from start_time - lag(end_time) over (order by attempt))::float8 \
          from cron.job_run_details where jobid = {id} and attempt <= 3 \
          and scheduled_for = (select min(scheduled_for) from cron.job_run_details where jobid = {id}) \
          order by attempt offset 1"
    ));
    assert!(waits.len() == 2 && waits.iter().all(|wait| *wait >= 0.99), "{waits:?}");
    let guarantees: bool = cluster.one(&format!(
        "select bool_and(guarantee = 'at_least_once') from cron.job_run_details where jobid = {id}"
    ));
    assert!(guarantees);
}

#[test]
fn other_statuses_and_refusals_are_not_tried_again() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[404]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let further = ", max_attempts => 3, retry_delay => '1 ms'";
    let id = create(&cluster, "once", "1 second", &format!("http://{address}/"), further);
    let runs = cluster.finished_runs(id, 3);
    cluster.stop_all_jobs();
    assert!(runs.iter().all(|run| run.attempt == 1 && run.status == "failed"), "{runs:#?}");
    assert!(seen.lock().unwrap()["once"].len() >= 3);
}

#[test]
fn secrets_are_masked_and_their_rights_checked_for_every_run() {
    let servers = Servers::new();
    let (address, _) = server(&servers, &[200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let id = create(&cluster, "echo", "1 second", &format!("http://{address}/"), "");
    let run = cluster.finished_run(id);
    let said = answer(&cluster, run.runid);
    assert_eq!(said.response.as_deref(), Some("you sent Bearer ***"), "{run:#?}");
    let tables: String = cluster.one(
        "select coalesce(string_agg(j::text, ''), '') || \
          (select string_agg(d::text, '') from cron.job_run_details d) from cron.job j",
    );
    assert!(!tables.contains("s3cr3t"), "{tables}");
    assert!(!cluster.log().contains("s3cr3t"));
    // Taken away behind the job's back: nothing is sent any more.
    cluster.sql("set session_replication_role = replica; delete from cron.secret");
    let run = poll_until("a run without its secret", PATIENCE, || {
        let runs = cluster.finished_runs_of(id);
        runs.into_iter().find(|run| run.sqlstate.as_deref() == Some("22023"))
    });
    cluster.stop_all_jobs();
    assert!(run.return_message.contains("token"), "{run:#?}");
    assert_eq!(answer(&cluster, run.runid).http["sent"], json!(false));
}

#[test]
fn the_schedules_of_real_teams_run_as_http_jobs() {
    let servers = Servers::new();
    let (address, seen) = server(&servers, &[200]);
    let cluster = web::builder().start();
    set_secret(&cluster);
    let url = format!("http://{address}/functions/v1/batch");
    let jobs = include_str!("../fixtures/real-jobs.tsv");
    let mut names = Vec::new();
    for line in jobs.lines().filter(|line| line.starts_with("S0\t") || line.starts_with("S3\t")) {
        let [_, name, schedule, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        // One row with a time zone for each pair of fixed hours.
        let (schedule, zone) = match name {
            "daily-batch-midnight-est" | "daily-scheduler-3am-est" => continue,
            "daily-batch-midnight-edt" | "daily-batch-trigger-12am-est" => {
                ("0 0 * * *", ", timezone => 'America/New_York'")
            }
            "daily-scheduler-3am-edt" => ("0 3 * * *", ", timezone => 'America/New_York'"),
            _ => (schedule, ""),
        };
        let _ = create(&cluster, name, schedule, &url, &format!("{zone}, timeout => '9 min'"));
        names.push(name);
    }
    assert_eq!(names.len(), 10);
    for name in &names {
        let _: i64 = cluster.one_with("select cron.run_now($1::text)", &[name]);
    }
    for name in &names {
        cluster.wait_for(&format!(
            "exists (select from cron.job_run_details where jobname = '{name}' \
              and status = 'succeeded' and http_status = 200)"
        ));
    }
    let seen = seen.lock().unwrap();
    for name in names {
        let value = format!("Bearer {TOKEN}");
        assert_eq!(seen[name][0]["authorization"].as_bytes(), value.as_bytes(), "{name}");
    }
}
