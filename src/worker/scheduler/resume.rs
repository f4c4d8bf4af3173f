//! Where each job goes on: from its cursor, leaving out what the ledger has already.
//!
//! Invariant: an occurrence that has a row, or a run on its way to one, is never due again, whoever
//! handed it out and whatever the clock was set to since.

use std::collections::HashMap;
use std::sync::Arc;

use pg_tock_core::engine::JobSpec;
use pg_tock_core::run::SkipReason;
use pg_tock_core::time::{JobId, Timestamp};

use super::LOCK_RETRY;
use super::Scheduler;
use super::alerts::Watched;
use super::jobs::Taken;
use crate::catalog::load::JobRow;
use crate::catalog::run;
use crate::catalog::state::{self, Recorded};
use crate::pg::{lock, time, txn};

/// So many jobs at a time are looked up in the ledger whether or not anything of them is due. More only
/// while the clock shows what it has shown before.
const FEW: usize = 100;

/// Most instants of one skipped stretch that are looked at; its cursor is never far behind.
const MOST_SKIPPED: usize = 100_000;

/// Jobs the engine does not know, or not with these times.
#[derive(Default)]
pub(super) struct Puts(Vec<Fresh>);

struct Fresh {
    spec: JobSpec,
    after: Timestamp,
}

/// What the ledger has of jobs: rows, and stretches that were skipped.
type Found = (Vec<Recorded>, Vec<(JobId, Timestamp, Timestamp)>);

/// The instants of a job from `first` to `last`, up to a bound.
fn instants_of(spec: &JobSpec, first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
    let mut at = first.plus(-1);
    let next = || {
        at = spec.times.next_after(at).filter(|&next| next <= last)?;
        Some(at)
    };
    std::iter::from_fn(next).take(MOST_SKIPPED).collect()
}

impl Scheduler {
    /// Finds out what the time before this scheduler was: downtime, a crash, or a moment without a
    /// scheduler.
    pub(super) fn look_back(&mut self) {
        if std::mem::replace(&mut self.looked_back, true) {
            return;
        }
        self.look_ahead();
        let left_at = txn::run("looking when the last scheduler left", state::take_left_at);
        if self.database.nobody_until().is_none() {
            let left_well = matches!(left_at, Some(Ok(Some(_))));
            let last = (!left_well).then(|| {
                let last = txn::run("looking for the last run id", run::last_id);
                // Where that is not to be had, every request is claimed.
                last.and_then(Result::ok).unwrap_or(i64::MAX)
            });
            self.database.nobody_lived(self.started_at, last);
        }
        // What an earlier scheduler left of that is judged as it would have done. The clock may have been set
        // back since.
        let until = self.database.nobody_until().unwrap_or_default().min(self.started_at);
        self.engine.set_missed_before(until);
        let reason = if self.database.has_crashed() {
            SkipReason::ServerCrashed
        } else {
            SkipReason::Missed
        };
        self.engine.set_gap_reason(reason);
    }

    /// Finds out up to when there may be rows ahead of the clock. Where that is not to be had, there may be
    /// some.
    fn look_ahead(&mut self) {
        let until = txn::run("looking whether the clock was set back", state::ahead_until);
        self.ahead_until = match until {
            Some(Ok(until)) => until.unwrap_or(Timestamp(i64::MIN)),
            _ => Timestamp(i64::MAX),
        };
    }

    /// Takes rows of `cron.job` as they are now, to be put afterwards.
    pub(super) fn sort(&mut self, rows: Vec<JobRow>, puts: &mut Puts) {
        let now = time::now();
        // They count from here: the clock may be set back before the first tick.
        self.engine.hear(now);
        for row in rows {
            let Some(row) = self.whole(row) else { continue };
            let id = JobId(row.id);
            self.jobs.look_at_company(&row);
            if !row.active && self.jobs.get(id).is_some_and(|job| job.active) {
                let waited = self.forget_requests(id);
                self.asked.switched_off(id, waited);
            }
            if self.jobs.get(id).is_some_and(|job| !job.is_placed_as(&row)) {
                self.requests.doubt(id);
            }
            let cursor = self.records.cursor(id);
            if row.reaches_outside {
                self.outside.insert(id);
            }
            self.records.room(id, row.no_room, row.is_cut);
            let watched = (!row.is_cut).then(|| Watched::of(&row));
            let taken = self.jobs.take(row, cursor, now);
            let until = match &taken {
                Taken::Job { spec, .. } => Some(spec.paused_until),
                Taken::Refused => None,
            };
            if let Some(watched) = watched {
                self.watch_job(id, &watched, until, now);
            }
            match taken {
                Taken::Job { spec, after, fresh } if fresh || self.unknown.contains(&id) => {
                    puts.0.push(Fresh { spec, after });
                }
                Taken::Job { spec, after, .. } => self.engine.put_job(spec, after),
                Taken::Refused => self.refused(id),
            }
        }
        self.look_for_room();
    }

    /// Tells the engine of jobs that are new to it, or have new times. `all` jobs have been read.
    pub(super) fn put(&mut self, puts: Puts, all: bool) {
        let Puts(mut fresh) = puts;
        self.look_up(&mut fresh);
        for Fresh { spec, after } in fresh {
            self.jobs.company.put(spec.id);
            self.engine.put_job(spec, after);
        }
        self.take_upstream(all);
        self.look_upstream();
        self.records.effective(&mut self.jobs.effective);
    }

    /// Finds what is recorded of jobs beyond their cursors. Where that is not to be had, those are left
    /// out of which something may have run since: they are read again soon.
    fn find(&mut self, fresh: &mut Vec<Fresh>, now: Timestamp) -> Option<Found> {
        let few = fresh.len() <= FEW || self.ahead_until > now;
        let due = |Fresh { spec, after }: &Fresh| {
            let counts_from_runs = spec.times.after_completion().is_some();
            counts_from_runs || spec.times.next_after(*after).is_some_and(|at| at <= now)
        };
        let since: Vec<(JobId, Timestamp)> = fresh
            .iter()
            .filter(|job| few || due(job))
            .map(|job| (job.spec.id, job.after))
            .collect();
        let ledger = pgrx::pg_sys::Oid::from(self.ledger);
        let look = || {
            if !lock::try_read_table(ledger) {
                return Ok(None);
            }
            Ok::<_, pgrx::spi::Error>(Some((state::recorded(&since)?, state::skipped(&since)?)))
        };
        let found = match since.is_empty() {
            true => Some(Found::default()),
            false => txn::run("looking up what has run", look).and_then(Result::ok).flatten(),
        };
        if found.is_none() {
            let wait = fresh.extract_if(.., |job| due(job)).collect();
            self.wait_for_the_ledger(wait, now);
        }
        for job in fresh {
            self.unknown.remove(&job.spec.id);
        }
        found
    }

    /// Leaves out of what is due what has a row, or a run on its way to one.
    fn look_up(&mut self, fresh: &mut Vec<Fresh>) {
        let now = time::now();
        let (rows, skips) = self.find(fresh, now).unwrap_or_default();
        let mut done: HashMap<JobId, Vec<Timestamp>> = HashMap::new();
        let mut skipped: HashMap<JobId, Vec<(Timestamp, Timestamp)>> = HashMap::new();
        for (job, first, last) in skips {
            skipped.entry(job).or_default().push((first, last));
        }
        for Recorded { job, at, covered } in rows {
            done.entry(job).or_default().push(at);
            if covered && self.jobs.successes.cover(job, at) {
                self.records.covered(job, at, now);
            }
        }
        for current in self.currents() {
            let occurrence = current.occurrence;
            done.entry(occurrence.job).or_default().push(occurrence.scheduled_for);
        }
        for job in fresh {
            let id = job.spec.id;
            let mut instants = done.remove(&id).unwrap_or_default();
            instants.extend(self.records.unwritten(id));
            for (first, last) in skipped.remove(&id).unwrap_or_default() {
                instants.extend(instants_of(&job.spec, first.max(job.after), last));
            }
            instants.sort_unstable();
            instants.dedup();
            if !instants.is_empty() {
                job.spec.done = Arc::from(instants);
            }
            job.spec.last_success = self.jobs.successes.last(id);
            if job.spec.times.after_completion().is_some() {
                let end = txn::run("looking when a job ended", || state::last_end(id));
                // A clock that was set back since makes it lie ahead.
                job.spec.last_end = end.and_then(Result::ok).flatten().map(|end| end.min(now));
            }
        }
    }

    /// Somebody has locked the ledger: what has run of these jobs is not known, and nothing of them may
    /// be due before it is. What the engine knows of them goes on.
    fn wait_for_the_ledger(&mut self, jobs: Vec<Fresh>, now: Timestamp) {
        if jobs.is_empty() {
            return;
        }
        if self.unknown.is_empty() {
            pgrx::log!("pg_tock: what has run already is not known, {} jobs wait", jobs.len());
        }
        let ids = jobs.iter().map(|job| job.spec.id);
        self.unknown.extend(ids.clone());
        self.news.jobs.extend(ids.map(|id| id.0));
        self.read_at = Some(now.plus(LOCK_RETRY));
    }

    /// The clock was set back by a lot: every job goes on from now, but does not run again what it
    /// has run already.
    pub(super) fn clock_was_set_back(&mut self, to: Timestamp) {
        pgrx::log!("pg_tock: the clock was set back, jobs go on from where it is now");
        self.database.clock_was_set_back(to);
        self.records.set_back(to);
        self.alerts.set_back(to);
        let jobs = &self.jobs;
        self.retries
            .set_back(|job| to.plus(jobs.get(job).map_or(0, |job| job.policy.retry.max_delay)));
        self.jobs.forget_instants();
        self.look_ahead();
        self.database.changes.push_everything();
        self.read_all_at = Timestamp(0);
        self.requests_at = self.requests_at.map(|_| to);
        self.ledger_at = self.ledger_at.map(|_| to);
        self.start_up_at = self.start_up_at.map(|_| to);
        self.keeper.set_back(to);
    }
}
