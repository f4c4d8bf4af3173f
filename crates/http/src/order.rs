//! What goes in and what comes out.

use std::net::SocketAddr;
use std::time::Duration;

use pg_tock_core::http::gate::Hold;
use pg_tock_core::http::outcome::{Failure, Verdict};
use pg_tock_core::http::request::Filled;
use pg_tock_core::http::status::ExpectStatus;

/// One request to send. Whatever has to be on disk before it leaves is there already.
#[derive(Clone, Debug)]
pub struct Order {
    /// The caller's key; no other order under way has it.
    pub id: u64,
    /// What to send.
    pub request: Filled,
    /// What makes it succeed.
    pub expect_status: ExpectStatus,
    /// How long it may take from the moment it is sent, redirects and body included.
    pub timeout: Duration,
    /// How long it may wait for its turn or for a circuit breaker.
    pub max_wait: Duration,
    /// The longest wait that a `Retry-After` may ask for.
    pub retry_max_delay: Duration,
}

/// How long the parts of a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// It waited for its turn.
    pub waited: Duration,
    /// Resolving the host. None if a connection was reused, as with the next two.
    pub dns: Option<Duration>,
    /// Making the TCP connection.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From sending, connecting included, to the first headers of the last response.
    pub first_byte: Option<Duration>,
    /// From sending to the end.
    pub total: Duration,
}

/// How a request ended. Contains no secret that was in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The order's id.
    pub id: u64,
    /// What it means for the run.
    pub verdict: Verdict,
    /// Why there is no complete response, with a message in Postgres style.
    pub failure: Option<(Failure, String)>,
    /// The response's code; also when its body failed.
    pub status: Option<u16>,
    /// `HTTP/1.1` or `HTTP/2.0`, or another that the server claims to speak.
    pub version: Option<&'static str>,
    /// The headers that are kept, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, as text that Postgres can hold.
    pub body: String,
    /// Whether there was more of it.
    pub body_cut: bool,
    /// How long the server wants us to wait, at most the order's `retry_max_delay`.
    pub retry_after: Option<Duration>,
    /// Who answered.
    pub remote: Option<SocketAddr>,
    /// How many redirects were followed.
    pub redirects: u32,
    /// How long its parts took.
    pub times: Times,
    /// What kept it waiting.
    pub held: Option<Hold>,
    /// Whether the server may have seen it. False only if it surely has not.
    pub sent: bool,
}

impl Completion {
    /// A completion of an order that was never sent.
    pub(crate) fn unsent(id: u64, failure: Failure, message: String) -> Self {
        Self {
            id,
            verdict: failure.verdict(),
            failure: Some((failure, message)),
            status: None,
            version: None,
            headers: Vec::new(),
            body: String::new(),
            body_cut: false,
            retry_after: None,
            remote: None,
            redirects: 0,
            times: Times::default(),
            held: None,
            sent: false,
        }
    }

    /// One line for the run's `return_message`: `HTTP 503 Service Unavailable`, or what failed.
    #[must_use]
    pub fn message(&self) -> String {
        if let Some((_, message)) = &self.failure {
            return message.clone();
        }
        let status = self.status.unwrap_or_default();
        let reason = hyper::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
        format!("HTTP {status} {}", reason.unwrap_or_default()).trim_end().to_owned()
    }
}
