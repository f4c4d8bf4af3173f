//! Bytes from a server, as a text that Postgres can hold.

/// The bytes as UTF-8 without NUL: what is neither becomes `U+FFFD`. A character that the limit has
/// cut in the middle is left out when `cut` says so.
#[must_use]
pub fn printable(bytes: &[u8], cut: bool) -> String {
    let bytes = if cut { without_torn_end(bytes) } else { bytes };
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

fn without_torn_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        // No length of an error means that the input ends within a character.
        Err(error) if error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).unwrap_or(bytes)
        }
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_postgres_cannot_hold_is_replaced() {
        assert_eq!(printable(b"a\0b\xffc", false), "a\u{fffd}b\u{fffd}c");
        assert_eq!(printable("né".as_bytes(), false), "né");
        assert_eq!(printable(b"n\xc3", true), "n");
        assert_eq!(printable(b"n\xc3", false), "n\u{fffd}");
        assert_eq!(printable(b"\xc3n", true), "\u{fffd}n");
    }

    proptest! {
        #[test]
        fn never_a_nul_and_never_a_panic(bytes: Vec<u8>, cut: bool) {
            prop_assert!(!printable(&bytes, cut).contains('\0'));
        }
    }
}
