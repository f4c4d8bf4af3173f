//! What is due comes first, also on a machine with more work than it can do; and on one with little this process
//! is awake by then.

use std::time::Duration;

use pg_tock_core::rest;
use pg_tock_core::time::Timestamp;

use super::Scheduler;
use crate::pg::time;
use crate::pg::wait::{Alarm, wait_out};

/// How long before what is awaited the news is read, in microseconds: longer than that takes, as a rule.
const NEWS: i64 = 8_000;

/// No rest is longer.
const BEFORE: u64 = rest::BEFORE.unsigned_abs();

impl Scheduler {
    /// Before a longer piece of a turn, on a crowded machine: starts what has become due, or is about to
    /// be. What has changed since the turn began is not known yet; it takes effect with the next one.
    pub(super) fn make_way(&mut self) {
        if !self.is_crowded() {
            return;
        }
        if self.awaits_something() {
            self.rest_until(0);
            self.awaited = None;
        }
        let now = time::now();
        if self.engine.is_due(now) {
            self.do_due(now);
            self.send_requests(now);
            if self.installed {
                // Skips are written with the cursors that have passed them.
                self.note_moves();
            }
        }
    }

    /// Whether this process has to wait for a core.
    pub(super) fn is_crowded(&mut self) -> bool {
        self.rests.is_crowded(time::now(), || self.crowd.waited())
    }

    /// Whether something is about to be due for an owner with nothing to do, on a crowded machine. Then
    /// there is a rest before it.
    fn awaits_something(&mut self) -> bool {
        if self.awaited.is_none() {
            let now = time::now();
            let due = |until| self.engine.next_of_idle_owner(until);
            let length = self.rests.length(now, || self.crowd.waited(), due);
            self.awaited = length.map(|length| now.plus(length));
        }
        self.awaited.is_some()
    }

    /// Sleeps until something is due, if it is awaited: woken by a timer this process runs at once, and in
    /// the middle of others' work it might have to wait. What has changed is read shortly before.
    pub(super) fn take_news_and_rest(&mut self) {
        if self.awaits_something() {
            self.rest_until(NEWS);
        }
        self.take_news();
        if self.awaited.is_some() {
            self.rest_until(0);
        }
        self.awaited = None;
    }

    /// Sleeps until so many microseconds before what is awaited.
    fn rest_until(&self, before: i64) {
        let Some(due) = self.awaited else { return };
        let length = due.since(time::now()).saturating_sub(before);
        // A clock that was set back since makes it no longer.
        if let Ok(length @ 1..=BEFORE) = u64::try_from(length) {
            std::thread::sleep(Duration::from_micros(length));
        }
    }

    /// Starts what is about to be due at that instant. Who runs it is woken before, and awake by then.
    pub(super) fn be_punctual(&mut self, due: Timestamp) {
        if let Some(executor) = self.engine.next_executor().and_then(|id| self.executors.get(&id)) {
            executor.slot.wake();
        }
        wait_out(due);
        self.take_news();
        self.do_due(time::now());
        // It may have been woken on this core.
        std::thread::yield_now();
    }

    /// Sleeps until there is something to do.
    pub(super) fn sleep(&mut self, alarm: &mut Alarm, next: Option<Timestamp>) {
        let due = self.engine.next_wake().filter(|due| Some(*due) == next);
        match due.filter(|_| !self.is_crowded()) {
            Some(due) => alarm.sleep_lightly(due),
            None => alarm.sleep(next),
        }
    }
}
