//! Where a redirect may lead.
//!
//! Owns one invariant: a secret goes to the host it was written for, and to no other. A host is
//! scheme, name and port together, so a redirect from https to http is another host.

use ::http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use ::url::Url;

use super::mask::Masker;
use super::request::Method;
use super::url::{origin, parse};

/// How many redirects are followed.
pub const MAX_REDIRECTS: u32 = 5;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Where to go.
    pub url: Url,
    /// With which method.
    pub method: Method,
    /// Whether the body goes along.
    pub keep_body: bool,
    /// Whether it is another host, so that [`is_private`] headers and those with secrets stay
    /// behind.
    pub other_host: bool,
}

/// Why a redirect is not followed. Contains no part of the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// There have been [`MAX_REDIRECTS`] already.
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    /// The response has no `Location`, or one that is not text.
    #[error("redirect without a location")]
    NoLocation,
    /// `Location` is not a URL that a job could have.
    #[error("redirect to a URL that is not allowed")]
    Url,
    /// The body holds a secret, and the redirect would send it to another host.
    #[error("redirect would send a secret in the body to another host")]
    SecretBody,
    /// The location holds a secret, and is on another host.
    #[error("redirect would send a secret in the URL to another host")]
    SecretUrl,
}

/// A request as it is about to be redirected.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// Where it went.
    pub url: &'a Url,
    /// Its method.
    pub method: Method,
    /// Whether its body holds a secret.
    pub secret_body: bool,
    /// How many redirects led to it.
    pub followed: u32,
}

/// Whether a response with this code is a redirect.
#[must_use]
pub const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Whether a header is for one host only, with a secret or without.
#[must_use]
pub fn is_private(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
}

/// Where a response with the code `status` leads.
///
/// # Errors
/// Why it is not followed.
pub fn next(
    current: Current<'_>,
    status: u16,
    location: Option<&str>,
    masker: &Masker,
) -> Result<Next, RedirectError> {
    if current.followed >= MAX_REDIRECTS {
        return Err(RedirectError::TooMany);
    }
    let location = location.ok_or(RedirectError::NoLocation)?;
    let joined = current.url.join(location).map_err(|_| RedirectError::Url)?;
    let url = parse(joined.as_str()).map_err(|_| RedirectError::Url)?;
    let other_host = origin(&url) != origin(current.url);
    let (method, keep_body) = match (status, current.method) {
        (307 | 308, method) => (method, true),
        (_, Method::Head) => (Method::Head, false),
        (301 | 302, method) if method != Method::Post => (method, true),
        _ => (Method::Get, false),
    };
    if other_host && keep_body && current.secret_body {
        return Err(RedirectError::SecretBody);
    }
    if other_host && masker.finds(url.as_str().as_bytes()) {
        return Err(RedirectError::SecretUrl);
    }
    Ok(Next { url, method, keep_body, other_host })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn masker() -> Masker {
        Masker::new([&Secret::new("s3cr3t/key".to_owned())])
    }

    fn go(method: Method, status: u16, location: &str) -> Result<Next, RedirectError> {
        let url = Url::parse("https://a.example/x/y?z").unwrap();
        let current = Current { url: &url, method, secret_body: true, followed: 0 };
        next(current, status, Some(location), &masker())
    }

    #[test]
    fn locations_are_resolved() {
        let to = |location| {
            go(Method::Get, 303, location).map(|next| (next.url.to_string(), next.other_host))
        };
        assert_eq!(to("/new").unwrap(), ("https://a.example/new".to_owned(), false));
        assert_eq!(to("z").unwrap(), ("https://a.example/x/z".to_owned(), false));
        assert_eq!(to("//b.example/").unwrap(), ("https://b.example/".to_owned(), true));
        assert!(to("https://a.example:444/").unwrap().1);
        assert!(to("http://a.example/").unwrap().1);
        for bad in [
            "ftp://a.example/",
            "https://u:p@a.example/",
            "file:///etc/passwd",
            "http://",
            "javascript:1",
        ] {
            assert_eq!(to(bad), Err(RedirectError::Url), "{bad}");
        }
    }

    #[test]
    fn methods_follow_the_code() {
        let kept = |method, status| {
            let next = go(method, status, "/new").unwrap();
            (next.method, next.keep_body)
        };
        for status in [301, 302, 303] {
            assert_eq!(kept(Method::Post, status), (Method::Get, false));
            assert_eq!(kept(Method::Head, status), (Method::Head, false));
        }
        assert_eq!(kept(Method::Put, 301), (Method::Put, true));
        assert_eq!(kept(Method::Put, 303), (Method::Get, false));
        for status in [307, 308] {
            assert_eq!(kept(Method::Post, status), (Method::Post, true));
        }
    }

    #[test]
    fn secrets_stay_at_their_host() {
        assert_eq!(go(Method::Post, 307, "https://b.example/"), Err(RedirectError::SecretBody));
        assert!(go(Method::Post, 303, "https://b.example/").is_ok());
        let echoed = "https://b.example/?k=s3cr3t%2Fkey";
        assert_eq!(go(Method::Post, 303, echoed), Err(RedirectError::SecretUrl));
        assert!(go(Method::Post, 303, "/?k=s3cr3t%2Fkey").is_ok());
    }

    #[test]
    fn there_is_an_end() {
        let url = Url::parse("https://a.example/").unwrap();
        let at = |followed| {
            let current = Current { url: &url, method: Method::Get, secret_body: false, followed };
            next(current, 302, Some("/"), &masker()).map(drop)
        };
        assert_eq!((at(4), at(5)), (Ok(()), Err(RedirectError::TooMany)));
        let current = Current { url: &url, method: Method::Get, secret_body: false, followed: 0 };
        assert_eq!(next(current, 302, None, &masker()), Err(RedirectError::NoLocation));
    }
}
