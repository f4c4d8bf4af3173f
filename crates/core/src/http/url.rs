//! Where a request goes: which URLs are taken.
//!
//! Owns one invariant: the host that was checked when the job was written is the host that is
//! asked. Placeholders stand in path and query only, and the parser that checks is the one whose
//! result is connected to.

use ::http::Uri;
use ::url::{Host, Url};

use super::Refused;
use super::template::{Escape, MissingSecret, Template, Values};

/// The longest URL, in bytes, before placeholders are filled.
pub const MAX_URL: usize = 8192;

/// The URL of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    template: Template,
    /// The URL with some text in place of values: scheme, host and port are right.
    sample: Url,
}

fn refuse<T>(problem: impl Into<String>, hint: &'static str) -> Result<T, Refused> {
    Err(Refused::new("url", problem, hint))
}

impl UrlTemplate {
    /// Reads the argument `url`.
    ///
    /// # Errors
    /// What [`parse`] refuses, unknown placeholders, and placeholders before the path.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > MAX_URL {
            return refuse(
                format!("url is longer than {MAX_URL} bytes"),
                "Send large values in the body.",
            );
        }
        let template = Template::parse("url", text)?;
        let sample = parse(&template.with_filler("0"))?;
        let same = |other: &Url| origin(other) == origin(&sample);
        // A placeholder in host or port shows in the origin.
        if template.has_values() && !parse(&template.with_filler("x")).is_ok_and(|url| same(&url)) {
            return refuse(
                "placeholder in the host of url",
                "Placeholders can stand in the path and in the query of a URL.",
            );
        }
        Ok(Self { template, sample })
    }

    /// The names of the secrets in it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.template.secrets()
    }

    /// The key of its host for limits and circuit breaker: scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        origin(&self.sample)
    }

    /// The host, as [`host`] gives it.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.sample)
    }

    /// The URL to send to.
    ///
    /// # Errors
    /// A secret that is not among the values.
    pub fn fill(&self, values: &Values<'_>) -> Result<Url, FillUrlError> {
        if !self.template.has_values() {
            return Ok(self.sample.clone());
        }
        let text = self.template.fill(Escape::Url, values)?;
        match parse(&text) {
            Ok(url) if origin(&url) == origin(&self.sample) => Ok(url),
            _ => Err(FillUrlError::Invalid),
        }
    }
}

/// Why a URL could not be filled. Contains no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillUrlError {
    /// A secret is missing.
    #[error(transparent)]
    Missing(#[from] MissingSecret),
    /// It is no URL of the same host any more.
    #[error("url is not valid once its placeholders are filled")]
    Invalid,
}

/// Reads a URL without placeholders: that of a job, or of a redirect.
///
/// # Errors
/// Anything but an http or https URL with a host and without credentials. The error never contains
/// the URL, which may hold a secret.
pub fn parse(text: &str) -> Result<Url, Refused> {
    const FORM: &str = "Write a URL such as \"https://example.com/path\".";
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refuse("url contains white space", "Write a space as %20.");
    }
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refuse(format!("invalid url: {error}"), FORM),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse(format!("url has scheme \"{}\"", url.scheme()), "Use http or https.");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "url contains credentials",
            "Store them with cron.set_secret, and send a header such as \
             \"Authorization: Basic {{secret:name}}\".",
        );
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("url has no host", FORM);
    }
    if url.port() == Some(0) {
        return refuse("url has port 0", FORM);
    }
    // A fragment is for browsers and is never sent.
    url.set_fragment(None);
    if request_uri(&url).is_none() {
        return refuse("invalid url: it cannot be sent", FORM);
    }
    Ok(url)
}

/// The URL as a client sends it: what RFC 3986 does not allow is percent-encoded.
#[must_use]
pub fn request_uri(url: &Url) -> Option<Uri> {
    let odd = |byte: u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&byte);
    let mut text = String::with_capacity(url.as_str().len());
    for byte in url.as_str().bytes() {
        if odd(byte) {
            use std::fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        } else {
            text.push(char::from(byte));
        }
    }
    text.parse().ok()
}

/// Scheme, host and port, such as `https://example.com:443`.
#[must_use]
pub fn origin(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The host as resolvers and [`super::access::Access`] want it: lower case, an IPv6 address without
/// brackets.
#[must_use]
pub fn host(url: &Url) -> String {
    match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::Secret;
    use crate::time::{RunId, Timestamp};

    fn problem(text: &str) -> String {
        UrlTemplate::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn good_urls() {
        for (text, origin, host) in [
            ("https://example.com", "https://example.com:443", "example.com"),
            ("HTTP://EXAMPLE.com:8080/a?b#c", "http://example.com:8080", "example.com"),
            ("http://[::1]:99/", "http://[::1]:99", "::1"),
            ("http://0x7f.1/", "http://127.0.0.1:80", "127.0.0.1"),
            ("http://2130706433/", "http://127.0.0.1:80", "127.0.0.1"),
            ("https://h/{{secret:a}}/{{run_id}}?k={{secret:b}}", "https://h:443", "h"),
            ("https://h?k={{secret:b}}", "https://h:443", "h"),
            (
                "https://bücher.example/",
                "https://xn--bcher-kva.example:443",
                "xn--bcher-kva.example",
            ),
            ("http://good.example\\@evil.example/", "http://good.example:80", "good.example"),
        ] {
            let url = UrlTemplate::parse(text).unwrap();
            assert_eq!((url.origin().as_str(), url.host().as_str()), (origin, host), "{text}");
        }
    }

    #[test]
    fn bad_urls() {
        assert_eq!(problem("ftp://h/"), "url has scheme \"ftp\"");
        assert_eq!(problem("file:///etc/passwd"), "url has scheme \"file\"");
        assert_eq!(problem("https://u:p@h/"), "url contains credentials");
        assert_eq!(problem("https://u@h/"), "url contains credentials");
        assert_eq!(problem("https://{{secret:u}}@h/"), "url contains credentials");
        assert_eq!(problem("https://h/a b"), "url contains white space");
        assert_eq!(problem("https://h/a\nb"), "url contains white space");
        assert_eq!(problem("http://h:0/"), "url has port 0");
        assert_eq!(problem("https://{{job_name}}.example/"), "placeholder in the host of url");
        assert_eq!(problem("https://h:{{run_id}}/"), "url has port 0");
        assert_eq!(problem("https://h:8{{run_id}}/"), "placeholder in the host of url");
        assert_eq!(problem("https://h{{secret:x}}/"), "placeholder in the host of url");
        assert_eq!(problem("{{secret:x}}"), "invalid url: relative URL without a base");
        for text in
            ["", "h", "//h/", "http://", "https:///", "http://h:99999/", "http://a b/", "http://%/"]
        {
            assert!(UrlTemplate::parse(text).is_err(), "{text}");
        }
        assert!(UrlTemplate::parse(&format!("https://h/{}", "a".repeat(MAX_URL))).is_err());
    }

    proptest! {
        #[test]
        fn no_value_changes_the_host(secret in any::<String>(), name in any::<String>()) {
            let url = UrlTemplate::parse("https://h.example:8443/a/{{secret:s}}/{{job_name}}?q={{secret:s}}").unwrap();
            let secrets = [("s".to_owned(), Secret::new(secret))];
            let values = Values {
                run: RunId(1), job_name: &name, scheduled_for: Timestamp(0), attempt: 1, alert: None,
                secrets: &secrets,
            };
            let filled = url.fill(&values).unwrap();
            prop_assert_eq!(origin(&filled), "https://h.example:8443");
            prop_assert!(filled.username().is_empty() && filled.fragment().is_none());
        }

        #[test]
        fn whatever_follows_the_host_can_be_sent(tail in "[!-~é😀]{0,40}") {
            let url = parse(&format!("https://h.example/{tail}")).unwrap();
            let uri = request_uri(&url).unwrap();
            prop_assert_eq!(uri.host(), Some("h.example"));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in "(https?://)?[a-z0-9.:/@?#\\[\\]%\\\\{} -]{0,30}") {
            if let Ok(url) = UrlTemplate::parse(&text) {
                prop_assert!(url.origin().starts_with("http"));
                prop_assert!(!url.host().is_empty());
            }
        }
    }
}
