//! What can be wrong with a document of jobs.

use crate::http::Refused;
use crate::options::OptionError;

use super::Path;

/// What is wrong, and where. `Display` is the message: the path, then the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Flaw {
    /// Where it stands in the document.
    pub path: Path,
    /// What it is.
    pub problem: Problem,
}

/// What is wrong with a part of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An option of a job.
    #[error("{0}")]
    Option(OptionError),
    /// A part of a job's request.
    #[error("{0}")]
    Request(Refused),
    /// How the document is made.
    #[error("{problem}")]
    Form {
        /// What is wrong.
        problem: String,
        /// What to write instead, a sentence; may be empty.
        hint: String,
    },
}

impl Flaw {
    pub(super) fn form(path: Path, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path, problem: Problem::Form { problem: problem.into(), hint: hint.into() } }
    }

    /// JSON that cannot be read: a number nothing here can hold, or lists in lists without end.
    #[must_use]
    pub fn unread(path: Path, error: &serde_json::Error) -> Self {
        let problem = error.to_string();
        // The path says where.
        let problem = problem.split_once(" at line ").map_or(problem.as_str(), |(what, _)| what);
        Self::form(path, problem, "")
    }

    /// What was found there, as a sentence.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match &self.problem {
            Problem::Option(error) => error.detail(),
            Problem::Request(_) | Problem::Form { .. } => None,
        }
    }

    /// What to do, as a sentence.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.problem {
            Problem::Option(error) => error.hint(),
            Problem::Request(refused) => Some(refused.hint().to_owned()),
            Problem::Form { hint, .. } => (!hint.is_empty()).then(|| hint.clone()),
        }
    }
}
