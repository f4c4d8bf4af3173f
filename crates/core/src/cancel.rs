//! Why a run was made to end, and what its row says of that.
//!
//! This module owns the rule that outcome, message and reason of a run somebody ended follow the
//! cause, which is noted before the run hears of it, and never the error the run ends with.

use std::ffi::CStr;
use std::fmt::Write;

use crate::run::{Outcome, words};
use crate::time::Timestamp;

/// The message of a run that somebody cancelled before it began.
pub const NOT_BEGUN: &str = "run canceled before it began";

words! {
    /// Why a run is made to end.
    Cause {
        /// Its job was dropped or switched off.
        Dropped = 1 "dropped",
        /// A newer run of its job takes its place (`on_overlap = 'replace'`).
        Replaced = 2 "replaced",
        /// Somebody asked for its end with `cron.cancel_run`.
        Requested = 3 "requested",
        /// It took longer than its job's `timeout`.
        Timeout = 4 "timeout",
        /// It gave no heartbeat for its job's `stuck_after` (`on_stuck = 'cancel'`).
        Stuck = 5 "stuck",
    }
}

impl Cause {
    /// How a run that was made to end is recorded.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Timeout | Self::Stuck => Outcome::Timeout,
            Self::Dropped | Self::Replaced | Self::Requested => Outcome::Cancelled,
        }
    }

    /// The primary message of the error such a run ends with.
    #[must_use]
    pub fn message(self) -> &'static str {
        self.c_message().to_str().unwrap_or_default()
    }

    /// The same, for where errors are raised.
    #[must_use]
    pub const fn c_message(self) -> &'static CStr {
        match self {
            // pg_cron's words, which stand alone in return_message
            Self::Dropped => c"job canceled",
            Self::Replaced => c"canceling statement due to a newer run of the job",
            Self::Requested => c"canceling statement due to cron.cancel_run",
            Self::Timeout => c"canceling statement due to timeout of the job",
            Self::Stuck => c"canceling statement due to missing heartbeats of the job",
        }
    }

    /// The message of a run that is made to end before it has begun.
    #[must_use]
    pub fn message_before_it_began(self) -> &'static str {
        if self == Self::Requested { NOT_BEGUN } else { self.message() }
    }

    /// Whether [`Cause::message`] is all `return_message` says.
    #[must_use]
    pub const fn stands_alone(self) -> bool {
        matches!(self, Self::Dropped)
    }
}

/// The column `reason` of a run whose job was dropped or switched off.
pub const DROPPED: &str = "job dropped or inactive";

/// The column `reason` of a run that made way for a newer one.
pub const REPLACED: &str = "replaced by a newer run";

/// The column `reason` of a run that was asked for while its job was another role's or another
/// database's, and was not begun.
pub const MISPLACED: &str = "role or database changed";

/// The column `reason` of a run that took too long; the limit in microseconds.
#[must_use]
pub fn timeout_reason(limit: i64) -> String {
    format!("timeout of {}", span(limit))
}

/// The column `reason` of a run that was silent for too long; the limit in microseconds.
#[must_use]
pub fn stuck_reason(limit: i64) -> String {
    format!("no heartbeat for {}", span(limit))
}

/// The column `reason` of a run that was cancelled on request: who asked and why, both in the
/// database's encoding.
#[must_use]
pub fn request_reason(by: &[u8], why: Option<&[u8]>) -> Vec<u8> {
    let mut reason = b"cancelled by ".to_vec();
    reason.extend_from_slice(by);
    if let Some(why) = why.filter(|why| !why.is_empty()) {
        reason.extend_from_slice(b": ");
        reason.extend_from_slice(why);
    }
    reason
}

/// The DETAIL of a run whose process had to be terminated; the grace in microseconds.
#[must_use]
pub fn terminated_detail(grace: i64) -> String {
    format!("It went on for {} after it was canceled, and its process was terminated.", span(grace))
}

/// A length of time as intervals are printed: `00:00:05`, `36:00:00`, `00:00:00.25`.
#[must_use]
pub fn span(micros: i64) -> String {
    let (sign, micros) =
        if micros < 0 { ("-", micros.unsigned_abs()) } else { ("", micros.unsigned_abs()) };
    let second = Timestamp::SECOND.unsigned_abs();
    let (seconds, fraction) = (micros / second, micros % second);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let mut text = format!("{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if fraction > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ".{fraction:06}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_both_mappings() {
        for &cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
            assert_eq!(Cause::try_from(u8::from(cause)).ok(), Some(cause));
            assert_ne!(u8::from(cause), 0, "0 is no cause");
        }
        assert!(Cause::from_u8(0).is_none() && Cause::from_u8(6).is_none());
    }

    #[test]
    fn outcomes_follow_the_cause() {
        for &cause in Cause::ALL {
            let wanted = match cause {
                Cause::Timeout | Cause::Stuck => Outcome::Timeout,
                _ => Outcome::Cancelled,
            };
            assert_eq!(cause.outcome(), wanted, "{cause}");
            assert!(!cause.message().is_empty());
            assert_eq!(cause.stands_alone(), cause == Cause::Dropped);
        }
    }

    #[test]
    fn words_of_a_request() {
        assert_eq!(request_reason(b"ann", None), b"cancelled by ann");
        assert_eq!(request_reason(b"ann", Some(b"")), b"cancelled by ann");
        assert_eq!(request_reason(b"ann", Some(b"too slow")), b"cancelled by ann: too slow");
    }

    #[test]
    fn spans_are_intervals() {
        for (micros, text) in [
            (0, "00:00:00"),
            (5 * Timestamp::SECOND, "00:00:05"),
            (250_000, "00:00:00.25"),
            (1, "00:00:00.000001"),
            (129_600 * Timestamp::SECOND, "36:00:00"),
            (400 * 3_600 * Timestamp::SECOND + 61_500_000, "400:01:01.5"),
            (-1_500_000, "-00:00:01.5"),
            (i64::MIN, "-2562047788:00:54.775808"),
        ] {
            assert_eq!(span(micros), text);
        }
        assert_eq!(timeout_reason(90_000_000), "timeout of 00:01:30");
        assert_eq!(stuck_reason(90_000_000), "no heartbeat for 00:01:30");
        assert!(terminated_detail(10_000_000).contains("for 00:00:10 after"));
    }
}
