//! Why a job does not run, or did not: findings from facts.
//!
//! Owns two invariants: what comes first has to be put right first; and a job of which nothing keeps
//! the next run has exactly one finding, which says when that is.

mod facts;
mod now;
mod past;
mod setup;
#[cfg(test)]
mod tests;

pub use facts::*;

use crate::time::Timestamp;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The job does not run until this is put right.
    Error,
    /// It keeps, or has kept, the job from running at its time.
    Warning,
    /// It is as it should be.
    Info,
}

impl Severity {
    /// The word for it in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, in a word or two that stay the same.
    pub finding: &'static str,
    /// It in sentences.
    pub detail: String,
    /// A statement that who asks may run and that puts it right, or leads further. It calls nothing
    /// that another role could have put in its way, and has nobody's SQL in it but the asker's own.
    pub remedy: Option<String>,
}

/// How instants are written for who asks.
pub type Clock<'a> = &'a dyn Fn(Timestamp) -> String;

/// The findings, in the order in which they were made.
struct Findings<'a> {
    facts: &'a Facts,
    clock: Clock<'a>,
    found: Vec<Finding>,
}

impl<'a> Findings<'a> {
    fn say(
        &mut self,
        severity: Severity,
        finding: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        let (detail, remedy) = (detail.into(), remedy.into());
        self.found.push(Finding { severity, finding, detail, remedy });
    }

    fn error(
        &mut self,
        finding: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        self.say(Severity::Error, finding, detail, remedy);
    }

    fn warning(
        &mut self,
        finding: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        self.say(Severity::Warning, finding, detail, remedy);
    }

    fn info(&mut self, finding: &'static str, detail: impl Into<String>) {
        self.say(Severity::Info, finding, detail, None);
    }

    /// What only a superuser can run.
    fn if_superuser(&self, statement: impl Into<String>) -> Option<String> {
        self.facts.superuser.then(|| statement.into())
    }

    /// A change of options of the job.
    fn set_job(&self, options: &serde_json::Value) -> String {
        let options = crate::quote::literal(&options.to_string());
        format!("SELECT cron.set_job({}, {options})", self.facts.job.id)
    }

    fn at(&self, instant: Timestamp) -> String {
        (self.clock)(instant)
    }
}

/// Why the job does not run, or that it does.
#[must_use]
pub fn diagnose(facts: &Facts, clock: Clock<'_>) -> Vec<Finding> {
    let mut findings = Findings { facts, clock, found: Vec::new() };
    // Does not keep what is known already from running.
    findings.blind();
    let known = findings.found.len();
    findings.server();
    findings.job();
    findings.role();
    findings.times();
    let lasting = findings.found.len() > known;
    findings.present(!lasting);
    findings.past();
    if findings.found.is_empty() {
        findings.all_is_well();
    } else if findings.found.iter().all(|found| found.severity != Severity::Error) {
        findings.next_run();
    }
    findings.found
}

impl Findings<'_> {
    /// When the job runs next, and whether it runs now.
    fn outlook(&self) -> String {
        let mut detail = String::new();
        if let Some(run) = self.facts.runs.first() {
            detail = format!("It has been running since {}. ", self.at(run.since));
        }
        match &self.facts.times {
            Times::Startup => detail.push_str("It runs when the server starts."),
            Times::At { next: Some(next), .. } => {
                detail.push_str(&format!("It runs next at {}.", self.at(*next)));
            }
            _ => detail.push_str("It runs again once the run under way has ended."),
        }
        detail
    }

    fn all_is_well(&mut self) {
        self.say(Severity::Info, "nothing wrong", self.outlook(), None);
    }

    fn next_run(&mut self) {
        if let Times::At { next: Some(next), .. } = self.facts.times {
            let detail = format!("It runs next at {}.", self.at(next));
            self.say(Severity::Info, "next run", detail, None);
        }
    }
}

/// `1 run`, `2 runs`.
fn count(number: i64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The first line of a text with a full stop, and of a bounded length.
fn sentence(text: &str) -> String {
    let first = text.trim().lines().next().unwrap_or_default();
    let text = crate::quote::cut(first, 500);
    let text = text.trim_end_matches('.');
    format!("{text}.")
}
