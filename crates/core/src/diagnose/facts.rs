//! What a diagnosis goes by: a job and its surroundings at one moment, as the one who asks may see
//! them.

use crate::run::SkipReason;
use crate::time::Timestamp;

/// All that is known.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it was so.
    pub now: Timestamp,
    /// Who asks is a superuser.
    pub superuser: bool,
    /// Who asks is the job's owner, has logged in as that role, and has not changed to it from another.
    pub owns: bool,
    /// The server and its scheduler.
    pub server: Server,
    /// The job.
    pub job: Job,
    /// The role that owns it.
    pub owner: Owner,
    /// The database it runs in; `None` if there is none.
    pub database: Option<Database>,
    /// When it is due.
    pub times: Times,
    /// What keeps others from it.
    pub limits: Limits,
    /// Sessions that hold it.
    pub holders: Vec<Holder>,
    /// Its runs under way, the oldest first.
    pub runs: Vec<Run>,
    /// The jobs it waits for.
    pub upstreams: Vec<Upstream>,
    /// Secrets its request names that its owner may not use: the name, and whether it exists.
    pub secrets: Vec<(String, bool)>,
    /// Its newest attempts that ended, the newest first.
    pub attempts: Vec<Attempt>,
    /// Occurrences that were skipped since its newest attempt, the newest first.
    pub skips: Vec<Skip>,
    /// Runs of it that were asked for and have not begun.
    pub requests: Vec<Request>,
}

/// The server and its scheduler.
#[derive(Clone, Debug)]
pub struct Server {
    /// It is a standby, or recovers.
    pub in_recovery: bool,
    /// Setting `cron.launch_active_jobs`.
    pub launch_active_jobs: bool,
    /// Setting `cron.enable_superuser_jobs`.
    pub superuser_jobs: bool,
    /// The scheduler of the database that is asked.
    pub scheduler: Scheduler,
    /// It cannot read its tables.
    pub blind: Option<Blind>,
    /// The name of that database.
    pub database: String,
    /// The databases that setting `cron.database_name` lists.
    pub named: Vec<String>,
}

/// How a scheduler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// It is there: its process, and for how long it has left what it should have looked at, in
    /// microseconds.
    Running(i32, i64),
    /// There is none.
    Absent,
    /// There is to be none: setting `cron.database_name` does not name the database.
    NotNamed,
}

/// A scheduler that cannot read its tables, or some of them.
#[derive(Clone, Debug)]
pub struct Blind {
    /// Since when.
    pub since: Timestamp,
    /// Why, if who asks may know.
    pub why: Option<String>,
}

/// The job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// Its command is an HTTP request.
    pub is_http: bool,
    /// Its database.
    pub database: String,
    /// Its owner.
    pub username: String,
    /// It is switched on.
    pub active: bool,
    /// The node it is for, if that is not this server.
    pub other_node: Option<String>,
    /// It is paused.
    pub pause: Option<Pause>,
    /// The queue it is in.
    pub queue: Option<Queue>,
    /// Its condition, `run_if`.
    pub condition: Option<String>,
    /// One that is due while it runs starts as well.
    pub overlaps: bool,
    /// What long texts of one owner's jobs may take up, in bytes, if the scheduler has no room for its own.
    pub no_room: Option<i64>,
}

/// A pause.
#[derive(Clone, Debug)]
pub struct Pause {
    /// Its end; `None` = until the job is resumed.
    pub until: Option<Timestamp>,
    /// Who paused the job.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A queue, as far as it limits a job.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// It exists.
    pub exists: bool,
    /// How many runs of its jobs are under way.
    pub running: i64,
    /// How many there may be.
    pub most: Option<i64>,
}

/// The role that owns a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// There is no such role.
    Missing,
    /// It exists.
    Role {
        /// It may log in.
        can_log_in: bool,
        /// It is a superuser.
        superuser: bool,
        /// It may connect to the job's database.
        may_connect: bool,
    },
}

/// A database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Database {
    /// It takes connections.
    pub open: bool,
}

/// When a job is due.
#[derive(Clone, Debug)]
pub enum Times {
    /// Its schedule or time zone cannot be read; why, a sentence.
    BadSchedule {
        /// The schedule as it is written.
        schedule: String,
        /// Why, a sentence.
        why: String,
    },
    /// What shapes its schedule cannot be used; why, a sentence.
    BadOptions {
        /// Why, a sentence.
        why: String,
        /// The calendar that does not exist, if that is why.
        calendar: Option<String>,
    },
    /// It is due when the server starts.
    Startup,
    /// It is due at instants.
    At {
        /// The schedule as it is written.
        schedule: String,
        /// Its zone, if it has one of its own.
        timezone: Option<String>,
        /// When it starts next, from now or the end of its pause on.
        next: Option<Timestamp>,
        /// Why nothing of it may start at present, and until when; `None` = for ever.
        closed: Option<(SkipReason, Option<Timestamp>)>,
        /// The oldest instant of which it is not known that it ran or was skipped.
        due: Option<Timestamp>,
    },
}

/// What all jobs share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// SQL runs under way.
    pub running: i64,
    /// Setting `cron.max_running_jobs`.
    pub most: i64,
    /// How many of them are kept for roles with nothing running.
    pub kept: i64,
    /// Those of the job's owner.
    pub of_role: i64,
    /// Setting `cron.max_running_jobs_per_role`; 0 = none.
    pub most_of_role: i64,
    /// Background workers of the whole server.
    pub workers: i64,
    /// Setting `max_worker_processes`.
    pub most_workers: i64,
    /// Whether runs wait because no worker was to be had.
    pub short_of_slots: bool,
    /// HTTP requests under way.
    pub requests: i64,
    /// Setting `cron.http_max_requests`.
    pub most_requests: i64,
}

/// Another process.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its id.
    pub pid: i32,
    /// The role it is of.
    pub role: Option<String>,
    /// It is the one that asks.
    pub own: bool,
    /// Who asks may terminate it.
    pub may_end: bool,
}

/// A run under way.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// Its process.
    pub pid: i32,
    /// When it began.
    pub since: Timestamp,
    /// What it waits for, as in `pg_stat_activity`, if who asks may see that.
    pub waits_for: Option<String>,
    /// Sessions it waits for.
    pub blockers: Vec<Holder>,
    /// It has given no sign of life for too long.
    pub silence: Option<Silence>,
}

/// Of a run that is stuck: how long it has been silent. Durations are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Since its last sign of life.
    pub lasts: i64,
    /// How long it may last: the job's `stuck_after`.
    pub limit: i64,
    /// It has called `cron.heartbeat` before.
    pub spoke: bool,
}

/// A job another one waits for.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Its id; `None` if it does not exist.
    pub id: Option<i64>,
    /// It is switched on and not paused.
    pub active: bool,
    /// Status of its newest attempt.
    pub last_status: Option<String>,
}

/// An attempt that ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The run.
    pub id: i64,
    /// It succeeded.
    pub succeeded: bool,
    /// How it ended.
    pub outcome: String,
    /// SQLSTATE of its error.
    pub sqlstate: Option<String>,
    /// Its error.
    pub message: Option<String>,
    /// When it ended.
    pub at: Timestamp,
    /// Somebody has said what became of its occurrence.
    pub resolved: bool,
    /// Another attempt may be asked for.
    pub may_retry: bool,
}

/// Occurrences that were skipped.
#[derive(Clone, Debug)]
pub struct Skip {
    /// Why.
    pub reason: String,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// How many.
    pub count: i64,
}

/// A run that was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run.
    pub id: i64,
    /// Why it is to run.
    pub trigger: String,
    /// It does not begin before.
    pub not_before: Option<Timestamp>,
}
