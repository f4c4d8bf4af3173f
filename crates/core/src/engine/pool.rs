//! Executors, from being asked for to being gone.
//!
//! Invariant: every executor in a phase is counted exactly once, in its key, its owner and the
//! totals, by `count`; every change of phase goes through `become_phase`, which takes the old count
//! back first. A `StartExecutor` not answered yet counts as one that is starting.

use super::state::{Executor, Phase, Pressure, Run};
use super::types::{Action, ExecutorId, PoolKey};
use super::{Engine, FAILED_AT_ONCE, RETRY};
use crate::time::{JobId, Timestamp};

impl Engine {
    /// Answer to `StartExecutor`: `id` is on its way up.
    pub fn executor_starting(&mut self, key: PoolKey, id: ExecutorId, now: Timestamp) {
        self.hear(now);
        if id.0 > ExecutorId::MAX {
            return;
        }
        self.vacate(id, now);
        let number = self.key_for(key);
        self.install(id, number, now);
        self.become_phase(id.0, Phase::Starting);
        self.answer(number);
        if let Some(pressure) = &mut self.pressure {
            // There was a slot; there may be another.
            pressure.credits = pressure.credits.max(1);
        }
    }

    /// Answer to `StartExecutor`: no worker slot is free.
    pub fn executor_refused(&mut self, key: PoolKey, now: Timestamp) {
        self.hear(now);
        let retry_at = self.now.plus(RETRY);
        self.pressure = Some(Pressure { retry_at, credits: 0, fresh: true, reserved: false });
        if let Some(&number) = self.key_ids.get(&key) {
            self.answer(number);
        }
    }

    /// Somebody other than an executor has given a worker slot back.
    pub fn slot_freed(&mut self, now: Timestamp) {
        self.hear(now);
        if let Some(pressure) = &mut self.pressure {
            pressure.credits = pressure.credits.max(1);
        }
    }

    /// The executor has logged in and takes work.
    pub fn executor_ready(&mut self, id: ExecutorId, now: Timestamp) {
        self.hear(now);
        let Some(record) = self.executors.lookup_mut(id.0) else { return };
        if record.phase != Phase::Starting {
            return;
        }
        record.born = self.now;
        record.quantum_from = self.now;
        self.rest(id.0);
    }

    /// The executor died before it was ready. When no other executor of its key lives or is on its
    /// way, everything that waits for one becomes `Fail` in the next ticks. The key starts no
    /// more for a second: a start costs more than a run. An executor that was to be retired anyway fails nobody.
    pub fn executor_start_failed(&mut self, id: ExecutorId, now: Timestamp) {
        self.hear(now);
        let Some(record) = self.executors.lookup(id.0) else { return };
        if record.phase != Phase::Starting {
            return self.executor_gone(id, now);
        }
        let (key, last) = (record.key, record.last);
        // Keep the key while its occurrences are failed.
        self.keys[key].refs += 1;
        self.remove_executor(id.0);
        self.keys[key].no_growth_before = Some(self.now.plus(RETRY));
        if self.keys[key].live + self.keys[key].starting > 0 {
            self.refresh_key(key);
        } else if !last {
            self.fail_waiting(key);
        }
        self.release_key(key);
    }

    /// The executor has exited. If it ran something, that run is over.
    pub fn executor_gone(&mut self, id: ExecutorId, now: Timestamp) {
        self.hear(now);
        if self.end_send(id) {
            return;
        }
        match self.executors.lookup(id.0).map(|record| record.phase) {
            None | Some(Phase::Absent) => {}
            Some(Phase::Starting) => self.executor_start_failed(id, now),
            Some(_) => self.remove_executor(id.0),
        }
    }

    /// The executor's run is over; it takes the next one. Or an HTTP request is over.
    pub fn run_finished(&mut self, id: ExecutorId, now: Timestamp) {
        self.hear(now);
        if !self.end_send(id)
            && let Some(record) = self.executors.lookup(id.0)
            && matches!(record.phase, Phase::Busy(_))
        {
            self.rest(id.0);
        }
    }

    /// Tells how long the run an executor is about to finish took, in microseconds. Keys whose runs
    /// are very short get no more executors than there are cores, see [`Self::set_cores`].
    pub fn observe_run(&mut self, id: ExecutorId, took: i64) {
        if let Some(record) = self.executors.lookup(id.0)
            && matches!(record.phase, Phase::Busy(_))
        {
            let key = record.key;
            let key = &mut self.keys[key];
            let took = took.clamp(1, Timestamp::SECOND) * 16;
            key.mean_run += (took - key.mean_run) / if key.mean_run == 0 { 1 } else { 4 };
        }
    }

    /// Retires the executors whose key the caller picks (a role or database was altered): idle ones
    /// at once, others after their run. They count as gone for starting new ones.
    pub fn retire_where(&mut self, pick: impl Fn(&PoolKey) -> bool) {
        self.dirty = true;
        for id in self.executors.ids() {
            let record = &self.executors[id];
            if record.phase.is_absent() || record.last || !pick(&self.keys[record.key].key) {
                continue;
            }
            let phase = record.phase;
            if phase == Phase::Idle {
                self.retire(id);
            } else if phase != Phase::Leaving {
                self.uncount(id);
                self.executors[id].last = true;
                self.count(id);
                self.refresh_key(self.executors[id].key);
            }
        }
    }

    /// A run that an earlier scheduler handed out is still going on: `job` counts as running. The
    /// executor takes no more work and leaves by itself, which `executor_gone` ends. The job need
    /// not have been put yet.
    pub fn adopt(&mut self, id: ExecutorId, key: PoolKey, job: JobId, now: Timestamp) {
        self.hear(now);
        if id.0 > ExecutorId::MAX {
            return;
        }
        self.vacate(id, now);
        let key = self.key_for(key);
        self.install(id, key, now);
        let number = match self.job_ids.get(&job) {
            Some(&number) => number,
            None => self.add_job(job, key),
        };
        self.leave(number);
        self.jobs[number].runs.push(Run { executor: id.0, waiting: None, cancelled: false });
        self.count_start(number);
        let record = &mut self.executors[id.0];
        (record.last, record.adopted) = (true, true);
        self.become_phase(id.0, Phase::Busy(Some(number)));
        self.inbox.push(number);
    }

    /// Ends an executor the edge forgot to report gone, whose slot it uses again.
    fn vacate(&mut self, id: ExecutorId, now: Timestamp) {
        self.executor_gone(id, now);
        self.executors.reach(id.0);
    }

    fn install(&mut self, id: ExecutorId, key: u32, now: Timestamp) {
        self.keys[key].refs += 1;
        let now = self.now.max(now);
        self.executors[id.0] =
            Executor { key, born: now, quantum_from: now, idle_since: now, ..Executor::default() };
    }

    /// Notes that a question is asked.
    pub(super) fn ask(&mut self, key: u32) {
        let record = &mut self.keys[key];
        record.asked += 1;
        record.starting += 1;
        record.refs += 1;
        self.owners[record.owner].starting += 1;
        self.totals.starting += 1;
        self.refresh_key(key);
    }

    /// Notes that a question is answered, if one was asked.
    fn answer(&mut self, key: u32) {
        let record = &mut self.keys[key];
        if record.asked == 0 {
            return;
        }
        record.asked -= 1;
        record.starting -= 1;
        self.owners[record.owner].starting -= 1;
        self.totals.starting -= 1;
        self.refresh_key(key);
        self.release_key(key);
    }

    /// After a run or its start an executor waits for work, or leaves.
    pub(super) fn rest(&mut self, id: u32) {
        self.end_run(id);
        let record = &self.executors[id];
        let old = self.limits.max_age > 0 && self.now.since(record.born) >= self.limits.max_age;
        if record.adopted {
            self.become_phase(id, Phase::Leaving);
        } else if record.last || old {
            self.retire(id);
        } else {
            self.turn += 1;
            let record = &mut self.executors[id];
            record.idle_since = self.now;
            record.idle_turn = self.turn;
            self.become_phase(id, Phase::Idle);
        }
    }

    /// Tells an executor to leave, at the next tick.
    pub(super) fn retire(&mut self, id: u32) {
        self.become_phase(id, Phase::Leaving);
        self.outbox.push(Action::Retire { executor: ExecutorId(id) });
    }

    /// Empties a slot and gives back what its executor held.
    fn remove_executor(&mut self, id: u32) {
        self.end_run(id);
        let key = self.executors[id].key;
        self.become_phase(id, Phase::Absent);
        self.release_key(key);
        if let Some(pressure) = &mut self.pressure {
            pressure.credits = pressure.credits.saturating_add(1);
        }
    }

    /// Frees the job of a busy executor, which stays busy until its phase changes.
    fn end_run(&mut self, id: u32) {
        let Phase::Busy(Some(job)) = self.executors[id].phase else { return };
        self.leave_run(id);
        self.run_over(job, id);
    }

    /// A busy executor has no run any more.
    pub(super) fn leave_run(&mut self, id: u32) {
        let owner = self.keys[self.executors[id].key].owner;
        self.owners[owner].served_at = Some(self.now);
        self.become_phase(id, Phase::Busy(None));
    }

    /// A run of a job is over.
    pub(super) fn run_over(&mut self, job: u32, id: u32) {
        self.jobs[job].runs.remove(id);
        self.count_end(job);
        self.note_moved(job);
        self.after_end(job);
        self.enter(job);
        self.forget_if_over(job);
    }

    /// A job that counts from the end of its runs counts from now.
    pub(super) fn after_end(&mut self, job: u32) {
        if self.jobs[job].rare().base.is_some() {
            self.jobs[job].rare_mut().base = Some(self.now);
            self.plan(job);
        }
    }

    /// Nothing that waits at a key now can run: the next ticks say so for each occurrence, some at a
    /// time, so that nobody else's run waits behind one owner's thousands.
    fn fail_waiting(&mut self, key: u32) {
        let record = &mut self.keys[key];
        if record.failing == 0 {
            record.refs += 1;
            self.failing.push(key);
        }
        record.failing = record.jobs.len();
        self.refresh_key(key);
    }

    /// Fails some of what waits at keys where it cannot run.
    pub(super) fn fail_some(&mut self) {
        let mut failed = 0;
        while failed < FAILED_AT_ONCE
            && let Some(&key) = self.failing.last()
        {
            match self.fail_first(key) {
                Some(occurrences) => failed += occurrences,
                None => {
                    self.failing.pop();
                    self.keys[key].failing = 0;
                    self.refresh_key(key);
                    self.release_key(key);
                }
            }
        }
        self.dirty |= !self.failing.is_empty();
    }

    /// Fails what waits of the first job that does: how many occurrences. `None` when none is left
    /// of those that waited when the start failed.
    fn fail_first(&mut self, key: u32) -> Option<usize> {
        let record = &mut self.keys[key];
        record.failing = record.failing.checked_sub(1)?;
        let pool_key = record.key;
        let (_, job) = record.jobs.pop(&mut self.places.key_jobs)?;
        self.give_place_back(job);
        let mut failed = 0;
        // What a pause or a window holds back has not failed: it may start later.
        while let Some(&waiting) = self.next_waiting(&self.jobs[job]) {
            let record = &mut self.jobs[job];
            record.queue.remove(&waiting);
            record.skipped = None;
            let occurrence = record.occurrence(waiting);
            self.outbox.push(Action::Fail { occurrence, key: pool_key });
            self.totals.queued -= 1;
            failed += 1;
        }
        self.note_moved(job);
        self.after_end(job);
        // A backlog may have more.
        self.inbox.push(job);
        Some(failed)
    }

    /// The only way from one phase to another.
    pub(super) fn become_phase(&mut self, id: u32, phase: Phase) {
        self.uncount(id);
        self.executors[id].phase = phase;
        self.count(id);
        self.refresh_key(self.executors[id].key);
        self.plan_expiry(id);
    }

    fn count(&mut self, id: u32) {
        let record = &self.executors[id];
        let (phase, number, further) = (record.phase, record.key, u32::from(!record.last));
        let key = &mut self.keys[number];
        let owner = &mut self.owners[key.owner];
        match phase {
            Phase::Absent => {}
            Phase::Starting => {
                key.starting += further;
                owner.starting += further;
                self.totals.starting += 1;
            }
            Phase::Idle => {
                key.idle.push(id);
                key.live += 1;
                self.totals.idle += 1;
            }
            Phase::Busy(_) => {
                key.live += further;
                owner.running += 1;
                self.totals.running_owners += u32::from(owner.running == 1);
                self.totals.busy += 1;
            }
            Phase::Leaving => self.totals.leaving += 1,
        }
    }

    fn uncount(&mut self, id: u32) {
        let record = &self.executors[id];
        let (phase, number, further) = (record.phase, record.key, u32::from(!record.last));
        let key = &mut self.keys[number];
        let owner = &mut self.owners[key.owner];
        match phase {
            Phase::Absent => {}
            Phase::Starting => {
                key.starting -= further;
                owner.starting -= further;
                self.totals.starting -= 1;
            }
            Phase::Idle => {
                if let Some(at) = key.idle.iter().rposition(|&idle| idle == id) {
                    key.idle.remove(at);
                }
                key.live -= 1;
                self.totals.idle -= 1;
            }
            Phase::Busy(_) => {
                key.live -= further;
                owner.running -= 1;
                self.totals.running_owners -= u32::from(owner.running == 0);
                self.totals.busy -= 1;
            }
            Phase::Leaving => self.totals.leaving -= 1,
        }
    }

    /// Notes when an idle executor has to leave.
    pub(super) fn plan_expiry(&mut self, id: u32) {
        let record = &self.executors[id];
        let at = |limit: i64, from: Timestamp| (limit > 0).then(|| from.plus(limit));
        let by_idleness = at(self.limits.idle_timeout, record.idle_since);
        let by_age = at(self.limits.max_age, record.born);
        match [by_idleness, by_age].into_iter().flatten().min() {
            Some(at) if record.phase == Phase::Idle => {
                self.expiry.set(&mut self.places.expiry, id, at);
            }
            _ => {
                self.expiry.remove(&mut self.places.expiry, id);
            }
        }
    }
}
