//! Counting runs: those that end now, a while later and many at once, and those an earlier scheduler had
//! no time for.
//!
//! Owns one invariant: every run that has a row is counted once, and the runs of a job in the order of
//! their ids across schedulers. So what ends now waits while earlier runs are counted; and of those a
//! turn counts few, however many there are.

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use pg_tock_core::engine::Occurrence;
use pg_tock_core::portion::Portion;
use pg_tock_core::stats::{Ended, due};
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::pool::Current;
use super::records::{COUNT_DELAY, Progress, Records};
use super::runs::End;
use super::{LOCK_RETRY, Scheduler};
use crate::catalog::resets;
use crate::catalog::state::{self, Reached};
use crate::catalog::stats::{self, Tally, Uncounted};
use crate::pg::{lock, time, txn};

/// How long to wait before the next jobs are counted, in times as long as the last ones took.
const COUNT_SHARE: u32 = 10;

/// Counting runs of earlier schedulers.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The id from which on rows have not been looked at; None before the first look.
    from: Option<i64>,
    /// Runs that have ended since this was begun: they are counted as all others are.
    since: HashSet<i64>,
    /// Runs of a job from this id on were waiting to be counted when this was begun.
    waiting: HashMap<JobId, i64>,
    retry_at: Option<Timestamp>,
    /// Rows of the ledger looked at in one turn.
    portion: Portion,
}

impl CatchUp {
    fn leaves_out(&self, run: &Uncounted) -> bool {
        let waiting = self.waiting.get(&run.job).is_some_and(|&first| first <= run.run.0);
        waiting || self.since.contains(&run.run.0)
    }
}

impl Records {
    /// The next jobs something is to be written of, as many as fit in a turn. They go round: none is
    /// counted twice before all others were.
    pub(super) fn to_count(&self) -> Vec<JobId> {
        let from = self.counted.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.progress.range((from, Bound::Unbounded));
        rest.filter(|(_, progress)| self.counts(progress))
            .take(self.counting.size())
            .map(|(job, _)| *job)
            .collect()
    }

    /// Whether something of a job is to be written now: not what waits for runs of earlier schedulers
    /// to be counted.
    fn counts(&self, progress: &Progress) -> bool {
        self.catch_up.is_none() || progress.is_more()
    }

    /// Writes what happened to these jobs: statistics, occurrences that did not run, and then how far
    /// each job has come. False if that failed.
    pub(super) fn count(&mut self, oldest: Option<RunId>, jobs: Vec<JobId>) -> bool {
        let (began, number, last) = (Instant::now(), jobs.len(), jobs.last().copied());
        let counted = jobs.is_empty() || self.count_jobs(jobs, oldest, &[]);
        let took = began.elapsed();
        self.counting.done(number, took);
        self.counted = last.filter(|_| counted);
        // In a flood statistics come later and cost no more: a share of the time, whatever they take.
        let pause = match self.to_count().is_empty() {
            _ if !counted => Timestamp::SECOND,
            false => micros(took * COUNT_SHARE),
            true => COUNT_DELAY,
        };
        if pause == COUNT_DELAY {
            self.counted = None; // the next round
        }
        self.count_at = self.has_progress().then(|| time::now().plus(pause));
        counted
    }

    /// As [`Self::count`]; the statistics of the jobs in `resets` begin anew after that.
    fn count_jobs(&mut self, jobs: Vec<JobId>, oldest: Option<RunId>, resets: &[i64]) -> bool {
        let mut taken: Vec<(JobId, Progress)> =
            jobs.into_iter().filter_map(|job| self.progress.remove_entry(&job)).collect();
        let below = oldest.map_or(self.next_id, |run| run.0);
        let all = self.progress.is_empty() && self.decided.is_written();
        let below = (all && self.may_mark).then_some(below);
        // Runs are counted in their order, those of earlier schedulers first.
        let tallies: Vec<(JobId, Tally)> = taken
            .iter_mut()
            .filter(|_| self.catch_up.is_none())
            .filter_map(|(job, progress)| Some((*job, progress.tally.take()?)))
            .collect();
        // What waits for the ledger is not accounted for yet.
        let these: HashSet<JobId> = taken.iter().map(|(job, _)| *job).collect();
        let behind = self.behind(|job| these.contains(&job));
        let wanted = self.wanted_and_written();
        let reached: Vec<Reached> = taken
            .iter()
            .map(|(job, progress)| Reached {
                job: *job,
                cursor: match progress.cursor {
                    Some(_) if behind.contains(job) => {
                        wanted.and_then(|wanted| wanted.cursor(*job))
                    }
                    cursor => cursor,
                },
                ..progress.succeeded(*job)
            })
            .filter(|job| job.cursor.is_some() || job.has_succeeded())
            .collect();
        let outside: Vec<i64> =
            taken.iter().filter(|(_, progress)| progress.outside).map(|(job, _)| job.0).collect();
        let counted = txn::run("writing how far jobs have come", || {
            for (job, progress) in &taken {
                for skip in &progress.skips {
                    state::skip(*job, skip)?;
                }
            }
            stats::count(&tallies, below)?;
            if !resets.is_empty() {
                resets::carry_out(resets)?;
            }
            state::set_outside(&outside)?;
            state::set_reached(&reached)
        })
        .is_some_and(|written: Result<(), pgrx::spi::Error>| written.is_ok());
        if counted {
            self.news.extend(tallies.iter().map(|(job, _)| *job));
            self.news.extend(resets.iter().copied().map(JobId));
        } else {
            for (job, tally) in tallies {
                self.progress.entry(job).or_default().tally = Some(tally);
            }
        }
        for (job, progress) in taken {
            if !counted {
                let back = self.progress.entry(job).or_default();
                back.skips = progress.skips;
                (back.window_start, back.outside) = (progress.window_start, progress.outside);
                back.made_good = progress.made_good;
            }
            if let Some(tally) = progress.tally {
                self.progress.entry(job).or_default().tally = Some(tally);
            }
            if counted {
                self.wanted_no_more(job);
            }
            if !counted || behind.contains(&job) {
                self.progress.entry(job).or_default().cursor = progress.cursor;
            }
            // Only these: to look at all of 100,000 ten times a second costs a twentieth of a core.
            if self.progress.get(&job).is_some_and(Progress::is_empty) {
                self.progress.remove(&job);
            }
        }
        counted
    }

    /// Whether something is to be written of jobs now; not what waits for runs of earlier schedulers to
    /// be counted.
    fn has_progress(&self) -> bool {
        if self.catch_up.is_some() { !self.is_accounted() } else { !self.progress.is_empty() }
    }

    /// Whether all is written but the statistics of runs that wait for earlier ones.
    pub(super) fn waits_for_earlier(&self) -> bool {
        let rest = self.wants_writing() || !self.decided.is_written() || !self.is_accounted();
        self.catch_up.is_some() && !rest
    }

    /// Whether all that is known of jobs is written, but for statistics.
    pub(super) fn is_accounted(&self) -> bool {
        !self.progress.values().any(Progress::is_more)
    }

    /// Has the statistics of jobs begin anew for which somebody wants that, once what has ended before
    /// is counted.
    pub(super) fn reset_statistics(&mut self, oldest: Option<RunId>) {
        if self.catch_up.is_some() {
            return;
        }
        let (since, most) = (Instant::now(), self.counting.size());
        let found = txn::run("looking for statistics to reset", || resets::jobs(most));
        let Some(Ok(jobs)) = found else {
            self.retry_at = Some(time::now().plus(LOCK_RETRY));
            return;
        };
        let ids: Vec<JobId> = jobs.iter().copied().map(JobId).collect();
        if jobs.is_empty() || self.count_jobs(ids, oldest, &jobs) {
            self.counting.done(jobs.len(), since.elapsed());
            self.resets = jobs.len() == most;
        } else {
            self.retry_at = Some(time::now().plus(LOCK_RETRY));
        }
    }

    /// Begins to count runs of earlier schedulers. Until that is done the mark up to which runs are
    /// counted stays where it is.
    fn begin_catch_up(&mut self) {
        let waiting = |(job, progress): (&JobId, &Progress)| {
            Some((*job, progress.tally.as_ref().and_then(Tally::first_run)?))
        };
        let waiting = self.progress.iter().filter_map(waiting).collect();
        self.catch_up = Some(CatchUp { waiting, ..CatchUp::default() });
        self.may_mark = false;
    }

    /// Writes all that waits, as the scheduler is about to let go of its database or was asked to.
    /// False if something could not be written.
    pub(crate) fn flush_all(&mut self, oldest: Option<RunId>) -> bool {
        self.retry_at = None;
        self.decided.hurry();
        self.over_at = self.over_at.map(|_| Timestamp(i64::MIN));
        self.stuck_at = self.stuck_at.map(|_| Timestamp(i64::MIN));
        let mut written = self.write_rows();
        while !written && self.more {
            written = self.write_rows();
        }
        if self.count_at.is_some() {
            let all = self.progress.iter().filter(|(_, progress)| self.counts(progress));
            let jobs = all.map(|(job, _)| *job).collect();
            self.count(oldest, jobs);
        }
        written && self.stuck.is_empty() && self.progress.is_empty() && self.catch_up.is_none()
    }
}

impl Progress {
    /// Whether there is more than statistics.
    const fn is_more(&self) -> bool {
        !self.skips.is_empty()
            || self.cursor.is_some()
            || self.window_start.is_some()
            || self.made_good.is_some()
            || self.outside
    }

    /// How far successes have brought the job.
    pub(super) const fn succeeded(&self, job: JobId) -> Reached {
        let Self { window_start, made_good, .. } = *self;
        Reached { job, cursor: None, window_start, made_good }
    }

    const fn is_empty(&self) -> bool {
        self.tally.is_none() && !self.is_more()
    }
}

impl Scheduler {
    /// Begins to count what earlier schedulers had no time to count.
    pub(super) fn begin_to_catch_up(&mut self) {
        self.records.begin_catch_up();
        // Those under way tell how they end.
        let under_way = self.live_runs();
        if let Some(catch_up) = &mut self.records.catch_up {
            catch_up.since.extend(under_way);
        }
    }

    /// When there is more to count.
    pub(super) fn next_catch_up(&self) -> Option<Timestamp> {
        let catch_up = self.records.catch_up.as_ref()?;
        Some(catch_up.retry_at.unwrap_or(Timestamp(i64::MIN)))
    }

    /// Counts some of the runs earlier schedulers had no time to count.
    pub(super) fn catch_up(&mut self, now: Timestamp) {
        let Some(mut catch_up) = self.records.catch_up.take() else { return };
        if catch_up.retry_at.is_some_and(|at| at > now && at.since(now) <= LOCK_RETRY) {
            self.records.catch_up = Some(catch_up);
            return;
        }
        let (ledger, most, began) =
            (pgrx::pg_sys::Oid::from(self.ledger), catch_up.portion.size(), Instant::now());
        let may_mark = self.records.decided().is_written();
        let looked = txn::run("counting earlier runs", || {
            if !lock::try_read_table(ledger) {
                return Ok(None);
            }
            let from = match catch_up.from {
                Some(from) => from,
                None => stats::counted_below()?,
            };
            let (runs, next) = stats::uncounted(from, i64::try_from(most).unwrap_or(i64::MAX))?;
            let runs: Vec<Uncounted> =
                runs.into_iter().filter(|run| !catch_up.leaves_out(run)).collect();
            if self.has_unread_jobs() && runs.iter().any(|run| !self.jobs.is_read(run.job)) {
                return Ok(None); // of a job that is new and not read yet
            }
            let tallies = self.tallies(runs.into_iter());
            stats::count(&tallies, None)?;
            if next.is_none() && may_mark {
                let under_way = self.currents().map(|current| current.run.0);
                stats::mark_caught_up(catch_up.since.iter().copied().chain(under_way).min())?;
            }
            Ok::<_, pgrx::spi::Error>(Some((next, tallies)))
        });
        if let Some(Ok(Some((_, tallies)))) = &looked {
            self.records.news.extend(tallies.iter().map(|(job, _)| *job));
        }
        catch_up.retry_at = None;
        match looked {
            Some(Ok(Some((Some(next), _)))) => {
                catch_up.from = Some(next);
                catch_up.portion.done(most, began.elapsed());
            }
            Some(Ok(Some((None, _)))) => {
                // All are counted that ended before; the others are as if nothing had been.
                self.records.may_mark = self.ledger_at.is_none();
                self.records.count_soon(now);
                return;
            }
            _ => catch_up.retry_at = Some(now.plus(LOCK_RETRY)),
        }
        self.records.catch_up = Some(catch_up);
    }

    /// What runs add, by job.
    fn tallies(&self, runs: impl Iterator<Item = Uncounted>) -> Vec<(JobId, Tally)> {
        let mut tallies: HashMap<JobId, Tally> = HashMap::new();
        for Uncounted { job, run, trigger, scheduled_for, mut ended, error } in runs {
            if self.jobs.get(job).is_none() {
                continue;
            }
            if let Some((trigger, at)) = trigger.zip(scheduled_for) {
                ended.due = due(trigger, at, || self.jobs.planned(job, at));
            }
            tallies.entry(job).or_default().add(run, &ended, error.as_deref());
        }
        tallies.into_iter().collect()
    }

    /// Counts a run that has just ended.
    pub(super) fn tally(&mut self, current: &Current, end: &End, now: Timestamp) {
        let Occurrence { job, scheduled_for, trigger, attempt, .. } = current.occurrence;
        let ended = Ended {
            outcome: end.outcome,
            attempt,
            due: due(trigger, scheduled_for, || self.jobs.planned(job, scheduled_for)),
            started_at: end.started_at,
            ended_at: end.ended_at,
            wal_bytes: end.usage.wal_bytes,
            rows: end.usage.rows,
        };
        self.records.tally(job, now).add(current.run, &ended, Some(&end.message));
        if let Some(catch_up) = &mut self.records.catch_up {
            catch_up.since.insert(current.run.0);
        }
    }
}

/// A duration in microseconds.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
