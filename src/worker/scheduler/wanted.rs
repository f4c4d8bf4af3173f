//! What somebody wants written: `cron.flush`, or who deletes from the ledger.
//!
//! Invariant: a ticket is done when all is written that was known when it was first seen, whatever
//! has come since; and that takes as many turns as it needs, so that nothing due waits for it.

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
    /// What happened to these jobs, by their ids, and up to where they were accounted for.
    jobs: Vec<(JobId, Option<Timestamp>)>,
    /// The first of them that are not written yet.
    next: usize,
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
        self.wanted = Some(Wanted { ticket, rows: self.numbered, jobs, next: 0 });
        self.decided.hurry();
        self.over_at = self.over_at.map(|_| Timestamp(i64::MIN));
        (self.retry_at, self.count_at) = (None, Some(time::now()));
    }

    /// Writes a portion of what is wanted; its rows are written as all others are. The ticket, once
    /// everything is.
    fn write_wanted(&mut self, oldest: Option<RunId>) -> Option<u64> {
        // What has ended waits until runs of earlier schedulers are counted. A row that somebody has
        // locked may be locked by who waits for this.
        let wanted = self.wanted.as_ref().filter(|_| self.catch_up.is_none())?;
        // They are in their order.
        if self.rows.front().is_some_and(|row| row.number <= wanted.rows) {
            return None;
        }
        let rest = wanted.jobs.get(wanted.next..).unwrap_or_default();
        let some = rest.iter().take(self.counting.size());
        let next = wanted.next + some.len();
        let (ticket, over) = (wanted.ticket, next == wanted.jobs.len());
        let jobs: Vec<JobId> =
            some.map(|(job, _)| *job).filter(|job| self.progress.contains_key(job)).collect();
        if !jobs.is_empty() {
            let due = self.count_at.is_some_and(|at| at <= time::now());
            if !due || !self.count(oldest, jobs) {
                return None;
            }
        }
        if over {
            self.wanted = None;
            self.count_at = None;
            self.count_soon(time::now());
            return Some(ticket);
        }
        self.wanted.as_mut()?.next = next;
        self.count_at = Some(time::now());
        None
    }

    /// What is wanted, if all rows of that time are written.
    pub(super) fn wanted_and_written(&self) -> Option<&Wanted> {
        let wanted = self.wanted.as_ref()?;
        self.unwritten_rows().all(|row| row.number > wanted.rows).then_some(wanted)
    }

    /// What happened to a job is written: where it was then is of no interest any more.
    pub(super) fn wanted_no_more(&mut self, job: JobId) {
        let Some(wanted) = &mut self.wanted else { return };
        if let Some((_, cursor)) = wanted.place(job).and_then(|at| wanted.jobs.get_mut(at)) {
            *cursor = None;
        }
    }
}

impl Wanted {
    /// Up to where a job was accounted for when the ticket was seen.
    pub(super) fn cursor(&self, job: JobId) -> Option<Timestamp> {
        let (_, cursor) = self.jobs.get(self.place(job)?)?;
        *cursor
    }

    fn place(&self, job: JobId) -> Option<usize> {
        self.jobs.binary_search_by_key(&job, |(job, _)| *job).ok()
    }

    /// The clock was set back to this instant: no job has come further.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        for cursor in self.jobs.iter_mut().filter_map(|(_, cursor)| cursor.as_mut()) {
            *cursor = (*cursor).min(to);
        }
    }
}
