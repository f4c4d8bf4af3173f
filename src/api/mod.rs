//! The functions SQL calls: read arguments, check rights, call, map errors. Their CREATE FUNCTION
//! statements are in `sql/install/30_functions.sql`, hence `sql = false` throughout.

// pgrx's ErrorReport, which a function must return for its SQLSTATE to count, is a large value;
// it is made once, on the way out of the statement.
#![allow(clippy::result_large_err)]

mod advise;
mod backfill;
mod calendars;
mod cancel;
mod condition;
mod diagnose;
mod dry_run;
mod flush;
mod forecast;
mod health;
mod hold;
mod http;
mod inside;
mod jobs;
mod known;
mod manifest;
mod manifest_outlook;
mod metrics;
mod occurrences;
mod options;
mod outlook;
mod pause;
mod presets;
mod preview;
mod prune;
mod queues;
mod report;
mod retry;
mod rights;
mod run_now;
mod running;
mod schedules;
mod secrets;
mod simulate;
mod starts;
mod stats;
mod triggers;
mod upstream;
mod views;
mod waiting;
