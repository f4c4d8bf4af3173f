//! The only place with SQL text for our tables. Statements are constants with `$n` parameters;
//! rows go in and out as typed values.
//!
//! Every name in them is schema-qualified, operators included, so that they mean the same under
//! any `search_path`.

pub(crate) mod backfill;
pub(crate) mod calendar;
pub(crate) mod inside;
pub(crate) mod job;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod options;
pub(crate) mod outlook;
pub(crate) mod pause;
pub(crate) mod request;
pub(crate) mod role;
pub(crate) mod run;
pub(crate) mod state;
