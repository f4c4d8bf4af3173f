//! Queues that jobs share: how many of their runs there may be, and how close together they start.
//!
//! Invariant: a job of a queue stands in its key's heap only while it has one of the queue's
//! places, which goes over to its run and is given back when that has ended; so the runs of a queue
//! are never more than its places, whatever is due. A job without a place stands in the queue's own
//! heap, in the order in which jobs stand everywhere. With an interval only one job has a place
//! without running, and gets it no sooner than the interval after the last start.

use super::Engine;
use super::heap::Heap;
use super::rules::{QueueId, QueueSpec};
use super::state::{EVER, Head, Job};
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Queue {
    id: Option<QueueId>,
    /// The caller has said what it is.
    put: bool,
    spec: QueueSpec,
    /// Jobs that name it.
    refs: u32,
    running: u32,
    /// Jobs that have a place and do not run.
    standing: u32,
    waiting: Heap<Head>,
    started_at: Option<Timestamp>,
}

impl Queue {
    fn most(&self) -> u32 {
        self.spec.max_running.unwrap_or(u32::MAX)
    }

    /// Whether one more of its jobs may have a place.
    fn has_place(&self) -> bool {
        let spaced = self.spec.start_interval > 0 && self.standing > 0;
        self.running.saturating_add(self.standing) < self.most() && !spaced
    }

    /// When the next run may start as far as the interval goes.
    fn opens(&self) -> Timestamp {
        let after = |at: Timestamp| at.plus(self.spec.start_interval.max(0));
        self.started_at.map_or(EVER, after)
    }
}

impl Engine {
    /// Says what a queue is, from now on. Jobs that name one nobody has put are limited by nothing.
    pub fn put_queue(&mut self, id: QueueId, spec: QueueSpec) {
        let number = self.queue_for(id);
        let queue = &mut self.queues[number];
        (queue.put, queue.spec) = (true, spec);
        self.look_at_queue(number);
    }

    /// Forgets a queue. The jobs that name it are limited by nothing; says whether there are any.
    pub fn drop_queue(&mut self, id: QueueId) -> bool {
        let Some(&number) = self.queue_ids.get(&id) else { return false };
        let queue = &mut self.queues[number];
        (queue.put, queue.spec) = (false, QueueSpec::default());
        let named = queue.refs > 0;
        self.look_at_queue(number);
        self.forget_queue_if_over(number);
        named
    }

    /// Says whether the queues are what was said last. While they are not, because they have changed
    /// and nobody has said how, no run of a job that names one begins.
    pub fn trust_queues(&mut self, known: bool) {
        if std::mem::replace(&mut self.queues_unknown, !known) && known {
            for number in self.queues.ids() {
                if self.queues[number].id.is_some() {
                    self.look_at_queue(number);
                }
            }
        }
    }

    /// The next tick looks whether somebody may have a place.
    fn look_at_queue(&mut self, number: u32) {
        self.dirty = true;
        self.spaced.set(&mut self.places.spaced, number, EVER);
    }

    /// Gives a job the queue it names; its runs count there from now on.
    pub(super) fn join_queue(&mut self, job: u32, id: Option<QueueId>) {
        let before = self.jobs[job].in_queue;
        if before.and_then(|number| self.queues[number].id) == id {
            return;
        }
        self.leave(job);
        let runs = u32::try_from(self.jobs[job].runs.len()).unwrap_or(u32::MAX);
        if let Some(number) = before {
            let queue = &mut self.queues[number];
            (queue.refs, queue.running) = (queue.refs - 1, queue.running - runs);
            self.look_at_queue(number);
            self.forget_queue_if_over(number);
        }
        self.jobs[job].in_queue = id.map(|id| self.queue_for(id));
        if let Some(number) = self.jobs[job].in_queue {
            let queue = &mut self.queues[number];
            (queue.refs, queue.running) = (queue.refs + 1, queue.running + runs);
        }
    }

    fn queue_for(&mut self, id: QueueId) -> u32 {
        if let Some(&number) = self.queue_ids.get(&id) {
            return number;
        }
        let number = self.queues.insert(Queue { id: Some(id), ..Queue::default() });
        self.queue_ids.insert(id, number);
        number
    }

    fn forget_queue_if_over(&mut self, number: u32) {
        let queue = &self.queues[number];
        if queue.refs > 0 || queue.put {
            return;
        }
        if let Some(id) = queue.id {
            self.queue_ids.remove(&id);
        }
        self.spaced.remove(&mut self.places.spaced, number);
        self.queues.remove(number);
    }

    /// Puts a job that could start into its key's heap, or into its queue's if that has no place.
    pub(super) fn line_up(&mut self, job: u32, head: Head) {
        match self.jobs[job].in_queue {
            None => self.stand(job, head),
            Some(queue) => {
                self.queues[queue].waiting.set(&mut self.places.key_jobs, job, head);
                self.fill_places(queue);
            }
        }
    }

    /// Gives the places a queue has to the first of those who wait for one.
    pub(super) fn fill_places(&mut self, number: u32) {
        while !self.queues_unknown
            && self.queues[number].has_place()
            && self.queues[number].opens() <= self.now
            && let Some((head, job)) = self.queues[number].waiting.pop(&mut self.places.key_jobs)
        {
            if self.next_waiting(&self.jobs[job]).is_none() {
                self.close(job);
                continue;
            }
            self.queues[number].standing += 1;
            self.stand(job, head);
        }
        let queue = &self.queues[number];
        if !self.queues_unknown && queue.has_place() && !queue.waiting.is_empty() {
            self.spaced.set(&mut self.places.spaced, number, queue.opens());
        } else {
            self.spaced.remove(&mut self.places.spaced, number);
        }
    }

    /// Whether a run of a job that has just given its place back may begin after all. Runs may have
    /// come into its queue since it got that place, with a job that joined, or the queue may have
    /// become smaller or slower, or be about to.
    pub(super) fn queue_allows(&self, job: &Job) -> bool {
        job.in_queue.is_none_or(|number| {
            let queue = &self.queues[number];
            !self.queues_unknown && queue.running < queue.most() && queue.opens() <= self.now
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

    /// A job leaves the heap of the queue it waits in.
    pub(super) fn leave_line(&mut self, job: u32) {
        if let Some(number) = self.jobs[job].in_queue {
            self.queues[number].waiting.remove(&mut self.places.key_jobs, job);
        }
    }

    /// A job has left its key's heap, and gives its place back.
    pub(super) fn give_place_back(&mut self, job: u32) {
        if let Some(number) = self.jobs[job].in_queue {
            self.queues[number].standing -= 1;
            self.look_at_queue(number);
        }
    }

    /// A run of a job has begun, or one of an earlier scheduler is known.
    pub(super) fn count_start(&mut self, job: u32) {
        if let Some(number) = self.jobs[job].in_queue {
            self.queues[number].running += 1;
            self.queues[number].started_at = Some(self.now);
        }
    }

    /// A run of a job is over.
    pub(super) fn count_end(&mut self, job: u32) {
        if let Some(number) = self.jobs[job].in_queue {
            self.queues[number].running -= 1;
            self.look_at_queue(number);
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
    }
}
