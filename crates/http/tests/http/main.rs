//! The client against real servers that the tests make.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod answers;
mod jobs;
mod load;
mod redirects;
mod support;
mod tls;
