//! What HTTP jobs have beside the others: the request, its secrets, and the columns of an answer.

use pg_tock_core::http::document;
use pg_tock_core::http::request::{Arguments, Request};
use pg_tock_core::http::wire::SealedSecret;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{JsonB, spi};
use serde::Deserialize;

use crate::pg::text::for_message;

/// `cron.job.http`: what the job asks for, with placeholders.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HttpJob {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(default = "no_headers")]
    pub(crate) headers: serde_json::Value,
    pub(crate) body: Option<String>,
    #[serde(default = "any_success")]
    pub(crate) expect_status: String,
    #[serde(default)]
    pub(crate) follow_redirects: bool,
    /// The names of the secrets it needs.
    #[serde(skip)]
    pub(crate) secrets: Vec<String>,
}

fn no_headers() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

fn any_success() -> String {
    "200-299".to_owned()
}

impl HttpJob {
    /// Reads the column.
    ///
    /// # Errors
    /// What is not such a request.
    pub(crate) fn read(json: &str) -> Result<Self, serde_json::Error> {
        let mut job: Self = serde_json::from_str(json)?;
        if job.headers.is_null() {
            job.headers = no_headers();
        }
        // A request that is not valid fails when it runs, and its run says why.
        if let Ok(request) = Request::check(job.arguments()) {
            job.secrets = request.secrets().into_iter().map(str::to_owned).collect();
        }
        Ok(job)
    }

    /// What a run's row keeps of it.
    pub(crate) fn kept(&self) -> serde_json::Value {
        let document = serde_json::json!({
            "method": self.method, "url": self.url, "headers": self.headers, "body": self.body,
            "expect_status": self.expect_status, "follow_redirects": self.follow_redirects,
        });
        document.as_object().map(document::kept).unwrap_or_default()
    }

    fn arguments(&self) -> Arguments<'_> {
        Arguments {
            method: &self.method,
            url: &self.url,
            headers: &self.headers,
            body: self.body.as_deref(),
            expect_status: &self.expect_status,
            follow_redirects: self.follow_redirects,
        }
    }
}

/// What came of a request, beside what every run has.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpAnswer {
    pub(crate) status: Option<u16>,
    /// The beginning of the body.
    pub(crate) response: Option<String>,
    /// Headers, times and circumstances, a JSON object.
    pub(crate) details: Option<serde_json::Value>,
    /// Whether another attempt may have more luck.
    pub(crate) transient: bool,
    /// How long the server wants to be left alone, in microseconds.
    pub(crate) retry_after: Option<i64>,
}

impl HttpAnswer {
    /// The columns of an answer, in the order status, response, details.
    pub(crate) fn values(&self) -> [DatumWithOid<'static>; 3] {
        let ascii = |json: &serde_json::Value| {
            // What the database's encoding has no characters for is a question mark.
            serde_json::from_str(&for_message(json.to_string())).ok().map(JsonB)
        };
        [
            self.status.map(i32::from).into(),
            self.response.clone().map(for_message).into(),
            self.details.as_ref().and_then(ascii).into(),
        ]
    }
}

const SEALED: &str = "SELECT s.name, s.value FROM cron.secret s \
     WHERE s.name OPERATOR(pg_catalog.=) ANY ($1) AND (s.owner OPERATOR(pg_catalog.=) $2 \
      OR EXISTS (SELECT FROM cron.secret_grant g WHERE g.name OPERATOR(pg_catalog.=) s.name \
       AND pg_catalog.pg_has_role($2, g.role, 'USAGE')))";

/// Those of these secrets that exist and that the role may use, as they are stored. In a
/// transaction.
pub(crate) fn secrets(role: u32, names: &[String]) -> Result<Vec<SealedSecret>, spi::Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Spi::connect(|client| {
        let arguments = [names.to_vec().into(), pg_sys::Oid::from(role).into()];
        let rows = client.select(SEALED, None, &arguments)?;
        rows.map(|row| {
            let name = row.get::<String>(1)?.unwrap_or_default();
            let stored = row.get::<Vec<u8>>(2)?.unwrap_or_default();
            Ok(SealedSecret { name, stored })
        })
        .collect()
    })
}
