//! What a job does, however it is written.
//!
//! Owns one invariant: jobs for which that is the same do the same, whatever server settings their
//! commands are read with. Of two for which it is not the same nothing is said.

use serde_json::json;

/// What decides what a job does when it is due.
#[derive(Clone, Copy, Debug)]
pub struct Doing<'a> {
    /// Its command, if it is SQL.
    pub command: Option<&'a str>,
    /// Its HTTP request: a document, of which every character counts.
    pub request: Option<&'a str>,
    /// Where it runs.
    pub database: &'a str,
    /// As whom.
    pub username: &'a str,
    /// The settings it runs with: a document whose keys are sorted.
    pub settings: Option<&'a str>,
    /// The condition under which it runs.
    pub run_if: Option<&'a str>,
    /// The jobs it starts after.
    pub run_after: &'a [String],
}

impl Doing<'_> {
    /// The same for jobs that do the same.
    #[must_use]
    pub fn key(&self) -> String {
        let mut after: Vec<&String> = self.run_after.iter().collect();
        after.sort_unstable();
        after.dedup();
        json!([
            self.command.map(normalize),
            self.request,
            self.database,
            self.username,
            self.settings,
            self.run_if.map(normalize),
            after,
        ])
        .to_string()
    }
}

/// A command without comments, with one blank where there is white space, in lower case outside
/// quotes, and without semicolons at its end. Two commands that come out alike do the same; of two
/// that do not nothing is said.
#[must_use]
pub fn normalize(command: &str) -> String {
    let mut out = String::with_capacity(command.len());
    let mut rest = command;
    while let Some(first) = rest.chars().next() {
        let (length, token) = token(rest, first);
        let (part, after) = rest.split_at(length);
        rest = after;
        match token {
            Token::Blank if out.is_empty() || out.ends_with(' ') => {}
            Token::Blank => out.push(' '),
            Token::Quoted => out.push_str(part),
            // As Postgres does it: what is not ASCII stays as it is.
            Token::Word => out.push_str(&part.to_ascii_lowercase()),
        }
    }
    out.trim_end_matches([' ', ';']).to_owned()
}

/// What something in a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// White space, or a comment.
    Blank,
    /// Something of which every character counts.
    Quoted,
    /// A name, a keyword, a sign.
    Word,
}

/// What begins here, and its length.
fn token(text: &str, first: char) -> (usize, Token) {
    match first {
        ' ' | '\t' | '\n' | '\r' | '\x0c' => (1, Token::Blank),
        '-' if text.starts_with("--") => {
            (text.find(['\n', '\r']).unwrap_or(text.len()), Token::Blank)
        }
        '/' if text.starts_with("/*") => (block_comment(text), Token::Blank),
        '\'' => (string(text), Token::Quoted),
        '"' => (text[1..].find('"').map_or(text.len(), |end| end + 2), Token::Quoted),
        '$' => dollar_quoted(text).map_or((1, Token::Word), |length| (length, Token::Quoted)),
        'e' | 'E' if text[1..].starts_with('\'') => (escape_string(text), Token::Quoted),
        first if begins_name(first) => {
            let inside = |c: char| begins_name(c) || c.is_ascii_digit() || c == '$';
            (text.find(|c| !inside(c)).unwrap_or(text.len()), Token::Word)
        }
        other => (other.len_utf8(), Token::Word),
    }
}

/// All that is not ASCII may be in a name, white space included.
const fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// The length of `'…'`. With a backslash before the quote that ends it, what it is depends on
/// `standard_conforming_strings` or on the string it continues: then all that follows belongs to it.
fn string(text: &str) -> usize {
    match text[1..].find('\'').map(|end| end + 2) {
        Some(end) if !text[..end - 1].ends_with('\\') => end,
        _ => text.len(),
    }
}

/// The length of `E'…'`.
fn escape_string(text: &str) -> usize {
    let mut rest = text.char_indices().skip(2);
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            // One that is doubled begins what looks like another string.
            '\'' if text[at + 1..].starts_with('\'') => drop(rest.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Comments in C's style nest in SQL.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `$tag$…$tag$`; `None` if this is no such thing.
fn dollar_quoted(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let name = &tag[1..end - 1];
    if name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(|c| begins_name(c) || c.is_ascii_digit())
    {
        return None;
    }
    Some(text[end..].find(tag).map_or(text.len(), |close| end + close + tag.len()))
}
