//! What a command does, however it is laid out.

/// A command without comments, with one blank where there is white space, in lower case outside
/// quotes, and without semicolons at its end. Two commands that come out alike do the same; of two
/// that do not nothing is said.
#[must_use]
pub fn normalize(command: &str) -> String {
    let mut out = String::with_capacity(command.len());
    let mut rest = command;
    while let Some(first) = rest.chars().next() {
        let length = token(rest, first);
        let (part, after) = rest.split_at(length);
        rest = after;
        if first.is_whitespace() || part.starts_with("--") || part.starts_with("/*") {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else if matches!(first, '\'' | '"') || (first == '$' && length > 1) {
            out.push_str(part);
        } else {
            out.extend(part.chars().flat_map(char::to_lowercase));
        }
    }
    out.trim_end_matches([' ', ';']).to_owned()
}

/// The length of what begins here: a comment, something in quotes, or one character.
fn token(text: &str, first: char) -> usize {
    let inside = || &text[first.len_utf8()..];
    match first {
        '\'' | '"' => inside().find(first).map_or(text.len(), |end| end + 2),
        '-' if text.starts_with("--") => text.find('\n').unwrap_or(text.len()),
        '/' if text.starts_with("/*") => block_comment(text),
        '$' => dollar_quoted(text).unwrap_or(1),
        other => other.len_utf8(),
    }
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
        || !name.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return None;
    }
    Some(text[end..].find(tag).map_or(text.len(), |close| end + close + tag.len()))
}
