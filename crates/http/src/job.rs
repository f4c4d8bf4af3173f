//! From the scheduler's message to an order, and from its completion to the message back.
//!
//! Owns one invariant: every [`HttpOrder`] leads to one [`HttpReport`], whether it could be sent or
//! not, and none of them contains a secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pg_tock_core::http::occurrence::Occurrence;
use pg_tock_core::http::outcome::{Failure, Verdict};
use pg_tock_core::http::request::{Arguments, Preview, Request};
use pg_tock_core::http::template::Values;
use pg_tock_core::http::wire::{HttpOrder, HttpReport};
use pg_tock_core::run::{Guarantee, Outcome};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use serde_json::{Map, Value, json};

use crate::cipher::Keyring;
use crate::driver::cancelled;
use crate::order::{Completion, Order};

/// What has to be remembered of a run until its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The run's key in the ledger.
    pub run: i64,
    /// The job it belongs to.
    pub job: i64,
    /// Whether the occurrence may be tried again.
    pub retries: bool,
    /// When the worker took it, in microseconds since 1970.
    pub started_at: i64,
}

impl Run {
    /// Starts now.
    #[must_use]
    pub fn begin(order: &HttpOrder) -> Self {
        let HttpOrder { run, job, retries, .. } = *order;
        Self { run, job, retries, started_at: now() }
    }

    /// The request to send under the key `id`. `version` is that of `pg_tock`.
    ///
    /// # Errors
    /// The report of a run whose request could not be put together; nothing is sent.
    pub fn order(
        &self,
        id: u64,
        order: &HttpOrder,
        keys: &Keyring,
        version: &str,
    ) -> Result<Order, Box<HttpReport>> {
        prepare(id, order, keys, version).map_err(|message| {
            Box::new(self.report(&Completion::unsent(id, Failure::Request, message)))
        })
    }

    /// The report of a run that has not begun, because somebody held its job; `holds_ended`: how
    /// many holds had ended before that was seen.
    #[must_use]
    pub fn put_off(&self, holds_ended: u64) -> HttpReport {
        let message = "job is held".to_owned();
        let unsent = Completion::unsent(0, Failure::Cancelled, message);
        HttpReport { held: Some(holds_ended), ..self.report(&unsent) }
    }

    /// The report of a run that was cancelled before anything was sent.
    #[must_use]
    pub fn cancelled(&self) -> HttpReport {
        self.report(&cancelled(0, false))
    }

    /// The report of a run whose request could not be sent, for want of something here.
    #[must_use]
    pub fn refused(&self, message: &str) -> HttpReport {
        self.report(&Completion::unsent(0, Failure::Resources, message.to_owned()))
    }

    /// The report of a run whose request was under way when whoever sent it ended; nobody knows what
    /// became of it.
    #[must_use]
    pub fn lost(&self, message: &str) -> HttpReport {
        let unsent = Completion::unsent(0, Failure::Shutdown, message.to_owned());
        self.report(&Completion { sent: true, ..unsent })
    }

    /// The report of a run that is over.
    #[must_use]
    pub fn report(&self, done: &Completion) -> HttpReport {
        let failure = done.failure.as_ref().map(|(failure, _)| *failure);
        let outcome = match failure {
            _ if done.verdict == Verdict::Succeeded => Outcome::Succeeded,
            Some(Failure::Timeout | Failure::HeldBack) => Outcome::Timeout,
            Some(Failure::Cancelled) => Outcome::Cancelled,
            // The process goes, and the request with it.
            Some(Failure::Shutdown) => Outcome::Crashed,
            _ => Outcome::Failed,
        };
        HttpReport {
            run: self.run,
            job: self.job,
            held: None,
            outcome,
            guarantee: if self.retries { Guarantee::AtLeastOnce } else { Guarantee::AtMostOnce },
            transient: done.verdict == Verdict::Transient,
            message: done.message(),
            sqlstate: failure.map(|failure| failure.sqlstate().to_owned()),
            http_status: done.status,
            response: done.status.map(|_| done.body.clone()),
            details: details(done),
            retry_after: done.retry_after.map(micros),
            started_at: self.started_at,
            ended_at: now(),
        }
    }
}

/// The request to send, or why there is none. Contains secrets.
pub(crate) fn prepare(
    id: u64,
    order: &HttpOrder,
    keys: &Keyring,
    version: &str,
) -> Result<Order, String> {
    let request = check(order)?;
    let mut secrets = Vec::with_capacity(order.secrets.len());
    for secret in &order.secrets {
        let opened = keys.open(&secret.name, &secret.stored);
        let value = opened.map_err(|error| format!("secret \"{}\": {error}", secret.name))?;
        secrets.push((secret.name.clone(), value));
    }
    let values = Values { secrets: &secrets, ..values(order) };
    let filled =
        request.fill(&values, &occurrence(order), version).map_err(|error| error.to_string())?;
    Ok(Order {
        id,
        request: filled,
        expect_status: request.expect_status,
        timeout: Duration::from_micros(order.timeout),
        max_wait: Duration::from_micros(order.max_wait),
        retry_max_delay: Duration::from_micros(order.retry_max_delay),
    })
}

/// The same without secrets, for people.
pub(crate) fn preview(order: &HttpOrder, version: &str) -> Result<Preview, String> {
    let shown = check(order)?.preview(&values(order), &occurrence(order), version);
    shown.map_err(|error| error.to_string())
}

fn check(order: &HttpOrder) -> Result<Request, String> {
    let arguments = Arguments {
        method: &order.method,
        url: &order.url,
        headers: &order.headers,
        body: order.body.as_deref(),
        expect_status: &order.expect_status,
        follow_redirects: order.follow_redirects,
    };
    Request::check(arguments).map_err(|error| error.to_string())
}

fn values(order: &HttpOrder) -> Values<'_> {
    Values {
        run: RunId(order.run),
        job_name: &order.job_name,
        scheduled_for: Timestamp(order.scheduled_for),
        attempt: order.attempt,
        alert: order.alert.as_deref(),
        secrets: &[],
    }
}

const fn occurrence(order: &HttpOrder) -> Occurrence {
    Occurrence {
        system: order.system,
        database: order.database,
        job: JobId(order.job),
        scheduled_for: Timestamp(order.scheduled_for),
    }
}

/// What the ledger keeps besides code and body. Times are in milliseconds.
fn details(done: &Completion) -> Value {
    let times = &done.times;
    let parts = [
        ("waited", Some(times.waited)),
        ("dns", times.dns),
        ("connect", times.connect),
        ("tls", times.tls),
        ("first_byte", times.first_byte),
        ("total", Some(times.total)),
    ];
    let milliseconds = |time: Duration| json!(times_1000(time));
    let times: Map<String, Value> = parts
        .into_iter()
        .filter_map(|(name, time)| Some((name.to_owned(), milliseconds(time?))))
        .collect();
    let mut headers = Map::new();
    for (name, value) in &done.headers {
        headers.entry(name).or_insert_with(|| json!(value));
    }
    let mut details = json!({
        "times_ms": times, "sent": done.sent, "redirects": done.redirects,
        "transient": done.verdict == Verdict::Transient,
    });
    let optional = [
        ("kind", done.failure.as_ref().map(|(failure, _)| json!(failure.as_str()))),
        ("headers", done.status.map(|_| Value::Object(headers))),
        ("version", done.version.map(|version| json!(version))),
        ("remote", done.remote.map(|remote| json!(remote.to_string()))),
        ("held_by", done.held.map(|hold| json!(hold.as_str()))),
        ("response_cut", done.body_cut.then_some(Value::Bool(true))),
    ];
    if let Some(object) = details.as_object_mut() {
        let given =
            optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        object.extend(given);
    }
    details
}

/// Milliseconds with three decimals.
fn times_1000(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
