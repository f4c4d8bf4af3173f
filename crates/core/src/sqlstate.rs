//! SQLSTATEs as Postgres has them in an int: six bits for each character, the first one lowest.

/// The number of an SQLSTATE: `MAKE_SQLSTATE` of elog.h.
#[must_use]
pub fn encode(sqlstate: [u8; 5]) -> i32 {
    let bits = |byte: u8| i32::from(byte.wrapping_sub(b'0') & 0x3f);
    sqlstate.iter().rev().fold(0, |code, &byte| code << 6 | bits(byte))
}

/// The SQLSTATE of a number: `unpack_sql_state` of elog.c.
#[must_use]
pub fn decode(code: i32) -> [u8; 5] {
    [0, 6, 12, 18, 24].map(|shift| u8::try_from(code >> shift & 0x3f).unwrap_or_default() + b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_postgres() {
        // ERRCODE_DISK_FULL, ERRCODE_LOCK_NOT_AVAILABLE, ERRCODE_INTERNAL_ERROR
        for (code, number) in [(b"53100", 4293), (b"55P03", 50_463_045), (b"XX000", 2600)] {
            assert_eq!(encode(*code), number, "{code:?}");
            assert_eq!(&decode(number), code);
        }
    }
}
