//! Each rule by name, then whole lives over virtual time.

mod account;
mod after;
mod agenda;
mod fair;
mod follow;
mod lives;
mod missed;
mod order;
mod overlap;
mod pool;
mod queues;
mod send;
mod shaped;
mod simulate;
mod support;
mod world;
