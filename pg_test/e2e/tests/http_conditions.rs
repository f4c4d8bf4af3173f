//! `run_if` of HTTP jobs: the condition is asked where SQL runs, and the request is sent if it holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]

mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, poll_until};
use web::Servers;

/// A server that answers with these statuses in turn, the last for ever, and how often it has.
fn server(servers: &Servers, statuses: &'static [u16]) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = Router::new().fallback(any(move || async move {
        let number = counted.fetch_add(1, Ordering::AcqRel);
        let status = statuses.get(number).or(statuses.last()).copied().unwrap();
        StatusCode::from_u16(status).unwrap()
    }));
    (servers.http(app), count)
}

/// An HTTP job of `ann`.
fn create(
    cluster: &Cluster,
    schedule: &str,
    address: SocketAddr,
    condition: &str,
    further: &str,
) -> i64 {
    cluster
        .client_as("ann")
        .query_one(
            &format!("select cron.create_http_job('asks', $1, $2, 'GET', run_if => $3{further})"),
            &[&schedule, &format!("http://{address}/"), &condition],
        )
        .unwrap()
        .get(0)
}

fn start() -> Cluster {
    let cluster = web::builder().start();
    cluster.role("ann");
    cluster.sql(
        "grant execute on function cron.create_http_job to ann; create table gate (open boolean); \
         insert into gate values (false); grant select on gate to ann",
    );
    cluster
}

const SKIPPED: &str =
    "coalesce((select sum(count) from cron.job_skip where reason = 'condition'), 0)";

#[test]
fn requests_are_sent_while_the_condition_holds() {
    let servers = Servers::new();
    let (address, count) = server(&servers, &[200]);
    let cluster = start();
    let condition = "current_user = 'ann' and (select open from gate)";
    let job = create(&cluster, "1 second", address, condition, "");
    cluster.wait_for(&format!("cron.flush() and {SKIPPED} >= 2"));
    assert_eq!(count.load(Ordering::Acquire), 0, "nothing is sent");
    assert!(cluster.finished_runs_of(job).is_empty());
    cluster.sql("update gate set open = true");
    let runs = cluster.finished_runs(job, 2);
    cluster.sql("update gate set open = false");
    cluster.wait_quiet();
    let skipped: i64 = cluster.one(&format!("select {SKIPPED}::bigint"));
    cluster.wait_for(&format!("cron.flush() and {SKIPPED} >= {skipped} + 1"));
    cluster.stop_all_jobs();
    for run in runs {
        let run = run.must_have_succeeded();
        assert_eq!(run.return_message, "HTTP 200 OK");
        assert_eq!(run.guarantee.as_deref(), Some("at_most_once"), "{run:#?}");
        assert_eq!(run.job_pid, Some(cluster.pid_of("pg_tock http")));
    }
    let runs = cluster.finished_runs_of(job);
    assert_eq!(count.load(Ordering::Acquire), runs.len(), "an occurrence is sent once");
    // Every instant between the first and the last has a run or was skipped.
    let instants: i64 = cluster.one(&format!(
        "select count(distinct scheduled_for) from cron.job_run_details where jobid = {job}"
    ));
    assert_eq!(usize::try_from(instants).unwrap(), runs.len());
}

#[test]
fn a_condition_that_fails_is_a_run_that_failed() {
    let servers = Servers::new();
    let (address, count) = server(&servers, &[503, 200]);
    let cluster = start();
    let retries = ", max_attempts => 3, retry_delay => '10 ms', retry_on => 'any'";
    let job = create(&cluster, "1 second", address, "1 / 0 = 1", retries);
    let run = cluster.finished_run(job).must_have_failed_with("22012");
    assert_eq!(run.reason.as_deref(), Some("condition"), "{run:#?}");
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {job} and attempt = 3)"
    ));
    cluster.sql("select cron.set_job('asks', '{\"active\": false}')");
    cluster.wait_quiet();
    assert_eq!(count.load(Ordering::Acquire), 0, "nothing is sent");

    // Attempts that are sent and fail are asked for anew.
    cluster.sql(
        "select cron.set_job('asks', '{\"active\": true, \"schedule\": \"0 0 29 2 *\", \
          \"run_if\": \"true\", \"retry_on\": \"transient\"}')",
    );
    cluster.wait_known();
    let first: i64 = cluster.one("select cron.run_now('asks'::text)");
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details a join cron.job_run_details b \
          using (jobid, scheduled_for) where a.runid = {first} and a.http_status = 503 \
          and b.attempt = 2 and b.status = 'succeeded')"
    ));
    assert_eq!(count.load(Ordering::Acquire), 2);
}

#[test]
fn a_dry_run_does_not_ask_and_a_run_by_hand_does() {
    let servers = Servers::new();
    let (address, count) = server(&servers, &[200]);
    let cluster = start();
    let job = create(&cluster, "0 0 29 2 *", address, "(select open from gate)", "");
    cluster.wait_known();
    let tried: String = cluster.one("select status from cron.dry_run('asks')");
    assert_eq!(tried, "succeeded");
    let _: i64 = cluster.one("select cron.run_now('asks'::text, wait => true)");
    cluster.wait_for(&format!("cron.flush() and {SKIPPED} = 1"));
    assert!(cluster.finished_runs_of(job).is_empty() && count.load(Ordering::Acquire) == 0);
    cluster.sql("update gate set open = true");
    let run: i64 = cluster.one("select cron.run_now('asks'::text, wait => true)");
    let runs = cluster.finished_runs_of(job);
    assert!(runs.len() == 1 && runs[0].runid == run, "{runs:#?}");
    assert_eq!(count.load(Ordering::Acquire), 1);
    // Without a condition it is sent without being asked.
    cluster.sql("update gate set open = false; select cron.set_job('asks', '{\"run_if\": null}')");
    cluster.wait_known();
    let run: i64 = cluster.one("select cron.run_now('asks'::text, wait => true)");
    assert!(cluster.finished_runs_of(job).iter().any(|finished| finished.runid == run));
    assert_eq!(count.load(Ordering::Acquire), 2);
}

#[test]
fn a_run_that_is_ended_after_its_answer_sends_nothing() {
    let servers = Servers::new();
    let (address, count) = server(&servers, &[200]);
    let cluster = start();
    let condition = "(select true from pg_advisory_xact_lock_shared(7))";
    let job = create(&cluster, "0 0 29 2 *", address, condition, "");
    cluster.wait_known();
    let mut gate = cluster.client();
    let off = "select cron.set_job('asks', '{\"active\": false}')";
    for (end, message, reason) in [
        (
            "select cron.cancel_run($1, 'enough')",
            "run canceled before it began",
            "cancelled by postgres: enough",
        ),
        (off, "job canceled", "job dropped or inactive"),
    ] {
        gate.batch_execute("select pg_advisory_lock(7)").unwrap();
        let run: i64 = cluster.one("select cron.run_now('asks'::text)");
        cluster
            .wait_for("exists (select from pg_locks where locktype = 'advisory' and not granted)");
        // The answer is there, the scheduler has not heard it, and then the run is ended.
        let scheduler = cluster.wait_scheduler();
        pg_tock_test::signal(scheduler, rustix::process::Signal::STOP);
        gate.batch_execute("select pg_advisory_unlock(7)").unwrap();
        cluster.wait_for(&format!("not exists (select from cron.running where runid = {run})"));
        cluster.sql(&end.replace("$1", &run.to_string()));
        pg_tock_test::signal(scheduler, rustix::process::Signal::CONT);
        let ended = poll_until("the end of the run", PATIENCE, || {
            cluster.finished_runs_of(job).into_iter().find(|finished| finished.runid == run)
        });
        assert_eq!(ended.outcome.as_deref(), Some("cancelled"), "{ended:#?}");
        assert_eq!(
            (ended.return_message.as_str(), ended.reason.as_deref()),
            (message, Some(reason))
        );
    }
    cluster.wait_quiet();
    assert_eq!(count.load(Ordering::Acquire), 0, "nothing is sent");
}

#[test]
fn questions_can_be_ended_and_survive_the_scheduler() {
    let servers = Servers::new();
    let (address, count) = server(&servers, &[200]);
    let cluster = start();
    let slow = "(select true from pg_sleep(case when (select open from gate) then 1 else 60 end))";
    let job = create(&cluster, "0 0 29 2 *", address, slow, "");
    cluster.wait_known();
    let run_now = || -> i64 {
        let run = cluster.one("select cron.run_now('asks'::text)");
        cluster.wait_for(&format!("exists (select from cron.running where runid = {run})"));
        run
    };
    let run = run_now();
    assert!(cluster.one::<bool>(&format!("select cron.cancel_run({run}, 'enough')")));
    let ended = cluster.finished_run(job);
    assert_eq!(ended.outcome.as_deref(), Some("cancelled"), "{ended:#?}");
    assert_eq!(ended.reason.as_deref(), Some("cancelled by postgres: enough"));
    cluster.sql("update gate set open = true");
    let run = run_now();
    cluster.sql(&format!("select pg_terminate_backend({})", cluster.pid_of("pg_tock scheduler")));
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where runid = {run} and http_status = 200)"
    ));
    cluster.wait_quiet();
    assert_eq!(count.load(Ordering::Acquire), 1, "it is sent once");
}
