//! Private Postgres clusters, and the words that end-to-end scenarios are written in.
//!
//! A scenario starts a [`Cluster`] of its own, schedules jobs on it, does something rude to it, and
//! waits for facts with a deadline. This crate owns three invariants:
//!
//! - A cluster never outlives its test: dropping it stops the server at once and removes its files,
//!   and the kernel stops the server should the test process die.
//! - No scenario sleeps. [`poll_until`] is the only place that does, between two looks at a fact.
//! - A failed scenario explains itself: the jobs, the last runs, the processes and the end of the
//!   server's log are printed when a test panics while it holds a cluster, and in CI also when one hangs.
//!
//! ```no_run
//! use pg_tock_test::Cluster;
//!
//! let cluster = Cluster::start();
//! let job = cluster.schedule("answer", "1 second", "select 42");
//! assert_eq!(cluster.finished_run(job).return_message, "1 row");
//! ```
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken expectation here is a failed test, and has to say so at once"
)]

mod accounts;
mod backends;
mod builder;
mod check;
mod clock;
mod cluster;
mod disk;
mod harm;
mod hostile;
pub mod page;
mod poll;
mod process;
mod report;
mod runs;
mod server;
mod standby;

pub use accounts::{documented_answer, documented_audit};
pub use builder::Builder;
pub use clock::utc;
pub use cluster::{Cluster, explain, sqlstate};
pub use harm::{anonymous_memory, kill9_if_alive};
pub use hostile::{MALLORY, under_attack};
pub use poll::{PATIENCE, poll_until, stays_true};
pub use process::{cpu_time, is_alive, kill9, signal, voluntary_switches};
pub use runs::Run;
pub use standby::Deaf;
