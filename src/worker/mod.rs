//! The processes: launcher, scheduler, executor, HTTP worker, keeper. Main loops, signals, waits, transactions.

pub(crate) mod executor;
pub(crate) mod http;
pub(crate) mod keeper;
pub(crate) mod launcher;
pub(crate) mod scheduler;
mod session;
