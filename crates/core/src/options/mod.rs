//! The options of a job: their names, types and limits.
//!
//! Owns the one list of them, [`OPTIONS`]. Arguments of `cron.create_job`, keys of `cron.set_job`
//! and columns of `cron.job` have these names; a new option is a line here, an argument there and
//! a column. An option that is `null` or absent has its default.

mod canonical;
mod error;
mod stored;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::alert::{MOST_FAILURES, MOST_TIMES};
use crate::quote::excerpt;
use crate::time::Timestamp;

pub use canonical::interval;
pub use error::OptionError;
pub use stored::Stored;
use value::read_value;
pub(crate) use value::type_name;
pub use value::{ZONE_HINT, setting_text};

/// Options by name, as JSON has them.
pub type Document = Map<String, Json>;

/// The most items a list may have.
const MOST_ITEMS: usize = 100;

/// The most bytes of a name: of a job, a queue, a calendar, a tag.
pub const MOST_NAME: usize = 1_000;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text with at least one character that is not white space.
    Text,
    /// As text, and at most [`MOST_NAME`] bytes.
    Name,
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
    /// A whole number between these two, which are in range.
    Count(i32, i32),
    /// A number between these two, which are in range.
    Factor(f64, f64),
    /// 0 for never, or a number from 1 to this.
    Times(f64),
    /// An object of settings and their values: strings, numbers or booleans.
    Settings,
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
/// The longest most intervals can be: a century.
const MOST_DAYS: i64 = 36_525;

/// Every option, in the order of the arguments of `cron.create_job`.
pub const OPTIONS: &[Spec] = &[
    required("schedule", Kind::Text),
    required("command", Kind::Text),
    option("database", Kind::Text),
    option("username", Kind::Text),
    option("active", Kind::Flag),
    option("timezone", Kind::TimeZone),
    option("timeout", Kind::Span(MOST_DAYS * DAY)),
    option("max_attempts", Kind::Count(1, 1_000_000)),
    option("retry_delay", Kind::Span(MOST_DAYS * DAY)),
    option("retry_backoff", Kind::Factor(1.0, 1_000.0)),
    option("retry_max_delay", Kind::Span(MOST_DAYS * DAY)),
    option("retry_on", Kind::Word(&["transient", "any"])),
    option("retry_on_crash", Kind::Flag),
    option("on_overlap", Kind::Word(&["queue", "skip", "allow", "replace"])),
    option("max_concurrency", Kind::Count(1, 1_000_000)),
    option("on_missed", Kind::Word(&["skip", "once", "all"])),
    option("missed_window", Kind::Span(MOST_DAYS * DAY)),
    option("dst_policy", Kind::Word(&["cron", "wall"])),
    option("jitter", Kind::Span(7 * DAY)),
    option("run_window", Kind::Window),
    option("skip_on", Kind::Texts),
    option("only_on", Kind::Texts),
    option("run_if", Kind::Text),
    option("run_after", Kind::Texts),
    option("priority", Kind::Count(-100, 100)),
    option("queue", Kind::Name),
    option("settings", Kind::Settings),
    option("tags", Kind::Texts),
    option("description", Kind::Remark),
    option("session", Kind::Word(&["reuse", "fresh"])),
    option("stuck_after", Kind::Span(MOST_DAYS * DAY)),
    option("keep_runs", Kind::Count(0, 1_000_000)),
    option("keep_days", Kind::Count(0, 36_525)),
    option("alert_after_failures", Kind::Count(0, MOST_FAILURES)),
    option("alert_if_slower", Kind::Span(MOST_DAYS * DAY)),
    option("alert_if_absent", Kind::Span(MOST_DAYS * DAY)),
    option("alert_below_success", Kind::Factor(0.0, 100.0)),
    option("alert_job", Kind::Name),
    option("alert_if_times_slower", Kind::Times(MOST_TIMES)),
    option("on_stuck", Kind::Word(&["alert", "cancel"])),
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
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, word, zone or window.
    Text(String),
    /// true or false.
    Flag(bool),
    /// Microseconds.
    Span(i64),
    /// A list, with at least one item.
    Texts(Vec<String>),
    /// A whole number.
    Count(i32),
    /// A number.
    Factor(f64),
    /// Settings, at least one.
    Settings,
}

/// The checked options of one job.
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// A whole number; `None` = default.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<i32> {
        match self.values.get(name)? {
            Value::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// A number; `None` = default.
    #[must_use]
    pub fn factor(&self, name: &str) -> Option<f64> {
        match self.values.get(name)? {
            Value::Factor(factor) => Some(*factor),
            _ => None,
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
        if let Some((delay, most)) = self.span("retry_delay").zip(self.span("retry_max_delay"))
            && most < delay
        {
            return Err(OptionError::Conflict {
                first: "retry_delay",
                second: "retry_max_delay",
                problem: "the longest delay is shorter than the first".to_owned(),
                hint: "Raise retry_max_delay, or lower retry_delay.",
            });
        }
        // A job that does not say has the default, which may be changed at any time.
        let overlap = self.text("on_overlap");
        if self.count("max_concurrency").is_some() && overlap.is_some_and(|word| word != "allow") {
            return Err(OptionError::Conflict {
                first: "max_concurrency",
                second: "on_overlap",
                problem: "only jobs whose runs may overlap can have several at once".to_owned(),
                hint: "Set on_overlap to \"allow\", or take max_concurrency out.",
            });
        }
        // Without stuck_after there may be a default, now or later.
        if self.text("on_stuck") == Some("cancel") && self.span("stuck_after") == Some(0) {
            return Err(OptionError::Conflict {
                first: "on_stuck",
                second: "stuck_after",
                problem: "with 0 no run ever counts as stuck".to_owned(),
                hint: "Set stuck_after to how long a run may be silent, or leave on_stuck out.",
            });
        }
        Ok(())
    }
}

/// A part of an option's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// An item of a list, counted from 0.
    Item(usize),
    /// A member of an object.
    Member(String),
}

/// The first part of an option's value that is wrong by itself; None if there is none, or no such option.
#[must_use]
pub fn wrong_part(option: &str, given: &Json, server: &dyn Server) -> Option<Part> {
    let spec = spec(option)?;
    let fits = |value: Json| read_value(spec, &value, server).is_ok();
    match given {
        // A list or object that the option does not take at all has no part that is to blame.
        Json::Array(items) if fits(Json::Array(Vec::new())) => {
            items.iter().position(|item| !fits(Json::Array(vec![item.clone()]))).map(Part::Item)
        }
        Json::Object(members) if fits(Json::Object(Document::new())) => {
            let alone = |(name, value): &(&String, &Json)| {
                !fits(Document::from_iter([((*name).clone(), (*value).clone())]).into())
            };
            members.iter().find(alone).map(|(name, _)| Part::Member(name.clone()))
        }
        _ => None,
    }
}

/// The option of this name.
fn spec(name: &str) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| spec.name == name)
}
