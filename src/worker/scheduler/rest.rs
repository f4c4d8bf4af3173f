//! Resting before something is due, on a machine with more work than it can do.

use std::time::Duration;

use pg_tock_core::rest::BEFORE;

use super::Scheduler;
use crate::pg::{process, time};

impl Scheduler {
    /// Sleeps until something is due for an owner with nothing to do now, if that is about to be: woken
    /// by a timer this process runs at once, and in the middle of others' work it might have to wait.
    pub(super) fn lie_in_wait(&mut self) {
        let now = time::now();
        let Some(due) = self.engine.next_of_idle_owner(now.plus(BEFORE)) else { return };
        if self.rests.begins(now, due, process::made_to_wait) {
            let length = u64::try_from(due.since(now)).unwrap_or(0);
            std::thread::sleep(Duration::from_micros(length));
        }
    }
}
