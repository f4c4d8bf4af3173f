//! Values of options: what each kind takes, and what is said of a value it does not take.

use serde_json::Value as Json;

use crate::plan::RunWindow;
use crate::quote::excerpt;
use crate::schedule::Zone;

use super::{DAY, Document, Kind, MOST_ITEMS, MOST_NAME, OptionError, Server, Spec, Value};

/// Reads one value; `None` = it means the default.
pub(super) fn read_value(
    spec: &Spec,
    given: &Json,
    server: &dyn Server,
) -> Result<Option<Value>, OptionError> {
    let wrong = || OptionError::WrongType {
        option: spec.name,
        expected: expected(spec.kind),
        given: format!("{}, {}", excerpt(&given.to_string()), type_name(given)),
        hint: usage(spec.kind, given),
    };
    let text = || given.as_str().ok_or_else(wrong);
    Ok(Some(match spec.kind {
        Kind::Remark => Value::Text(text()?.to_owned()),
        Kind::Text => Value::Text(not_empty(spec, text()?)?.to_owned()),
        Kind::Name => Value::Text(name(spec, text()?)?.to_owned()),
        Kind::Flag => Value::Flag(given.as_bool().ok_or_else(wrong)?),
        Kind::Word(words) => match given.as_str() {
            Some(word) if words.contains(&word) => Value::Text(word.to_owned()),
            _ => return Err(wrong()),
        },
        Kind::Span(most) => Value::Span(span(spec, text()?, most, server)?),
        Kind::TimeZone => Value::Text(time_zone(spec, text()?, server)?.to_owned()),
        Kind::Window => Value::Text(window(spec, text()?)?.to_owned()),
        Kind::Count(least, most) => {
            let count = given.as_i64().ok_or_else(wrong)?;
            let count = i32::try_from(count).ok().filter(|count| (least..=most).contains(count));
            Value::Count(count.ok_or_else(|| out_of_range(spec, given, least, most))?)
        }
        Kind::Factor(least, most) => {
            let factor = given.as_f64().ok_or_else(wrong)?;
            if !(least..=most).contains(&factor) {
                return Err(out_of_range(spec, given, least, most));
            }
            Value::Factor(factor)
        }
        Kind::Times(most) => {
            let times = given.as_f64().ok_or_else(wrong)?;
            if times != 0.0 && !(1.0..=most).contains(&times) {
                let problem = format!("{} is out of range", excerpt(&given.to_string()));
                return Err(invalid(spec, problem, format!("It is 0, or from 1 to {most}.")));
            }
            Value::Factor(times)
        }
        Kind::Settings => {
            let object = given.as_object().ok_or_else(wrong)?;
            check_settings(spec, object)?;
            return Ok((!object.is_empty()).then_some(Value::Settings));
        }
        Kind::Texts => {
            let texts = texts(spec, given.as_array().ok_or_else(wrong)?, wrong)?;
            return Ok((!texts.is_empty()).then_some(Value::Texts(texts)));
        }
    }))
}

/// What an option takes, with its article.
fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Name | Kind::Remark => "text".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Word(words) => match words {
            [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.join(", "),
        },
        Kind::Span(_) => "an interval as text, such as \"10 minutes\"".to_owned(),
        Kind::Texts => "a list of texts".to_owned(),
        Kind::TimeZone => "the name of a time zone as text".to_owned(),
        Kind::Window => "a run window as text, such as \"mon-fri 09:00-17:00\"".to_owned(),
        Kind::Count(..) => "a whole number".to_owned(),
        Kind::Factor(..) | Kind::Times(_) => "a number".to_owned(),
        Kind::Settings => "an object of settings and their values".to_owned(),
    }
}

/// How a value of an option is written, as a sentence.
fn usage(kind: Kind, given: &Json) -> String {
    match kind {
        Kind::Text | Kind::Name | Kind::Remark => "Write text in quotes.".to_owned(),
        Kind::Flag => "Write true or false, without quotes.".to_owned(),
        Kind::Word(words) => {
            let meant = given.as_str().map(str::trim);
            match words.iter().find(|word| meant.is_some_and(|m| m.eq_ignore_ascii_case(word))) {
                Some(word) => format!("Write it in lower case and without blanks: \"{word}\"."),
                None => format!("It takes one of these words: {}.", words.join(", ")),
            }
        }
        Kind::Span(most) => {
            format!("Write an interval in quotes, of at most {} days.", most / DAY)
        }
        Kind::Texts => "Write a list such as [\"one\", \"two\"].".to_owned(),
        Kind::TimeZone => {
            "Write a name that pg_timezone_names lists, such as \"Europe/Berlin\".".to_owned()
        }
        Kind::Window => "Write days and times of day in quotes.".to_owned(),
        Kind::Count(least, most) => format!("Write a number from {least} to {most}."),
        Kind::Factor(least, most) => format!("Write a number from {least} to {most}."),
        Kind::Times(most) => format!("Write 0, or a number from 1 to {most}."),
        Kind::Settings => "Write an object such as {\"work_mem\": \"64MB\"}.".to_owned(),
    }
}

fn invalid(spec: &Spec, problem: impl Into<String>, hint: impl Into<String>) -> OptionError {
    OptionError::Invalid { option: spec.name, problem: problem.into(), hint: hint.into() }
}

fn out_of_range(
    spec: &Spec,
    given: &Json,
    least: impl std::fmt::Display,
    most: impl std::fmt::Display,
) -> OptionError {
    let problem = format!("{} is out of range", excerpt(&given.to_string()));
    invalid(spec, problem, format!("It is from {least} to {most}."))
}

/// Names as SET takes them, with plain values.
fn check_settings(spec: &Spec, settings: &Document) -> Result<(), OptionError> {
    if settings.len() > MOST_ITEMS {
        return Err(invalid(spec, format!("it has more than {MOST_ITEMS} items"), ""));
    }
    for (name, value) in settings {
        let quoted = excerpt(name);
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
        };
        if !name.split('.').all(word) {
            let problem = format!("\"{quoted}\" cannot be the name of a setting");
            return Err(invalid(
                spec,
                problem,
                "Settings have names such as work_mem or app.tenant.",
            ));
        }
        if name.split('.').next().is_some_and(|prefix| prefix.eq_ignore_ascii_case("cron")) {
            let problem = format!("\"{quoted}\" cannot be set for a job");
            return Err(invalid(
                spec,
                problem,
                "The settings of pg_tock hold for the whole server.",
            ));
        }
        if let Some(hint) = identity_hint(name) {
            let problem = format!("\"{quoted}\" cannot be set for a job");
            return Err(invalid(spec, problem, hint));
        }
        if setting_text(value).is_none() {
            let problem = format!("setting \"{quoted}\" is {}", type_name(value));
            return Err(invalid(spec, problem, "Values are strings, numbers or booleans."));
        }
        if value.as_str().is_some_and(|text| text.contains('\0')) {
            return Err(invalid(spec, format!("setting \"{quoted}\" holds a NUL character"), ""));
        }
    }
    Ok(())
}

/// What to do instead of setting what says as whom a session acts.
fn identity_hint(name: &str) -> Option<&'static str> {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    (is("role") || is("session_authorization") || is("is_superuser"))
        .then_some("Option \"username\" says as which role the job runs.")
}

/// The value of a setting as SET takes it; None for what is no string, number or boolean.
#[must_use]
pub fn setting_text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(on) => Some(if *on { "on" } else { "off" }.to_owned()),
        _ => None,
    }
}

fn not_empty<'a>(spec: &Spec, text: &'a str) -> Result<&'a str, OptionError> {
    if text.trim().is_empty() { Err(invalid(spec, "it is empty", "")) } else { Ok(text) }
}

fn name<'a>(spec: &Spec, text: &'a str) -> Result<&'a str, OptionError> {
    if text.len() > MOST_NAME {
        return Err(invalid(spec, format!("it has more than {MOST_NAME} bytes"), ""));
    }
    not_empty(spec, text)
}

fn texts(
    spec: &Spec,
    given: &[Json],
    wrong: impl Fn() -> OptionError,
) -> Result<Vec<String>, OptionError> {
    if given.len() > MOST_ITEMS {
        return Err(invalid(spec, format!("it has more than {MOST_ITEMS} items"), ""));
    }
    let mut texts: Vec<String> = Vec::with_capacity(given.len());
    for item in given {
        let text = item.as_str().ok_or_else(&wrong)?;
        if text.trim().is_empty() {
            return Err(invalid(spec, "it has an item that is empty", ""));
        }
        if text.len() > MOST_NAME {
            let problem = format!("it has an item of more than {MOST_NAME} bytes");
            return Err(invalid(spec, problem, ""));
        }
        if texts.iter().any(|other| other == text) {
            let problem = format!("it names \"{}\" twice", excerpt(text));
            return Err(invalid(spec, problem, ""));
        }
        texts.push(text.to_owned());
    }
    Ok(texts)
}

fn span(spec: &Spec, text: &str, most: i64, server: &dyn Server) -> Result<i64, OptionError> {
    let interval = server
        .interval(text)
        .map_err(|problem| invalid(spec, problem, "Write an interval such as 90 seconds."))?;
    if interval.months != 0 {
        let problem = format!("\"{}\" has months or years", excerpt(text));
        return Err(invalid(spec, problem, "They have no fixed length; write days."));
    }
    let micros = i64::from(interval.days)
        .checked_mul(DAY)
        .and_then(|days| days.checked_add(interval.micros));
    match micros {
        Some(micros) if (0..=most).contains(&micros) => Ok(micros),
        _ => Err(invalid(
            spec,
            format!("\"{}\" is out of range", excerpt(text)),
            format!("It is from 0 to {} days.", most / DAY),
        )),
    }
}

fn time_zone<'a>(spec: &Spec, name: &'a str, server: &dyn Server) -> Result<&'a str, OptionError> {
    if let Err(error) = Zone::resolve(name) {
        return Err(invalid(spec, error.to_string(), error.hint()));
    }
    if !server.has_zone(name) {
        return Err(invalid(
            spec,
            format!("time zone \"{}\" is not known to the server", excerpt(name)),
            ZONE_HINT,
        ));
    }
    Ok(name)
}

/// What to do about a zone that pg_tock knows and the server does not.
pub const ZONE_HINT: &str = "The server's time zone data are another release than pg_tock's; \
     use a name that pg_timezone_names lists.";

fn window<'a>(spec: &Spec, text: &'a str) -> Result<&'a str, OptionError> {
    match RunWindow::parse(text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let before = text.get(..error.at()).unwrap_or(text);
            let problem = format!("{error}, at character {}", before.chars().count() + 1);
            Err(invalid(spec, problem, error.hint()))
        }
    }
}

/// A JSON type, with its article.
pub(crate) const fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
