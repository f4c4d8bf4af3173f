//! `cron.advise`: what could be better about the jobs a caller sees. Collects what is known of them;
//! what follows from it is the core's to say.

use pg_tock_core::advise::{Advice, Doing, Subject, advise};
use pg_tock_core::plan::Plan;
use pg_tock_core::time::Timestamp as Instant;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::catalog::advise::{self as catalog, Work};
use crate::catalog::outlook::{self, Outlook};
use crate::error::Error;
use crate::guc;
use crate::pg::json::{from_server, to_server};
use crate::pg::text::for_message;

use super::outlook::Calendars;
use super::preview::now;

/// A zone whose clocks do not change within two years has one offset, as far as jobs are concerned.
const CLOCK_CHANGES: i64 = 2 * 366 * 86_400 * Instant::SECOND;

type Row = (&'static str, &'static str, Vec<i64>, Vec<Option<String>>, String, Option<Vec<u8>>);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_advise() -> Result<
    TableIterator<
        'static,
        (
            name!(advice, &'static str),
            name!(kind, &'static str),
            name!(jobs, Vec<i64>),
            name!(job_names, Vec<Option<String>>),
            name!(detail, String),
            name!(remedy, Option<Vec<u8>>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(rows()?))
}

/// A job with what the core only refers to.
struct Job {
    outlook: Outlook,
    work: Work,
    plan: Plan,
    /// In UTF-8.
    jobname: Option<String>,
    called: String,
    named_by: Vec<String>,
    same_times: String,
    does: String,
}

fn rows() -> Result<Vec<Row>, Error> {
    let now = now();
    let jobs = jobs(now)?;
    let subjects: Vec<Subject<'_>> = jobs.iter().map(|job| subject(job, now)).collect();
    Ok(advise(&subjects, now).into_iter().map(|advice| row(advice, &jobs)).collect())
}

/// The jobs that run here. Of one that is not valid `cron.jobs` and `cron.diagnose` tell.
fn jobs(now: Instant) -> Result<Vec<Job>, Error> {
    let mut calendars = Calendars::default();
    let mut works = catalog::of_active()?;
    let mut named = catalog::named()?;
    let handler = guc::alerts::handler();
    let mut jobs = Vec::new();
    for outlook in outlook::active()?.into_iter().filter(Outlook::runs_here) {
        pgrx::check_for_interrupts!();
        let Some(work) = works.remove(&outlook.shaped.jobid) else { continue };
        let Ok(plan) = outlook.plan(now, &mut calendars)? else { continue };
        let jobname = outlook.jobname.as_deref().map(from_server).transpose()?;
        let called = jobname.clone().unwrap_or_else(|| outlook.shaped.jobid.to_string());
        let does = does(&outlook, &work);
        let same_times = same_times(&outlook, &plan);
        let named_by = named.remove(&outlook.shaped.jobid).unwrap_or_default();
        let mut named_by: Vec<String> =
            named_by.into_iter().map(|name| format!("\"{name}\"")).collect();
        if jobname.as_ref() == Some(&handler) {
            named_by.push("setting cron.default_alert_job".to_owned());
        }
        jobs.push(Job { outlook, work, plan, jobname, called, named_by, same_times, does });
    }
    Ok(jobs)
}

/// Jobs for which this is the same do the same.
fn does(outlook: &Outlook, work: &Work) -> String {
    Doing {
        command: work.command.as_deref(),
        request: work.request.as_deref(),
        database: &outlook.database,
        username: &outlook.username,
        settings: work.settings.as_deref(),
        run_if: work.run_if.as_deref(),
        run_after: work.run_after.as_deref().unwrap_or_default(),
    }
    .key()
}

/// Jobs for which this is the same are due at the same instants.
fn same_times(outlook: &Outlook, plan: &Plan) -> String {
    let shaped = &outlook.shaped;
    // Intervals count from where each job's time began.
    let anchor = plan.schedule().interval_secs().map(|_| shaped.jobid);
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {anchor:?}",
        shaped.schedule,
        shaped.timezone,
        shaped.dst_policy,
        shaped.run_window,
        shaped.skip_on,
        shaped.only_on
    )
}

fn subject(job: &Job, now: Instant) -> Subject<'_> {
    let Job { outlook, work, plan, .. } = job;
    let jitter = outlook.shaped.jitter.unwrap_or_else(guc::defaults::jitter);
    let timeout = work.timeout.unwrap_or_else(guc::defaults::timeout);
    let mut changes = plan.zone().shifts_between(now, now.plus(CLOCK_CHANGES));
    Subject {
        id: outlook.shaped.jobid,
        name: &job.called,
        schedule: &outlook.shaped.schedule,
        times: plan,
        same_times: &job.same_times,
        work: &job.does,
        named_by: &job.named_by,
        paused: outlook.paused_until.is_some_and(|until| until > now),
        fixed_offset: changes.next().is_none(),
        spread: jitter > 0,
        duration: outlook.average,
        longest: work.longest,
        // A request always has one.
        limited: timeout > 0 || work.request.is_some(),
        described: work.described,
        runs: work.runs.unwrap_or(0),
        skipped: work.skipped.unwrap_or(0),
        failed: work.failed(),
    }
}

fn row(advice: Advice, jobs: &[Job]) -> Row {
    let concerned = || advice.jobs.iter().filter_map(|&place| jobs.get(place));
    let ids = concerned().map(|job| job.outlook.shaped.jobid).collect();
    let names = concerned().map(|job| job.jobname.clone().map(for_message)).collect();
    let detail = for_message(format!("{} {}", advice.finding, advice.advice));
    let remedy = advice.remedy.as_deref().map(to_server);
    (advice.topic.as_str(), advice.topic.concern().as_str(), ids, names, detail, remedy)
}
