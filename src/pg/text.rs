//! Text in the encoding of the database, which need not be UTF-8.
//!
//! Owns one invariant: what goes from a caller to a table goes there byte for byte. pgrx turns
//! text into `&str` and refuses whatever is no UTF-8, so functions that take names and commands
//! take bytes (a text argument reads as `&[u8]` just like bytea) and wrap them here.

use core::ffi::c_int;
use std::borrow::Cow;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

/// Text as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerText<'a>(&'a [u8]);

impl<'a> ServerText<'a> {
    /// Text from its bytes in the database's encoding.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Its bytes in the database's encoding.
    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text as a statement's parameter of type text.
    pub(crate) fn param(self) -> DatumWithOid<'a> {
        // SAFETY: text and bytea have one layout, a length and the bytes.
        unsafe { DatumWithOid::new(self.0, pg_sys::TEXTOID) }
    }

    /// The text for reading it and for messages. In a database whose encoding is not UTF-8,
    /// everything but ASCII is a question mark: a message must be in the database's encoding.
    pub(crate) fn readable(self) -> Cow<'a, str> {
        if is_utf8_database() {
            String::from_utf8_lossy(self.0)
        } else {
            let ascii = |&byte: &u8| if byte.is_ascii() { char::from(byte) } else { '?' };
            Cow::Owned(self.0.iter().map(ascii).collect())
        }
    }
}

impl<'a> ServerText<'a> {
    /// The text as UTF-8, whatever its encoding. In a database without one, bytes that are not
    /// UTF-8 are replaced.
    pub(crate) fn utf8(self) -> Cow<'a, str> {
        if has_no_encoding() {
            return String::from_utf8_lossy(self.0);
        }
        let convert = || super::json::from_server(self.0).unwrap_or_default();
        if is_utf8_database() { String::from_utf8_lossy(self.0) } else { Cow::Owned(convert()) }
    }
}

fn has_no_encoding() -> bool {
    // SAFETY: reads a variable that is set before the session runs anything.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_SQL_ASCII.cast_signed() }
}

/// Whether whatever is said in UTF-8 reaches the client as it is: database and client have it.
pub(crate) fn client_reads_utf8() -> bool {
    // SAFETY: reads a variable of this session.
    let client = unsafe { pg_sys::pg_get_client_encoding() };
    is_utf8_database() && client == pg_sys::pg_enc::PG_UTF8.cast_signed()
}

/// Text for a message, which must be in the database's encoding: where that is not UTF-8,
/// everything but ASCII is a question mark.
pub(crate) fn for_message(text: String) -> String {
    if text.is_ascii() || is_utf8_database() {
        return text;
    }
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

fn is_utf8_database() -> bool {
    // SAFETY: reads a variable that is set before the session runs anything.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8.cast_signed() }
}

/// As much of a text in the database's encoding as has room in so many bytes, cut between letters.
pub(crate) fn clip(text: &[u8], room: usize) -> &[u8] {
    let len = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
    let room = c_int::try_from(room).unwrap_or(c_int::MAX);
    // SAFETY: text of that length in the database's encoding.
    let kept = unsafe { pg_sys::pg_mbcliplen(text.as_ptr().cast(), len, room) };
    text.get(..usize::try_from(kept).unwrap_or(0)).unwrap_or(text)
}

/// `text` as a statement's parameter, NULL if there is none.
pub(crate) fn param(text: Option<ServerText<'_>>) -> DatumWithOid<'_> {
    text.map_or_else(|| DatumWithOid::null_oid(pg_sys::TEXTOID), ServerText::param)
}
