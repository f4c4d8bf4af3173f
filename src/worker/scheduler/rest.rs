//! Resting before something is due, on a machine with more work than it can do.

use std::time::Duration;

use super::Scheduler;
use crate::pg::time;

impl Scheduler {
    /// Before more of what can wait is done: starts what has become due, and on a crowded machine also
    /// what is about to be. So nobody waits for the whole of a turn.
    pub(super) fn make_way(&mut self) {
        self.lie_in_wait();
        let now = time::now();
        if self.engine.next_wake().is_some_and(|at| at <= now) {
            self.do_due(now);
        }
    }

    /// Sleeps until something is due for an owner with nothing to do now, if that is about to be: woken
    /// by a timer this process runs at once, and in the middle of others' work it might have to wait.
    fn lie_in_wait(&mut self) {
        let due = |until| self.engine.next_of_idle_owner(until);
        let Some(length) = self.rests.length(time::now(), || self.crowd.waited(), due) else {
            return;
        };
        std::thread::sleep(Duration::from_micros(length.unsigned_abs()));
    }
}
