//! Real servers and a client against them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::future::BoxFuture;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pg_tock_core::http::occurrence::Occurrence;
use pg_tock_core::http::request::{Arguments, Request};
use pg_tock_core::http::template::Values;
use pg_tock_core::secret::Secret;
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pg_tock_http::{Client, Completion, Config, Event, Order, Resolve, ResolveError, Seen};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Whatever takes longer than this is a failed test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Servers, all gone when it is dropped.
pub(crate) struct Servers {
    runtime: Runtime,
}

impl Servers {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { runtime: runtime.unwrap() }
    }

    pub(crate) fn listen(&self, address: &str) -> (TcpListener, SocketAddr) {
        let listener = self.runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An axum application on a free port.
    pub(crate) fn http(&self, app: Router) -> SocketAddr {
        self.http_at("127.0.0.1:0", app)
    }

    pub(crate) fn http_at(&self, address: &str, app: Router) -> SocketAddr {
        let (listener, address) = self.listen(address);
        self.runtime.spawn(async move { axum::serve(listener, app).await });
        address
    }

    /// A server that does with each connection what `handle` says.
    pub(crate) fn raw<F>(&self, handle: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (listener, address) = self.listen("127.0.0.1:0");
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handle(stream));
            }
        });
        address
    }

    /// An axum application over TLS, speaking the protocols `alpn`.
    pub(crate) fn https(&self, app: Router, identity: &Identity, alpn: &[&str]) -> SocketAddr {
        let (listener, address) = self.listen("127.0.0.1:0");
        let acceptor = TlsAcceptor::from(Arc::new(identity.server(alpn)));
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, app) = (acceptor.clone(), app.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper_util::service::TowerToHyperService::new(app);
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ = hyper_util::server::conn::auto::Builder::new(executor)
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        address
    }
}

/// A certificate authority of the test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's certificate and key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub(crate) fn issue_expired(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// The authority's certificate as a file for `ca_file`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pem"));
        std::fs::write(&path, &self.pem).unwrap();
        path
    }
}

impl Identity {
    pub(crate) fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    fn server(&self, alpn: &[&str]) -> rustls::ServerConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// Answers every name with the next of these answers, the last one for ever.
pub(crate) struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

impl Names {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let answer = answer.ok_or_else(|| ResolveError(format!("no answer for {host}")));
        Box::pin(async move { answer })
    }
}

/// Settings with which servers of the test can be reached.
pub(crate) fn config() -> Config {
    let mut config = Config { system_certificates: false, ..Config::default() };
    config.access.allow = "127.0.0.0/8, ::1".parse().unwrap();
    config.limits.breaker_failures = 0;
    config
}

/// A client and what came out of it.
pub(crate) struct Harness {
    pub(crate) client: Client,
    pub(crate) events: Vec<Event>,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(&config())
    }

    pub(crate) fn with(config: &Config) -> Self {
        Self { client: Client::start(config).unwrap(), events: Vec::new() }
    }

    pub(crate) fn with_names(config: &Config, names: &[&[&str]]) -> Self {
        let client = Client::start_with(config, Names::new(names)).unwrap();
        Self { client, events: Vec::new() }
    }

    /// Sends one order and waits for its end.
    pub(crate) fn run(&mut self, order: Order) -> Completion {
        let id = order.id;
        self.client.submit(order).unwrap();
        self.wait(id)
    }

    pub(crate) fn get(&mut self, url: &str) -> Completion {
        self.run(Spec::get(url).order(0))
    }

    /// Waits for the end of one order and takes it out of the events.
    pub(crate) fn wait(&mut self, id: u64) -> Completion {
        let is_it = |event: &Event| matches!(event, Event::Done(done) if done.id == id);
        self.wait_until(|events| events.iter().any(is_it));
        let place = self.events.iter().position(is_it).unwrap();
        match self.events.remove(place) {
            Event::Done(done) => *done,
            _ => unreachable!(),
        }
    }

    /// The addresses of a host.
    pub(crate) fn inspect(&mut self, host: &str) -> Result<Vec<Seen>, String> {
        self.client.inspect(0, host);
        self.wait_until(|events| matches!(events.last(), Some(Event::Inspected { .. })));
        match self.events.pop() {
            Some(Event::Inspected { addresses, .. }) => addresses,
            _ => unreachable!(),
        }
    }

    pub(crate) fn wait_until(&mut self, enough: impl Fn(&[Event]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.client.take(&mut self.events);
            if enough(&self.events) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no end in sight: {:?}", self.events);
            let mut wanted = [PollFd::new(self.client.signal(), PollFlags::POLLIN)];
            poll(&mut wanted, PollTimeout::try_from(left).unwrap()).unwrap();
        }
    }

    pub(crate) fn done(&self) -> impl Iterator<Item = &Completion> {
        self.events.iter().filter_map(|event| match event {
            Event::Done(done) => Some(&**done),
            _ => None,
        })
    }
}

/// Waits until something is so, without an event that says so.
pub(crate) fn eventually(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::yield_now();
    }
}

/// What to ask for.
pub(crate) struct Spec {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: serde_json::Value,
    pub(crate) body: Option<String>,
    pub(crate) expect: &'static str,
    pub(crate) redirects: bool,
    pub(crate) timeout: Duration,
    pub(crate) max_wait: Duration,
}

/// The value of the secret `key` in every order.
pub(crate) const SECRET: &str = "s3cr3t+v/lue";

impl Spec {
    pub(crate) fn get(url: &str) -> Self {
        Self {
            method: "GET",
            url: url.to_owned(),
            headers: serde_json::json!({}),
            body: None,
            expect: "200-299",
            redirects: false,
            timeout: PATIENCE,
            max_wait: PATIENCE,
        }
    }

    pub(crate) fn post(url: &str, body: &str) -> Self {
        Self { method: "POST", body: Some(body.to_owned()), ..Self::get(url) }
    }

    /// With a time so short that the test need not wait long for its end.
    pub(crate) fn hurried(url: &str) -> Self {
        Self { timeout: Duration::from_millis(300), ..Self::get(url) }
    }

    pub(crate) fn following(self) -> Self {
        Self { redirects: true, ..self }
    }

    pub(crate) fn with_headers(self, headers: serde_json::Value) -> Self {
        Self { headers, ..self }
    }

    pub(crate) fn order(&self, id: u64) -> Order {
        let request = Request::check(Arguments {
            method: self.method,
            url: &self.url,
            headers: &self.headers,
            body: self.body.as_deref(),
            expect_status: self.expect,
            follow_redirects: self.redirects,
        })
        .unwrap();
        let secrets = [("key".to_owned(), Secret::new(SECRET.to_owned()))];
        let values = Values {
            run: RunId(7),
            job_name: "nightly",
            scheduled_for: Timestamp(0),
            attempt: 1,
            alert: None,
            secrets: &secrets,
        };
        let occurrence =
            Occurrence { system: 1, database: 5, job: JobId(3), scheduled_for: Timestamp(0) };
        Order {
            id,
            request: request.fill(&values, &occurrence, "0.1.0").unwrap(),
            expect_status: request.expect_status,
            timeout: self.timeout,
            max_wait: self.max_wait,
            retry_max_delay: Duration::from_secs(3600),
        }
    }
}
