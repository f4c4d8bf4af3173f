//! What ties jobs to each other: queues they share, jobs they wait for.
//!
//! Invariant: the engine knows every queue that jobs name by a number that stands for its name as
//! long as one does, and reads it, however many others there are, when a run is about to begin and
//! queues may have changed since; and for each job with `run_after` the ids those names stood for when
//! its row was read last, or a moment ago if names have changed since. Those of all are read again some
//! at a time, so that many jobs make nobody late; until then each waits for those it waited for.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pg_tock_core::engine::{Engine, Occurrence, QueueId, QueueSpec, Settled};
use pg_tock_core::portion::Portion;
use pg_tock_core::run::Origin;
use pg_tock_core::time::{JobId, Timestamp};

use super::jobs::Job;
use super::news::READ_ALL_PAUSE;
use super::sight::Source;
use super::{LOCK_RETRY, Scheduler};
use crate::catalog::fates::{self, Fate};
use crate::catalog::load::{self, JobRow, Queue};
use crate::pg::{lock, time, txn};

/// How long to wait before queues are read again, in times as long as it took.
const QUEUES_SHARE: i64 = 10;
/// How many are read at a time.
const QUEUES_AT_ONCE: usize = 100;

/// Queues by name, and who waits for whom.
#[derive(Debug, Default)]
pub(crate) struct Company {
    queues: HashMap<Rc<str>, QueueId>,
    names: HashMap<QueueId, Rc<str>>,
    /// The number of the next queue.
    next: u32,
    /// Queues have changed since some were read last.
    queues_changed: bool,
    /// When they may be read again.
    queues_at: Option<Timestamp>,
    /// They could not be read: until they can be, they are what they were.
    queues_locked: bool,
    /// Of each job that may wait for others.
    after: HashMap<JobId, Arc<[JobId]>>,
    /// Jobs that may wait for others than the engine was told of.
    unread: HashSet<JobId>,
    /// Jobs that may ask what became of instants of others before they began to wait for those.
    asking: HashSet<JobId>,
    /// The ledger could not be read: when to ask again.
    ask_at: Option<Timestamp>,
    /// Names have come, gone or passed to other jobs since all was read.
    renamed: bool,
    /// When all was read, or that began.
    read_at: Timestamp,
    /// Those of which that is still to be done.
    again: Vec<JobId>,
    /// How many are read at a time.
    page: Portion,
}

impl Company {
    /// The number of a queue.
    pub(crate) fn queue(&mut self, name: &str) -> QueueId {
        if let Some(&id) = self.queues.get(name) {
            return id;
        }
        let (id, name) = (QueueId(self.next), Rc::from(name));
        self.next = self.next.wrapping_add(1);
        self.queues.insert(Rc::clone(&name), id);
        self.names.insert(id, name);
        id
    }

    /// For whom a job waits, as far as is known.
    pub(crate) fn after(&self, job: JobId) -> Arc<[JobId]> {
        self.after.get(&job).cloned().unwrap_or_default()
    }

    /// Tells the engine what these queues are, now that those of them that there are have been read.
    fn take_queues(&self, read: &[QueueId], found: Vec<Queue>, engine: &mut Engine) {
        let mut there = HashSet::new();
        for (name, most, rate) in found {
            if let Some(&id) = self.queues.get(name.as_str()) {
                engine.put_queue(id, spec(most, rate));
                there.insert(id);
            }
        }
        for &id in read.iter().filter(|id| !there.contains(id)) {
            engine.drop_queue(id);
        }
    }

    /// Forgets the names that no job has any more. One that comes back gets a new number.
    pub(super) fn forget_names(&mut self, engine: &mut Engine) {
        self.queues.retain(|_, id| engine.names_queue(*id) || engine.drop_queue(*id));
        self.names.retain(|id, _| engine.names_queue(*id));
    }

    /// When to read queues, if somebody waits for that (`wanted`) or they have changed.
    pub(super) fn next_queues(&self, wanted: bool) -> Option<Timestamp> {
        let wanted = wanted || self.queues_changed || self.queues_locked;
        wanted.then(|| self.queues_at.unwrap_or(Timestamp(0)))
    }

    /// Looks at a row before it is taken; `known` is the job as it was.
    pub(super) fn look(&mut self, row: &JobRow, known: Option<&Job>) {
        let id = JobId(row.id);
        let waits = row.options.as_deref().is_some_and(|options| options.contains("run_after"));
        let named = known.is_some_and(|job| job.is_named_as(row));
        if waits && !(named && known.is_some_and(|job| job.has_options_of(row))) {
            self.unread.insert(id);
        } else if !waits {
            self.unread.remove(&id);
            self.after.remove(&id);
        }
        self.renamed |= !named;
    }

    /// A job is gone.
    pub(super) fn gone(&mut self, job: JobId) {
        self.unread.remove(&job);
        self.asking.remove(&job);
        self.after.remove(&job);
        self.renamed = true;
    }

    /// All jobs are gone.
    pub(super) fn all_gone(&mut self) {
        self.unread.clear();
        self.asking.clear();
        self.ask_at = None;
        self.after.clear();
        self.again.clear();
    }

    /// When to read who waits for whom, or what became of those.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.next_names().into_iter().chain(self.ask_at).min()
    }

    fn next_names(&self) -> Option<Timestamp> {
        if !self.again.is_empty() {
            return Some(Timestamp(0));
        }
        (self.renamed && !self.after.is_empty()).then(|| self.read_at.plus(READ_ALL_PAUSE))
    }

    /// All have been read, or are about to be.
    fn all_named(&mut self) {
        (self.renamed, self.read_at) = (false, time::now());
    }

    /// Has it read for whom each job waits: from now on, or once more when that is done.
    pub(super) fn read_names(&mut self) {
        if self.again.is_empty() {
            self.again = self.after.keys().copied().collect();
            self.all_named();
        } else {
            self.renamed = true;
        }
    }

    /// The next jobs of which that is to be read.
    fn next_again(&mut self) -> HashSet<JobId> {
        let left = self.again.len().saturating_sub(self.page.size());
        // Some are gone since, or wait for nobody.
        self.again.drain(left..).filter(|job| self.after.contains_key(job)).collect()
    }

    /// Tells the engine for whom these jobs wait: those `found` for others, the rest for nobody.
    fn take_upstream(
        &mut self,
        of: &HashSet<JobId>,
        found: Vec<(i64, Vec<i64>)>,
        engine: &mut Engine,
    ) {
        let mut found: HashMap<JobId, Vec<i64>> =
            found.into_iter().map(|(job, upstream)| (JobId(job), upstream)).collect();
        for &job in of {
            let upstream = found.remove(&job).unwrap_or_default();
            self.wait_for(job, upstream.into_iter().map(JobId).collect(), engine);
        }
    }

    fn wait_for(&mut self, job: JobId, after: Arc<[JobId]>, engine: &mut Engine) {
        if self.after(job) != after {
            engine.run_after(job, &after);
            self.asking.insert(job);
        }
        // One that waits for nobody may do so for who gets that name.
        self.after.insert(job, after);
    }

    /// A job is put that may wait for others.
    pub(super) fn put(&mut self, job: JobId) {
        if self.after.contains_key(&job) {
            self.asking.insert(job);
        }
    }
}

impl Scheduler {
    /// Reads the queues that somebody waits for and that may have changed; `changed`: some have now.
    /// Whoever changes them all the time gets a share of this process's time, whoever waits for one
    /// its turn. Until a queue is read nothing of it begins.
    pub(super) fn read_queues(&mut self, changed: bool) {
        if changed {
            self.engine.doubt_queues();
        }
        let company = &mut self.jobs.company;
        company.queues_changed |= changed;
        let wanted = self.engine.unknown_queues(QUEUES_AT_ONCE);
        if !self.installed || company.next_queues(!wanted.is_empty()).is_none() {
            return;
        }
        let now = time::now();
        // A clock that was set back makes that time lie far ahead.
        if company.queues_at.is_some_and(|at| at > now && at.since(now) <= Timestamp::SECOND) {
            if company.queues_locked {
                self.engine.trust_queues();
            }
            return;
        }
        let names: Vec<Rc<str>> =
            wanted.iter().filter_map(|id| company.names.get(id).cloned()).collect();
        let began = Instant::now();
        self.stats_pending = true;
        let read = txn::run("reading queues", || match load::installed()? {
            Some(_) => load::queues(&names).map(Some),
            None => Ok::<_, pgrx::spi::Error>(None),
        });
        self.saw_source(Source::Queues, matches!(read, Some(Ok(_))), now);
        let company = &mut self.jobs.company;
        let pause = if let Some(Ok(Some(found))) = read {
            if std::mem::take(&mut company.queues_locked) {
                // What was trusted meanwhile is to be read.
                self.engine.doubt_queues();
            }
            company.queues_changed = false;
            company.take_queues(&wanted, found, &mut self.engine);
            let took = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
            took.saturating_mul(QUEUES_SHARE).min(Timestamp::SECOND)
        } else {
            company.queues_locked = true;
            self.engine.trust_queues();
            LOCK_RETRY
        };
        company.queues_at = Some(time::now().plus(pause));
    }

    /// Reads for whom those of the jobs just read wait that are new or wait for others than before. `all`
    /// jobs have been read.
    pub(super) fn take_upstream(&mut self, all: bool) {
        let of = std::mem::take(&mut self.jobs.company.unread);
        if !self.read_upstream(&of) {
            self.jobs.company.unread.extend(of);
            self.database.changes.push_everything();
        } else if all {
            self.jobs.company.all_named();
        }
    }

    /// Reads for whom these jobs wait. False if that could not be read: it is read again.
    fn read_upstream(&mut self, of: &HashSet<JobId>) -> bool {
        if of.is_empty() {
            return true;
        }
        let ids: Vec<i64> = of.iter().map(|job| job.0).collect();
        let found = txn::run("reading who waits for whom", || load::upstream(&ids));
        let company = &mut self.jobs.company;
        let Some(Ok(found)) = found else {
            // Until then everybody waits for those he waited for.
            company.again.clear();
            (company.renamed, company.read_at) = (true, time::now());
            return false;
        };
        company.take_upstream(of, found, &mut self.engine);
        true
    }

    /// Reads who waits for whom, some time after a name has come, gone or passed to another job, and what
    /// became of those as soon as the ledger can be read.
    pub(super) fn take_names(&mut self, now: Timestamp) {
        let company = &mut self.jobs.company;
        // A clock that was set back makes the last time lie ahead, and the next one far ahead.
        let due = company.next_names().is_some_and(|at| at <= now || company.read_at > now);
        let ask = company.ask_at.is_some_and(|at| at <= now || at.since(now) > LOCK_RETRY);
        if !self.installed || !(due || ask) {
            return;
        }
        if !due {
            self.look_upstream();
            return;
        }
        let since = Instant::now();
        if company.again.is_empty() {
            company.read_names();
        }
        let of = company.next_again();
        self.read_upstream(&of);
        self.look_upstream();
        self.jobs.company.page.done(of.len(), since.elapsed());
    }

    /// Tells the engine what became of instants of jobs others have begun to wait for, as far as those
    /// have instants in the past. Until the ledger can be read, of each only its latest success is known.
    pub(super) fn look_upstream(&mut self) {
        let company = &mut self.jobs.company;
        company.ask_at = None;
        let asking = std::mem::take(&mut company.asking);
        let mut since: HashMap<JobId, Timestamp> = HashMap::new();
        for (after, at) in asking.iter().filter_map(|&job| self.engine.asks_about(job)) {
            for &other in &*after {
                since.entry(other).and_modify(|first| *first = at.min(*first)).or_insert(at);
            }
        }
        if since.is_empty() {
            return;
        }
        let since: Vec<(JobId, Timestamp)> = since.into_iter().collect();
        let ledger = pgrx::pg_sys::Oid::from(self.ledger);
        let found = txn::run("looking what became of runs others wait for", || {
            if !lock::try_read_table(ledger) {
                return Ok(None);
            }
            fates::since(&since).map(Some)
        });
        let Some(Ok(Some(found))) = found else {
            self.jobs.company.asking.extend(asking);
            self.jobs.company.ask_at = Some(time::now().plus(LOCK_RETRY));
            return;
        };
        for Fate { job, first, last, succeeded } in found {
            match succeeded {
                true => self.engine.settled(job, first, Settled::Succeeded),
                false => self.engine.unsuccessful(job, first, last),
            }
        }
    }
}

/// Lets jobs go on that wait for a run: what is not tried again has failed for good.
pub(super) fn settle(engine: &mut Engine, run: &Occurrence, origin: Origin, how: Settled) {
    if origin.is_instant() {
        engine.settled(run.job, run.scheduled_for, how);
    }
}

fn spec(most: Option<i32>, rate: Option<f64>) -> QueueSpec {
    let max_running = most.map(|most| u32::try_from(most).unwrap_or(0));
    #[allow(clippy::cast_precision_loss, reason = "a second has a million microseconds")]
    let second = Timestamp::SECOND as f64;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "far below the largest number, and saturating"
    )]
    let interval = |rate: f64| (second / rate).ceil() as i64;
    let start_interval = rate.filter(|&rate| rate > 0.0).map_or(0, interval);
    QueueSpec { max_running, start_interval }
}
