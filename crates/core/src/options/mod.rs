//! The options of a job: their names, types and limits.
//!
//! Owns the one list of them, [`OPTIONS`]. Arguments of `cron.create_job`, keys of `cron.set_job`
//! and columns of `cron.job` have these names; a new option is a line here, an argument there and
//! a column. An option that is `null` or absent has its default.

mod error;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::plan::RunWindow;
use crate::quote::excerpt;
use crate::schedule::Zone;
use crate::time::Timestamp;

pub use error::OptionError;

/// Options by name, as JSON has them.
pub type Document = Map<String, Json>;

/// The most items a list may have.
const MOST_ITEMS: usize = 100;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text with at least one character that is not white space.
    Text,
    /// Text that may be empty.
    Remark,
    /// true or false.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An interval without months, from nothing to this many microseconds.
    Span(i64),
    /// A list of texts that are not empty.
    Texts,
    /// The name of a time zone that both the server and the zone table know.
    TimeZone,
    /// A run window.
    Window,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name of the argument, key and column.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it has no default.
    pub required: bool,
}

const fn option(name: &'static str, kind: Kind) -> Spec {
    Spec { name, kind, required: false }
}

const fn required(name: &'static str, kind: Kind) -> Spec {
    Spec { name, kind, required: true }
}

const DAY: i64 = 86_400 * Timestamp::SECOND;

/// Every option, in the order of the arguments of `cron.create_job`.
pub const OPTIONS: &[Spec] = &[
    required("schedule", Kind::Text),
    required("command", Kind::Text),
    option("database", Kind::Text),
    option("username", Kind::Text),
    option("active", Kind::Flag),
    option("timezone", Kind::TimeZone),
    option("description", Kind::Remark),
    option("tags", Kind::Texts),
    option("dst_policy", Kind::Word(&["cron", "wall"])),
    option("jitter", Kind::Span(7 * DAY)),
    option("run_window", Kind::Window),
    option("skip_on", Kind::Texts),
    option("only_on", Kind::Texts),
    option("on_missed", Kind::Word(&["skip", "once", "all"])),
    option("missed_window", Kind::Span(36_525 * DAY)),
];

/// What only the server can say about a value.
pub trait Server {
    /// Reads an interval.
    ///
    /// # Errors
    /// It is none; the text is the problem, in Postgres style.
    fn interval(&self, text: &str) -> Result<Interval, String>;

    /// Whether the server has a time zone of this name.
    fn has_zone(&self, name: &str) -> bool;
}

/// An interval as Postgres has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Whole months, which have no fixed length.
    pub months: i32,
    /// Whole days, taken as 24 hours.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, word, zone or window.
    Text(String),
    /// true or false.
    Flag(bool),
    /// Microseconds.
    Span(i64),
    /// A list, with at least one item.
    Texts(Vec<String>),
}

/// The checked options of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<&'static str, Value>,
    document: Document,
}

/// `current` with `patch` over it: what the patch names is replaced, `null` takes it away.
///
/// # Errors
/// The patch is not an object, or has a key that is no option. `current` may have any keys; those
/// that are no options are left out.
pub fn merge(mut current: Document, patch: Json) -> Result<Document, OptionError> {
    let Json::Object(patch) = patch else {
        return Err(OptionError::NotAnObject(type_name(&patch)));
    };
    current.retain(|name, value| spec(name).is_some() && !value.is_null());
    for (name, value) in patch {
        if spec(&name).is_none() {
            return Err(OptionError::Unknown(excerpt(&name)));
        }
        if value.is_null() {
            current.remove(&name);
        } else {
            current.insert(name, value);
        }
    }
    Ok(current)
}

impl Options {
    /// Reads and checks all options of a job, each and together.
    ///
    /// # Errors
    /// A key is no option, a required option is missing, a value has the wrong type or is out of
    /// range, or two of them do not go together.
    pub fn read(document: Document, server: &dyn Server) -> Result<Self, OptionError> {
        let mut options = Self::default();
        if let Some(stranger) = document.keys().find(|name| spec(name).is_none()) {
            return Err(OptionError::Unknown(excerpt(stranger)));
        }
        for spec in OPTIONS {
            let given = document.get(spec.name).filter(|value| !value.is_null());
            let value = given.map(|value| read_value(spec, value, server)).transpose()?.flatten();
            match (given, value) {
                (Some(given), Some(value)) => {
                    options.values.insert(spec.name, value);
                    options.document.insert(spec.name.to_owned(), given.clone());
                }
                _ if spec.required => return Err(OptionError::Required(spec.name)),
                _ => {}
            }
        }
        options.check_together()?;
        Ok(options)
    }

    /// The options as JSON, without those that have their default.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// A text, word, zone or window; `None` = default.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag; `None` = default.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.values.get(name)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// An interval in microseconds; `None` = default.
    #[must_use]
    pub fn span(&self, name: &str) -> Option<i64> {
        match self.values.get(name)? {
            Value::Span(micros) => Some(*micros),
            _ => None,
        }
    }

    /// A list; empty = default.
    #[must_use]
    pub fn texts(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    fn check_together(&self) -> Result<(), OptionError> {
        let skipped = self.texts("skip_on");
        if let Some(both) = self.texts("only_on").iter().find(|name| skipped.contains(name)) {
            return Err(OptionError::Conflict {
                first: "skip_on",
                second: "only_on",
                problem: format!("both name calendar \"{}\"", excerpt(both)),
                hint: "A day in skip_on never runs, whatever only_on says.",
            });
        }
        Ok(())
    }
}

/// The option of this name.
fn spec(name: &str) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| spec.name == name)
}

/// Reads one value; `None` = it means the default.
fn read_value(
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
        Kind::Flag => Value::Flag(given.as_bool().ok_or_else(wrong)?),
        Kind::Word(words) => match given.as_str() {
            Some(word) if words.contains(&word) => Value::Text(word.to_owned()),
            _ => return Err(wrong()),
        },
        Kind::Span(most) => Value::Span(span(spec, text()?, most, server)?),
        Kind::TimeZone => Value::Text(time_zone(spec, text()?, server)?.to_owned()),
        Kind::Window => Value::Text(window(spec, text()?)?.to_owned()),
        Kind::Texts => {
            let texts = texts(spec, given.as_array().ok_or_else(wrong)?, wrong)?;
            return Ok((!texts.is_empty()).then_some(Value::Texts(texts)));
        }
    }))
}

/// What an option takes, with its article.
fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Remark => "text".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Word(words) => match words {
            [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.join(", "),
        },
        Kind::Span(_) => "an interval as text, such as \"10 minutes\"".to_owned(),
        Kind::Texts => "a list of texts".to_owned(),
        Kind::TimeZone => "the name of a time zone as text".to_owned(),
        Kind::Window => "a run window as text, such as \"mon-fri 09:00-17:00\"".to_owned(),
    }
}

/// How a value of an option is written, as a sentence.
fn usage(kind: Kind, given: &Json) -> String {
    match kind {
        Kind::Text | Kind::Remark => "Write text in quotes.".to_owned(),
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
    }
}

fn invalid(spec: &Spec, problem: impl Into<String>, hint: impl Into<String>) -> OptionError {
    OptionError::Invalid { option: spec.name, problem: problem.into(), hint: hint.into() }
}

fn not_empty<'a>(spec: &Spec, text: &'a str) -> Result<&'a str, OptionError> {
    if text.trim().is_empty() { Err(invalid(spec, "it is empty", "")) } else { Ok(text) }
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
const fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
