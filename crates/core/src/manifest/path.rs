//! Where something stands in a JSON document, as SQL/JSON paths have it.

use crate::quote::excerpt;

/// A place in a document: `$.jobs[3].retry_delay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The document as a whole.
    #[must_use]
    pub fn root() -> Self {
        Self("$".to_owned())
    }

    /// The job at this place of the list.
    #[must_use]
    pub fn job(place: usize) -> Self {
        Self::root().member("jobs").item(place)
    }

    /// A member of the object that stands here. A name that is no identifier is quoted.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        let plain = !name.is_empty()
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain {
            Self(format!("{}.{}", self.0, excerpt(name)))
        } else {
            Self(format!("{}.\"{}\"", self.0, excerpt(name).replace('"', "\\\"")))
        }
    }

    /// An item of the list that stands here, counted from 0.
    #[must_use]
    pub fn item(&self, place: usize) -> Self {
        Self(format!("{}[{place}]", self.0))
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
