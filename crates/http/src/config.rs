//! Settings of the client.

use std::path::PathBuf;
use std::time::Duration;

use pg_tock_core::http::access::Access;
use pg_tock_core::http::gate::Limits;

/// Settings of the client. All of them can be changed while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `cron.http_allow` and `cron.http_deny`.
    pub access: Access,
    /// `cron.http_max_requests` and what belongs to it.
    pub limits: Limits,
    /// `cron.http_ca_file`: certificates in PEM, trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether the system's certificates are trusted.
    pub system_certificates: bool,
    /// The longest time for resolving, for connecting and for the TLS handshake, each.
    pub connect_timeout: Duration,
    /// How long a connection is kept for the next request. Shorter than servers commonly keep
    /// theirs (5 s), since a request on a connection that is just being closed may be lost.
    pub idle_timeout: Duration,
    /// `cron.http_response_limit`: how much of a body is kept, in bytes.
    pub response_limit: usize,
    /// How much of a body is read, in bytes; the rest is not waited for.
    pub read_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access: Access::default(),
            limits: Limits::default(),
            ca_file: None,
            system_certificates: true,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(4),
            response_limit: 8192,
            read_limit: 1 << 20,
        }
    }
}

/// Why a client could not start or take new settings.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file of `cron.http_ca_file` could not be read.
    #[error("could not read certificates from \"{}\": {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library has no protocol in common with its own provider; a defect of the build.
    #[error("could not set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No thread, no event loop or no file descriptor for it.
    #[error("could not start the event loop: {0}")]
    Loop(#[from] std::io::Error),
}
