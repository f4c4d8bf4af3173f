//! What goes into the engine and what comes out of it.

use std::fmt::Debug;
use std::sync::Arc;

use super::rules::Rules;
use crate::cancel::Cause;
use crate::run::{MissedPolicy, SkipReason, Trigger, Verdict};
use crate::time::{JobId, RunId, Timestamp};

/// The instants at which a job is due.
pub trait Occurrences: Send + Sync + Debug {
    /// The first instant strictly after `after`; `None` when there is none.
    ///
    /// Must be monotone: a later `after` never gives an earlier instant. An answer that is not
    /// after `after` counts as `None`.
    fn next_after(&self, after: Timestamp) -> Option<Timestamp>;

    /// Whether the occurrence of a nominal instant may run, and when it is to start: at or after
    /// `nominal`, and before the next instant.
    fn verdict(&self, nominal: Timestamp) -> Verdict {
        Verdict::Start(nominal)
    }

    /// The first instant strictly after `after` whose verdict is to start; `None` when there is none.
    fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_after(after)
    }

    /// The first instant at or after `at`, on the clock and not in the schedule, at which a run may
    /// start: `at` itself while the job is open; `None` when it never opens again.
    fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        Some(at)
    }

    /// Microseconds between the end of one run and the next one; `None` for a schedule that does
    /// not depend on its runs. With `Some`, `next_after` and `next_open` are not asked.
    fn after_completion(&self) -> Option<i64> {
        None
    }

    /// Whether there is one instant only, after which the job is done with.
    fn once(&self) -> bool {
        false
    }
}

/// What an executor is bound to for life: one database, logged in as one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The oid of the database; 0 = it does not exist.
    pub database: u32,
    /// The oid of the role, which is also the owner among whom run slots are shared fairly.
    pub role: u32,
}

impl PoolKey {
    /// Stands for a place outside any database. The highest oid, which no database has as long as
    /// the server has not used up all others.
    const OUTSIDE: u32 = u32::MAX;

    /// The key of runs that are HTTP requests: they need no executor.
    #[must_use]
    pub const fn http(role: u32) -> Self {
        Self { database: Self::OUTSIDE, role }
    }

    /// Whether runs of this key are HTTP requests.
    #[must_use]
    pub const fn is_http(&self) -> bool {
        self.database == Self::OUTSIDE
    }
}

/// The slot of an executor: small numbers, chosen and reused by the edge. Larger ones than
/// [`ExecutorId::MAX`] stand for runs that need no executor, and are chosen by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorId(pub u32);

impl ExecutorId {
    /// The largest number of an executor; Postgres itself allows no more background workers.
    pub const MAX: u32 = 262_143;
}

/// A job as the engine needs to know it.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Its key in `cron.job`.
    pub id: JobId,
    /// Where and as whom it runs.
    pub key: PoolKey,
    /// Whether its schedule counts.
    pub active: bool,
    /// Its schedule.
    pub times: Arc<dyn Occurrences>,
    /// What becomes of instants that could not run at their time.
    pub missed: MissedPolicy,
    /// Missed instants older than this, in microseconds, are skipped whatever the policy; `None` =
    /// no limit.
    pub missed_window: Option<i64>,
    /// Nothing of the job starts before; `Timestamp(i64::MAX)` = until it is put without.
    pub paused_until: Option<Timestamp>,
    /// Instants after the cursor that have a row already and are never due again. In any order.
    pub done: Arc<[Timestamp]>,
    /// End of the last run, for a schedule that counts from there.
    pub last_end: Option<Timestamp>,
    /// The latest instant of its schedule for which it has succeeded, for jobs that wait for it.
    pub last_success: Option<Timestamp>,
    /// Instants at or before this one are none of its own, for jobs that wait for it; `None` = those
    /// up to where its instants count from.
    pub effective_from: Option<Timestamp>,
    /// Order and company of its runs.
    pub rules: Rules,
}

impl JobSpec {
    /// An active job that skips what it missed, and has no past.
    #[must_use]
    pub fn new(id: JobId, key: PoolKey, times: Arc<dyn Occurrences>) -> Self {
        Self {
            id,
            key,
            active: true,
            times,
            missed: MissedPolicy::Skip,
            missed_window: None,
            paused_until: None,
            done: Arc::default(),
            last_end: None,
            last_success: None,
            effective_from: None,
            rules: Rules::default(),
        }
    }
}

/// One instant at which a job is to run, or one attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Occurrence {
    /// The job.
    pub job: JobId,
    /// The nominal instant.
    pub scheduled_for: Timestamp,
    /// What makes it run.
    pub trigger: Trigger,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The id of the run, where whoever asked for it has drawn one.
    pub run: Option<RunId>,
}

impl Occurrence {
    /// Whether it is an instant of the job's schedule, which the job's cursor has to account for.
    #[must_use]
    pub const fn is_nominal(&self) -> bool {
        self.trigger.is_nominal()
    }
}

/// Settings the engine obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most runs at a time; 0 counts as 1.
    pub max_running: u32,
    /// Most runs of one owner at a time; 0 = no such limit.
    pub max_running_per_role: u32,
    /// Most occurrences of a job that wait behind the one that runs or is next to run.
    pub max_queued_per_job: u32,
    /// Most HTTP requests at a time, beside the runs; 0 counts as 1.
    pub http_max_requests: u32,
    /// Microseconds after which an idle executor leaves; 0 or less = never.
    pub idle_timeout: i64,
    /// Microseconds after which an executor leaves once it is idle; 0 or less = never.
    pub max_age: i64,
    /// `cron.launch_active_jobs`; false treats every job as inactive.
    pub launch: bool,
}

/// What the edge has to do now, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the occurrence to the executor, which is idle. If that fails the executor is gone:
    /// record the run as failed and say so with `executor_gone`.
    Run {
        /// Who runs it.
        executor: ExecutorId,
        /// What is to run.
        occurrence: Occurrence,
        /// Write the run's row, flushed, before handing it over: its instant was due before the
        /// server crashed, and may be what crashed it.
        claim: bool,
    },
    /// Send the occurrence's HTTP request, having written the run's row. Ends with `run_finished`,
    /// or as a run that has not begun.
    Send {
        /// Stands for the run: no executor's number.
        executor: ExecutorId,
        /// The job.
        job: JobId,
        /// What is to be sent.
        occurrence: Occurrence,
        /// Always true: the row comes first.
        claim: bool,
    },
    /// Start an executor. Must be answered before the next `tick`, with `executor_starting` or
    /// `executor_refused`.
    StartExecutor {
        /// For whom.
        key: PoolKey,
    },
    /// Tell an idle executor to leave; ends with `executor_gone`.
    Retire {
        /// Who leaves.
        executor: ExecutorId,
    },
    /// Cancel a run; ends with `run_finished` as usual.
    Cancel {
        /// Who runs it.
        executor: ExecutorId,
        /// The job.
        job: JobId,
        /// Why.
        cause: Cause,
    },
    /// No executor could be started for the key: record a failed run.
    Fail {
        /// What did not run.
        occurrence: Occurrence,
        /// Where it would have run.
        key: PoolKey,
    },
    /// Instants that were due and will not run. The instants of the job from `first` to `last` are
    /// all accounted for by it, except those that have a row of their own.
    Skipped {
        /// The job.
        job: JobId,
        /// Why they do not run.
        reason: SkipReason,
        /// The earliest of them.
        first: Timestamp,
        /// The latest of them.
        last: Timestamp,
        /// How many; exact up to 100,000, beyond that a lower bound.
        count: u64,
        /// The `last` of an earlier `Skipped` of the job with the same reason, when nothing came
        /// between that and `first`: lengthen its row to `last`, and add `count`.
        extends: Option<Timestamp>,
    },
    /// The clock was set back by more than five minutes. No job takes instants until it is put
    /// again, with the earlier of its cursor and `to`, and what has a row since then as `done`.
    ClockBack {
        /// What the clock shows now.
        to: Timestamp,
    },
}

/// Figures for health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs known, active or not.
    pub jobs: usize,
    /// Occurrences that are due and not handed out, including those behind their own job's run.
    pub waiting: usize,
    /// Runs handed out to executors, adopted ones included.
    pub running: u32,
    /// HTTP requests handed out, adopted ones included.
    pub sending: u32,
    /// Executors that wait for work.
    pub idle: u32,
    /// Executors asked for or on their way up.
    pub starting: u32,
    /// Executors told to leave that have not gone yet.
    pub leaving: u32,
    /// The earliest instant among the occurrences that wait for a run slot or an executor only.
    pub oldest_waiting: Option<Timestamp>,
    /// The same, and among those that wait for the end of a run of their own job.
    pub oldest_due: Option<Timestamp>,
    /// Whether the last attempt to start an executor found no free worker slot and runs still
    /// wait for one.
    pub short_of_slots: bool,
}

/// How much there is to do, as far as that is known without looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// As in [`Counts`].
    pub waiting: usize,
    /// Executors, whatever they are doing.
    pub executors: u32,
    /// As in [`Counts`].
    pub short_of_slots: bool,
    /// Places for runs that are kept for owners with nothing running.
    pub kept_places: u32,
}
