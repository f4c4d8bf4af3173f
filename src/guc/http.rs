//! The settings of HTTP jobs: definitions and typed getters.

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use pg_tock_core::http::access::{Access, AccessList};
use pg_tock_core::http::gate::Limits;
use pg_tock_core::time::Timestamp;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::pg::settings;

static ALLOW: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static DENY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static MAX_REQUESTS: GucSetting<i32> = GucSetting::<i32>::new(2048);
static MAX_PER_HOST: GucSetting<i32> = GucSetting::<i32>::new(64);
static BREAKER_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(5);
static BREAKER_DELAY: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static CA_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static RESPONSE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(8192);
static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300_000);

/// Defines them. Called once, from `_PG_init` in the postmaster, before shared memory is sized.
pub(crate) fn init() {
    init_access();
    init_limits();
    init_times();
}

/// Whom requests may reach, and whom they trust.
fn init_access() {
    let flags = GucFlags::SUPERUSER_ONLY;
    settings::define_access_list(
        c"cron.http_allow",
        c"Hosts and networks that HTTP jobs may reach although they are not public.",
        c"Names, names such as *.example.com, addresses and networks, separated by commas. Loopback, link-local, private, multicast and unspecified addresses are refused unless they are listed.",
        &ALLOW,
        flags,
    );
    settings::define_access_list(
        c"cron.http_deny",
        c"Hosts and networks that HTTP jobs may not reach.",
        c"Written as cron.http_allow, and stronger.",
        &DENY,
        flags,
    );
    GucRegistry::define_string_guc(
        c"cron.http_ca_file",
        c"File with certificates that HTTP jobs trust besides those of the system.",
        c"In PEM format. It is read when the HTTP worker starts and when the configuration is reloaded.",
        &CA_FILE,
        GucContext::Sighup,
        flags,
    );
}

/// How many requests there are at a time, and how much is kept of their answers.
fn init_limits() {
    let none = GucFlags::empty();
    settings::define_int(
        c"cron.http_max_requests",
        c"Maximum number of HTTP requests under way.",
        c"Further ones wait for their turn. Shared memory has room for twice as many, those that wait for their host included.",
        &MAX_REQUESTS,
        (2048, 1, 65_536),
        GucContext::Postmaster,
        none,
    );
    settings::define_int(
        c"cron.http_max_per_host",
        c"Maximum number of HTTP requests under way to one host.",
        c"A host is a scheme, a name and a port.",
        &MAX_PER_HOST,
        (64, 1, 65_536),
        GucContext::Sighup,
        none,
    );
    settings::define_int(
        c"cron.http_breaker_failures",
        c"Failures in a row after which nothing is sent to a host for a while.",
        c"Failures to reach the host count, answers of any kind do not. 0 means never.",
        &BREAKER_FAILURES,
        (5, 0, 1_000_000),
        GucContext::Sighup,
        none,
    );
    settings::define_int(
        c"cron.http_response_limit",
        c"How much of a response's body is kept in the run's row.",
        c"Longer ones are cut. Not more than 1 MB is read of any.",
        &RESPONSE_LIMIT,
        (8192, 0, 1 << 20),
        GucContext::Sighup,
        GucFlags::UNIT_BYTE,
    );
}

/// How long things may take.
fn init_times() {
    settings::define_int(
        c"cron.http_breaker_delay",
        c"Time for which nothing is sent to a host that could not be reached.",
        c"Then one request goes to see. Each time that fails the delay doubles, up to sixteen times.",
        &BREAKER_DELAY,
        (30_000, 1, 86_400_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    settings::define_int(
        c"cron.http_connect_timeout",
        c"Time that resolving a name, connecting and the TLS handshake may take, each.",
        c"The time of the whole request, the job's timeout or cron.http_timeout, ends them as well.",
        &CONNECT_TIMEOUT,
        (10_000, 1, 3_600_000),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    settings::define_int(
        c"cron.http_timeout",
        c"Time that the request of an HTTP job without a timeout may take.",
        c"It counts from the moment the request is sent, connecting, redirects and the body of the response included.",
        &TIMEOUT,
        (300_000, 1, i32::MAX),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

/// How many requests may be under way.
pub(crate) fn max_requests() -> usize {
    usize::try_from(MAX_REQUESTS.get()).unwrap_or(1).max(1)
}

/// How many, and to whom how many, with the circuit breakers.
pub(crate) fn limits() -> Limits {
    Limits {
        max_in_flight: max_requests(),
        per_host: usize::try_from(MAX_PER_HOST.get()).unwrap_or(1).max(1),
        breaker_failures: BREAKER_FAILURES.get().unsigned_abs(),
        breaker_open_for: i64::from(BREAKER_DELAY.get()).saturating_mul(Timestamp::SECOND / 1000),
    }
}

/// Whom requests may reach.
pub(crate) fn access() -> Access {
    Access { allow: list(&ALLOW), deny: list(&DENY) }
}

/// Certificates to trust besides those of the system.
pub(crate) fn ca_file() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = CA_FILE.get()?.into_bytes();
    (!bytes.is_empty()).then(|| std::ffi::OsString::from_vec(bytes).into())
}

/// How much of a body is kept, in bytes.
pub(crate) fn response_limit() -> usize {
    usize::try_from(RESPONSE_LIMIT.get()).unwrap_or(0)
}

/// The longest time for resolving, connecting and the TLS handshake, each.
pub(crate) fn connect_timeout() -> Duration {
    millis(&CONNECT_TIMEOUT)
}

/// The longest time for a request of a job that does not say.
pub(crate) fn timeout() -> Duration {
    millis(&TIMEOUT)
}

/// A list that has been checked when it was set.
fn list(setting: &GucSetting<Option<CString>>) -> AccessList {
    let text = setting.get().unwrap_or_default();
    text.to_string_lossy().parse().unwrap_or_default()
}

fn millis(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::try_from(setting.get()).unwrap_or(0))
}
