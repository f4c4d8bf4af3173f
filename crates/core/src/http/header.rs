//! Headers of a request: which names and values are taken.

use ::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::Refused;
use super::template::Template;

/// The most headers a job can have.
pub const MAX_HEADERS: usize = 64;

/// The longest value, in bytes, before placeholders are filled.
pub const MAX_VALUE: usize = 8192;

/// Response headers that are kept in a run's row.
pub const KEPT: [&str; 12] = [
    "content-type",
    "content-length",
    "content-encoding",
    "date",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "server",
    "www-authenticate",
    "x-request-id",
    "x-correlation-id",
];

/// One header of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate {
    /// The name, in lower case.
    pub name: HeaderName,
    /// The value.
    pub value: Template,
}

/// Reads the argument `headers`, an object of texts.
///
/// # Errors
/// Anything else, names and values that are not those of a header, and headers that only the sender
/// can set.
pub fn from_json(headers: &serde_json::Value) -> Result<Vec<HeaderTemplate>, Refused> {
    const FORM: &str = "Write an object of texts, such as {\"Accept\": \"application/json\"}.";
    let refuse = |problem: String, hint| Err(Refused::new("headers", problem, hint));
    let Some(object) = headers.as_object() else {
        return refuse("headers is not a JSON object".to_owned(), FORM);
    };
    if object.len() > MAX_HEADERS {
        return refuse(format!("more than {MAX_HEADERS} headers"), "Send values in the body.");
    }
    let mut taken: Vec<HeaderTemplate> = Vec::with_capacity(object.len());
    for (name, value) in object {
        let Some(value) = value.as_str() else {
            return refuse(format!("value of header \"{name}\" is not a text"), FORM);
        };
        let header = header(name, value)?;
        if taken.iter().any(|other| other.name == header.name) {
            return refuse(
                format!("header \"{name}\" is given twice"),
                "Names of headers are the same in upper and lower case.",
            );
        }
        taken.push(header);
    }
    Ok(taken)
}

fn header(name: &str, value: &str) -> Result<HeaderTemplate, Refused> {
    let refuse = |problem: String, hint| Err(Refused::new("headers", problem, hint));
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return refuse(
            format!("\"{name}\" is not the name of a header"),
            "Use letters, digits and hyphens.",
        );
    };
    if is_senders(&parsed) {
        return refuse(
            format!("header \"{name}\" cannot be set"),
            "It follows from the URL, the body or the connection.",
        );
    }
    if value.len() > MAX_VALUE {
        return refuse(
            format!("value of header \"{name}\" is longer than {MAX_VALUE} bytes"),
            "Send large values in the body.",
        );
    }
    let template = Template::parse("headers", value)?;
    if to_value(&template.with_filler("0"), false).is_none() {
        return refuse(
            format!("value of header \"{name}\" contains a control character"),
            "Write it in one line.",
        );
    }
    Ok(HeaderTemplate { name: parsed, value: template })
}

/// Headers that describe the connection or the framing of the message: who sets them could smuggle
/// a second request.
fn is_senders(name: &HeaderName) -> bool {
    const OWN: [HeaderName; 8] =
        [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let text = name.as_str();
    OWN.contains(name)
        || matches!(text, "keep-alive" | "http2-settings")
        || text.starts_with("proxy-")
}

/// A header value of this text, marked as sensitive when it has a secret in it; `None` if it has
/// control characters.
#[must_use]
pub fn to_value(text: &str, secret: bool) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.trim_matches([' ', '\t']).as_bytes()).ok()?;
    value.set_sensitive(secret);
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(headers: serde_json::Value) -> String {
        from_json(&headers).unwrap_err().to_string()
    }

    #[test]
    fn good_headers() {
        let headers = from_json(&json!({
            "Authorization": "Bearer {{secret:token}}", "X-Empty": "", "X-Umlaut": "ü", "accept": " a\tb "
        }))
        .unwrap();
        assert_eq!(headers.len(), 4);
        assert_eq!(headers[0].name, "authorization");
        assert_eq!(headers[0].value.secrets().collect::<Vec<_>>(), ["token"]);
        assert!(from_json(&json!({})).unwrap().is_empty());
    }

    #[test]
    fn bad_headers() {
        assert_eq!(problem(json!([])), "headers is not a JSON object");
        assert_eq!(problem(json!({"A": 1})), "value of header \"A\" is not a text");
        assert_eq!(problem(json!({"A": null})), "value of header \"A\" is not a text");
        assert_eq!(problem(json!({"a b": "x"})), "\"a b\" is not the name of a header");
        assert_eq!(problem(json!({"": "x"})), "\"\" is not the name of a header");
        assert_eq!(problem(json!({"A\r\nB": "x"})), "\"A\r\nB\" is not the name of a header");
        assert_eq!(
            problem(json!({"A": "x\r\nHost: y"})),
            "value of header \"A\" contains a control character"
        );
        assert_eq!(
            problem(json!({"A": "{{nope}}"})),
            "unknown placeholder \"{{nope}}\" in headers"
        );
        let twice = problem(json!({"X-A": "1", "x-a": "2"}));
        assert_eq!(twice, "header \"x-a\" is given twice");
        for own in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "Proxy-Authorization",
            "TE",
            "Upgrade",
            "Keep-Alive",
            "Expect",
            "Trailer",
        ] {
            assert_eq!(problem(json!({own: "x"})), format!("header \"{own}\" cannot be set"));
        }
        let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("x-{n}"), json!(""))).collect();
        assert_eq!(problem(many.into()), "more than 64 headers");
        assert!(from_json(&json!({"A": "x".repeat(MAX_VALUE + 1)})).is_err());
    }

    #[test]
    fn values_with_secrets_are_marked() {
        assert!(to_value("x", true).unwrap().is_sensitive());
        assert_eq!(to_value("a\nb", false), None);
        assert_eq!(to_value("a\0b", false), None);
        assert_eq!(to_value(" a ", false).unwrap(), "a");
    }
}
