//! Why a schedule or a zone name was refused.
//!
//! Owns one invariant: an error always names the part that is wrong and the byte where it begins,
//! so that SQL can raise it with a DETAIL and a HINT, and an editor can underline it.

use std::fmt;

/// What is wrong with a schedule's text. `Display` is the problem, in Postgres message style
/// (lower case, no full stop).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    field: &'static str,
    at: usize,
    problem: String,
    hint: String,
}

impl ScheduleError {
    pub(super) fn new(
        field: &'static str,
        at: usize,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { field, at, problem: problem.into(), hint: hint.into() }
    }

    /// The part of the schedule that is wrong: `minute`, `hour`, `day of month`, `month`,
    /// `day of week`, `second`, `interval`, `date`, `time`, `time zone`, `macro` or `schedule`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// Where it begins: a byte offset into the text given to `parse`, from 0, on a character
    /// boundary; equal to the text's length when something is missing at its end.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// A sentence that says what to write instead.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ScheduleError {}

/// Why a zone name was refused. `Display` is the problem, in Postgres message style.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ZoneError {
    problem: String,
    hint: String,
}

impl ZoneError {
    pub(super) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }

    /// A sentence that says what to write instead.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}
