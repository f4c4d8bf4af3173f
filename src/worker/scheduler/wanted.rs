//! What somebody wants written: `cron.flush`, or who deletes from the ledger.
//!
//! Invariant: a ticket is done when all is written that was known when it was first seen, whatever
//! has come since; and that takes as many turns as it needs, so that nothing due waits for it.

use std::collections::HashMap;

use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::Scheduler;
use super::records::Records;
use crate::pg::time;

/// What was known when a ticket was first seen.
#[derive(Debug)]
pub(super) struct Wanted {
    ticket: u64,
    /// Rows up to this one.
    rows: u64,
    /// What happened to these jobs, and up to where they were accounted for.
    jobs: HashMap<JobId, Option<Timestamp>>,
}

impl Scheduler {
    /// Goes on writing what is wanted. What is being read belongs to it, unless that has to wait.
    pub(super) fn write_wanted(&mut self, now: Timestamp) {
        let Some(ticket) = self.database.flush_wanted() else { return };
        if !self.installed {
            self.database.flushed_up_to(ticket);
            return;
        }
        if self.sweep.is_some() && self.read_at.is_none() {
            return;
        }
        if self.records.wanted.is_none() {
            if self.database.skips_wanted() {
                self.engine.flush_skips(now, &mut self.actions);
            }
            self.act(now);
            self.note_moves();
            self.records.want(ticket);
            self.records.flush(time::now(), self.oldest_run());
        }
        if let Some(ticket) = self.records.write_wanted(self.oldest_run()) {
            self.database.flushed_up_to(ticket);
        }
    }
}

impl Records {
    /// What is known now is to be written soon.
    fn want(&mut self, ticket: u64) {
        let jobs = self.progress.iter().map(|(job, progress)| (*job, progress.cursor)).collect();
        self.wanted = Some(Wanted { ticket, rows: self.numbered, jobs });
        self.decided.hurry();
        self.over_at = self.over_at.map(|_| Timestamp(i64::MIN));
        (self.retry_at, self.count_at) = (None, Some(time::now()));
    }

    /// Writes a portion of what is wanted; its rows are written as all others are. The ticket, once
    /// everything is.
    fn write_wanted(&mut self, oldest: Option<RunId>) -> Option<u64> {
        // What has ended waits until runs of earlier schedulers are counted. A row that somebody has
        // locked may be locked by who waits for this.
        let wanted = self.wanted.as_mut().filter(|_| self.catch_up.is_none())?;
        if self.rows.iter().any(|row| row.number <= wanted.rows) {
            return None;
        }
        wanted.jobs.retain(|job, _| self.progress.contains_key(job));
        let jobs: Vec<JobId> = wanted.jobs.keys().take(self.counting.size()).copied().collect();
        if !jobs.is_empty() {
            let due = self.count_at.is_some_and(|at| at <= time::now());
            if !due || !self.count(oldest, jobs.clone()) {
                return None;
            }
        }
        let wanted = self.wanted.as_mut()?;
        for job in jobs {
            wanted.jobs.remove(&job);
        }
        if !wanted.jobs.is_empty() {
            self.count_at = Some(time::now());
            return None;
        }
        self.wanted.take().map(|wanted| wanted.ticket)
    }

    /// Up to where a job was accounted for when a ticket was seen, if all rows of that time are written.
    pub(super) fn wanted_cursor(&self, job: JobId) -> Option<Timestamp> {
        let wanted = self.wanted.as_ref()?;
        let written = self.unwritten_rows().all(|row| row.number > wanted.rows);
        wanted.jobs.get(&job).copied().flatten().filter(|_| written)
    }

    /// What happened to a job is written: where it was then is of no interest any more.
    pub(super) fn wanted_no_more(&mut self, job: JobId) {
        if let Some(cursor) = self.wanted.as_mut().and_then(|wanted| wanted.jobs.get_mut(&job)) {
            *cursor = None;
        }
    }
}

impl Wanted {
    /// The clock was set back to this instant: no job has come further.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        for cursor in self.jobs.values_mut().flatten() {
            *cursor = (*cursor).min(to);
        }
    }
}
