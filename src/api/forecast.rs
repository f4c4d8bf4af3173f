//! `cron.forecast`: every coming start of the jobs a caller may see.
//!
//! Owns one invariant: memory stays bounded however many starts there are. They are made slice by
//! slice, and handed to Postgres one by one.

use pg_tock_core::plan::{Forecast, ForecastJob, Plan, forecast};
use pg_tock_core::time::Timestamp as Instant;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::outlook;
use crate::error::Error;

use super::outlook::Calendars;
use super::preview::{now, timestamptz};

/// The farthest a forecast looks, in microseconds: 366 days.
const FARTHEST: i64 = 366 * 86_400 * Instant::SECOND;

/// How long the first slice is, in microseconds: an hour.
const FIRST_SLICE: i64 = 3_600 * Instant::SECOND;

/// About how many starts a slice is to have.
const STARTS: usize = 200_000;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_forecast(
    horizon: Option<Interval>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(run_at, TimestampWithTimeZone),
            name!(jobid, i64),
            name!(jobname, Option<Vec<u8>>),
            name!(expected_duration, Option<Interval>),
            name!(expected_concurrency, i32),
        ),
    >,
    ErrorReport,
> {
    let reach = horizon.map(|horizon| outlook::micros(&horizon)).ok_or(Error::Null("horizon"))?;
    if !(0..=FARTHEST).contains(&reach) {
        return Err(Error::OutOfRange {
            problem: "horizon is out of range".to_owned(),
            hint: "It is from 0 to 366 days.",
        }
        .into());
    }
    Ok(TableIterator::new(Starts::new(now(), reach)?))
}

/// A job with what the rows say of it.
#[derive(Debug)]
struct Job {
    id: i64,
    name: Option<Vec<u8>>,
    plan: Plan,
    /// Mean duration in microseconds; None before the first run.
    duration: Option<i64>,
    /// The end of its pause; the beginning of the forecast if it is not paused.
    from: Instant,
}

type Row = (TimestampWithTimeZone, i64, Option<Vec<u8>>, Option<Interval>, i32);

/// The starts, in order of time.
#[derive(Debug)]
struct Starts {
    jobs: Vec<Job>,
    /// Those jobs of the present slice, by place in `jobs`.
    awake: Vec<usize>,
    /// The starts of the present slice.
    starts: std::vec::IntoIter<Forecast>,
    /// Where the next slice begins, and how long it is to be.
    from: Instant,
    slice: i64,
    until: Instant,
}

impl Starts {
    fn new(now: Instant, reach: i64) -> Result<Self, Error> {
        let mut calendars = Calendars::default();
        let mut jobs = Vec::new();
        for job in outlook::active()?.into_iter().filter(outlook::Outlook::runs_here) {
            // A job that is not valid does not run; cron.jobs says so.
            let Ok(plan) = job.plan(now, &mut calendars)? else { continue };
            jobs.push(Job {
                id: job.shaped.jobid,
                plan,
                duration: job.average,
                from: job.rests_until(now),
                name: job.jobname,
            });
        }
        Ok(Self {
            jobs,
            awake: Vec::new(),
            starts: Vec::new().into_iter(),
            from: now,
            slice: FIRST_SLICE,
            until: now.plus(reach),
        })
    }

    /// Makes the starts of the next slice; false when there is none left.
    fn refill(&mut self) -> bool {
        pgrx::check_for_interrupts!();
        if self.from >= self.until {
            return false;
        }
        // Who is paused now is taken in when the pause is over, so a slice does not reach beyond.
        let wakes = self.jobs.iter().map(|job| job.from).filter(|&from| from > self.from).min();
        let until = self.from.plus(self.slice).min(self.until);
        let until = wakes.map_or(until, |wakes| until.min(wakes));
        let awake = self.jobs.iter().enumerate().filter(|(_, job)| job.from <= self.from);
        self.awake = awake.map(|(place, _)| place).collect();
        let jobs: Vec<ForecastJob<'_>> = self
            .awake
            .iter()
            .filter_map(|&place| self.jobs.get(place))
            .map(|job| ForecastJob { plan: &job.plan, duration: job.duration.unwrap_or(0) })
            .collect();
        let starts = forecast(&jobs, self.from, until);
        // The next slice is as long as this one's density allows, at most eight times as long.
        let factor = (STARTS / starts.len().max(1)).clamp(1, 8);
        let shrink = (starts.len() / STARTS).max(1);
        let slice = self.slice.saturating_mul(i64::try_from(factor).unwrap_or(1));
        self.slice = (slice / i64::try_from(shrink).unwrap_or(1)).max(Instant::SECOND);
        self.from = until;
        self.starts = starts.into_iter();
        true
    }

    fn row(&self, start: Forecast) -> Option<Row> {
        let job = self.awake.get(start.job).and_then(|&place| self.jobs.get(place))?;
        let duration = job.duration.map(Interval::from_micros);
        let concurrency = i32::try_from(start.concurrency).unwrap_or(i32::MAX);
        Some((timestamptz(start.start)?, job.id, job.name.clone(), duration, concurrency))
    }
}

impl Iterator for Starts {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(start) = self.starts.next() {
                return self.row(start);
            }
            if !self.refill() {
                return None;
            }
        }
    }
}
