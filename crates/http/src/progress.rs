//! How far a request has come: for its times and for the words of its error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::order::Times;

/// What a request is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Looking for a connection.
    #[default]
    Starting,
    Resolving,
    Connecting,
    Handshake,
    /// It was sent, or is being sent.
    Waiting,
    Reading,
}

impl Phase {
    /// For "timed out …".
    pub(crate) const fn doing(self) -> &'static str {
        match self {
            Self::Starting | Self::Waiting => "waiting for the response",
            Self::Resolving => "resolving the host",
            Self::Connecting => "connecting",
            Self::Handshake => "shaking hands over TLS",
            Self::Reading => "reading the response",
        }
    }
}

/// Shared by a request and the connection that is being made for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Mutex<(Phase, Times)>>);

tokio::task_local! {
    /// The request on whose behalf a connector is called. A connector may go on for another
    /// request after that one has found an idle connection: then its times are not used.
    pub(crate) static PROGRESS: Progress;
}

impl Progress {
    fn with<T>(&self, f: impl FnOnce(&mut (Phase, Times)) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.with(|state| state.0 = phase);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.with(|state| state.0)
    }

    pub(crate) fn times(&self) -> Times {
        self.with(|state| state.1)
    }

    /// Adds what a new connection took; redirects may need several.
    pub(crate) fn connected(&self, dns: Duration, connect: Duration, tls: Option<Duration>) {
        self.with(|(_, times)| {
            times.dns = Some(times.dns.unwrap_or_default() + dns);
            times.connect = Some(times.connect.unwrap_or_default() + connect);
            if let Some(tls) = tls {
                times.tls = Some(times.tls.unwrap_or_default() + tls);
            }
        });
    }
}
