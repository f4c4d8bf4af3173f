//! When jobs will run: their plans, made from their columns as the scheduler makes them.
//!
//! Owns one invariant: a preview and the scheduler read the same columns in the same way, and ask
//! the same [`Plan`].

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use pg_tock_core::plan::{Dates, Plan, RunWindow, Shape};
use pg_tock_core::quote::excerpt;
use pg_tock_core::schedule::{DstPolicy, Kind, Schedule};
use pg_tock_core::time::Timestamp;

use crate::catalog::calendar;
use crate::catalog::outlook::{Outlook, Shaped};
use crate::error::Error;
use crate::guc;
use crate::pg::json::to_server;
use crate::pg::snapshot::{View, view};
use crate::pg::text::ServerText;

use super::preview::{day_rule, zone};

/// What calendars hold, each read once.
#[derive(Debug, Default)]
pub(super) struct Calendars(HashMap<String, Option<Arc<Dates>>>);

thread_local! {
    /// What the last statement read, and what it saw: the views ask once for each job.
    static READ: Cell<Option<(View, Calendars)>> = const { Cell::new(None) };
}

impl Calendars {
    /// Runs `body` with what was read of calendars for the present snapshot already.
    pub(super) fn of_snapshot<R>(body: impl FnOnce(&mut Self) -> R) -> R {
        let view = view();
        let known = READ.take().filter(|(read_in, _)| Some(*read_in) == view);
        let mut calendars = known.map_or_else(Self::default, |(_, calendars)| calendars);
        let answer = body(&mut calendars);
        READ.set(view.map(|view| (view, calendars)));
        answer
    }

    fn get(&mut self, name: &str) -> Result<Option<Arc<Dates>>, Error> {
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        let dates = calendar::dates(ServerText::new(&to_server(name)))?;
        self.0.insert(name.to_owned(), dates.clone());
        Ok(dates)
    }

    /// The calendars of these names; the inner error says which one there is not.
    fn all(&mut self, names: &[String]) -> Result<Result<Vec<Arc<Dates>>, String>, Error> {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            match self.get(name)? {
                Some(dates) => found.push(dates),
                None => return Ok(Err(format!("Calendar \"{}\" does not exist.", excerpt(name)))),
            }
        }
        Ok(Ok(found))
    }
}

/// Why a job cannot run as its columns are, as a sentence.
#[derive(Clone, Debug)]
pub(super) enum Broken {
    /// Its schedule or time zone cannot be read.
    Schedule(String),
    /// What shapes the schedule cannot be used.
    Options(String),
}

impl Broken {
    /// The error for a call that needs the job's plan.
    pub(super) fn of(self, jobid: i64) -> Error {
        let (what, why) = match self {
            Self::Schedule(why) => ("schedule", why),
            Self::Options(why) => ("options", why),
        };
        Error::InvalidJob { jobid, what, why }
    }
}

/// A job's plan; the inner error says why it has none.
pub(super) fn plan(
    job: &Shaped,
    anchor: Timestamp,
    calendars: &mut Calendars,
) -> Result<Result<Plan, Broken>, Error> {
    let (schedule, zone) = match read_schedule(job) {
        Ok(read) => read,
        Err(why) => return Ok(Err(Broken::Schedule(why))),
    };
    let window = match job.run_window.as_deref().map(RunWindow::parse).transpose() {
        Ok(window) => window,
        Err(error) => {
            return Ok(Err(Broken::Options(format!("Its run_window is wrong: {error}."))));
        }
    };
    let (skip_on, only_on) = match (calendars.all(&job.skip_on)?, calendars.all(&job.only_on)?) {
        (Ok(skip_on), Ok(only_on)) => (skip_on, only_on),
        (Err(why), _) | (_, Err(why)) => return Ok(Err(Broken::Options(why))),
    };
    let policy = clock_rule(job.dst_policy.as_deref().map(str::as_bytes));
    let jitter = job.jitter.unwrap_or_else(guc::defaults::jitter);
    let shape = Shape { jitter, window, skip_on, only_on, seed: job.jobid };
    Ok(Ok(Plan::new(schedule, Arc::new(zone), day_rule(), policy, anchor, shape)))
}

fn read_schedule(job: &Shaped) -> Result<(Schedule, pg_tock_core::schedule::Zone), String> {
    let schedule = Schedule::parse(&job.schedule)
        .map_err(|error| format!("Its schedule is wrong: {error}."))?;
    let zone = zone(job.timezone.as_deref().map(Into::into))
        .map_err(|error| format!("Its time zone is wrong: {error}."))?;
    Ok((schedule, zone))
}

/// What clock changes do to a job with this `dst_policy`.
pub(super) fn clock_rule(dst_policy: Option<&[u8]>) -> DstPolicy {
    match dst_policy {
        None => guc::defaults::dst_policy(),
        Some(b"wall") => DstPolicy::Wall,
        Some(_) => DstPolicy::Cron,
    }
}

/// Where a job's intervals count from: when it took effect, or its last run if the interval is
/// between runs; now, if nothing is known of it yet.
pub(super) fn anchor(
    kind: Kind,
    effective_from: Option<Timestamp>,
    last_end: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let since = effective_from.unwrap_or(now);
    match last_end {
        Some(last) if last > since && kind == Kind::EveryAfterCompletion => last,
        _ => since,
    }
}

impl Outlook {
    /// Its plan; the inner error says why it has none.
    pub(super) fn plan(
        &self,
        now: Timestamp,
        calendars: &mut Calendars,
    ) -> Result<Result<Plan, Broken>, Error> {
        let made = plan(&self.shaped, now, calendars)?;
        Ok(made.map(|plan| {
            let kind = plan.schedule().kind();
            plan.from(anchor(kind, self.effective_from, self.last_end, now))
        }))
    }

    /// Whether it can become due at all: switched on, and a job of this server.
    pub(super) fn runs_here(&self) -> bool {
        self.active && guc::launch_active_jobs() && guc::is_local_node(&self.nodename)
    }

    /// When it may start again: `now`, or the end of its pause.
    pub(super) fn rests_until(&self, now: Timestamp) -> Timestamp {
        self.paused_until.map_or(now, |until| until.max(now))
    }
}
