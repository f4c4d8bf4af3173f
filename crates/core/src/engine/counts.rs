//! Figures for those who want to know how the engine is doing.

use super::send::Send;
use super::state::Phase;
use super::types::{Counts, Load};
use super::{Engine, Totals};
use crate::time::Timestamp;

impl Engine {
    /// Figures for health checks; O(waiting jobs + databases x roles + executors).
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            jobs: self.job_ids.len() - self.dropped_running() - self.dropped_sending(),
            waiting: self.totals.queued,
            running: self.totals.busy,
            sending: self.totals.sent,
            idle: self.totals.idle,
            starting: self.totals.starting,
            leaving: self.totals.leaving,
            oldest_waiting: self.oldest_waiting(),
            oldest_due: self.oldest_due(),
            short_of_slots: self.is_short_of_slots(),
        }
    }

    /// Those figures that cost nothing to have.
    #[must_use]
    pub fn load(&self) -> Load {
        let Totals { queued, busy, idle, starting, leaving, .. } = self.totals;
        Load {
            waiting: queued,
            executors: busy + idle + starting + leaving,
            short_of_slots: self.is_short_of_slots(),
            kept_places: self.kept_places(),
        }
    }

    /// The earliest instant among the occurrences that wait for a run slot or an executor only. Looks
    /// at all jobs that wait.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Timestamp> {
        let heads = self.keys.iter().flat_map(|key| key.jobs.keys());
        heads.map(|head| head.since).min()
    }

    /// The same, and among those that wait for the end of a run of their own job. Looks at all that
    /// runs as well.
    #[must_use]
    pub fn oldest_due(&self) -> Option<Timestamp> {
        let sent = self.sends.iter().filter_map(Send::job);
        let run = self.executors.iter().filter_map(|executor| match executor.phase {
            Phase::Busy(job) => job,
            _ => None,
        });
        let behind = run.chain(sent).filter_map(|job| self.jobs[job].queue.ready_since());
        behind.chain(self.oldest_waiting()).min()
    }

    /// Whether runs wait for a worker slot, and none was free when one was asked for last.
    fn is_short_of_slots(&self) -> bool {
        self.pressure.is_some() && !self.want_owners.is_empty()
    }

    /// Jobs that are known only because their run has not ended.
    fn dropped_running(&self) -> usize {
        let dropped = |&id: &u32| match self.executors[id].phase {
            Phase::Busy(Some(job)) => {
                let job = &self.jobs[job];
                // Each is counted with the first of its runs.
                job.dropped && job.runs.iter().next().is_some_and(|run| run.executor == id)
            }
            _ => false,
        };
        self.executors.ids().filter(dropped).count()
    }
}
