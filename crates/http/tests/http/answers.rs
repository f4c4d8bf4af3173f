//! Whatever a server can answer.

use std::io::Write as _;
use std::time::Duration;

use crate::support::{Harness, SECRET, Servers, Spec, config};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use futures_util::stream::{self, StreamExt as _};
use http::{HeaderMap, StatusCode};
use pg_tock_core::http::outcome::{Failure, Verdict};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn failure(done: &pg_tock_http::Completion) -> Failure {
    done.failure.as_ref().unwrap_or_else(|| panic!("no failure: {done:?}")).0
}

/// Reads the request's headers, then writes `answer` and what `then` does.
async fn answer(mut stream: TcpStream, answer: &[u8]) -> TcpStream {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(answer).await;
    stream
}

#[test]
fn every_status_class() {
    let servers = Servers::new();
    let status = |Path(code): Path<u16>| async move { StatusCode::from_u16(code).unwrap() };
    let at = servers.http(Router::new().route("/{code}", any(status)));
    let mut harness = Harness::new();
    for (code, verdict, message) in [
        (200, Verdict::Succeeded, "HTTP 200 OK"),
        (204, Verdict::Succeeded, "HTTP 204 No Content"),
        (301, Verdict::Final, "HTTP 301 Moved Permanently"),
        (304, Verdict::Final, "HTTP 304 Not Modified"),
        (400, Verdict::Final, "HTTP 400 Bad Request"),
        (404, Verdict::Final, "HTTP 404 Not Found"),
        (408, Verdict::Transient, "HTTP 408 Request Timeout"),
        (425, Verdict::Transient, "HTTP 425 Too Early"),
        (429, Verdict::Transient, "HTTP 429 Too Many Requests"),
        (500, Verdict::Transient, "HTTP 500 Internal Server Error"),
        (503, Verdict::Transient, "HTTP 503 Service Unavailable"),
        (599, Verdict::Transient, "HTTP 599"),
        (999, Verdict::Final, "HTTP 999"),
    ] {
        let done = harness.get(&format!("http://{at}/{code}"));
        assert_eq!((done.verdict, done.status), (verdict, Some(code)));
        assert_eq!(done.message(), message);
        assert!(done.sent && done.failure.is_none());
    }
    let missing = Spec { expect: "404", ..Spec::get(&format!("http://{at}/404")) };
    assert_eq!(harness.run(missing.order(1)).verdict, Verdict::Succeeded);
}

#[test]
fn requests_arrive_as_they_were_written() {
    let servers = Servers::new();
    let echo = |headers: HeaderMap, uri: http::Uri, method: http::Method, body: Bytes| async move {
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        format!("{method} {uri}\n{}\n\n{}", headers.join("\n"), String::from_utf8_lossy(&body))
    };
    let at = servers.http(Router::new().fallback(any(echo)));
    let mut harness = Harness::new();
    let spec = Spec::post(&format!("http://{at}/a%20b?c={{{{run_id}}}}|"), "{\"k\": {{job_name}}}");
    let done = harness.run(spec.order(1));
    assert_eq!(done.status, Some(200), "{done:?}");
    assert!(done.body.starts_with("POST /a%20b?c=7%7C\n"), "{}", done.body);
    for expected in [
        "user-agent: pg_tock/0.1.0",
        "x-cron-job: nightly",
        "x-cron-run: 7",
        "content-type: application/json",
        "idempotency-key: ",
        "traceparent: 00-",
        "content-length: 16",
        &format!("host: {at}"),
        "\n\n{\"k\": \"nightly\"}",
    ] {
        assert!(done.body.contains(expected), "{expected} is not in {}", done.body);
    }
    assert!(!done.body.contains("accept-encoding"));
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let done = harness.run(Spec { method, ..Spec::get(&format!("http://{at}/")) }.order(1));
        assert!(done.body.starts_with(&format!("{method} /\n")), "{}", done.body);
    }
    let head = harness.run(Spec { method: "HEAD", ..Spec::get(&format!("http://{at}/")) }.order(1));
    assert_eq!((head.status, head.body.as_str(), head.body_cut), (Some(200), "", false));
}

#[test]
fn retry_after_is_read_and_capped() {
    let servers = Servers::new();
    let wait = |Path(value): Path<String>| async move {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", value)])
    };
    let at = servers.http(Router::new().route("/{value}", get(wait)));
    let mut harness = Harness::new();
    let mut asked = |value: &str| {
        harness.get(&format!("http://{at}/{}", value.replace(" ", "%20"))).retry_after
    };
    assert_eq!(asked("7"), Some(Duration::from_secs(7)));
    assert_eq!(asked("86400"), Some(Duration::from_secs(3600)));
    assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
    assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT"), Some(Duration::from_secs(3600)));
    assert_eq!(asked("soon"), None);
}

#[test]
fn headers_that_do_not_come_end_at_the_timeout() {
    let servers = Servers::new();
    let silent = servers.raw(|stream| async move {
        let _stream = answer(stream, b"").await;
        std::future::pending::<()>().await;
    });
    let dripping = servers.raw(|stream| async move {
        let mut stream = answer(stream, b"HTTP/1.1 200 OK\r\n").await;
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while stream.write_all(b"X-A: b\r\n").await.is_ok() {
            tick.tick().await;
        }
    });
    let informational = servers.raw(|stream| async move {
        let mut stream = answer(stream, b"").await;
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {}
    });
    let mut harness = Harness::new();
    for at in [silent, dripping, informational] {
        let done = harness.run(Spec::hurried(&format!("http://{at}/")).order(1));
        // Dripping headers may also be too many before their time is over.
        assert!(matches!(failure(&done), Failure::Timeout | Failure::Protocol), "{done:?}");
        assert_eq!((done.verdict, done.status, done.sent), (Verdict::Transient, None, true));
    }
    let done = harness.run(Spec::hurried(&format!("http://{silent}/")).order(1));
    assert_eq!(done.message(), "timed out after 300ms while waiting for the response");
}

#[test]
fn bodies_that_do_not_end() {
    let servers = Servers::new();
    let app = Router::new()
        .route(
            "/stops",
            get(|| async {
                Body::from_stream(
                    stream::once(async { Ok::<_, std::io::Error>("begun") })
                        .chain(stream::pending()),
                )
            }),
        )
        .route(
            "/drips",
            get(|| async {
                let drops = stream::unfold(
                    tokio::time::interval(Duration::from_millis(5)),
                    |mut tick| async {
                        tick.tick().await;
                        Some((Ok::<_, std::io::Error>("x"), tick))
                    },
                );
                Body::from_stream(drops)
            }),
        )
        .route(
            "/floods",
            get(|| async {
                Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>("y".repeat(4096))))
            }),
        );
    let at = servers.http(app);
    let mut harness = Harness::new();
    let done = harness.run(Spec::hurried(&format!("http://{at}/stops")).order(1));
    assert_eq!(
        (failure(&done), done.verdict, done.status),
        (Failure::Timeout, Verdict::Transient, Some(200))
    );
    assert_eq!(
        (done.body.as_str(), done.message().as_str()),
        ("begun", "timed out after 300ms while reading the response")
    );
    let done = harness.run(Spec::hurried(&format!("http://{at}/drips")).order(1));
    assert_eq!((failure(&done), done.status), (Failure::Timeout, Some(200)));
    assert!(done.body.bytes().all(|byte| byte == b'x'));
    let done = harness.get(&format!("http://{at}/floods"));
    assert_eq!((done.verdict, done.body.len(), done.body_cut), (Verdict::Succeeded, 8192, true));
}

#[test]
fn large_bodies_are_cut_and_the_connection_lives_on() {
    let servers = Servers::new();
    let at = servers.http(
        Router::new()
            .route("/{size}", get(|Path(size): Path<usize>| async move { "é".repeat(size) })),
    );
    let mut harness = Harness::new();
    let done = harness.get(&format!("http://{at}/4096"));
    assert_eq!((done.body.len(), done.body_cut), (8192, false));
    let done = harness.get(&format!("http://{at}/100000"));
    assert_eq!((done.body.len(), done.body_cut, done.times.connect), (8192, true, None));
    let odd = pg_tock_http::Config { response_limit: 101, ..config() };
    let done = Harness::with(&odd).get(&format!("http://{at}/100"));
    assert_eq!((done.body, done.body_cut), ("é".repeat(50), true));
}

#[test]
fn connections_that_break() {
    let servers = Servers::new();
    let at_once = servers.raw(|stream| async move { drop(answer(stream, b"").await) });
    let in_headers =
        servers.raw(|stream| async move { drop(answer(stream, b"HTTP/1.1 200 OK\r\nX-").await) });
    let in_body = servers.raw(|stream| async move {
        drop(answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await);
    });
    let by_reset = servers.raw(|stream| async move {
        let stream = answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        stream.set_zero_linger().unwrap();
    });
    let in_chunk = servers.raw(|stream| async move {
        drop(
            answer(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf")
                .await,
        );
    });
    let mut harness = Harness::new();
    for (at, status) in
        [(at_once, None), (in_headers, None), (in_body, Some(200)), (in_chunk, Some(200))]
    {
        let done = harness.get(&format!("http://{at}/"));
        assert_eq!(
            (failure(&done), done.verdict, done.status),
            (Failure::Closed, Verdict::Transient, status)
        );
        assert_eq!(done.body, if status.is_some() { "half" } else { "" });
        assert!(done.sent);
    }
    // How much of the answer a reset lets through is up to the system.
    let done = harness.get(&format!("http://{by_reset}/"));
    assert_eq!((failure(&done), done.verdict), (Failure::Closed, Verdict::Transient));
    let (listener, nobody) = servers.listen("127.0.0.1:0");
    drop(listener);
    let done = harness.get(&format!("http://{nobody}/"));
    assert_eq!((failure(&done), done.sent), (Failure::Connect, false));
    assert_eq!(done.message(), format!("could not connect to {nobody}: connection refused"));
}

#[test]
fn garbage_is_an_error() {
    let servers = Servers::new();
    let mut harness = Harness::new();
    for bytes in [
        &b"\x00\x01\x02\xff\xfe garbage\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let at = servers.raw(move |stream| async move { drop(answer(stream, bytes).await) });
        let done = harness.get(&format!("http://{at}/"));
        assert!(matches!(failure(&done), Failure::Protocol | Failure::Closed), "{done:?}");
        assert_eq!(done.verdict, Verdict::Transient);
    }
    let endless_header = servers.raw(|stream| async move {
        let mut stream = answer(stream, b"HTTP/1.1 200 OK\r\nX-A: ").await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    });
    let done = harness.get(&format!("http://{endless_header}/"));
    assert_eq!((failure(&done), done.verdict), (Failure::Protocol, Verdict::Transient));
}

#[test]
fn chunked_and_compressed_bodies() {
    let servers = Servers::new();
    let gzip = || async {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&[b'a'; 1 << 20]).unwrap();
        ([("content-encoding", "gzip")], encoder.finish().unwrap())
    };
    let chunks = || async {
        Body::from_stream(stream::iter(["one ", "two ", "three\0"].map(Ok::<_, std::io::Error>)))
            .into_response()
    };
    let at = servers.http(Router::new().route("/gzip", get(gzip)).route("/chunks", get(chunks)));
    let mut harness = Harness::new();
    let done = harness.get(&format!("http://{at}/chunks"));
    assert_eq!((done.body.as_str(), done.status), ("one two three\u{fffd}", Some(200)));
    let done = harness.get(&format!("http://{at}/gzip"));
    assert_eq!(done.verdict, Verdict::Succeeded);
    assert!(done.headers.contains(&("content-encoding".to_owned(), "gzip".to_owned())));
    assert!(done.body.len() < 8192 && !done.body.contains('\0'), "not unpacked");
}

#[test]
fn secrets_that_come_back_are_masked() {
    let servers = Servers::new();
    let echo = |headers: HeaderMap, body: Bytes| async move {
        let sent = headers["authorization"].to_str().unwrap().to_owned();
        (
            [("location", format!("/?k={sent}")), ("x-request-id", sent.clone())],
            format!("{sent} {} {:?}", String::from_utf8_lossy(&body), SECRET),
        )
    };
    let at = servers.http(Router::new().fallback(any(echo)));
    let spec =
        Spec::post(&format!("http://{at}/{{{{secret:key}}}}"), "{\"k\": \"{{secret:key}}\"}")
            .with_headers(json!({"Authorization": "Bearer {{secret:key}}"}));
    let mut harness = Harness::new();
    let done = harness.run(spec.order(1));
    assert_eq!(done.body, "Bearer *** {\"k\": \"***\"} \"***\"");
    assert!(done.headers.contains(&("x-request-id".to_owned(), "Bearer ***".to_owned())));
    assert!(!format!("{done:?}{:?}", spec.order(1)).contains("s3cr3t"));
    // At the limit of what is kept, not even its beginning is left.
    let tight = pg_tock_http::Config { response_limit: "Bearer s3cr3t+".len(), ..config() };
    let done = Harness::with(&tight).run(spec.order(1));
    assert_eq!((done.body.as_str(), done.body_cut), ("Bearer ***", true));
}

#[test]
fn ipv6_and_reuse() {
    let servers = Servers::new();
    let at = servers.http_at("[::1]:0", Router::new().route("/", get(|| async { "six" })));
    let mut harness = Harness::new();
    let done = harness.get(&format!("http://{at}/"));
    assert_eq!(
        (done.body.as_str(), done.remote, done.version),
        ("six", Some(at), Some("HTTP/1.1"))
    );
    assert!(done.times.connect.is_some() && done.times.dns.is_some() && done.times.tls.is_none());
    assert!(done.times.first_byte.unwrap() <= done.times.total);
    let again = harness.get(&format!("http://{at}/"));
    assert_eq!((again.times.connect, again.times.dns, again.remote), (None, None, Some(at)));
}

/// Pieces that HTTP is made of, and some that it is not.
const PIECES: [&[u8]; 16] = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/2.0 500 x\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"\r\n",
    b"3\r\nabc\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"\0\xff\r\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

#[test]
fn whatever_arrives_there_is_one_completion() {
    let servers = Servers::new();
    let mut harness = Harness::new();
    // Numbers that are the same in every run (xorshift).
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let mut kinds = std::collections::BTreeSet::new();
    for id in 0..200 {
        // Mostly a status line, headers, their end and a body, each of them odd in its way.
        let mut bytes = PIECES[random(5)].to_vec();
        for (from, below, most) in [(5, 5, 3), (10, 1, 2), (10, 6, 4), (0, 16, 2)] {
            for _ in 0..random(most) {
                bytes.extend_from_slice(PIECES[from + random(below)]);
            }
        }
        for _ in 0..random(2) {
            let place = random(bytes.len());
            bytes[place] = u8::try_from(random(256)).unwrap();
        }
        let said = bytes.clone();
        let at = servers.raw(move |stream| {
            let bytes = bytes.clone();
            async move { drop(answer(stream, &bytes).await) }
        });
        let done = harness.run(Spec::get(&format!("http://{at}/")).order(id));
        assert!(done.status.is_some() || done.failure.is_some(), "{said:?}");
        assert!(done.body.len() <= said.len() * 3 && !done.body.contains('\0'), "{said:?}");
        kinds.insert((done.status, done.failure.map(|(failure, _)| failure.as_str())));
    }
    assert!(kinds.len() > 5, "not much of a variety: {kinds:?}");
    assert!(harness.client.is_running() && harness.events.is_empty());
}
