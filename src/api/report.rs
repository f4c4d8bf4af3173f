//! `cron.report_html` and `cron.timeline`: what jobs have done, as far as the caller may see it.

use pg_tock_core::report::draw::{self, Pen};
use pg_tock_core::report::{Collector, Coming, Heading, Job, Limits, Report, Span, page};
use pg_tock_core::schedule::Zone;
use pg_tock_core::time::Timestamp as Instant;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::outlook;
use crate::catalog::report::{self, Place, Which};
use crate::error::Error;
use crate::pg::text::{ServerText, client_reads_utf8};

use super::outlook::Calendars;
use super::preview::now;

/// The longest time a report speaks of, in microseconds: 366 days.
const LONGEST: i64 = 366 * 86_400 * Instant::SECOND;

/// Jobs among the coming runs, and instants of each.
const COMING: usize = 25;
const COMING_OF_A_JOB: usize = 3;

#[pg_extern(sql = false)]
fn cron_report_html(since: Option<Interval>) -> Result<String, ErrorReport> {
    let span = span(since)?;
    let place = report::place()?;
    let report = make(span, &place, Which::All, true)?;
    Ok(page::html(&report))
}

#[pg_extern(sql = false)]
fn cron_timeline(
    job: Option<i64>,
    since: Option<Interval>,
) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    Ok(SetOfIterator::new(timeline(job.map_or(Which::All, Which::Id), since)?))
}

#[pg_extern(sql = false)]
fn cron_timeline_named(
    job: Option<&[u8]>,
    since: Option<Interval>,
) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    let which = job.map_or(Which::All, |name| Which::Named(ServerText::new(name)));
    Ok(SetOfIterator::new(timeline(which, since)?))
}

fn timeline(which: Which<'_>, since: Option<Interval>) -> Result<Vec<String>, Error> {
    let span = span(since)?;
    let place = report::place()?;
    let report = make(span, &place, which, false)?;
    let own = match (which, report.lanes.as_slice()) {
        (Which::All, _) => None,
        (Which::Id(jobid), []) => return Err(Error::NoSuchJob(jobid.to_string())),
        (Which::Named(name), []) => {
            let shown = pg_tock_core::quote::excerpt(&name.readable());
            return Err(Error::NoSuchJob(format!("\"{shown}\"")));
        }
        (_, [lane, ..]) => Zone::resolve(&lane.job.zone).ok(),
    };
    let zone = own.unwrap_or_else(|| report.heading.zone.clone());
    let pen = if client_reads_utf8() { Pen::BLOCKS } else { Pen::ASCII };
    Ok(draw::lines(&report, &zone, pen))
}

/// The time that ends now.
fn span(since: Option<Interval>) -> Result<Span, Error> {
    let length = outlook::micros(&since.ok_or(Error::Null("since"))?);
    if !(Instant::SECOND..=LONGEST).contains(&length) {
        return Err(Error::OutOfRange {
            problem: "since is out of range".to_owned(),
            hint: "It is from 1 second to 366 days.",
        });
    }
    let until = now();
    Ok(Span { from: until.plus(-length), until })
}

/// Reads everything and puts it together; what only the page shows is left out unless it is wanted.
fn make(span: Span, place: &Place, which: Which<'_>, whole: bool) -> Result<Report, Error> {
    let jobs = report::jobs(which)?;
    let limits = Limits::of(jobs.len());
    let only: Option<Vec<i64>> =
        (!matches!(which, Which::All)).then(|| jobs.iter().map(|job| job.id).collect());
    let heading = heading(span, place)?;
    let coming = if whole { coming(&jobs, span.until)? } else { Vec::new() };
    let mut collector = Collector::new(span, jobs, limits);
    if whole {
        collector.past(&report::hours(span.until.plus(-limits.past))?);
    }
    for (job, skip) in report::skips(span.from, only.as_deref())? {
        collector.skip(job, &skip);
    }
    for (job, run) in report::running()? {
        collector.running(job, run);
    }
    report::runs(span.from, limits.runs_a_job, only.as_deref(), |job, run| {
        collector.run(job, run);
    })?;
    let (shown, failed) = collector.settle();
    for (job, skip) in report::skips(span.from, Some(&shown))? {
        collector.show_skip(job, skip);
    }
    let failures = if whole { report::failures(&failed)? } else { Vec::new() };
    Ok(collector.report(heading, failures, coming))
}

fn heading(span: Span, place: &Place) -> Result<Heading, Error> {
    let (level, mut reasons) = report::health()?;
    if reasons.is_empty() {
        reasons.push("the scheduler runs, and no job's last run failed".to_owned());
    }
    Ok(Heading {
        database: place.database.clone(),
        role: place.role.clone(),
        version: format!("pg_tock {}, PostgreSQL {}", place.version, place.server),
        span,
        // The core's zones are those of jobs; a session may have one that jobs cannot.
        zone: Zone::resolve(&place.zone).unwrap_or_else(|_| Zone::utc()),
        level,
        reasons,
    })
}

/// The jobs that start soonest.
fn coming(jobs: &[Job], now: Instant) -> Result<Vec<Coming>, Error> {
    let mut next: Vec<(Instant, &Job)> =
        jobs.iter().filter_map(|job| Some((job.next?, job))).collect();
    next.sort_by_key(|&(at, job)| (at, job.id));
    next.truncate(COMING);
    let mut calendars = Calendars::default();
    let mut coming = Vec::with_capacity(next.len());
    for (at, job) in next {
        let plan = match outlook::one(job.id)? {
            Some(outlook) => {
                let from = outlook.rests_until(now);
                outlook.plan(now, &mut calendars)?.ok().map(|plan| (plan, from))
            }
            None => None,
        };
        let mut starts: Vec<Instant> = plan.map_or_else(Vec::new, |(plan, from)| {
            plan.coming(from).take(COMING_OF_A_JOB).map(|run| run.start).collect()
        });
        if starts.is_empty() {
            starts.push(at);
        }
        coming.push(Coming { job: job.clone(), starts });
    }
    Ok(coming)
}
