//! Placeholders in URLs, headers and bodies: `{{secret:name}}`, `{{run_id}}` and so on.
//!
//! Owns one invariant: a value that is filled in stays a value. In a JSON body it cannot end the
//! string it stands in nor add a key, in a URL it cannot leave its path segment or query value.

use std::fmt::Write as _;

use crate::secret::{Secret, is_name};
use crate::time::{RunId, Timestamp};

use super::Refused;

const HINT: &str = "Placeholders are {{secret:name}}, {{run_id}}, {{job_name}}, {{scheduled_for}}, \
                    {{attempt}}, {{alert}} and {{alert.text}} with the other keys of an alert.";

/// The keys of an alert that a placeholder can name.
const ALERT_KEYS: [&str; 13] = [
    "id",
    "event",
    "rule",
    "jobid",
    "job",
    "database",
    "raised_at",
    "recovered_at",
    "recovery",
    "runid",
    "outcome",
    "detail",
    "text",
];

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The value of the secret with this name.
    Secret(String),
    /// The run's id, a number.
    RunId,
    /// The job's name; empty if it has none.
    JobName,
    /// The occurrence's nominal instant, in UTC, as in `2026-11-21T05:00:00Z`.
    ScheduledFor,
    /// The number of the attempt, from 1.
    Attempt,
    /// The alert that the job handles, a JSON object; `null` when there is none.
    Alert,
    /// A part of it; an empty text when there is none.
    AlertPart(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// What placeholders are replaced by.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The run.
    pub run: RunId,
    /// The job's name; empty if it has none.
    pub job_name: &'a str,
    /// The occurrence's nominal instant.
    pub scheduled_for: Timestamp,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The alert that the job handles, as JSON.
    pub alert: Option<&'a str>,
    /// The secrets that the job may use, by name.
    pub secrets: &'a [(String, Secret)],
}

/// A secret that the job may not use, or that does not exist; holds its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret \"{0}\" does not exist or may not be used by the job's owner")]
pub struct MissingSecret(pub String);

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As they are.
    Plain,
    /// Percent-encoded.
    Url,
    /// Escaped inside a JSON string; elsewhere as a JSON value.
    Json,
}

impl Template {
    /// Reads a text; `argument` is what an error names.
    ///
    /// # Errors
    /// A placeholder that is not known or not closed.
    pub fn parse(argument: &'static str, text: &str) -> Result<Self, Refused> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inside, next)) = after.split_once("}}") else {
                let problem = format!("placeholder in {argument} is not closed");
                return Err(Refused::new(argument, problem, HINT));
            };
            let Some(placeholder) = placeholder(inside.trim()) else {
                let problem = format!("unknown placeholder \"{{{{{inside}}}}}\" in {argument}");
                return Err(Refused::new(argument, problem, HINT));
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Value(placeholder));
            rest = next;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The names of the secrets in it, in order, with repetitions.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(Placeholder::Secret(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether it has any placeholder.
    #[must_use]
    pub fn has_values(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(_)))
    }

    /// The text with every placeholder replaced by `filler`.
    #[must_use]
    pub fn with_filler(&self, filler: &str) -> String {
        let mut out = String::new();
        for part in &self.parts {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Value(_) => filler,
            });
        }
        out
    }

    /// Whether the text is JSON, wherever its placeholders stand.
    #[must_use]
    pub fn is_json(&self) -> bool {
        // A zero is right both inside a string and as a value.
        serde_json::from_str::<serde_json::Value>(&self.with_filler("0")).is_ok()
    }

    /// The text with values in place of placeholders.
    ///
    /// # Errors
    /// A secret that is not among the values.
    pub fn fill(&self, escape: Escape, values: &Values<'_>) -> Result<String, MissingSecret> {
        let mut out = String::new();
        let mut context = JsonContext::default();
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    context.read(text);
                    out.push_str(text);
                }
                Part::Value(placeholder) => {
                    let value = Value::of(placeholder, values)?;
                    match escape {
                        Escape::Plain => out.push_str(&value.text),
                        Escape::Url => push_url(&mut out, &value.text),
                        Escape::Json if context.in_string => push_json(&mut out, &value.text),
                        Escape::Json if value.is_json => out.push_str(&value.text),
                        Escape::Json => {
                            out.push('"');
                            push_json(&mut out, &value.text);
                            out.push('"');
                        }
                    }
                }
            }
        }
        Ok(out)
    }
}

fn placeholder(inside: &str) -> Option<Placeholder> {
    Some(match inside {
        "run_id" => Placeholder::RunId,
        "job_name" => Placeholder::JobName,
        "scheduled_for" => Placeholder::ScheduledFor,
        "attempt" => Placeholder::Attempt,
        "alert" => Placeholder::Alert,
        part if part.starts_with("alert.") => {
            let key = part.strip_prefix("alert.")?;
            Placeholder::AlertPart(ALERT_KEYS.into_iter().find(|known| *known == key)?)
        }
        other => {
            let name = other.strip_prefix("secret:")?.trim();
            return is_name(name).then(|| Placeholder::Secret(name.to_owned()));
        }
    })
}

struct Value<'a> {
    text: std::borrow::Cow<'a, str>,
    /// Whether the text is a JSON value as it stands.
    is_json: bool,
}

impl<'a> Value<'a> {
    fn of(placeholder: &Placeholder, values: &Values<'a>) -> Result<Self, MissingSecret> {
        let text = |text: &'a str| Value { text: text.into(), is_json: false };
        Ok(match placeholder {
            Placeholder::RunId => Value { text: values.run.to_string().into(), is_json: true },
            Placeholder::Attempt => {
                Value { text: values.attempt.to_string().into(), is_json: true }
            }
            Placeholder::Alert => {
                Value { text: values.alert.unwrap_or("null").into(), is_json: true }
            }
            Placeholder::AlertPart(key) => part(values.alert, key),
            Placeholder::JobName => text(values.job_name),
            Placeholder::ScheduledFor => {
                Value { text: rfc3339(values.scheduled_for).into(), is_json: false }
            }
            Placeholder::Secret(name) => {
                let found = values.secrets.iter().find(|(known, _)| known == name);
                let (_, secret) = found.ok_or_else(|| MissingSecret(name.clone()))?;
                text(secret.expose())
            }
        })
    }
}

/// A part of an alert: a text, a number, or nothing.
fn part<'a>(alert: Option<&str>, key: &str) -> Value<'a> {
    use serde_json::Value as Json;
    let alert: Option<Json> = alert.and_then(|alert| serde_json::from_str(alert).ok());
    match alert.as_ref().and_then(|alert| alert.get(key)) {
        Some(Json::String(text)) => Value { text: text.clone().into(), is_json: false },
        None | Some(Json::Null) => Value { text: "".into(), is_json: false },
        Some(other) => Value { text: other.to_string().into(), is_json: true },
    }
}

/// An instant as in `2026-11-21T05:00:00Z`, with fractions of a second if it has any.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_micros(at.0).map_or_else(
        || format!("@{}", at.0),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
    )
}

/// Whether the end of the text read so far is inside a JSON string.
#[derive(Default)]
struct JsonContext {
    in_string: bool,
    escaped: bool,
}

impl JsonContext {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ => {}
            }
        }
    }
}

fn push_json(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

fn push_url(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values<'a>(secrets: &'a [(String, Secret)], job_name: &'a str) -> Values<'a> {
        Values {
            run: RunId(7),
            job_name,
            scheduled_for: Timestamp(1_700_000_000_000_000),
            attempt: 2,
            alert: Some("{\"rule\": \"late\"}"),
            secrets,
        }
    }

    fn fill(escape: Escape, text: &str, secret: &str) -> String {
        let secrets = [("key".to_owned(), Secret::new(secret.to_owned()))];
        Template::parse("body", text).unwrap().fill(escape, &values(&secrets, "nightly")).unwrap()
    }

    #[test]
    fn every_placeholder_is_filled() {
        let text =
            "{{secret:key}} {{ run_id }} {{job_name}} {{scheduled_for}} {{attempt}} {{alert}}";
        assert_eq!(
            fill(Escape::Plain, text, "s3"),
            "s3 7 nightly 2023-11-14T22:13:20Z 2 {\"rule\": \"late\"}"
        );
    }

    #[test]
    fn json_knows_where_it_is() {
        let text = r#"{"run": {{run_id}}, "r": "{{run_id}}", "n": {{job_name}}, "s\"": "a{{secret:key}}b",
                       "at": {{scheduled_for}}, "alert": {{alert}}, "text": "{{alert}}"}"#;
        let filled = fill(Escape::Json, text, "x\"},\n\u{1}\\");
        let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(json["run"], 7);
        assert_eq!(json["r"], "7");
        assert_eq!(json["n"], "nightly");
        assert_eq!(json["s\""], "ax\"},\n\u{1}\\b");
        assert_eq!(json["at"], "2023-11-14T22:13:20Z");
        assert_eq!(json["alert"]["rule"], "late");
        assert_eq!(json["text"], "{\"rule\": \"late\"}");
    }

    #[test]
    fn parts_of_an_alert_are_values() {
        let alert = "{\"job\": \"a\\\"\\u00e9\", \"runid\": 7, \"recovery\": null, \
                      \"detail\": {\"failures\": 3}}";
        let values = Values { alert: Some(alert), ..values(&[], "handler") };
        let text = r#"{"text": "job {{alert.job}} run {{ alert.runid }}{{alert.recovery}}",
                       "run": {{alert.runid}}, "job": {{alert.job}}, "none": {{alert.text}},
                       "detail": {{alert.detail}}, "quoted": "{{alert.detail}}"}"#;
        let template = Template::parse("body", text).unwrap();
        let filled = template.fill(Escape::Json, &values).unwrap();
        let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(json["text"], "job a\"é run 7");
        assert_eq!((&json["run"], &json["job"]), (&7.into(), &"a\"é".into()));
        assert_eq!(json["none"], "");
        assert_eq!(
            (&json["detail"]["failures"], &json["quoted"]),
            (&3.into(), &r#"{"failures":3}"#.into())
        );
        let none = Values { alert: None, ..values };
        assert!(template.is_json() && template.fill(Escape::Json, &none).is_ok());
        assert!(Template::parse("body", "{{alert.secret}}").is_err());
    }

    #[test]
    fn urls_are_encoded() {
        let filled = fill(Escape::Url, "https://h/{{secret:key}}?a={{secret:key}}", "a/b?c&d=é #%");
        assert_eq!(
            filled,
            "https://h/a%2Fb%3Fc%26d%3D%C3%A9%20%23%25?a=a%2Fb%3Fc%26d%3D%C3%A9%20%23%25"
        );
    }

    #[test]
    fn unknown_names_are_refused() {
        for text in [
            "{{secret:}}",
            "{{secret:a b}}",
            "{{runid}}",
            "{{}}",
            "{{run_id",
            "{{RUN_ID}}",
            "{{secret}}",
        ] {
            let error = Template::parse("url", text).unwrap_err();
            assert_eq!(error.argument(), "url", "{text}");
            assert!(error.hint().contains("{{run_id}}"), "{text}");
        }
    }

    #[test]
    fn missing_secrets_are_named() {
        let template = Template::parse("body", "{{secret:a/b}}").unwrap();
        let missing = template.fill(Escape::Plain, &values(&[], "")).unwrap_err();
        assert_eq!(missing, MissingSecret("a/b".to_owned()));
        assert_eq!(template.secrets().collect::<Vec<_>>(), ["a/b"]);
    }

    #[test]
    fn json_is_recognised() {
        for (text, json) in [
            ("{\"a\": {{run_id}}}", true),
            ("{{alert}}", true),
            ("\"{{job_name}}\"", true),
            ("{\"a\": \"\\{{run_id}}\"}", false),
            ("{\"a\": {{run_id}}", false),
            ("plain {{run_id}}", false),
            ("", false),
        ] {
            assert_eq!(Template::parse("body", text).unwrap().is_json(), json, "{text}");
        }
    }

    proptest! {
        #[test]
        fn values_never_leave_their_json_place(secret in any::<String>()) {
            let filled = fill(Escape::Json, "{\"a\": \"{{secret:key}}\", \"b\": {{secret:key}}}", &secret);
            let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
            prop_assert_eq!(json.as_object().unwrap().len(), 2);
            prop_assert_eq!(json["a"].as_str().unwrap(), secret.as_str());
            prop_assert_eq!(json["b"].as_str().unwrap(), secret.as_str());
        }

        #[test]
        fn values_never_leave_their_query_value(secret in any::<String>()) {
            let filled = fill(Escape::Url, "https://h.example/p?a={{secret:key}}&b=1", &secret);
            let url = ::url::Url::parse(&filled).unwrap();
            let pairs: Vec<_> = url.query_pairs().collect();
            prop_assert_eq!(pairs.len(), 2);
            prop_assert_eq!(&*pairs[0].1, secret.as_str());
            prop_assert_eq!(url.host_str(), Some("h.example"));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in "[{}a:secrt_un id]{0,40}") {
            if let Ok(template) = Template::parse("body", &text) {
                prop_assert!(!template.with_filler("").contains("{{") || template.parts.len() > 1);
            }
        }
    }
}
