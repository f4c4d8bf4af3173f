use serde_json::{Value, json};

use super::*;
use crate::time::{JobId, RunId, Timestamp};

const OCCURRENCE: Occurrence = Occurrence {
    system: 1,
    database: 5,
    job: JobId(3),
    scheduled_for: Timestamp(1_700_000_000_000_000),
};

fn secrets() -> Vec<(String, Secret)> {
    [("token", "t0ken-value"), ("path", "p/th"), ("other", "not-used")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned())))
        .to_vec()
}

fn values(secrets: &[(String, Secret)]) -> Values<'_> {
    Values {
        run: RunId(77),
        job_name: "täglich",
        scheduled_for: OCCURRENCE.scheduled_for,
        attempt: 1,
        alert: None,
        secrets,
    }
}

fn check(method: &str, headers: &Value, body: Option<&str>) -> Result<Request, Refused> {
    Request::check(Arguments {
        method,
        url: "https://h.example/{{secret:path}}",
        headers,
        body,
        expect_status: "200-299",
        follow_redirects: false,
    })
}

fn filled(request: &Request) -> Filled {
    request.fill(&values(&secrets()), &OCCURRENCE, "0.1.0").unwrap()
}

fn header<'a>(filled: &'a Filled, name: &str) -> Option<&'a str> {
    let mut found = filled.headers.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.to_str().unwrap());
    assert!(found.next().is_none(), "{name} twice");
    value
}

#[test]
fn a_request_is_filled() {
    let headers = json!({"Authorization": "Bearer {{secret:token}}", "X-Run": "{{run_id}}"});
    let request =
        check("post", &headers, Some("{\"run\": {{run_id}}, \"k\": \"{{secret:token}}\"}"))
            .unwrap();
    assert_eq!(request.command(), "POST https://h.example/{{secret:path}}");
    assert_eq!(request.secrets(), ["path", "token"]);
    let filled = filled(&request);
    assert_eq!(filled.url.as_str(), "https://h.example/p%2Fth");
    assert_eq!(header(&filled, "authorization"), Some("Bearer t0ken-value"));
    assert_eq!(header(&filled, "x-run"), Some("77"));
    assert_eq!(header(&filled, "content-type"), Some("application/json"));
    assert_eq!(header(&filled, "user-agent"), Some("pg_tock/0.1.0"));
    assert_eq!(header(&filled, "x-cron-job"), Some("t%C3%A4glich"));
    assert_eq!(header(&filled, "x-cron-run"), Some("77"));
    assert_eq!(header(&filled, "idempotency-key"), Some(OCCURRENCE.idempotency_key().as_str()));
    assert_eq!(header(&filled, "traceparent"), Some(OCCURRENCE.traceparent(1).as_str()));
    assert_eq!(filled.body.as_deref(), Some(&b"{\"run\": 77, \"k\": \"t0ken-value\"}"[..]));
    assert!(filled.secret_body);
    assert!(filled.masker.finds(b"x t0ken-value") && !filled.masker.finds(b"not-used"));
}

#[test]
fn secrets_are_marked_and_not_printed() {
    let headers = json!({"Authorization": "Bearer {{secret:token}}", "X-Run": "{{run_id}}"});
    let filled = filled(&check("GET", &headers, None).unwrap());
    for (name, value) in &filled.headers {
        assert_eq!(value.is_sensitive(), name == "authorization", "{name}");
    }
    let printed = format!("{filled:?} {:?}", filled.headers);
    assert!(!printed.contains("t0ken") && !printed.contains("p%2Fth"), "{printed}");
    assert!(!filled.secret_body && filled.body.is_none());
}

#[test]
fn a_job_overrides_default_headers() {
    let headers = json!({"user-agent": "mine", "IDEMPOTENCY-KEY": "k", "Content-Type": "text/csv"});
    let filled = filled(&check("PUT", &headers, Some("a,b")).unwrap());
    assert_eq!(header(&filled, "user-agent"), Some("mine"));
    assert_eq!(header(&filled, "idempotency-key"), Some("k"));
    assert_eq!(header(&filled, "content-type"), Some("text/csv"));
}

#[test]
fn a_preview_has_no_secrets() {
    let headers = json!({"Authorization": "Bearer {{secret:token}}"});
    let request = check("POST", &headers, Some("{\"k\": {{secret:token}}}")).unwrap();
    let preview = request.preview(&values(&[]), &OCCURRENCE, "0.1.0").unwrap();
    assert_eq!(preview.url, "https://h.example/***");
    assert_eq!(preview.body.as_deref(), Some("{\"k\": \"***\"}"));
    assert!(preview.headers.contains(&("authorization".to_owned(), "Bearer ***".to_owned())));
}

#[test]
fn bad_requests_are_refused() {
    let none = json!({});
    let problem = |result: Result<Request, Refused>| result.unwrap_err().to_string();
    assert_eq!(problem(check("OPTIONS", &none, None)), "unknown method \"OPTIONS\"");
    assert_eq!(problem(check("HEAD", &none, Some(""))), "a HEAD request cannot have a body");
    let json = json!({"Content-Type": "application/json"});
    assert_eq!(
        problem(check("POST", &json, Some("{\"a\": }"))),
        "body is not valid JSON, although the header \"Content-Type\" says so"
    );
    let long = "x".repeat(MAX_BODY + 1);
    assert_eq!(problem(check("POST", &none, Some(&long))), "body is longer than 1048576 bytes");
    assert_eq!(
        problem(check("POST", &none, Some("{{x}}"))),
        "unknown placeholder \"{{x}}\" in body"
    );
}

#[test]
fn what_cannot_be_filled_is_an_error_without_values() {
    let request = check("GET", &json!({"X": "{{secret:token}}"}), None).unwrap();
    let without = secrets()[1..].to_vec();
    let error = request.fill(&values(&without), &OCCURRENCE, "0").unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret \"token\" does not exist or may not be used by the job's owner"
    );
    let mut broken = secrets();
    broken[0].1 = Secret::new("line\nline".to_owned());
    let error = request.fill(&values(&broken), &OCCURRENCE, "0").unwrap_err();
    assert_eq!(error.to_string(), "value of header \"x\" contains a control character");
}
