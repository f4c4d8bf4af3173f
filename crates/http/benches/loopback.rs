//! Requests per second against a server on this machine that does next to nothing, over connections
//! that are kept: `cargo bench -p pg_tock_http`. The server shares the cores with the client.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pg_tock_core::http::occurrence::Occurrence;
use pg_tock_core::http::outcome::Verdict;
use pg_tock_core::http::request::{Arguments, Filled, Request};
use pg_tock_core::http::status::ExpectStatus;
use pg_tock_core::http::template::Values;
use pg_tock_core::http::wire::{HttpOrder, SealedSecret};
use pg_tock_core::secret::Secret;
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pg_tock_http::cipher::Keyring;
use pg_tock_http::job::Run;
use pg_tock_http::{Client, Config, Event, Order};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"ok\": true}";
const LONG: Duration = Duration::from_secs(60);

fn main() {
    // `cargo test --benches` wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let ca_file = std::env::temp_dir().join(format!("pg_tock_bench_{}.pem", std::process::id()));
    std::fs::write(&ca_file, identity.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .unwrap();
    let plain = serve(None);
    let secure = serve(Some(TlsAcceptor::from(Arc::new(tls))));

    let mut config =
        Config { system_certificates: false, ca_file: Some(ca_file.clone()), ..Config::default() };
    config.access.allow = "127.0.0.1".parse().unwrap();
    config.limits.per_host = 1024;
    let mut out = std::io::stdout();
    for (scheme, at) in [("http", plain), ("https", secure)] {
        for concurrency in [1, 32, 256] {
            let client = Client::start(&config).unwrap();
            let (rate, cpu) = measure(&client, &format!("{scheme}://{at}/job"), concurrency);
            writeln!(
                out,
                "{scheme:5} {concurrency:4} in flight {rate:8.0} requests/s {cpu:6.1} µs of CPU each"
            )
            .unwrap();
        }
    }
    std::fs::remove_file(ca_file).unwrap();
    writeln!(out, "message to request {:.1} µs", preparing()).unwrap();
}

/// What the worker's own thread does for each run before it is sent: reads the message, checks
/// and fills the request, opens its secret. In microseconds.
fn preparing() -> f64 {
    let keys = Keyring::parse("k1 q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=").unwrap();
    let value = Secret::new("sk_live_0123456789abcdef".to_owned());
    let stored = keys.seal("key", &value).unwrap();
    let message = HttpOrder {
        slot: 0,
        run: 1,
        job: 1,
        job_name: "bench".to_owned(),
        system: 1,
        database: 5,
        scheduled_for: 0,
        attempt: 1,
        retries: false,
        shares_lock: false,
        flush_lsn: 0,
        method: "POST".to_owned(),
        url: "https://example.com/functions/v1/daily-sync".to_owned(),
        headers: serde_json::json!({"Authorization": "Bearer {{secret:key}}"}),
        body: Some("{\"run\": {{run_id}}}".to_owned()),
        expect_status: "200-299".to_owned(),
        follow_redirects: false,
        alert: None,
        secrets: vec![SealedSecret { name: "key".to_owned(), stored }],
        timeout: 1,
        max_wait: 1,
        retry_max_delay: 1,
        dry: false,
    }
    .encode();
    let rounds = 20_000;
    let start = Instant::now();
    for id in 0..rounds {
        let order = HttpOrder::decode(&message).unwrap();
        Run::begin(&order).order(id, &order, &keys, "bench").unwrap();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(rounds).unwrap())
}

/// Keeps `concurrency` requests under way for three seconds, after half a second to warm up.
/// Requests per second, and microseconds of CPU that the client's thread needs for one.
fn measure(client: &Client, url: &str, concurrency: u64) -> (f64, f64) {
    let request = request(url);
    let mut events = Vec::new();
    let mut ids: VecDeque<u64> = (0..concurrency).collect();
    let (start, mut counted, mut since) = (Instant::now(), 0_u32, None);
    loop {
        for id in ids.drain(..) {
            client.submit(order(id, &request)).unwrap();
        }
        let mut wanted = [PollFd::new(client.signal(), PollFlags::POLLIN)];
        poll(&mut wanted, PollTimeout::NONE).unwrap();
        client.take(&mut events);
        for event in events.drain(..) {
            let Event::Done(done) = event else { continue };
            assert_eq!(done.verdict, Verdict::Succeeded, "{done:?}");
            ids.push_back(done.id);
            counted += 1;
        }
        match since {
            None if start.elapsed() > Duration::from_millis(500) => {
                since = Some((Instant::now(), loop_cpu()));
                counted = 0;
            }
            Some((since, cpu)) if since.elapsed() > Duration::from_secs(3) => {
                let cpu = (loop_cpu() - cpu) * 1e6 / f64::from(counted);
                return (f64::from(counted) / since.elapsed().as_secs_f64(), cpu);
            }
            _ => {}
        }
    }
}

/// Seconds of CPU that the client's thread has used (the first field of `schedstat`).
fn loop_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let ours = tasks.map(|task| task.path()).find(|path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "pg_tock http")
    });
    let times = std::fs::read_to_string(ours.unwrap().join("schedstat")).unwrap();
    times.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// A POST with a secret in a header and a JSON body, as jobs have it.
fn request(url: &str) -> Filled {
    let request = Request::check(Arguments {
        method: "POST",
        url,
        headers: &serde_json::json!({"Authorization": "Bearer {{secret:key}}"}),
        body: Some("{\"run\": {{run_id}}}"),
        expect_status: "200-299",
        follow_redirects: false,
    });
    let secrets = [("key".to_owned(), Secret::new("sk_live_0123456789abcdef".to_owned()))];
    let values = Values {
        run: RunId(1),
        job_name: "bench",
        scheduled_for: Timestamp(0),
        attempt: 1,
        alert: None,
        secrets: &secrets,
    };
    let occurrence =
        Occurrence { system: 1, database: 5, job: JobId(1), scheduled_for: Timestamp(0) };
    request.unwrap().fill(&values, &occurrence, "bench").unwrap()
}

fn order(id: u64, request: &Filled) -> Order {
    Order {
        id,
        request: request.clone(),
        expect_status: ExpectStatus::default(),
        timeout: LONG,
        max_wait: LONG,
        retry_max_delay: LONG,
    }
}

/// A server on a thread of its own, until the process ends.
fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream).await,
                        Some(tls) => answer(tls.accept(stream).await.unwrap()).await,
                    }
                });
            }
        });
    });
    address
}

/// Answers whatever arrives: a request fits in one read here.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        if stream.write_all(ANSWER).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
