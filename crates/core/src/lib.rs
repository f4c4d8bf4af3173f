//! The pure part of `pg_tock`: no Postgres, no clock, no randomness of its own.
#![forbid(unsafe_code)]

pub mod advise;
pub mod alert;
pub mod cancel;
pub mod engine;
pub mod http;
pub mod message;
pub mod options;
pub mod plan;
pub mod quote;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod time;
pub mod watch;
pub mod wire;
