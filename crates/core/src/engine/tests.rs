//! Each rule by name, then whole lives over virtual time.

mod agenda;
mod fair;
mod lives;
mod pool;
mod simulate;
mod support;
mod world;
