//! The jobs as the scheduler keeps them, and what makes one a job the engine may run.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::rc::Rc;
use std::sync::Arc;

use pg_tock_core::engine::{JobSpec, Occurrences, PoolKey};
use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Kind, Schedule, Zone};
use pg_tock_core::time::{JobId, Timestamp};

use crate::catalog::load::JobRow;
use crate::catalog::state::Effective;
use crate::guc;
use crate::shmem::slots::Slot;

/// A job as far as handing out its runs is concerned.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) key: PoolKey,
    pub(crate) name: Option<CString>,
    pub(crate) command: CString,
    pub(crate) database: CString,
    pub(crate) username: CString,
    pub(crate) startup: bool,
    pub(crate) active: bool,
    /// What to set before the command, as a JSON object.
    pub(crate) settings: Option<String>,
    /// Each run wants a process of its own.
    pub(crate) fresh: bool,
    definition: String,
    times: Arc<dyn Occurrences>,
}

/// The instants of one job.
#[derive(Debug)]
struct Times {
    schedule: Schedule,
    zone: Arc<Zone>,
    days: DayRule,
    anchor: Timestamp,
}

impl Occurrences for Times {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let context = Context {
            zone: &self.zone,
            policy: DstPolicy::Cron,
            days: self.days,
            anchor: self.anchor,
        };
        self.schedule.next(after, &context)
    }
}

/// What became of a row of `cron.job`.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A job to run, as the engine wants it, and from when its occurrences count.
    Job { spec: JobSpec, after: Timestamp },
    /// Not a job that can run; it has been said why.
    Refused,
}

/// All jobs of a database.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: HashMap<JobId, Rc<Job>>,
    zones: HashMap<String, Arc<Zone>>,
    /// What was complained about, so that nothing is said twice.
    complaints: HashSet<(JobId, String)>,
    /// Definitions that are new, to be stored.
    pub(crate) effective: Vec<Effective>,
}

impl Jobs {
    /// The job of this id.
    pub(crate) fn get(&self, id: JobId) -> Option<&Rc<Job>> {
        self.jobs.get(&id)
    }

    /// All ids.
    pub(crate) fn ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// All jobs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Job>> {
        self.jobs.values()
    }

    /// Forgets a job; tells whether there was one.
    pub(crate) fn remove(&mut self, id: JobId) -> bool {
        self.complaints.retain(|(job, _)| *job != id);
        self.jobs.remove(&id).is_some()
    }

    /// Takes a row as it is now.
    pub(crate) fn take(&mut self, row: JobRow, now: Timestamp) -> Taken {
        let id = JobId(row.id);
        let definition = definition(&row);
        let known = self.jobs.get(&id).filter(|job| job.definition == definition);
        let (times, startup, since) = match known {
            Some(job) => (Arc::clone(&job.times), job.startup, now),
            None => match self.times(&row, &definition, now) {
                Ok(times) => times,
                Err(problem) => return self.refuse(id, &problem),
            },
        };
        let key = match place(&row) {
            Ok(key) => key,
            Err(problem) => return self.refuse(id, &problem),
        };
        self.complaints.retain(|(job, _)| *job != id);
        let spec = JobSpec { id, key, active: row.active, times: Arc::clone(&times) };
        let job = Job {
            id,
            key,
            name: row.jobname,
            command: row.command,
            database: row.database,
            username: row.username,
            startup,
            active: row.active,
            settings: row.settings,
            fresh: row.fresh,
            definition,
            times,
        };
        self.jobs.insert(id, Rc::new(job));
        Taken::Job { spec, after: since }
    }

    /// The instants of a job that is new or has a new definition.
    fn times(
        &mut self,
        row: &JobRow,
        definition: &str,
        now: Timestamp,
    ) -> Result<(Arc<dyn Occurrences>, bool, Timestamp), String> {
        let schedule = Schedule::parse(&row.schedule).map_err(|_| {
            format!("invalid pg_cron schedule for job {}: {}", row.id, row.schedule)
        })?;
        let zone = self.zone(row.timezone.as_deref()).ok_or_else(|| {
            let zone = row.timezone.as_deref().unwrap_or_default();
            format!("invalid time zone for job {}: {zone}", row.id)
        })?;
        let unchanged = row.definition.as_deref() == Some(definition);
        let anchor = match row.effective_from.filter(|_| unchanged) {
            Some(from) => from,
            None => {
                let definition = definition.to_owned();
                self.effective.push(Effective { job: JobId(row.id), from: now, definition });
                now
            }
        };
        let startup = schedule.kind() == Kind::Startup;
        let days = if guc::match_dom_and_dow() { DayRule::And } else { DayRule::Vixie };
        Ok((Arc::new(Times { schedule, zone, days, anchor }), startup, now))
    }

    fn zone(&mut self, name: Option<&str>) -> Option<Arc<Zone>> {
        let name = name.map_or_else(guc::timezone, str::to_owned);
        if let Some(zone) = self.zones.get(&name) {
            return Some(Arc::clone(zone));
        }
        let zone = Arc::new(Zone::resolve(&name).ok()?);
        self.zones.insert(name, Arc::clone(&zone));
        Some(zone)
    }

    /// The job of a run an earlier scheduler has handed out: what is known of it before the jobs
    /// are read.
    pub(crate) fn stranger(&self, id: JobId, slot: &Slot) -> Rc<Job> {
        Rc::new(Job {
            id,
            key: PoolKey { database: slot.database(), role: slot.role() },
            name: None,
            command: CString::default(),
            database: CString::default(),
            username: CString::default(),
            startup: false,
            active: true,
            settings: None,
            fresh: false,
            definition: String::new(),
            times: Arc::new(Never),
        })
    }

    fn refuse(&mut self, id: JobId, problem: &str) -> Taken {
        self.jobs.remove(&id);
        if self.complaints.insert((id, problem.to_owned())) {
            pgrx::log!("{problem}");
        }
        Taken::Refused
    }

    /// Settings changed that every job's instants depend on.
    pub(crate) fn forget_instants(&mut self) {
        self.jobs.clear();
        self.zones.clear();
    }
}

/// Where and as whom the job runs.
fn place(row: &JobRow) -> Result<PoolKey, String> {
    if !guc::is_local_node(&row.nodename) {
        return Err(format!(
            "job {} belongs to node \"{}\", which is not this server, and does not run here",
            row.id, row.nodename
        ));
    }
    let Some(role) = row.role_oid else {
        let username = row.username.to_string_lossy();
        return Err(format!(
            "job {} does not run: its owner \"{username}\" does not exist",
            row.id
        ));
    };
    if row.is_superuser && !guc::enable_superuser_jobs() {
        return Err(format!(
            "skipping job {} since superuser jobs are currently disallowed",
            row.id
        ));
    }
    // A database that does not exist has the oid 0: its runs fail, and say why.
    Ok(PoolKey { database: row.database_oid.unwrap_or(0), role })
}

/// No instant at all.
#[derive(Debug)]
struct Never;

impl Occurrences for Never {
    fn next_after(&self, _after: Timestamp) -> Option<Timestamp> {
        None
    }
}

/// What makes a schedule the same schedule: another text here starts the job's time anew.
fn definition(row: &JobRow) -> String {
    let ascii = |text: &str| text.replace(|c: char| !c.is_ascii(), "?");
    let zone = row.timezone.as_deref().unwrap_or("-");
    format!("{}|{}|{}", row.active, ascii(zone), ascii(&row.schedule))
}
