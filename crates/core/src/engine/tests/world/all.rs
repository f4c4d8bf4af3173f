//! What happens to all jobs at once: other settings, and a clock that was set back.

use std::sync::Arc;

use super::super::support::*;
use super::World;
use crate::engine::{JobSpec, Limits};
use crate::time::Timestamp;

impl World {
    pub(in super::super) fn set_limits(&mut self, limits: Limits) {
        let clock = self.clock();
        self.engine.set_limits(limits, clock);
        let launch = std::mem::replace(&mut self.limits, limits).launch;
        if launch == limits.launch {
            return;
        }
        let active: Vec<i64> =
            self.jobs.values().filter(|job| job.spec.active).map(|job| job.spec.id.0).collect();
        for id in active {
            if limits.launch {
                let job = self.jobs.get_mut(&id).unwrap();
                job.taken = job.last.max(clock).max(job.since);
            } else {
                self.forgive(id);
            }
        }
    }

    /// What the scheduler does when the clock was set back: every job goes on from there, but for
    /// what it has run.
    pub(super) fn put_again(&mut self, to: Timestamp) {
        for job in self.jobs.values_mut().filter(|job| !job.dropped) {
            let ran = job.ran.range(to.0 + 1..).map(|&instant| at(instant)).collect();
            let period = job.spec.times.next_after(to).map(|first| {
                let second = job.spec.times.next_after(first);
                second.map_or(SEC, |second| second.since(first))
            });
            let until = if period.is_some() { i64::MAX } else { i64::MIN };
            let times = Arc::new(Span { period: period.unwrap_or(SEC), until });
            job.spec = JobSpec { times, done: ran, ..job.spec.clone() };
            (job.taken, job.last, job.since) = (to, to, to);
            self.engine.put_job(job.spec.clone(), to);
        }
    }
}
