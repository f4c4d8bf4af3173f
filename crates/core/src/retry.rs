//! Whether a run that did not succeed is tried again, and when.
//!
//! Owns the rule for which errors pass by themselves (SQLSTATE classes of the Postgres manual,
//! appendix A). An attempt that may have left effects behind is never repeated unless its job
//! says that this does no harm.

use crate::plan::splitmix;
use crate::run::{Guarantee, Outcome};
use crate::time::{JobId, Timestamp};

/// Which failures are tried again (the option `retry_on`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// Those that are likely to pass by themselves.
    #[default]
    Transient,
    /// All but those somebody wanted.
    Any,
}

impl RetryOn {
    /// The value with this name in SQL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "transient" => Some(Self::Transient),
            "any" => Some(Self::Any),
            _ => None,
        }
    }
}

/// What a job says about trying again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Most attempts at one occurrence, the first included; 0 counts as 1.
    pub max_attempts: u32,
    /// Microseconds between the end of the first attempt and the second.
    pub delay: i64,
    /// By what the delay grows from attempt to attempt; less than 1 counts as 1, which is a fixed
    /// delay.
    pub backoff: f64,
    /// The longest delay in microseconds; the jitter is within it.
    pub max_delay: i64,
    /// Which failures count.
    pub on: RetryOn,
    /// Whether an attempt that crashed is repeated although its effects may be there.
    pub on_crash: bool,
}

impl Default for RetryPolicy {
    /// One attempt, as pg_cron.
    fn default() -> Self {
        Self {
            max_attempts: 1,
            delay: 10 * Timestamp::SECOND,
            backoff: 2.0,
            max_delay: 3_600 * Timestamp::SECOND,
            on: RetryOn::Transient,
            on_crash: false,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its outcome.
    pub outcome: Outcome,
    /// The error, if there was one.
    pub sqlstate: Option<[u8; 5]>,
    /// What its effects can rely on.
    pub guarantee: Guarantee,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What an HTTP run knows of its failure: whether another attempt may have more luck, whatever
    /// its SQLSTATE. `None` for a run of SQL.
    pub transient: Option<bool>,
    /// How long the receiver of an HTTP request wants to be left alone, in microseconds, at most
    /// the policy's `max_delay`.
    pub retry_after: Option<i64>,
}

/// The number that spreads the attempts after this one, for [`RetryPolicy::next_attempt`]: a hash,
/// so that whoever decides about an attempt again comes to the same instant.
#[must_use]
pub const fn spread(job: JobId, scheduled_for: Timestamp, attempt: u32) -> u64 {
    let occurrence = splitmix(splitmix(job.0.cast_unsigned()) ^ scheduled_for.0.cast_unsigned());
    splitmix(occurrence ^ attempt as u64)
}

/// Jitter is this part of the delay, to both sides.
const JITTER_PART: i64 = 10;

impl RetryPolicy {
    /// The delay in microseconds after which the next attempt is due; `None` if there is none.
    ///
    /// `random` spreads attempts that failed together; the same number gives the same delay.
    #[must_use]
    pub fn next_attempt(&self, ended: Ended, random: u64) -> Option<i64> {
        let wanted = match ended.outcome {
            Outcome::Succeeded | Outcome::Cancelled => false,
            Outcome::Crashed => ended.guarantee != Guarantee::AtMostOnce || self.on_crash,
            Outcome::Timeout => self.on == RetryOn::Any || ended.transient == Some(true),
            Outcome::Failed => {
                let by_code = || ended.sqlstate.is_some_and(|code| is_transient(&code));
                self.on == RetryOn::Any || ended.transient.unwrap_or_else(by_code)
            }
        };
        let after = ended.retry_after.map_or(0, |after| after.clamp(0, self.max_delay.max(0)));
        (wanted && ended.attempt < self.max_attempts)
            .then(|| self.delay_after(ended.attempt, random).max(after))
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "clamped")]
    fn delay_after(&self, attempt: u32, random: u64) -> i64 {
        let most = self.max_delay.max(0);
        if self.delay <= 0 {
            return 0; // however large the factor has become
        }
        let grown = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.backoff.max(1.0).powi(grown);
        // Infinity ends up at the upper bound.
        let base = (self.delay as f64 * factor).min(most as f64) as i64;
        let width = base / JITTER_PART;
        if width == 0 {
            return base;
        }
        let span = width.unsigned_abs() * 2 + 1;
        let offset = i64::try_from(random % span).unwrap_or(0) - width;
        (base + offset).clamp(0, most)
    }
}

/// Whether an error is likely to pass by itself: lost connections, deadlocks and serialization
/// failures, lack of resources, locks not available, operator intervention, system errors.
#[must_use]
pub fn is_transient(sqlstate: &[u8; 5]) -> bool {
    match sqlstate {
        b"55P03" => true,
        // A query that was canceled was meant to end; so was a session that was terminated, but
        // the servers that shut down under a run come back.
        b"57014" | b"57P04" | b"57P05" => false,
        [b'0', b'8', ..] | [b'4', b'0', ..] | [b'5', b'3', ..] | [b'5', b'8', ..] => true,
        [b'5', b'7', b'P', b'0', _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(sqlstate: &[u8; 5], attempt: u32) -> Ended {
        Ended {
            outcome: Outcome::Failed,
            sqlstate: Some(*sqlstate),
            guarantee: Guarantee::ExactlyOnce,
            attempt,
            transient: None,
            retry_after: None,
        }
    }

    fn three() -> RetryPolicy {
        RetryPolicy { max_attempts: 3, ..RetryPolicy::default() }
    }

    #[test]
    fn errors_that_pass_are_tried_again_and_mistakes_are_not() {
        for code in [b"08006", b"40001", b"40P01", b"53300", b"53100", b"55P03", b"57P01", b"58030"]
        {
            assert!(three().next_attempt(failed(code, 1), 0).is_some(), "{code:?}");
        }
        for code in [b"42P01", b"22012", b"23505", b"28000", b"57014", b"25P02", b"XX000", b"P0001"]
        {
            assert_eq!(three().next_attempt(failed(code, 1), 0), None, "{code:?}");
            let any = RetryPolicy { on: RetryOn::Any, ..three() };
            assert!(any.next_attempt(failed(code, 1), 0).is_some(), "{code:?}");
        }
    }

    #[test]
    fn servers_that_shut_down_come_back_and_what_was_dropped_does_not() {
        // admin_shutdown, crash_shutdown, cannot_connect_now
        for code in [b"57P01", b"57P02", b"57P03"] {
            assert!(is_transient(code), "{code:?}");
            assert!(three().next_attempt(failed(code, 1), 0).is_some(), "{code:?}");
        }
        // query_canceled, database_dropped, idle_session_timeout, and the class itself
        for code in [b"57014", b"57P04", b"57P05", b"57000"] {
            assert!(!is_transient(code), "{code:?}");
            assert_eq!(three().next_attempt(failed(code, 1), 0), None, "{code:?}");
        }
    }

    #[test]
    fn a_crash_is_repeated_only_where_that_is_safe() {
        let crashed = |guarantee| Ended {
            outcome: Outcome::Crashed,
            guarantee,
            sqlstate: None,
            ..failed(b"XX000", 1)
        };
        assert!(three().next_attempt(crashed(Guarantee::ExactlyOnce), 0).is_some());
        assert_eq!(three().next_attempt(crashed(Guarantee::AtMostOnce), 0), None);
        // It was promised nothing else.
        assert!(three().next_attempt(crashed(Guarantee::AtLeastOnce), 0).is_some());
        let anyway = RetryPolicy { on_crash: true, ..three() };
        assert!(anyway.next_attempt(crashed(Guarantee::AtMostOnce), 0).is_some());
    }

    #[test]
    fn what_somebody_wanted_and_what_succeeded_is_not_tried_again() {
        let any = RetryPolicy { on: RetryOn::Any, ..three() };
        for outcome in [Outcome::Succeeded, Outcome::Cancelled] {
            let ended = Ended { outcome, ..failed(b"57P01", 1) };
            assert_eq!(any.next_attempt(ended, 0), None);
        }
        let timeout = Ended { outcome: Outcome::Timeout, ..failed(b"57014", 1) };
        assert_eq!(three().next_attempt(timeout, 0), None);
        assert!(any.next_attempt(timeout, 0).is_some());
    }

    #[test]
    fn http_runs_know_better_than_their_sqlstate() {
        let ended = |outcome, transient| Ended {
            outcome,
            transient: Some(transient),
            ..failed(if transient { b"57014" } else { b"08006" }, 1)
        };
        for outcome in [Outcome::Failed, Outcome::Timeout] {
            assert!(three().next_attempt(ended(outcome, true), 0).is_some());
            assert_eq!(three().next_attempt(ended(outcome, false), 0), None);
        }
        let busy =
            Ended { retry_after: Some(60 * Timestamp::SECOND), ..ended(Outcome::Failed, true) };
        assert_eq!(three().next_attempt(busy, 0), Some(60 * Timestamp::SECOND));
        let soon = Ended { retry_after: Some(1), ..busy };
        assert!(three().next_attempt(soon, 0).unwrap() > Timestamp::SECOND);
        let never = Ended { retry_after: Some(i64::MAX), ..busy };
        assert_eq!(three().next_attempt(never, 0), Some(three().max_delay));
    }

    #[test]
    fn attempts_are_bounded_and_one_by_default() {
        assert_eq!(RetryPolicy::default().next_attempt(failed(b"40001", 1), 0), None);
        assert!(three().next_attempt(failed(b"40001", 2), 0).is_some());
        assert_eq!(three().next_attempt(failed(b"40001", 3), 0), None);
    }

    #[test]
    fn attempts_that_failed_together_are_spread_and_each_always_alike() {
        let hour = RetryPolicy { delay: 3_600 * Timestamp::SECOND, max_delay: i64::MAX, ..three() };
        let at = Timestamp(1_700_000_000_000_000);
        let wait = |job, attempt| {
            let random = spread(JobId(job), at, attempt);
            hour.next_attempt(failed(b"40001", attempt), random).expect("attempts are left")
        };
        let mut waits: Vec<i64> = (1..=100).map(|job| wait(job, 1)).collect();
        assert_eq!(waits, (1..=100).map(|job| wait(job, 1)).collect::<Vec<_>>());
        waits.sort_unstable();
        waits.dedup();
        assert_eq!(waits.len(), 100);
        let first = Timestamp(waits[0]).since(Timestamp(hour.delay));
        let last = Timestamp(waits[99]).since(Timestamp(hour.delay));
        assert!(first < -300 * Timestamp::SECOND && last > 300 * Timestamp::SECOND, "{waits:?}");
        assert_ne!(spread(JobId(1), at, 1), spread(JobId(1), at, 2));
        assert_ne!(spread(JobId(1), at, 1), spread(JobId(1), at.plus(1), 1));
    }

    proptest! {
        #[test]
        fn delays_grow_by_the_factor_and_stay_in_bounds(
            delay in prop_oneof![Just(0), 0..10_000_000_000_i64], backoff in 0.0..20.0_f64, most in 0..100_000_000_000_i64,
            attempt in 1..2_000_u32, random in any::<u64>(),
        ) {
            let policy = RetryPolicy { max_attempts: u32::MAX, delay, backoff, max_delay: most, ..three() };
            let wait = policy.next_attempt(failed(b"40001", attempt), random);
            let wait = wait.expect("attempts are left");
            prop_assert!((0..=most).contains(&wait));
            prop_assert_eq!(policy.next_attempt(failed(b"40001", attempt), random), Some(wait));
            let factor = backoff.max(1.0).powf(f64::from(attempt) - 1.0);
            let exact = if delay == 0 { 0.0 } else { (delay as f64 * factor).min(most as f64) };
            prop_assert!((wait as f64 - exact).abs() <= exact * 0.11 + 2.0);
        }
    }
}
