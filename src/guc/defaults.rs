//! What holds for a job that does not say: the settings `cron.default_*`.

use core::ffi::CStr;

use pg_tock_core::retry::{RetryOn, RetryPolicy};
use pg_tock_core::run::{self, MissedPolicy, Overlap};
use pg_tock_core::schedule::DstPolicy;
use pg_tock_core::time::Timestamp;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::pg::settings;

static ON_MISSED: GucSetting<OnMissed> = GucSetting::<OnMissed>::new(OnMissed::Skip);
static MISSED_WINDOW: GucSetting<i32> = GucSetting::<i32>::new(0);
static DST_POLICY: GucSetting<ClockRule> = GucSetting::<ClockRule>::new(ClockRule::Cron);
static JITTER: GucSetting<i32> = GucSetting::<i32>::new(0);
static TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(0);
static STUCK_AFTER: GucSetting<i32> = GucSetting::<i32>::new(0);
static ON_STUCK: GucSetting<OnStuck> = GucSetting::<OnStuck>::new(OnStuck::Alert);
static MAX_ATTEMPTS: GucSetting<i32> = GucSetting::<i32>::new(1);
static RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static RETRY_BACKOFF: GucSetting<f64> = GucSetting::<f64>::new(2.0);
static RETRY_MAX_DELAY: GucSetting<i32> = GucSetting::<i32>::new(3_600_000);
static RETRY_ON: GucSetting<Repeated> = GucSetting::<Repeated>::new(Repeated::Transient);
static RETRY_ON_CRASH: GucSetting<bool> = GucSetting::<bool>::new(false);
static ON_OVERLAP: GucSetting<OnOverlap> = GucSetting::<OnOverlap>::new(OnOverlap::Queue);
static MAX_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(0);
static PRIORITY: GucSetting<i32> = GucSetting::<i32>::new(0);
static SESSION: GucSetting<Session> = GucSetting::<Session>::new(Session::Reuse);

/// `cron.default_on_missed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum OnMissed {
    #[name = c"skip"]
    Skip,
    #[name = c"once"]
    Once,
    #[name = c"all"]
    All,
}

/// `cron.default_dst_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum ClockRule {
    #[name = c"cron"]
    Cron,
    #[name = c"wall"]
    Wall,
}

/// `cron.default_retry_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum Repeated {
    #[name = c"transient"]
    Transient,
    #[name = c"any"]
    Any,
}

/// `cron.default_on_overlap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum OnOverlap {
    #[name = c"queue"]
    Queue,
    #[name = c"skip"]
    Skip,
    #[name = c"allow"]
    Allow,
    #[name = c"replace"]
    Replace,
}

/// `cron.default_on_stuck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum OnStuck {
    #[name = c"alert"]
    Alert,
    #[name = c"cancel"]
    Cancel,
}

/// `cron.default_session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum Session {
    #[name = c"reuse"]
    Reuse,
    #[name = c"fresh"]
    Fresh,
}

/// Defines them.
pub(super) fn init() {
    init_times();
    init_retries();
    init_control();
}

fn choice<T: pgrx::GucEnum + Copy>(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<T>,
) where
    GucSetting<T>: Sync,
{
    let (context, flags) = (GucContext::Sighup, GucFlags::empty());
    GucRegistry::define_enum_guc(name, short, long, setting, context, flags);
}

fn number(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    range: (i32, i32, i32),
    unit: GucFlags,
) {
    settings::define_int(name, short, long, setting, range, GucContext::Sighup, unit);
}

/// Which occurrences there are, and when they start.
fn init_times() {
    choice(
        c"cron.default_on_missed",
        c"What becomes of occurrences that could not run at their time.",
        c"skip records them, once runs the latest of them, all runs each of them. It holds for jobs without on_missed.",
        &ON_MISSED,
    );
    number(
        c"cron.default_missed_window",
        c"Age beyond which missed occurrences do not run any more.",
        c"It holds for jobs without missed_window. 0 is no limit.",
        &MISSED_WINDOW,
        (0, 0, i32::MAX),
        GucFlags::UNIT_S,
    );
    choice(
        c"cron.default_dst_policy",
        c"What clock changes do to a job.",
        c"cron runs what falls into skipped time right after it and repeated time once; wall does what the clock shows. It holds for jobs without dst_policy.",
        &DST_POLICY,
    );
    number(
        c"cron.default_jitter",
        c"Time over which a job's starts are spread after their instants.",
        c"The offset is always the same for a job and an instant. It holds for jobs without jitter.",
        &JITTER,
        (0, 0, 604_800),
        GucFlags::UNIT_S,
    );
}

/// What becomes of attempts that fail.
fn init_retries() {
    number(
        c"cron.default_max_attempts",
        c"Most attempts at one occurrence, the first included.",
        c"It holds for jobs without max_attempts.",
        &MAX_ATTEMPTS,
        (1, 1, 1_000_000),
        GucFlags::empty(),
    );
    number(
        c"cron.default_retry_delay",
        c"Time between the end of a first attempt and the second.",
        c"It holds for jobs without retry_delay.",
        &RETRY_DELAY,
        (10_000, 0, i32::MAX),
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_float_guc(
        c"cron.default_retry_backoff",
        c"Factor by which the time between attempts grows.",
        c"1 is a fixed delay. It holds for jobs without retry_backoff.",
        &RETRY_BACKOFF,
        1.0,
        1_000.0,
        GucContext::Sighup,
        GucFlags::empty(),
    );
    number(
        c"cron.default_retry_max_delay",
        c"Longest time between two attempts.",
        c"It holds for jobs without retry_max_delay; a retry_delay that is longer is the limit itself.",
        &RETRY_MAX_DELAY,
        (3_600_000, 0, i32::MAX),
        GucFlags::UNIT_MS,
    );
    choice(
        c"cron.default_retry_on",
        c"Which failures are tried again.",
        c"transient are errors that are likely to pass by themselves, any is every one. It holds for jobs without retry_on.",
        &RETRY_ON,
    );
    GucRegistry::define_bool_guc(
        c"cron.default_retry_on_crash",
        c"Whether a crashed attempt is repeated although its effects may be there.",
        c"Attempts that left no effects are repeated in any case. It holds for jobs without retry_on_crash.",
        &RETRY_ON_CRASH,
        GucContext::Sighup,
        GucFlags::empty(),
    );
}

/// How runs live beside one another, and how long.
fn init_control() {
    number(
        c"cron.default_timeout",
        c"Time after which a run is cancelled.",
        c"It holds for jobs without timeout. 0 is no limit.",
        &TIMEOUT,
        (0, 0, i32::MAX),
        GucFlags::UNIT_MS,
    );
    number(
        c"cron.default_stuck_after",
        c"Time without a heartbeat after which a run counts as stuck.",
        c"It holds for jobs without stuck_after. 0 is never.",
        &STUCK_AFTER,
        (0, 0, i32::MAX),
        GucFlags::UNIT_MS,
    );
    choice(
        c"cron.default_on_stuck",
        c"What becomes of a run that counts as stuck.",
        c"alert leaves it alone, cancel ends it as at its timeout. It holds for jobs without on_stuck.",
        &ON_STUCK,
    );
    choice(
        c"cron.default_on_overlap",
        c"What becomes of an occurrence that is due while its job runs.",
        c"queue lets it wait, skip records it, allow starts it as well, replace cancels the run under way. It holds for jobs without on_overlap.",
        &ON_OVERLAP,
    );
    number(
        c"cron.default_max_concurrency",
        c"Most runs at once of a job whose runs may overlap.",
        c"It holds for jobs without max_concurrency. 0 is no limit.",
        &MAX_CONCURRENCY,
        (0, 0, 1_000_000),
        GucFlags::empty(),
    );
    number(
        c"cron.default_priority",
        c"Priority of jobs that wait for their turn, higher first.",
        c"It holds for jobs without priority.",
        &PRIORITY,
        (0, -100, 100),
        GucFlags::empty(),
    );
    choice(
        c"cron.default_session",
        c"Whether each run of a job gets a session of its own.",
        c"reuse runs one after another in a session that is reset, fresh starts a session for each. It holds for jobs without session.",
        &SESSION,
    );
}

/// What becomes of missed occurrences.
pub(crate) fn on_missed() -> MissedPolicy {
    match ON_MISSED.get() {
        OnMissed::Skip => MissedPolicy::Skip,
        OnMissed::Once => MissedPolicy::Once,
        OnMissed::All => MissedPolicy::All,
    }
}

/// The age in microseconds beyond which missed occurrences do not run; None is no limit.
pub(crate) fn missed_window() -> Option<i64> {
    let seconds = i64::from(MISSED_WINDOW.get());
    (seconds > 0).then(|| seconds.saturating_mul(Timestamp::SECOND))
}

/// What clock changes do.
pub(crate) fn dst_policy() -> DstPolicy {
    match DST_POLICY.get() {
        ClockRule::Cron => DstPolicy::Cron,
        ClockRule::Wall => DstPolicy::Wall,
    }
}

/// The jitter in microseconds; 0 is none.
pub(crate) fn jitter() -> i64 {
    i64::from(JITTER.get()).saturating_mul(Timestamp::SECOND)
}

/// What is done about attempts that fail.
pub(crate) fn retry() -> RetryPolicy {
    RetryPolicy {
        max_attempts: u32::try_from(MAX_ATTEMPTS.get()).unwrap_or(1),
        delay: micros(&RETRY_DELAY),
        backoff: RETRY_BACKOFF.get(),
        max_delay: micros(&RETRY_MAX_DELAY),
        on: match RETRY_ON.get() {
            Repeated::Transient => RetryOn::Transient,
            Repeated::Any => RetryOn::Any,
        },
        on_crash: RETRY_ON_CRASH.get(),
    }
}

/// The longest a run may take in microseconds; 0 is no limit.
pub(crate) fn timeout() -> i64 {
    micros(&TIMEOUT)
}

/// The longest a run may go on without a heartbeat in microseconds; 0 is no limit.
pub(crate) fn stuck_after() -> i64 {
    micros(&STUCK_AFTER)
}

/// What becomes of a run that counts as stuck.
pub(crate) fn on_stuck() -> run::OnStuck {
    match ON_STUCK.get() {
        OnStuck::Alert => run::OnStuck::Alert,
        OnStuck::Cancel => run::OnStuck::Cancel,
    }
}

/// What becomes of an occurrence that is due while its job runs.
pub(crate) fn on_overlap() -> Overlap {
    match ON_OVERLAP.get() {
        OnOverlap::Queue => Overlap::Queue,
        OnOverlap::Skip => Overlap::Skip,
        OnOverlap::Allow => Overlap::Allow,
        OnOverlap::Replace => Overlap::Replace,
    }
}

/// Most runs at once of a job whose runs may overlap; 0 is no limit.
pub(crate) fn max_concurrency() -> u32 {
    u32::try_from(MAX_CONCURRENCY.get()).unwrap_or(0)
}

/// The priority, higher first.
pub(crate) fn priority() -> i32 {
    PRIORITY.get()
}

/// Whether each run gets a session of its own.
pub(crate) fn fresh_session() -> bool {
    SESSION.get() == Session::Fresh
}

fn micros(setting: &GucSetting<i32>) -> i64 {
    i64::from(setting.get()).saturating_mul(Timestamp::SECOND / 1_000)
}
