//! Whose turn it is to get a place of a queue.
//!
//! Invariant: every job that names a queue belongs to the line of its owner there, which counts the
//! places its runs and its standing jobs have, and stands among the queue's waiting lines exactly
//! while one of its jobs waits for a place, with its present rank. Within a line jobs stand in the
//! order in which they stand everywhere; priorities are nothing to other lines.

use super::Engine;
use super::heap::Heap;
use super::rules::QueueId;
use super::state::{Head, Rank};
use crate::time::Timestamp;

/// What an owner has in a queue.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) queue: u32,
    role: u32,
    /// Its jobs.
    refs: u32,
    /// How many of the queue's places they have, running or not.
    load: u32,
    /// Those of them that wait for a place.
    jobs: Heap<Head>,
    /// When a run of them last began or ended or a place was passed on, and which turn of all that was.
    served_at: Option<Timestamp>,
    turn: u64,
    /// Its rank among the waiting lines.
    rank: Option<Rank>,
}

impl Engine {
    /// Gives a job the queue it names, in the line of its present owner; its runs count there from
    /// now on.
    pub(super) fn join_queue(&mut self, job: u32, id: Option<QueueId>) {
        let role = self.keys[self.jobs[job].key].key.role;
        let before = self.jobs[job].line;
        let is = before.and_then(|line| {
            let line = &self.lines[line];
            self.queues[line.queue].id().map(|id| (id, line.role))
        });
        let to_be = id.map(|id| (id, role));
        if is == to_be {
            return;
        }
        self.leave(job);
        let runs = u32::try_from(self.jobs[job].runs.len()).unwrap_or(u32::MAX);
        self.jobs[job].line = to_be.map(|(id, role)| self.line_for(id, role));
        if let Some(number) = self.jobs[job].line {
            let line = &mut self.lines[number];
            (line.refs, line.load) = (line.refs + 1, line.load + runs);
            let queue = &mut self.queues[line.queue];
            (queue.refs, queue.running) = (queue.refs + 1, queue.running + runs);
            self.refresh_line(number);
        }
        if let Some(number) = before {
            let line = &mut self.lines[number];
            (line.refs, line.load) = (line.refs - 1, line.load - runs);
            let (queue, role, over) = (line.queue, line.role, line.refs == 0);
            let record = &mut self.queues[queue];
            (record.refs, record.running) = (record.refs - 1, record.running - runs);
            self.refresh_line(number);
            if over {
                self.line_ids.remove(&(queue, role));
                self.lines.remove(number);
            }
            self.look_at_queue(queue);
            self.forget_queue_if_over(queue);
        }
    }

    fn line_for(&mut self, id: QueueId, role: u32) -> u32 {
        let queue = self.queue_for(id);
        if let Some(&number) = self.line_ids.get(&(queue, role)) {
            return number;
        }
        let number = self.lines.insert(Line { queue, role, ..Line::default() });
        self.line_ids.insert((queue, role), number);
        number
    }

    /// Puts a job that could start into its key's heap, or into its owner's line if it has a queue.
    pub(super) fn line_up(&mut self, job: u32, head: Head) {
        let Some(line) = self.jobs[job].line else { return self.stand(job, head) };
        self.lines[line].jobs.set(&mut self.places.key_jobs, job, head);
        self.refresh_line(line);
        self.look_at_queue(self.lines[line].queue);
    }

    /// A job leaves the line it waits in.
    pub(super) fn leave_line(&mut self, job: u32) {
        if let Some(line) = self.jobs[job].line
            && self.lines[line].jobs.remove(&mut self.places.key_jobs, job)
        {
            self.refresh_line(line);
        }
    }

    /// The first job of a line leaves it.
    pub(super) fn leave_first(&mut self, line: u32) -> Option<(Head, u32)> {
        let first = self.lines[line].jobs.pop(&mut self.places.key_jobs);
        self.refresh_line(line);
        first
    }

    /// The first line, in their order, whose owner may have one more run now; not `but`.
    pub(super) fn first_able(&self, queue: u32, but: Option<u32>) -> Option<u32> {
        let mut lines = self.queues[queue].waiting.iter().map(|&(_, line)| line);
        lines.find(|&line| {
            let first = self.lines[line].jobs.peek();
            Some(line) != but
                && first.is_some_and(|(_, job)| self.may_have_more(self.jobs[job].key))
        })
    }

    /// Whether a job of the key that has a place could begin now, as far as limits go.
    pub(super) fn may_run(&self, key: u32) -> bool {
        self.may_with(key, 0)
    }

    /// Whether one more could when all have begun that have places.
    fn may_have_more(&self, key: u32) -> bool {
        self.may_with(key, self.owners[self.keys[key].owner].standing)
    }

    fn may_with(&self, key: u32, standing: u32) -> bool {
        let key = &self.keys[key];
        if key.key.is_http() {
            return self.totals.sent < self.limits.http_max_requests.max(1);
        }
        let most = self.limits.max_running_per_role;
        let load = self.owners[key.owner].running.saturating_add(standing);
        (most == 0 || load < most)
            && self.totals.busy.saturating_add(standing) < self.max_running(load)
    }

    /// A job gets a place, or gives one back.
    pub(super) fn count_place(&mut self, job: u32, change: i32) {
        let key = &self.keys[self.jobs[job].key];
        if !key.key.is_http() {
            let standing = &mut self.owners[key.owner].standing;
            *standing = standing.saturating_add_signed(change);
        }
        if let Some(line) = self.jobs[job].line {
            let load = &mut self.lines[line].load;
            *load = load.saturating_add_signed(change);
            self.refresh_line(line);
        }
    }

    /// A run of a line has begun, or has ended.
    pub(super) fn serve(&mut self, line: u32, change: i32) {
        self.turn += 1;
        let record = &mut self.lines[line];
        record.load = record.load.saturating_add_signed(change);
        (record.served_at, record.turn) = (Some(self.now), self.turn);
        self.refresh_line(line);
    }

    /// A job that has a place and does not begin gives it up, and waits again. If only an executor
    /// is missing, the others come before its owner's next.
    pub(super) fn pass_over(&mut self, job: u32) {
        let key = self.jobs[job].key;
        let Some(head) = self.keys[key].jobs.key(&self.places.key_jobs, job) else { return };
        if self.may_run(key)
            && let Some(line) = self.jobs[job].line
        {
            self.serve(line, 0);
        }
        self.leave(job);
        self.line_up(job, head);
    }

    /// Gives a line its present rank.
    fn refresh_line(&mut self, number: u32) {
        let line = &mut self.lines[number];
        let rank = line.jobs.peek().map(|(head, _)| {
            let since = line.served_at.map_or(head.since, |served| served.max(head.since));
            Rank { load: line.load, since, turn: line.turn, role: line.role }
        });
        let before = std::mem::replace(&mut line.rank, rank);
        if before == rank {
            return;
        }
        let waiting = &mut self.queues[line.queue].waiting;
        if let Some(before) = before {
            waiting.remove(&(before, number));
        }
        if let Some(rank) = rank {
            waiting.insert((rank, number));
        }
    }

    /// After a step back of the clock nobody was served in the future.
    pub(super) fn clamp_lines(&mut self) {
        for number in self.lines.ids() {
            let line = &mut self.lines[number];
            line.served_at = line.served_at.map(|at| at.min(self.now));
            self.refresh_line(number);
        }
    }
}
