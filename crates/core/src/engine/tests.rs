//! Each rule by name, then whole lives over virtual time.

mod agenda;
mod support;
