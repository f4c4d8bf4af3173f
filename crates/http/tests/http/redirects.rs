//! Where the client lets itself be sent.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::any;
use http::{HeaderMap, Method, StatusCode};
use pg_tock_core::http::outcome::{Failure, Verdict};
use pg_tock_http::Completion;
use serde_json::json;

use crate::support::{Harness, SECRET, Servers, Spec, config};

/// Tells what arrived; `/to/STATUS/URL` redirects.
fn app() -> Router {
    let echo = |method: Method, headers: HeaderMap, body: Bytes| async move {
        let has = |name| headers.contains_key(name);
        let body = String::from_utf8_lossy(&body).into_owned();
        format!(
            "{method} auth={} token={} plain={} type={} body={body}",
            has("authorization"),
            has("x-token"),
            has("x-plain"),
            has("content-type")
        )
    };
    let to = |Path((status, url)): Path<(u16, String)>| async move {
        (StatusCode::from_u16(status).unwrap(), [("location", url)], "moved")
    };
    let hops = |Path(left): Path<u32>| async move {
        let next = if left == 0 { "/".to_owned() } else { format!("/hops/{}", left - 1) };
        (StatusCode::FOUND, [("location", next)])
    };
    Router::new()
        .route("/to/{status}/{*url}", any(to))
        .route("/hops/{left}", any(hops))
        .route("/nowhere", any(|| async { StatusCode::FOUND }))
        .fallback(any(echo))
}

fn failed(done: &Completion, message: &str) {
    let (failure, text) = done.failure.as_ref().unwrap();
    assert_eq!((*failure, text.as_str()), (Failure::Redirect, message));
    assert_eq!((done.verdict, done.sent), (Verdict::Final, true));
}

#[test]
fn redirects_are_followed_when_asked_for() {
    let servers = Servers::new();
    let at = servers.http(app());
    let mut harness = Harness::new();
    let url = format!("http://{at}/to/302//done");
    let done = harness.get(&url);
    assert_eq!((done.status, done.redirects, done.body.as_str()), (Some(302), 0, "moved"));
    let done = harness.run(Spec::get(&url).following().order(1));
    assert_eq!((done.status, done.redirects), (Some(200), 1));
    let done = harness.run(Spec::get(&format!("http://{at}/hops/4")).following().order(1));
    assert_eq!((done.status, done.redirects), (Some(200), 5));
    let done = harness.run(Spec::get(&format!("http://{at}/hops/5")).following().order(1));
    failed(&done, "more than 5 redirects");
    assert_eq!((done.status, done.redirects), (Some(302), 5));
    let done = harness.run(Spec::get(&format!("http://{at}/nowhere")).following().order(1));
    failed(&done, "redirect without a location");
}

#[test]
fn methods_and_bodies_follow_the_code() {
    let servers = Servers::new();
    let at = servers.http(app());
    let mut harness = Harness::new();
    let mut post = |status: u16| {
        harness
            .run(Spec::post(&format!("http://{at}/to/{status}//done"), "data").following().order(1))
            .body
    };
    for status in [301, 302, 303] {
        assert_eq!(post(status), "GET auth=false token=false plain=false type=false body=");
    }
    for status in [307, 308] {
        assert_eq!(post(status), "POST auth=false token=false plain=false type=true body=data");
    }
}

#[test]
fn secrets_are_not_sent_to_another_host() {
    let servers = Servers::new();
    let (first, second) = (servers.http(app()), servers.http(app()));
    let mut harness = Harness::new();
    let headers =
        json!({"Authorization": "Basic abc", "X-Token": "{{secret:key}}", "X-Plain": "p"});
    let mut go = |status: u16, target: &str, body: &str| {
        let url = format!("http://{first}/to/{status}/{target}");
        harness.run(Spec::post(&url, body).with_headers(headers.clone()).following().order(1))
    };
    let same = format!("http://{first}/x");
    let other = format!("http://{second}/x");
    assert_eq!(
        go(307, &same, "data").body,
        "POST auth=true token=true plain=true type=true body=data"
    );
    let done = go(307, &other, "data");
    assert_eq!(done.body, "POST auth=false token=false plain=true type=true body=data");
    assert_eq!(done.remote, Some(second));
    failed(
        &go(308, &other, "{{secret:key}}"),
        "redirect would send a secret in the body to another host",
    );
    assert_eq!(
        go(303, &other, "{{secret:key}}").body,
        "GET auth=false token=false plain=true type=false body="
    );
    // The second host sends back to the first: what was dropped stays dropped.
    let there_and_back = format!("http://{second}/to/307/http:%2F%2F{first}%2Fx");
    assert_eq!(
        go(307, &there_and_back, "data").body,
        "POST auth=false token=false plain=true type=true body=data"
    );
    let leaking = format!("http://{second}/%3Fk={}", SECRET.replace('/', "%252F"));
    failed(&go(302, &leaking, "data"), "redirect would send a secret in the URL to another host");
}

#[test]
fn targets_are_checked_like_the_first_url() {
    let servers = Servers::new();
    let at = servers.http(app());
    let mut harness = Harness::new();
    let mut go = |target: &str| {
        harness.run(Spec::get(&format!("http://{at}/to/302/{target}")).following().order(1))
    };
    for target in ["file:%2F%2F%2Fetc%2Fpasswd", "gopher:%2F%2Fh%2F", "http:%2F%2Fu:p@h%2F"] {
        failed(&go(target), "redirect to a URL that is not allowed");
    }
    let done = go("http:%2F%2F169.254.169.254%2Flatest%2Fmeta-data");
    let (failure, message) = done.failure.as_ref().unwrap();
    assert_eq!((*failure, done.verdict, done.redirects), (Failure::Denied, Verdict::Final, 1));
    assert!(message.contains("link-local"), "{message}");
    assert!(done.sent, "the first host has seen it");
    let mut config = config();
    config.access.deny = "127.0.0.2".parse().unwrap();
    let url = format!("http://{at}/to/302/http:%2F%2F127.0.0.2:{}%2F", at.port());
    let done = Harness::with(&config).run(Spec::get(&url).following().order(1));
    assert_eq!(done.failure.unwrap().0, Failure::Denied);
}
