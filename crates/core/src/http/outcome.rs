//! What an answer, or the lack of one, means for a run.

use std::fmt;

use super::status::ExpectStatus;

/// What a finished request means for its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The run has succeeded.
    Succeeded,
    /// It failed in a way that may pass: `retry_on = 'transient'` tries again.
    Transient,
    /// It failed, and trying again would give the same answer.
    Final,
}

/// Why a request got no complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The host's name could not be resolved.
    Dns,
    /// No address of the host may be connected to.
    Denied,
    /// No connection came about.
    Connect,
    /// The TLS handshake failed, a certificate that cannot be trusted included.
    Tls,
    /// Its time was over.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// What came back is not HTTP.
    Protocol,
    /// A redirect that must not be followed: one too many, to a place that is refused, or one that
    /// would carry a secret to another host.
    Redirect,
    /// It waited until its time was over and was never sent: limits or the circuit breaker of its
    /// host held it back.
    HeldBack,
    /// The request could not be put together.
    Request,
    /// This machine lacks something: files, memory, ports.
    Resources,
    /// Somebody ended it.
    Cancelled,
    /// The process is ending.
    Shutdown,
}

impl Failure {
    /// What the failure means for the run. Cancelled requests are not tried again.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Closed
            | Self::Protocol
            | Self::HeldBack
            | Self::Resources
            | Self::Shutdown => Verdict::Transient,
            Self::Denied | Self::Redirect | Self::Request | Self::Cancelled => Verdict::Final,
        }
    }

    /// Whether it speaks against the host, so that the circuit breaker counts it.
    #[must_use]
    pub const fn blames_host(self) -> bool {
        matches!(
            self,
            Self::Dns | Self::Connect | Self::Tls | Self::Timeout | Self::Closed | Self::Protocol
        )
    }

    /// The SQLSTATE for the run's row: class 08 for the connection, 57014 for time and
    /// cancellation, 57P01 for the end of the process, 42501 for what is not allowed, 53000 for
    /// resources, 22023 for a request that cannot be.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::Dns | Self::Connect | Self::Tls => "08001",
            Self::Closed => "08006",
            Self::Protocol => "08P01",
            Self::Timeout | Self::HeldBack | Self::Cancelled => "57014",
            Self::Denied | Self::Redirect => "42501",
            Self::Request => "22023",
            Self::Resources => "53000",
            Self::Shutdown => "57P01",
        }
    }

    /// A word for the field `kind` of the run's error.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Denied => "denied",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::HeldBack => "held_back",
            Self::Request => "request",
            Self::Resources => "resources",
            Self::Cancelled => "cancelled",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a response with this code means. A code that was expected succeeds, whatever it is.
#[must_use]
pub fn of_status(status: u16, expected: &ExpectStatus) -> Verdict {
    match status {
        _ if expected.contains(status) => Verdict::Succeeded,
        408 | 425 | 429 | 500..=599 => Verdict::Transient,
        _ => Verdict::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_class() {
        let expected = ExpectStatus::default();
        for (codes, verdict) in [
            (200..=299, Verdict::Succeeded),
            (300..=407, Verdict::Final),
            (408..=408, Verdict::Transient),
            (409..=424, Verdict::Final),
            (425..=425, Verdict::Transient),
            (426..=428, Verdict::Final),
            (429..=429, Verdict::Transient),
            (430..=499, Verdict::Final),
            (500..=599, Verdict::Transient),
            (600..=999, Verdict::Final),
        ] {
            for code in codes {
                assert_eq!(of_status(code, &expected), verdict, "{code}");
            }
        }
    }

    #[test]
    fn what_is_expected_succeeds() {
        let expected = "404,503".parse().unwrap();
        assert_eq!(of_status(404, &expected), Verdict::Succeeded);
        assert_eq!(of_status(503, &expected), Verdict::Succeeded);
        assert_eq!(of_status(200, &expected), Verdict::Final);
    }

    #[test]
    fn refusals_are_final_and_connections_transient() {
        assert_eq!(Failure::Tls.verdict(), Verdict::Transient);
        assert_eq!(Failure::Denied.verdict(), Verdict::Final);
        assert!(Failure::Connect.blames_host() && !Failure::Denied.blames_host());
        assert!(!Failure::HeldBack.blames_host());
    }
}
