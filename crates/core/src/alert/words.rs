//! Alerts in words: for people, for handlers.
//!
//! Owns one invariant: what is said of an alert holds numbers, instants and the job's name, and
//! nothing a job or an error has said. A document is ASCII and no longer than [`MOST_BYTES`], so that
//! it means the same in every encoding and has room in shared memory.

use serde_json::{Value, json};

use super::{Finding, Recovery, Rule, Usual, WINDOW};
use crate::cancel::span;
use crate::http::template::rfc3339;
use crate::quote::cut;
use crate::run::{Outcome, words};
use crate::time::{JobId, RunId, Timestamp};

/// The most bytes of a document.
pub const MOST_BYTES: usize = 4_096;

/// The most characters of a name in a document: each takes twelve bytes at the most.
const NAME: usize = 64;

words! {
    /// What a handler is called for.
    Call {
        /// An alert was raised.
        Alert = 0 "alert",
        /// It is over.
        Recovery = 1 "recovery",
    }
}

/// An alert as its row has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The alert's number.
    pub id: i64,
    /// The rule.
    pub rule: Rule,
    /// The job.
    pub job: JobId,
    /// The job's name, if it has one.
    pub name: Option<String>,
    /// The database that has the job.
    pub database: String,
    /// Since when.
    pub raised_at: Timestamp,
    /// Until when, and why, if it is over.
    pub recovered: Option<(Timestamp, Recovery)>,
    /// The run it speaks of, if there is one.
    pub run: Option<RunId>,
    /// How that run ended, if it did.
    pub outcome: Option<Outcome>,
    /// What was found, as an object.
    pub detail: Value,
    /// The same as a sentence.
    pub message: String,
}

impl Finding {
    /// The column `detail` of `cron.alert`. Durations are in seconds.
    #[must_use]
    pub fn detail(&self) -> Value {
        match *self {
            Self::Failures { count } => json!({ "failures": count }),
            Self::Slow { limit, elapsed, usual: None } => {
                json!({ "limit_seconds": seconds(limit), "elapsed_seconds": seconds(elapsed) })
            }
            Self::Slow { limit, elapsed, usual: Some(Usual { p95, times }) } => json!({
                "limit_seconds": seconds(limit),
                "elapsed_seconds": seconds(elapsed),
                "p95_seconds": seconds(p95),
                "times": times,
            }),
            Self::Stuck { limit, .. } => json!({ "limit_seconds": seconds(limit) }),
            Self::Absent { limit, last_success } => json!({
                "limit_seconds": seconds(limit),
                "last_success": last_success.map(rfc3339),
            }),
            Self::SuccessRate { succeeded, limit } => {
                json!({ "succeeded": succeeded, "of": WINDOW, "limit_percent": limit })
            }
        }
    }

    /// The column `message`.
    #[must_use]
    pub fn message(&self) -> String {
        match *self {
            Self::Failures { count: 1 } => "an occurrence has failed".to_owned(),
            Self::Failures { count } => format!("{count} occurrences in a row have failed"),
            Self::Slow { limit, usual: None, .. } => {
                format!("a run takes longer than {}", span(limit))
            }
            Self::Slow { limit, usual: Some(Usual { times, .. }), .. } => format!(
                "a run takes longer than {}, {times} times as long as 95 percent of the runs",
                span(limit)
            ),
            Self::Stuck { limit, run, ends: true } => {
                let run = run.map_or_else(|| "a run".to_owned(), |run| format!("run {run}"));
                format!("{run} has given no heartbeat for {} and is cancelled", span(limit))
            }
            Self::Stuck { limit, run: None, .. } => {
                format!("a run has given no heartbeat for {} and may hang", span(limit))
            }
            Self::Stuck { limit, run: Some(run), .. } => format!(
                "run {run} has given no heartbeat for {} and may hang: cron.running shows what it waits \
                 for, SELECT cron.cancel_run({run}) ends it",
                span(limit)
            ),
            Self::Absent { limit, .. } => format!("no run has succeeded for {}", span(limit)),
            Self::SuccessRate { succeeded, limit } => format!(
                "{succeeded} of the last {WINDOW} occurrences have succeeded, less than {limit} percent"
            ),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}

/// What a handler is told: a JSON object with a `text` to show as it is.
#[must_use]
pub fn document(call: Call, alert: &Episode) -> String {
    let name = alert.name.as_deref().map(|name| cut(name, NAME));
    let database = cut(&alert.database, NAME);
    let who = match &name {
        Some(name) => format!("{name} (job {} in {database})", alert.job),
        None => format!("job {} in {database}", alert.job),
    };
    let text = match (call, alert.recovered) {
        (Call::Recovery, Some((_, why))) if why != Recovery::Recovered => {
            format!("over, {why}: {who}: {}", alert.message)
        }
        (Call::Recovery, _) => format!("recovered: {who}: {}", alert.message),
        (Call::Alert, _) => format!("alert: {who}: {}", alert.message),
    };
    let document = json!({
        "id": alert.id,
        "event": call.as_str(),
        "rule": alert.rule.as_str(),
        "jobid": alert.job.0,
        "job": name,
        "database": database,
        "raised_at": rfc3339(alert.raised_at),
        "recovered_at": alert.recovered.map(|(at, _)| rfc3339(at)),
        "recovery": alert.recovered.map(|(_, why)| why.as_str()),
        "runid": alert.run.map(|run| run.0),
        "outcome": alert.outcome.map(Outcome::as_str),
        "detail": alert.detail,
        "text": text,
    });
    in_ascii(&document.to_string())
}

/// JSON with everything that is not ASCII escaped; outside texts JSON has nothing else.
fn in_ascii(json: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = Timestamp::SECOND;

    #[test]
    fn sentences() {
        let limit = 90 * SECOND;
        for (finding, sentence) in [
            (Finding::Failures { count: 1 }, "an occurrence has failed"),
            (
                Finding::Slow { limit, elapsed: limit, usual: None },
                "a run takes longer than 00:01:30",
            ),
            (
                Finding::Slow {
                    limit,
                    elapsed: limit,
                    usual: Some(Usual { p95: 36 * SECOND, times: 2.5 }),
                },
                "a run takes longer than 00:01:30, 2.5 times as long as 95 percent of the runs",
            ),
            (
                Finding::Stuck { limit, run: Some(RunId(42)), ends: false },
                "run 42 has given no heartbeat for 00:01:30 and may hang: cron.running shows what it waits \
                 for, SELECT cron.cancel_run(42) ends it",
            ),
            (
                Finding::Stuck { limit, run: None, ends: false },
                "a run has given no heartbeat for 00:01:30 and may hang",
            ),
            (
                Finding::Stuck { limit, run: Some(RunId(42)), ends: true },
                "run 42 has given no heartbeat for 00:01:30 and is cancelled",
            ),
            (Finding::Absent { limit, last_success: None }, "no run has succeeded for 00:01:30"),
            (
                Finding::SuccessRate { succeeded: 18, limit: 95.0 },
                "18 of the last 20 occurrences have succeeded, less than 95 percent",
            ),
        ] {
            assert_eq!(finding.message(), sentence);
            assert!(finding.detail().is_object());
        }
    }
}
