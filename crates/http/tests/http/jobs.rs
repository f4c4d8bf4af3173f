//! From message to message, as the Postgres side uses the client.

use axum::Router;
use axum::routing::any;
use http::{HeaderMap, StatusCode};
use pg_tock_core::http::wire::{HttpOrder, HttpReport, SealedSecret};
use pg_tock_core::run::{Guarantee, Outcome};
use pg_tock_core::secret::Secret;
use pg_tock_http::cipher::Keyring;
use pg_tock_http::job::Run;
use pg_tock_http::look::Look;
use serde_json::json;

use crate::support::{Harness, SECRET, Servers};

fn keys() -> Keyring {
    Keyring::parse("k1 q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=").unwrap()
}

fn order(url: String) -> HttpOrder {
    let stored = keys().seal("key", &Secret::new(SECRET.to_owned())).unwrap();
    HttpOrder {
        slot: 1,
        run: 77,
        job: 3,
        job_name: "daily-sync".to_owned(),
        system: 1,
        database: 5,
        scheduled_for: 1_700_000_000_000_000,
        attempt: 2,
        retries: true,
        shares_lock: false,
        flush_lsn: 0,
        method: "POST".to_owned(),
        url,
        headers: json!({"Authorization": "Bearer {{secret:key}}"}),
        body: Some("{\"attempt\": {{attempt}}}".to_owned()),
        expect_status: "200-299".to_owned(),
        follow_redirects: false,
        alert: None,
        secrets: vec![SealedSecret { name: "key".to_owned(), stored }],
        timeout: 30_000_000,
        max_wait: 30_000_000,
        retry_max_delay: 5_000_000,
        dry: false,
    }
}

/// What the worker does with a message.
fn run(harness: &mut Harness, order: &HttpOrder) -> HttpReport {
    let order = HttpOrder::decode(&order.encode()).unwrap();
    let run = Run::begin(&order);
    let report = match run.order(1, &order, &keys(), "0.1.0") {
        Ok(order) => run.report(&harness.run(order)),
        Err(report) => *report,
    };
    HttpReport::decode(&report.encode()).unwrap()
}

#[test]
fn a_run_from_message_to_message() {
    let servers = Servers::new();
    let app = |headers: HeaderMap, body: String| async move {
        let right =
            headers["authorization"] == format!("Bearer {SECRET}") && body == "{\"attempt\": 2}";
        let status = if right { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        (status, [("retry-after", "60")], format!("no {SECRET}"))
    };
    let at = servers.http(Router::new().route("/sync", any(app)));
    let report = run(&mut Harness::new(), &order(format!("http://{at}/sync")));
    assert_eq!((report.run, report.job), (77, 3));
    assert_eq!((report.outcome, report.guarantee), (Outcome::Failed, Guarantee::AtLeastOnce));
    assert_eq!((report.transient, report.http_status), (true, Some(503)));
    assert_eq!(report.message, "HTTP 503 Service Unavailable");
    assert_eq!(report.response.as_deref(), Some("no ***"));
    assert_eq!((report.retry_after, report.sqlstate.as_deref()), (Some(5_000_000), None));
    assert_eq!(report.details["headers"]["retry-after"], "60");
    assert_eq!(report.details["remote"], at.to_string());
    assert_eq!(
        (&report.details["sent"], &report.details["version"]),
        (&json!(true), &json!("HTTP/1.1"))
    );
    assert!(report.details["times_ms"]["total"].as_f64().unwrap() > 0.0);
    assert!(report.started_at <= report.ended_at);
}

#[test]
fn runs_that_cannot_be_sent_are_reported() {
    let mut harness = Harness::new();
    let good = order("http://127.0.0.1:9/".to_owned());
    let mut problem = |order: HttpOrder| {
        let report = run(&mut harness, &order);
        assert_eq!(
            (report.outcome, report.transient, report.http_status),
            (Outcome::Failed, false, None)
        );
        assert_eq!(
            (report.sqlstate.as_deref(), &report.details["sent"]),
            (Some("22023"), &json!(false))
        );
        report.message
    };
    assert_eq!(
        problem(HttpOrder { url: "ftp://h/".to_owned(), ..good.clone() }),
        "url has scheme \"ftp\""
    );
    assert_eq!(
        problem(HttpOrder { secrets: Vec::new(), ..good.clone() }),
        "secret \"key\" does not exist or may not be used by the job's owner"
    );
    let mut damaged = good;
    damaged.secrets[0].stored.pop();
    assert_eq!(problem(damaged), "secret \"key\": stored value of the secret is not authentic");
}

/// What the worker does with the message of a dry run.
fn look(harness: &mut Harness, order: &HttpOrder) -> HttpReport {
    let run = Run::begin(order);
    match Look::at(&run, order, &keys(), "0.1.0") {
        Ok(look) => look.report(harness.inspect(look.host())),
        Err(report) => *report,
    }
}

#[test]
fn a_look_shows_the_request_without_secrets_and_where_it_may_go() {
    let mut harness = Harness::new();
    let mut asked = order("http://127.0.0.1:9/{{secret:key}}".to_owned());
    asked.body =
        Some(format!("{{\"key\": \"{{{{secret:key}}}}\", \"long\": \"{}\"}}", "ä".repeat(8192)));
    let report = look(&mut harness, &asked);
    assert_eq!((report.outcome, report.sqlstate.as_deref()), (Outcome::Succeeded, None));
    assert_eq!(report.message, "request would be sent to 127.0.0.1");
    let request = &report.details["request"];
    assert_eq!(
        (&request["method"], &request["url"]),
        (&json!("POST"), &json!("http://127.0.0.1:9/***"))
    );
    assert_eq!(request["headers"]["authorization"], json!("Bearer ***"));
    assert!(request["body"].as_str().unwrap().starts_with("{\"key\": \"***\", "));
    assert!(request["body"].as_str().unwrap().len() <= 8192 && request["body_cut"] == json!(true));
    assert_eq!(report.details["addresses"], json!([{"address": "127.0.0.1", "allowed": true}]));
    assert!(!report.details.to_string().contains(SECRET));

    let refused = look(&mut harness, &order("http://169.254.169.254/".to_owned()));
    assert_eq!((refused.outcome, refused.sqlstate.as_deref()), (Outcome::Failed, Some("42501")));
    assert_eq!(refused.details["addresses"][0]["allowed"], json!(false));
    let gone = look(&mut harness, &HttpOrder { secrets: Vec::new(), ..asked });
    assert_eq!((gone.outcome, gone.sqlstate.as_deref()), (Outcome::Failed, Some("22023")));
}

#[test]
fn failures_have_their_sqlstate() {
    let servers = Servers::new();
    let (listener, nobody) = servers.listen("127.0.0.1:0");
    drop(listener);
    let once = HttpOrder { retries: false, ..order(format!("http://{nobody}/")) };
    let report = run(&mut Harness::new(), &once);
    assert_eq!(
        (report.sqlstate.as_deref(), report.guarantee),
        (Some("08001"), Guarantee::AtMostOnce)
    );
    assert_eq!((report.response, &report.details["kind"]), (None, &json!("connect")));
    let silent = servers.raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    });
    let short = HttpOrder { timeout: 200_000, ..order(format!("http://{silent}/")) };
    let report = run(&mut Harness::new(), &short);
    assert_eq!((report.outcome, report.sqlstate.as_deref()), (Outcome::Timeout, Some("57014")));
    assert!(report.transient);
}
