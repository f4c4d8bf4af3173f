//! What the scheduler has to write, and when it gets to it.
//!
//! Nothing here may hold up a decision: rows wait in a queue until the ledger can be locked without
//! waiting, statistics until two seconds after the first run they speak of.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use pg_tock_core::portion::Portion;
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::LOCK_RETRY;
use super::answers::Answers;
use super::counting::CatchUp;
use super::decided::Decided;
use super::rows::Waiting;
use super::wanted::Wanted;
use crate::catalog::load;
use crate::catalog::run::{self, RunRow};
use crate::catalog::state::{self, Effective, Skip};
use crate::catalog::stats::Tally;
use crate::guc;
use crate::pg::{lock, process, time, txn};

/// How long statistics wait for company.
pub(super) const COUNT_DELAY: i64 = 2 * Timestamp::SECOND;
/// Most rows that wait. Beyond that the oldest are given up, with a line in the server log.
const MOST_ROWS: usize = 100_000;
/// So many jobs make it worth while to see to it that memory is given back.
const MANY_JOBS: usize = 10_000;

/// Most run ids drawn at once.
const MOST_IDS: usize = 1_024;

/// What happened to a job since it was written last.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) tally: Option<Tally>,
    pub(super) skips: Vec<Skip>,
    /// Up to where its occurrences are accounted for, once the skips are written.
    pub(super) cursor: Option<Timestamp>,
    /// Up to where its successful runs have covered time.
    pub(super) window_start: Option<Timestamp>,
    /// The latest instant that was made good, by a backfill or by whoever resolved its run.
    pub(super) made_good: Option<Timestamp>,
    /// A run has had effects that a rollback does not undo.
    pub(super) outside: bool,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(super) rows: VecDeque<Waiting>,
    /// Those that are in the way of others: somebody has locked them, or they raise an ERROR.
    pub(super) stuck: VecDeque<Waiting>,
    /// When those are tried again.
    pub(super) stuck_at: Option<Timestamp>,
    /// How many rows there have been.
    pub(super) numbered: u64,
    /// How many rows are written in one turn.
    pub(super) portion: Portion,
    /// Rows are left that can be written at once.
    pub(super) more: bool,
    effective: HashMap<JobId, Effective>,
    /// Jobs there is no room for, or is again.
    no_room: HashMap<JobId, bool>,
    gone: HashSet<i64>,
    /// Jobs to switch off, with their schedules.
    over: HashMap<JobId, Vec<u8>>,
    /// When to do that.
    pub(super) over_at: Option<Timestamp>,
    /// Requests whose runs have their rows.
    pub(super) answers: Answers,
    /// Runs whose rows are to go: they did not begin.
    taken_back: Vec<i64>,
    /// What follows attempts that failed.
    pub(super) decided: Decided,
    /// The database whose scheduler this is.
    pub(super) scheduler: u32,
    pub(super) progress: BTreeMap<JobId, Progress>,
    pub(super) count_at: Option<Timestamp>,
    /// The last job counted in this round, and how many are counted in one turn.
    pub(super) counted: Option<JobId>,
    pub(super) counting: Portion,
    /// Jobs whose statistics have changed since that was asked last.
    pub(super) news: Vec<JobId>,
    pub(super) retry_at: Option<Timestamp>,
    /// What somebody wants written.
    pub(super) wanted: Option<Wanted>,
    ids: VecDeque<i64>,
    drawn: usize,
    /// They could not be drawn, and that is not tried again before.
    no_ids_until: Option<Timestamp>,
    drawn_at: Timestamp,
    pub(super) next_id: i64,
    /// What an earlier scheduler left has been looked at: the mark up to which runs are counted may move.
    pub(super) may_mark: bool,
    /// Runs of earlier schedulers are being counted.
    pub(super) catch_up: Option<CatchUp>,
    /// Somebody may want statistics to begin anew.
    pub(super) resets: bool,
}

impl Records {
    /// Nothing to write, for the scheduler of this database.
    pub(crate) fn new(scheduler: u32) -> Self {
        Self { scheduler, ..Self::default() }
    }

    /// What follows attempts that failed.
    pub(super) const fn decided(&mut self) -> &mut Decided {
        &mut self.decided
    }

    /// A row to write as soon as possible.
    pub(crate) fn row(&mut self, row: RunRow) {
        if !guc::log_run() {
            return;
        }
        if self.rows.len() + self.stuck.len() >= MOST_ROWS {
            self.rows.pop_front().or_else(|| self.stuck.pop_front());
            pgrx::log!("pg_tock: the ledger has been locked for so long that a row was given up");
        }
        self.numbered += 1;
        self.rows.push_back(Waiting { row, tries: 0, number: self.numbered });
    }

    /// Occurrences of a job that did not run.
    pub(crate) fn skip(&mut self, job: JobId, skip: Skip, now: Timestamp) {
        self.skipped(job, &skip, now);
        self.progress(job, now).skips.push(skip);
    }

    /// The same of what is written already, and is to be counted.
    pub(crate) fn skipped(&mut self, job: JobId, skip: &Skip, now: Timestamp) {
        self.tally(job, now).skip(skip.last, skip.count);
    }

    /// Everything of a job up to `cursor` is accounted for, if what was said before is written.
    pub(crate) fn moved(&mut self, job: JobId, cursor: Timestamp, now: Timestamp) {
        self.progress(job, now).cursor = Some(cursor);
    }

    /// The successful runs of a job have covered the time up to `at`.
    pub(crate) fn covered(&mut self, job: JobId, at: Timestamp, now: Timestamp) {
        self.progress(job, now).window_start = Some(at);
    }

    /// A backfill of an instant of a job has succeeded.
    pub(crate) fn made_good(&mut self, job: JobId, at: Timestamp, now: Timestamp) {
        self.progress(job, now).made_good = Some(at);
    }

    /// A run of this job has had effects that a rollback does not undo.
    pub(crate) fn outside(&mut self, job: JobId, now: Timestamp) {
        self.progress(job, now).outside = true;
    }

    /// The cursor of a job, if it is not written yet.
    pub(crate) fn cursor(&self, job: JobId) -> Option<Timestamp> {
        self.progress.get(&job)?.cursor
    }

    /// The clock was set back to this instant: no job has come further.
    pub(crate) fn set_back(&mut self, to: Timestamp) {
        for progress in self.progress.values_mut() {
            progress.cursor = progress.cursor.map(|cursor| cursor.min(to));
        }
        self.count_at = self.count_at.map(|at| at.min(to.plus(COUNT_DELAY)));
        if let Some(wanted) = &mut self.wanted {
            wanted.set_back(to);
        }
        self.retry_at = None;
        self.stuck_at = self.stuck_at.map(|at| at.min(to.plus(LOCK_RETRY)));
        self.decided.set_back(to);
        self.over_at = self.over_at.map(|at| at.min(to.plus(LOCK_RETRY)));
        self.drawn_at = self.drawn_at.min(to);
    }

    /// The rows that wait to be written.
    pub(super) fn unwritten_rows(&self) -> impl Iterator<Item = &Waiting> {
        self.rows.iter().chain(&self.stuck)
    }

    /// The occurrences of a job whose rows wait to be written.
    pub(crate) fn unwritten(&self, job: JobId) -> impl Iterator<Item = Timestamp> {
        self.unwritten_rows().filter(move |row| row.row.job == job).map(|row| row.row.scheduled_for)
    }

    /// The runs whose rows wait to be written.
    pub(crate) fn unwritten_runs(&self) -> impl Iterator<Item = i64> {
        self.unwritten_rows().map(|row| row.row.run.0)
    }

    /// A job whose only instant has been: it is switched off.
    pub(crate) fn over(&mut self, job: JobId, schedule: &str) {
        self.over.insert(job, schedule.as_bytes().to_vec());
        self.over_at = Some(Timestamp(i64::MIN));
    }

    /// A run that has a row did not begin.
    pub(crate) fn take_back(&mut self, run: RunId) {
        self.taken_back.push(run.0);
    }

    /// What waits to be counted is counted as soon as others are.
    pub(super) fn count_soon(&mut self, now: Timestamp) {
        if !self.progress.is_empty() {
            self.count_at.get_or_insert(now.plus(COUNT_DELAY));
        }
    }

    fn progress(&mut self, job: JobId, now: Timestamp) -> &mut Progress {
        self.count_at.get_or_insert(now.plus(COUNT_DELAY));
        self.progress.entry(job).or_default()
    }

    /// Definitions that came into force.
    pub(crate) fn effective(&mut self, jobs: &mut Vec<Effective>) {
        for job in jobs.drain(..) {
            self.gone.remove(&job.job.0);
            self.effective.insert(job.job, job);
        }
    }

    /// Whether there is no room for a job; `before`: what is written of that.
    pub(crate) fn room(&mut self, job: JobId, before: bool, no_room: bool) {
        if before == no_room {
            self.no_room.remove(&job);
        } else {
            self.no_room.insert(job, no_room);
        }
    }

    /// A job that is gone.
    pub(crate) fn gone(&mut self, job: JobId) {
        self.progress.remove(&job);
        self.over.remove(&job);
        self.effective.remove(&job);
        self.no_room.remove(&job);
        self.decided.forget(job);
        self.gone.insert(job.0);
    }

    /// Forgets all that waits: the extension is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.scheduler);
    }

    /// The tally of a job, which will be counted soon.
    pub(crate) fn tally(&mut self, job: JobId, now: Timestamp) -> &mut Tally {
        self.progress(job, now).tally.get_or_insert_default()
    }

    /// When there is something to write.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        let due = if self.wants_writing() {
            Some(Timestamp(i64::MIN))
        } else {
            let reset = self.resets && self.catch_up.is_none();
            let reset = reset.then_some(Timestamp(i64::MIN));
            let nexts =
                [self.count_at, self.decided.next_look(), self.over_at, self.stuck_at, reset];
            nexts.into_iter().flatten().min()
        };
        match (due, self.retry_at) {
            (Some(due), Some(retry)) => Some(due.max(retry)),
            (due, _) => due,
        }
    }

    pub(super) fn wants_writing(&self) -> bool {
        !(self.rows.is_empty()
            && self.effective.is_empty()
            && self.no_room.is_empty()
            && self.gone.is_empty()
            && self.taken_back.is_empty()
            && self.answers_to_write().is_empty()
            && !self.decided.has_freed())
    }

    /// Makes sure that `needed` run ids are there; draws more at once the more are needed in short
    /// order, so that in a flood it costs nothing.
    pub(crate) fn provide_ids(&mut self, needed: usize, now: Timestamp) -> bool {
        if self.ids.len() >= needed {
            return true;
        }
        if self.no_ids_until.is_some_and(|at| at > now && at.since(now) <= LOCK_RETRY) {
            return false;
        }
        let soon = now.since(self.drawn_at) < Timestamp::SECOND;
        let count = if soon { (self.drawn * 2).min(MOST_IDS) } else { 0 }.max(needed);
        self.drawn = count;
        self.drawn_at = now;
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let Some(Ok(ids)) = txn::run("drawing run ids", || run::draw_ids(count)) else {
            self.no_ids_until = Some(now.plus(LOCK_RETRY));
            return false;
        };
        self.ids.extend(ids);
        self.ids.len() >= needed
    }

    /// A run id, if one was provided.
    pub(crate) fn next_id(&mut self) -> Option<RunId> {
        let id = self.ids.pop_front()?;
        self.next_id = self.next_id.max(id.saturating_add(1));
        Some(RunId(id))
    }

    /// Writes what is due. `oldest`: the lowest id of a run that goes on.
    pub(crate) fn flush(&mut self, now: Timestamp, oldest: Option<RunId>) {
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        let times = [self.over_at, self.stuck_at].into_iter().flatten();
        let others = self.decided.is_due(now) || times.into_iter().any(|at| at <= now);
        if (self.wants_writing() || others) && !self.write_rows() {
            // At once, after others had their turn, or once a lock may be gone.
            self.retry_at = (!self.more).then(|| time::now().plus(LOCK_RETRY));
            // A flood of requests that are answered does not keep statistics from being written.
            if !self.more || !self.rows.is_empty() {
                return;
            }
        }
        if self.resets {
            self.reset_statistics(oldest);
        }
        // What is wanted comes first.
        let others_wait = self.wanted.is_some() && self.catch_up.is_none();
        if !others_wait && self.count_at.is_some_and(|at| at <= now) {
            let jobs = self.to_count();
            self.count(oldest, jobs);
        }
    }

    /// Writes rows, and what became of jobs. False if some of it has to wait, but for rows that are in
    /// the way of others and what follows from them.
    pub(super) fn write_rows(&mut self) -> bool {
        self.more = false;
        let jobs = self.write_jobs();
        self.write_stuck(time::now());
        let rows = (self.rows.is_empty() || self.write_ledger()) && self.write_taken_back();
        // An attempt is followed by another, and a request answered, when the run has a row.
        let followed = rows && self.write_decided();
        jobs && followed && self.write_answers() && self.write_over()
    }

    /// Writes what follows attempts that failed. False after an ERROR.
    pub(super) fn write_decided(&mut self) -> bool {
        if !self.decided.is_due(time::now()) {
            return true;
        }
        let behind = self.behind(|_| true);
        self.decided.write(self.scheduler, &behind)
    }

    /// Those of some jobs that have rows which wait to be written.
    pub(super) fn behind(&self, some: impl Fn(JobId) -> bool) -> HashSet<JobId> {
        self.unwritten_rows().map(|row| row.row.job).filter(|job| some(*job)).collect()
    }

    /// Stores definitions that came into force and for what there is no room, and forgets jobs that are gone.
    fn write_jobs(&mut self) -> bool {
        if self.effective.is_empty() && self.no_room.is_empty() && self.gone.is_empty() {
            return true;
        }
        let effective: Vec<Effective> = self.effective.values().cloned().collect();
        let gone: Vec<i64> = self.gone.iter().copied().collect();
        let written = txn::run("writing what became of jobs", || {
            state::forget(&gone)?;
            state::set_effective(&effective)?;
            state::set_no_room(&self.no_room)
        });
        let written = matches!(written, Some(Ok::<(), pgrx::spi::Error>(())));
        if written {
            let many = effective.len() >= MANY_JOBS;
            (self.effective, self.gone) = (HashMap::new(), HashSet::new());
            self.no_room = HashMap::new();
            drop(effective);
            if many {
                process::give_memory_back();
            }
        }
        written
    }

    /// Deletes the rows of runs that did not begin.
    fn write_taken_back(&mut self) -> bool {
        if self.taken_back.is_empty() {
            return true;
        }
        let done = txn::run("taking rows back", || {
            let Some(ledger) = run::ledger()? else { return Ok(false) };
            if !lock::try_lock_table(ledger) {
                return Ok(false);
            }
            run::take_back(&self.taken_back).map(|()| true)
        });
        let done = matches!(done, Some(Ok::<bool, pgrx::spi::Error>(true)));
        if done {
            self.taken_back.clear();
        }
        done
    }

    /// Switches jobs off that are over. Those wait whose rows somebody has locked.
    fn write_over(&mut self) -> bool {
        if self.over_at.is_none_or(|at| at > time::now()) {
            return true;
        }
        let left = txn::run("switching jobs off", || {
            let Some(installed) = load::installed()? else { return Ok(Some(HashMap::new())) };
            if !lock::try_lock_table(installed.jobs) {
                return Ok(None);
            }
            let mut left = HashMap::new();
            for (job, schedule) in &self.over {
                if !state::deactivate(*job, schedule)? {
                    left.insert(*job, schedule.clone());
                }
            }
            Ok(Some(left))
        });
        let Some(Ok::<_, pgrx::spi::Error>(Some(left))) = left else { return false };
        self.over = left;
        self.over_at = (!self.over.is_empty()).then(|| time::now().plus(LOCK_RETRY));
        true
    }
}
