//! What ties jobs to each other: queues they share, jobs they wait for.
//!
//! Invariant: the engine knows every queue of `cron.queue` by a number that stands for its name as
//! long as this scheduler lives, and for each job with `run_after` the ids those names stand for in
//! the rows as they were read last.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pg_tock_core::engine::{Engine, Occurrence, QueueId, QueueSpec, Settled};
use pg_tock_core::run::Trigger;
use pg_tock_core::time::{JobId, Timestamp};

use super::Scheduler;
use crate::catalog::load::{self, JobRow, Queue};
use crate::pg::txn;

/// Queues by name, and who waits for whom.
#[derive(Debug, Default)]
pub(crate) struct Company {
    queues: HashMap<String, QueueId>,
    /// Queues the engine was told of.
    put: HashSet<QueueId>,
    /// The number of the next queue.
    next: u32,
    after: HashMap<JobId, Arc<[JobId]>>,
    /// Some job may wait for others.
    awaited: bool,
}

impl Company {
    /// The number of a queue.
    pub(crate) fn queue(&mut self, name: &str) -> QueueId {
        if let Some(&id) = self.queues.get(name) {
            return id;
        }
        let id = QueueId(self.next);
        self.next = self.next.wrapping_add(1);
        self.queues.insert(name.to_owned(), id);
        id
    }

    /// For whom a job waits, as far as is known.
    pub(crate) fn after(&self, job: JobId) -> Arc<[JobId]> {
        self.after.get(&job).cloned().unwrap_or_default()
    }

    /// Tells the engine of all queues as they are now.
    pub(super) fn take_queues(&mut self, queues: Vec<Queue>, engine: &mut Engine) {
        let before = std::mem::take(&mut self.put);
        for (name, most, rate) in queues {
            let id = self.queue(&name);
            engine.put_queue(id, spec(most, rate));
            self.put.insert(id);
        }
        for &id in before.difference(&self.put) {
            engine.drop_queue(id);
        }
        // A name that comes back gets a new number; jobs that have it are read again, too.
        self.queues.retain(|_, id| self.put.contains(id));
    }

    /// Notes whether any of these rows waits for others.
    pub(super) fn look(&mut self, rows: &[JobRow]) {
        let waits = |row: &JobRow| row.options.as_deref().is_some_and(|o| o.contains("run_after"));
        self.awaited |= rows.iter().any(waits);
    }

    /// Tells the engine who waits for whom.
    fn take_upstream(&mut self, found: Vec<(i64, Vec<i64>)>, engine: &mut Engine) {
        self.awaited = !found.is_empty();
        let mut before = std::mem::take(&mut self.after);
        for (job, upstream) in found {
            let after: Arc<[JobId]> = upstream.into_iter().map(JobId).collect();
            engine.run_after(JobId(job), &after);
            before.remove(&JobId(job));
            self.after.insert(JobId(job), after);
        }
        for job in before.into_keys() {
            engine.run_after(job, &Arc::default());
        }
    }
}

impl Scheduler {
    /// Reads who waits for whom, if any job does.
    pub(super) fn take_upstream(&mut self) {
        if !self.jobs.company.awaited {
            return;
        }
        match txn::run("reading who waits for whom", load::upstream) {
            Some(Ok(found)) => self.jobs.company.take_upstream(found, &mut self.engine),
            // Until then everybody waits for those he waited for.
            _ => self.database.changes.push_everything(),
        }
    }
}

/// Lets jobs go on that wait for a run: what is not tried again has failed for good.
pub(super) fn settle(engine: &mut Engine, run: &Occurrence, how: Settled) {
    // A run by hand is for no instant of the schedule.
    if !matches!(run.trigger, Trigger::Manual | Trigger::Startup) {
        engine.settled(run.job, run.scheduled_for, how);
    }
}

fn spec(most: Option<i32>, rate: Option<f64>) -> QueueSpec {
    let max_running = most.map(|most| u32::try_from(most).unwrap_or(0));
    #[allow(clippy::cast_precision_loss, reason = "a second has a million microseconds")]
    let second = Timestamp::SECOND as f64;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "far below the largest number, and saturating"
    )]
    let interval = |rate: f64| (second / rate).ceil() as i64;
    let start_interval = rate.filter(|&rate| rate > 0.0).map_or(0, interval);
    QueueSpec { max_running, start_interval }
}
