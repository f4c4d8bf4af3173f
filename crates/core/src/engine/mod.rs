//! Decides what runs when, where and in whose turn.
//!
//! The engine is told what happens (jobs change, executors come and go, runs end) and asked, by
//! [`Engine::tick`], what to do at an instant. It has no clock, no randomness and no side effects,
//! so years of schedules can be played through in a test.
//!
//! Invariants it owns:
//! - every instant that comes due while a job is on leads to exactly one of [`Action::Run`],
//!   [`Action::Send`], [`Action::Fail`] or [`Action::Skipped`], or waits; only dropping or
//!   deactivating its job, or a later instant of a job that wants only the latest, removes a
//!   waiting one; what was handed out and did not begin waits again in its old place;
//! - of a job's instants from where its schedule began up to its cursor each has exactly one fate:
//!   it was handed out, a `Skipped` covers it, or it had a row already; none runs twice, and those
//!   without a fate lie after the cursor (`tests/account.rs` keeps the account);
//! - a job has at most one run at a time, or as many as it allows; no more runs are handed out than
//!   `max_running`, than an owner may have, than a queue has places, and no more requests than
//!   `http_max_requests`;
//! - an instant of a job that waits for others is handed out only when those have succeeded for it,
//!   and nothing is handed out of a job somebody holds;
//! - after a tick nothing more can be done at that instant, and [`Engine::next_wake`] names the
//!   first instant at which something can, so sleeping until then loses nothing and spins never;
//!   only instants that wait in vain for other jobs are skipped some at a time, and `next_wake`
//!   names an instant in the past until all are.
//!
//! # Parts
//! `agenda` knows when to look at which job. `due` takes instants and decides what becomes of them:
//! downtime, stalls, steps of the clock and pauses are one kind of gap to it. `close` ends a
//! schedule that gives way to another, `policies` what gives way to a later instant of its job.
//! `waiting` is what waits of one job, `requests` what comes to wait without being due, `unrun` what
//! was handed out in vain. `queues` are limits that jobs share, `lines` whose turn it is there. `after`
//! is jobs that wait for others, `successes` for which instants those have succeeded.
//! `fair` knows for each key what it lacks and for each owner whose turn it is. `pool` follows the executors through their lives. `decide` hands
//! out runs, starts executors and makes room for them; `send` hands out requests, which need none. All orders are kept in heaps whose members
//! can be found (`heap`), so every change costs O(log n).
//!
//! # Fairness
//! When slots are short the owner with the fewest running runs is next; among those the one that
//! has waited longest, counted from its oldest due occurrence or from when a run of its last began
//! or ended, whichever is later. Within an owner the oldest due comes first, then the smaller job id;
//! each point of a job's priority counts as a minute of waiting, so what waits gets its turn.

mod after;
mod agenda;
mod close;
mod counts;
mod decide;
mod due;
mod fair;
mod heap;
mod lines;
mod policies;
mod pool;
mod queues;
mod requests;
mod rules;
mod send;
mod simulate;
mod slab;
mod state;
mod successes;
#[cfg(test)]
mod tests;
mod types;
mod unrun;
mod waiting;

use std::collections::{BTreeSet, HashMap};

use crate::cancel::Cause;
use crate::run::SkipReason;
use crate::time::{JobId, Timestamp};
use heap::{Heap, Positions};
use lines::Line;
use queues::{Looks, Queue};
use send::Send;
use slab::Slab;
use state::{EVER, Executor, Job, Key, Need, Owner, Phase, Pressure, Rank};

pub use rules::{QueueId, QueueSpec, Rules, Settled};
pub use simulate::{Event, MOST_EVENTS, Simulated, What, simulate};
pub use types::{
    Action, Counts, ExecutorId, JobSpec, Limits, Load, Occurrence, Occurrences, PoolKey,
};

/// An instant later than this is missed, and a larger step back of the clock is a new beginning.
pub const LATE: i64 = 5 * 60 * Timestamp::SECOND;
/// How long work waits behind busy executors of its key before more are started.
pub const GROWTH_DELAY: i64 = 1_000;
/// Runs shorter than this on average, in microseconds, gain nothing from more processes than cores.
pub const QUICK_RUN: i64 = 120;
/// How long an executor works for its owner before it can be made to leave for another's sake.
pub const QUANTUM: i64 = 50_000;
/// By how much longer each point of its priority makes a job seem to wait, among its owner's.
pub const PRIORITY: i64 = 60 * Timestamp::SECOND;
/// How long to wait before asking for a worker slot again when nothing was seen to become free.
pub const RETRY: i64 = Timestamp::SECOND;
/// A clock reading that is older than the last one by less than this is taken for jitter.
const JITTER: i64 = 10_000;
/// With fewer places for runs, or worker slots, than this none is kept for others.
const FEW_PLACES: u32 = 4;
/// Jobs looked at to find one of an owner with nothing to do.
const LOOKED_AT: usize = 5000;
/// Occurrences of a key without an executor that fail in one tick.
const FAILED_AT_ONCE: usize = 100;

/// The scheduler's decisions. See the module's documentation.
///
/// After any call other than [`tick`](Self::tick) call `tick` before sleeping: `next_wake` then
/// names an instant in the past.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    /// Cores of the machine; `u32::MAX` = not to be considered.
    cores: u32,
    /// Worker slots executors may take; 0 = not known.
    slots: u32,
    /// The latest instant heard of.
    now: Timestamp,
    /// Something happened since the last tick.
    dirty: bool,
    /// Actions decided between ticks.
    outbox: Vec<Action>,
    /// Keys of which no executor could be started, with jobs that are to fail for it.
    failing: Vec<u32>,
    /// Jobs whose queue got an occurrence between ticks, when the time was not known.
    inbox: Vec<u32>,
    job_ids: HashMap<JobId, u32>,
    key_ids: HashMap<PoolKey, u32>,
    owner_ids: HashMap<u32, u32>,
    queue_ids: HashMap<QueueId, u32>,
    jobs: Slab<Job>,
    keys: Slab<Key>,
    owners: Slab<Owner>,
    queues: Slab<Queue>,
    /// What each owner has in each queue, and which that is.
    lines: Slab<Line>,
    line_ids: HashMap<(u32, u32), u32>,
    /// Which of the queues there is something to do about.
    looks: Looks,
    executors: Slab<Executor>,
    sends: Slab<Send>,
    places: Places,
    /// Next instant of each job that is on.
    agenda: Heap<Timestamp>,
    /// When requests of jobs become ready.
    later: Heap<Timestamp>,
    /// When jobs open whose occurrences wait for their window or a calendar.
    closed: Heap<Timestamp>,
    /// Who waits for a job, by its id.
    dependents: HashMap<JobId, BTreeSet<u32>>,
    /// Jobs somebody waits for to which something happened.
    noted: BTreeSet<JobId>,
    /// How many more instants that wait in vain are skipped in this tick, and the jobs that have more.
    vain_left: u32,
    put_off: Vec<u32>,
    /// Instants of jobs that failed and will be tried again.
    retrying: BTreeSet<(JobId, Timestamp)>,
    /// Jobs somebody holds.
    held: Vec<u32>,
    /// Jobs whose cursor may have moved.
    moved: Vec<u32>,
    /// No scheduler lived up to here, and why.
    missed_before: Timestamp,
    gap_reason: SkipReason,
    /// When queues may have a place for somebody who waits for one.
    spaced: Heap<Timestamp>,
    /// When keys become short.
    delayed: Heap<Timestamp>,
    /// When idle executors have to leave.
    expiry: Heap<Timestamp>,
    /// Keys of HTTP requests by whose turn it is.
    http_keys: Heap<Rank>,
    /// Owners by whose turn it is to get a run slot, and an executor.
    ready_owners: Heap<Rank>,
    want_owners: Heap<Rank>,
    pressure: Option<Pressure>,
    totals: Totals,
    /// Runs handed out and executors gone idle, ever: breaks ties.
    turn: u64,
    /// Occurrences that came to wait, ever: breaks ties.
    arrivals: u64,
}

/// Where things stand in the heaps.
#[derive(Debug, Default)]
struct Places {
    agenda: Positions,
    closed: Positions,
    later: Positions,
    /// A job stands in its key's heap or in its line's.
    key_jobs: Positions,
    standing: Positions,
    spaced: Positions,
    delayed: Positions,
    expiry: Positions,
    ready_keys: Positions,
    http_keys: Positions,
    want_keys: Positions,
    ready_owners: Positions,
    want_owners: Positions,
}

#[derive(Debug, Default)]
struct Totals {
    queued: usize,
    busy: u32,
    /// HTTP requests under way.
    sent: u32,
    idle: u32,
    starting: u32,
    leaving: u32,
    /// Keys whose need is `Ready`, and `Bare`.
    ready_keys: u32,
    bare_keys: u32,
    /// Owners with something running, with something running or waiting, and of jobs that run SQL.
    running_owners: u32,
    active_owners: u32,
    sql_owners: u32,
}

impl Engine {
    /// An engine without jobs and executors.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            cores: u32::MAX,
            slots: 0,
            now: EVER,
            dirty: false,
            outbox: Vec::new(),
            failing: Vec::new(),
            inbox: Vec::new(),
            job_ids: HashMap::new(),
            key_ids: HashMap::new(),
            owner_ids: HashMap::new(),
            queue_ids: HashMap::new(),
            jobs: Slab::default(),
            keys: Slab::default(),
            owners: Slab::default(),
            queues: Slab::default(),
            lines: Slab::default(),
            line_ids: HashMap::new(),
            looks: Looks::default(),
            executors: Slab::default(),
            sends: Slab::default(),
            places: Places::default(),
            agenda: Heap::default(),
            later: Heap::default(),
            closed: Heap::default(),
            dependents: HashMap::new(),
            noted: BTreeSet::new(),
            vain_left: 0,
            put_off: Vec::new(),
            retrying: BTreeSet::new(),
            held: Vec::new(),
            moved: Vec::new(),
            missed_before: EVER,
            gap_reason: SkipReason::Missed,
            spaced: Heap::default(),
            delayed: Heap::default(),
            expiry: Heap::default(),
            http_keys: Heap::default(),
            ready_owners: Heap::default(),
            want_owners: Heap::default(),
            pressure: None,
            totals: Totals::default(),
            turn: 0,
            arrivals: 0,
        }
    }

    /// Says how many cores the machine has: a key whose runs are very short is not given more
    /// executors than that, unless all it has are in the middle of longer runs.
    pub fn set_cores(&mut self, cores: u32) {
        self.cores = cores.max(1);
    }

    /// Says how many worker slots there are for executors, used or not; 0 = not known. From four on
    /// some are kept for owners who have no executor at all, so that nobody's endless runs can take
    /// the last one: one of them, or every eighth.
    pub fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
        self.dirty = true;
    }

    /// Takes over changed settings. Turning `launch` off stops every job as deactivating it would;
    /// turning it on again makes instants strictly after `now` due, of each job those of its present
    /// schedule (see [`Self::put_job`]).
    pub fn set_limits(&mut self, limits: Limits, now: Timestamp) {
        self.hear(now);
        let before = std::mem::replace(&mut self.limits, limits);
        if (before.idle_timeout, before.max_age) != (limits.idle_timeout, limits.max_age) {
            for executor in self.executors.ids() {
                self.plan_expiry(executor);
            }
        }
        if before.max_running_per_role != limits.max_running_per_role {
            for owner in self.owners.ids() {
                self.refresh_owner(owner);
            }
        }
        if before.launch != limits.launch {
            for job in self.jobs.ids() {
                self.switch(job, now, false);
            }
        }
    }

    /// Says what to do at `now`, appending to `out`.
    ///
    /// Instants up to `now` are taken from the agenda. Those more than five minutes late are a gap,
    /// as are those before [`Self::set_missed_before`] and those of a pause: the job's missed-run
    /// policy decides about them. When `now` is more than five minutes before the latest instant
    /// heard of, `ClockBack` is answered, and every job waits to be put again; after a smaller step
    /// back the instants still to come are waited for. Tick whenever the clock was set (a timerfd
    /// can tell), so that no wait becomes longer by the width of the step.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.set_clock(now);
        self.dirty = false;
        self.resume_gates();
        self.fail_some();
        self.flush(out);
        self.admit();
        self.take_due(now, out);
        loop {
            self.admit();
            self.open_queues();
            self.flush(out);
            self.end_delays();
            self.hand_out(out);
            self.send_due(out);
            self.look_at_filled();
            let quiet = self.inbox.is_empty() && self.noted.is_empty();
            if quiet && self.spaced.peek().is_none_or(|(at, _)| at > self.now) {
                break;
            }
        }
        self.start_executors(out);
        self.make_room(out);
        self.expire(out);
        self.flush(out);
    }

    /// The first instant at which a tick has something to do; one in the past when it has now,
    /// `None` when only an event can bring work.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.dirty || !self.put_off.is_empty() {
            return Some(EVER);
        }
        let retry = self
            .pressure
            .filter(|pressure| pressure.credits == 0 && !self.want_owners.is_empty())
            .map(|pressure| pressure.retry_at);
        let heaps = [&self.agenda, &self.later, &self.closed, &self.spaced];
        let heaps = heaps.into_iter().chain([&self.delayed, &self.expiry]);
        heaps.filter_map(|heap| heap.peek().map(|(at, _)| at)).chain(retry).min()
    }

    /// Whether an instant of some job has come that the last tick did not see.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.agenda.peek().is_some_and(|(at, _)| at <= now)
    }

    /// The first instant up to `until` at which a run of SQL comes due for an owner with nothing running or
    /// waiting. It may be missed when very many jobs of others come due before.
    #[must_use]
    pub fn next_of_idle_owner(&self, until: Timestamp) -> Option<Timestamp> {
        let mut first = None;
        self.agenda.up_to(until, LOOKED_AT, |at, job| {
            let key = &self.keys[self.jobs[job].key];
            // Requests do not count as work of their owner.
            let idle = !key.key.is_http() && !self.owners[key.owner].counted;
            if idle && first.is_none_or(|first| at < first) {
                first = Some(at);
            }
        });
        first
    }

    /// The executor that runs the job now, the first of them if there are several.
    #[must_use]
    pub fn running(&self, job: JobId) -> Option<ExecutorId> {
        self.runs_of(job).next()
    }

    /// The executors that run the job now.
    pub fn runs_of(&self, job: JobId) -> impl Iterator<Item = ExecutorId> {
        let number = self.job_ids.get(&job);
        let job = number.and_then(|&number| self.jobs.lookup(number));
        job.into_iter().flat_map(|job| job.runs.iter()).map(|run| ExecutorId(run.executor))
    }

    /// The next instant of a job's schedule, if it is on and has one.
    #[must_use]
    pub fn next_due(&self, job: JobId) -> Option<Timestamp> {
        self.agenda.key(&self.places.agenda, *self.job_ids.get(&job)?)
    }

    /// Notes that an event happened at `now`: that jobs were read, for instance, which are put then.
    /// Should the clock be found before it at the next tick, it was set back in between.
    pub fn hear(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.dirty = true;
    }

    /// Emits what was decided between ticks, unless it has been overtaken.
    fn flush(&mut self, out: &mut Vec<Action>) {
        let mut outbox = std::mem::take(&mut self.outbox);
        for action in outbox.drain(..) {
            let stands = match action {
                Action::Cancel { executor, job, cause } => {
                    self.confirm_cancel(executor, job, cause)
                }
                Action::Retire { executor } => self.confirm_retire(executor),
                _ => true,
            };
            if stands {
                out.push(action);
            }
        }
        self.outbox = outbox;
    }

    /// Whether the run is still there and still unwanted.
    fn confirm_cancel(&mut self, executor: ExecutorId, job: JobId, cause: Cause) -> bool {
        let Some(&job) = self.job_ids.get(&job) else { return false };
        let job = &mut self.jobs[job];
        let unwanted = cause == Cause::Replaced || job.dropped || !job.on;
        let Some(run) = job.runs.of(executor.0).filter(|run| !run.cancelled) else { return false };
        run.cancelled = unwanted;
        unwanted
    }

    /// Whether the executor is still there, or another one in its slot that has to leave too.
    fn confirm_retire(&mut self, executor: ExecutorId) -> bool {
        let record = &mut self.executors[executor.0];
        let stands = record.phase == Phase::Leaving && !record.told;
        record.told |= stands;
        stands
    }

    /// Moves the clock, forward or back.
    fn set_clock(&mut self, now: Timestamp) {
        let back = self.now.since(now);
        if self.now == EVER || back <= JITTER {
            self.now = self.now.max(now);
            return;
        }
        self.now = now;
        self.clamp_waits();
        if back > LATE {
            self.wait_for_puts();
        }
    }

    /// After a step back of the clock: nothing may seem to begin in the future, or it would wait
    /// for as long as the step was wide.
    fn clamp_waits(&mut self) {
        let now = self.now;
        if let Some(pressure) = &mut self.pressure {
            pressure.retry_at = pressure.retry_at.min(now.plus(RETRY));
        }
        for job in self.jobs.ids() {
            self.jobs[job].eligible_since = self.jobs[job].eligible_since.min(now);
        }
        for executor in self.executors.ids() {
            let record = &mut self.executors[executor];
            record.born = record.born.min(now);
            record.quantum_from = record.quantum_from.min(now);
            record.idle_since = record.idle_since.min(now);
            self.plan_expiry(executor);
        }
        for owner in self.owners.ids() {
            self.owners[owner].served_at = self.owners[owner].served_at.map(|at| at.min(now));
        }
        self.clamp_starts();
        for key in self.keys.ids() {
            let record = &mut self.keys[key];
            record.handed_at = record.handed_at.min(now);
            record.no_growth_before = record.no_growth_before.map(|at| at.min(now.plus(RETRY)));
            self.refresh_key(key);
        }
    }
}

/// Whether waiting jobs of a key want something.
impl Need {
    fn wants(self) -> bool {
        matches!(self, Self::Bare | Self::Short)
    }
}

impl Phase {
    fn is_absent(self) -> bool {
        self == Self::Absent
    }
}
