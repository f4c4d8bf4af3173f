//! How HTTP runs end: as the worker reports, or as the slot says of one whose worker is gone.
//!
//! Owns the rule what the column `reason` says of them: who ended a run and why, the limit it came
//! to, or what held its request back.

use std::time::Duration;

use pg_tock_core::cancel::Cause;
use pg_tock_core::http::outcome::Failure;
use pg_tock_core::http::wire::HttpReport;
use pg_tock_core::run::{Condition, Guarantee, Outcome};
use pg_tock_core::time::Timestamp;
use pg_tock_core::usage::Usage;

use super::http::HttpRun;
use super::runs::End;
use crate::catalog::http::HttpAnswer;

/// The column `reason` of a run that ended with the worker.
const ENDED: &str = "HTTP worker ended";

pub(super) const fn guarantee(retries: bool) -> Guarantee {
    if retries { Guarantee::AtLeastOnce } else { Guarantee::AtMostOnce }
}

/// How a run ended whose worker is gone: as its slot says, or it died with the worker.
pub(super) fn last_will(run: &HttpRun, now: Timestamp) -> End {
    let end = last_words(run, now);
    if end.outcome == Outcome::Crashed { end.unless_stopped() } else { end }
}

fn last_words(run: &HttpRun, now: Timestamp) -> End {
    let ending = run.slot.ending();
    let cancelled = ending.is_some_and(|ending| ending.outcome == Outcome::Cancelled);
    let message = match &ending {
        Some(ending) => ending
            .http_status
            .map_or_else(|| "HTTP worker ended".to_owned(), |status| format!("HTTP {status}")),
        None => "HTTP worker ended unexpectedly".to_owned(),
    };
    End {
        outcome: ending.map_or(Outcome::Crashed, |ending| ending.outcome),
        guarantee: guarantee(run.retries),
        recorded: false,
        condition: Condition::Met,
        held: None,
        again: false,
        reaches_outside: false,
        started_at: run.slot.current().started_at,
        ended_at: ending.map_or(now, |ending| ending.ended_at),
        row_count: None,
        usage: Usage::default(),
        sqlstate: ending.and_then(|ending| ending.sqlstate),
        message,
        error: None,
        cause: run.slot.cause().filter(|_| cancelled),
        reason: run.slot.reason().filter(|_| cancelled).or(Some(ENDED.as_bytes().to_vec())),
        logged: false,
        http: Some(Box::new(HttpAnswer {
            status: ending.and_then(|ending| ending.http_status),
            transient: true,
            ..HttpAnswer::default()
        })),
    }
}

/// A report as an end.
pub(super) fn end_of(report: HttpReport, run: &HttpRun) -> End {
    let asked = run.slot.cause().filter(|_| report.outcome == Outcome::Cancelled);
    let cause = asked.or_else(|| expired(&report, run));
    let reason = reason(&report, run, cause);
    let end = End {
        outcome: report.outcome,
        guarantee: report.guarantee,
        recorded: false,
        condition: Condition::Met,
        held: report.held,
        again: false,
        reaches_outside: false,
        started_at: Timestamp(report.started_at),
        ended_at: Timestamp(report.ended_at),
        row_count: None,
        usage: Usage::default(),
        sqlstate: report.sqlstate.and_then(|code| code.into_bytes().try_into().ok()),
        message: report.message,
        error: None,
        cause,
        reason,
        logged: false,
        http: Some(Box::new(HttpAnswer {
            status: report.http_status,
            response: report.response,
            details: Some(report.details),
            transient: report.transient,
            retry_after: report.retry_after.and_then(|after| i64::try_from(after).ok()),
        })),
    };
    if end.outcome == Outcome::Crashed { end.unless_stopped() } else { end }
}

/// The word for what held a request back until it was given up. One that was sent may have waited, too.
fn held_by(report: &HttpReport) -> Option<&str> {
    let text = |key: &str| report.details.get(key).and_then(serde_json::Value::as_str);
    text("held_by").filter(|_| text("kind") == Some(Failure::HeldBack.as_str()))
}

/// Which limit on how long it takes a request has come to, from when it was sent. Making a connection has
/// one of its own, and the message says so.
fn expired(report: &HttpReport, run: &HttpRun) -> Option<Cause> {
    if report.outcome != Outcome::Timeout || held_by(report).is_some() {
        return None;
    }
    let (limit, cause) = run.slot.current().lasting.watch().silent_limit()?;
    let limit = Duration::from_micros(u64::try_from(limit).ok()?);
    let took = report.details.pointer("/times_ms/total").and_then(serde_json::Value::as_f64)?;
    Duration::try_from_secs_f64(took / 1000.0).is_ok_and(|took| took >= limit).then_some(cause)
}

/// What the row of a run says of why it ended, where it was made to.
fn reason(report: &HttpReport, run: &HttpRun, cause: Option<Cause>) -> Option<Vec<u8>> {
    match (report.outcome, cause) {
        (Outcome::Cancelled, _) => run.slot.reason(),
        (Outcome::Crashed, _) => Some(ENDED.as_bytes().to_vec()),
        (Outcome::Timeout, Some(cause)) => {
            Some(run.slot.current().lasting.watch().reason(cause).into_bytes())
        }
        _ => held_by(report).map(|word| word.as_bytes().to_vec()),
    }
}
