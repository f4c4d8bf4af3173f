//! Why options of a job were refused.
//!
//! Owns one invariant: an error names the option, and says what would have been right; where a
//! name is wrong, its hint lists every option there is.

use super::OPTIONS;

/// What is wrong with the options given. `Display` is the message, in Postgres style.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The options are not an object; the text is the type they have.
    #[error("options must be an object, not {0}")]
    NotAnObject(&'static str),
    /// There is no option of this name.
    #[error("unknown option \"{0}\"")]
    Unknown(String),
    /// The value has another type than the option.
    #[error("option \"{option}\" must be {expected}")]
    WrongType {
        /// Name of the option.
        option: &'static str,
        /// What it takes, with its article.
        expected: String,
        /// The value given, cut, and its type.
        given: String,
        /// How such a value is written, a sentence.
        hint: String,
    },
    /// The option has no default, and got no value.
    #[error("option \"{0}\" must have a value")]
    Required(&'static str),
    /// The value is of the right type, and cannot be used.
    #[error("invalid value for option \"{option}\": {problem}")]
    Invalid {
        /// Name of the option.
        option: &'static str,
        /// What is wrong.
        problem: String,
        /// What to write instead, a sentence; may be empty.
        hint: String,
    },
    /// Two options do not go together.
    #[error("options \"{first}\" and \"{second}\" do not go together: {problem}")]
    Conflict {
        /// Name of one.
        first: &'static str,
        /// Name of the other.
        second: &'static str,
        /// What is wrong.
        problem: String,
        /// What to write instead, a sentence.
        hint: &'static str,
    },
}

impl OptionError {
    /// What the value was, as a sentence.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::WrongType { given, .. } => Some(format!("The value given is {given}.")),
            _ => None,
        }
    }

    /// What to do, as a sentence.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAnObject(_) | Self::Unknown(_) => {
                let names: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
                Some(format!("The options are {}.", names.join(", ")))
            }
            Self::WrongType { hint, .. } => Some(hint.clone()),
            Self::Required(_) => Some("It has no default, so it cannot be null.".to_owned()),
            Self::Invalid { hint, .. } => (!hint.is_empty()).then(|| hint.clone()),
            Self::Conflict { hint, .. } => Some((*hint).to_owned()),
        }
    }
}
