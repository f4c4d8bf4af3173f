//! Runs that take no executor: requests that another process sends.
//!
//! Invariant: at most `http_max_requests` of them are under way, each under a number of its own that
//! is no executor's; they count neither in `max_running` nor among an owner's runs, and take no
//! worker slot. Owners share them as they share run slots: the one with the fewest is next, among
//! those the one that has waited longest.

use super::Engine;
use super::state::{Phase, Rank, Run};
use super::types::{Action, ExecutorId, PoolKey};
use crate::time::{JobId, Timestamp};

/// From here on numbers are not of executors.
const SENDS: u32 = ExecutorId::MAX + 1;

/// A request under way.
#[derive(Debug, Default)]
pub(super) struct Send {
    /// Whether it is one: a freed number stands for none.
    present: bool,
    key: u32,
    /// Its job, until its run is over.
    job: Option<u32>,
}

impl Send {
    pub(super) const fn job(&self) -> Option<u32> {
        self.job
    }
}

impl Engine {
    /// A request that an earlier scheduler handed out is still under way: `job` counts as running.
    /// Ended by `run_finished` with the number that is returned. The job need not have been put yet.
    pub fn adopt_send(&mut self, key: PoolKey, job: JobId, now: Timestamp) -> ExecutorId {
        self.hear(now);
        let key = self.key_for(key);
        let number = match self.job_ids.get(&job) {
            Some(&number) => number,
            None => self.add_job(job, key),
        };
        self.leave(number);
        let id = self.open_send(key, number);
        self.jobs[number].runs.push(Run { executor: id, waiting: None, cancelled: false });
        self.count_start(number);
        self.inbox.push(number);
        ExecutorId(id)
    }

    /// The run of an executor goes on as a request, now that its condition is met: it stays the run it
    /// is, and may still have to wait again. The executor takes the next one. `None` if it has no run.
    pub fn send_instead(
        &mut self,
        id: ExecutorId,
        key: PoolKey,
        now: Timestamp,
    ) -> Option<ExecutorId> {
        self.hear(now);
        let Some(Phase::Busy(Some(job))) = self.executors.lookup(id.0).map(|record| record.phase)
        else {
            return None;
        };
        let key = self.key_for(key);
        let send = self.open_send(key, job);
        if let Some(run) = self.jobs[job].runs.of(id.0) {
            run.executor = send;
        }
        self.leave_run(id.0);
        self.rest(id.0);
        Some(ExecutorId(send))
    }

    /// Hands out requests while there are places for them.
    pub(super) fn send_due(&mut self, out: &mut Vec<Action>) {
        while self.totals.sent < self.limits.http_max_requests.max(1)
            && let Some((_, key)) = self.http_keys.peek()
            && let Some((_, number)) = self.keys[key].jobs.pop(&mut self.places.key_jobs)
        {
            self.give_place_back(number);
            let id = self.open_send(key, number);
            if let Some((occurrence, _)) = self.begin(number, id) {
                let job = occurrence.job;
                out.push(Action::Send { executor: ExecutorId(id), job, occurrence, claim: true });
            } else {
                // It was closed or paused while it waited, or its queue was filled by others.
                self.close_send(id);
            }
            self.enter(number);
        }
    }

    /// The job of a request under way; `None` if the number is none's.
    pub(super) fn job_of_send(&self, id: ExecutorId) -> Option<u32> {
        self.sends.lookup(id.0.checked_sub(SENDS)?)?.job
    }

    /// The job of a request waits again, or is done with.
    pub(super) fn part_send(&mut self, id: u32) -> bool {
        let send = id.checked_sub(SENDS).and_then(|id| self.sends.lookup_mut(id));
        send.is_some_and(|send| send.job.take().is_some())
    }

    /// A request is over; false if the number is none's.
    pub(super) fn end_send(&mut self, id: ExecutorId) -> bool {
        if id.0 < SENDS {
            return false;
        }
        if let Some(job) = self.job_of_send(id) {
            self.part_send(id.0);
            self.run_over(job, id.0);
        }
        self.close_send(id.0);
        true
    }

    /// Jobs that are known only because a request of theirs has not ended.
    pub(super) fn dropped_sending(&self) -> usize {
        let dropped = |&id: &u32| {
            self.sends[id].job.is_some_and(|job| {
                let job = &self.jobs[job];
                let first = job.runs.iter().next();
                job.dropped && first.is_some_and(|run| run.executor == SENDS + id)
            })
        };
        self.sends.ids().filter(dropped).count()
    }

    /// Puts a key of requests where it belongs.
    pub(super) fn refresh_http(&mut self, number: u32) {
        let key = &self.keys[number];
        match key.jobs.peek() {
            Some((head, _)) => {
                let since = key.handed_at.max(head.since);
                let rank = Rank { load: key.live, since, turn: key.turn, role: key.key.role };
                self.http_keys.set(&mut self.places.http_keys, number, rank);
            }
            None => {
                self.http_keys.remove(&mut self.places.http_keys, number);
            }
        }
    }

    fn open_send(&mut self, key: u32, job: u32) -> u32 {
        let id = SENDS + self.sends.insert(Send { present: true, key, job: Some(job) });
        self.turn += 1;
        self.totals.sent += 1;
        let record = &mut self.keys[key];
        (record.live, record.refs) = (record.live + 1, record.refs + 1);
        (record.turn, record.handed_at) = (self.turn, self.now);
        self.refresh_key(key);
        id
    }

    fn close_send(&mut self, id: u32) {
        let Some(number) = id.checked_sub(SENDS) else { return };
        let Some(&Send { present: true, key, .. }) = self.sends.lookup(number) else { return };
        self.sends.remove(number);
        self.totals.sent -= 1;
        self.keys[key].live -= 1;
        self.refresh_key(key);
        self.release_key(key);
    }
}
