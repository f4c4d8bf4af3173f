//! The rules of HTTP runs: what may be asked for, whom it may reach, what an answer means.
//!
//! Nothing here sends anything. The sender (crate `pg_tock_http`) and the SQL functions follow
//! these rules alike, so that what is refused when a job is written is also refused when it is
//! sent.

pub mod access;
pub mod address;
pub mod document;
pub mod gate;
pub mod header;
pub mod mask;
pub mod occurrence;
pub mod outcome;
pub mod redirect;
pub mod request;
pub mod retry_after;
pub mod status;
pub mod template;
pub mod text;
pub mod url;
pub mod wire;

use std::fmt;

/// Why a part of a request was refused. `Display` is the problem, in Postgres message style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    argument: &'static str,
    problem: String,
    hint: &'static str,
}

impl Refused {
    pub(crate) fn new(
        argument: &'static str,
        problem: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Self { argument, problem: problem.into(), hint }
    }

    /// The argument of `cron.create_http_job`, or the setting, that is wrong.
    #[must_use]
    pub const fn argument(&self) -> &'static str {
        self.argument
    }

    /// A sentence that says what to write instead.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.hint
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Refused {}
