//! What many jobs will do: every start in a span of time, and how much runs then.
//!
//! Owns one invariant: starts come in order of time (then of the jobs given) with bounded memory,
//! however many there are. Time is taken in slices whose length follows the density of starts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Plan;
use crate::time::Timestamp;

/// A slice that yields fewer starts than this is followed by one twice as long.
const FEW: usize = 8_192;
/// A slice that yields more starts than this is followed by one half as long.
const MANY: usize = 65_536;
/// The length of the first slice, in microseconds: one minute.
const FIRST_SLICE: i64 = 60 * Timestamp::SECOND;

/// A job to forecast.
#[derive(Clone, Copy, Debug)]
pub struct ForecastJob<'a> {
    /// When it runs.
    pub plan: &'a Plan,
    /// How many microseconds a run is expected to take.
    pub duration: i64,
}

/// One start to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forecast {
    /// When the run starts, jitter included.
    pub start: Timestamp,
    /// Which job: its index in the list given.
    pub job: usize,
    /// How many jobs are expected to run at that instant, this one included. A job counts once,
    /// however many of its runs would overlap; a run that takes no time counts at its start.
    pub concurrency: u32,
}

/// Every start after `from` and up to `until`, in order of time, then of the list. See
/// [`Forecasts`] for the same without a list in memory.
#[must_use]
pub fn forecast(jobs: &[ForecastJob<'_>], from: Timestamp, until: Timestamp) -> Vec<Forecast> {
    Forecasts::new(jobs, from, until).collect()
}

/// The instants of a job that have not been taken.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// The next instant that runs and when it starts.
    next: Option<(Timestamp, Timestamp)>,
    /// When the run that started last ends.
    busy_until: Timestamp,
    /// Whether it counts as running, and has an entry among the ends.
    running: bool,
}

/// Every start of some jobs in a span of time, one after the other.
#[derive(Debug)]
pub struct Forecasts<'a> {
    jobs: &'a [ForecastJob<'a>],
    streams: Vec<Stream>,
    /// For each job that counts as running, when it is to be looked at again: at its
    /// `busy_until`, or earlier if it has started anew since. Earliest first.
    ends: BinaryHeap<Reverse<(Timestamp, usize)>>,
    running: u32,
    until: Timestamp,
    /// Up to where starts have been taken from the streams, and how far the next slice reaches.
    taken: Timestamp,
    slice: i64,
    /// The starts of the present slice, and how many of them have been given out.
    starts: Vec<(Timestamp, usize)>,
    given: usize,
    /// How many of them have been counted among those that run.
    counted: usize,
}

impl<'a> Forecasts<'a> {
    /// Every start after `from` and up to `until`.
    #[must_use]
    pub fn new(jobs: &'a [ForecastJob<'a>], from: Timestamp, until: Timestamp) -> Self {
        let mut this = Self {
            jobs,
            streams: Vec::with_capacity(jobs.len()),
            ends: BinaryHeap::new(),
            running: 0,
            until,
            taken: from,
            slice: FIRST_SLICE,
            starts: Vec::new(),
            given: 0,
            counted: 0,
        };
        for (index, job) in jobs.iter().enumerate() {
            let busy_until = last_end(job, from);
            let mut next = following(job.plan, job.plan.before_starts_after(from), until);
            while let Some((nominal, start)) = next
                && start <= from
            {
                next = following(job.plan, nominal, until);
            }
            let running = busy_until > from;
            this.streams.push(Stream { next, busy_until, running });
            if running {
                this.running += 1;
                this.ends.push(Reverse((busy_until, index)));
            }
        }
        this
    }

    /// Takes the next starts from the streams; false when there are none left.
    fn refill(&mut self) -> bool {
        (self.given, self.counted) = (0, 0);
        self.starts.clear();
        while self.starts.is_empty() {
            if self.taken >= self.until {
                return false;
            }
            let Some(earliest) = self.streams.iter().filter_map(|s| s.next).map(|n| n.1).min()
            else {
                return false;
            };
            let end = self.taken.max(earliest).plus(self.slice).min(self.until);
            for (index, (stream, job)) in self.streams.iter_mut().zip(self.jobs).enumerate() {
                while let Some((nominal, start)) = stream.next.filter(|&(_, start)| start <= end) {
                    self.starts.push((start, index));
                    stream.next = following(job.plan, nominal, self.until);
                }
            }
            self.taken = end;
            if self.starts.len() < FEW {
                self.slice = self.slice.saturating_mul(2);
            } else if self.starts.len() > MANY {
                self.slice = (self.slice / 2).max(Timestamp::SECOND);
            }
        }
        // Stable, so that jobs keep their order; and quick, because each job's starts are sorted.
        self.starts.sort_by_key(|&(start, _)| start);
        true
    }

    /// Counts every run that starts at `start`, and none any more that has ended by then.
    fn count(&mut self, start: Timestamp) {
        while let Some(&Reverse((end, index))) = self.ends.peek()
            && end <= start
        {
            self.ends.pop();
            let Some(stream) = self.streams.get_mut(index) else { continue };
            if stream.busy_until > start {
                self.ends.push(Reverse((stream.busy_until, index)));
            } else {
                stream.running = false;
                self.running -= 1;
            }
        }
        while let Some(&(_, index)) = self.starts.get(self.counted).filter(|s| s.0 == start) {
            self.counted += 1;
            let (Some(stream), Some(job)) = (self.streams.get_mut(index), self.jobs.get(index))
            else {
                continue;
            };
            // One that takes no time runs at its start all the same.
            stream.busy_until = start.plus(job.duration.max(1));
            if !stream.running {
                stream.running = true;
                self.running += 1;
                self.ends.push(Reverse((stream.busy_until, index)));
            }
        }
    }
}

impl Iterator for Forecasts<'_> {
    type Item = Forecast;

    fn next(&mut self) -> Option<Forecast> {
        if self.given == self.starts.len() && !self.refill() {
            return None;
        }
        let &(start, job) = self.starts.get(self.given)?;
        if self.given == self.counted {
            self.count(start);
        }
        self.given += 1;
        Some(Forecast { start, job, concurrency: self.running })
    }
}

/// The first instant after `after` and up to `until` that runs, and when it starts.
fn following(plan: &Plan, after: Timestamp, until: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let next = plan.next_open_until(after, until)?;
    Some((next, plan.start_of(next)))
}

/// When the last run that started at or before `at` ends; a time long past when none is running.
fn last_end(job: &ForecastJob<'_>, at: Timestamp) -> Timestamp {
    let duration = job.duration.max(1);
    let reach = duration.saturating_add(job.plan.shape().jitter.max(0));
    let earlier = |until: Timestamp| {
        // What the schedule named before it took effect has not run.
        let nominal = job.plan.latest_open(until, reach).filter(|&at| at > job.plan.anchor)?;
        Some((nominal, job.plan.start_of(nominal)))
    };
    // Of the instants up to `at` only the last can have a start that is still to come.
    let last = match earlier(at) {
        Some((nominal, start)) if start > at => earlier(nominal.plus(-1)),
        last => last,
    };
    last.map_or(Timestamp(i64::MIN), |(_, start)| start.plus(duration))
}
