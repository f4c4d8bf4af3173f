//! The processes: launcher, scheduler, executor. Main loops, signals, waits, transactions.

pub(crate) mod executor;
pub(crate) mod launcher;
pub(crate) mod scheduler;
