//! What has become of the job's occurrences so far.

use std::collections::BTreeMap;

use super::{Attempt, Findings, Job, Skip, count, sentence};
use crate::quote::{excerpt, literal};
use crate::run::SkipReason;

impl Findings<'_> {
    pub(super) fn past(&mut self) {
        self.broken_upstreams();
        self.skipped();
        self.failed();
    }

    fn broken_upstreams(&mut self) {
        for upstream in &self.facts.upstreams {
            let name = excerpt(&upstream.name);
            let Some(id) = upstream.id else {
                let detail = format!("It starts after \"{name}\", which does not exist.");
                let rest: Vec<&str> = self
                    .facts
                    .upstreams
                    .iter()
                    .map(|other| other.name.as_str())
                    .filter(|other| *other != upstream.name)
                    .collect();
                let remedy = self.set_job(&serde_json::json!({"run_after": rest}));
                self.error("upstream missing", detail, remedy);
                continue;
            };
            let what = if !upstream.active {
                "is switched off or paused"
            } else if upstream.last_status.as_deref() == Some("failed") {
                "failed the last time"
            } else {
                continue;
            };
            let detail = format!("It starts after \"{name}\", which {what}.");
            let remedy = format!("SELECT * FROM cron.diagnose({id})");
            self.warning("upstream failed", detail, remedy);
        }
    }

    /// A finding for each reason, the latest first.
    fn skipped(&mut self) {
        let mut reasons: BTreeMap<&str, Skip> = BTreeMap::new();
        for skip in &self.facts.skips {
            let all =
                reasons.entry(&skip.reason).or_insert_with(|| Skip { count: 0, ..skip.clone() });
            all.count = all.count.saturating_add(skip.count);
            all.first = all.first.min(skip.first);
            all.last = all.last.max(skip.last);
        }
        let mut reasons: Vec<Skip> = reasons.into_values().collect();
        reasons.sort_by_key(|skip| std::cmp::Reverse(skip.last));
        for skip in reasons {
            let since = if self.facts.attempts.is_empty() { "" } else { " since its last run" };
            let what = format!(
                "{} skipped{since}, the last at {}",
                was_were(skip.count, "occurrence"),
                self.at(skip.last)
            );
            self.skip(&skip, &what);
        }
    }

    fn skip(&mut self, skip: &Skip, what: &str) {
        let id = self.facts.job.id;
        let (from, to) = (literal(&self.at(skip.first)), literal(&self.at(skip.last)));
        let again = format!("SELECT cron.backfill({id}, {from}, {to})");
        match SkipReason::parse(&skip.reason) {
            Some(SkipReason::Condition) => {
                let detail = format!("{what}: its run_if was not true then.");
                self.warning("condition false", detail, self.condition());
            }
            Some(SkipReason::Upstream) => {
                let detail = format!("{what}: a job it starts after had not succeeded.");
                self.warning("upstream failed", detail, again);
            }
            Some(SkipReason::Missed | SkipReason::ServerCrashed) => {
                let detail = format!(
                    "{what}: the server, or its scheduler, was down then. What becomes of such \
                     occurrences is up to on_missed."
                );
                self.warning("missed", detail, again);
            }
            Some(SkipReason::Overlap) => {
                let detail = format!("{what}: an earlier run was still going on.");
                self.warning("overlap", detail, None);
            }
            Some(SkipReason::Held) => {
                self.warning("was held", format!("{what}: it was held then."), again);
            }
            Some(SkipReason::Paused) => {
                self.warning("was paused", format!("{what}: it was paused then."), again);
            }
            Some(SkipReason::Inactive) => {
                let detail = format!("{what}: it was switched off when they waited.");
                self.warning("was inactive", detail, None);
            }
            Some(SkipReason::Window) => {
                self.info("skipped", format!("{what}: its run_window was closed."));
            }
            Some(SkipReason::Calendar) => {
                self.info("skipped", format!("{what}: a calendar excluded that day."));
            }
            None => self.warning("skipped", format!("{what}: {}.", excerpt(&skip.reason)), None),
        }
    }

    /// A statement about the job's condition. It is its owner's SQL: to anybody else it is shown, and not
    /// given to be run, since that would be with other rights than the owner's.
    fn condition(&self) -> Option<String> {
        let Job { condition, database, .. } = &self.facts.job;
        let condition = condition.as_ref()?;
        Some(if self.facts.owns && *database == self.facts.server.database {
            // It may end in a comment.
            format!("SELECT (\n{condition}\n)")
        } else {
            format!("SELECT {} AS run_if", literal(condition))
        })
    }

    /// The newest attempt that counts, if it failed and nobody has seen to it, and how many before it did.
    /// One that somebody ended says nothing about the job.
    fn failed(&mut self) {
        let attempts = &self.facts.attempts;
        let counts: Vec<&Attempt> =
            attempts.iter().filter(|attempt| attempt.outcome != "cancelled").collect();
        if let Some(newest) = attempts.first().filter(|newest| newest.outcome == "cancelled") {
            let detail = format!("The last attempt was cancelled at {}.", self.at(newest.at));
            let remedy = newest.may_retry.then(|| format!("SELECT cron.retry_run({})", newest.id));
            self.say(super::Severity::Info, "cancelled", detail, remedy);
        }
        let fails = |attempt: &Attempt| !attempt.succeeded && !attempt.resolved;
        let Some(&last) = counts.first().filter(|last| fails(last)) else { return };
        let row = counts.iter().take_while(|attempt| fails(attempt)).count();
        let all = row == counts.len();
        let how_often = match row {
            1 => "The last attempt ended as".to_owned(),
            many if all && many > 1 => {
                format!("All of the last {many} attempts failed, the newest")
            }
            many => format!("The last {many} attempts failed, the newest"),
        };
        let state = last.sqlstate.as_ref().map(|state| format!(" with SQLSTATE {state}"));
        let message = last.message.as_deref().map(|message| format!(": {}", sentence(message)));
        let detail = format!(
            "{how_often} {} at {}{}{}",
            excerpt(&last.outcome),
            self.at(last.at),
            state.unwrap_or_default(),
            message.unwrap_or_else(|| ".".to_owned())
        );
        let remedy = last.may_retry.then(|| format!("SELECT cron.retry_run({})", last.id));
        self.warning("failing", detail, remedy);
    }
}

fn was_were(number: i64, thing: &str) -> String {
    format!("{} {}", count(number, thing), if number == 1 { "was" } else { "were" })
}
