//! The end of a scheduler, and of the runs it leaves behind.
//!
//! Invariant: a run that is cut off by a stop of the server is `crashed`, and says so in the same words,
//! whichever process ends first. So a scheduler that goes because the server does sees its runs end;
//! what it does not get to, the next one closes, in `catalog::run`.

use pg_tock_core::run::Outcome;
use pg_tock_core::time::Timestamp;

use super::Scheduler;
use super::runs::End;
use crate::catalog::state;
use crate::pg::wait::Alarm;
use crate::pg::{process, shutdown, time, txn};

/// How long runs may take to end. Those that need longer have their `running` rows by then.
const PATIENCE: i64 = 10 * Timestamp::SECOND;

/// How often to look, should nobody wake this process.
const LOOK: i64 = Timestamp::SECOND / 10;

impl Scheduler {
    /// Lets go of the database: executors leave after the run they have, what waits is written.
    pub(super) fn leave(&mut self, alarm: &mut Alarm) {
        for executor in self.executors.values() {
            executor.slot.ask_to_retire();
        }
        // Whoever drops the database does not wait for that.
        if shutdown::is_under_way() && !self.database.must_leave() {
            self.see_runs_end(alarm);
        }
        self.look_after_http();
        self.conclude(time::now());
        self.conclude_http(time::now());
        // What is not counted yet has its rows: the next scheduler counts it.
        if self.installed && (self.flush_everything() || self.records.waits_for_earlier()) {
            let now = time::now();
            txn::run("leaving", || state::leave(now));
        }
    }

    /// The server stops, and ends all runs: takes down how they do. Nothing else is begun.
    fn see_runs_end(&mut self, alarm: &mut Alarm) {
        let until = time::monotonic().saturating_add(PATIENCE);
        loop {
            self.look_after_executors();
            self.look_after_http();
            let now = time::now();
            self.conclude(now);
            self.conclude_http(now);
            if self.installed {
                self.record_long_runs(now);
            }
            if self.currents().next().is_none() || time::monotonic() >= until {
                return;
            }
            alarm.sleep(Some(now.plus(LOOK)));
            process::check_interrupts();
        }
    }
}

impl End {
    /// A run whose process is gone. If nobody wanted that but the server, which stops, it says so.
    pub(super) fn unless_stopped(mut self) -> Self {
        if shutdown::is_under_way() {
            self.outcome = Outcome::Crashed;
            shutdown::WORDS.clone_into(&mut self.message);
            self.reason = Some(shutdown::WORDS.as_bytes().to_vec());
            self.sqlstate = None;
            self.error = None;
        }
        self
    }
}
