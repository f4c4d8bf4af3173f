//! What users wrote, as messages show it.
//!
//! Owns one invariant: a quotation has a bounded length, and nothing in it moves a terminal's
//! cursor or breaks a log's line.

/// The most characters of a user's text that a message shows.
pub const SHOWN: usize = 60;

/// `text` for a message: its first [`SHOWN`] characters, then `…` if there are more; control
/// characters are escaped as in Rust (`\n`, `\u{1}`).
///
/// ```
/// use pg_tock_core::quote::excerpt;
///
/// assert_eq!(excerpt("holidays\n"), "holidays\\n");
/// assert!(excerpt(&"x".repeat(1_000)).ends_with("x…"));
/// ```
#[must_use]
pub fn excerpt(text: &str) -> String {
    cut(text, SHOWN)
}

/// As [`excerpt`], with a limit of the caller's.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// `text` as a string literal of SQL, whatever `standard_conforming_strings` is.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

/// `name` as an identifier of SQL, in quotes, so that no keyword is in the way.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_shown_whole() {
        for text in ["", "a \"b\" 'c' \\d", "ü".repeat(SHOWN).as_str()] {
            assert_eq!(excerpt(text), text);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(excerpt(&"ü".repeat(SHOWN + 1)), format!("{}…", "ü".repeat(SHOWN)));
        assert_eq!(cut("abcd", 3), "abc…");
        assert!(excerpt(&"\u{85}".repeat(1_000_000)).len() < 500);
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(ident("Bob \"x\""), "\"Bob \"\"x\"\"\"");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(excerpt("\u{1}a\r\n\tb\u{1b}[2J\u{7f}"), "\\u{1}a\\r\\n\\tb\\u{1b}[2J\\u{7f}");
    }
}
