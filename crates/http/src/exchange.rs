//! One order from its first connection to its completion.
//!
//! Owns these invariants: an exchange ends when its time is over, whatever the server does; it
//! keeps a bounded part of the response; what it hands back is masked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{Request, Response, Version};
use hyper_util::client::legacy;
use pg_tock_core::http::outcome::{Failure, Verdict, of_status};
use pg_tock_core::http::redirect::{Current, Next, is_private, is_redirect, next};
use pg_tock_core::http::request::{Filled, Method};
use pg_tock_core::http::url::request_uri;
use pg_tock_core::http::{header, retry_after, text};
use pg_tock_core::time::Timestamp;

use crate::connect::{About, Connector};
use crate::failure::{Failed, of_hyper, of_request};
use crate::order::{Completion, Order, Times};
use crate::progress::{PROGRESS, Phase, Progress};

/// The client with its pool of connections.
pub(crate) type Http = legacy::Client<Connector, Full<Bytes>>;

/// How much of a response is kept and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) bytes: usize,
    pub(crate) read: usize,
}

/// What has come back so far; survives the end of its time.
#[derive(Debug, Default)]
struct Answer {
    status: Option<u16>,
    version: Option<&'static str>,
    headers: HeaderMap,
    body: Vec<u8>,
    read: usize,
    cut: bool,
    remote: Option<SocketAddr>,
    redirects: u32,
    first_byte: Option<Duration>,
}

/// Sends the order and reads the answer.
pub(crate) async fn run(
    http: Http,
    keep: Keep,
    order: Arc<Order>,
    progress: Progress,
) -> Completion {
    let start = Instant::now();
    let mut answer = Answer::default();
    let following = follow(&http, keep, &order.request, &progress, start, &mut answer);
    let limited = tokio::time::timeout(order.timeout, following);
    let failed = match PROGRESS.scope(progress.clone(), limited).await {
        Ok(Ok(())) => None,
        Ok(Err(failed)) => Some(failed),
        Err(_) => {
            let doing = progress.phase().doing();
            let message = format!("timed out after {:?} while {doing}", order.timeout);
            Some(Failed::sent(Failure::Timeout, message))
        }
    };
    answer.complete(&order, keep, failed, Times { total: start.elapsed(), ..progress.times() })
}

async fn follow(
    http: &Http,
    keep: Keep,
    filled: &Filled,
    progress: &Progress,
    start: Instant,
    answer: &mut Answer,
) -> Result<(), Failed> {
    let mut step = Step::first(filled);
    loop {
        progress.enter(Phase::Starting);
        let sent_before = answer.redirects > 0;
        let response = step.send(http).await.map_err(|failed| {
            // The first host has seen it, whatever became of the next one.
            Failed { sent: failed.sent || sent_before, ..failed }
        })?;
        progress.enter(Phase::Reading);
        answer.begin(&response, start, progress);
        if filled.follow_redirects && is_redirect(response.status().as_u16()) {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let current = Current {
                url: &step.url,
                method: step.method,
                secret_body: filled.secret_body,
                followed: answer.redirects,
            };
            let next = next(current, response.status().as_u16(), location, &filled.masker)
                .map_err(|error| Failed::sent(Failure::Redirect, error.to_string()))?;
            step.go(next);
            *answer = Answer { redirects: answer.redirects + 1, ..Answer::default() };
            continue;
        }
        return answer.read(response.into_body(), keep).await;
    }
}

/// The request as it stands after some redirects.
struct Step {
    url: url::Url,
    method: Method,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Step {
    fn first(filled: &Filled) -> Self {
        Self {
            url: filled.url.clone(),
            method: filled.method,
            headers: filled.headers.iter().cloned().collect(),
            body: filled.body.clone().map(Bytes::from),
        }
    }

    async fn send(&self, http: &Http) -> Result<Response<Incoming>, Failed> {
        http.request(self.request()?).await.map_err(|error| of_request(&error))
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failed> {
        let invalid = || Failed::unsent(Failure::Request, "url cannot be sent");
        let uri = request_uri(&self.url).ok_or_else(invalid)?;
        let body = Full::new(self.body.clone().unwrap_or_default());
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(uri)
            .body(body)
            .map_err(|_| invalid())?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    fn go(&mut self, next: Next) {
        if next.other_host {
            let stays = |(name, value): &(_, hyper::header::HeaderValue)| {
                !value.is_sensitive() && !is_private(name)
            };
            let own = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
            self.headers = own.filter(stays).collect();
        }
        if !next.keep_body {
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
        }
        self.url = next.url;
        self.method = next.method;
    }
}

impl Answer {
    fn begin(&mut self, response: &Response<Incoming>, start: Instant, progress: &Progress) {
        self.first_byte = Some(start.elapsed());
        self.status = Some(response.status().as_u16());
        self.version = Some(match response.version() {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        });
        self.headers = response.headers().clone();
        if let Some(about) = response.extensions().get::<About>() {
            about.tell(progress);
            self.remote = Some(about.remote);
        }
    }

    /// Keeps the beginning and reads on for a while, so that a server that stops working when
    /// nobody listens can finish, and the connection can be used again.
    async fn read(&mut self, mut body: Incoming, keep: Keep) -> Result<(), Failed> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| of_hyper(&error, "in the middle of the response"))?;
            let Ok(data) = frame.into_data() else { continue };
            let room = keep.bytes.saturating_sub(self.body.len());
            self.body.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
            self.read = self.read.saturating_add(data.len());
            self.cut = self.read > keep.bytes;
            if self.read > keep.read {
                break;
            }
        }
        Ok(())
    }

    fn complete(
        self,
        order: &Order,
        keep: Keep,
        failed: Option<Failed>,
        times: Times,
    ) -> Completion {
        let masker = &order.request.masker;
        let torn = self.cut || failed.is_some();
        let mut body = masker.mask(&self.body, torn);
        body.truncate(keep.bytes);
        let by_status = self.status.map(|status| of_status(status, &order.expect_status));
        let verdict = match (&failed, by_status) {
            (Some(failed), None | Some(Verdict::Succeeded)) => failed.failure.verdict(),
            (_, Some(verdict)) => verdict,
            (None, None) => Verdict::Transient,
        };
        let sent = failed.as_ref().is_none_or(|failed| failed.sent);
        Completion {
            id: order.id,
            verdict,
            failure: failed.map(|failed| (failed.failure, masker.mask_text(&failed.message))),
            status: self.status,
            version: self.version,
            retry_after: self.retry_after(order.retry_max_delay),
            headers: self.kept_headers(order),
            body: text::printable(&body, torn),
            body_cut: self.cut,
            remote: self.remote,
            redirects: self.redirects,
            times: Times { first_byte: self.first_byte, ..times },
            held: None,
            sent,
        }
    }

    fn retry_after(&self, cap: Duration) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        retry_after::delay(value, now, cap)
    }

    fn kept_headers(&self, order: &Order) -> Vec<(String, String)> {
        let kept = header::KEPT.iter().flat_map(|name| {
            self.headers.get_all(*name).iter().map(move |value| (name, value.as_bytes()))
        });
        kept.map(|(name, value)| {
            let masked = order.request.masker.mask(value, false);
            ((*name).to_owned(), text::printable(&masked, false))
        })
        .collect()
    }
}
