//! How a run does its work.
//!
//! `command` executes a job's text as the simple query protocol would, `ledger` writes its row
//! straight into the table, `run` puts the two together into one run, `reset` leaves nothing of it
//! behind; `ended` puts the end of a run into words. `lock` is the lock a run holds on its job,
//! `context` what it can read of itself, `checkpoint` what it forgets when it succeeds, `condition`
//! what says whether it begins at all, `dry` a run that is
//! rolled back.

mod checkpoint;
pub(crate) mod command;
mod commits;
pub(crate) mod condition;
pub(crate) mod context;
mod dry;
pub(crate) mod ended;
pub(crate) mod kind;
pub(crate) mod ledger;
pub(crate) mod libraries;
mod lock;
pub(crate) mod reset;
pub(crate) mod run;
mod session;
mod usage;
mod value;
