//! When a server wants to be asked again: the header `Retry-After`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// How long to wait because of a `Retry-After` header, at most `cap` (the job's
/// `retry_max_delay`). Both forms of RFC 9110 are read: seconds, and a date in any of the three
/// formats. A date that has passed is no wait.
///
/// `None` for anything else: a header that cannot be read is no reason to wait.
#[must_use]
pub fn delay(value: &str, now: Timestamp, cap: Duration) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(cap));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let wait = date.duration_since(instant(now)?).unwrap_or(Duration::ZERO);
    Some(wait.min(cap))
}

fn instant(at: Timestamp) -> Option<SystemTime> {
    let distance = Duration::from_micros(at.0.unsigned_abs());
    if at.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    /// 1994-11-06 08:49:37 UTC, the example of RFC 9110.
    const THEN: i64 = 784_111_777;

    fn at(offset: i64) -> Timestamp {
        Timestamp::from_secs(THEN + offset)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(delay("120", at(0), HOUR), Some(Duration::from_secs(120)));
        assert_eq!(delay(" 0 ", at(0), HOUR), Some(Duration::ZERO));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(delay(date, at(-30), HOUR), Some(Duration::from_secs(30)), "{date}");
            assert_eq!(delay(date, at(30), HOUR), Some(Duration::ZERO), "{date}");
        }
    }

    #[test]
    fn waits_are_capped() {
        assert_eq!(delay("86400", at(0), HOUR), Some(HOUR));
        assert_eq!(delay("99999999999999999999999", at(0), HOUR), Some(HOUR));
        assert_eq!(delay("Fri, 31 Dec 9999 23:59:59 GMT", at(0), HOUR), Some(HOUR));
    }

    #[test]
    fn anything_else_is_no_wait() {
        for value in ["", "soon", "-1", "1.5", "+5", "1 2", "Sun, 06 Nov 1994", "0x10"] {
            assert_eq!(delay(value, at(0), HOUR), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_exceeds_the_cap(value in ".{0,40}", now: i64, cap in 0u64..1_000_000) {
            let cap = Duration::from_secs(cap);
            prop_assert!(delay(&value, Timestamp(now), cap).is_none_or(|wait| wait <= cap));
        }
    }
}
