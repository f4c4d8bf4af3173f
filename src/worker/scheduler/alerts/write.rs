//! What is read and written of alerts.
//!
//! Invariant: each turn does little of it, under locks that need no waiting, and leaves time to runs.

use pg_tock_core::alert::{Change, Recovery};
use pg_tock_core::quote::excerpt;
use pg_tock_core::time::Timestamp;

use super::super::{LOCK_RETRY, Scheduler};
use super::{COMPANY, Noted};
use crate::catalog::alert::{self, Called, Calling, Uncalled, Written};
use crate::catalog::{load, stats};
use crate::guc;
use crate::pg::identity::current_database;
use crate::pg::lock;
use crate::pg::text::{ServerText, for_message};
use crate::pg::time::monotonic;
use crate::pg::txn::{self, Failure};
use crate::shmem::keeper::Chore;

/// How many jobs' pasts, and how long how many jobs' runs take, is read in one turn, and how many events
/// written: a few milliseconds' worth each.
const PASTS: usize = 40;
const PACES: usize = 200;
const AT_ONCE: usize = 12;

/// So many handlers that could not be called are remembered.
const MOST_MISSING: usize = 500;

/// How often an event that raises an ERROR is tried.
pub(super) const TRIES: u32 = 20;

impl Scheduler {
    /// Reads once what earlier schedulers have raised and is not over.
    pub(super) fn load_open_alerts(&mut self) -> bool {
        if self.alerts.loaded {
            return true;
        }
        let read = txn::run("reading open alerts", || {
            Ok::<_, pgrx::spi::Error>((alert::open()?, alert::has_events()?))
        });
        let Some(Ok((open, unsent))) = read else { return false };
        if !open.is_empty() {
            self.alerts.hand_over = TRIES;
        }
        for (job, rule, there) in open {
            self.alerts.book.was_open(job, rule, there);
        }
        self.alerts.loaded = true;
        // An earlier keeper may not have got to all of it.
        if unsent {
            self.want_kept(Chore::Notify);
        }
        true
    }

    /// Gives what is open to those who own the jobs now, where that may have changed.
    pub(super) fn give_alerts(&mut self) -> bool {
        if self.alerts.hand_over == 0 {
            return true;
        }
        let given = txn::attempt("giving alerts to the owners of their jobs", || {
            let (Some(installed), Some(table)) = (load::installed()?, alert::table()?) else {
                return Ok(true);
            };
            if !(lock::try_read_table(installed.jobs) && lock::try_lock_table(table)) {
                return Ok(false);
            }
            alert::hand_over(&guc::alerts::handler()).map(|()| true)
        });
        match given {
            Ok(Ok::<_, pgrx::spi::Error>(true)) => self.alerts.hand_over = 0,
            Ok(Ok(false)) | Err(Failure::Locked | Failure::Passing) => {}
            _ => self.alerts.hand_over -= 1,
        }
        self.alerts.hand_over == 0
    }

    /// Reads how long the runs of some jobs take: those whose rules go by that, once and after each time
    /// their runs were counted.
    pub(super) fn read_paces(&mut self, now: Timestamp) -> bool {
        let jobs = self.alerts.book.unmeasured(PACES);
        if jobs.is_empty() {
            return true;
        }
        let read = txn::run("reading how long runs take", || stats::paces(&jobs));
        let Some(Ok::<_, pgrx::spi::Error>(mut paces)) = read else { return false };
        for job in jobs {
            self.alerts.book.measured(job, paces.remove(&job).unwrap_or_default(), now);
        }
        true
    }

    /// Reads what the runs of some jobs came to. Those under way are told first: they may have rows
    /// already, and tell of their ends themselves.
    pub(super) fn read_pasts(&mut self, now: Timestamp) -> bool {
        let jobs = self.alerts.book.unknown(PASTS);
        if jobs.is_empty() {
            return true;
        }
        for &job in &jobs {
            self.tell_currents(job);
        }
        let book = &self.alerts.book;
        let wanted: Vec<_> = jobs
            .iter()
            .filter_map(|&job| Some((job, book.since(job)?, book.rules(job)?.rows_to_read())))
            .collect();
        let ledger = pgrx::pg_sys::Oid::from(self.ledger);
        let read = txn::run("reading what runs came to", || {
            if !lock::try_read_table(ledger) {
                return Ok(None);
            }
            alert::past(&wanted).map(Some)
        });
        let Some(Ok::<_, pgrx::spi::Error>(Some(mut pasts))) = read else { return false };
        let steady = monotonic();
        for job in jobs {
            let mut past = pasts.remove(&job).unwrap_or_default();
            for ended in &mut past.runs {
                ended.will_retry |= self.records.decided().follows(ended.run);
            }
            // What was pruned has been covered, and that is kept.
            past.last_success = self.jobs.successes.covered(job);
            self.alerts.book.remember(job, &past, now, steady);
        }
        true
    }

    /// Writes some of what happened to alerts, and calls handlers. The rest is for another turn.
    pub(super) fn write_some(&mut self) -> bool {
        // One that raises an ERROR is found by going on alone.
        let most = if self.alerts.tries > 0 { 1 } else { AT_ONCE };
        let some: Vec<Noted> = self.alerts.noted.iter().take(most).copied().collect();
        let written = txn::attempt("writing alerts", || {
            let (Some(installed), Some(table)) = (load::installed()?, alert::table()?) else {
                return Ok(Some(Vec::new()));
            };
            if !(lock::try_read_table(installed.jobs) && lock::try_lock_table(table)) {
                return Ok(None);
            }
            let calling = Calling {
                database: current_database(),
                default_handler: guc::alerts::handler(),
                most: guc::max_queued_runs().max(1),
            };
            alert::write(&some, &calling).map(Some)
        });
        match written {
            Ok(Ok::<_, pgrx::spi::Error>(Some(written))) => {
                self.alerts.noted.drain(..some.len());
                self.alerts.tries = 0;
                if !written.is_empty() {
                    self.want_kept(Chore::Notify);
                }
                for one in written {
                    log_alert(&one);
                    self.called(one);
                }
                true
            }
            Ok(Ok(None)) | Err(Failure::Locked | Failure::Passing) => false,
            _ => {
                self.alerts.tries += 1;
                if self.alerts.tries > TRIES {
                    self.alerts.noted.pop_front();
                    self.alerts.tries = 0;
                    pgrx::log!("pg_tock: an alert cannot be written and is given up");
                }
                false
            }
        }
    }

    /// A handler has a request now, or could not be called, which is said once.
    fn called(&mut self, written: Written) {
        let Some(Called { owner, name, how }) = written.called else { return };
        let key = (owner, name);
        let why = match how {
            Ok(job) => {
                self.alerts.missing.remove(&key);
                self.database.changes.push(job.0);
                return;
            }
            Err(Uncalled::Missing) => "does not exist",
            Err(Uncalled::Inactive) => "is switched off",
            Err(Uncalled::Busy) => "has too many calls waiting",
        };
        if !self.alerts.missing.contains(&key) {
            let name = ServerText::new(&key.1).readable();
            let name = excerpt(&name);
            let job = written.episode.job;
            pgrx::warning!("pg_tock: job \"{name}\", which handles alerts of job {job}, {why}");
            // Jobs may name others without end. Some are said again then.
            if self.alerts.missing.len() >= MOST_MISSING {
                self.alerts.missing.clear();
            }
            self.alerts.missing.insert(key);
        }
    }

    /// Hands over starts and ends of runs that are to be sent.
    pub(super) fn write_runs(&mut self, now: Timestamp) -> bool {
        let due = |at: Timestamp| at <= now || at.since(now) > COMPANY;
        if !self.alerts.runs_at.is_some_and(due) {
            return true;
        }
        let runs = &self.alerts.runs;
        let told = txn::run("handing over what is to be sent", || alert::tell(runs));
        let Some(Ok(kept)) = told else {
            self.alerts.runs_at = Some(now.plus(LOCK_RETRY));
            return false;
        };
        self.alerts.runs.clear();
        self.alerts.runs_at = None;
        self.want_kept(Chore::Notify);
        if kept {
            self.alerts.lost = false;
        } else {
            self.alerts.say_lost();
        }
        true
    }
}

/// A line in the server log.
fn log_alert(written: &Written) {
    let episode = &written.episode;
    let name = episode.name.as_deref().map(|name| format!(" \"{}\"", excerpt(name)));
    let name = name.unwrap_or_default();
    let what = for_message(episode.message.clone());
    let job = episode.job;
    match written.noted.event.change {
        Change::Raised { .. } => pgrx::warning!("pg_tock: alert: job {job}{name}: {what}"),
        Change::Recovered { why: Recovery::Recovered, .. } => {
            pgrx::log!("pg_tock: recovered: job {job}{name}: {what}");
        }
        Change::Recovered { why, .. } => {
            pgrx::log!("pg_tock: alert over, {why}: job {job}{name}: {what}");
        }
    }
}
