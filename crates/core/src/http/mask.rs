//! Secrets in what servers say: found in whatever form they are echoed, and replaced by `***`.
//!
//! Owns one invariant: where the masked text has the characters of a secret in a row, they were not
//! put there by the secret. Each character may be raw, percent-encoded, escaped as in JSON or HTML,
//! in any mixture; the whole may be in base64 (either alphabet, also behind other bytes, as in
//! `Authorization: Basic`) or hexadecimal. A secret that is cut off at the end of a text that was
//! cut is masked from its third character on.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// A base64 form shorter than this is in too many texts by chance.
const SHORTEST_BASE64: usize = 6;

/// A part of a secret that is shorter than this says too little to be looked for on its own.
const SHORTEST_PART: usize = 6;

/// How many characters of a secret at the end of a cut text are taken for the secret.
const SHORTEST_TORN: usize = 3;

/// Finds a set of secrets in bytes.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    /// Every text to look for, never empty; each may appear in any escaped form.
    needles: Vec<Secret>,
}

impl Masker {
    /// For these secrets. Empty ones are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut needles: Vec<Secret> = Vec::new();
        for secret in secrets {
            for value in parts(secret.expose()) {
                add(&mut needles, value.expose());
            }
        }
        Self { needles }
    }

    /// Whether there is anything to mask.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Whether a secret is in these bytes.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        !self.places(bytes, false).is_empty()
    }

    /// The bytes with each secret replaced by [`MASK`]. `cut` says that something followed them, so
    /// that the beginning of a secret at their end is masked too.
    #[must_use]
    pub fn mask(&self, bytes: &[u8], cut: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for place in self.places(bytes, cut) {
            out.extend_from_slice(bytes.get(done..place.start).unwrap_or_default());
            out.extend_from_slice(MASK.as_bytes());
            done = place.end;
        }
        out.extend_from_slice(bytes.get(done..).unwrap_or_default());
        out
    }

    /// The text with each secret replaced by [`MASK`].
    #[must_use]
    pub fn mask_text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        // Needles begin and end on character boundaries, so this is UTF-8 again.
        String::from_utf8_lossy(&self.mask(text.as_bytes(), false)).into_owned()
    }

    /// Where secrets are: sorted and disjoint, the leftmost first and of those the longest.
    fn places(&self, bytes: &[u8], cut: bool) -> Vec<Range<usize>> {
        let mut first = [false; 256];
        for byte in self.needles.iter().filter_map(|needle| needle.expose().bytes().next()) {
            if let Some(known) = first.get_mut(usize::from(byte)) {
                *known = true;
            }
        }
        let begins = |byte: u8| {
            first.get(usize::from(byte)).copied().unwrap_or(false) || b"%\\&+".contains(&byte)
        };
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(skipped) =
            bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| begins(byte)))
        {
            if self.is_empty() {
                break;
            }
            at += skipped;
            let rest = bytes.get(at..).unwrap_or_default();
            let longest = self.needles.iter().filter_map(|needle| found(needle, rest, cut)).max();
            match longest {
                Some(length) => {
                    places.push(at..at + length);
                    at += length;
                }
                None => at += 1,
            }
        }
        places
    }
}

/// The value, and what a server may take out of it: the token of `Bearer token`, and what base64
/// hides, as in `Basic dXNlcjpwYXNz`, with the password alone.
fn parts(value: &str) -> Vec<Secret> {
    let mut parts = vec![Secret::new(value.to_owned())];
    let mut note = |part: &str| {
        if part.len() >= SHORTEST_PART {
            parts.push(Secret::new(part.to_owned()));
        }
    };
    let is_scheme = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let token = match value.split_once(' ') {
        Some((scheme, token)) if is_scheme(scheme) => token.trim(),
        _ => value,
    };
    if token.len() < value.len() {
        note(token);
    }
    let hidden = STANDARD_NO_PAD.decode(token.trim_end_matches('=')).map(Zeroizing::new);
    let text = hidden.as_ref().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
    // Chance would have put control characters in.
    if let Some(text) = text.filter(|text| !text.chars().any(char::is_control)) {
        note(text);
        note(text.split_once(':').map_or("", |(_, password)| password));
    }
    parts
}

/// Adds a value in the forms that are looked for.
fn add(needles: &mut Vec<Secret>, value: &str) {
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|nibble| digit(u32::from(nibble)));
    let hex: String = value.bytes().flat_map(digits).map(char::from).collect();
    let upper = hex.to_ascii_uppercase();
    let derived = base64_forms(value.as_bytes()).into_iter().chain([hex, upper]);
    for text in std::iter::once(value.to_owned()).chain(derived) {
        let needle = Secret::new(text);
        if !needle.expose().is_empty() && !needles.contains(&needle) {
            needles.push(needle);
        }
    }
}

/// The bytes' base64 at each of the three places they can have in a longer input, without the
/// characters that depend on their neighbours.
fn base64_forms(bytes: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for (before, start) in [(0, 0), (1, 2), (2, 3)] {
        let mut input = Zeroizing::new(vec![0; before]);
        input.extend_from_slice(bytes);
        let sure = input.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = Zeroizing::new(engine.encode(&*input));
            if let Some(form) = text.get(start..sure)
                && form.len() >= SHORTEST_BASE64
            {
                forms.push(form.to_owned());
            }
        }
    }
    forms
}

/// How many bytes at the front of `text` are the needle, if they are.
fn found(needle: &Secret, text: &[u8], cut: bool) -> Option<usize> {
    // Where the part of the text that is matched so far may end; rarely more than one place.
    let mut ends = vec![0];
    for (index, character) in needle.expose().chars().enumerate() {
        let mut next = Vec::with_capacity(1);
        let mut torn = false;
        for &end in &ends {
            let rest = text.get(end..).unwrap_or_default();
            for_each_form(character, |form, exact| {
                let length = form.len().min(rest.len());
                let same = match (rest.get(..length), form.get(..length)) {
                    (Some(a), Some(b)) if exact => a == b,
                    (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                    _ => false,
                };
                if same && length == form.len() {
                    if !next.contains(&(end + length)) {
                        next.push(end + length);
                    }
                } else if same {
                    torn = true;
                }
            });
        }
        if torn && cut && index >= SHORTEST_TORN {
            return Some(text.len());
        }
        if next.is_empty() {
            return None;
        }
        ends = next;
    }
    ends.into_iter().max()
}

/// The hexadecimal digit of the number's last four bits.
fn digit(number: u32) -> u8 {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    HEX.get((number & 15) as usize).copied().unwrap_or(b'0')
}

/// Calls `f` with every form a character can have, and whether upper and lower case differ in it.
fn for_each_form(character: char, mut f: impl FnMut(&[u8], bool)) {
    let mut buffer = [0; 4];
    let raw = character.encode_utf8(&mut buffer).as_bytes();
    f(raw, true);

    let mut percent = [b'%'; 12];
    for (place, &byte) in percent.chunks_exact_mut(3).zip(raw) {
        if let [_, high, low] = place {
            (*high, *low) = (digit(u32::from(byte) >> 4), digit(u32::from(byte)));
        }
    }
    f(percent.get(..raw.len() * 3).unwrap_or_default(), false);

    let mut units = [0; 2];
    let units = character.encode_utf16(&mut units);
    let mut escaped = *b"\\u0000\\u0000";
    for (place, &unit) in escaped.chunks_exact_mut(6).zip(&*units) {
        for (nibble, shift) in place.iter_mut().skip(2).zip([12, 8, 4, 0]) {
            *nibble = digit(u32::from(unit) >> shift);
        }
    }
    f(escaped.get(..units.len() * 6).unwrap_or_default(), false);

    let special: &[&str] = match character {
        ' ' => &["+"],
        '"' => &["\\\"", "&quot;", "&#34;", "&#x22;"],
        '\\' => &["\\\\"],
        '/' => &["\\/", "&#x2f;", "&#47;"],
        '\n' => &["\\n"],
        '\r' => &["\\r"],
        '\t' => &["\\t"],
        '\u{8}' => &["\\b"],
        '\u{c}' => &["\\f"],
        '&' => &["&amp;", "&#38;", "&#x26;"],
        '<' => &["&lt;", "&#60;", "&#x3c;"],
        '>' => &["&gt;", "&#62;", "&#x3e;"],
        '\'' => &["\\'", "&#39;", "&#x27;", "&apos;"],
        '+' => &["&#43;", "&#x2b;"],
        '=' => &["&#61;", "&#x3d;"],
        '`' => &["&#96;", "&#x60;"],
        _ => &[],
    };
    for form in special {
        f(form.as_bytes(), false);
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn masker(secret: &str) -> Masker {
        Masker::new([&Secret::new(secret.to_owned())])
    }

    fn masked(secret: &str, text: &str) -> String {
        masker(secret).mask_text(text)
    }

    #[test]
    fn raw_secrets_are_masked() {
        assert_eq!(
            masked("hunter2", "password hunter2, again hunter2hunter2"),
            "password ***, again ******"
        );
        assert_eq!(masked("hunter2", "hunter3 unter2"), "hunter3 unter2");
        assert_eq!(masked("grün", "so grün!"), "so ***!");
        assert!(Masker::default().is_empty());
        assert_eq!(Masker::default().mask_text("a%b"), "a%b");
    }

    #[test]
    fn escaped_secrets_are_masked() {
        let secret = "a/b+c=\"d\\é 😀<";
        for echo in [
            "a%2Fb%2Bc%3D%22d%5C%C3%A9%20%F0%9F%98%80%3C",
            "a%2fb%2bc%3d%22d%5c%c3%a9+%f0%9f%98%80%3c",
            "a\\/b+c=\\\"d\\\\\\u00e9 \\uD83D\\uDE00<",
            "a/b+c=&quot;d\\é 😀&lt;",
            "a/b&#43;c&#x3D;&#34;d\\é 😀&#60;",
            "%61/b+c=\"d\\é 😀\\u003c",
        ] {
            assert_eq!(masked(secret, &format!("<{echo}>")), "<***>", "{echo}");
        }
    }

    #[test]
    fn base64_is_masked_at_every_offset() {
        let secret = "p4ssw0rd/with+more";
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let basic = STANDARD.encode(format!("{before}{secret}{after}"));
                let out = masked(secret, &basic);
                assert!(out.contains(MASK), "{before} {after}");
                // Not more than a byte's worth at each side, which the neighbours share.
                assert!(
                    out.len() <= MASK.len() + 2 + (before.len() + after.len()) * 4 / 3 + 6,
                    "{out}"
                );
            }
        }
        assert_eq!(masked(secret, &STANDARD.encode(secret).replace('=', "%3D")), "***");
    }

    #[test]
    fn parts_that_a_server_takes_out_are_masked() {
        assert_eq!(
            masked("Bearer abc-token-1", "got abc-token-1, not Bearer"),
            "got ***, not Bearer"
        );
        let basic = format!("Basic {}", STANDARD.encode("alice:open sesame"));
        assert_eq!(masked(&basic, "alice:open sesame"), "***");
        assert_eq!(
            masked(&basic, "{\"user\": \"alice\", \"password\": \"open sesame\"}"),
            "{\"user\": \"alice\", \"password\": \"***\"}"
        );
        assert_eq!(masked(&STANDARD.encode("alice:open sesame"), "open+sesame"), "***");
        // A token that is base64 by chance hides nothing.
        assert_eq!(parts("sk_live_abc").len() + parts("abcdefgh").len(), 2);
    }

    #[test]
    fn hexadecimal_is_masked() {
        assert_eq!(masked("key!", "6b657921 6B657921"), "*** ***");
    }

    #[test]
    fn cut_secrets_are_masked() {
        let masker = masker("hunter2-and-more");
        assert_eq!(masker.mask(b"it is hunter2-an", true), b"it is ***");
        assert_eq!(masker.mask(b"it is hunter2-an", false), b"it is hunter2-an");
        assert_eq!(masker.mask(b"it is hun", true), b"it is ***");
        assert_eq!(masker.mask(b"it is h", true), b"it is h");
        assert_eq!(masker.mask(b"it is hunter2%2", true), b"it is ***");
        assert_eq!(masker.mask(b"hunt hunter2-and-more hunt", false), b"hunt *** hunt");
    }

    #[test]
    fn longest_of_overlapping_secrets_wins() {
        let secrets = ["abcd", "abcdefgh"].map(|text| Secret::new(text.to_owned()));
        assert_eq!(Masker::new(&secrets).mask_text("abcdefgh abcdxx"), "*** ***xx");
    }

    proptest! {
        #[test]
        fn no_secret_survives(secret in "[ -~é\n]{4,30}", before in ".{0,20}", after in ".{0,20}") {
            let json = serde_json::to_string(&secret).unwrap();
            let percent: String = ::url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let inner = &json[1..json.len() - 1];
            for form in [secret.as_str(), inner, &percent] {
                let text = format!("{before}{form}{after}");
                let out = masked(&secret, &text);
                prop_assert!(masker(&secret).finds(text.as_bytes()));
                prop_assert!(out.contains(MASK));
            }
        }

        #[test]
        fn texts_without_secrets_stay(text in "[a-m%&+ ]{0,80}") {
            prop_assert_eq!(masked("zzz-secret", &text), text);
        }

        #[test]
        fn any_bytes(secret in any::<String>(), bytes: Vec<u8>, cut: bool) {
            let _ = masker(&secret).mask(&bytes, cut);
        }
    }
}
