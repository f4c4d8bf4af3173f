//! The HTTP worker's life: crashes, shutdowns, hundreds of requests under way, hosts that hang.
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
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, poll_until, signal};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use web::{Servers, answer, get, job, job_with};

/// A server that takes requests and never answers, and how many it has.
fn silent(servers: &Servers) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = servers.raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut room = [0; 1024];
            if stream.read(&mut room).await.is_ok_and(|read| read > 0) {
                counted.fetch_add(1, Ordering::AcqRel);
            }
            while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
        }
    });
    (address, count)
}

/// So many jobs that call this URL each second, all at once.
fn many(cluster: &Cluster, count: usize, url: &str, further: (&str, &str)) {
    let (columns, values) = further;
    cluster.sql(&format!(
        "insert into cron.job (nodeport, jobname, schedule, command, http{columns}) \
         select 5432, 'many ' || n, '1 second', 'GET {url}', \
          jsonb_build_object('method', 'GET', 'url', '{url}'){values} \
         from generate_series(1, {count}) n"
    ));
}

#[test]
fn a_worker_killed_under_load_leaves_no_claim_open() {
    let servers = Servers::new();
    let (address, count) = silent(&servers);
    let cluster = web::builder().conf("cron.http_max_per_host", "500").start();
    many(&cluster, 40, &format!("http://{address}/"), ("", ""));
    let retried = job_with(
        &cluster,
        "retried",
        "1 second",
        &get(&format!("http://{address}/")),
        (", max_attempts, retry_delay", ", 3, '0'"),
    );
    poll_until("requests under way", PATIENCE, || {
        (count.load(Ordering::Acquire) >= 41).then_some(())
    });
    let guarantee: String = cluster.one_with(
        "select guarantee from cron.job_run_details where jobid = $1 and status = 'running'",
        &[&retried],
    );
    assert_eq!(guarantee, "at_least_once");
    let claimed: Vec<i64> =
        cluster.column("select runid from cron.job_run_details where status = 'running'");
    cluster.crash_by_killing(cluster.pid_of("pg_tock http"));
    cluster.sql("select 1");
    let closed = || -> i64 {
        cluster.one_with(
            "select count(*) from cron.job_run_details where runid = any($1) \
              and outcome = 'crashed' and status = 'failed' and end_time is not null",
            &[&claimed],
        )
    };
    poll_until("all claims closed", PATIENCE, || {
        (usize::try_from(closed()).unwrap() == claimed.len()).then_some(())
    });
    let once: bool = cluster.one(
        "select bool_and(guarantee = 'at_most_once') from cron.job_run_details \
          where outcome = 'crashed' and jobname like 'many%'",
    );
    assert!(once);
    // Another worker sends what is due since.
    let before = count.load(Ordering::Acquire);
    poll_until("requests again", PATIENCE, || {
        (count.load(Ordering::Acquire) > before).then_some(())
    });
    cluster.stop_all_jobs();
}

#[test]
fn a_worker_that_is_asked_to_go_says_what_became_of_its_runs() {
    let servers = Servers::new();
    let (address, count) = silent(&servers);
    let cluster = web::builder().conf("cron.http_max_per_host", "500").start();
    many(&cluster, 300, &format!("http://{address}/"), ("", ""));
    poll_until("requests under way", PATIENCE, || {
        (count.load(Ordering::Acquire) >= 300).then_some(())
    });
    let worker = cluster.pid_of("pg_tock http");
    cluster.sql("update cron.job set active = false where jobname <> 'many 1'");
    let started = Instant::now();
    cluster.terminate(worker);
    poll_until("the worker's end", PATIENCE, || (!pg_tock_test::is_alive(worker)).then_some(()));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    cluster.wait_for(
        "not exists (select from cron.job_run_details where status = 'running' \
          and jobname <> 'many 1')",
    );
    let run: i64 = cluster.one(
        "select min(runid) from cron.job_run_details where jobname = 'many 1' and end_time is not null",
    );
    let outcome: String =
        cluster.one_with("select outcome from cron.job_run_details where runid = $1", &[&run]);
    assert!(["crashed", "cancelled"].contains(&&*outcome), "{outcome}");
    // Another one has taken its place.
    poll_until("another worker", PATIENCE, || {
        cluster.pids_of("pg_tock http").first().copied().filter(|&pid| pid != worker)
    });
    cluster.stop_all_jobs();
}

#[test]
fn a_fast_shutdown_waits_for_no_request() {
    let servers = Servers::new();
    let (address, count) = silent(&servers);
    let cluster = web::builder().conf("cron.http_max_per_host", "500").start();
    many(&cluster, 300, &format!("http://{address}/"), ("", ""));
    poll_until("requests under way", PATIENCE, || {
        (count.load(Ordering::Acquire) >= 300).then_some(())
    });
    // Far less than any of the requests may take.
    assert!(cluster.stop() < Duration::from_secs(30));
    cluster.boot();
    cluster.wait_scheduler();
    cluster.sql("update cron.job set active = false");
    cluster.wait_for("not exists (select from cron.job_run_details where status = 'running')");
    let ended: i64 = cluster
        .one("select count(*) from cron.job_run_details where outcome in ('crashed', 'cancelled')");
    assert!(ended >= 300, "{ended}");
}

#[test]
fn endpoints_that_hang_delay_nobody_else() {
    let servers = Servers::new();
    // A host each: the address decides, and all of 127.0.0.0/8 is this machine.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = servers.http(Router::new().route("/", any(|| async { "here" })));
    let cluster = web::builder().start();
    cluster.sql(&format!(
        "insert into cron.job (nodeport, jobname, schedule, command, http) \
         select 5432, 'hangs ' || n, '1 second', 'GET', jsonb_build_object('method', 'GET', \
          'url', format('http://127.0.%s.%s:{port}/', n / 250 + 1, n % 250 + 1)) \
         from generate_series(1, 1000) n"
    ));
    cluster.wait_for("(select count(*) from cron.running) >= 1000");
    let quick = job(&cluster, "quick", "1 second", &get(&format!("http://{answering}/")));
    let runs = cluster.finished_runs(quick, 3);
    for run in runs {
        let answer = answer(&cluster, run.runid);
        let run = run.must_have_succeeded();
        let waited = answer.http["times_ms"]["waited"].as_f64().unwrap();
        assert!(waited < 5_000.0, "{run:#?} {}", answer.http);
    }
    let open: i64 = cluster.one("select count(*) from cron.running where jobname like 'hangs%'");
    assert_eq!(open, 1000);
    cluster.sql("delete from cron.job where jobname like 'hangs%'");
    cluster.stop_all_jobs();
    drop(listener);
}

#[test]
fn runs_survive_their_scheduler() {
    let servers = Servers::new();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let app = Router::new().route(
        "/",
        any(move || {
            let gate = Arc::clone(&gate);
            async move {
                drop(gate.acquire().await);
                "late"
            }
        }),
    );
    let address = servers.http(app);
    let cluster = web::builder().start();
    let id = job(&cluster, "survives", "1 second", &get(&format!("http://{address}/")));
    let run = cluster.run_in_status(id, "running");
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    poll_until("another scheduler", PATIENCE, || {
        cluster.pids_of("pg_tock scheduler").first().copied().filter(|&pid| pid != scheduler)
    });
    cluster.wait_for("(select count(*) = 1 from cron.running)");
    opens.add_permits(1_000_000);
    let first = cluster.finished_run(id);
    assert_eq!(first.runid, run.runid);
    let answer = answer(&cluster, first.runid);
    let _ = first.must_have_succeeded();
    assert_eq!(answer.response.as_deref(), Some("late"));
    cluster.stop_all_jobs();
}

#[test]
fn a_breaker_opens_holds_back_and_closes() {
    let servers = Servers::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let cluster = web::builder()
        .conf("cron.http_breaker_failures", "2")
        .conf("cron.http_breaker_delay", "2s")
        .start();
    let id = job(&cluster, "broken", "1 second", &get(&format!("http://{address}/")));
    poll_until("an open breaker", PATIENCE, || {
        cluster.log().contains("circuit breaker of http://127.0.0.1").then_some(())
    });
    // One that was sent to see whether the host is back may have waited, and failed for another reason.
    let waited = "reason is null and sqlstate = '08001' \
          and http->>'held_by' = 'circuit breaker of the host'";
    let given_up = "outcome = 'timeout' and reason = 'circuit breaker of the host' \
          and http->>'kind' = 'held_back' and http->>'sent' = 'false'";
    let row =
        |which| format!("exists (select from cron.job_run_details where jobid = {id} and {which})");
    cluster.wait_for(&row(waited));
    // Without a time limit it waits for as long as it takes.
    cluster.sql("select cron.set_job('broken', '{\"timeout\": \"300 ms\"}')");
    cluster.wait_for(&row(given_up));
    let _ = servers;
    cluster.stop_all_jobs();
}

#[test]
fn answers_that_ask_for_patience_are_kept_with_their_run() {
    let servers = Servers::new();
    let app = Router::new().route(
        "/",
        any(|| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "later") }),
    );
    let address = servers.http(app);
    let cluster = web::builder().start();
    let id = job(&cluster, "patient", "1 second", &get(&format!("http://{address}/")));
    let run = cluster.finished_run(id);
    cluster.stop_all_jobs();
    let answer = answer(&cluster, run.runid);
    assert_eq!(run.outcome.as_deref(), Some("failed"));
    assert_eq!(answer.http["transient"], json!(true));
    assert_eq!(answer.http["headers"]["retry-after"], json!("7"));
}

#[test]
fn a_locked_ledger_puts_requests_off_and_loses_no_answer() {
    let servers = Servers::new();
    let address = servers.http(Router::new().route("/", any(|| async { "ok" })));
    let cluster = web::builder().start();
    let id = job(&cluster, "locked out", "1 second", &get(&format!("http://{address}/")));
    let _ = cluster.finished_run(id);
    let mut holder = cluster.client();
    let mut locked = holder.transaction().unwrap();
    locked.batch_execute("lock table cron.job_run_details in access exclusive mode").unwrap();
    pg_tock_test::stays_true("the scheduler lives", Duration::from_millis(2_500), || {
        cluster.pids_of("pg_tock scheduler").len() == 1
    });
    locked.commit().unwrap();
    let runs = cluster.finished_runs(id, 4);
    for run in runs {
        let _ = run.must_have_succeeded();
    }
    cluster.stop_all_jobs();
    cluster.wait_for("not exists (select from cron.job_run_details where status = 'running')");
}

#[test]
fn no_log_no_rows_and_requests_all_the_same() {
    let servers = Servers::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = Router::new().route(
        "/",
        any(move || async move {
            counted.fetch_add(1, Ordering::AcqRel);
            "ok"
        }),
    );
    let address = servers.http(app);
    let cluster = web::builder().conf("cron.log_run", "off").start();
    let _ = job(&cluster, "unlogged", "1 second", &get(&format!("http://{address}/")));
    poll_until("requests", PATIENCE, || (count.load(Ordering::Acquire) >= 3).then_some(()));
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job_run_details"), 0);
    cluster.stop_all_jobs();
}

#[test]
fn a_cancel_of_a_request_the_worker_has_not_taken_counts_when_it_is_committed() {
    let servers = Servers::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = Router::new().route(
        "/",
        any(move || {
            counted.fetch_add(1, Ordering::AcqRel);
            async { "ok" }
        }),
    );
    let address = servers.http(app);
    let cluster = web::builder().start();
    let id = job(&cluster, "rare", "0 0 1 1 *", &get(&format!("http://{address}/")));
    let run_now = || -> i64 { cluster.one("select cron.run_now('rare')") };
    let handed_over = || {
        let run = run_now();
        cluster.wait_for(&format!("exists (select from cron.running where runid = {run})"));
        run
    };
    let row = |run: i64| {
        poll_until(&format!("run {run} is over"), PATIENCE, || {
            cluster.finished_runs_of(id).into_iter().find(|row| row.runid == run)
        })
    };
    let first = run_now();
    let _ = row(first).must_have_succeeded();
    let worker = cluster.pid_of("pg_tock http");

    signal(worker, Signal::STOP);
    let kept = handed_over();
    let mut client = cluster.client();
    let mut transaction = client.transaction().unwrap();
    transaction.execute("select cron.cancel_run($1, 'no')", &[&kept]).unwrap();
    transaction.rollback().unwrap();
    signal(worker, Signal::CONT);
    let _ = row(kept).must_have_succeeded();

    // The worker finds the job held, and the run would wait again.
    signal(worker, Signal::STOP);
    let cancelled = handed_over();
    client.execute("select cron.hold('rare')", &[]).unwrap();
    client.execute("select cron.cancel_run($1, 'yes')", &[&cancelled]).unwrap();
    cluster.flush();
    signal(worker, Signal::CONT);
    let ended = row(cancelled);
    let seen = (ended.outcome.as_deref(), ended.reason.as_deref());
    assert_eq!(seen, (Some("cancelled"), Some("cancelled by postgres: yes")), "{ended:#?}");
    client.execute("select cron.release('rare')", &[]).unwrap();
    let last = run_now();
    let _ = row(last).must_have_succeeded();
    assert_eq!(count.load(Ordering::Acquire), 3);
    assert_eq!(cluster.runs_of(id).len(), 4);
}
