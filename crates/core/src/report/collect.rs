//! From rows to a report, in one pass over the runs.
//!
//! Owns one invariant: memory is bounded by the number of jobs and by [`Limits`], never by the number
//! of runs. Runs come job by job; those of a job that is not among the ones to be shown are forgotten
//! when its last one has been counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::failures::{Failure, group};
use super::{Coming, Durations, Heading, Job, Lane, Report, Run, Skip, Span, Tally, Week, text};
use crate::schedule::Zone;
use crate::time::Timestamp;

/// A quarter of an hour in microseconds: every zone's offset is a multiple of it.
const QUARTER: i64 = 900 * Timestamp::SECOND;

/// How much a report shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that are shown by themselves.
    pub jobs: usize,
    /// Runs that are read of each job, the newest ones.
    pub runs_a_job: usize,
    /// Failures that are looked at, the newest ones.
    pub failures: usize,
    /// Groups of failures that are shown.
    pub failure_groups: usize,
    /// Jobs named among those that cannot run.
    pub broken: usize,
    /// How far back statistics are read for the hours of the week, in microseconds.
    pub past: i64,
}

impl Limits {
    /// Those for so many jobs: as many runs are read of each as together make 200,000, and of hours as
    /// together make 300,000.
    #[must_use]
    pub fn of(jobs: usize) -> Self {
        let days = (12_500 / i64::try_from(jobs.max(1)).unwrap_or(i64::MAX)).clamp(1, 28);
        Self {
            jobs: 30,
            runs_a_job: (200_000 / jobs.max(1)).clamp(10, 5_000),
            failures: 500,
            failure_groups: 20,
            broken: 20,
            past: days * 86_400 * Timestamp::SECOND,
        }
    }
}

/// How much a job is worth showing: failures first, then the time its runs took.
type Rank = (u64, i64, u64, Reverse<i64>);

/// An hour of the past, all jobs together, as statistics have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    /// Its beginning.
    pub at: Timestamp,
    /// How many runs started in it that ended within so many hours.
    pub starts: u64,
    /// How long those took together, in microseconds.
    pub busy: i64,
    /// Within how many hours they ended, on average.
    pub lasting: i64,
}

/// Takes runs and skips in.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    span: Span,
    jobs: HashMap<i64, Job>,
    /// Runs under way of jobs that have not had their turn.
    under_way: HashMap<i64, Vec<Run>>,
    /// The job whose runs come in at present.
    open: Option<Open>,
    tallies: HashMap<i64, Tally>,
    kept: BinaryHeap<Reverse<(Rank, i64)>>,
    lanes: HashMap<i64, Lane>,
    cut: usize,
    /// Starts in each quarter of an hour, time runs went on in it, and changes of how many went on
    /// through all of it.
    quarters: BTreeMap<i64, (f64, f64)>,
    through: BTreeMap<i64, f64>,
    /// The time `quarters` speaks of, if statistics of it were taken in.
    past: Option<Span>,
    failures: BinaryHeap<Reverse<(Timestamp, i64, i64)>>,
}

#[derive(Debug)]
struct Open {
    job: i64,
    runs: Vec<Run>,
}

impl Collector {
    /// A collector for these jobs.
    #[must_use]
    pub fn new(span: Span, jobs: Vec<Job>, limits: Limits) -> Self {
        Self {
            limits,
            span,
            jobs: jobs.into_iter().map(|job| (job.id, job)).collect(),
            under_way: HashMap::new(),
            open: None,
            tallies: HashMap::new(),
            kept: BinaryHeap::new(),
            lanes: HashMap::new(),
            cut: 0,
            quarters: BTreeMap::new(),
            through: BTreeMap::new(),
            past: None,
            failures: BinaryHeap::new(),
        }
    }

    /// Takes in hours of the past that reach back further than the span: the week is made from them
    /// then, and not from runs.
    #[allow(clippy::cast_precision_loss, reason = "averages")]
    pub fn past(&mut self, hours: &[Hour]) {
        let Some(from) = hours.iter().map(|hour| hour.at).min().filter(|&at| at < self.span.from)
        else {
            return;
        };
        self.past = Some(Span { from, until: self.span.until });
        for hour in hours {
            let first = hour.at.0.div_euclid(QUARTER);
            let lasting = hour.lasting.clamp(1, 24 * 366);
            for quarter in 0..lasting * 4 {
                let (starts, busy) = self.quarters.entry(first + quarter).or_default();
                *busy += hour.busy as f64 / (lasting * 4) as f64;
                if quarter < 4 {
                    *starts += hour.starts as f64 / 4.0;
                }
            }
        }
    }

    /// Takes in what a job has skipped; to be called before its runs come.
    pub fn skip(&mut self, job: i64, skip: &Skip) {
        let clipped = i64::try_from(skip.count).unwrap_or(i64::MAX);
        let length = skip.last.since(skip.first);
        // Of those that began before the span as many as lie in it, if they are evenly spread.
        let inside = match self.span.from.since(skip.first) {
            before if before > 0 && length > 0 => {
                let part = i128::from(skip.last.since(self.span.from).max(0));
                i64::try_from(i128::from(clipped) * part / i128::from(length)).unwrap_or(clipped)
            }
            _ => clipped,
        };
        let tally = self.tallies.entry(job).or_default();
        tally.skipped += u64::try_from(inside).unwrap_or(0);
    }

    /// Takes in a run that is under way; to be called before the others come.
    pub fn running(&mut self, job: i64, run: Run) {
        self.under_way.entry(job).or_default().push(run);
    }

    /// Takes in a run that is over. Runs of a job come one after the other.
    pub fn run(&mut self, job: i64, run: Run) {
        if self.open.as_ref().is_none_or(|open| open.job != job) {
            self.close();
            self.open = Some(Open { job, runs: Vec::new() });
        }
        self.count(&run);
        if run.failed() {
            self.failures.push(Reverse((run.started, run.id, job)));
            if self.failures.len() > self.limits.failures {
                self.failures.pop();
            }
        }
        if let Some(open) = &mut self.open {
            open.runs.push(run);
        }
    }

    /// Takes a run into the hours of the week.
    #[allow(clippy::cast_precision_loss, reason = "averages")]
    fn count(&mut self, run: &Run) {
        if self.past.is_some() {
            return;
        }
        if self.contains(run.started) {
            self.quarters.entry(run.started.0.div_euclid(QUARTER)).or_default().0 += 1.0;
        }
        let begin = run.started.max(self.span.from);
        let end = run.ended.unwrap_or(self.span.until).min(self.span.until);
        if begin >= end {
            return;
        }
        let (first, last) = (begin.0.div_euclid(QUARTER), end.0.div_euclid(QUARTER));
        let mut add = |quarter: i64, micros: i64| {
            self.quarters.entry(quarter).or_default().1 += micros as f64;
        };
        if first == last {
            add(first, end.since(begin));
            return;
        }
        add(first, (first + 1) * QUARTER - begin.0);
        add(last, end.0 - last * QUARTER);
        *self.through.entry(first + 1).or_default() += 1.0;
        *self.through.entry(last).or_default() -= 1.0;
    }

    fn contains(&self, at: Timestamp) -> bool {
        at >= self.span.from && at < self.span.until
    }

    /// The runs of the present job are all there.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let full = open.runs.len() >= self.limits.runs_a_job;
        let oldest = open.runs.iter().map(|run| run.started).min();
        for run in self.under_way.remove(&open.job).unwrap_or_default() {
            self.count(&run);
            open.runs.push(run);
        }
        self.cut += usize::from(full);
        let tally = self.tallies.entry(open.job).or_default();
        for run in &open.runs {
            let end = run.ended.unwrap_or(self.span.until).min(self.span.until);
            tally.runs += 1;
            tally.busy =
                tally.busy.saturating_add(end.since(run.started.max(self.span.from)).max(0));
            match (run.failed(), run.outcome) {
                (true, _) => tally.failed += 1,
                (false, Some(_)) => tally.succeeded += 1,
                (false, None) => tally.running += 1,
            }
        }
        let tally = *tally;
        let unread_before = oldest.filter(|_| full);
        let durations = durations(&open.runs);
        self.keep(open.job, tally, |job| Lane {
            job,
            runs: open.runs,
            skips: Vec::new(),
            tally,
            durations,
            unread_before,
        });
    }

    /// Shows a job if it is among those most worth it.
    fn keep(&mut self, job: i64, tally: Tally, lane: impl FnOnce(Job) -> Lane) {
        let rank = (tally.failed, tally.busy, tally.runs + tally.skipped, Reverse(job));
        let worth = |least: &Reverse<(Rank, i64)>| least.0.0 < rank;
        if self.kept.len() >= self.limits.jobs && !self.kept.peek().is_some_and(worth) {
            return;
        }
        let Some(known) = self.jobs.get(&job) else { return };
        self.lanes.insert(job, lane(known.clone()));
        self.kept.push(Reverse((rank, job)));
        if self.kept.len() > self.limits.jobs
            && let Some(Reverse((_, least))) = self.kept.pop()
        {
            self.lanes.remove(&least);
        }
    }

    /// All runs are in: what remains are the jobs without any. Returns the ids of the jobs that are
    /// shown, whose skips are wanted, and of the runs whose messages are.
    pub fn settle(&mut self) -> (Vec<i64>, Vec<i64>) {
        self.close();
        let waiting: Vec<i64> = self.under_way.keys().copied().collect();
        for job in waiting {
            self.open = Some(Open { job, runs: Vec::new() });
            self.close();
        }
        let mut idle: Vec<i64> =
            self.jobs.keys().copied().filter(|job| !self.lanes.contains_key(job)).collect();
        idle.sort_unstable();
        for job in idle {
            let tally = self.tallies.get(&job).copied().unwrap_or_default();
            if tally.runs > 0 {
                continue; // it has been weighed
            }
            self.keep(job, tally, |job| Lane {
                job,
                runs: Vec::new(),
                skips: Vec::new(),
                tally,
                durations: None,
                unread_before: None,
            });
        }
        let failures = self.failures.iter().map(|Reverse((_, run, _))| *run).collect();
        (self.lanes.keys().copied().collect(), failures)
    }

    /// What a job that is shown has skipped.
    pub fn show_skip(&mut self, job: i64, skip: Skip) {
        if let Some(lane) = self.lanes.get_mut(&job) {
            lane.skips.push(skip);
        }
    }

    /// The report.
    #[must_use]
    pub fn report(self, heading: Heading, failures: Vec<Failure>, coming: Vec<Coming>) -> Report {
        let mut tally = Tally::default();
        let mut others = Tally::default();
        for (job, of_job) in &self.tallies {
            tally.add(of_job);
            if !self.lanes.contains_key(job) {
                others.add(of_job);
            }
        }
        let week = self.week(&heading.zone);
        let title = |job: i64| self.jobs.get(&job).map_or_else(|| format!("job {job}"), Job::title);
        let failures = group(failures, title, self.limits.failure_groups);
        let mut broken: Vec<Job> = self.jobs.values().filter(|j| j.is_broken()).cloned().collect();
        broken.sort_by_key(|job| job.id);
        let broken_jobs = broken.len();
        broken.truncate(self.limits.broken);
        let mut kept = self.kept.into_vec();
        kept.sort_unstable(); // they are reversed: the best comes first
        let mut lanes = self.lanes;
        Report {
            jobs: self.jobs.len(),
            coming_jobs: self.jobs.values().filter(|job| job.next.is_some()).count(),
            tally,
            lanes: kept.into_iter().filter_map(|Reverse((_, job))| lanes.remove(&job)).collect(),
            others,
            cut: self.cut,
            broken,
            broken_jobs,
            week,
            week_of: self.past.unwrap_or(self.span),
            failures,
            coming,
            heading,
        }
    }

    /// The quarters of an hour as hours of a zone's week.
    #[allow(clippy::cast_precision_loss, reason = "averages")]
    fn week(&self, zone: &Zone) -> Week {
        let hour = 3_600.0 * Timestamp::SECOND as f64;
        let mut week = Week::default();
        let span = self.past.unwrap_or(self.span);
        let (first, last) = (span.from.0, span.until.0);
        let mut through = 0.0;
        for quarter in first.div_euclid(QUARTER)..=(last - 1).div_euclid(QUARTER) {
            let begin = Timestamp(quarter * QUARTER);
            let local = zone.local(begin);
            let column = usize::try_from(local.time().0).unwrap_or(0);
            let day = week.get_mut(text::weekday(&local));
            let Some(cell) = day.and_then(|day| day.get_mut(column)) else { continue };
            through += self.through.get(&quarter).copied().unwrap_or(0.0);
            let (starts, busy) = self.quarters.get(&quarter).copied().unwrap_or_default();
            let seen = begin.plus(QUARTER).0.min(last) - begin.0.max(first);
            cell.seen += seen as f64 / hour;
            cell.starts += starts;
            cell.busy += (busy + through * QUARTER as f64) / hour;
        }
        week
    }
}

/// How long those runs took that have ended.
fn durations(runs: &[Run]) -> Option<Durations> {
    let mut took: Vec<i64> =
        runs.iter().filter_map(|run| Some(run.ended?.since(run.started).max(0))).collect();
    took.sort_unstable();
    // The nearest rank: a duration that a run had.
    let rank =
        |percent: usize| took.get((took.len() * percent).div_ceil(100).checked_sub(1)?).copied();
    Some(Durations { p50: rank(50)?, p95: rank(95)?, p99: rank(99)?, max: rank(100)? })
}
