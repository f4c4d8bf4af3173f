//! What is in the job's way at this moment.

use super::{Findings, Holder, Run, Silence, Times, count};
use crate::cancel::span;
use crate::quote::{excerpt, literal};
use crate::time::Timestamp;

/// So long after its instant nobody wonders yet that a job has not begun: what happened since may
/// not have been written down.
const PATIENCE: i64 = 5 * Timestamp::SECOND;

impl Findings<'_> {
    /// `may_run`: nothing that lasts keeps the job from running.
    pub(super) fn present(&mut self, may_run: bool) {
        self.holders();
        let waits = self.waits_since();
        let before = self.found.len();
        self.runs(waits.is_some());
        if !may_run || waits.is_none() {
            return self.requests();
        }
        self.upstreams();
        if self.facts.job.is_http {
            self.http_limits();
        } else {
            self.limits();
        }
        self.queue();
        if let Some(since) = waits
            && self.found.len() == before
            && self.facts.holders.is_empty()
        {
            let detail = format!(
                "It has been due since {} and has not begun: its turn has not come.",
                self.at(since)
            );
            self.warning("waiting", detail, None);
        }
        self.requests();
    }

    /// Since when it should have begun.
    fn waits_since(&self) -> Option<Timestamp> {
        match self.facts.times {
            Times::At { due, .. } => due.filter(|due| self.facts.now.since(*due) > PATIENCE),
            _ => None,
        }
    }

    fn holders(&mut self) {
        for holder in &self.facts.holders {
            let (detail, remedy) = if holder.own {
                let remedy = format!("SELECT cron.release({})", self.facts.job.id);
                ("This session holds it with cron.hold.".to_owned(), Some(remedy))
            } else {
                let detail = format!("{} holds it with cron.hold.", process(holder));
                (detail, end(holder))
            };
            self.warning("held", detail, remedy);
        }
    }

    /// Runs that are in the way of the next one, or of others.
    fn runs(&mut self, waits: bool) {
        for run in &self.facts.runs {
            let since = self.at(run.since);
            let in_the_way = waits && !self.facts.job.overlaps;
            let waits_for = match (&run.waits_for, run.blockers.first()) {
                (_, Some(blocker)) => format!(" It waits for {}.", lower(&process(blocker))),
                (Some(event), None) => format!(" It waits for {event}."),
                (None, None) => String::new(),
            };
            let cancel = format!("SELECT cron.cancel_run({})", run.id);
            if let Some(blocker) = run.blockers.first() {
                let detail = format!(
                    "Run {}, process {}, has been going on since {since}.{waits_for}",
                    run.id, run.pid
                );
                self.warning("run blocked", detail, end(blocker).or(Some(cancel)));
            } else if let Some(silence) = run.silence {
                let detail = self.stuck(run, silence, &waits_for);
                self.warning("run stuck", detail, cancel);
            } else if in_the_way {
                let detail = format!(
                    "Its run {}, process {}, has been going on since {since}; the next waits for \
                     its end.{waits_for}",
                    run.id, run.pid
                );
                self.warning("still running", detail, cancel);
            }
        }
    }

    /// What happened, for how long, and what to do.
    fn stuck(&self, run: &Run, silence: Silence, waits_for: &str) -> String {
        let since = self.at(run.since);
        let (lasts, limit) = (span(seconds(silence.lasts)), span(silence.limit));
        let (calls, advice) = match (self.facts.job.is_http, silence.spoke) {
            (true, _) => ("waits for its answer", "if it is to take that long, raise stuck_after"),
            (false, true) => (
                "has not called cron.heartbeat again",
                "if it works, have it call that more often, or raise stuck_after",
            ),
            (false, false) => (
                "has never called cron.heartbeat",
                "if it works, have it call that, or raise stuck_after",
            ),
        };
        format!(
            "Run {}, process {}, has given no sign of life for {lasts}, and stuck_after is {limit}: \
             it has been going on since {since} and {calls}.{waits_for} End it with the remedy if it \
             hangs; {advice}.",
            run.id, run.pid
        )
    }

    fn limits(&mut self) {
        let limits = self.facts.limits;
        let kept = if limits.of_role > 0 { limits.kept } else { 0 };
        if limits.running >= limits.most.saturating_sub(kept) {
            let but = match kept {
                0 => String::new(),
                kept => format!(", of which {kept} are kept for roles with nothing running"),
            };
            let detail = format!(
                "{}, and cron.max_running_jobs lets no more than {} through{but}. A change takes effect \
                 when the server is restarted.",
                under_way(limits.running, "run", ""),
                limits.most
            );
            let more = limits.most.saturating_mul(2);
            let remedy = format!("ALTER SYSTEM SET cron.max_running_jobs = {more}");
            self.warning("cap reached", detail, self.if_superuser(remedy));
        }
        let role = format!(" of role \"{}\"", excerpt(&self.facts.job.username));
        if limits.most_of_role > 0 && limits.of_role >= limits.most_of_role {
            let detail = format!(
                "{}, and cron.max_running_jobs_per_role lets no more than {} through. A change takes \
                 effect with SELECT pg_reload_conf().",
                under_way(limits.of_role, "run", &role),
                limits.most_of_role
            );
            let more = limits.most_of_role.saturating_mul(2);
            let remedy = format!("ALTER SYSTEM SET cron.max_running_jobs_per_role = {more}");
            self.warning("role cap reached", detail, self.if_superuser(remedy));
        }
        // The last one is kept for roles that have no run yet.
        let none_left = limits.short_of_slots || limits.workers >= limits.most_workers;
        if none_left && limits.running < limits.most {
            let detail = format!(
                "All of the {} of max_worker_processes that runs may have are taken, so it waits for \
                 another run to end. A change takes effect when the server is restarted.",
                count(limits.most_workers, "worker slot")
            );
            let more = limits.most_workers.saturating_mul(2);
            let remedy = format!("ALTER SYSTEM SET max_worker_processes = {more}");
            self.warning("no worker slot", detail, self.if_superuser(remedy));
        }
    }

    fn http_limits(&mut self) {
        let limits = self.facts.limits;
        if limits.requests >= limits.most_requests {
            let detail = format!(
                "{}, and cron.http_max_requests lets no more through. A change takes effect when the server is \
                 restarted.",
                under_way(limits.requests, "HTTP request", "")
            );
            let more = limits.most_requests.saturating_mul(2);
            let remedy = format!("ALTER SYSTEM SET cron.http_max_requests = {more}");
            self.warning("cap reached", detail, self.if_superuser(remedy));
        }
    }

    fn queue(&mut self) {
        let Some(queue) = &self.facts.job.queue else { return };
        let shown = excerpt(&queue.name);
        if !queue.exists {
            let detail = format!("Its queue \"{shown}\" does not exist, so nothing limits it.");
            let remedy = format!("SELECT cron.create_queue({})", literal(&queue.name));
            return self.warning("queue missing", detail, remedy);
        }
        if let Some(most) = queue.most.filter(|most| queue.running >= *most) {
            let detail = format!(
                "{}, and it lets no more than {most} through.",
                under_way(queue.running, "run", &format!(" of queue \"{shown}\""))
            );
            let remedy = format!(
                "UPDATE cron.queue SET max_running = {} WHERE name OPERATOR(pg_catalog.=) {}",
                most.saturating_mul(2),
                literal(&queue.name)
            );
            self.warning("queue full", detail, self.if_superuser(remedy));
        }
    }

    fn upstreams(&mut self) {
        let is_due =
            |upstream: &&super::Upstream| upstream.last_status.as_deref() != Some("failed");
        for upstream in self.facts.upstreams.iter().filter(is_due) {
            let Some(id) = upstream.id.filter(|_| upstream.active) else { continue };
            let detail = format!(
                "It starts after \"{}\", which has not succeeded for its latest instant yet.",
                excerpt(&upstream.name)
            );
            let remedy = format!("SELECT * FROM cron.diagnose({id})");
            self.warning("waits for upstream", detail, remedy);
        }
    }

    fn requests(&mut self) {
        for request in &self.facts.requests {
            let Some(at) = request.not_before.filter(|at| *at > self.facts.now) else { continue };
            let detail = format!(
                "Run {} ({}) is to begin at {}.",
                request.id,
                excerpt(&request.trigger),
                self.at(at)
            );
            self.say(super::Severity::Info, "attempt to come", detail, None);
        }
    }
}

fn process(holder: &Holder) -> String {
    let role = holder.role.as_ref().map(|role| format!(" of role \"{}\"", excerpt(role)));
    format!("Process {}{}", holder.pid, role.unwrap_or_default())
}

fn lower(words: &str) -> String {
    words.replacen('P', "p", 1)
}

fn end(holder: &Holder) -> Option<String> {
    holder.may_end.then(|| format!("SELECT pg_catalog.pg_terminate_backend({})", holder.pid))
}

/// `2 runs of role "ann" are under way`.
fn under_way(number: i64, thing: &str, whose: &str) -> String {
    let are = if number == 1 { "is" } else { "are" };
    format!("{}{whose} {are} under way", count(number, thing))
}

/// As many of these microseconds as are whole seconds, of one second on.
const fn seconds(micros: i64) -> i64 {
    if micros < Timestamp::SECOND { micros } else { micros - micros % Timestamp::SECOND }
}
