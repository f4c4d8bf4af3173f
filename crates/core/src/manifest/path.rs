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

/// What is open at some place of a text.
enum Level {
    List(usize),
    /// The member that is being read, and whether a name comes next.
    Object(Option<String>, bool),
}

impl Path {
    /// What a JSON text is about at this byte, as far as it is JSON before.
    #[must_use]
    pub fn at(json: &str, byte: usize) -> Self {
        let mut levels: Vec<Level> = Vec::new();
        let mut rest = json.get(..byte).unwrap_or(json);
        while let Some(c) = rest.chars().next() {
            let mut length = c.len_utf8();
            match (c, levels.last_mut()) {
                ('[', _) => levels.push(Level::List(0)),
                ('{', _) => levels.push(Level::Object(None, true)),
                (']' | '}', _) => drop(levels.pop()),
                (',', Some(Level::List(place))) => *place += 1,
                (',', Some(Level::Object(name, expected))) => (*name, *expected) = (None, true),
                ('"', level) => {
                    length = string(rest);
                    if let Some(Level::Object(name, expected @ true)) = level {
                        *expected = false;
                        *name = rest.get(..length).and_then(|text| serde_json::from_str(text).ok());
                    }
                }
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        levels.iter().fold(Self::root(), |path, level| match level {
            Level::List(place) => path.item(*place),
            Level::Object(Some(name), _) => path.member(name),
            Level::Object(None, _) => path,
        })
    }
}

/// How many bytes of a text the string takes that it begins with.
fn string(text: &str) -> usize {
    let mut escaped = true; // the quote it begins with does not end it
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_text_has_a_path() {
        let json = r#"{"jobs": [{"a": 1}, {"job_name": "x\"]},{", "max attempts": [7, {"b": 1e400}], "c": 2}]}"#;
        for (part, path) in [
            ("{", "$"),
            (": 1}", "$.jobs[0].a"),
            ("x\\", "$.jobs[1].job_name"),
            ("7,", "$.jobs[1].\"max attempts\"[0]"),
            ("1e400", "$.jobs[1].\"max attempts\"[1].b"),
            ("2}", "$.jobs[1].c"),
        ] {
            let byte = json.find(part).unwrap() + usize::from(part != "{" && part != "x\\");
            assert_eq!(Path::at(json, byte).to_string(), path, "{part}");
        }
        for odd in ["", "]]}}", "\"", "{\"a", "{\"\\", "[[[{"] {
            for byte in 0..9 {
                assert!(Path::at(odd, byte).to_string().starts_with('$'));
            }
        }
    }
}
