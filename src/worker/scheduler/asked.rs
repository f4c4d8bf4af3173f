//! Runs that were asked for, and occurrences whose job's condition was not met.
//!
//! Invariant: an occurrence that did not run because of its condition has a record of that and no row,
//! neighbours share one record, and a request for it is answered.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::rc::Rc;

use pg_tock_core::cancel::{Cause, NOT_BEGUN};
use pg_tock_core::engine::{ExecutorId, Occurrence, Settled};
use pg_tock_core::portion::Portion;
use pg_tock_core::run::{Origin, Outcome, SkipReason};
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::Scheduler;
use super::company::settle;
use super::pool::Current;
use super::runs::End;
use crate::catalog::state::Skip;
use crate::guc;
use crate::pg::time;
use crate::shmem::asks::Wanted;

/// What is known of runs that were asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Who asked.
    by: HashMap<RunId, CString>,
    /// The instant of a job that was skipped last, for its condition, with nothing since.
    unmet: HashMap<JobId, Timestamp>,
    /// Runs that were taken back while the engine had them waiting: what they were for.
    taken_back: HashMap<RunId, (JobId, Timestamp)>,
    /// Dry runs that are not over.
    dry: HashMap<RunId, DryRun>,
    /// What waited of jobs that have been switched off, and is to be ended if somebody had asked for it.
    switched_off: HashMap<JobId, HashSet<RunId>>,
    /// There is more of them than could be looked at, or they could not be read: when to go on.
    look_at: Option<Timestamp>,
    /// How many of them are looked at at a time.
    pub(super) portion: Portion,
}

/// Runs that waited of a job when it was switched off.
#[derive(Debug)]
pub(super) struct SwitchedOff {
    pub(super) waited: HashSet<RunId>,
    /// There are no more.
    pub(super) is_all: bool,
}

/// A dry run that is not over.
#[derive(Clone, Copy, Debug)]
struct DryRun {
    job: JobId,
    /// Where to leave what it did; None = nobody waits any more.
    segment: Option<u32>,
    /// The role and the database whose job it was when somebody asked.
    seen: (u32, u32),
}

impl Asked {
    /// Somebody asks for a run.
    pub(super) fn note(&mut self, run: RunId, by: Option<CString>) {
        self.by.extend(by.map(|by| (run, by)));
    }

    /// Who asked for a run.
    pub(super) fn by(&self, run: RunId) -> Option<CString> {
        self.by.get(&run).cloned()
    }

    /// A run is over.
    pub(super) fn forget(&mut self, current: &Current) {
        self.by.remove(&current.run);
        self.unmet.remove(&current.occurrence.job);
    }

    /// A run is to be rolled back, and what it did to be left there, if somebody waits for it.
    pub(super) fn dry_run(&mut self, run: RunId, wanted: &Wanted) {
        let Wanted { job, dry: segment, owner, database, .. } = *wanted;
        self.dry.insert(run, DryRun { job, segment, seen: (owner, database) });
    }

    /// The role and the database a dry run is for; None if it is none.
    pub(super) fn seen_by_dry_run(&self, run: RunId) -> Option<(u32, u32)> {
        self.dry.get(&run).map(|dry_run| dry_run.seen)
    }

    /// Nobody waits for a dry run any more.
    pub(super) fn withdraw(&mut self, run: RunId) {
        if let Some(dry_run) = self.dry.get_mut(&run) {
            dry_run.segment = None;
        }
    }

    /// Where to leave what a dry run did; `Some(None)` for a real run, None for a dry run that is not
    /// to begin because nobody waits for it.
    pub(super) fn segment(&mut self, occurrence: &Occurrence) -> Option<Option<u32>> {
        let Some(run) = occurrence.run else { return Some(None) };
        match self.dry.get(&run).map(|dry_run| dry_run.segment) {
            None => Some(None),
            Some(Some(segment)) => Some(Some(segment)),
            Some(None) => {
                self.dry.remove(&run);
                None
            }
        }
    }

    /// Whether a run is a dry one.
    pub(super) fn is_dry(&self, run: RunId) -> bool {
        self.dry.contains_key(&run)
    }

    /// A dry run is over. Returns where to leave what it did, if somebody waits for it.
    pub(super) fn dry_run_over(&mut self, run: RunId) -> Option<u32> {
        self.dry.remove(&run)?.segment
    }

    /// A job has been switched off, and the engine has none of these runs any more.
    pub(super) fn switched_off(&mut self, job: JobId, runs: HashSet<RunId>) {
        self.switched_off.entry(job).or_default().extend(runs);
    }

    /// Jobs that have been switched off, with what waited of them: so many runs as are looked at at a time.
    pub(super) fn take_switched_off(&mut self, now: Timestamp) -> Vec<(JobId, SwitchedOff)> {
        if self.look_at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        let mut room = self.portion.size();
        let mut taken = Vec::new();
        self.switched_off.retain(|&job, waiting| {
            if room == 0 {
                return true;
            }
            let waited: HashSet<RunId> = waiting.extract_if(|_| true).take(room).collect();
            room -= waited.len();
            let is_all = waiting.is_empty();
            taken.push((job, SwitchedOff { waited, is_all }));
            !is_all
        });
        self.look_at = (!self.switched_off.is_empty()).then_some(now);
        taken
    }

    /// Whether a run waited of a job when it was switched off, and nothing has come of that yet.
    fn is_given_up(&self, job: JobId, run: RunId) -> bool {
        self.switched_off.get(&job).is_some_and(|runs| runs.contains(&run))
    }

    /// What was asked of one of these jobs could not be read.
    pub(super) fn look_later(&mut self, until: Timestamp) {
        self.look_at = Some(until);
    }

    /// When to look at those again.
    pub(super) const fn next_look(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// Whether runs of a job were taken back and wait still.
    pub(super) fn has_taken_back(&self, job: JobId) -> bool {
        self.taken_back.values().any(|(of, _)| *of == job)
    }

    /// Nothing of a job waits any more, nor what was taken back, but for what is under way.
    pub(super) fn in_the_way_no_more(&mut self, job: JobId, going: &HashSet<RunId>) {
        self.taken_back.retain(|run, (of, _)| *of != job || going.contains(run));
    }

    /// Forgets who asked for a run.
    pub(super) fn forget_who(&mut self, run: RunId) {
        self.by.remove(&run);
    }

    /// The extension is gone, and with it all but the dry runs, whose sessions are told of their end.
    pub(super) fn clear(&mut self) {
        let dry = std::mem::take(&mut self.dry);
        *self = Self { dry, ..Self::default() };
    }

    /// Whether a run that was taken back still waits for the instant of this one, or this one is about to be
    /// ended.
    pub(super) fn is_in_the_way(&self, occurrence: &Occurrence) -> bool {
        if occurrence.run.is_some_and(|run| self.is_given_up(occurrence.job, run)) {
            return true;
        }
        let instant = (occurrence.job, occurrence.scheduled_for);
        self.taken_back.values().any(|taken_back| *taken_back == instant)
    }

    /// A job is gone.
    pub(super) fn gone(&mut self, job: JobId, going: &HashSet<RunId>) {
        self.dry.retain(|run, dry_run| dry_run.job != job || going.contains(run));
        self.unmet.remove(&job);
        self.switched_off.remove(&job);
    }

    /// Occurrences of a job have been skipped for another reason.
    pub(super) fn skipped(&mut self, job: JobId) {
        self.unmet.remove(&job);
    }
}

impl Scheduler {
    /// Somebody has taken a request back: its run is recorded as cancelled, or ended if it is under
    /// way.
    pub(super) fn take_back(
        &mut self,
        run: RunId,
        occurrence: Occurrence,
        by: Option<CString>,
        reason: Vec<u8>,
    ) {
        let mut currents = self.executors.values_mut().filter_map(|e| e.current.as_mut());
        if let Some(current) = currents.find(|current| current.run == run) {
            current.watched.want_end(Cause::Requested, reason);
            return;
        }
        if self.http.want_end(run, &reason) {
            return;
        }
        let now = time::now();
        self.end_waiting(run, occurrence, by, not_begun(reason, now), now);
    }

    /// A run that was asked for and is not under way is over.
    pub(super) fn end_waiting(
        &mut self,
        run: RunId,
        occurrence: Occurrence,
        by: Option<CString>,
        end: End,
        now: Timestamp,
    ) {
        let Some(job) = self.jobs.get(occurrence.job).map(Rc::clone) else { return };
        let job = self.retries.as_asked(Some(run), job);
        if !self.requests.insert(occurrence.job, run) {
            // The engine has it, until its turn comes.
            self.asked.taken_back.insert(run, (occurrence.job, occurrence.scheduled_for));
        }
        let mut current = Current::unstarted(occurrence, run, job, self.extension, now);
        current.requested_by = by;
        self.account(&current, 0, end, now);
    }

    /// Whether a run whose turn has come was taken back. Its instant is free again then.
    pub(super) fn is_taken_back(&mut self, run: RunId) -> bool {
        let Some((job, _)) = self.asked.taken_back.remove(&run) else { return false };
        self.database.changes.push(job.0);
        true
    }

    /// There will be no run, nor a row of it: if somebody has asked for it, that is answered. Returns what it
    /// would have been to its job.
    pub(super) fn never_was(&mut self, current: &Current) -> Origin {
        let (run, job) = (current.run, current.occurrence.job);
        let origin = self.retries.origin(run, &current.occurrence);
        self.asked.forget_who(run);
        if self.requests.remove(job, run) {
            self.retries.forget(run);
            self.records.answered(job, run);
        }
        origin
    }

    /// The condition of a run's job was not met, and the run has not begun.
    pub(super) fn unmet(&mut self, id: ExecutorId, now: Timestamp) {
        self.engine.run_finished(id, now);
        let Some(executor) = self.executors.get_mut(&id) else { return };
        let Some(current) = executor.current.take() else { return };
        if current.extension != self.extension || !self.installed {
            return; // it belongs to an extension that has been dropped
        }
        let (job, at) = (current.occurrence.job, current.occurrence.scheduled_for);
        if !current.local && guc::log_run() {
            self.records.take_back(current.run);
        }
        self.alerts.not_run(&current);
        let origin = self.never_was(&current);
        if current.occurrence.attempt > 1 {
            settle(&mut self.engine, &current.occurrence, origin, Settled::FailedForGood);
            if self.engine.next_due(job).is_none() {
                self.note_if_over(job);
            }
            return; // its occurrence has the row of an attempt that failed, and failed for good
        }
        if self.jobs.get(job).is_none() {
            return;
        }
        let extends = self.asked.unmet.insert(job, at).filter(|&last| last < at);
        settle(&mut self.engine, &current.occurrence, origin, Settled::FailedForGood);
        let reason = SkipReason::Condition;
        self.records.skip(job, Skip { reason, first: at, last: at, count: 1, extends }, now);
        if current.occurrence.is_nominal() {
            self.note_if_over(job);
        }
    }
}

/// The end of a run that was taken back before it began.
pub(super) fn not_begun(reason: Vec<u8>, now: Timestamp) -> End {
    let message = NOT_BEGUN.to_owned();
    End {
        cause: Some(Cause::Requested),
        reason: Some(reason),
        ..End::not_begun(Outcome::Cancelled, message, now)
    }
}
