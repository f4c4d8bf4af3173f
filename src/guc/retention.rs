//! How long history is kept of jobs that do not say: the settings `cron.default_keep_*`; and how long
//! statistics are.

use pgrx::{GucContext, GucFlags, GucSetting};

use crate::pg::settings;

static KEEP_DAYS: GucSetting<i32> = GucSetting::<i32>::new(30);
static KEEP_DAYS_FAILED: GucSetting<i32> = GucSetting::<i32>::new(90);
static KEEP_RUNS: GucSetting<i32> = GucSetting::<i32>::new(0);
static KEEP_HOURLY_STATS: GucSetting<i32> = GucSetting::<i32>::new(120);
static KEEP_DAILY_STATS: GucSetting<i32> = GucSetting::<i32>::new(1095);

/// Defines them; once, from `_PG_init` in the postmaster.
pub(super) fn init() {
    let define = |name, short, long, setting, range| {
        settings::define_int(
            name,
            short,
            long,
            setting,
            range,
            GucContext::Sighup,
            GucFlags::empty(),
        );
    };
    define(
        c"cron.default_keep_days",
        c"Days for which runs are kept in cron.job_run_details.",
        c"It holds for jobs without keep_days. 0 is for ever.",
        &KEEP_DAYS,
        (30, 0, 36_525),
    );
    define(
        c"cron.default_keep_days_failed",
        c"Days for which runs that failed are kept.",
        c"So are runs that succeeded after others of their occurrence had failed, and skipped occurrences. It holds for jobs without keep_days, and is never less than cron.default_keep_days. 0 is for ever.",
        &KEEP_DAYS_FAILED,
        (90, 0, 36_525),
    );
    define(
        c"cron.default_keep_runs",
        c"Number of runs of a job that are kept.",
        c"The newest ones, of those that failed and of the others each. It holds for jobs without keep_runs. 0 is all.",
        &KEEP_RUNS,
        (0, 0, 1_000_000),
    );
    define(
        c"cron.keep_hourly_stats",
        c"Days for which statistics of hours are kept in cron.job_stats_hourly.",
        c"0 is for ever.",
        &KEEP_HOURLY_STATS,
        (120, 0, 36_525),
    );
    define(
        c"cron.keep_daily_stats",
        c"Days for which statistics of days are kept in cron.job_stats_daily.",
        c"0 is for ever.",
        &KEEP_DAILY_STATS,
        (1095, 0, 36_525),
    );
}

/// For how many days runs are kept, those that succeeded and those that did not; None is for ever.
/// What failed is kept at least as long as what succeeded.
pub(crate) fn keep_days() -> (Option<i32>, Option<i32>) {
    let days = |setting: &GucSetting<i32>| Some(setting.get()).filter(|&days| days > 0);
    let (succeeded, failed) = (days(&KEEP_DAYS), days(&KEEP_DAYS_FAILED));
    (succeeded, succeeded.zip(failed).map(|(succeeded, failed)| succeeded.max(failed)))
}

/// For how many days statistics of hours and of days are kept; None is for ever.
pub(crate) fn keep_stats() -> [Option<i32>; 2] {
    [&KEEP_HOURLY_STATS, &KEEP_DAILY_STATS]
        .map(|setting| Some(setting.get()).filter(|&days| days > 0))
}

/// How many runs of each job are kept; 0 is all.
pub(crate) fn keep_runs() -> i32 {
    KEEP_RUNS.get()
}
