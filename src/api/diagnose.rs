//! `cron.diagnose`: why a job does not run. Collects what is known of a job; what follows from it is
//! the core's to say.

use pg_tock_core::diagnose::{
    Attempt, Blind, Database, Facts, Finding, Holder, Job, Limits, Owner, Pause, Queue, Request,
    Run, Scheduler, Server, Silence, Skip, Times, Upstream, diagnose,
};
use pg_tock_core::options::Document;
use pg_tock_core::run::Verdict;
use pg_tock_core::schedule::Kind;
use pg_tock_core::time::Timestamp as Instant;
use pg_tock_core::watch::Watch;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value as Json;

use crate::catalog::diagnose::{self as catalog, Known, Process};
use crate::catalog::load::ROOM;
use crate::catalog::outlook::{self, Outlook};
use crate::catalog::{manifest, role};
use crate::error::Error;
use crate::guc;
use crate::pg::identity::{
    current_database, in_recovery, is_oneself, is_superuser, sees_everybody,
};
use crate::pg::json::{from_server, to_server};
use crate::pg::text::{ServerText, for_message};
use crate::pg::{process, settings, time};
use crate::shmem::roster;
use crate::shmem::slots::CurrentRun;
use crate::shmem::{databases, http};

use super::outlook::{Broken, Calendars};
use super::rights::JobRef;

type Row = (i32, &'static str, &'static str, String, Option<Vec<u8>>);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_job_findings(
    job: Option<i64>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(position, i32),
            name!(severity, &'static str),
            name!(finding, &'static str),
            name!(detail, String),
            name!(remedy, Option<Vec<u8>>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(rows(JobRef::id(job)?)?))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_job_findings_named(
    job: Option<&[u8]>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(position, i32),
            name!(severity, &'static str),
            name!(finding, &'static str),
            name!(detail, String),
            name!(remedy, Option<Vec<u8>>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(rows(JobRef::name(job)?)?))
}

fn rows(job: JobRef<'_>) -> Result<Vec<Row>, Error> {
    let facts = facts(job.resolve()?.jobid)?;
    let row = |(position, finding): (i32, Finding)| {
        let remedy = finding.remedy.as_deref().map(to_server);
        let detail = for_message(finding.detail);
        (position, finding.severity.as_str(), finding.finding, detail, remedy)
    };
    Ok((1..).zip(diagnose(&facts, &time::shown)).map(row).collect())
}

fn facts(jobid: i64) -> Result<Facts, Error> {
    let no_such_job = || Error::NoSuchJob(jobid.to_string());
    let now = time::now();
    let row = manifest::one(jobid)?.ok_or_else(no_such_job)?;
    let outlook = outlook::one(jobid)?.ok_or_else(no_such_job)?;
    let under_way = under_way();
    let running = under_way.iter().filter(|run| !run.is_http).map(|run| run.current.job.0);
    let role = role::role(ServerText::new(&to_server(&outlook.username)))?;
    let oid = role.as_ref().map(|role| role.oid);
    let known = catalog::known(jobid, running.collect(), oid)?.ok_or_else(no_such_job)?;
    let own: Vec<&UnderWay> = under_way.iter().filter(|run| run.current.job.0 == jobid).collect();
    let limits = limits(&under_way, oid, known.workers);
    let times = times(&row, &outlook, &known, &own, now)?;
    let owner = match &role {
        None => Owner::Missing,
        Some(role) => {
            let database = to_server(&outlook.database);
            let connect = role::can_connect(role.oid, ServerText::new(&database))?;
            Owner::Role {
                can_log_in: role.can_log_in,
                superuser: role.is_superuser,
                may_connect: connect.unwrap_or(false),
            }
        }
    };
    Ok(Facts {
        now,
        superuser: is_superuser(),
        owns: oid.is_some_and(is_oneself),
        server: server(now)?,
        job: job(&row, &outlook, &known, now),
        owner,
        database: known.database.map(|database| Database { open: database.open }),
        times,
        limits,
        holders: holders(jobid, &under_way)?,
        runs: runs(&own)?,
        secrets: known.secrets,
        upstreams: known.upstreams.into_iter().map(upstream).collect(),
        attempts: known.attempts.into_iter().map(attempt).collect(),
        skips: known.skips.into_iter().map(skip).collect(),
        requests: known.requests.into_iter().map(request).collect(),
    })
}

fn server(now: Instant) -> Result<Server, Error> {
    let database = from_server(&current_database())?;
    let (all, named) = match guc::database_names() {
        guc::DatabaseNames::All => (true, Vec::new()),
        guc::DatabaseNames::Listed(names) => (false, names),
    };
    let here = databases::find(process::database().to_u32());
    let alive = here.filter(|entry| process::is_alive(entry.pid()));
    let scheduler = match alive {
        Some(entry) => Scheduler::Running(entry.pid(), entry.overslept(now)),
        None if all || named.contains(&database) => Scheduler::Absent,
        None => Scheduler::NotNamed,
    };
    let blind = alive.and_then(|entry| {
        let since = entry.figures.read().blind_since?;
        let why = sees_everybody().then(|| entry.figures.why_blind()).flatten();
        Some(Blind { since, why })
    });
    Ok(Server {
        in_recovery: in_recovery(),
        launch_active_jobs: guc::launch_active_jobs(),
        superuser_jobs: guc::enable_superuser_jobs(),
        scheduler,
        blind,
        database,
        named,
    })
}

fn job(row: &Document, outlook: &Outlook, known: &Known, now: Instant) -> Job {
    let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
    let pause = outlook.paused_until.filter(|until| *until > now).map(|until| Pause {
        until: (until.0 != i64::MAX).then_some(until),
        by: text("paused_by"),
        reason: text("pause_reason"),
    });
    let overlap = text("on_overlap");
    let queue = text("queue").map(|name| Queue {
        name,
        exists: known.queue.is_some(),
        running: known.queue.map_or(0, |queue| queue.running),
        most: known.queue.and_then(|queue| queue.most),
    });
    Job {
        id: outlook.shaped.jobid,
        is_http: row.get("http").is_some_and(Json::is_object),
        database: outlook.database.clone(),
        username: outlook.username.clone(),
        active: outlook.active,
        other_node: (!guc::is_local_node(&outlook.nodename)).then(|| outlook.nodename.clone()),
        pause,
        queue,
        condition: text("run_if"),
        no_room: known.no_room.then_some(ROOM),
        overlaps: overlap.map_or_else(
            || guc::defaults::on_overlap() == pg_tock_core::run::Overlap::Allow,
            |overlap| overlap == "allow",
        ),
    }
}

/// When the job is due; `own`: its runs under way.
fn times(
    row: &Document,
    outlook: &Outlook,
    known: &Known,
    own: &[&UnderWay],
    now: Instant,
) -> Result<Times, Error> {
    let schedule = outlook.shaped.schedule.clone();
    let plan = match outlook.plan(now, &mut Calendars::default())? {
        Ok(plan) => plan,
        Err(Broken::Schedule(why)) => return Ok(Times::BadSchedule { schedule, why }),
        Err(Broken::Options(why)) => {
            let shaped = &outlook.shaped;
            let mut calendar = None;
            for name in shaped.skip_on.iter().chain(&shaped.only_on) {
                if !catalog::is_calendar(ServerText::new(&to_server(name)))? {
                    calendar = Some(name.clone());
                    break;
                }
            }
            return Ok(Times::BadOptions { why, calendar });
        }
    };
    if plan.schedule().kind() == Kind::Startup {
        return Ok(Times::Startup);
    }
    // That it is closed matters if it keeps something from running.
    let closed = match plan.verdict(now) {
        Verdict::Skip(reason) if plan.next(now) != plan.next_open(now) => {
            Some((reason, plan.opens(now)))
        }
        _ => None,
    };
    let nominal = own.iter().filter(|run| run.current.trigger.is_nominal());
    let runs = nominal.map(|run| run.current.scheduled_for).max();
    let accounted = known.accounted.map(Instant).max(runs);
    let counts = plan.after_completion().is_none() || own.is_empty();
    let due = accounted.filter(|_| counts).and_then(|from| plan.next_open(from));
    Ok(Times::At {
        timezone: row.get("timezone").and_then(Json::as_str).map(str::to_owned),
        next: plan.coming(outlook.rests_until(now)).next().map(|coming| coming.start),
        closed,
        // Its jitter is over.
        due: due.filter(|&due| matches!(plan.verdict(due), Verdict::Start(at) if at <= now)),
        schedule,
    })
}

/// A run under way in this database.
struct UnderWay {
    current: CurrentRun,
    pid: i32,
    role: u32,
    is_http: bool,
    silence: Option<Silence>,
}

fn under_way() -> Vec<UnderWay> {
    let here = process::database().to_u32();
    let monotonic = time::monotonic();
    let silence = |run: &CurrentRun, beat: Option<i64>| {
        let watch = Watch { beat, ..run.lasting.watch() };
        let lasts = monotonic.saturating_sub(watch.last_sign());
        let limit = watch.stuck_after.filter(|_| watch.is_stuck(monotonic))?;
        Some(Silence { lasts, limit, spoke: beat.is_some() })
    };
    let requests = http::of_scheduler(here).filter_map(|(_, slot)| {
        let (current, role) = (slot.current(), slot.role());
        let over = slot.phase() == http::Phase::Over || !slot.has_still(current.run, role);
        let silence = silence(&current, None);
        let pid = http::worker_pid();
        (!over).then_some(UnderWay { current, pid, role, is_http: true, silence })
    });
    let runs = roster::of_scheduler(here).filter_map(|(_, slot)| {
        let current = slot.under_way()?;
        let silence = silence(&current, slot.progress.heard_at());
        Some(UnderWay { current, pid: slot.pid(), role: slot.role(), is_http: false, silence })
    });
    let mut all: Vec<UnderWay> = runs.chain(requests).collect();
    all.sort_by_key(|run| run.current.started_at);
    all
}

fn limits(under_way: &[UnderWay], role: Option<pg_sys::Oid>, workers: i64) -> Limits {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let sql = || under_way.iter().filter(|run| !run.is_http);
    let role = role.map(pg_sys::Oid::to_u32);
    let requests = under_way.iter().filter(|run| run.is_http).count();
    let here = databases::find(process::database().to_u32());
    let scheduler = here.filter(|entry| process::is_alive(entry.pid()));
    let figures = scheduler.map(|entry| entry.figures.read());
    Limits {
        running: number(sql().count()),
        most: number(guc::max_running_jobs()),
        kept: figures.map_or(0, |seen| seen.kept_places.into()),
        of_role: number(sql().filter(|run| Some(run.role) == role).count()),
        most_of_role: guc::max_running_jobs_per_role().into(),
        workers,
        most_workers: settings::max_worker_processes().into(),
        short_of_slots: figures.is_some_and(|seen| seen.short_of_slots),
        requests: number(requests),
        most_requests: number(guc::http::max_requests()),
    }
}

/// The sessions that hold the job.
fn holders(jobid: i64, under_way: &[UnderWay]) -> Result<Vec<Holder>, Error> {
    let mut runs: Vec<i32> = under_way.iter().map(|run| run.pid).collect();
    runs.push(http::worker_pid());
    let here = process::database().to_u32();
    runs.extend(roster::of_scheduler(here).map(|(_, slot)| slot.pid()));
    runs.extend(databases::find(here).map(databases::Database::pid));
    let pids = catalog::holders(jobid, runs)?;
    Ok(catalog::processes(pids)?.into_iter().map(holder).collect())
}

fn holder(process: Process) -> Holder {
    let Process { pid, role, own, may_end, .. } = process;
    Holder { pid, role, own, may_end }
}

fn runs(own: &[&UnderWay]) -> Result<Vec<Run>, Error> {
    let seen = catalog::processes(own.iter().map(|run| run.pid).collect())?;
    let blockers: Vec<i32> =
        seen.iter().flat_map(|seen| seen.blockers.iter().flatten().copied()).collect();
    let blockers = catalog::processes(blockers)?;
    let run = |run: &&UnderWay| {
        // The process of an HTTP run has all of them, and says nothing of one.
        let process = seen.iter().find(|seen| seen.pid == run.pid && !run.is_http);
        let by = process.and_then(|process| process.blockers.clone()).unwrap_or_default();
        let in_the_way = blockers.iter().filter(|process| by.contains(&process.pid));
        Run {
            id: run.current.run.0,
            pid: run.pid,
            since: run.current.started_at,
            waits_for: process.and_then(|process| process.waits_for.clone()),
            blockers: in_the_way.cloned().map(holder).collect(),
            silence: run.silence,
        }
    };
    Ok(own.iter().map(run).collect())
}

fn upstream(known: catalog::Upstream) -> Upstream {
    let catalog::Upstream { name, id, active, last_status } = known;
    Upstream { name, id, active: active.unwrap_or(false), last_status }
}

fn attempt(known: catalog::Attempt) -> Attempt {
    Attempt {
        id: known.id,
        succeeded: known.succeeded.unwrap_or(false),
        outcome: known.outcome.unwrap_or_default(),
        sqlstate: known.sqlstate,
        message: known.message,
        at: Instant(known.at),
        resolved: known.resolved.unwrap_or(false),
        may_retry: known.may_retry.unwrap_or(false),
    }
}

fn skip(known: catalog::Skip) -> Skip {
    let catalog::Skip { reason, first, last, count } = known;
    Skip { reason, first: Instant(first), last: Instant(last), count }
}

fn request(known: catalog::Request) -> Request {
    let catalog::Request { id, trigger, not_before } = known;
    Request { id, trigger, not_before: not_before.map(Instant) }
}
