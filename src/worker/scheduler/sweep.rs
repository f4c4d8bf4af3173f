//! Reading all jobs again, some at a time.
//!
//! Invariant: runs start between two pages, so that many jobs make nobody late. Jobs up to `after` are
//! known as their rows were when the sweep passed them, or newer; the others as before it. A job that
//! is gone is forgotten at the end, unless its own news came first. Calendars are read before the jobs,
//! each as it was at one moment, and taken when all are read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use pg_tock_core::plan::Dates;
use pg_tock_core::portion::Portion;

use super::Scheduler;
use super::resume::Puts;
use super::sight::Source;
use crate::catalog::load::{self, Installed, JobRow};
use crate::pg::txn::{self, Failure};
use crate::pg::{lock, time};

/// How many jobs are read at a time when one of them cannot be read.
const AROUND: usize = 1_000;
/// How many calendars are read at a time at the most.
const CALENDARS_AT_ONCE: usize = 50;

/// A sweep that is under way.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The calendars read so far; None when all have been taken.
    calendars: Option<Calendars>,
    /// The last job it has passed.
    after: i64,
    /// The jobs there are.
    there: HashSet<i64>,
}

/// Calendars, some of which are still to be read.
#[derive(Debug, Default)]
struct Calendars {
    read: HashMap<String, Arc<Dates>>,
    /// The name of the last.
    after: Vec<u8>,
    page: Portion,
}

/// Some rows of `cron.job`.
pub(super) struct Page {
    pub(super) rows: Vec<JobRow>,
    /// The last of their ids, and of those that could not be read; None if there were none.
    pub(super) last: Option<i64>,
}

impl Scheduler {
    /// Begins to read all jobs. False if that has to wait.
    pub(super) fn begin_sweep(&mut self, installed: Installed) -> bool {
        if !self.read_surroundings(installed) {
            return false;
        }
        let calendars = Some(Calendars::default());
        self.sweep = Some(Sweep { calendars, after: i64::MIN, there: HashSet::new() });
        self.sweep_on()
    }

    /// Reads the next jobs, if a sweep is under way. False if that has to wait.
    pub(super) fn sweep_on(&mut self) -> bool {
        let Some(from) = self.sweep.as_ref().map(|sweep| sweep.after) else { return true };
        let installed = match txn::run("looking for the extension", load::installed) {
            Some(Ok(Some(installed))) if installed.extension.to_u32() == self.extension => {
                installed
            }
            Some(Ok(_)) => {
                // Dropped, or another one by now.
                self.sweep = None;
                self.database.changes.push_everything();
                return true;
            }
            Some(Err(_)) | None => return false,
        };
        if let Some(calendars) = self.sweep.as_mut().and_then(|sweep| sweep.calendars.take()) {
            let Some((calendars, over)) = calendars.read_on() else {
                // From the first one, when they can be read.
                self.restart_calendars();
                return false;
            };
            if over {
                self.jobs.take_calendars(calendars.read);
            } else if let Some(sweep) = &mut self.sweep {
                sweep.calendars = Some(calendars);
            }
            return true;
        }
        let since = Instant::now();
        let most = self.page.size();
        let Some(Page { rows, last }) = self.read_page(installed, from, most) else { return false };
        self.stats_pending = true;
        let Some(last) = last else {
            self.end_sweep();
            return true;
        };
        self.note_moves();
        self.saw(&rows);
        if let Some(sweep) = &mut self.sweep {
            sweep.after = last;
        }
        let count = rows.len();
        let mut puts = Puts::default();
        self.sort(rows, &mut puts);
        self.put(puts, false);
        self.page.done(count, since.elapsed());
        true
    }

    fn restart_calendars(&mut self) {
        if let Some(sweep) = &mut self.sweep {
            sweep.calendars = Some(Calendars::default());
        }
    }

    /// Reads all calendars at once, when there is nothing to run yet. False if that has to wait.
    pub(super) fn read_calendars(&mut self) -> bool {
        let mut calendars = Calendars::default();
        loop {
            match calendars.read_on() {
                None => return false,
                Some((all, true)) => {
                    self.jobs.take_calendars(all.read);
                    return true;
                }
                Some((some, false)) => calendars = some,
            }
        }
    }

    fn end_sweep(&mut self) {
        let Some(Sweep { there, .. }) = self.sweep.take() else { return };
        for job in self.jobs.ids() {
            if !there.contains(&job.0) {
                self.drop_job(job);
            }
        }
        self.jobs.company.read_names();
        self.all_read();
    }

    /// These jobs are there, should a sweep be under way.
    pub(super) fn saw(&mut self, rows: &[JobRow]) {
        if let Some(sweep) = &mut self.sweep {
            sweep.there.extend(rows.iter().map(|row| row.id));
        }
    }

    /// Reads the roles that rows of jobs refer to, first: should one change while they are read, they are
    /// read again. Makes sure that queues and calendars can be read, too. False if that has to wait.
    pub(super) fn read_surroundings(&mut self, installed: Installed) -> bool {
        let read = txn::run("reading roles and queues", || {
            if !lock::try_read_table(installed.jobs) {
                return Ok(None);
            }
            let roles = load::roles()?;
            Ok::<_, pgrx::spi::Error>(Some((load::calendars(&[], 0)?, load::queues(&[])?, roles)))
        });
        let Some(Ok(Some((.., roles)))) = read else { return false };
        self.roles = Some(roles);
        // They are read when somebody waits for one.
        self.jobs.company.forget_names(&mut self.engine);
        self.engine.doubt_queues();
        self.saw_source(Source::Queues, true, time::now());
        true
    }

    /// Reads so many jobs after this one, but for those that cannot be read. None: it has to wait.
    pub(super) fn read_page(
        &mut self,
        installed: Installed,
        from: i64,
        most: usize,
    ) -> Option<Page> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = txn::attempt("reading the jobs", || {
            if !lock::try_read_table(installed.jobs) {
                return Ok(None);
            }
            load::page(from, most).map(Some)
        });
        match read {
            Ok(Ok::<_, pgrx::spi::Error>(Some(rows))) => {
                let last = rows.last().map(|row| row.id);
                Some(Page { rows, last })
            }
            // A value in one of them makes the query fail: that one is left out.
            Err(Failure::Data) => {
                let ids = txn::run("reading the ids of jobs", || load::ids(from, most))?.ok()?;
                let (mut rows, mut there) = (Vec::new(), HashSet::new());
                for some in ids.chunks(AROUND) {
                    rows.extend(self.read_halves(some, &mut there)?);
                }
                if let Some(sweep) = &mut self.sweep {
                    sweep.there.extend(there);
                }
                Some(Page { rows, last: ids.last().copied() })
            }
            _ => None,
        }
    }
}

impl Calendars {
    /// Reads the next ones, and says whether there are no more. None: that has to wait.
    fn read_on(mut self) -> Option<(Self, bool)> {
        let since = Instant::now();
        let most = self.page.size().min(CALENDARS_AT_ONCE);
        let read = txn::run("reading calendars", || load::calendars(&self.after, most));
        let (some, last) = read?.ok()?;
        let over = some.len() < most;
        self.page.done(some.len(), since.elapsed());
        let dates = some.into_iter().map(|(name, days)| (name, Arc::new(Dates::from_days(days))));
        self.read.extend(dates);
        self.after = last.unwrap_or_default();
        Some((self, over))
    }
}
