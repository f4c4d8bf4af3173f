//! The processes: launcher, scheduler, executor, HTTP worker. Main loops, signals, waits, transactions.

pub(crate) mod executor;
pub(crate) mod http;
pub(crate) mod launcher;
pub(crate) mod scheduler;
