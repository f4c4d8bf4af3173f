//! What a job says about its runs once they are due, with the defaults for what it does not say.

use pg_tock_core::alert;
use pg_tock_core::engine::Rules;
use pg_tock_core::options::Stored;
use pg_tock_core::retry::{RetryOn, RetryPolicy};
use pg_tock_core::run::{OnStuck, Overlap};

use crate::guc::{alerts, defaults};

/// How a job's runs are to be treated. Durations are in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    /// The longest a run may take.
    pub(crate) timeout: Option<i64>,
    /// The longest a run may go on without a heartbeat before it counts as stuck.
    pub(crate) stuck_after: Option<i64>,
    /// It is ended then.
    pub(crate) ends_stuck: bool,
    /// What is done about attempts that fail.
    pub(crate) retry: RetryPolicy,
    /// What becomes of an occurrence that is due while the job runs.
    pub(crate) overlap: Overlap,
    /// Most runs at once where they may overlap; `u32::MAX` is no limit.
    pub(crate) max_concurrency: u32,
    /// Higher goes first.
    pub(crate) priority: i32,
    /// The queue whose limits its runs keep to.
    pub(crate) queue: Option<String>,
    /// A boolean expression; occurrences for which it is not true are skipped.
    pub(crate) run_if: Option<String>,
    /// Each run wants a session of its own.
    pub(crate) fresh: bool,
    /// What raises alerts.
    pub(crate) alerts: alert::Rules,
}

impl Policy {
    /// A job's options over the settings. Values out of range, which only direct changes of the
    /// table can bring, count as the nearest one that is not.
    pub(crate) fn read(options: &Stored) -> Self {
        let limit = |own: Option<i64>, default: i64| {
            Some(own.unwrap_or(default)).filter(|&micros| micros > 0)
        };
        let overlap = options.on_overlap.as_deref().and_then(Overlap::parse);
        let overlap = overlap.unwrap_or_else(defaults::on_overlap);
        let concurrency = options.max_concurrency.map_or_else(defaults::max_concurrency, count);
        Self {
            timeout: limit(options.timeout, defaults::timeout()),
            stuck_after: limit(options.stuck_after, defaults::stuck_after()),
            ends_stuck: ends_stuck(options),
            retry: retry(options),
            overlap,
            max_concurrency: match (overlap, concurrency) {
                (Overlap::Allow, 0) => u32::MAX,
                (Overlap::Allow, most) => most,
                _ => 1,
            },
            priority: options.priority.map_or_else(defaults::priority, |priority| {
                i32::try_from(priority.clamp(-100, 100)).unwrap_or(0)
            }),
            queue: options.queue.clone(),
            run_if: options.run_if.clone(),
            fresh: options
                .session
                .as_deref()
                .map_or_else(defaults::fresh_session, |session| session == "fresh"),
            alerts: alert_rules(options),
        }
    }
}

impl Policy {
    /// What of it the engine obeys.
    pub(crate) fn rules(&self) -> Rules {
        let (overlap, max_concurrency) = (self.overlap, self.max_concurrency);
        Rules { overlap, max_concurrency, priority: self.priority, ..Rules::default() }
    }
}

fn ends_stuck(options: &Stored) -> bool {
    let own = options.on_stuck.as_deref().and_then(OnStuck::parse);
    own.unwrap_or_else(defaults::on_stuck) == OnStuck::Cancel
}

fn retry(options: &Stored) -> RetryPolicy {
    let default = defaults::retry();
    let delay = options.retry_delay.map_or(default.delay, |delay| delay.max(0));
    RetryPolicy {
        max_attempts: options.max_attempts.map_or(default.max_attempts, |most| count(most).max(1)),
        delay,
        backoff: options.retry_backoff.unwrap_or(default.backoff),
        // A job that wants a longer first delay than the default allows is given it.
        max_delay: options.retry_max_delay.unwrap_or_else(|| default.max_delay.max(delay)),
        on: options.retry_on.as_deref().and_then(RetryOn::parse).unwrap_or(default.on),
        on_crash: options.retry_on_crash.unwrap_or(default.on_crash),
    }
}

/// What raises alerts.
pub(super) fn alert_rules(options: &Stored) -> alert::Rules {
    let limit = |own: Option<i64>, default: i64| own.unwrap_or(default).max(0);
    let failures = options.alert_after_failures.unwrap_or_else(alerts::after_failures);
    let most = i64::from(alert::MOST_FAILURES);
    let times = options.alert_if_times_slower.unwrap_or_else(alerts::if_times_slower);
    alert::Rules {
        after_failures: count(failures.min(most)),
        slower: limit(options.alert_if_slower, alerts::if_slower()),
        stuck: limit(options.stuck_after, defaults::stuck_after()),
        ends_stuck: ends_stuck(options),
        absent: limit(options.alert_if_absent, alerts::if_absent()),
        below_success: options.alert_below_success.unwrap_or_else(alerts::below_success),
        times_slower: if times > 0.0 { times.clamp(1.0, alert::MOST_TIMES) } else { 0.0 },
    }
}

fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
