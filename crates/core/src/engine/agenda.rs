//! Jobs and where they stand: on the agenda, waiting for a slot, closed, paused.
//!
//! Invariant: a job that is on stands in `agenda` at the next instant at which something has to be
//! done about its schedule: the start of its next instant that may run, or the end of its pause. A
//! job that waits for nothing but a slot or an executor stands in its key's heap; one that waits
//! for its window or a calendar in `closed`; every other one in neither.

use std::sync::Arc;

use super::state::{Head, Job};
use super::types::{Action, ExecutorId, JobSpec};
use super::waiting::Waiting;
use super::{Engine, PRIORITY};
use crate::cancel::Cause;
use crate::run::{SkipReason, Verdict};
use crate::time::{JobId, Timestamp};

impl Engine {
    /// Makes a job known, or takes over a change to it. Instants strictly after `after` are due,
    /// but for those in `spec.done`.
    ///
    /// `after` is when the present schedule, zone and activation began (`effective_from`), or the
    /// job's cursor after a restart. No instant already taken is taken again and none is lost by a
    /// change that leaves the schedule alone: pass the same `after` again, or the same `times`
    /// (`Arc::ptr_eq`), with which `after` and `done` are ignored unless the job is switched on. What is queued or running goes on, under the
    /// new key when that changed (a running run stays where it is). `active = false` on an active
    /// job clears its queue and cancels its run.
    pub fn put_job(&mut self, spec: JobSpec, after: Timestamp) {
        self.dirty = true;
        let key = self.key_for(spec.key);
        let number = match self.job_ids.get(&spec.id) {
            Some(&number) => number,
            None => self.add_job(spec.id, key),
        };
        if self.jobs[number].key != key {
            self.leave(number);
            let old = std::mem::replace(&mut self.jobs[number].key, key);
            self.keys[key].refs += 1;
            self.release_key(old);
        }
        let job = &mut self.jobs[number];
        let new = std::mem::replace(&mut job.dropped, false);
        let activated = !std::mem::replace(&mut job.active, spec.active) && spec.active;
        job.missed = spec.missed;
        let places = std::mem::replace(&mut job.places, spec.rules.places());
        if std::mem::replace(&mut job.overlap, spec.rules.overlap) != spec.rules.overlap {
            // A row of what is skipped from now on does not reach over what waits.
            job.skipped = None;
        }
        let fewer = job.places < places;
        if std::mem::replace(&mut job.priority, spec.rules.priority) != spec.rules.priority || fewer
        {
            // What stands to run may have to wait for a run that has begun under other rules.
            self.leave(number);
        }
        self.join_queue(number, spec.rules.queue);
        self.set_after(number, &spec.rules.after);
        if let Some(at) = spec.last_success {
            self.succeed(number, at);
        }
        if new {
            self.presume(spec.id);
        }
        let job = &mut self.jobs[number];
        if spec.missed_window != job.rare().missed_window {
            job.rare_mut().missed_window = spec.missed_window;
        }
        let before = job.rare().paused_until;
        if spec.paused_until != before {
            let rare = job.rare_mut();
            rare.paused_until = spec.paused_until;
            if spec.paused_until.is_none() {
                rare.resumed = before;
            }
            self.leave(number);
        }
        let job = &mut self.jobs[number];
        let same = job.times.as_ref().is_some_and(|times| Arc::ptr_eq(times, &spec.times));
        // Being switched on is a beginning too.
        let renewed = !same || job.stale || activated;
        if renewed {
            // Counting from now on is another schedule; what the old one left is closed. The same
            // one read anew counts from where it did, or from its cursor. Its beginning may lie before
            // what the old one has taken: the clock may have gone back a little.
            if !job.stale && after > job.cursor() && after != job.since {
                self.close_until(number, after);
            }
            renew(&mut self.jobs[number], spec, after);
        }
        self.switch(number, after, renewed);
        self.inbox.push(number);
        self.note_dependents(number);
    }

    /// Forgets a job: what it has queued is gone, its run is cancelled.
    pub fn drop_job(&mut self, id: JobId) {
        let Some(&number) = self.job_ids.get(&id) else { return };
        self.dirty = true;
        self.stop(number);
        let job = &mut self.jobs[number];
        job.active = false;
        job.dropped = true;
        job.times = None;
        self.forget_if_over(number);
    }

    /// Makes eligible what came between ticks, now that the time is known.
    pub(super) fn admit(&mut self) {
        let mut at = 0;
        // What enters may let others enter.
        loop {
            while let Some(&number) = self.inbox.get(at) {
                at += 1;
                self.enter(number);
            }
            match self.noted.pop_first() {
                Some(id) => self.look_at_dependents(id),
                None => break,
            }
        }
        self.inbox.clear();
        self.promote();
        while let Some((at, number)) = self.closed.peek()
            && at <= self.now
        {
            self.closed.remove(&mut self.places.closed, number);
            self.enter(number);
        }
    }

    /// A record for a job, counted as a user of `key`.
    pub(super) fn add_job(&mut self, id: JobId, key: u32) -> u32 {
        let number = self.jobs.insert(Job { id, key, ..Job::default() });
        self.keys[key].refs += 1;
        self.job_ids.insert(id, number);
        number
    }

    /// Brings `on` and the agenda in line with `active`, `launch` and the schedule.
    pub(super) fn switch(&mut self, number: u32, after: Timestamp, changed: bool) {
        let job = &mut self.jobs[number];
        let on = job.active && self.limits.launch && !job.dropped;
        match (job.on, on) {
            (false, false) => {}
            (true, false) => {
                if let Some(times) = self.jobs[number].times.clone() {
                    let mut out = std::mem::take(&mut self.outbox);
                    self.give_up_waiting(number, &*times, SkipReason::Inactive, &mut out);
                    self.outbox = out;
                }
                self.stop(number);
            }
            (before, true) => {
                job.on = true;
                if changed || !before {
                    // Launching again makes nothing due from before the schedule began, which may
                    // lie ahead when the clock has gone back a little.
                    job.popped = after.max(job.taken).max(job.since);
                    if !before && job.rare().base.is_some() {
                        let base = job.rare().base.max(Some(after));
                        job.rare_mut().base = base;
                    }
                }
                self.plan(number);
            }
        }
    }

    /// Puts a job on the agenda where it belongs.
    pub(super) fn plan(&mut self, number: u32) {
        match self.next_look(number) {
            Some(at) => self.agenda.set(&mut self.places.agenda, number, at),
            None => {
                self.agenda.remove(&mut self.places.agenda, number);
            }
        }
    }

    /// When something has to be done about a job's schedule.
    fn next_look(&mut self, number: u32) -> Option<Timestamp> {
        let job = &self.jobs[number];
        if !job.on || job.stale {
            return None;
        }
        if job.rare().resumed.is_some() {
            return Some(super::state::EVER);
        }
        if let Some(until) = job.rare().paused_until
            && until > self.now
        {
            return Some(until).filter(|until| until.0 < i64::MAX);
        }
        let times = job.times.as_deref()?;
        if times.after_completion().is_some() {
            return self.after_run(number, times);
        }
        if job.exhausted {
            return None;
        }
        let next = times.next_open(job.popped).filter(|&next| next > job.popped);
        let start = next.map(|next| match times.verdict(next) {
            Verdict::Start(start) => start.max(next),
            Verdict::Skip(_) => next,
        });
        self.jobs[number].exhausted = next.is_none();
        start
    }

    /// Off the agenda, nothing queued, the run to be cancelled.
    fn stop(&mut self, number: u32) {
        self.agenda.remove(&mut self.places.agenda, number);
        self.leave(number);
        self.note_dependents(number);
        let job = &mut self.jobs[number];
        job.on = false;
        job.skipped = None;
        if !job.rare().backlogs.is_empty() {
            job.rare_mut().backlogs.clear();
        }
        self.totals.queued -= job.queue.clear();
        self.later.remove(&mut self.places.later, number);
        let (job, cause) = (job.id, Cause::Dropped);
        for run in self.jobs[number].runs.iter().filter(|run| !run.cancelled) {
            let executor = ExecutorId(run.executor);
            self.outbox.push(Action::Cancel { executor, job, cause });
        }
    }

    /// Drops the record of a job that is neither wanted nor running.
    pub(super) fn forget_if_over(&mut self, number: u32) {
        let job = &self.jobs[number];
        if !job.dropped || !job.runs.is_empty() {
            return;
        }
        let (id, key) = (job.id, job.key);
        self.join_queue(number, None);
        self.set_after(number, &Arc::default());
        self.forget_retries(id);
        self.job_ids.remove(&id);
        self.jobs.remove(number);
        self.release_key(key);
    }

    /// After a large step back of the clock: no job takes instants until it is put anew.
    pub(super) fn wait_for_puts(&mut self) {
        let now = self.now;
        self.missed_before = self.missed_before.min(now);
        for number in self.jobs.ids() {
            self.agenda.remove(&mut self.places.agenda, number);
            let job = &mut self.jobs[number];
            job.stale = !job.dropped;
            if job.rare().pause_end.is_some_and(|end| end > now) {
                // What comes due again after `now` does not fall into that pause.
                job.rare_mut().pause_end = Some(now);
            }
        }
        self.outbox.push(Action::ClockBack { to: now });
    }

    /// Whether one more occurrence may queue: the limit is about those behind the one that runs or
    /// is next to run.
    pub(super) fn has_room(&self, number: u32) -> bool {
        let job = &self.jobs[number];
        let next_to_run = (job.places as usize).saturating_sub(job.runs.len());
        job.queue.len() < (self.limits.max_queued_per_job as usize).saturating_add(next_to_run)
    }

    /// Puts a job into its key's heap if it waits for a slot or an executor only.
    pub(super) fn enter(&mut self, number: u32) {
        let Some(job) = self.jobs.lookup(number) else { return };
        if job.runs.len() >= job.places as usize || job.dropped || self.stands(number) {
            return;
        }
        self.refill_if_free(number);
        self.open_gate(number);
        let job = &self.jobs[number];
        let Some(since) = self.next_waiting(job).map(|waiting| waiting.ready_at) else {
            return self.close(number);
        };
        let order = since.plus(-i64::from(job.priority).saturating_mul(PRIORITY));
        let head = Head { order, job: job.id, since };
        self.closed.remove(&mut self.places.closed, number);
        self.line_up(number, head);
    }

    /// Brings the next of a backlog into the queue, unless a pause holds it back.
    pub(super) fn refill_if_free(&mut self, number: u32) {
        let job = &self.jobs[number];
        if !job.rare().backlogs.is_empty() && !job.is_paused(self.now) {
            self.refill(number);
        }
    }

    /// Puts a job into its key's heap.
    pub(super) fn stand(&mut self, number: u32, head: Head) {
        let key = self.jobs[number].key;
        self.jobs[number].eligible_since = self.now;
        self.keys[key].jobs.set(&mut self.places.key_jobs, number, head);
        self.refresh_key(key);
    }

    /// Whether a job stands in its key's heap.
    fn stands(&self, number: u32) -> bool {
        let key = self.jobs[number].key;
        self.keys[key].jobs.key(&self.places.key_jobs, number).is_some()
    }

    /// What of a job may start now.
    pub(super) fn next_waiting<'a>(&self, job: &'a Job) -> Option<&'a Waiting> {
        if job.held || job.queue.len() == 0 {
            return None;
        }
        if !self.is_free(job) {
            return job.queue.forced();
        }
        // Requests do not wait until a long backlog is through.
        let heads = [job.next_nominal(), job.queue.request()];
        heads.into_iter().flatten().min_by_key(|waiting| waiting.place())
    }

    /// Whether neither a pause nor its window or calendars hold a job back now.
    pub(super) fn is_free(&self, job: &Job) -> bool {
        !job.is_paused(self.now) && self.opens(job) == Some(self.now)
    }

    /// When a run of a job may start.
    fn opens(&self, job: &Job) -> Option<Timestamp> {
        job.times.as_deref().map_or(Some(self.now), |times| times.opens(self.now))
    }

    /// Notes when a job opens whose occurrences wait for that.
    pub(super) fn close(&mut self, number: u32) {
        self.end_follow_ups(number);
        let job = &self.jobs[number];
        let waits = job.queue.len() > 0 && !job.held && !job.is_paused(self.now);
        match self.opens(job).filter(|&at| waits && at > self.now) {
            Some(at) => self.closed.set(&mut self.places.closed, number, at),
            None => {
                self.closed.remove(&mut self.places.closed, number);
            }
        }
    }

    /// Takes a job out of the heaps it waits in.
    pub(super) fn leave(&mut self, number: u32) {
        self.closed.remove(&mut self.places.closed, number);
        let key = self.jobs[number].key;
        if self.keys[key].jobs.remove(&mut self.places.key_jobs, number) {
            self.refresh_key(key);
            self.give_place_back(number);
        } else {
            self.leave_line(number);
        }
    }

    /// Everything of a job at or before this instant is accounted for: it ran, was skipped, or has
    /// a row. `None` for a job that is not known.
    #[must_use]
    pub fn cursor(&self, job: JobId) -> Option<Timestamp> {
        let job = self.jobs.lookup(*self.job_ids.get(&job)?)?;
        (!job.dropped).then(|| job.cursor())
    }

    /// The cursors that have moved since this was asked last.
    pub fn take_moved(&mut self) -> Vec<(JobId, Timestamp)> {
        let mut moved = Vec::new();
        for number in std::mem::take(&mut self.moved) {
            let Some(job) = self.jobs.lookup_mut(number) else { continue };
            job.moved = false;
            let cursor = job.cursor();
            if !job.dropped && !job.stale && cursor != job.reported {
                job.reported = cursor;
                moved.push((job.id, cursor));
            }
        }
        moved
    }

    /// Notes that a job's cursor may have moved.
    pub(super) fn note_moved(&mut self, number: u32) {
        let job = &mut self.jobs[number];
        if !std::mem::replace(&mut job.moved, true) {
            self.moved.push(number);
        }
    }
}

/// Gives a job other instants.
fn renew(job: &mut Job, spec: JobSpec, after: Timestamp) {
    job.exhausted = false;
    // Other instants, or a clock that shows the same ones again: a row of its own.
    job.skipped = None;
    if let Some(rare) = &mut job.rare {
        (rare.turned_away, rare.awaited) = (None, None);
    }
    job.since = after;
    job.began = spec.effective_from.unwrap_or(after);
    let mut done: Vec<Timestamp> = spec.done.to_vec();
    // What a backlog leaves out stays left out.
    let (from, until) = (job.cursor(), if job.stale { after } else { Timestamp(i64::MAX) });
    if let Some(before) = &job.rare().done {
        done.extend(before.iter().filter(|&&at| from < at && at <= until));
    }
    let stale = std::mem::take(&mut job.stale);
    if stale {
        // What waits keeps waiting and must not come due a second time.
        (job.popped, job.taken) = (after, after);
        job.reported = super::state::EVER;
        if let Some(rare) = &mut job.rare {
            // Those that come due anew are not to be caught up as well.
            rare.backlogs.retain(|backlog| backlog.after < after);
            for backlog in &mut rare.backlogs {
                backlog.until = backlog.until.min(after.plus(1));
            }
        }
    }
    // Whatever waits, requests too, must not come due as well.
    done.extend(job.queue.iter().map(|waiting| waiting.scheduled_for));
    done.extend(job.runs.iter().filter_map(|run| Some(run.waiting?.scheduled_for)));
    if !done.is_empty() {
        done.sort_unstable();
        done.dedup();
        job.rare_mut().done = Some(Arc::from(done));
    }
    if spec.times.after_completion().is_some() {
        let known = job.rare().base.filter(|_| !stale);
        job.rare_mut().base = known.max(spec.last_end).max(Some(after));
    } else if let Some(rare) = &mut job.rare {
        rare.base = None;
    }
    job.times = Some(spec.times);
}
