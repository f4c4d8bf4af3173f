//! A position in a schedule's text.
//!
//! Owns one invariant: nothing reads past the end, and every position handed out is a byte offset
//! on a character boundary (only ASCII bytes are ever consumed one by one).

/// Reads a schedule's text from left to right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte offset of what comes next.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The text not yet read.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte, if any.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next character as shown in a message: quoted, or `end of text`.
    pub(super) fn shown(&self) -> String {
        self.rest().chars().next().map_or_else(
            || "end of text".to_owned(),
            |c| {
                if c.is_control() {
                    format!("\"{}\"", c.escape_default())
                } else {
                    format!("\"{c}\"")
                }
            },
        )
    }

    /// What comes next up to white space, as shown in a message without quotes.
    pub(super) fn shown_word(&self) -> String {
        shown(self.rest().split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default())
    }

    /// Reads one byte if it is this ASCII byte.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// Skips bytes that the caller has looked at and found to be whole characters.
    pub(super) const fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Reads bytes as long as they pass; non-ASCII characters are read whole.
    pub(super) fn take_while(&mut self, pass: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.find(|c| !pass(c)).unwrap_or(rest.len());
        self.at += taken;
        rest.get(..taken).unwrap_or_default()
    }

    /// Reads a run of ASCII letters and digits.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric())
    }

    /// Reads spaces and tabs.
    pub(super) fn blanks(&mut self) {
        self.take_while(is_blank);
    }

    /// Reads leading blanks, empty lines and lines that begin with `#`.
    pub(super) fn comments(&mut self) {
        loop {
            self.blanks();
            match self.peek() {
                Some(b'#') => {
                    self.take_while(|c| c != '\n');
                    if !self.eat(b'\n') {
                        return;
                    }
                }
                Some(b'\n') => self.at += 1,
                _ => return,
            }
        }
    }

    /// Whether a field or item may end here: a blank, a line's end or the text's end.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n'))
    }
}

/// Part of a schedule for a message, cut and without control characters.
pub(super) fn shown(text: &str) -> String {
    crate::quote::cut(text, 24)
}

/// Spaces and tabs part fields; nothing else does.
pub(super) const fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}
