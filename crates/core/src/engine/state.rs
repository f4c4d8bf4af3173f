//! The engine's records: jobs, keys, owners and executors.

use std::collections::VecDeque;
use std::sync::Arc;

use super::due::later;
use super::heap::Heap;
use super::successes::Failures;
use super::types::{Occurrence, Occurrences, PoolKey};
use super::waiting::{JobQueue, Waiting};
use crate::run::{MissedPolicy, Overlap, SkipReason};
use crate::time::{JobId, Timestamp};

/// Before every instant.
pub(super) const EVER: Timestamp = Timestamp(i64::MIN);

/// Missed instants that are all to run: those after `after` and before `until`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    pub(super) after: Timestamp,
    pub(super) until: Timestamp,
}

/// What few jobs have, kept apart so that the others are small.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Missed instants older than this many microseconds are skipped.
    pub(super) missed_window: Option<i64>,
    pub(super) paused_until: Option<Timestamp>,
    /// The pause that ended, or was ended before its time, since instants were taken last.
    pub(super) resumed: Option<Timestamp>,
    /// Instants up to this one fell into a pause.
    pub(super) pause_end: Option<Timestamp>,
    /// Sorted; see `JobSpec::done`.
    pub(super) done: Option<Arc<[Timestamp]>>,
    /// Oldest first, and all before anything in the queue that came from the schedule.
    pub(super) backlogs: VecDeque<Backlog>,
    /// From when a schedule that counts from the end of runs counts.
    pub(super) base: Option<Timestamp>,
    /// The last instant whose run turned out not to be one, and why.
    pub(super) turned_away: Option<(SkipReason, Timestamp)>,
    /// Whom it waits for, and the instant that need not wait any more.
    pub(super) after: Option<Arc<[JobId]>>,
    pub(super) cleared: Option<Timestamp>,
    /// What its next instant waits for, as far as it was looked up.
    pub(super) awaited: Option<Box<Awaited>>,
    /// More of what waits in vain is left for the next tick.
    pub(super) put_off: bool,
    /// Where it has not succeeded, if others wait for it.
    pub(super) failures: Failures,
}

/// The instants of other jobs that an instant of a job waits for.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) at: Timestamp,
    /// The job's instant before that.
    pub(super) before: Timestamp,
    /// In the order of the jobs it waits for: the schedule that was asked, and its latest instant.
    pub(super) latest: Vec<Option<Latest>>,
}

#[derive(Debug)]
pub(super) struct Latest {
    pub(super) of: Arc<dyn Occurrences>,
    pub(super) instant: Option<Timestamp>,
}

static NOTHING_RARE: Rare = Rare {
    missed_window: None,
    paused_until: None,
    resumed: None,
    pause_end: None,
    done: None,
    backlogs: VecDeque::new(),
    base: None,
    turned_away: None,
    after: None,
    cleared: None,
    awaited: None,
    put_off: false,
    failures: Failures::NONE,
};

/// A run that was handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) executor: u32,
    /// What it was when it waited; `None` when an earlier scheduler handed it out.
    pub(super) waiting: Option<Waiting>,
    /// `Action::Cancel` was decided for it.
    pub(super) cancelled: bool,
}

/// The runs of a job: one, unless its runs may overlap.
#[derive(Debug, Default)]
pub(super) struct Runs {
    first: Option<Run>,
    rest: Vec<Run>,
}

impl Runs {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.first.iter().chain(&self.rest)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    pub(super) fn push(&mut self, run: Run) {
        match &mut self.first {
            None => self.first = Some(run),
            Some(_) => self.rest.push(run),
        }
    }

    pub(super) fn of(&mut self, executor: u32) -> Option<&mut Run> {
        self.iter_mut().find(|run| run.executor == executor)
    }

    pub(super) fn remove(&mut self, executor: u32) -> Option<Run> {
        if self.first.as_ref().is_some_and(|run| run.executor == executor) {
            let next = (!self.rest.is_empty()).then(|| self.rest.remove(0));
            return std::mem::replace(&mut self.first, next);
        }
        let at = self.rest.iter().position(|run| run.executor == executor)?;
        Some(self.rest.remove(at))
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) key: u32,
    /// `None` in a record that stands only for a run still going.
    pub(super) times: Option<Arc<dyn Occurrences>>,
    pub(super) missed: MissedPolicy,
    /// As the caller said.
    pub(super) active: bool,
    /// Active and launching is allowed: the job is on the agenda.
    pub(super) on: bool,
    /// Dropped, or never put; the record stays while its run goes on.
    pub(super) dropped: bool,
    /// The clock was set back: waits for being put again.
    pub(super) stale: bool,
    /// The schedule was asked and has no further instant.
    pub(super) exhausted: bool,
    /// Stands in the list of jobs whose cursor may have moved.
    pub(super) moved: bool,
    /// Instants up to this one are taken, or none of the job's.
    pub(super) popped: Timestamp,
    /// The last instant that was taken.
    pub(super) taken: Timestamp,
    /// From where the edge said that the job's instants count: its schedule or its activation began.
    /// While the job is on, `popped` is not before it.
    pub(super) since: Timestamp,
    /// The cursor the edge knows.
    pub(super) reported: Timestamp,
    /// The last `Skipped` emitted, if nothing has happened to the job since.
    pub(super) skipped: Option<(SkipReason, Timestamp)>,
    pub(super) queue: JobQueue,
    /// Since when nothing but a slot or an executor is missing.
    pub(super) eligible_since: Timestamp,
    pub(super) runs: Runs,
    pub(super) overlap: Overlap,
    /// How many runs of it there may be at a time.
    pub(super) places: u32,
    pub(super) priority: i32,
    /// The latest instant for which it has succeeded (see `successes`), and from where it has instants.
    pub(super) succeeded: Timestamp,
    pub(super) began: Timestamp,
    /// The line it belongs to in the queue it names.
    pub(super) line: Option<u32>,
    /// Nothing of it starts until the holds on it have ended.
    pub(super) held: bool,
    pub(super) rare: Option<Box<Rare>>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            id: JobId(0),
            key: 0,
            times: None,
            missed: MissedPolicy::Skip,
            active: false,
            on: false,
            dropped: true,
            stale: false,
            exhausted: false,
            moved: false,
            popped: EVER,
            taken: EVER,
            since: EVER,
            reported: EVER,
            skipped: None,
            queue: JobQueue::default(),
            eligible_since: EVER,
            runs: Runs::default(),
            overlap: Overlap::Queue,
            places: 1,
            priority: 0,
            succeeded: EVER,
            began: EVER,
            line: None,
            held: false,
            rare: None,
        }
    }
}

impl Job {
    /// The next instant of its schedule, unless it waits for other jobs.
    pub(super) fn next_nominal(&self) -> Option<&Waiting> {
        let rare = self.rare();
        let cleared = |at| rare.after.is_none() || rare.cleared == Some(at);
        self.queue.nominal().filter(|waiting| cleared(waiting.scheduled_for))
    }

    pub(super) fn occurrence(&self, waiting: Waiting) -> Occurrence {
        Occurrence {
            job: self.id,
            scheduled_for: waiting.scheduled_for,
            trigger: waiting.trigger,
            attempt: waiting.attempt,
            run: waiting.run,
        }
    }

    pub(super) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Notes that an instant is taken.
    pub(super) const fn took(&mut self, at: Timestamp) {
        self.popped = at;
        self.taken = at;
    }

    /// Whether two instants are of one schedule. What an earlier one left may wait, and of what
    /// lay between the two the present one knows nothing: they share no row.
    pub(super) const fn is_of_one(&self, one: Timestamp, other: Timestamp) -> bool {
        (one.0 > self.since.0) == (other.0 > self.since.0)
    }

    /// Whether its schedule names nothing between two instants.
    pub(super) fn follows(&self, last: Timestamp, at: Timestamp) -> bool {
        self.times.as_deref().and_then(|times| later(times, last)) == Some(at)
    }

    /// Whether an instant has a row already.
    pub(super) fn is_done(&self, nominal: Timestamp) -> bool {
        self.rare().done.as_deref().is_some_and(|done| done.binary_search(&nominal).is_ok())
    }

    /// Whether nothing of it may start by itself at `now`.
    pub(super) fn is_paused(&self, now: Timestamp) -> bool {
        self.rare().paused_until.is_some_and(|until| until > now)
    }

    /// Everything at or before it is accounted for.
    pub(super) fn cursor(&self) -> Timestamp {
        let before = |at: Timestamp| at.plus(-1);
        let waiting = self.queue.nominal().map(|waiting| before(waiting.scheduled_for));
        let backlog = self.rare().backlogs.iter().map(|backlog| backlog.after).min();
        let running = self.runs.iter().filter_map(|run| run.waiting);
        let running =
            running.filter(Waiting::is_nominal).map(|run| before(run.scheduled_for)).min();
        [waiting, backlog, running].into_iter().flatten().fold(self.popped, Ord::min)
    }
}

/// How a key stands with its waiting jobs. `ready` and `want` heaps follow from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing waits.
    #[default]
    Quiet,
    /// Jobs wait and an executor is idle: only a run slot is missing.
    Ready,
    /// Jobs wait and there is no executor at all: wants one at once.
    Bare,
    /// Jobs wait for busy executors, and have for long enough: wants more.
    Short,
    /// Will be short at an instant.
    Delayed,
    /// Jobs wait, and enough executors are coming.
    Served,
}

/// A job among those of its owner that wait: oldest due first, then by job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Head {
    /// Since when it waits, and before that by what its priority is worth.
    pub(super) order: Timestamp,
    pub(super) job: JobId,
    /// Since when it waits.
    pub(super) since: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) key: PoolKey,
    pub(super) owner: u32,
    /// Jobs, executors and questions that point here.
    pub(super) refs: u32,
    /// Jobs that wait for a slot or an executor only.
    pub(super) jobs: Heap<Head>,
    /// Idle executors, most recently used last.
    pub(super) idle: Vec<u32>,
    /// Executors that take further work, idle or busy; of HTTP requests those under way.
    pub(super) live: u32,
    /// Executors on their way up, asked ones included.
    pub(super) starting: u32,
    /// `StartExecutor` not answered yet.
    pub(super) asked: u32,
    /// So many of the first jobs that wait are to be failed, and nothing is done for them meanwhile.
    pub(super) failing: usize,
    /// A failed start is not repeated before.
    pub(super) no_growth_before: Option<Timestamp>,
    /// When a run of the key was handed out last, and of requests which hand-out of all it was.
    pub(super) handed_at: Timestamp,
    pub(super) turn: u64,
    /// Mean duration of its runs, in 1/16 microseconds, recent ones weighing more; 0 = unknown.
    pub(super) mean_run: i64,
    /// Idle executors have outlived their time because jobs wait.
    pub(super) expiry_held: bool,
    pub(super) need: Need,
}

#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) role: u32,
    /// Keys that point here.
    pub(super) keys: u32,
    /// How many of them are for runs of SQL.
    pub(super) sql_keys: u32,
    pub(super) running: u32,
    pub(super) starting: u32,
    /// Jobs for runs of SQL that have a place in a queue and do not run.
    pub(super) standing: u32,
    /// Keys with waiting jobs.
    pub(super) waiting_keys: u32,
    /// Counted among the owners with something running or waiting.
    pub(super) counted: bool,
    /// When a run of it last began or ended, and which hand-out of all was its last.
    pub(super) served_at: Option<Timestamp>,
    pub(super) turn: u64,
    /// Keys that need a run slot only.
    pub(super) ready: Heap<Head>,
    /// Keys that want an executor, those without any first.
    pub(super) want: Heap<(bool, Head)>,
}

/// Who goes first when something is short: the owner with the smallest rank.
///
/// `since` is when the owner's next job came to wait or the moment a run of it last began or ended, whichever
/// is later: how long the owner has waited, not how old its backlog is. Otherwise an owner with a large
/// backlog would win every tie until the backlog is gone, and everybody would wait behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) load: u32,
    pub(super) since: Timestamp,
    pub(super) turn: u64,
    pub(super) role: u32,
}

impl Owner {
    pub(super) fn rank(&self, load: u32, head: Head) -> Rank {
        let since = self.served_at.map_or(head.since, |served| served.max(head.since));
        Rank { load, since, turn: self.turn, role: self.role }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The slot is empty.
    #[default]
    Absent,
    Starting,
    Idle,
    /// Runs something: the job's number, until that run is over.
    Busy(Option<u32>),
    /// Told to leave.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Executor {
    pub(super) phase: Phase,
    pub(super) key: u32,
    /// Takes no further work.
    pub(super) last: bool,
    /// Belongs to an earlier scheduler and leaves without being told.
    pub(super) adopted: bool,
    /// `Action::Retire` was emitted.
    pub(super) told: bool,
    pub(super) born: Timestamp,
    /// Start of its owner's present quantum.
    pub(super) quantum_from: Timestamp,
    pub(super) idle_since: Timestamp,
    /// Orders idle executors where the clock cannot.
    pub(super) idle_turn: u64,
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            phase: Phase::Absent,
            key: 0,
            last: false,
            adopted: false,
            told: false,
            born: EVER,
            quantum_from: EVER,
            idle_since: EVER,
            idle_turn: 0,
        }
    }
}

/// No worker slot was free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    /// When to ask again although nothing was seen to change.
    pub(super) retry_at: Timestamp,
    /// Questions allowed before: one for each slot seen to become free.
    pub(super) credits: u32,
    /// The answer came since the last tick.
    pub(super) fresh: bool,
    /// Nobody was refused: what is left is kept for owners who have none.
    pub(super) reserved: bool,
}
