//! The HTTP client of `pg_tock`: one event loop on a thread of its own, without Postgres.
//!
//! The crate owns these invariants: the thread that calls it never waits for the network; the loop's
//! thread takes no signal, so that a process full of signal handlers can have it; every order that
//! was taken has exactly one [`Completion`]; no byte goes to an address that
//! [`pg_tock_core::http::access`] refuses; nothing that comes out contains a secret that went in.
#![forbid(unsafe_code)]

pub mod cipher;
mod client;
mod config;
mod connect;
mod driver;
mod exchange;
mod failure;
pub mod job;
pub mod look;
mod order;
mod progress;
mod resolve;
mod tls;

pub use client::{Client, Event, Seen, SubmitError, raise_file_limit};
pub use config::{Config, StartError};
pub use order::{Completion, Order, Times};
pub use resolve::{Resolve, ResolveError, SystemResolver};
