//! Hands out runs, starts executors and makes room for them.
//!
//! Invariant: when these steps are through, no owner both waits and could be given something, so a
//! second tick at the same instant does nothing.

use super::state::{Phase, Pressure, Rank, Run};
use super::types::{Action, ExecutorId, Occurrence};
use super::{Engine, FEW_PLACES, QUANTUM, RETRY, Totals};
use crate::run::Overlap;

impl Engine {
    /// How many runs there may be with one more of an owner that has `load` of them. Whoever has none finds
    /// places that others do not get, however many runs without end they have.
    pub(super) fn max_running(&self, load: u32) -> u32 {
        let max = self.limits.max_running.max(1);
        max - if load == 0 { 0 } else { self.kept_places() }
    }

    /// How many of the places for runs are kept for owners who have no run at present, also while one of
    /// them waits: for an executor on its way, or in a queue's line, it cannot take its place yet.
    #[must_use]
    pub fn kept_places(&self) -> u32 {
        let max = self.limits.max_running;
        let all_run = self.totals.running_owners >= self.totals.sql_owners;
        if all_run || max < FEW_PLACES { 0 } else { (max / 8).max(1) }
    }

    /// The executor that the run due next will be handed to as things are, if one is idle.
    #[must_use]
    pub fn next_executor(&self) -> Option<ExecutorId> {
        let (_, job) = self.agenda.peek()?;
        self.keys[self.jobs[job].key].idle.last().copied().map(ExecutorId)
    }

    /// Hands due occurrences to idle executors while run slots last.
    pub(super) fn hand_out(&mut self, out: &mut Vec<Action>) {
        while let Some((rank, owner)) = self.ready_owners.peek()
            && self.totals.busy < self.max_running(rank.load)
            && let Some((_, key)) = self.owners[owner].ready.peek()
            && let Some(&executor) = self.keys[key].idle.last()
        {
            if self.must_yield(rank, owner, key, executor) {
                self.retire(executor);
                self.flush(out);
                continue;
            }
            let Some((_, job)) = self.keys[key].jobs.pop(&mut self.places.key_jobs) else { break };
            self.give_place_back(job);
            let Some((occurrence, claim)) = self.begin(job, executor) else {
                // It was closed or paused while it waited, or its queue was filled by others.
                self.refresh_key(key);
                self.enter(job);
                continue;
            };
            out.push(Action::Run { executor: ExecutorId(executor), occurrence, claim });
            self.turn += 1;
            self.owners[owner].turn = self.turn;
            self.owners[owner].served_at = Some(self.now);
            self.keys[key].handed_at = self.now;
            self.become_phase(executor, Phase::Busy(Some(job)));
            // Its runs may overlap.
            self.enter(job);
        }
    }

    /// Takes what a job is to run out of its queue; `None` if nothing of it may start now.
    pub(super) fn begin(&mut self, job: u32, executor: u32) -> Option<(Occurrence, bool)> {
        let record = &self.jobs[job];
        let waiting = *self.next_waiting(record).filter(|_| self.queue_allows(record))?;
        let record = &mut self.jobs[job];
        if !record.queue.remove(&waiting) {
            return None;
        }
        if record.overlap == Overlap::Replace {
            // A row of what is skipped next must not reach over this.
            record.skipped = None;
        }
        record.runs.push(Run { executor, waiting: Some(waiting), cancelled: false });
        self.count_start(job);
        let record = &self.jobs[job];
        self.totals.queued -= 1;
        Some((record.occurrence(waiting), waiting.claim))
    }

    /// Whether an idle executor that has work must leave all the same, because worker slots are
    /// short, another owner without one goes first, and it has had its quantum.
    fn must_yield(&mut self, rank: Rank, owner: u32, key: u32, executor: u32) -> bool {
        let short_of_slots = self.pressure.is_some_and(|pressure| pressure.credits == 0);
        if !short_of_slots || self.totals.leaving >= self.room_needed() {
            return false;
        }
        let Some((want_rank, want_owner)) = self.want_owners.peek() else { return false };
        let Some(((more, want_head), _)) = self.owners[want_owner].want.peek() else {
            return false;
        };
        let before = if want_owner == owner {
            // Two databases of one owner: the oldest due comes first.
            !more && self.keys[key].jobs.peek().is_some_and(|(head, _)| want_head < head)
        } else if more {
            // Whoever has an executor gets another one only if that levels the two owners.
            want_rank.load < rank.load
        } else {
            want_rank < rank
        };
        let record = &mut self.executors[executor];
        if self.now.since(record.quantum_from) < QUANTUM {
            return false;
        }
        if !before {
            record.quantum_from = self.now;
        }
        before
    }

    /// Asks for executors, in the order of the owners' ranks.
    pub(super) fn start_executors(&mut self, out: &mut Vec<Action>) {
        if let Some(pressure) = &mut self.pressure
            && pressure.credits == 0
            && pressure.retry_at <= self.now
        {
            pressure.credits = 1;
            pressure.retry_at = self.now.plus(RETRY);
        }
        while let Some((rank, owner)) = self.want_owners.peek()
            && self.may_start(rank)
            && let Some((_, key)) = self.owners[owner].want.peek()
        {
            let kept = self.is_kept(rank);
            match &mut self.pressure {
                Some(pressure) if pressure.reserved && !kept => self.pressure = None,
                Some(pressure) if pressure.credits == 0 => return,
                Some(_) | None if kept => {
                    let retry_at = self.now.plus(RETRY);
                    let fresh = true;
                    self.pressure = Some(Pressure { retry_at, credits: 0, fresh, reserved: true });
                    return;
                }
                Some(pressure) => pressure.credits -= 1,
                None => {}
            }
            self.ask(key);
            out.push(Action::StartExecutor { key: self.keys[key].key });
        }
        if self.want_owners.is_empty() {
            self.pressure = None;
        }
    }

    /// Whether the worker slots that are left are kept from the owner of this rank, who has an
    /// executor already.
    fn is_kept(&self, rank: Rank) -> bool {
        if rank.load == 0 || self.slots < FEW_PLACES {
            return false;
        }
        let Totals { busy, idle, starting, leaving, .. } = self.totals;
        let reserve = (self.slots / 8).max(1);
        busy + idle + starting + leaving + reserve >= self.slots
    }

    /// Whether an executor for the owner of this rank would get a run slot soon.
    ///
    /// With run slots free it would get one at once. With none free it may come up in advance if
    /// its owner has less than its share of them, or the owner would never be ready when one gets
    /// free and those who are ready would take it each time. At most `max_running` executors are
    /// prepared that way.
    fn may_start(&self, rank: Rank) -> bool {
        let max = self.max_running(rank.load);
        if self.totals.busy.saturating_add(self.totals.starting) < max {
            return true;
        }
        let share = (max / self.totals.active_owners.max(1)).max(1);
        rank.load < share && self.totals.starting + self.totals.ready_keys < max
    }

    /// How many executors should be leaving to make room for those that are wanted.
    fn room_needed(&self) -> u32 {
        match self.want_owners.peek() {
            Some((rank, _)) if self.may_start(rank) => {
                let max = self.max_running(rank.load);
                let open = max.saturating_sub(self.totals.busy).max(1);
                self.totals.bare_keys.clamp(1, open)
            }
            _ => 0,
        }
    }

    /// Retires executors that do nothing when worker slots are short.
    ///
    /// For a key without an executor any will do. For one that only wants more, an executor that
    /// has been idle for as long as we would wait to ask again, and only when it was just refused:
    /// nothing may become possible by the mere passing of time that `next_wake` does not name.
    pub(super) fn make_room(&mut self, out: &mut Vec<Action>) {
        let Some(pressure) = &mut self.pressure else { return };
        let fresh = std::mem::take(&mut pressure.fresh);
        if pressure.credits > 0 {
            return;
        }
        while self.totals.leaving < self.room_needed()
            && let Some(victim) = self.longest_idle()
        {
            let idle_for = self.now.since(self.executors[victim].idle_since);
            if self.totals.bare_keys == 0 && (!fresh || idle_for < RETRY) {
                return;
            }
            self.retire(victim);
            self.flush(out);
        }
    }

    /// The executor that has been idle for longest at a key where nothing waits.
    fn longest_idle(&self) -> Option<u32> {
        self.executors
            .ids()
            .filter(|&id| self.executors[id].phase == Phase::Idle)
            .filter(|&id| self.keys[self.executors[id].key].jobs.is_empty())
            .min_by_key(|&id| self.executors[id].idle_turn)
    }

    /// Retires executors that are idle for too long or too old. One that only waits for a run slot
    /// is not idle for want of work; it stays, and wakes nobody until nothing waits any more.
    pub(super) fn expire(&mut self, out: &mut Vec<Action>) {
        while let Some((at, executor)) = self.expiry.peek()
            && at <= self.now
        {
            let key = &mut self.keys[self.executors[executor].key];
            if key.jobs.is_empty() {
                self.retire(executor);
                self.flush(out);
            } else {
                key.expiry_held = true;
                self.expiry.remove(&mut self.places.expiry, executor);
            }
        }
    }
}
