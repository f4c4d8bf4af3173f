//! A job's request as JSON has it: keys of `cron.set_job` and of `cron.create_job(jsonb)`, and
//! column `http` of `cron.job`.
//!
//! Owns two invariants: a document that was [`read`] has every key with the type it must have, and
//! reads as the same request again; and an attempt that somebody asks for sends the request of the
//! run it repeats, or nothing ([`kept`], [`again`]).

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::Refused;
use super::request::{Arguments, Request};

/// The keys of a request, in the order of the arguments of `cron.create_http_job`.
pub const KEYS: [&str; 6] =
    ["url", "method", "headers", "body", "expect_status", "follow_redirects"];

/// What a request expects that does not say.
const EXPECT_STATUS: &str = "200-299";

/// Takes the keys of a request, `null`s included, out of the options of a job.
#[must_use]
pub fn take(options: &mut Map<String, Json>) -> Map<String, Json> {
    KEYS.iter().filter_map(|key| options.remove_entry(*key)).collect()
}

/// Checks a request whose `null` and absent keys have their defaults, and returns it with the
/// document to store.
///
/// # Errors
/// What is wrong with it.
pub fn read(parts: &Map<String, Json>) -> Result<(Request, Map<String, Json>), Refused> {
    if let Some(stranger) = parts.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let problem = format!("a request has no \"{}\"", crate::quote::excerpt(stranger));
        return Err(Refused::new(
            "http",
            problem,
            "The keys of a request are those of cron.set_job.",
        ));
    }
    let given = |key: &str| parts.get(key).filter(|value| !value.is_null());
    let none = Json::Object(Map::new());
    let headers = given("headers").unwrap_or(&none);
    let body =
        given("body").map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned));
    let expect_status = text(given("expect_status"), "expect_status", EXPECT_STATUS)?;
    let follow_redirects = match given("follow_redirects") {
        None => false,
        Some(Json::Bool(flag)) => *flag,
        Some(_) => {
            let problem = "follow_redirects must be true or false";
            return Err(Refused::new("follow_redirects", problem, "Write it without quotes."));
        }
    };
    let request = Request::check(Arguments {
        method: text(given("method"), "method", "POST")?,
        url: text(given("url"), "url", "")?,
        headers,
        body: body.as_deref(),
        expect_status,
        follow_redirects,
    })?;
    let mut document = Map::new();
    document.insert("method".to_owned(), request.method().as_str().into());
    document.insert("url".to_owned(), given("url").cloned().unwrap_or_default());
    document.insert("headers".to_owned(), headers.clone());
    document.insert("body".to_owned(), body.map_or(Json::Null, Json::String));
    document.insert("expect_status".to_owned(), expect_status.into());
    document.insert("follow_redirects".to_owned(), follow_redirects.into());
    Ok((request, document))
}

/// The most bytes of a request, as JSON, that the row of a run has as a whole.
pub const MAX_KEPT: usize = 8 * 1024;

/// What the row of a run keeps of the request of its job, placeholders and all: `request`, or
/// `request_sha256` if that would be too long. Keys that have their defaults are left out.
#[must_use]
pub fn kept(document: &Map<String, Json>) -> Json {
    let is_default = |key: &str, value: &Json| match key {
        "headers" => value.as_object().is_some_and(Map::is_empty),
        "expect_status" => value == EXPECT_STATUS,
        "follow_redirects" => value == false,
        _ => value.is_null(),
    };
    let mut parts = document.clone();
    parts.retain(|key, value| !is_default(key, value));
    let parts = Json::Object(parts);
    let text = parts.to_string();
    if text.len() <= MAX_KEPT {
        return json!({"request": parts});
    }
    let digest = Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    json!({"request_sha256": digest})
}

/// What one more attempt at the occurrence of a run is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// What the row of the run has kept.
    Kept(Json),
    /// What the job says at present, which is the same, or nothing at all: neither is a request.
    Present,
    /// What the run sent is not known any more, or one of the two is none of HTTP.
    Lost,
}

/// Decides that. `ran`: column `http` of the run; `present`: that of its job; `same_command`: both
/// have the same `command`.
#[must_use]
pub fn again(ran: Option<&Json>, present: Option<&Json>, same_command: bool) -> Again {
    let part = |key: &str| ran.and_then(|ran| ran.get(key)).filter(|part| !part.is_null());
    let Some(present) = present else {
        let was_http = part("request").or_else(|| part("request_sha256")).is_some();
        return if was_http { Again::Lost } else { Again::Present };
    };
    if let Some(request) = part("request") {
        return Again::Kept(request.clone());
    }
    let same = match part("request_sha256") {
        // It failed before there was a request.
        None => same_command,
        digest => {
            present.as_object().map(kept).as_ref().and_then(|kept| kept.get("request_sha256"))
                == digest
        }
    };
    if same { Again::Present } else { Again::Lost }
}

fn text<'a>(
    given: Option<&'a Json>,
    key: &'static str,
    default: &'a str,
) -> Result<&'a str, Refused> {
    let Some(given) = given else { return Ok(default) };
    let problem = || Refused::new(key, format!("{key} must be text"), "Write it in quotes.");
    given.as_str().ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(json: &Json) -> Map<String, Json> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_not_given_has_its_default_and_reads_again() {
        let (request, stored) =
            read(&map(&json!({"url": "https://example.com/x", "body": null}))).unwrap();
        assert_eq!(request.command(), "POST https://example.com/x");
        let whole = json!({
            "method": "POST", "url": "https://example.com/x", "headers": {}, "body": null,
            "expect_status": "200-299", "follow_redirects": false,
        });
        assert_eq!(Json::Object(stored.clone()), whole);
        assert_eq!(read(&stored).unwrap(), (request, stored));
    }

    #[test]
    fn a_body_of_json_is_stored_as_its_text() {
        let given = json!({"url": "http://h/", "method": "put", "body": {"a": ["{{run_id}}"]}});
        let (request, stored) = read(&map(&given)).unwrap();
        assert_eq!(stored["body"], json!("{\"a\":[\"{{run_id}}\"]}"));
        assert_eq!(stored["method"], json!("PUT"));
        assert_eq!(read(&stored).unwrap(), (request, stored));
    }

    #[test]
    fn other_types_and_keys_are_refused() {
        for (given, argument) in [
            (json!({}), "url"),
            (json!({"url": 1}), "url"),
            (json!({"url": "http://h/", "method": ["GET"]}), "method"),
            (json!({"url": "http://h/", "headers": []}), "headers"),
            (json!({"url": "http://h/", "expect_status": 200}), "expect_status"),
            (json!({"url": "http://h/", "follow_redirects": "yes"}), "follow_redirects"),
            (json!({"url": "http://h/", "timeout": "1 s"}), "http"),
        ] {
            assert_eq!(read(&map(&given)).unwrap_err().argument(), argument, "{given}");
        }
    }

    #[test]
    fn an_attempt_asked_for_sends_what_the_run_sent() {
        let stored = |body: &str| {
            let parts = map(&json!({"url": "https://h/{{secret:a}}", "body": body}));
            read(&parts).unwrap().1
        };
        let (short, long) = (stored("x"), stored(&"x".repeat(MAX_KEPT)));
        let other = Json::Object(stored(&"y".repeat(MAX_KEPT)));
        let parts = json!({"method": "POST", "url": "https://h/{{secret:a}}", "body": "x"});
        assert_eq!(kept(&short), json!({"request": parts}));
        assert_eq!(read(&map(&parts)).unwrap().1, short, "nothing is lost");
        assert_eq!(kept(&long)["request_sha256"].as_str().map(str::len), Some(64));
        assert!(kept(&long).to_string().len() < 100, "only that");
        let (in_short, in_long) = (kept(&short), kept(&long));
        let is_kept = Again::Kept(parts);
        for same_command in [false, true] {
            assert_eq!(again(Some(&in_short), Some(&other), same_command), is_kept);
            assert_eq!(again(Some(&in_short), None, same_command), Again::Lost);
            assert_eq!(again(Some(&in_long), None, same_command), Again::Lost);
            assert_eq!(again(Some(&in_long), Some(&other), same_command), Again::Lost);
            let long = Json::Object(long.clone());
            assert_eq!(again(Some(&in_long), Some(&long), same_command), Again::Present);
            assert_eq!(again(None, None, same_command), Again::Present, "SQL then and now");
        }
        assert_eq!(again(None, Some(&other), true), Again::Present, "it had not come to a request");
        assert_eq!(again(None, Some(&other), false), Again::Lost, "SQL then");
    }

    #[test]
    fn the_keys_of_a_request_are_told_from_options() {
        let mut options = map(&json!({"schedule": "@daily", "url": null, "body": "x"}));
        assert_eq!(Json::Object(take(&mut options)), json!({"url": null, "body": "x"}));
        assert_eq!(Json::Object(options), json!({"schedule": "@daily"}));
    }
}
