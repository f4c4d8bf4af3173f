//! The settings of alerts, of what is told of runs, and of the server log.

use std::ffi::CString;

use pg_tock_core::alert::{MOST_FAILURES, MOST_TIMES};
use pg_tock_core::time::Timestamp;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::text;
use crate::pg::settings;

static AFTER_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(0);
static IF_SLOWER: GucSetting<i32> = GucSetting::<i32>::new(0);
static IF_TIMES_SLOWER: GucSetting<f64> = GucSetting::<f64>::new(0.0);
static IF_ABSENT: GucSetting<i32> = GucSetting::<i32>::new(0);
static BELOW_SUCCESS: GucSetting<f64> = GucSetting::<f64>::new(0.0);
static HANDLER: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static NOTIFY_RUNS: GucSetting<bool> = GucSetting::<bool>::new(false);
static LOG_FAILURES: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Defines them.
pub(super) fn init() {
    let none = GucFlags::empty();
    settings::define_int(
        c"cron.default_alert_after_failures",
        c"How many occurrences in a row that failed for good are an alert.",
        c"It holds for jobs without alert_after_failures. 0 is never.",
        &AFTER_FAILURES,
        (0, 0, MOST_FAILURES),
        GucContext::Sighup,
        none,
    );
    settings::define_int(
        c"cron.default_alert_if_slower",
        c"Time after which a run that goes on is an alert.",
        c"It holds for jobs without alert_if_slower. 0 is never.",
        &IF_SLOWER,
        (0, 0, i32::MAX),
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_float_guc(
        c"cron.default_alert_if_times_slower",
        c"Run time that is an alert, in multiples of what 95 percent of the job's runs take at most.",
        c"It holds for jobs without alert_if_times_slower. 0 is never; less than 1 counts as 1.",
        &IF_TIMES_SLOWER,
        0.0,
        MOST_TIMES,
        GucContext::Sighup,
        none,
    );
    settings::define_int(
        c"cron.default_alert_if_absent",
        c"Time without a successful run that is an alert.",
        c"It holds for jobs without alert_if_absent. 0 is never.",
        &IF_ABSENT,
        (0, 0, i32::MAX),
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_float_guc(
        c"cron.default_alert_below_success",
        c"Percentage of successes among the last 20 occurrences below which there is an alert.",
        c"It holds for jobs without alert_below_success. 0 is never.",
        &BELOW_SUCCESS,
        0.0,
        100.0,
        GucContext::Sighup,
        none,
    );
    GucRegistry::define_string_guc(
        c"cron.default_alert_job",
        c"Name of the job that is run for each alert and each recovery.",
        c"It holds for jobs without alert_job whose owner has a job of that name. Empty is none.",
        &HANDLER,
        GucContext::Sighup,
        none,
    );
    GucRegistry::define_bool_guc(
        c"cron.notify_runs",
        c"Whether starts and ends of runs are sent on channel cron_events.",
        c"Alerts and recoveries are in any case.",
        &NOTIFY_RUNS,
        GucContext::Sighup,
        none,
    );
    GucRegistry::define_bool_guc(
        c"cron.log_failures",
        c"Whether the server log gets a line for each run that did not succeed.",
        c"The line names job, run and SQLSTATE.",
        &LOG_FAILURES,
        GucContext::Sighup,
        none,
    );
}

/// How many failures in a row are an alert; 0 is never.
pub(crate) fn after_failures() -> i64 {
    AFTER_FAILURES.get().into()
}

/// After how many microseconds a run is an alert; 0 is never.
pub(crate) fn if_slower() -> i64 {
    i64::from(IF_SLOWER.get()).saturating_mul(Timestamp::SECOND / 1_000)
}

/// How many times as long as usual is an alert; 0 is never.
pub(crate) fn if_times_slower() -> f64 {
    IF_TIMES_SLOWER.get()
}

/// After how many microseconds without a success there is an alert; 0 is never.
pub(crate) fn if_absent() -> i64 {
    i64::from(IF_ABSENT.get()).saturating_mul(Timestamp::SECOND)
}

/// Below how many percent of successes there is an alert; 0 is never.
pub(crate) fn below_success() -> f64 {
    BELOW_SUCCESS.get()
}

/// The name of the handler of jobs that name none; empty is none.
pub(crate) fn handler() -> String {
    text(&HANDLER)
}

/// Whether starts and ends of runs are sent.
pub(crate) fn notify_runs() -> bool {
    NOTIFY_RUNS.get()
}

/// Whether runs that did not succeed are written to the server log.
pub(crate) fn log_failures() -> bool {
    LOG_FAILURES.get()
}
