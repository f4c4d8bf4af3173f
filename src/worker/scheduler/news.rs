//! What others have changed, and reading it.
//!
//! Invariant: while a table is locked everything goes on as it was read last, and what has changed
//! takes effect soon after the lock is gone.

use std::collections::HashSet;

use pg_tock_core::time::{JobId, Timestamp};
use pgrx::pg_sys;

use super::resume::Puts;
use super::retries::Retries;
use super::sight::Source;
use super::successes::Successes;
use super::sweep::Page;
use super::{LOCK_RETRY, Scheduler, start};
use crate::catalog::load::{self, JobRow};
use crate::pg::txn::{self, Failure};
use crate::pg::{lock, process, time};
use crate::shmem::asks::{self, State};
use crate::shmem::changes::News;
use crate::shmem::taken_back;

/// How long to wait before looking again at rows of the ledger that are locked.
const LEFT_RETRY: i64 = Timestamp::SECOND;

/// How many jobs are read at a time when they are read for the first time: so many that planning
/// costs nothing, and so few that they need little memory.
const FIRST_PAGE: usize = 25_000;

/// How often all jobs are read at the most.
pub(super) const READ_ALL_PAUSE: i64 = Timestamp::SECOND;

impl Scheduler {
    /// Reads what others have changed. While `cron.job` is locked everything goes on as it was.
    pub(super) fn take_news(&mut self) {
        // SAFETY: outside a transaction, as in every main loop.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        self.news.add(self.database.changes.take());
        // Before the jobs that name them.
        let queues = std::mem::take(&mut self.news.queues);
        self.read_queues(queues);
        self.read_news();
        self.read_queues(false);
    }

    fn read_news(&mut self) {
        let now = time::now();
        if self.start_up_at.take_if(|at| *at <= now).is_some() {
            self.start_up();
            self.take_all_requests();
        }
        if self.ledger_at.take_if(|at| *at <= now).is_some() {
            self.news.ledger = true;
        }
        self.news.jobs.extend(self.jobs.room.take_put_off(now));
        if self.read_at.is_some_and(|at| at > now) {
            return;
        }
        self.read_at = None;
        let sweeps = self.sweep.is_some();
        let swept = self.sweep_on();
        self.make_way();
        if sweeps || !swept {
            self.saw_source(Source::Jobs, swept, now);
        }
        if !swept {
            self.read_at = Some(now.plus(LOCK_RETRY));
            return;
        }
        let mut news = std::mem::take(&mut self.news);
        if (news.everything || news.roles) && !self.may_read_all(now) {
            // What is said of single jobs does not wait for that.
            self.news.everything = std::mem::take(&mut news.everything);
            self.news.roles = std::mem::take(&mut news.roles);
        }
        let most = self.page.size();
        if news.jobs.len() > most {
            self.news.jobs = news.jobs.split_off(most);
        }
        if news.is_empty() {
            return;
        }
        self.stats_pending = true;
        let full = news.everything || news.roles;
        let read = self.read(&news);
        self.saw_source(Source::Jobs, read, now);
        if !read {
            self.news.add(news);
            self.read_at = Some(now.plus(LOCK_RETRY));
        } else if full && !self.installed {
            // The note that the extension is absent has to be older than the last look.
            self.looked_again = !self.looked_again;
            if self.looked_again {
                self.news.everything = true;
                self.read_at = Some(now.plus(LOCK_RETRY));
            }
        }
    }

    /// Whether all jobs may be read again: anybody can bring that about, with ALTER ROLE for
    /// instance, so not all the time.
    fn may_read_all(&self, now: Timestamp) -> bool {
        // After a clock that was set back the last time lies ahead.
        let pause = 0..READ_ALL_PAUSE;
        !self.installed || self.sweep.is_none() && !pause.contains(&now.since(self.read_all_at))
    }

    /// Whether there may be jobs that are not known yet.
    pub(super) fn has_unread_jobs(&self) -> bool {
        let news = &self.news;
        let unread = self.sweep.is_some() || news.everything || !news.jobs.is_empty();
        unread || self.jobs.room.next_read().is_some() || self.database.changes.are_there()
    }

    /// When there is something to be read.
    pub(super) fn next_read(&self) -> Option<Timestamp> {
        let wanted = !self.engine.unknown_queues(1).is_empty();
        let queues = self.jobs.company.next_queues(wanted).filter(|_| self.installed);
        [queues, self.next_news(), self.jobs.room.next_read()].into_iter().flatten().min()
    }

    fn next_news(&self) -> Option<Timestamp> {
        if self.read_at.is_some() {
            return self.read_at;
        }
        if self.sweep.is_some() || !self.news.jobs.is_empty() {
            return Some(Timestamp(0));
        }
        let all = self.news.everything || self.news.roles;
        all.then(|| self.read_all_at.plus(READ_ALL_PAUSE))
    }

    /// Acts upon news. False if that has to wait.
    fn read(&mut self, news: &News) -> bool {
        if news.roles && !news.everything && self.installed {
            match self.roles_are_as_read() {
                Some(true) => self.read_all_at = time::now(),
                Some(false) => return self.read(&News { everything: true, ..news.clone() }),
                None => return false,
            }
        } else if news.everything || news.roles {
            let read = self.read_all();
            if read && news.ledger && self.installed {
                self.look_at_ledger();
            }
            return read;
        }
        if !self.installed {
            // Jobs that change say that the extension is there, whatever was seen before.
            return news.jobs.is_empty() || self.read_all();
        }
        if news.ledger {
            self.look_at_ledger();
        }
        news.jobs.is_empty() || self.read_some(&news.jobs)
    }

    /// Takes in what others have done to the ledger. While it is locked, jobs that change are read all
    /// the same.
    fn look_at_ledger(&mut self) {
        let read = self.put_in_order() && self.look_again();
        self.saw_source(Source::Ledger, read, time::now());
        if !read {
            self.ledger_at = Some(time::now().plus(LOCK_RETRY));
        }
    }

    /// Whether the roles are what they were when all jobs were read last, as far as jobs know them:
    /// anybody can alter himself in a loop. None: they cannot be read.
    fn roles_are_as_read(&self) -> Option<bool> {
        let roles = txn::run("reading the roles", load::roles)?.ok()?;
        Some(self.roles == Some(roles))
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

    /// Reads every job: at once when it is for the first time, and else in a sweep.
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
        if installed.extension.to_u32() == self.extension {
            return self.begin_sweep(installed);
        }
        self.uninstalled();
        self.extension = installed.extension.to_u32();
        self.ledger = installed.ledger.to_u32();
        self.installed = true;
        // The rows of dead runs first: they are what their occurrences came to.
        if !self.put_in_order() {
            self.database.changes.push_ledger();
        }
        self.look_back();
        let mut puts = Puts::default();
        let mut read = self.read_surroundings(installed) && self.read_calendars();
        let mut after = Some(i64::MIN);
        while let (true, Some(from)) = (read, after) {
            match self.read_page(installed, from, FIRST_PAGE) {
                Some(Page { rows, last }) => {
                    after = last;
                    self.sort(rows, &mut puts);
                }
                None => read = false,
            }
        }
        // Where that failed, those that were sorted are read again, and are known then.
        self.put(puts, read);
        if !read {
            (self.installed, self.extension) = (false, 0);
            return false;
        }
        if !self.look_again() {
            self.database.changes.push_ledger();
        }
        self.start_up();
        let before = time::monotonic();
        self.all_read();
        // There is nothing to run yet: all at once.
        while self.requests_at.is_some_and(|at| at <= time::now()) {
            self.take_requests_again();
        }
        if self.requests_at.is_none() {
            // They have been read of. Some may be about runs of another extension.
            taken_back::forget_older(self.oid, before);
        }
        true
    }

    /// What belongs to the reading of all jobs, once that is done.
    pub(super) fn all_read(&mut self) {
        self.take_all_requests();
        self.records.resets = true;
        process::give_memory_back();
        self.read_all_at = time::now();
    }

    /// Reads some jobs.
    fn read_some(&mut self, ids: &[i64]) -> bool {
        let mut there = HashSet::new();
        let read = txn::attempt("reading jobs", || {
            let Some(installed) = load::installed()? else { return Ok(None) };
            if !lock::try_read_table(installed.jobs) {
                return Ok(None);
            }
            load::some(ids).map(Some)
        });
        let rows = match read {
            Ok(Ok::<_, pgrx::spi::Error>(Some(rows))) => rows,
            Err(Failure::Data) => match self.read_halves(ids, &mut there) {
                Some(rows) => rows,
                None => return false,
            },
            _ => return false,
        };
        there.extend(rows.iter().map(|row| row.id));
        for id in ids.iter().filter(|id| !there.contains(id)) {
            self.drop_job(JobId(*id));
        }
        self.note_moves();
        self.saw(&rows);
        let mut puts = Puts::default();
        self.sort(rows, &mut puts);
        self.put(puts, false);
        self.records.resets = true;
        self.make_way();
        self.take_requests(ids)
    }

    /// Reads these jobs but for those that cannot be read, whose ids are added to `there`. `None`: it has
    /// to wait.
    pub(super) fn read_halves(
        &mut self,
        ids: &[i64],
        there: &mut HashSet<i64>,
    ) -> Option<Vec<JobRow>> {
        match txn::attempt("reading jobs", || load::some(ids)) {
            Ok(rows) => rows.ok(),
            Err(Failure::Data) => {
                let (left, right) = ids.split_at(ids.len() / 2);
                if left.is_empty() {
                    for &id in right {
                        self.cannot_read(JobId(id));
                        there.insert(id);
                    }
                    return Some(Vec::new());
                }
                let mut rows = self.read_halves(left, there)?;
                rows.extend(self.read_halves(right, there)?);
                Some(rows)
            }
            Err(_) => None,
        }
    }

    /// The row of a job cannot be read: it does not run until the row is another one.
    pub(super) fn cannot_read(&mut self, job: JobId) {
        self.jobs.cannot_read(job);
        self.refused(job);
    }

    /// A job does not run: whatever waited of it is forgotten.
    pub(super) fn refused(&mut self, job: JobId) {
        self.unknown.remove(&job);
        self.engine.drop_job(job);
        self.forget_requests(job);
        self.nobody_waits_for(job);
    }

    /// A job that is not in the table any more.
    pub(super) fn drop_job(&mut self, job: JobId) {
        self.engine.drop_job(job);
        self.jobs.remove(job);
        self.look_for_room();
        self.alerts.gone(job);
        self.unknown.remove(&job);
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
        self.jobs.forgive_all();
        self.jobs.company.all_gone();
        self.jobs.successes = Successes::default();
        self.engine.retire_where(|_| true);
        self.records.clear();
        self.alerts.clear();
        self.retries = Retries::default();
        self.requests.clear();
        (self.requests_at, self.ledger_at, self.start_up_at) = (None, None, None);
        self.asked.clear();
        self.outside.clear();
        self.unknown.clear();
        self.sweep = None;
        self.sight.clear();
        if self.extension != 0 {
            self.database.keeper.forget();
        }
        self.installed = false;
        self.extension = 0;
    }
}
