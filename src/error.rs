//! Every error this extension raises, and the only table of their SQLSTATEs.
//!
//! Where pg_cron has an error, its text and SQLSTATE are a contract, also where they break the
//! Postgres style guide (capital letters, XX000 for a caller's mistake).

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

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
    /// A statement of ours returned no row where it always returns one.
    #[error("statement on cron.job returned no row")]
    NoRow,
}

impl Error {
    const fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::InvalidSchedule { .. }
            | Self::InvalidTimeZone { .. }
            | Self::InvalidArgument(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::SuperuserJob | Self::DeleteDenied => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::DatabaseMissing(_) => PgSqlErrorCode::ERRCODE_INVALID_CATALOG_NAME,
            Self::NotATrigger | Self::NotTheJobTable => {
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED
            }
            Self::InRecovery(_) => PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::ExtensionMissing => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
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

    fn detail(&self) -> Option<&str> {
        match self {
            Self::InvalidSchedule { detail, .. } => Some(detail),
            Self::RoleCannotLogIn(_) => {
                Some("Jobs may only be run by roles that have the LOGIN attribute.")
            }
            Self::SuperuserJob => Some(
                "Scheduling jobs as superuser is disallowed when cron.enable_superuser_jobs is set to off.",
            ),
            _ => None,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::InvalidSchedule { .. } => {
                Some("Use cron format (e.g. 5 4 * * *), or interval format '[1-59] seconds'")
            }
            Self::InvalidTimeZone { hint, .. } => Some(hint),
            Self::NoUpdates => {
                Some("You must specify at least one job attribute to change when calling alter_job")
            }
            _ => None,
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let mut report = Self::new(error.sqlstate(), error.to_string(), "pg_tock");
        if let Some(detail) = error.detail() {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(hint);
        }
        report
    }
}
