//! Whom the client trusts, and HTTP/2.

use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use pg_tock_core::http::outcome::{Failure, Verdict};
use pg_tock_http::{Client, Completion, Config, StartError};

use crate::support::{Authority, Harness, Identity, Servers, Spec, config};

/// Every name is this machine.
const HERE: &[&[&str]] = &[&["127.0.0.1"]];

fn trusting(authority: &Authority, test: &str) -> Config {
    Config { ca_file: Some(authority.file(test)), ..config() }
}

fn app() -> Router {
    Router::new().route("/", any(|| async { "hello" }))
}

fn refused(done: &Completion, reason: &str) {
    let (failure, message) = done.failure.as_ref().unwrap();
    assert_eq!((*failure, done.verdict, done.sent), (Failure::Tls, Verdict::Transient, false));
    assert!(message.contains(reason), "{message}");
}

#[test]
fn a_good_certificate_is_trusted() {
    let (servers, authority) = (Servers::new(), Authority::new());
    let at = servers.https(app(), &authority.issue("api.test"), &["http/1.1"]);
    let mut harness = Harness::with_names(&trusting(&authority, "good"), HERE);
    let done = harness.get(&format!("https://api.test:{}/", at.port()));
    assert_eq!(
        (done.status, done.version, done.body.as_str()),
        (Some(200), Some("HTTP/1.1"), "hello")
    );
    assert!(done.times.tls.is_some_and(|tls| tls > Duration::ZERO));
    let by_address = servers.https(app(), &authority.issue("127.0.0.1"), &[]);
    assert_eq!(harness.get(&format!("https://{by_address}/")).status, Some(200));
}

#[test]
fn bad_certificates_are_refused() {
    let (servers, authority) = (Servers::new(), Authority::new());
    let mut harness = Harness::with_names(&trusting(&authority, "bad"), HERE);
    let mut ask = |identity: &Identity| {
        let at = servers.https(app(), identity, &["h2", "http/1.1"]);
        harness.get(&format!("https://api.test:{}/", at.port()))
    };
    refused(&ask(&authority.issue_expired("api.test")), "expired");
    refused(&ask(&Identity::self_signed("api.test")), "invalid peer certificate");
    refused(&ask(&Authority::new().issue("api.test")), "certificate");
    refused(&ask(&authority.issue("other.test")), "api.test");
    assert_eq!(ask(&authority.issue("api.test")).status, Some(200));
}

#[test]
fn a_server_without_tls_is_refused() {
    let servers = Servers::new();
    let at = servers.http(app());
    let mut harness = Harness::with_names(&config(), HERE);
    refused(
        &harness.get(&format!("https://api.test:{}/", at.port())),
        "TLS handshake with api.test",
    );
}

#[test]
fn a_handshake_that_hangs_ends() {
    let servers = Servers::new();
    let (_listener, at) = servers.listen("127.0.0.1:0");
    let impatient = Config { connect_timeout: Duration::from_millis(200), ..config() };
    let done = Harness::with(&impatient).get(&format!("https://{at}/"));
    assert_eq!(done.failure.as_ref().unwrap().0, Failure::Timeout);
    assert_eq!(
        done.message(),
        format!("timed out after 200ms while shaking hands over TLS with {at}")
    );
    assert!(!done.sent);
    let done = Harness::new().run(Spec::hurried(&format!("https://{at}/")).order(1));
    assert_eq!(done.message(), "timed out after 300ms while shaking hands over TLS");
}

#[test]
fn http_2_shares_one_connection() {
    let (servers, authority) = (Servers::new(), Authority::new());
    let at = servers.https(app(), &authority.issue("api.test"), &["h2", "http/1.1"]);
    let mut harness = Harness::with_names(&trusting(&authority, "h2"), HERE);
    let url = format!("https://api.test:{}/", at.port());
    let first = harness.get(&url);
    assert_eq!((first.status, first.version), (Some(200), Some("HTTP/2.0")));
    for id in 1..=50 {
        harness.client.submit(Spec::post(&url, "{}").order(id)).unwrap();
    }
    for id in 1..=50 {
        let done = harness.wait(id);
        assert_eq!(
            (done.status, done.version, done.times.connect),
            (Some(200), Some("HTTP/2.0"), None)
        );
    }
}

#[test]
fn an_http_2_body_that_does_not_end() {
    let (servers, authority) = (Servers::new(), Authority::new());
    let endless = get(|| async {
        axum::body::Body::from_stream(futures_util::stream::pending::<
            Result<&'static str, std::io::Error>,
        >())
    });
    let identity = authority.issue("api.test");
    let at = servers.https(app().route("/endless", endless), &identity, &["h2"]);
    let mut harness = Harness::with_names(&trusting(&authority, "h2-endless"), HERE);
    let url = format!("https://api.test:{}", at.port());
    let done = harness.run(Spec::hurried(&format!("{url}/endless")).order(1));
    assert_eq!((done.status, done.failure.unwrap().0), (Some(200), Failure::Timeout));
    // The stream was given up, not the connection.
    let done = harness.get(&format!("{url}/"));
    assert_eq!((done.status, done.times.connect), (Some(200), None));
}

#[test]
fn certificates_that_cannot_be_read_are_an_error() {
    let missing = Config { ca_file: Some("/nonexistent/ca.pem".into()), ..config() };
    let error = Client::start(&missing).unwrap_err();
    assert!(matches!(error, StartError::Certificates { .. }), "{error}");
    assert!(error.to_string().contains("\"/nonexistent/ca.pem\""), "{error}");
    let empty = Config { ca_file: Some("/dev/null".into()), ..config() };
    let error = Client::start(&empty).unwrap_err().to_string();
    assert!(error.ends_with("it contains no certificate"), "{error}");
    // A client that runs keeps what it has.
    let mut harness = Harness::new();
    harness.client.configure(&empty).unwrap_err();
    let at = Servers::new();
    let at = (at.http(app()), at);
    assert_eq!(harness.get(&format!("http://{}/", at.0)).status, Some(200));
}
