//! The options of a job as they are stored and not checked anew: what the scheduler and the
//! previews go by.

use serde::Deserialize;

/// What a job says about when and how it runs. What is not there has its default. Durations and
/// instants are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each has the name and the meaning of its column in cron.job")]
pub struct Stored {
    pub timeout: Option<i64>,
    pub max_attempts: Option<i64>,
    pub retry_delay: Option<i64>,
    pub retry_backoff: Option<f64>,
    pub retry_max_delay: Option<i64>,
    pub retry_on: Option<String>,
    pub retry_on_crash: Option<bool>,
    pub on_overlap: Option<String>,
    pub max_concurrency: Option<i64>,
    pub on_missed: Option<String>,
    pub missed_window: Option<i64>,
    pub dst_policy: Option<String>,
    pub jitter: Option<i64>,
    pub run_window: Option<String>,
    pub skip_on: Vec<String>,
    pub only_on: Vec<String>,
    pub run_if: Option<String>,
    pub run_after: Vec<String>,
    pub priority: Option<i64>,
    pub queue: Option<String>,
    pub session: Option<String>,
    pub stuck_after: Option<i64>,
    pub alert_after_failures: Option<i64>,
    pub alert_if_slower: Option<i64>,
    pub alert_if_absent: Option<i64>,
    pub alert_below_success: Option<f64>,
    pub alert_if_times_slower: Option<f64>,
    pub on_stuck: Option<String>,
    /// Not an option: until when the job is paused, `i64::MAX` for ever.
    pub paused_until: Option<i64>,
}
