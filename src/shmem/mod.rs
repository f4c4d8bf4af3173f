//! Shared memory: who schedules which database, and what each executor is doing.
//!
//! Everything here is atomics placed once by the postmaster, so no lock is ever held and nothing
//! can be left locked by a process that dies. `layout` places it, `slots` tells the life of an
//! executor and of its run (`progress` what the run says about itself, `lasting` how long it may take, `cancel`
//! that it is to end and why, `ordered` what its order says of its row, `left` how it ended, `words` what its process said last, `mine` which
//! slot is this process's own), `databases` that of a scheduler,
//! `http` that of the HTTP worker and its runs, `keeper` that of a keeper, `figures` what a
//! scheduler says of itself, `changes` carries news of changed
//! jobs from COMMIT to the scheduler, `taken_back` requests that were taken back to whoever is about to begin their
//! runs, `asks` those who wait for runs. `bytes` is a text of limited length.

pub(crate) mod alert;
pub(crate) mod asks;
mod bytes;
pub(crate) mod cancel;
pub(crate) mod changes;
pub(crate) mod databases;
pub(crate) mod figures;
pub(crate) mod http;
pub(crate) mod keeper;
pub(crate) mod lasting;
pub(crate) mod layout;
pub(crate) mod left;
pub(crate) mod mine;
mod ordered;
pub(crate) mod progress;
pub(crate) mod roster;
pub(crate) mod slots;
pub(crate) mod taken_back;
pub(crate) mod words;
