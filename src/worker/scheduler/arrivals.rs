//! Executors that do not arrive, and what becomes of those who wait for them.
//!
//! Owns one invariant: nobody's run fails because somebody ended a process that was to serve it, unless
//! that happens again and again.

use std::rc::Rc;

use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::run::Outcome;
use pg_tock_core::time::Timestamp;

use super::Scheduler;
use super::pool::Current;
use super::runs::End;
use super::watch::Watched;

/// So many executors of a key may be ended on their way, one after another, before those who wait fail.
const CUT_OFF: u32 = 10;

impl Scheduler {
    /// An executor did not get as far as being ready.
    pub(super) fn start_failed(&mut self, id: ExecutorId, now: Timestamp) {
        let Some(executor) = self.executors.remove(&id) else { return };
        let (key, words) = (executor.key, executor.slot.last_words());
        executor.slot.free();
        // Ended by a signal, maybe before it could say a word: that says nothing about role or database.
        if words.as_ref().is_none_or(|(sqlstate, _)| sqlstate == b"57P01") {
            let times = self.cut_off.entry(key).or_insert(0);
            *times += 1;
            if *times <= CUT_OFF {
                // As if it had been ready and left, which makes room for another.
                self.engine.executor_ready(id, now);
                self.engine.executor_gone(id, now);
                return;
            }
        }
        self.cut_off.remove(&key);
        let refusal = words.unwrap_or_else(|| {
            (*b"58000", "executor could not be started; see the server log".to_owned())
        });
        self.refusals.insert(key, refusal);
        self.engine.executor_start_failed(id, now);
    }

    /// A run that could not even start.
    pub(super) fn fail(&mut self, occurrence: Occurrence, key: PoolKey, now: Timestamp) {
        let Some(job) = self.jobs.get(occurrence.job).map(Rc::clone) else { return };
        if occurrence.run.is_some_and(|run| self.is_taken_back(run)) {
            return;
        }
        let Some(run) = occurrence.run.or_else(|| self.records.next_id()) else {
            // No row can be written for it now: it goes on waiting. Whether it was to be claimed is not
            // known any more.
            self.engine.put_back(occurrence, true);
            self.rest(occurrence.job, now);
            return;
        };
        let (sqlstate, words) = self
            .refusals
            .get(&key)
            .cloned()
            .unwrap_or((*b"58000", "executor could not be started".to_owned()));
        let words = if key.database == 0 {
            format!("database \"{}\" does not exist", job.database.to_string_lossy())
        } else {
            words
        };
        let end = End {
            sqlstate: Some(sqlstate),
            reason: Some(b"executor could not start".to_vec()),
            ..End::not_begun(Outcome::Failed, format!("FATAL:  {words}\n"), now)
        };
        let handed_at = now;
        let job = self.retries.as_asked(Some(run), job);
        let current = Current {
            occurrence,
            run,
            job,
            handed_at,
            claim: false,
            local: false,
            record_at: None,
            extension: self.extension,
            requested_by: self.asked.by(run),
            watched: Watched::default(),
            dry: self.asked.is_dry(run),
            asks: false,
        };
        self.account(&current, 0, end, now);
    }
}
