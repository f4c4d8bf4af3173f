//! Every error this extension raises, and the only table of their SQLSTATEs.
//!
//! Where pg_cron has an error, its text and SQLSTATE are a contract, also where they break the
//! Postgres style guide (capital letters, XX000 for a caller's mistake), and also in that they
//! quote what the caller wrote as it is. Our own errors quote an excerpt.

mod http;

use pg_tock_core::manifest::{Flaw, Path};
use pg_tock_core::options::OptionError;
use pg_tock_core::quote::excerpt;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::pg::text::for_message;

pub(crate) use http::HttpError;

/// What a function that SQL calls returns: anything but an [`ErrorReport`] would be reported
/// with pgrx's SQLSTATE instead of ours.
pub(crate) type SqlResult<T> = Result<T, ErrorReport>;

/// An error to be raised in SQL. `Display` is the primary message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An argument that must be given is NULL.
    #[error("{0} can not be NULL")]
    NullArgument(&'static str),
    /// The schedule's text is not one; `detail` is a sentence that says where and why.
    #[error("invalid schedule: {schedule}")]
    InvalidSchedule { schedule: String, detail: String },
    /// No such time zone; `hint` is a sentence.
    #[error("{problem}")]
    InvalidTimeZone { problem: String, hint: String },
    /// An argument outside its range; the text is the whole message.
    #[error("{0}")]
    InvalidArgument(&'static str),
    /// Somebody else than a superuser gave a username to `cron.schedule_in_database`.
    #[error("must be superuser to create a job for another role")]
    CreateForOther,
    /// Somebody else than a superuser gave a username to `cron.alter_job`.
    #[error("must be superuser to alter username")]
    AlterUsername,
    /// The role a job is to run as does not exist.
    #[error("role \"{0}\" does not exist")]
    RoleMissing(String),
    /// The role a job is to run as has no LOGIN attribute.
    #[error("role \"{0}\" can not log in")]
    RoleCannotLogIn(String),
    /// The job's role is a superuser, and `cron.enable_superuser_jobs` is off.
    #[error("cannot schedule jobs as superuser")]
    SuperuserJob,
    /// The database a job is to run in does not exist.
    #[error("database \"{0}\" does not exist")]
    DatabaseMissing(String),
    /// The job's role may not connect to the job's database.
    #[error("User {role} does not have CONNECT privilege on {database}")]
    ConnectDenied { role: String, database: String },
    /// `cron.alter_job` without anything to change.
    #[error("no updates specified")]
    NoUpdates,
    /// `cron.alter_job` for a job that is not the caller's.
    #[error("Job {0} does not exist or you don't own it")]
    JobNotOwned(i64),
    /// `cron.unschedule` of an unknown id.
    #[error("could not find valid entry for job {0}")]
    JobIdUnknown(i64),
    /// `cron.unschedule` of a name that is not among the caller's jobs.
    #[error("could not find valid entry for job '{0}'")]
    JobNameUnknown(String),
    /// `cron.unschedule` of somebody else's job.
    #[error("permission denied for table job")]
    DeleteDenied,
    /// Options of a job that cannot be stored.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// A document of jobs that is none.
    #[error("{0}")]
    Manifest(#[from] Flaw),
    /// What is wrong with a job of a document, and where it says so.
    #[error("{path}: {error}")]
    At { path: Path, error: Box<Error> },
    /// A job that somebody changed after it was compared with a document.
    #[error("job {0} was changed by somebody else meanwhile")]
    JobChanged(i64),
    /// An argument that must be given is NULL, for functions pg_cron does not have.
    #[error("{0} must not be NULL")]
    Null(&'static str),
    /// A text that may not be empty is.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// An argument with a value outside its range; `hint` is a sentence.
    #[error("{problem}")]
    OutOfRange { problem: String, hint: &'static str },
    /// Bytes that are not what a histogram is stored as.
    #[error("invalid histogram of durations")]
    NotASketch,
    /// No job of this id or name.
    #[error("job {0} does not exist")]
    NoSuchJob(String),
    /// Several owners have a job of the name a superuser gave.
    #[error("job name \"{}\" is not unique", excerpt(.0))]
    AmbiguousJob(String),
    /// Somebody else's job.
    #[error("must be owner of job {0}")]
    NotJobOwner(i64),
    /// A role that is to own a job does not exist.
    #[error("role \"{}\" does not exist", excerpt(.0))]
    NoSuchRole(String),
    /// A role that is to own a job cannot log in.
    #[error("role \"{}\" cannot log in", excerpt(.0))]
    RoleBarred(String),
    /// The caller may not act as the role that is to own a job.
    #[error("permission denied to give a job to role \"{}\"", excerpt(.0))]
    RoleDenied(String),
    /// The caller may not have jobs in other databases.
    #[error("permission denied to run jobs in database \"{}\"", excerpt(.0))]
    OtherDatabase(String),
    /// The job's role may not connect to the job's database, for functions pg_cron does not have.
    #[error("role \"{}\" may not connect to database \"{}\"", excerpt(.role), excerpt(.database))]
    NoConnect { role: String, database: String },
    /// No calendar of this name.
    #[error("calendar \"{}\" does not exist", excerpt(.0))]
    NoSuchCalendar(String),
    /// A calendar of this name exists.
    #[error("calendar \"{}\" already exists", excerpt(.0))]
    CalendarExists(String),
    /// The caller may not read `cron.metrics`.
    #[error("permission denied for view metrics")]
    MetricsDenied,
    /// Somebody else's calendar.
    #[error("must be owner of calendar \"{}\"", excerpt(.0))]
    NotCalendarOwner(String),
    /// Jobs name the calendar; `jobs` is a sentence that lists them.
    #[error("cannot drop calendar \"{}\" because jobs use it", excerpt(.name))]
    CalendarUsed { name: String, jobs: String },
    /// No queue of this name.
    #[error("queue \"{}\" does not exist", excerpt(.0))]
    NoSuchQueue(String),
    /// Somebody else's queue.
    #[error("must be owner of queue \"{}\"", excerpt(.0))]
    NotQueueOwner(String),
    /// Jobs name the queue; `jobs` is a sentence that lists them.
    #[error("cannot drop queue \"{}\" because jobs use it", excerpt(.name))]
    QueueUsed { name: String, jobs: String },
    /// The queue is not for jobs of this role.
    #[error("permission denied for queue \"{}\"", excerpt(.name))]
    QueueDenied { name: String, role: String },
    /// A job that another is to wait for does not exist.
    #[error("role \"{}\" has no job \"{}\" to run after", excerpt(.role), excerpt(.name))]
    NoUpstream { name: String, role: String },
    /// Jobs that wait for one another; `way` leads from the first upstream back to the job.
    #[error("job \"{}\" cannot run after itself", excerpt(.job))]
    Cycle { job: String, way: Vec<String> },
    /// What is wrong with a request or a secret.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// A job's stored schedule, zone or shape cannot be read; `what` of them, `why` is a sentence.
    #[error("job {jobid} has no valid {what}")]
    InvalidJob { jobid: i64, what: &'static str, why: String },
    /// A job that may not be run by hand now; `why` and `hint` are sentences.
    #[error("job {jobid} may not run now")]
    MayNotRun { jobid: i64, why: String, hint: &'static str },
    /// A call that waits for a run, where it may not.
    #[error("{function} cannot wait {place}")]
    CannotWait { function: &'static str, place: &'static str },
    /// A call that waits for a run, in a database where none runs.
    #[error("this database has no scheduler")]
    NoScheduler,
    /// A job that was dropped while somebody waited for its run.
    #[error("job {0} was dropped, or cannot run any more, before its run had ended")]
    JobGone(i64),
    /// A request of somebody who waits that could not be written.
    #[error("could not ask for a run of job {0}")]
    NotAsked(i64),
    /// A `run_if` that is none; `at` counts characters from 1, 0 = unknown.
    #[error("{problem}")]
    Condition { problem: String, at: i32 },
    /// A setting a job cannot have, as the server says; `hint` is a sentence or empty.
    #[error("setting \"{}\" of the job: {problem}", excerpt(.name))]
    Setting {
        name: String,
        problem: String,
        sqlstate: PgSqlErrorCode,
        detail: Option<String>,
        hint: String,
    },
    /// A call asks for more than one call may; `hint` is a sentence.
    #[error("{problem}")]
    TooMuch { problem: String, hint: &'static str },
    /// A job's schedule names no instants in the past.
    #[error("job {0} has no occurrences to run again")]
    NoOccurrences(i64),
    /// No run of this id.
    #[error("run {0} does not exist")]
    NoSuchRun(i64),
    /// A run, or its job, in a state in which what is asked for makes no sense; `hint` is a sentence.
    #[error("{problem}")]
    RunState { problem: String, hint: String },
    /// The job of a run is gone.
    #[error("job {job} of run {run} does not exist")]
    JobOfRunGone { job: i64, run: i64 },
    /// A function for runs, called outside a run.
    #[error("not inside a run of a job")]
    NotInRun,
    /// A run that means to keep its own job from running.
    #[error("a run cannot hold its own job")]
    HoldInside,
    /// A trigger function called as an ordinary function.
    #[error("must be called as trigger")]
    NotATrigger,
    /// A trigger function of ours on a table that has no column `jobid` of type bigint.
    #[error(
        "trigger function cron.job_changed needs a table with a column \"jobid\" of type bigint"
    )]
    NotTheJobTable,
    /// A change on a standby; the text names the function.
    #[error("cannot execute {0} during recovery")]
    InRecovery(&'static str),
    /// Our functions exist, the extension does not.
    #[error("pg_tock extension not loaded")]
    ExtensionMissing,
    /// A statement of ours failed without raising an error itself.
    #[error("could not access the catalog of pg_tock: {0}")]
    Catalog(#[from] spi::Error),
    /// Options that do not go into JSON, or do not come back from it.
    #[error("could not read options: {0}")]
    Json(#[from] serde_json::Error),
    /// A name that is no text in any encoding.
    #[error("could not read a name: {0}")]
    Encoding(#[from] std::str::Utf8Error),
    /// A statement of ours returned no row where it always returns one.
    #[error("statement on cron.job returned no row")]
    NoRow,
}

impl Error {
    const fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::At { error, .. } => error.sqlstate(),
            Self::Setting { sqlstate, .. } => *sqlstate,
            Self::JobChanged(_) => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::InvalidSchedule { .. }
            | Self::InvalidTimeZone { .. }
            | Self::InvalidArgument(_)
            | Self::Option(_)
            | Self::Manifest(_)
            | Self::Json(_)
            | Self::Null(_)
            | Self::Empty(_)
            | Self::Cycle { .. }
            | Self::OutOfRange { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NotASketch => PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            Self::SuperuserJob
            | Self::DeleteDenied
            | Self::NotJobOwner(_)
            | Self::RoleDenied(_)
            | Self::OtherDatabase(_)
            | Self::NoConnect { .. }
            | Self::MetricsDenied
            | Self::NotCalendarOwner(_)
            | Self::NotQueueOwner(_)
            | Self::QueueDenied { .. } => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NoSuchJob(_)
            | Self::NoSuchRole(_)
            | Self::NoSuchCalendar(_)
            | Self::NoSuchQueue(_)
            | Self::NoSuchRun(_)
            | Self::JobOfRunGone { .. }
            | Self::NoUpstream { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::CannotWait { .. } => PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            Self::Condition { .. } => PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
            Self::AmbiguousJob(_) => PgSqlErrorCode::ERRCODE_AMBIGUOUS_FUNCTION,
            Self::CalendarExists(_) => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            Self::CalendarUsed { .. } | Self::QueueUsed { .. } => {
                PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST
            }
            Self::RoleBarred(_) => PgSqlErrorCode::ERRCODE_INVALID_ROLE_SPECIFICATION,
            Self::TooMuch { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::DatabaseMissing(_) => PgSqlErrorCode::ERRCODE_INVALID_CATALOG_NAME,
            Self::NotATrigger | Self::NotTheJobTable => {
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED
            }
            Self::InRecovery(_) => PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::Http(error) => error.sqlstate(),
            Self::Encoding(_) => PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            Self::ExtensionMissing
            | Self::RunState { .. }
            | Self::NotInRun
            | Self::HoldInside
            | Self::InvalidJob { .. }
            | Self::MayNotRun { .. }
            | Self::NoScheduler
            | Self::JobGone(_)
            | Self::NotAsked(_)
            | Self::NoOccurrences(_) => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            // pg_cron's SQLSTATE for these, or a bug of ours
            Self::NullArgument(_)
            | Self::CreateForOther
            | Self::AlterUsername
            | Self::RoleMissing(_)
            | Self::RoleCannotLogIn(_)
            | Self::ConnectDenied { .. }
            | Self::NoUpdates
            | Self::JobNotOwned(_)
            | Self::JobIdUnknown(_)
            | Self::JobNameUnknown(_)
            | Self::Catalog(_)
            | Self::NoRow => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        let detail: &str = match self {
            Self::Option(error) => return error.detail(),
            Self::Manifest(flaw) => return flaw.detail(),
            Self::At { error, .. } => return error.detail(),
            Self::Setting { detail, .. } => return detail.clone(),
            Self::Http(error) => return error.detail(),
            Self::Condition { at, .. } if *at > 0 => {
                return Some(format!("It is at character {at} of the expression."));
            }
            Self::NotASketch => {
                "The bytes are none that a column of statistics or cron.sketch_merge() has."
            }
            Self::CannotWait { .. } => "The run would begin before this transaction has ended.",
            Self::InvalidSchedule { detail, .. } => detail,
            Self::RoleCannotLogIn(_) | Self::RoleBarred(_) => {
                "Jobs may only be run by roles that have the LOGIN attribute."
            }
            Self::SuperuserJob => {
                "Scheduling jobs as superuser is disallowed when cron.enable_superuser_jobs is set to off."
            }
            Self::RoleDenied(_) => {
                "A job for another role takes the right to SET ROLE to that role."
            }
            Self::OtherDatabase(_) => {
                "A job in another database takes EXECUTE on function cron.schedule_in_database."
            }
            Self::CalendarUsed { jobs, .. } | Self::QueueUsed { jobs, .. } => jobs,
            Self::QueueDenied { role, .. } => {
                return Some(format!(
                    "Role \"{}\" is neither its owner nor a member of that role.",
                    excerpt(role)
                ));
            }
            Self::Cycle { way, .. } => {
                let way: Vec<String> =
                    way.iter().map(|name| format!("\"{}\"", excerpt(name))).collect();
                return Some(format!("It would wait for {}.", way.join(", which waits for ")));
            }
            Self::InvalidJob { why, .. } | Self::MayNotRun { why, .. } => why,
            Self::NoOccurrences(_) => {
                "Its schedule counts from the end of its last run, or from the start of the server."
            }
            _ => return None,
        };
        Some(detail.to_owned())
    }

    fn hint(&self) -> Option<String> {
        let hint: &str = match self {
            Self::Option(error) => return error.hint(),
            Self::Manifest(flaw) => return flaw.hint(),
            Self::At { error, .. } => return error.hint(),
            Self::JobChanged(_) => "Apply the document again.",
            Self::Http(error) => return error.hint().map(str::to_owned),
            Self::Condition { .. } => "Give one boolean expression, as after WHERE.",
            Self::NoScheduler => "Setting cron.database_name names those that have one.",
            Self::NotAsked(_) => "The server log says why.",
            Self::InvalidSchedule { .. } => {
                "Use cron format (e.g. 5 4 * * *), or interval format '[1-59] seconds'"
            }
            Self::InvalidTimeZone { hint, .. } => hint,
            Self::NoUpdates => {
                "You must specify at least one job attribute to change when calling alter_job"
            }
            Self::OutOfRange { hint, .. }
            | Self::TooMuch { hint, .. }
            | Self::MayNotRun { hint, .. } => {
                if hint.is_empty() {
                    return None;
                }
                hint
            }
            Self::RunState { hint, .. } | Self::Setting { hint, .. } if hint.is_empty() => {
                return None;
            }
            Self::RunState { hint, .. } | Self::Setting { hint, .. } => hint,
            Self::JobOfRunGone { .. } => {
                "Column command of cron.job_run_details has what it ran, to be run by hand."
            }
            Self::AmbiguousJob(_) => "Give the job's id instead.",
            Self::NoSuchCalendar(_) => {
                "Create it with cron.create_calendar; table cron.calendar lists those there are."
            }
            Self::CalendarUsed { .. } => {
                "Take it out of their skip_on and only_on with cron.set_job first."
            }
            Self::NoSuchQueue(_) => {
                "Create it with cron.create_queue; table cron.queue lists those there are."
            }
            Self::QueueUsed { .. } => "Take them out of it with cron.set_job first.",
            Self::QueueDenied { .. } => {
                "Its owner can share it: cron.create_queue with shared => true."
            }
            Self::NoUpstream { .. } => "run_after names jobs of the same owner.",
            Self::InvalidJob { .. } => "Change it with cron.set_job.",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Error {
    /// Why a job is not run now, as a sentence, if that is the job's affair: others may run.
    pub(crate) fn why_not_run(&self) -> Option<String> {
        match self {
            Self::MayNotRun { .. } | Self::InvalidJob { .. } => self.detail(),
            Self::NoSuchRole(_) => Some("Its owner does not exist.".to_owned()),
            Self::SuperuserJob => Some("Its owner is a superuser.".to_owned()),
            _ => None,
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let mut report = Self::new(error.sqlstate(), for_message(error.to_string()), "pg_tock");
        if let Some(detail) = error.detail() {
            report = report.set_detail(for_message(detail));
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(for_message(hint));
        }
        report
    }
}
