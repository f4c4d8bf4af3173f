//! What others have changed, and reading it.
//!
//! Invariant: while a table is locked everything goes on as it was read last, and what has changed
//! takes effect soon after the lock is gone.

use std::collections::HashSet;

use pg_tock_core::time::{JobId, Timestamp};
use pgrx::pg_sys;

use super::resume::Puts;
use super::retries::Retries;
use super::{Scheduler, start};
use crate::catalog::load::{self, JobRow};
use crate::pg::txn::{self, Failure};
use crate::pg::{lock, process, time};
use crate::shmem::asks::{self, State};
use crate::shmem::changes::News;

/// How long to wait before asking for a locked `cron.job` again.
pub(super) const READ_RETRY: i64 = Timestamp::SECOND / 10;

/// How long to wait before looking again at rows of the ledger that are locked.
const LEFT_RETRY: i64 = Timestamp::SECOND;

/// How many jobs are read at a time when one of them cannot be read.
const READ_AROUND: usize = 1_000;

/// How often all jobs are read at the most.
pub(super) const READ_ALL_PAUSE: i64 = Timestamp::SECOND;

impl Scheduler {
    /// Reads what others have changed. While `cron.job` is locked everything goes on as it was.
    pub(super) fn take_news(&mut self) {
        // SAFETY: outside a transaction, as in every main loop.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        self.news.add(self.database.changes.take());
        let now = time::now();
        if self.ledger_at.take_if(|at| *at <= now).is_some() {
            self.news.ledger = true;
        }
        if self.news.is_empty() || self.read_at.is_some_and(|at| at > now) {
            return;
        }
        self.stats_pending = true;
        self.read_at = None;
        let mut news = std::mem::take(&mut self.news);
        // Anybody can make all jobs be read again, with ALTER ROLE for instance: not all the time.
        let early = now.since(self.read_all_at) < READ_ALL_PAUSE && self.installed;
        if early && (news.everything || news.roles) {
            let later = News { everything: true, ..News::default() };
            (news.everything, news.roles) = (false, false);
            self.news = later;
            self.read_at = Some(self.read_all_at.plus(READ_ALL_PAUSE));
        }
        let full = news.everything || news.roles;
        if !self.read(&news) {
            self.news.add(news);
            self.read_at = Some(now.plus(READ_RETRY));
        } else if full && !self.installed {
            // The note that the extension is absent has to be older than the last look.
            self.looked_again = !self.looked_again;
            if self.looked_again {
                self.news.everything = true;
                self.read_at = Some(now.plus(READ_RETRY));
            }
        }
    }

    /// Acts upon news. False if that has to wait.
    fn read(&mut self, news: &News) -> bool {
        if news.everything || news.roles {
            return self.read_all() && (!news.ledger || !self.installed || self.put_in_order());
        }
        if !self.installed {
            // Jobs that change say that the extension is there, whatever was seen before.
            return news.jobs.is_empty() || self.read_all();
        }
        let in_order = !news.ledger || self.put_in_order() && self.look_again();
        in_order && (news.jobs.is_empty() || self.read_some(&news.jobs))
    }

    /// Closes what is not alive, what is locked a while later. False if all of that has to wait.
    fn put_in_order(&mut self) -> bool {
        let mut alive = self.live_runs();
        alive.extend(self.records.unwritten_runs());
        let done = txn::run("putting the ledger in order", || start::prepare(&alive));
        let Some(Ok(all)) = done else { return false };
        self.ledger_at = (!all).then(|| time::now().plus(LEFT_RETRY));
        true
    }

    /// Reads every job.
    fn read_all(&mut self) -> bool {
        let installed = match txn::run("looking for the extension", load::installed) {
            Some(Ok(Some(installed))) => installed,
            Some(Ok(None)) => {
                self.uninstalled();
                if self.looked_again {
                    asks::tell(self.oid, State::Gone, |_| true);
                }
                return true;
            }
            Some(Err(_)) | None => return false,
        };
        let first = installed.extension.to_u32() != self.extension;
        if first {
            self.uninstalled();
            self.extension = installed.extension.to_u32();
            self.ledger = installed.ledger.to_u32();
            self.installed = true;
            // The rows of dead runs first: they are what their occurrences came to.
            if !self.put_in_order() {
                self.database.changes.push_ledger();
            }
            self.look_back();
        }
        self.note_moves();
        let mut there = HashSet::new();
        let mut puts = Puts::default();
        let read = txn::attempt("reading the jobs", || {
            if !lock::try_read_table(installed.jobs) {
                return Ok(false);
            }
            self.jobs.take_calendars(load::calendars()?);
            self.jobs.company.take_queues(load::queues()?, &mut self.engine);
            load::all(|rows| {
                there.extend(rows.iter().map(|row| row.id));
                self.sort(rows, &mut puts);
            })?;
            Ok(true)
        });
        let read = match read {
            Err(Failure::Data) => self.read_around(&mut there, &mut puts),
            read => matches!(read, Ok(Ok::<bool, pgrx::spi::Error>(true))),
        };
        if !read {
            // Those that were sorted are read again, and are known then.
            self.put(puts, false);
            if first {
                (self.installed, self.extension) = (false, 0);
            }
            return false;
        }
        for job in self.jobs.ids() {
            if !there.contains(&job.0) {
                self.drop_job(job);
            }
        }
        self.put(puts, true);
        if first && !self.look_again() {
            self.database.changes.push_ledger();
        }
        self.take_all_requests();
        process::give_memory_back();
        self.read_all_at = time::now();
        if first {
            self.start_up();
        }
        true
    }

    /// Reads some jobs.
    fn read_some(&mut self, ids: &[i64]) -> bool {
        let read = txn::attempt("reading jobs", || {
            let Some(installed) = load::installed()? else { return Ok(None) };
            if !lock::try_read_table(installed.jobs) {
                return Ok(None);
            }
            load::some(ids).map(Some)
        });
        let rows = match read {
            Ok(Ok::<_, pgrx::spi::Error>(Some(rows))) => rows,
            Err(Failure::Data) => match self.read_halves(ids) {
                Some(rows) => rows,
                None => return false,
            },
            _ => return false,
        };
        for &id in ids {
            if !rows.iter().any(|row| row.id == id) {
                self.drop_job(JobId(id));
            }
        }
        self.note_moves();
        let mut puts = Puts::default();
        self.sort(rows, &mut puts);
        self.put(puts, false);
        self.take_requests(Some(ids)).is_some()
    }

    /// Reads every job when a value in one of them makes the query fail: that one is left out.
    fn read_around(&mut self, there: &mut HashSet<i64>, puts: &mut Puts) -> bool {
        let Some(Ok(ids)) = txn::run("reading the ids of jobs", load::ids) else { return false };
        for some in ids.chunks(READ_AROUND) {
            let Some(rows) = self.read_halves(some) else { return false };
            there.extend(rows.iter().map(|row| row.id));
            self.sort(rows, puts);
        }
        true
    }

    /// Reads these jobs but for those that cannot be read. `None`: it has to wait.
    fn read_halves(&mut self, ids: &[i64]) -> Option<Vec<JobRow>> {
        match txn::attempt("reading jobs", || load::some(ids)) {
            Ok(rows) => rows.ok(),
            Err(Failure::Other) => None,
            Err(Failure::Data) => {
                let (left, right) = ids.split_at(ids.len() / 2);
                if left.is_empty() {
                    right.iter().for_each(|&id| self.jobs.cannot_read(JobId(id)));
                    return Some(Vec::new());
                }
                let mut rows = self.read_halves(left)?;
                rows.extend(self.read_halves(right)?);
                Some(rows)
            }
        }
    }

    /// A job that is not in the table any more.
    fn drop_job(&mut self, job: JobId) {
        self.engine.drop_job(job);
        self.jobs.remove(job);
        self.jobs.company.gone(job);
        self.forget_requests(job);
        self.records.gone(job);
        self.outside.remove(&job);
        self.nobody_waits_for(job);
    }

    /// The extension is not there, or not any more.
    fn uninstalled(&mut self) {
        for job in self.jobs.ids() {
            self.engine.drop_job(job);
            self.jobs.remove(job);
        }
        self.jobs.company.all_gone();
        self.engine.retire_where(|_| true);
        self.records.clear();
        self.retries = Retries::default();
        self.requests.clear();
        (self.requests_at, self.ledger_at) = (None, None);
        self.asked.clear();
        self.outside.clear();
        self.installed = false;
        self.extension = 0;
    }
}
