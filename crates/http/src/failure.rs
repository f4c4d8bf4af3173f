//! From the errors of libraries to [`Failure`] and a message.

use std::error::Error as StdError;
use std::io;

use pg_tock_core::http::outcome::Failure;

/// What went wrong, in words without the URL. May still have a secret in it, put there by a
/// server; whoever shows it masks it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) message: String,
    /// Whether the server may have seen the request.
    pub(crate) sent: bool,
}

impl Failed {
    /// Before anything was sent.
    pub(crate) fn unsent(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into(), sent: false }
    }

    /// After something may have been sent.
    pub(crate) fn sent(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into(), sent: true }
    }
}

/// A failure to connect.
pub(crate) fn of_connect(target: &str, error: &io::Error) -> Failed {
    let failure = if lacks_resources(error) { Failure::Resources } else { Failure::Connect };
    Failed::unsent(failure, format!("could not connect to {target}: {}", words(error)))
}

/// A failed handshake.
pub(crate) fn of_handshake(target: &str, error: &io::Error) -> Failed {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = inner.map_or_else(|| words(error), ToString::to_string);
    Failed::unsent(Failure::Tls, format!("TLS handshake with {target} failed: {reason}"))
}

/// What the client says of a request.
pub(crate) fn of_request(error: &hyper_util::client::legacy::Error) -> Failed {
    if let Some(failed) = find::<Failed>(error) {
        return failed.clone();
    }
    let Some(inner) = find::<hyper::Error>(error) else {
        return Failed::sent(Failure::Closed, "connection closed before the response");
    };
    of_hyper(inner, "before the response")
}

/// What the connection says of a request or of a body; `when` completes "connection closed …".
pub(crate) fn of_hyper(error: &hyper::Error, when: &str) -> Failed {
    if error.is_parse() {
        return Failed::sent(Failure::Protocol, format!("response is not HTTP: {error}"));
    }
    if let Some(io) = find::<io::Error>(error) {
        return Failed::sent(Failure::Closed, format!("connection failed {when}: {}", words(io)));
    }
    if let Some(h2) = find::<h2::Error>(error)
        && h2.is_library()
    {
        return Failed::sent(Failure::Protocol, format!("response is not HTTP/2: {h2}"));
    }
    Failed::sent(Failure::Closed, format!("connection closed {when}"))
}

/// An error among those that caused this one.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The system's words without its number, or what a library says.
fn words(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) => inner.to_string(),
        None => error.kind().to_string(),
    }
}

fn lacks_resources(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let Some(code) = error.raw_os_error() else { return false };
    matches!(
        Errno::from_raw(code),
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL
    )
}
