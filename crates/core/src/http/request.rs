//! The request of a job: what was written, and what is sent in its place.
//!
//! Owns one invariant: a [`Request`] was checked as a whole, so filling it fails only for a secret
//! that is missing or a value that cannot stand where it is put; and no error contains a value.

use std::fmt;

use ::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use ::url::Url;

use super::Refused;
use super::header::{self, HeaderTemplate};
use super::mask::{MASK, Masker};
use super::occurrence::Occurrence;
use super::status::ExpectStatus;
use super::template::{Escape, MissingSecret, Template, Values};
use super::url::{FillUrlError, UrlTemplate, host, origin};
use crate::secret::Secret;

/// The longest body, in bytes, before placeholders are filled.
pub const MAX_BODY: usize = 1 << 20;

/// A method that a job can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// Its name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Reads the argument `method`, in upper or lower case.
    ///
    /// # Errors
    /// A method that is not among [`Method::ALL`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)).ok_or_else(
            || {
                Refused::new(
                    "method",
                    format!("unknown method \"{text}\""),
                    "Methods are GET, HEAD, POST, PUT, PATCH and DELETE.",
                )
            },
        )
    }
}

/// A job's request as it was written, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    method: Method,
    url: UrlTemplate,
    /// The argument itself, for people and tools.
    url_text: String,
    headers: Vec<HeaderTemplate>,
    body: Option<(Template, Escape)>,
    /// What makes the run succeed.
    pub expect_status: ExpectStatus,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// The arguments of `cron.create_http_job` that make up a request.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    /// The method's name.
    pub method: &'a str,
    /// The URL, with placeholders.
    pub url: &'a str,
    /// An object of texts, with placeholders.
    pub headers: &'a serde_json::Value,
    /// The body, with placeholders.
    pub body: Option<&'a str>,
    /// As in `200-299,404`.
    pub expect_status: &'a str,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

impl Request {
    /// Checks what `cron.create_http_job` was given.
    ///
    /// # Errors
    /// What is wrong with any of the arguments.
    pub fn check(arguments: Arguments<'_>) -> Result<Self, Refused> {
        let method = Method::parse(arguments.method)?;
        let url = UrlTemplate::parse(arguments.url)?;
        let headers = header::from_json(arguments.headers)?;
        let body = arguments.body.map(|text| body(method, &headers, text)).transpose()?;
        Ok(Self {
            method,
            url,
            url_text: arguments.url.to_owned(),
            headers,
            body,
            expect_status: arguments.expect_status.parse()?,
            follow_redirects: arguments.follow_redirects,
        })
    }

    /// Its method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The names of the secrets that it needs, sorted, each once.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        let headers = self.headers.iter().flat_map(|header| header.value.secrets());
        let body = self.body.iter().flat_map(|(template, _)| template.secrets());
        let mut names: Vec<_> = self.url.secrets().chain(headers).chain(body).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What `cron.job.command` shows: `POST https://example.com/path`, with placeholders.
    #[must_use]
    pub fn command(&self) -> String {
        format!("{} {}", self.method.as_str(), self.url_text)
    }

    /// The host it goes to, for a look at [`super::access::Access`] before anything is resolved.
    #[must_use]
    pub fn host(&self) -> String {
        self.url.host()
    }

    /// What is sent for one attempt. `version` is that of `pg_tock`.
    ///
    /// # Errors
    /// A secret that is missing, or a value that cannot stand where it is put.
    pub fn fill(
        &self,
        values: &Values<'_>,
        occurrence: &Occurrence,
        version: &str,
    ) -> Result<Filled, FillError> {
        let used = self.secrets();
        let mut headers = default_headers(values, occurrence, version);
        for HeaderTemplate { name, value } in &self.headers {
            let secret = value.secrets().next().is_some();
            let text = Secret::new(value.fill(Escape::Plain, values)?);
            let value = header::to_value(text.expose(), secret)
                .ok_or_else(|| FillError::Header(name.clone()))?;
            headers.retain(|(known, _)| known != name);
            headers.push((name.clone(), value));
        }
        let (mut body, mut secret_body) = (None, false);
        if let Some((template, escape)) = &self.body {
            body = Some(template.fill(*escape, values)?.into_bytes());
            secret_body = template.secrets().next().is_some();
            if !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
                headers.push((CONTENT_TYPE, content_type(*escape)));
            }
        }
        let masks = values.secrets.iter().filter(|(name, _)| used.contains(&name.as_str()));
        Ok(Filled {
            method: self.method,
            url: self.url.fill(values)?,
            headers,
            body,
            secret_body,
            follow_redirects: self.follow_redirects,
            masker: Masker::new(masks.map(|(_, secret)| secret)),
        })
    }

    /// What would be sent, with `***` for each secret: for `cron.dry_run`.
    ///
    /// # Errors
    /// A value that cannot stand where it is put.
    pub fn preview(
        &self,
        values: &Values<'_>,
        occurrence: &Occurrence,
        version: &str,
    ) -> Result<Preview, FillError> {
        let masked = |name: &str| (name.to_owned(), Secret::new(MASK.to_owned()));
        let secrets: Vec<_> = self.secrets().into_iter().map(masked).collect();
        let filled = self.fill(&Values { secrets: &secrets, ..*values }, occurrence, version)?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(Preview {
            method: filled.method,
            url: filled.url.to_string(),
            headers: filled.headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect(),
            body: filled.body.map(|body| String::from_utf8_lossy(&body).into_owned()),
        })
    }
}

fn body(
    method: Method,
    headers: &[HeaderTemplate],
    text: &str,
) -> Result<(Template, Escape), Refused> {
    if method == Method::Head {
        let hint = "Use another method, or leave the body out.";
        return Err(Refused::new("body", "a HEAD request cannot have a body", hint));
    }
    if text.len() > MAX_BODY {
        let problem = format!("body is longer than {MAX_BODY} bytes");
        return Err(Refused::new("body", problem, "Let the receiver fetch large data itself."));
    }
    let template = Template::parse("body", text)?;
    let is_json = template.is_json();
    let says_json = headers.iter().any(|header| {
        header.name == CONTENT_TYPE && header.value.with_filler("").to_lowercase().contains("json")
    });
    if says_json && !is_json {
        let problem = "body is not valid JSON, although the header \"Content-Type\" says so";
        return Err(Refused::new("body", problem, "Correct the body or the header."));
    }
    Ok((template, if is_json { Escape::Json } else { Escape::Plain }))
}

fn content_type(escape: Escape) -> HeaderValue {
    HeaderValue::from_static(match escape {
        Escape::Json => "application/json",
        Escape::Plain | Escape::Url => "text/plain; charset=utf-8",
    })
}

/// The headers that every request has, unless the job sets them itself.
fn default_headers(
    values: &Values<'_>,
    occurrence: &Occurrence,
    version: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    let texts = [
        (USER_AGENT, format!("pg_tock/{version}")),
        (HeaderName::from_static("idempotency-key"), occurrence.idempotency_key()),
        (HeaderName::from_static("traceparent"), occurrence.traceparent(values.attempt)),
        (HeaderName::from_static("x-cron-job"), visible(values.job_name, occurrence)),
        (HeaderName::from_static("x-cron-run"), values.run.to_string()),
    ];
    let value = |(name, text): (HeaderName, String)| Some((name, header::to_value(&text, false)?));
    texts.into_iter().filter_map(value).collect()
}

/// A job's name in visible ASCII, the rest percent-encoded; its id when it has no name.
fn visible(name: &str, occurrence: &Occurrence) -> String {
    use fmt::Write as _;
    if name.is_empty() {
        return occurrence.job.to_string();
    }
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
            other => out.push(char::from(other)),
        }
        out
    })
}

/// Why a request could not be filled. Contains no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// A secret is missing.
    #[error(transparent)]
    Missing(#[from] MissingSecret),
    /// The URL is not valid any more.
    #[error(transparent)]
    Url(FillUrlError),
    /// A header got a value with control characters.
    #[error("value of header \"{0}\" contains a control character")]
    Header(HeaderName),
}

impl From<FillUrlError> for FillError {
    fn from(error: FillUrlError) -> Self {
        match error {
            FillUrlError::Missing(missing) => Self::Missing(missing),
            other @ FillUrlError::Invalid => Self::Url(other),
        }
    }
}

/// A request that can be sent. Its `Debug` shows the method and the host only.
#[derive(Clone)]
pub struct Filled {
    /// The method.
    pub method: Method,
    /// Where it goes; may hold secrets.
    pub url: Url,
    /// Its headers; those with secrets are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body; may hold secrets.
    pub body: Option<Vec<u8>>,
    /// Whether the body holds a secret.
    pub secret_body: bool,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Finds the secrets that were filled in.
    pub masker: Masker,
}

impl Filled {
    /// The key of its host for limits and circuit breaker.
    #[must_use]
    pub fn origin(&self) -> String {
        origin(&self.url)
    }

    /// The host, as [`super::access::Access`] wants it.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.url)
    }
}

impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filled({} {})", self.method.as_str(), self.origin())
    }
}

/// A request as `cron.dry_run` shows it, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
}

#[cfg(test)]
mod tests;
