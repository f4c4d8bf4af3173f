//! Many at once: limits, fairness, breakers, cancelling and stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use pg_tock_core::http::gate::Hold;
use pg_tock_core::http::outcome::{Failure, Verdict};
use pg_tock_core::time::Timestamp;
use pg_tock_http::{Event, raise_file_limit};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, Semaphore};

use crate::support::{Harness, PATIENCE, Servers, Spec, config, eventually};

/// Hangs until the semaphore lets it go.
fn gated(gate: &Arc<Semaphore>, seen: &Arc<AtomicUsize>) -> Router {
    let (gate, seen) = (Arc::clone(gate), Arc::clone(seen));
    let wait = move || {
        let (gate, seen) = (Arc::clone(&gate), Arc::clone(&seen));
        async move {
            seen.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            "let go"
        }
    };
    Router::new().route("/", get(wait)).route("/now", get(|| async { "now" }))
}

fn failure_of(event: &Event) -> Option<Failure> {
    match event {
        Event::Done(done) => done.failure.as_ref().map(|(failure, _)| *failure),
        _ => None,
    }
}

#[test]
fn two_thousand_in_flight() {
    // Both ends of each connection are in this process.
    assert!(raise_file_limit(10_000).unwrap() >= 5_000);
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let at = servers.http(gated(&gate, &seen));
    let mut config = config();
    config.limits.per_host = 2000;
    let mut harness = Harness::with(&config);
    for id in 0..2000 {
        harness.client.submit(Spec::get(&format!("http://{at}/")).order(id)).unwrap();
    }
    eventually(|| seen.load(Ordering::SeqCst) == 2000);
    assert_eq!((harness.client.in_flight(), harness.client.waiting()), (2000, 0));
    gate.add_permits(2000);
    harness.wait_until(|events| events.len() == 2000);
    assert!(harness.done().all(|done| done.verdict == Verdict::Succeeded && done.body == "let go"));
}

#[test]
fn a_thousand_that_hang_delay_nobody() {
    assert!(raise_file_limit(10_000).unwrap() >= 5_000);
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let at = servers.http(gated(&gate, &seen));
    let mut harness = Harness::with_names(&config(), &[&["127.0.0.1"]]);
    for id in 1..=1000 {
        let url = format!("http://hangs{}.test:{}/", id % 50, at.port());
        harness.client.submit(Spec::get(&url).order(id)).unwrap();
    }
    eventually(|| seen.load(Ordering::SeqCst) == 1000);
    let done = harness.get(&format!("http://answers.test:{}/now", at.port()));
    assert_eq!((done.body.as_str(), done.held, harness.events.len()), ("now", None, 0));
    assert_eq!(harness.client.in_flight(), 1000);
}

#[test]
fn hosts_have_a_limit() {
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let at = servers.http(gated(&gate, &seen));
    let mut config = config();
    config.limits.per_host = 2;
    let mut harness = Harness::with(&config);
    for id in 0..5 {
        harness.client.submit(Spec::get(&format!("http://{at}/")).order(id)).unwrap();
    }
    eventually(|| seen.load(Ordering::SeqCst) == 2 && harness.client.waiting() == 3);
    gate.add_permits(5);
    harness.wait_until(|events| events.len() == 5);
    assert_eq!(harness.done().filter(|done| done.held == Some(Hold::HostLimit)).count(), 3);
    assert_eq!(seen.load(Ordering::SeqCst), 5);
}

#[test]
fn waiting_ends_at_its_time() {
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let at = servers.http(gated(&gate, &seen));
    let mut config = config();
    config.limits.max_in_flight = 1;
    let mut harness = Harness::with(&config);
    harness.client.submit(Spec::get(&format!("http://{at}/")).order(1)).unwrap();
    let short =
        Spec { max_wait: Duration::from_millis(100), ..Spec::get(&format!("http://{at}/")) };
    let done = harness.run(short.order(2));
    let (failure, message) = done.failure.clone().unwrap();
    assert_eq!((failure, done.held, done.sent), (Failure::HeldBack, Some(Hold::Limit), false));
    assert!(
        message.contains("held back for") && message.contains("by the limit of requests"),
        "{message}"
    );
    assert!(done.times.waited >= Duration::from_millis(100));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[test]
fn a_breaker_opens_holds_back_and_closes() {
    let servers = Servers::new();
    let (listener, at) = servers.listen("127.0.0.1:0");
    drop(listener);
    let mut config = config();
    config.limits.breaker_failures = 3;
    config.limits.breaker_open_for = Timestamp::SECOND / 5;
    let mut harness = Harness::with(&config);
    let url = format!("http://{at}/");
    for id in 0..3 {
        assert_eq!(harness.run(Spec::get(&url).order(id)).failure.unwrap().0, Failure::Connect);
    }
    assert!(
        harness.events.iter().any(|event| matches!(event, Event::Breaker(change) if change.open
        && change.origin == format!("http://{at}") && change.failures == 3))
    );
    let app = Router::new().route("/", get(|| async { "back" }));
    assert_eq!(servers.http_at(&at.to_string(), app), at);
    let done = harness.run(Spec::get(&url).order(9));
    assert_eq!((done.body.as_str(), done.held), ("back", Some(Hold::Breaker)));
    assert!(done.times.waited > Duration::ZERO);
    harness.wait_until(|events| {
        events.iter().any(|event| matches!(event, Event::Breaker(change) if !change.open))
    });
}

#[test]
fn answers_of_every_kind_keep_the_breaker_closed() {
    let servers = Servers::new();
    let at = servers.http(Router::new());
    let mut config = config();
    config.limits.breaker_failures = 1;
    let mut harness = Harness::with(&config);
    for _ in 0..3 {
        assert_eq!(harness.get(&format!("http://{at}/missing")).held, None);
    }
    assert!(harness.events.is_empty());
}

#[test]
fn orders_can_be_cancelled() {
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let at = servers.http(gated(&gate, &seen));
    let mut config = config();
    config.limits.per_host = 1;
    let mut harness = Harness::with(&config);
    let url = format!("http://{at}/");
    for id in 1..=2 {
        harness.client.submit(Spec::get(&url).order(id)).unwrap();
    }
    eventually(|| seen.load(Ordering::SeqCst) == 1);
    for (id, sent) in [(2, false), (1, true)] {
        harness.client.cancel(id);
        let done = harness.wait(id);
        assert_eq!((done.failure.unwrap().0, done.sent), (Failure::Cancelled, sent));
    }
    harness.client.cancel(77);
    assert_eq!(harness.get(&format!("http://{at}/now")).body, "now");
}

#[test]
fn stopping_does_not_wait_for_anybody() {
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let at = servers.http(gated(&gate, &seen));
    let mut config = config();
    config.limits.per_host = 500;
    let harness = Harness::with(&config);
    for id in 0..600 {
        harness.client.submit(Spec::get(&format!("http://{at}/")).order(id)).unwrap();
    }
    eventually(|| seen.load(Ordering::SeqCst) == 500 && harness.client.waiting() == 100);
    let before = Instant::now();
    let events = harness.client.shutdown(PATIENCE);
    // The orders themselves would go on for as long as the test's patience.
    assert!(before.elapsed() < PATIENCE);
    assert_eq!(events.len(), 600);
    assert!(events.iter().all(|event| failure_of(event) == Some(Failure::Shutdown)));
    let unsent =
        events.iter().filter(|event| matches!(event, Event::Done(done) if !done.sent)).count();
    assert_eq!(unsent, 100);
}

#[test]
fn dropping_the_client_ends_its_thread() {
    let (notify, arrived) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let servers = Servers::new();
    let (told, seen) = (Arc::clone(&notify), Arc::clone(&arrived));
    let at = servers.raw(move |mut stream| {
        let (told, seen) = (Arc::clone(&told), Arc::clone(&seen));
        async move {
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            told.notify_one();
        }
    });
    let harness = Harness::new();
    harness.client.submit(Spec::get(&format!("http://{at}/")).order(1)).unwrap();
    eventually(|| arrived.load(Ordering::SeqCst) > 0);
    drop(harness);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, notify.notified()).await }).unwrap();
}

#[test]
fn the_loop_takes_no_signal() {
    let harness = Harness::new();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let blocked = || {
        threads()
            .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
            .find_map(|status| {
                let mut lines = status.lines();
                lines.next().filter(|name| name.ends_with("pg_tock http"))?;
                let mask = lines.find_map(|line| line.strip_prefix("SigBlk:\t"))?;
                u64::from_str_radix(mask, 16).ok()
            })
    };
    eventually(|| blocked().is_some());
    let mask = blocked().unwrap();
    for signal in (1..=31).filter(|signal| ![9, 19].contains(signal)) {
        assert!(mask & 1 << (signal - 1) != 0, "signal {signal} is not blocked");
    }
    drop(harness);
}
