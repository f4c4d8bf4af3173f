//! The HTTP client of `pg_tock`.
#![forbid(unsafe_code)]
