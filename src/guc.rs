//! The settings `cron.*`: definitions and typed getters.
//!
//! Owns one invariant: pg_cron's settings keep their names, types, contexts, defaults and short
//! descriptions, so that a postgresql.conf written for pg_cron works unchanged. Callers never see
//! a [`GucSetting`].

pub(crate) mod alerts;
pub(crate) mod defaults;
pub(crate) mod http;
pub(crate) mod retention;
pub(crate) mod secrets;

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::pg::settings;

static DATABASE_NAME: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"postgres"));
static LOG_STATEMENT: GucSetting<bool> = GucSetting::<bool>::new(true);
static LOG_RUN: GucSetting<bool> = GucSetting::<bool>::new(true);
static ENABLE_SUPERUSER_JOBS: GucSetting<bool> = GucSetting::<bool>::new(true);
static HOST: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"localhost"));
static USE_BACKGROUND_WORKERS: GucSetting<bool> = GucSetting::<bool>::new(false);
static LAUNCH_ACTIVE_JOBS: GucSetting<bool> = GucSetting::<bool>::new(true);
static MAX_RUNNING_JOBS: GucSetting<i32> = GucSetting::<i32>::new(0);
static LOG_MIN_MESSAGES: GucSetting<MessageLevel> =
    GucSetting::<MessageLevel>::new(MessageLevel::Warning);
static TIMEZONE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"GMT"));
static MATCH_DOM_AND_DOW: GucSetting<bool> = GucSetting::<bool>::new(false);
static EXECUTOR_IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60);
static EXECUTOR_MAX_AGE: GucSetting<i32> = GucSetting::<i32>::new(3600);
static MAX_JOB_SIZE: GucSetting<i32> = GucSetting::<i32>::new(131_072);
static MAX_QUEUED_RUNS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static CANCEL_GRACE: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static MAX_RUNNING_JOBS_PER_ROLE: GucSetting<i32> = GucSetting::<i32>::new(0);

/// A message level as `log_min_messages` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum MessageLevel {
    #[name = c"debug5"]
    Debug5,
    #[name = c"debug4"]
    Debug4,
    #[name = c"debug3"]
    Debug3,
    #[name = c"debug2"]
    Debug2,
    #[name = c"debug1"]
    Debug1,
    #[name = c"debug"]
    #[hidden = true]
    Debug,
    #[name = c"info"]
    Info,
    #[name = c"notice"]
    Notice,
    #[name = c"warning"]
    Warning,
    #[name = c"error"]
    Error,
    #[name = c"log"]
    Log,
    #[name = c"fatal"]
    Fatal,
    #[name = c"panic"]
    Panic,
}

impl MessageLevel {
    const fn name(self) -> &'static CStr {
        match self {
            Self::Debug5 => c"debug5",
            Self::Debug4 => c"debug4",
            Self::Debug3 => c"debug3",
            Self::Debug2 | Self::Debug => c"debug2",
            Self::Debug1 => c"debug1",
            Self::Info => c"info",
            Self::Notice => c"notice",
            Self::Warning => c"warning",
            Self::Error => c"error",
            Self::Log => c"log",
            Self::Fatal => c"fatal",
            Self::Panic => c"panic",
        }
    }
}

/// Defines every setting. Called once, from `_PG_init` in the postmaster.
pub(crate) fn init() {
    init_contract();
    init_limits();
    init_own();
    defaults::init();
    retention::init();
    alerts::init();
    http::init();
    secrets::init();
    crate::exec::context::define();
    settings::reserve_prefix();
}

/// pg_cron's settings, except for the limit that depends on another.
fn init_contract() {
    let flags = GucFlags::SUPERUSER_ONLY;
    GucRegistry::define_string_guc(
        c"cron.database_name",
        c"Database in which pg_cron metadata is kept.",
        c"One name, a list of names separated by commas, or * for every database that has the extension.",
        &DATABASE_NAME,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"cron.log_statement",
        c"Log all cron statements prior to execution.",
        c"The server log gets a line when a job starts and one when it ends.",
        &LOG_STATEMENT,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"cron.log_run",
        c"Log all jobs runs into the job_run_details table",
        c"When off, runs leave no rows, and a crash may lose the one under way: every job then runs at most once.",
        &LOG_RUN,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"cron.enable_superuser_jobs",
        c"Allow jobs to be scheduled as superuser",
        c"When off, jobs of superusers are neither accepted nor run.",
        &ENABLE_SUPERUSER_JOBS,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_string_guc(
        c"cron.host",
        c"Hostname to connect to postgres.",
        c"pg_tock never connects to run a job. New jobs get this name in cron.job.nodename, and jobs that have it there count as jobs of this server.",
        &HOST,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"cron.use_background_workers",
        c"Use background workers instead of client sessions.",
        c"pg_tock always uses background workers. The setting only selects pg_cron's default and upper bound of cron.max_running_jobs.",
        &USE_BACKGROUND_WORKERS,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"cron.launch_active_jobs",
        c"Launch jobs that are defined as active.",
        c"When off, every job counts as inactive, and runs under way are cancelled.",
        &LAUNCH_ACTIVE_JOBS,
        GucContext::Sighup,
        flags,
    );
    GucRegistry::define_enum_guc(
        c"cron.log_min_messages",
        c"log_min_messages for the launcher bgworker.",
        c"It holds for the launcher and the schedulers; a job's own messages follow log_min_messages.",
        &LOG_MIN_MESSAGES,
        GucContext::Sighup,
        flags,
    );
    settings::define_time_zone(
        c"cron.timezone",
        c"Specify timezone used for cron schedule.",
        c"It holds for jobs that have no time zone of their own. A name that is unknown counts as GMT.",
        &TIMEZONE,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"cron.match_dom_and_dow",
        c"Requires a day to match both the day-of-month and day-of-week fields.",
        c"When off, a day matches either field, unless one of them begins with an asterisk.",
        &MATCH_DOM_AND_DOW,
        GucContext::Sighup,
        flags,
    );
}

/// `cron.max_running_jobs`: its bounds depend on `cron.use_background_workers`, which has been
/// read from the configuration by now.
fn init_limits() {
    let (most, common) = if USE_BACKGROUND_WORKERS.get() {
        (settings::max_worker_processes() - 1, 5)
    } else {
        (settings::max_connections(), 32)
    };
    let most = most.max(0);
    settings::define_int(
        c"cron.max_running_jobs",
        c"Maximum number of jobs that can run concurrently.",
        c"Runs beyond it wait for their turn. Free slots of max_worker_processes are the other limit. 0 counts as 1.",
        &MAX_RUNNING_JOBS,
        (most.min(common), 0, most),
        GucContext::Postmaster,
        GucFlags::SUPERUSER_ONLY,
    );
}

/// Settings pg_cron does not have.
fn init_own() {
    settings::define_int(
        c"cron.executor_idle_timeout",
        c"Time after which an executor without work ends.",
        c"An executor is the background worker that runs one role's jobs in one database. A short time frees worker slots and memory, a long one saves starting it again.",
        &EXECUTOR_IDLE_TIMEOUT,
        (60, 1, 86_400),
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    settings::define_int(
        c"cron.executor_max_age",
        c"Time after which an executor ends even if it has work.",
        c"It ends between two runs, and another takes its place, so that whatever a long life collects in a process goes.",
        &EXECUTOR_MAX_AGE,
        (3600, 1, 604_800),
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    settings::define_int(
        c"cron.max_queued_runs",
        c"Maximum number of runs of one job that wait for the job's run under way.",
        c"Occurrences beyond it are recorded as skipped. 0 skips every occurrence that falls due while the job runs.",
        &MAX_QUEUED_RUNS,
        (1000, 0, i32::MAX),
        GucContext::Sighup,
        GucFlags::empty(),
    );
    settings::define_int(
        c"cron.max_job_size",
        c"Maximum size of what a job says: its command, or all of its options together.",
        c"Functions that make and change jobs refuse more. The scheduler reads it, hands it over and records it with each run.",
        &MAX_JOB_SIZE,
        (131_072, 8_192, i32::MAX),
        GucContext::Sighup,
        GucFlags::UNIT_BYTE,
    );
    settings::define_int(
        c"cron.cancel_grace",
        c"Time a run that is cancelled gets to end by itself.",
        c"When it is over, the run's process is terminated. It holds for every cancel, whatever its cause.",
        &CANCEL_GRACE,
        (10_000, 0, i32::MAX),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    settings::define_int(
        c"cron.max_running_jobs_per_role",
        c"Maximum number of jobs of one role that can run concurrently.",
        c"Runs beyond it wait for their turn. 0 is no limit.",
        &MAX_RUNNING_JOBS_PER_ROLE,
        (0, 0, i32::MAX),
        GucContext::Sighup,
        GucFlags::empty(),
    );
}

/// The databases that have a scheduler: `cron.database_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseNames {
    /// `*`: every database that has the extension.
    All,
    /// These, in the order of the setting.
    Listed(Vec<String>),
}

/// The databases named in `cron.database_name`.
pub(crate) fn database_names() -> DatabaseNames {
    parse_database_names(&text(&DATABASE_NAME))
}

/// The databases a value of `cron.database_name` names. The install guard in 10_schema.sql reads
/// the setting in the same way.
pub(crate) fn parse_database_names(setting: &str) -> DatabaseNames {
    if setting == "*" {
        return DatabaseNames::All;
    }
    let names = setting.split(',').map(|name| name.trim_matches([' ', '\t', '\r', '\n']));
    DatabaseNames::Listed(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// The database a job gets if nobody says which: the one named in `cron.database_name`, as with
/// pg_cron, or None, the current database, where that is a list or `*`.
pub(crate) fn default_job_database() -> Option<String> {
    match database_names() {
        DatabaseNames::Listed(names) if names.len() == 1 => names.into_iter().next(),
        _ => None,
    }
}

/// Whether a job's start and end are written to the server log.
pub(crate) fn log_statement() -> bool {
    LOG_STATEMENT.get()
}

/// Whether runs are recorded in `cron.job_run_details`.
pub(crate) fn log_run() -> bool {
    LOG_RUN.get()
}

/// Whether superusers may own jobs.
pub(crate) fn enable_superuser_jobs() -> bool {
    ENABLE_SUPERUSER_JOBS.get()
}

/// The name of this server in `cron.job.nodename`.
pub(crate) fn host() -> String {
    text(&HOST)
}

/// Whether a job with this `nodename` belongs to this server: the loopback interface, a socket
/// directory, nothing at all, or `cron.host`.
pub(crate) fn is_local_node(nodename: &str) -> bool {
    matches!(nodename, "" | "127.0.0.1" | "::1")
        || nodename.starts_with(['/', '@'])
        || nodename.eq_ignore_ascii_case("localhost")
        || nodename.eq_ignore_ascii_case(&host())
}

/// Whether active jobs run at all.
pub(crate) fn launch_active_jobs() -> bool {
    LAUNCH_ACTIVE_JOBS.get()
}

/// How many SQL runs may be under way at once, at least 1.
pub(crate) fn max_running_jobs() -> usize {
    usize::try_from(MAX_RUNNING_JOBS.get()).unwrap_or(1).max(1)
}

/// `log_min_messages` of launcher and schedulers, as that setting spells it.
pub(crate) fn log_min_messages() -> &'static CStr {
    LOG_MIN_MESSAGES.get().name()
}

/// The name of the time zone of jobs that have none of their own; always one that resolves.
pub(crate) fn timezone() -> String {
    text(&TIMEZONE)
}

/// Whether a day has to match both day fields of a schedule.
pub(crate) fn match_dom_and_dow() -> bool {
    MATCH_DOM_AND_DOW.get()
}

/// How long an executor waits for work before it ends.
pub(crate) fn executor_idle_timeout() -> Duration {
    seconds(&EXECUTOR_IDLE_TIMEOUT)
}

/// How old an executor gets.
pub(crate) fn executor_max_age() -> Duration {
    seconds(&EXECUTOR_MAX_AGE)
}

/// How many bytes a job's command, or all of its options together, may have.
pub(crate) fn max_job_size() -> usize {
    usize::try_from(MAX_JOB_SIZE.get()).unwrap_or(0)
}

/// How many occurrences of one job may wait for its run under way.
pub(crate) fn max_queued_runs() -> usize {
    usize::try_from(MAX_QUEUED_RUNS.get()).unwrap_or(0)
}

/// How long a run that is cancelled gets to end by itself, in microseconds.
pub(crate) fn cancel_grace() -> i64 {
    i64::from(CANCEL_GRACE.get()).saturating_mul(1_000)
}

/// How many runs of one role may be under way at once; 0 is no limit.
pub(crate) fn max_running_jobs_per_role() -> u32 {
    u32::try_from(MAX_RUNNING_JOBS_PER_ROLE.get()).unwrap_or(0)
}

fn text(setting: &GucSetting<Option<CString>>) -> String {
    setting.get().map_or_else(String::new, |value| value.to_string_lossy().into_owned())
}

fn seconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_secs(u64::try_from(setting.get()).unwrap_or(0))
}
