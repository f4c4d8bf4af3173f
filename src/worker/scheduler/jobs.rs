//! The jobs as the scheduler keeps them, and what makes one a job the engine may run.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::rc::Rc;
use std::sync::Arc;

use pg_tock_core::engine::{JobSpec, LATE, Occurrences, PoolKey, Rules};
use pg_tock_core::options::Stored;
use pg_tock_core::plan::{Dates, Plan, RunWindow, Shape};
use pg_tock_core::run::{MissedPolicy, Verdict};
use pg_tock_core::schedule::{DayRule, DstPolicy, Kind, Schedule, Zone};
use pg_tock_core::time::{JobId, Timestamp};

use crate::catalog::http::HttpJob;
use crate::catalog::load::JobRow;
use crate::catalog::request::Place;
use crate::catalog::state::Effective;
use crate::guc::{self, defaults};

use super::company::Company;
use super::place::key_of;
use super::policy::Policy;
use super::room::{Room, no_room};
use super::shared::Shared;
use super::successes::Successes;

/// A job as far as handing out its runs is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) key: PoolKey,
    pub(crate) name: Option<CString>,
    pub(crate) command: CString,
    pub(crate) database: Rc<CStr>,
    /// 0 if there is none of this name.
    pub(crate) database_oid: u32,
    pub(crate) username: Rc<CStr>,
    pub(crate) startup: bool,
    pub(crate) active: bool,
    /// What to set before the command, as a JSON object.
    pub(crate) settings: Option<Box<str>>,
    /// How its runs are to be treated.
    pub(crate) policy: Rc<Policy>,
    /// What an HTTP job asks for; None for one that runs SQL.
    pub(crate) http: Option<Box<HttpJob>>,
    /// What makes its schedule the same schedule, and what shapes it.
    definition: Rc<str>,
    options: Option<Box<str>>,
    made_with: MadeWith,
    /// When the present definition came into force.
    pub(super) since: Timestamp,
    times: Arc<dyn Occurrences>,
}

impl Job {
    /// The same job with another command, and another request if it sends one, as it was for.
    pub(crate) fn with_command(
        &self,
        command: &CStr,
        http: Option<&HttpJob>,
        place: Place,
    ) -> Self {
        let http =
            http.or(self.http.as_deref()).filter(|_| self.http.is_some()).cloned().map(Box::new);
        let (command, Place { username, database }) = (command.to_owned(), place);
        Self { command, http, username, database, ..self.clone() }
    }

    /// The schedule's text if its only instant makes the job be over.
    pub(crate) fn once(&self) -> Option<&str> {
        self.times.once().then(|| self.definition.splitn(4, '|').nth(3)).flatten()
    }

    /// Whether a row has the same name and owner.
    pub(super) fn is_named_as(&self, row: &JobRow) -> bool {
        self.name == row.jobname && *self.username == *row.username
    }

    /// Whether a row has the same owner and the same database.
    pub(super) fn is_placed_as(&self, row: &JobRow) -> bool {
        *self.username == *row.username && *self.database == *row.database
    }

    /// Whether a row has the same options.
    pub(super) fn has_options_of(&self, row: &JobRow) -> bool {
        self.options.as_deref() == row.options.as_deref()
    }

    /// Whether an occurrence of it may be tried again.
    pub(crate) fn retries(&self) -> bool {
        self.policy.retry.max_attempts > 1
    }
}

/// Counts changes of what instants depend on beside the job's own row.
#[derive(Clone, Copy, Debug, Default)]
struct MadeWith {
    calendars: u32,
    /// Settings, and where the clock stands.
    rules: u32,
}

/// A definition, its instants, and whether it is one of `@reboot`.
struct Times {
    definition: Rc<str>,
    instants: Arc<dyn Occurrences>,
    startup: bool,
}

/// What became of a row of `cron.job`.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A job to run, as the engine wants it, and from when its occurrences count. `fresh`: the
    /// engine does not know these times.
    Job { spec: JobSpec, after: Timestamp, fresh: bool },
    /// Not a job that can run; it has been said why.
    Refused,
}

/// All jobs of a database.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: HashMap<JobId, Rc<Job>>,
    zones: HashMap<String, Arc<Zone>>,
    shared: Shared,
    calendars: HashMap<String, Arc<Dates>>,
    /// What instants are made with at present.
    made_with: MadeWith,
    /// How the runs of jobs without options are treated.
    common: Option<Rc<Policy>>,
    /// How far they have come with success.
    pub(super) successes: Successes,
    /// Queues and who waits for whom.
    pub(super) company: Company,
    pub(super) room: Room,
    /// What was complained about, so that nothing is said twice.
    complaints: HashMap<JobId, String>,
    /// Active jobs that cannot run: refused, or without an owner who may log in, or a database.
    broken: HashSet<JobId>,
    /// Definitions that are new, to be stored.
    pub(crate) effective: Vec<Effective>,
}

impl Jobs {
    /// The job of this id.
    pub(crate) fn get(&self, id: JobId) -> Option<&Rc<Job>> {
        self.jobs.get(&id)
    }

    /// Whether a job has been read, be it one that can run or not.
    pub(super) fn is_read(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || self.complaints.contains_key(&id)
    }

    /// The time a run of a job is for: from the end of what successful runs have covered, or from
    /// when the job took effect, up to its own instant. `None` if that lies in the past already.
    pub(crate) fn window(&self, id: JobId, until: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let begin = self.successes.covered(id).or_else(|| Some(self.jobs.get(&id)?.since))?;
        (begin < until).then_some((begin, until))
    }

    /// Looks whether a row that is to be taken changes who waits for whom.
    pub(super) fn look_at_company(&mut self, row: &JobRow) {
        let known = self.jobs.get(&JobId(row.id)).map(Rc::as_ref);
        self.company.look(row, known);
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
        self.forgive(id);
        self.room.give_back(id);
        self.successes.forget(id);
        self.jobs.remove(&id).is_some()
    }

    /// Takes a row as it is now. `cursor`: how far the job has come, if that is not in the table yet.
    pub(crate) fn take(&mut self, row: JobRow, cursor: Option<Timestamp>, now: Timestamp) -> Taken {
        let (id, active, at_home) = (JobId(row.id), row.active, row.is_at_home());
        let is_cut = row.is_cut;
        match self.read(row, cursor, now) {
            Ok((spec, after, fresh)) => {
                self.forgive(id);
                self.broken.extend((active && !at_home).then_some(id));
                Taken::Job { spec, after, fresh }
            }
            Err(problem) => {
                if !is_cut {
                    self.room.give_back(id);
                }
                self.refuse(id, active, problem)
            }
        }
    }

    fn read(
        &mut self,
        row: JobRow,
        cursor: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(JobSpec, Timestamp, bool), String> {
        let id = JobId(row.id);
        if row.is_cut {
            return Err(no_room(row.id));
        }
        let options = options(&row)?;
        let definition = definition(&row, options.dst_policy.as_deref());
        let known = self.jobs.get(&id).filter(|job| *job.definition == *definition).cloned();
        let stored = row.effective_from.filter(|_| row.definition.as_ref() == Some(&definition));
        // What is known here may not be stored yet. A job that took effect while the clock was far ahead
        // would not be due before the clock gets there again: it begins anew.
        let since = known.as_ref().map(|job| job.since).or(stored);
        let (since, new) = match since.filter(|since| since.since(now) <= LATE) {
            Some(since) => (since, false),
            None => (now, true),
        };
        let made_with = self.made_with;
        let same = known.filter(|job| {
            // Without options it names no calendar.
            let calendars = job.options.is_none() || job.made_with.calendars == made_with.calendars;
            job.since == since
                && job.options.as_deref() == row.options.as_deref()
                && calendars
                && job.made_with.rules == made_with.rules
        });
        let Times { definition, instants: times, startup } = match &same {
            Some(job) => Times {
                definition: Rc::clone(&job.definition),
                instants: Arc::clone(&job.times),
                startup: job.startup,
            },
            None => self.times(&row, &options, since, definition)?,
        };
        if let Some(covered) = row.window_start {
            self.successes.cover(id, covered);
        }
        if let Some(at) = row.made_good {
            self.successes.make_good(id, at);
        }
        let key = key_of(&row, options.run_if.is_some())?;
        let policy = if row.options.is_none() {
            let common = self.common.get_or_insert_with(|| Rc::new(Policy::read(&options)));
            Rc::clone(common)
        } else {
            Rc::new(Policy::read(&options))
        };
        let http = row.http.as_deref().map(HttpJob::read).transpose();
        let http = http
            .map_err(|error| format!("the request of job {} cannot be read: {error}", row.id))?
            .map(Box::new);
        let spec = JobSpec {
            id,
            key,
            active: row.active,
            times: Arc::clone(&times),
            missed: options.on_missed.as_deref().map_or_else(defaults::on_missed, |word| {
                MissedPolicy::parse(word).unwrap_or(MissedPolicy::Skip)
            }),
            // 0 is no limit, whatever the default.
            missed_window: options
                .missed_window
                .map_or_else(defaults::missed_window, |window| Some(window).filter(|&w| w > 0)),
            paused_until: options.paused_until.map(Timestamp),
            done: Arc::from([]),
            last_end: None,
            last_success: self.successes.last(id),
            effective_from: Some(since),
            rules: Rules {
                queue: policy.queue.as_deref().map(|name| self.company.queue(name)),
                after: self.company.after(id),
                ..policy.rules()
            },
        };
        if new {
            self.effective.push(Effective {
                job: id,
                from: now,
                definition: (*definition).to_owned(),
            });
        }
        let cursor = cursor.or(row.cursor);
        // A clock that was set back makes both lie ahead.
        let after = cursor.map_or(since, |cursor| cursor.max(since)).min(now);
        let job = Job {
            id,
            key,
            name: row.jobname,
            command: row.command,
            database: self.shared.name(row.database),
            database_oid: row.database_oid.unwrap_or(0),
            username: self.shared.name(row.username),
            startup,
            active: row.active,
            settings: row.settings.map(String::into_boxed_str),
            policy,
            http,
            definition,
            options: row.options.map(String::into_boxed_str),
            made_with,
            since,
            times,
        };
        self.jobs.insert(id, Rc::new(job));
        Ok((spec, after, same.is_none()))
    }

    /// When a run of an instant of a job's schedule is to start, with the job's jitter.
    pub(super) fn planned(&self, job: JobId, at: Timestamp) -> Timestamp {
        match self.get(job).map(|job| job.times.verdict(at)) {
            Some(Verdict::Start(start)) => start,
            _ => at,
        }
    }

    /// The instants of a job that is new or has a new definition.
    fn times(
        &mut self,
        row: &JobRow,
        options: &Stored,
        anchor: Timestamp,
        definition: String,
    ) -> Result<Times, String> {
        let schedule = Schedule::parse(&row.schedule).map_err(|_| {
            format!("invalid pg_cron schedule for job {}: {}", row.id, row.schedule)
        })?;
        let zone = self.zone(row.timezone.as_deref()).ok_or_else(|| {
            let zone = row.timezone.as_deref().unwrap_or_default();
            format!("invalid time zone for job {}: {zone}", row.id)
        })?;
        let window = options.run_window.as_deref().map(RunWindow::parse).transpose();
        let window =
            window.map_err(|error| format!("invalid run_window for job {}: {error}", row.id))?;
        let calendars = |names: &[String]| -> Result<Vec<Arc<Dates>>, String> {
            let find = |name: &String| self.calendars.get(name).cloned();
            let missing =
                |name| format!("job {} does not run: calendar \"{name}\" does not exist", row.id);
            names.iter().map(|name| find(name).ok_or_else(|| missing(name))).collect()
        };
        let shape = Shape {
            jitter: options.jitter.unwrap_or_else(defaults::jitter),
            window,
            skip_on: calendars(&options.skip_on)?,
            only_on: calendars(&options.only_on)?,
            seed: row.id,
        };
        let (startup, cron) = (schedule.kind() == Kind::Startup, schedule.kind() == Kind::Cron);
        let plain = shape.jitter <= 0
            && shape.window.is_none()
            && shape.skip_on.is_empty()
            && shape.only_on.is_empty();
        // Then they depend on nothing else of the job; its text is exact where it is ASCII.
        let common = cron && plain && row.schedule.is_ascii();
        if let Some((definition, instants)) =
            common.then(|| self.shared.instants(&definition)).flatten()
        {
            return Ok(Times { definition, instants, startup });
        }
        let days = if guc::match_dom_and_dow() { DayRule::And } else { DayRule::Vixie };
        let policy = match options.dst_policy.as_deref() {
            Some("wall") => DstPolicy::Wall,
            Some(_) => DstPolicy::Cron,
            None => defaults::dst_policy(),
        };
        let definition: Rc<str> = Rc::from(definition);
        let instants: Arc<dyn Occurrences> =
            Arc::new(Plan::new(schedule, zone, days, policy, anchor, shape));
        if common {
            self.shared.keep(&definition, &instants);
        }
        Ok(Times { definition, instants, startup })
    }

    /// Takes all calendars as they are now. Jobs that use one get their instants anew.
    pub(crate) fn take_calendars(&mut self, calendars: HashMap<String, Arc<Dates>>) {
        if calendars == self.calendars {
            return;
        }
        self.calendars = calendars;
        self.made_with.calendars += 1;
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
    pub(crate) fn stranger(&self, id: JobId, key: PoolKey) -> Rc<Job> {
        Rc::new(Job {
            id,
            key,
            name: None,
            command: CString::default(),
            database: Rc::default(),
            database_oid: 0,
            username: Rc::default(),
            startup: false,
            active: true,
            settings: None,
            policy: Rc::new(Policy::read(&Stored::default())),
            http: None,
            definition: Rc::from(""),
            options: None,
            made_with: MadeWith::default(),
            since: Timestamp(0),
            times: Arc::new(Never),
        })
    }

    /// A row that cannot be read at all.
    pub(crate) fn cannot_read(&mut self, id: JobId) {
        self.room.give_back(id);
        self.refuse(id, true, format!("job {} does not run: its row cannot be read", id.0));
    }

    fn refuse(&mut self, id: JobId, active: bool, problem: String) -> Taken {
        self.jobs.remove(&id);
        if self.complaints.get(&id) != Some(&problem) {
            pgrx::log!("{problem}");
        }
        self.forgive(id);
        self.broken.extend(active.then_some(id));
        self.complaints.insert(id, problem);
        Taken::Refused
    }

    /// There is nothing to complain about a job any more.
    fn forgive(&mut self, id: JobId) {
        self.broken.remove(&id);
        self.complaints.remove(&id);
    }

    /// There are no jobs to complain about.
    pub(crate) fn forgive_all(&mut self) {
        self.complaints.clear();
        self.broken.clear();
    }

    /// How many active jobs cannot run, as `cron.jobs` says in `state`.
    pub(crate) fn broken(&self) -> usize {
        if guc::launch_active_jobs() { self.broken.len() } else { 0 }
    }

    /// Settings changed that every job's instants depend on.
    pub(crate) fn forget_instants(&mut self) {
        self.made_with.rules += 1;
        self.common = None;
        self.zones.clear();
        self.shared.forget_instants();
    }
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
fn definition(row: &JobRow, policy: Option<&str>) -> String {
    let ascii = |text: &str| text.replace(|c: char| !c.is_ascii(), "?");
    let zone = row.timezone.as_deref().unwrap_or("-");
    let policy = policy.unwrap_or("-");
    format!("{}|{}|{}|{}", row.active, ascii(zone), ascii(policy), ascii(&row.schedule))
}

fn options(row: &JobRow) -> Result<Stored, String> {
    let Some(text) = &row.options else { return Ok(Stored::default()) };
    serde_json::from_str(text)
        .map_err(|error| format!("the options of job {} cannot be read: {error}", row.id))
}
