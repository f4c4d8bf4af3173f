//! Servers for HTTP jobs, and jobs that call them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]
#![allow(dead_code, reason = "each scenario file uses a part")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use pg_tock_test::{Builder, Cluster};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Servers, all gone when it is dropped.
pub(crate) struct Servers {
    runtime: Runtime,
}

impl Servers {
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self { runtime: builder.worker_threads(1).enable_all().build().unwrap() }
    }

    fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An axum application on a free port of the loopback interface.
    pub(crate) fn http(&self, app: Router) -> SocketAddr {
        let (listener, address) = self.listen();
        self.runtime.spawn(async move { axum::serve(listener, app).await });
        address
    }

    /// A server that does with each connection what `handle` says.
    pub(crate) fn raw<F>(&self, handle: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (listener, address) = self.listen();
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handle(stream));
            }
        });
        address
    }

    /// An axum application over TLS, for "localhost", with a certificate of this authority.
    pub(crate) fn https(&self, app: Router, authority: &Authority) -> SocketAddr {
        let (listener, address) = self.listen();
        let acceptor = TlsAcceptor::from(Arc::new(authority.server("localhost")));
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

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Its certificate as a file in this directory.
    pub(crate) fn file(&self, dir: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join("authority.pem");
        std::fs::write(&path, &self.pem).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn server(&self, name: &str) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// A cluster whose jobs may call this machine, with breakers that stay closed.
pub(crate) fn builder() -> Builder {
    Cluster::builder()
        .conf("cron.http_allow", "127.0.0.0/8, localhost")
        .conf("cron.http_breaker_failures", "0")
}

/// The request of a job: GET of this URL.
pub(crate) fn get(url: &str) -> Value {
    json!({"method": "GET", "url": url})
}

/// An HTTP job of the superuser, with further columns of `cron.job` as SQL: `(", timeout", ", '1 s'")`.
pub(crate) fn job_with(
    cluster: &Cluster,
    name: &str,
    schedule: &str,
    request: &Value,
    further: (&str, &str),
) -> i64 {
    let command = format!(
        "{} {}",
        request["method"].as_str().unwrap_or_default(),
        request["url"].as_str().unwrap_or_default()
    );
    let (columns, values) = further;
    cluster.one_with(
        &format!(
            "insert into cron.job (nodeport, jobname, schedule, command, http{columns}) \
             values (5432, $1, $2, $3, $4{values}) returning jobid"
        ),
        &[&name, &schedule, &command, request],
    )
}

/// An HTTP job of the superuser.
pub(crate) fn job(cluster: &Cluster, name: &str, schedule: &str, request: &Value) -> i64 {
    job_with(cluster, name, schedule, request, ("", ""))
}

/// What the ledger says of the answer to a job's only run, or its newest.
pub(crate) struct Answer {
    pub(crate) status: Option<i32>,
    pub(crate) response: Option<String>,
    pub(crate) http: Value,
}

/// The answer of that run.
pub(crate) fn answer(cluster: &Cluster, run: i64) -> Answer {
    let query = "select http_status, response, http from cron.job_run_details where runid = $1";
    let rows = cluster.rows(query, &[&run]);
    let row = &rows[0];
    Answer {
        status: row.get(0),
        response: row.get(1),
        http: row.get::<_, Option<Value>>(2).unwrap_or_default(),
    }
}
