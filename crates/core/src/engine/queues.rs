//! Queues that jobs share: how many of their runs there may be, and how close together they start.
//!
//! Invariant: a job of a queue stands in its key's heap only while it has one of the queue's
//! places, which goes over to its run and is given back when that has ended; so the runs of a queue
//! are never more than its places, whatever is due. A job without a place waits in its owner's line
//! (`lines`), and owners take turns: whoever has the fewest of the places is next, among those the one
//! that has waited longest. Nobody keeps a place he cannot use from somebody who can: an owner who
//! may have no further run is passed over, and a place whose job cannot begin, or has not for a
//! second, is passed on. With an interval only one job has a place without running, and gets it no
//! sooner than the interval after the last start.

use std::collections::{BTreeMap, BTreeSet};

use super::heap::Heap;
use super::rules::{QueueId, QueueSpec};
use super::state::{EVER, Job, Rank};
use super::{Engine, RETRY};
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Queue {
    id: Option<QueueId>,
    /// The caller has said what it is.
    put: bool,
    spec: QueueSpec,
    /// How often queues had been doubted when that was said.
    known_at: u64,
    /// Its place among the unknown ones that somebody waits for.
    asked: Option<u64>,
    /// Jobs that name it.
    pub(super) refs: u32,
    pub(super) running: u32,
    /// Jobs that have a place and do not run, in the order in which they got it.
    standing: Heap<u64>,
    /// Lines with a job that waits for a place, by whose turn it is.
    pub(super) waiting: BTreeSet<(Rank, u32)>,
    started_at: Option<Timestamp>,
}

/// What there is to do about queues.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How often they have changed without it being known which, and how.
    doubts: u64,
    /// Those somebody waits for and nobody has said since what they are, in the order in which they
    /// came to be waited for.
    unknown: BTreeMap<u64, u32>,
    /// Those looked at, since runs were handed out last, in which somebody waits.
    filled: Vec<u32>,
}

impl Queue {
    pub(super) const fn id(&self) -> Option<QueueId> {
        self.id
    }

    fn most(&self) -> u32 {
        self.spec.max_running.unwrap_or(u32::MAX)
    }

    /// Whether one more of its jobs may have a place.
    fn has_place(&self) -> bool {
        let spaced = self.spec.start_interval > 0 && !self.standing.is_empty();
        let standing = u32::try_from(self.standing.len()).unwrap_or(u32::MAX);
        self.running.saturating_add(standing) < self.most() && !spaced
    }

    /// When the next run may start as far as the interval goes.
    fn opens(&self) -> Timestamp {
        let after = |at: Timestamp| at.plus(self.spec.start_interval.max(0));
        self.started_at.map_or(EVER, after)
    }
}

impl Engine {
    /// Says what a queue is, from now on. One nobody has put limits nothing.
    pub fn put_queue(&mut self, id: QueueId, spec: QueueSpec) {
        let number = self.queue_for(id);
        let queue = &mut self.queues[number];
        (queue.put, queue.spec) = (true, spec);
        self.know_queue(number);
    }

    /// Forgets a queue. The jobs that name it are limited by nothing; says whether there are any.
    pub fn drop_queue(&mut self, id: QueueId) -> bool {
        let Some(&number) = self.queue_ids.get(&id) else { return false };
        let queue = &mut self.queues[number];
        (queue.put, queue.spec) = (false, QueueSpec::default());
        let named = queue.refs > 0;
        self.know_queue(number);
        self.forget_queue_if_over(number);
        named
    }

    /// Whether a job names the queue.
    #[must_use]
    pub fn names_queue(&self, id: QueueId) -> bool {
        self.queue_ids.get(&id).is_some_and(|&number| self.queues[number].refs > 0)
    }

    /// Queues have changed, and nobody has said how: of none does a run begin before it was put or
    /// dropped again. [`Self::unknown_queues`] are those for which somebody waits.
    pub fn doubt_queues(&mut self) {
        self.looks.doubts += 1;
        for number in self.queues.ids() {
            if !self.queues[number].waiting.is_empty() {
                self.look_at_queue(number);
            }
        }
    }

    /// They cannot be read: all are what was said of them last.
    pub fn trust_queues(&mut self) {
        for number in self.queues.ids() {
            if self.queues[number].id.is_some() && !self.is_known(number) {
                self.know_queue(number);
            }
        }
    }

    /// The queues about which somebody has to say what they are before jobs that wait can begin, the
    /// first so many of those that are waited for.
    #[must_use]
    pub fn unknown_queues(&self, most: usize) -> Vec<QueueId> {
        let unknown = self.looks.unknown.values().take(most);
        unknown.filter_map(|&number| self.queues[number].id).collect()
    }

    fn is_known(&self, number: u32) -> bool {
        self.queues[number].known_at == self.looks.doubts
    }

    fn know_queue(&mut self, number: u32) {
        let queue = &mut self.queues[number];
        queue.known_at = self.looks.doubts;
        if let Some(turn) = queue.asked.take() {
            self.looks.unknown.remove(&turn);
        }
        self.look_at_queue(number);
    }

    /// Somebody waits for a queue that may have changed.
    fn ask_for_queue(&mut self, number: u32) {
        let queue = &mut self.queues[number];
        if queue.asked.is_none() && !queue.waiting.is_empty() {
            self.turn += 1;
            queue.asked = Some(self.turn);
            self.looks.unknown.insert(self.turn, number);
        }
    }

    /// Somebody may have a place: the next step of this tick, or the next tick, looks.
    pub(super) fn look_at_queue(&mut self, number: u32) {
        self.spaced.set(&mut self.places.spaced, number, EVER);
    }

    pub(super) fn queue_for(&mut self, id: QueueId) -> u32 {
        if let Some(&number) = self.queue_ids.get(&id) {
            return number;
        }
        let number = self.queues.insert(Queue { id: Some(id), ..Queue::default() });
        self.queue_ids.insert(id, number);
        number
    }

    pub(super) fn forget_queue_if_over(&mut self, number: u32) {
        let queue = &self.queues[number];
        if queue.refs > 0 || queue.put {
            return;
        }
        if let Some(id) = queue.id {
            self.queue_ids.remove(&id);
        }
        self.spaced.remove(&mut self.places.spaced, number);
        if let Some(turn) = queue.asked {
            self.looks.unknown.remove(&turn);
        }
        self.queues.remove(number);
    }

    /// Gives the places a queue has, and those that cannot be used, to those whose turn it is.
    fn fill_places(&mut self, number: u32) {
        if !self.is_known(number) {
            self.ask_for_queue(number);
        }
        let open = self.is_open(number);
        // Once nobody may have a further run, more places change nothing.
        let mut able = true;
        while open
            && self.queues[number].has_place()
            && let Some(&(_, first)) = self.queues[number].waiting.first()
        {
            let next = if able { self.first_able(number, None) } else { None };
            able = next.is_some();
            self.give_place(next.unwrap_or(first));
        }
        while let Some((job, line)) = self.unused_place(number) {
            self.pass_over(job);
            self.give_place(line);
        }
        match self.next_fill(number) {
            Some(at) => {
                self.spaced.set(&mut self.places.spaced, number, at);
                self.looks.filled.push(number);
            }
            None => {
                self.spaced.remove(&mut self.places.spaced, number);
            }
        }
    }

    /// Whether a run of a queue may begin now, as far as its interval goes.
    fn is_open(&self, number: u32) -> bool {
        self.is_known(number) && self.queues[number].opens() <= self.now
    }

    /// When to look at a queue again although nothing is seen to change.
    fn next_fill(&self, number: u32) -> Option<Timestamp> {
        let queue = &self.queues[number];
        let waiting = self.is_known(number) && !queue.waiting.is_empty();
        if queue.has_place() {
            return waiting.then(|| queue.opens());
        }
        let (_, job) = queue.standing.peek().filter(|_| waiting && queue.running < queue.most())?;
        let others = queue.waiting.iter().any(|&(_, line)| Some(line) != self.jobs[job].line);
        let unused = self.jobs[job].eligible_since.plus(RETRY);
        let at = if unused > self.now { unused } else { self.now.plus(RETRY) };
        others.then(|| at.max(queue.opens()))
    }

    /// A place whose job does not begin, and the line of another owner who might.
    fn unused_place(&self, number: u32) -> Option<(u32, u32)> {
        let queue = &self.queues[number];
        let open = self.is_open(number) && queue.running < queue.most();
        let (_, job) = queue.standing.peek().filter(|_| open)?;
        let record = &self.jobs[job];
        if self.may_run(record.key) && self.now.since(record.eligible_since) < RETRY {
            return None;
        }
        self.first_able(number, record.line).map(|line| (job, line))
    }

    /// Gives a place to the first job of a line, unless nothing of it may start any more.
    fn give_place(&mut self, line: u32) {
        let Some((head, job)) = self.leave_first(line) else { return };
        if self.next_waiting(&self.jobs[job]).is_none() {
            return self.close(job);
        }
        self.turn += 1;
        let (queue, turn) = (self.lines[line].queue, self.turn);
        self.queues[queue].standing.set(&mut self.places.standing, job, turn);
        self.count_place(job, 1);
        self.stand(job, head);
    }

    /// Looks again at queues where somebody waits, now that runs were handed out: who has a place
    /// there may have begun something else instead.
    pub(super) fn look_at_filled(&mut self) {
        let mut filled = std::mem::take(&mut self.looks.filled);
        for number in filled.drain(..) {
            if self.unused_place(number).is_some() {
                self.look_at_queue(number);
            }
        }
        self.looks.filled = filled;
    }

    /// Whether a run of a job that has just given its place back may begin after all. Runs may have
    /// come into its queue since it got that place, with a job that joined, or the queue may have
    /// become smaller or slower, or be about to.
    pub(super) fn queue_allows(&self, job: &Job) -> bool {
        job.line.is_none_or(|line| {
            let number = self.lines[line].queue;
            let queue = &self.queues[number];
            self.is_open(number) && queue.running < queue.most()
        })
    }

    /// Fills the places of queues whose interval is over, or that have changed.
    pub(super) fn open_queues(&mut self) {
        while let Some((at, number)) = self.spaced.peek()
            && at <= self.now
        {
            self.fill_places(number);
        }
    }

    /// A job has left its key's heap, and gives its place back.
    pub(super) fn give_place_back(&mut self, job: u32) {
        if let Some(line) = self.jobs[job].line {
            let queue = self.lines[line].queue;
            self.queues[queue].standing.remove(&mut self.places.standing, job);
            self.count_place(job, -1);
            self.look_at_queue(queue);
        }
    }

    /// A run of a job has begun, or one of an earlier scheduler is known.
    pub(super) fn count_start(&mut self, job: u32) {
        if let Some(line) = self.jobs[job].line {
            let queue = &mut self.queues[self.lines[line].queue];
            queue.running += 1;
            queue.started_at = Some(self.now);
            self.serve(line, 1);
        }
    }

    /// A run of a job is over.
    pub(super) fn count_end(&mut self, job: u32) {
        if let Some(line) = self.jobs[job].line {
            let queue = self.lines[line].queue;
            self.queues[queue].running -= 1;
            self.serve(line, -1);
            self.look_at_queue(queue);
        }
    }

    /// After a step back of the clock no start lies in the future.
    pub(super) fn clamp_starts(&mut self) {
        for number in self.queues.ids() {
            let now = self.now;
            let queue = &mut self.queues[number];
            queue.started_at = queue.started_at.map(|at| at.min(now));
            if queue.id.is_some() {
                self.look_at_queue(number);
            }
        }
        self.clamp_lines();
    }
}
