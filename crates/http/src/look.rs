//! A look at a request instead of sending it, for `cron.dry_run`.
//!
//! Owns two invariants: nothing leaves for what is looked at, and what is shown of it has `***` in
//! the place of every secret. Otherwise it fails where a real run would fail before it sends.

use pg_tock_core::http::outcome::Failure;
use pg_tock_core::http::request::Preview;
use pg_tock_core::http::wire::{HttpOrder, HttpReport};
use pg_tock_core::run::Outcome;
use serde_json::{Map, Value, json};

use crate::cipher::Keyring;
use crate::client::Seen;
use crate::connect::refused;
use crate::job::{Run, prepare, preview};
use crate::order::Completion;

/// The most bytes of a body that are shown.
const BODY: usize = 8 * 1024;

/// A request that is complete, and is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    run: Run,
    host: String,
    request: Value,
}

impl Look {
    /// Puts the request together as for sending it, secrets included, and keeps what may be shown.
    ///
    /// # Errors
    /// The report of a run whose request could not be put together.
    pub fn at(
        run: &Run,
        order: &HttpOrder,
        keys: &Keyring,
        version: &str,
    ) -> Result<Self, Box<HttpReport>> {
        let whole = prepare(0, order, keys, version);
        whole
            .and_then(|whole| {
                let request = request(preview(order, version)?);
                Ok(Self { run: *run, host: whole.request.host(), request })
            })
            .map_err(|message| Box::new(unsent(run, Failure::Request, message, json!({}))))
    }

    /// The host whose addresses are to be looked up.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What came of it. `addresses`: those of the host, with whether a request would connect to
    /// them, or why there is none.
    #[must_use]
    pub fn report(&self, addresses: Result<Vec<Seen>, String>) -> HttpReport {
        let seen = match addresses {
            Ok(seen) => seen,
            Err(message) => return unsent(&self.run, Failure::Dns, message, self.details(&[])),
        };
        let details = self.details(&seen);
        if let Some((address, _)) = seen.iter().find(|(_, allowed)| allowed.is_ok()) {
            let message = format!("request would be sent to {address}");
            let report = unsent(&self.run, Failure::Cancelled, message, details);
            return HttpReport { outcome: Outcome::Succeeded, sqlstate: None, ..report };
        }
        let message = match seen.last() {
            Some((address, Err(denied))) => refused(&self.host, *address, denied),
            _ => format!("host \"{}\" has no address", self.host),
        };
        unsent(&self.run, Failure::Denied, message, details)
    }

    /// The report of a look that was given up.
    #[must_use]
    pub fn given_up(&self, message: &str) -> HttpReport {
        unsent(&self.run, Failure::Cancelled, message.to_owned(), self.details(&[]))
    }

    fn details(&self, seen: &[Seen]) -> Value {
        let addresses: Vec<Value> = seen
            .iter()
            .map(|(address, allowed)| match allowed {
                Ok(()) => json!({"address": address.to_string(), "allowed": true}),
                Err(denied) => json!({
                    "address": address.to_string(), "allowed": false, "reason": denied.to_string(),
                }),
            })
            .collect();
        json!({"request": self.request, "addresses": addresses})
    }
}

fn unsent(run: &Run, failure: Failure, message: String, details: Value) -> HttpReport {
    let report = run.report(&Completion::unsent(0, failure, message));
    HttpReport { details, ..report }
}

/// A preview as JSON.
fn request(shown: Preview) -> Value {
    let headers: Map<String, Value> =
        shown.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    let mut request = json!({
        "method": shown.method.as_str(), "url": shown.url, "headers": headers,
    });
    if let (Some(body), Some(parts)) = (shown.body, request.as_object_mut()) {
        let end = body.floor_char_boundary(BODY);
        let cut = end < body.len();
        parts.insert("body".to_owned(), body.get(..end).unwrap_or_default().into());
        if cut {
            parts.insert("body_cut".to_owned(), true.into());
        }
    }
    request
}
