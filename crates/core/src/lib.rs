//! The pure part of `pg_tock`: no Postgres, no clock, no randomness of its own.
#![forbid(unsafe_code)]

pub mod advise;
pub mod alert;
pub mod ask;
pub mod cancel;
pub mod diagnose;
pub mod engine;
pub mod http;
pub mod lead;
pub mod manifest;
pub mod message;
pub mod metrics;
pub mod options;
pub mod plan;
pub mod portion;
pub mod quote;
pub mod repeat;
pub mod report;
pub mod rest;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod sqlstate;
pub mod stats;
pub mod time;
pub mod usage;
pub mod watch;
pub mod wire;
