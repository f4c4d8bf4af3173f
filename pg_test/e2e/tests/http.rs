//! HTTP jobs against real servers: what is sent, and what becomes of every kind of answer.
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
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use pg_tock_test::{Cluster, PATIENCE, poll_until};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use web::{Authority, Servers, answer, get, job, job_with};

#[test]
fn a_request_is_sent_and_its_answer_recorded() {
    let servers = Servers::new();
    let seen: Arc<Mutex<Vec<(HeaderMap, String)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let app = Router::new().route(
        "/hook",
        any(move |headers: HeaderMap, body: String| async move {
            log.lock().unwrap().push((headers, body));
            (StatusCode::CREATED, [("x-request-id", "r-1")], "made")
        }),
    );
    let address = servers.http(app);
    let cluster = web::builder().start();
    let request = json!({
        "method": "POST", "url": format!("http://{address}/hook"),
        "headers": {"X-Own": "run {{run_id}}"},
        "body": "{\"job\": \"{{job_name}}\", \"attempt\": {{attempt}}}",
    });
    let job = job(&cluster, "sync \"it\"", "1 second", &request);
    let run = cluster.finished_run(job).must_have_succeeded();
    cluster.stop_all_jobs();
    assert_eq!(run.return_message, "HTTP 201 Created");
    assert_eq!(run.command, format!("POST http://{address}/hook"));
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"));
    let worker = cluster.pid_of("pg_tock http");
    assert_eq!(run.job_pid, Some(worker));
    let answer = answer(&cluster, run.runid);
    assert_eq!((answer.status, answer.response.as_deref()), (Some(201), Some("made")));
    assert_eq!(answer.http["sent"], json!(true));
    assert_eq!(answer.http["headers"]["x-request-id"], json!("r-1"));
    assert!(answer.http["times_ms"]["total"].is_number(), "{}", answer.http);
    let seen = seen.lock().unwrap();
    let (headers, body) = &seen[0];
    assert_eq!(headers["x-own"], format!("run {}", run.runid));
    assert_eq!(headers["x-cron-run"], run.runid.to_string());
    assert!(headers["user-agent"].to_str().unwrap().starts_with("pg_tock/"));
    assert!(headers.contains_key("idempotency-key") && headers.contains_key("traceparent"));
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, json!({"job": "sync \"it\"", "attempt": 1}));
    // An occurrence is sent once.
    let runs = cluster.finished_runs_of(job).len();
    assert_eq!(seen.len(), runs);
}

/// The run of a job that is switched off afterwards, and its answer.
fn once(
    cluster: &Cluster,
    name: &str,
    request: &serde_json::Value,
) -> (pg_tock_test::Run, web::Answer) {
    let id = job(cluster, name, "1 second", request);
    let run = cluster.finished_run(id);
    cluster.unschedule(id);
    let answer = answer(cluster, run.runid);
    (run, answer)
}

#[test]
fn every_class_of_answer_has_its_outcome() {
    let servers = Servers::new();
    let app = Router::new().route(
        "/{status}",
        any(|axum::extract::Path(status): axum::extract::Path<u16>| async move {
            (StatusCode::from_u16(status).unwrap(), [("location", "/200")], "body")
        }),
    );
    let address = servers.http(app);
    let refused = {
        let (listener, address) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), ());
        let () = address;
        listener.local_addr().unwrap()
    };
    let garbage = servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        let _ = stream.read(&mut room).await;
        let _ = stream.write_all(b"no HTTP at all\r\n\r\n").await;
    });
    let cluster = web::builder().start();
    let url = |path: &str| format!("http://{address}/{path}");
    for (status, expect, outcome) in [
        (200, "200-299", "succeeded"),
        (204, "200-299", "succeeded"),
        (302, "200-299", "failed"),
        (404, "200-299,404", "succeeded"),
        (404, "200-299", "failed"),
        (429, "200-299", "failed"),
        (503, "200-299", "failed"),
    ] {
        let mut request = get(&url(&status.to_string()));
        request["expect_status"] = json!(expect);
        let (run, answer) = once(&cluster, &format!("{status} {expect}"), &request);
        assert_eq!(run.outcome.as_deref(), Some(outcome), "{run:#?}");
        assert_eq!(answer.status, Some(status));
        assert_eq!(run.sqlstate, None, "{run:#?}");
    }
    for (name, url, sqlstate, sent) in [
        ("refused", format!("http://{refused}/"), "08001", false),
        ("garbage", format!("http://{garbage}/"), "08P01", true),
        ("no such host", "http://nowhere.invalid/".to_owned(), "08001", false),
    ] {
        let (run, answer) = once(&cluster, name, &get(&url));
        let run = run.must_have_failed_with(sqlstate);
        assert_eq!(answer.http["sent"], json!(sent), "{run:#?}");
        assert_eq!(answer.status, None);
    }
}

#[test]
fn slow_endless_and_huge_answers_end() {
    let servers = Servers::new();
    let silent = servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
    });
    let endless = servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        let _ = stream.read(&mut room).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n").await;
        let chunk = vec![b'x'; 65_536];
        while stream.write_all(&chunk).await.is_ok() {}
    });
    let cut_off = servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        let _ = stream.read(&mut room).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    });
    let cluster = web::builder()
        .conf("cron.http_timeout", "500ms")
        .conf("cron.http_response_limit", "16")
        .start();
    let (run, answer) = once(&cluster, "silent", &get(&format!("http://{silent}/")));
    let run = run.must_have_failed_with("57014");
    assert_eq!(run.outcome.as_deref(), Some("timeout"), "{run:#?}");
    assert_eq!(answer.http["kind"], json!("timeout"));
    let (run, answer) = once(&cluster, "endless", &get(&format!("http://{endless}/")));
    let _ = run.must_have_succeeded();
    assert_eq!(answer.response.as_deref(), Some("xxxxxxxxxxxxxxxx"));
    assert_eq!(answer.http["response_cut"], json!(true));
    let (run, answer) = once(&cluster, "cut off", &get(&format!("http://{cut_off}/")));
    let _ = run.must_have_failed_with("08006");
    assert_eq!(answer.status, Some(200));
}

#[test]
fn addresses_that_are_not_public_are_refused_unless_allowed() {
    let servers = Servers::new();
    let address = servers.http(Router::new().route("/", any(|| async { "in" })));
    let port = address.port();
    let cluster = Cluster::builder().conf("cron.http_connect_timeout", "1s").start();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "10.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "2130706433",
        "0x7f.1",
    ] {
        let (run, answer) = once(&cluster, host, &get(&format!("http://{host}:{port}/")));
        let run = run.must_have_failed_with("42501");
        assert_eq!(answer.http["kind"], json!("denied"), "{host}: {run:#?}");
    }
    cluster.conf("cron.http_allow", "localhost, 127.0.0.0/8");
    cluster.conf("cron.http_deny", "127.0.0.1");
    cluster.reload();
    cluster.wait_for("current_setting('cron.http_deny') = '127.0.0.1'");
    let (run, _) = once(&cluster, "denied by name", &get(&format!("http://127.0.0.1:{port}/")));
    let run = run.must_have_failed_with("42501");
    assert!(run.return_message.contains("denied by cron.http_deny"), "{run:#?}");
    cluster.conf("cron.http_deny", "");
    cluster.reload();
    cluster.wait_for("current_setting('cron.http_deny') = ''");
    poll_until("a run that is let through", PATIENCE, || {
        let (run, _) = once(&cluster, "allowed", &get(&format!("http://localhost:{port}/")));
        (run.status == "succeeded").then_some(())
    });
}

#[test]
fn lists_that_are_none_are_refused() {
    let cluster = Cluster::start();
    for list in ["10.0.0.0/33", "not a host", "http://x/"] {
        let error =
            cluster.try_sql(&format!("alter system set cron.http_allow = '{list}'")).unwrap_err();
        let said = error.as_db_error().unwrap();
        assert_eq!(said.code().code(), "22023", "{list}");
        assert!(said.detail().unwrap().contains("is neither a host nor a network"), "{said:?}");
        assert!(said.hint().unwrap().starts_with("List host names"), "{said:?}");
    }
}

#[test]
fn redirects_are_followed_if_the_job_says_so() {
    let servers = Servers::new();
    let app = Router::new()
        .route("/from", any(|| async { (StatusCode::FOUND, [("location", "/to")]) }))
        .route("/to", any(|| async { "there" }))
        .route(
            "/inside",
            any(|| async { (StatusCode::FOUND, [("location", "http://169.254.169.254/")]) }),
        );
    let address = servers.http(app);
    let cluster = web::builder().start();
    let mut request = get(&format!("http://{address}/from"));
    let (run, _) = once(&cluster, "as it is", &request);
    assert_eq!(run.return_message, "HTTP 302 Found");
    request["follow_redirects"] = json!(true);
    let (run, answer) = once(&cluster, "followed", &request);
    let _ = run.must_have_succeeded();
    assert_eq!((answer.response.as_deref(), &answer.http["redirects"]), (Some("there"), &json!(1)));
    request["url"] = json!(format!("http://{address}/inside"));
    let (run, _) = once(&cluster, "to the metadata service", &request);
    let _ = run.must_have_failed_with("42501");
}

#[test]
fn private_authorities_are_trusted_if_a_file_says_so() {
    let servers = Servers::new();
    let authority = Authority::new();
    let app = Router::new().route("/", any(|| async { "safe" }));
    let address = servers.https(app, &authority);
    let url = format!("https://localhost:{}/", address.port());
    let cluster = web::builder().start();
    let (run, answer) = once(&cluster, "unknown", &get(&url));
    let _ = run.must_have_failed_with("08001");
    assert_eq!(answer.http["kind"], json!("tls"));
    let file = authority.file(cluster.dir());
    cluster.conf("cron.http_ca_file", &file.display().to_string());
    cluster.reload();
    poll_until("a run that trusts it", PATIENCE, || {
        let (run, answer) = once(&cluster, "known", &get(&url));
        (run.status == "succeeded" && answer.response.as_deref() == Some("safe")).then_some(())
    });
    // A file that is not there leaves things as they were, and is spoken of.
    cluster.conf("cron.http_ca_file", "/nonexistent/ca.pem");
    cluster.reload();
    poll_until("a complaint", PATIENCE, || {
        cluster
            .log()
            .contains("could not read certificates from \"/nonexistent/ca.pem\"")
            .then_some(())
    });
    let (run, _) = once(&cluster, "still known", &get(&url));
    let _ = run.must_have_succeeded();
}

#[test]
fn proxies_in_the_environment_count_for_nothing() {
    // SAFETY: this process of its own has no other thread yet that reads its environment.
    unsafe {
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            std::env::set_var(name, "http://127.0.0.1:1/");
        }
    }
    let servers = Servers::new();
    let address = servers.http(Router::new().route("/", any(|| async { "direct" })));
    let cluster = web::builder().start();
    let (run, answer) = once(&cluster, "direct", &get(&format!("http://{address}/")));
    let _ = run.must_have_succeeded();
    assert_eq!(answer.response.as_deref(), Some("direct"));
}

#[test]
fn a_request_under_way_is_shown_and_holds_no_transaction() {
    let servers = Servers::new();
    let silent = servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
    });
    let cluster = web::builder().start();
    let id = job(&cluster, "hangs", "1 second", &get(&format!("http://{silent}/")));
    cluster.wait_for(&format!("exists (select from cron.running where jobid = {id})"));
    let _ = cluster.run_in_status(id, "running");
    // The worker has said that it has the job, and nobody has a transaction for it.
    cluster.wait_for(&format!(
        "exists (select from pg_locks l join pg_stat_activity a using (pid) \
          where l.locktype = 'advisory' and l.objid = {id} and l.objsubid = 3 \
          and a.backend_type = 'pg_tock http')"
    ));
    cluster.wait_for(
        "not exists (select from pg_stat_activity where backend_type like 'pg_tock%' \
          and (xact_start is not null or backend_xmin is not null))",
    );
    let claims: i64 = cluster.one_with(
        "select count(*) from cron.job_run_details where jobid = $1 and status = 'running'",
        &[&id],
    );
    assert_eq!(claims, 1, "an occurrence at a time");
    cluster.unschedule(id);
    let run = cluster.finished_runs(id, 1).remove(0);
    assert_eq!(run.outcome.as_deref(), Some("cancelled"), "{run:#?}");
    cluster.wait_for("not exists (select from cron.running)");
}

#[test]
fn a_held_job_sends_nothing() {
    let servers = Servers::new();
    let count = Arc::new(Mutex::new(0_usize));
    let counted = Arc::clone(&count);
    let app = Router::new().route(
        "/",
        any(move || async move {
            *counted.lock().unwrap() += 1;
            "ok"
        }),
    );
    let address = servers.http(app);
    let cluster = web::builder().start();
    let id = job(&cluster, "held", "1 second", &get(&format!("http://{address}/")));
    let _ = cluster.finished_run(id);
    let mut holder = cluster.client();
    holder.execute("select cron.hold('held')", &[]).unwrap();
    cluster.wait_for("not exists (select from cron.running)");
    let before = *count.lock().unwrap();
    pg_tock_test::stays_true("nothing is sent", Duration::from_millis(2_200), || {
        *count.lock().unwrap() == before
    });
    holder.execute("select cron.release('held')", &[]).unwrap();
    poll_until("requests again", PATIENCE, || (*count.lock().unwrap() >= before + 2).then_some(()));
    cluster.stop_all_jobs();
    let _ = job_with;
}
