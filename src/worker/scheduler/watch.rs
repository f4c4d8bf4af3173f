//! Runs that last: their limits, and ending those that are to end.
//!
//! What has to be done is decided by [`Watch`]; here it is done. Everything it is decided by is in
//! the run's slot, so that the next scheduler goes on with it. Instants are on the monotonic clock:
//! setting the server's clock neither ends a run nor lets it go on.

use pg_tock_core::cancel::{self, Cause};
use pg_tock_core::time::{RunId, Timestamp};
use pg_tock_core::watch::{Step, Watch};

use super::pool::{Current, Executor};
use crate::guc;
use crate::pg::time;
use crate::pg::time::monotonic;
use crate::shmem::cancel::{Asked, Cancel};
use crate::shmem::slots::{Phase, Slot};

/// How long to wait for an executor to begin what it was given, in microseconds.
const NOT_BEGUN: i64 = Timestamp::SECOND / 50;

/// What is done about one run while it lasts.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// When to look at it; None if it has no limits and nobody wants it to end.
    look_at: Option<i64>,
    /// It is to end for this cause, which is not noted in its slot yet.
    wanted: Option<(Cause, Vec<u8>)>,
    signalled: bool,
    terminated: bool,
    stuck_since: Option<i64>,
    /// It is said to be stuck.
    stuck: bool,
    /// Whether it is, if that has changed since it was asked last.
    sign: Option<bool>,
}

impl Watched {
    /// A run that is handed over now.
    pub(super) fn new(timeout: Option<i64>, stuck_after: Option<i64>) -> Self {
        let first = [timeout, stuck_after].into_iter().flatten().min();
        Self { look_at: first.map(|limit| monotonic().saturating_add(limit)), ..Self::default() }
    }

    /// A run an earlier scheduler has handed over: it may be late already.
    pub(super) fn adopted() -> Self {
        Self { look_at: Some(0), ..Self::default() }
    }

    /// Takes over what was noted in its slot.
    pub(super) fn hear(&mut self, run: RunId, noted: &Cancel) {
        if let Some((cause, reason)) = noted.cause(run).zip(noted.reason(run)) {
            self.want_end(cause, reason);
        }
    }

    /// What the row of the run is to say if somebody has cancelled it.
    pub(super) fn cancelled(&self) -> Option<&[u8]> {
        self.wanted().filter(|(cause, _)| *cause == Cause::Requested).map(|(_, reason)| reason)
    }

    /// Why it is to end, and what its row is to say, unless its slot says so already.
    pub(super) fn wanted(&self) -> Option<(Cause, &[u8])> {
        self.wanted.as_ref().map(|(cause, reason)| (*cause, reason.as_slice()))
    }

    /// Whether it is stuck, if that has changed since this was asked last.
    pub(super) const fn take_sign(&mut self) -> Option<bool> {
        self.sign.take()
    }

    /// Whether it is stuck.
    pub(super) const fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Somebody wants the run to end; `reason` is what its row is to say.
    pub(super) fn want_end(&mut self, cause: Cause, reason: Vec<u8>) {
        self.wanted.get_or_insert((cause, reason));
        self.look_at = Some(0);
    }
}

/// Does what there is to be done about a run. Costs one look at its slot as long as that is nothing.
pub(super) fn look(current: &mut Current, slot: &Slot) {
    let watched = &current.watched;
    let asked = !watched.signalled && slot.cancel.cause(current.run).is_some();
    let spoke = watched.stuck_since.is_some_and(|sign| Some(sign) < slot.progress.heard_at());
    if watched.look_at.is_none() && !asked && !spoke {
        return;
    }
    if spoke && std::mem::take(&mut current.watched.stuck) {
        current.watched.sign = Some(false);
    }
    let now = monotonic();
    let watched = &current.watched;
    if !asked && !spoke && watched.look_at.is_some_and(|at| at > now) {
        return;
    }
    current.watched.look_at = match slot.current() {
        Some(run) if run.run == current.run && slot.phase() != Phase::Reported => {
            watch_run(current, slot, run.lasting.watch(), now)
        }
        // It is over, and its report on the way; or the order is.
        _ if slot.last_begun() == current.run => None,
        _ => Some(now.saturating_add(NOT_BEGUN)),
    };
}

/// A run that has begun and is not over; says when to look again.
fn watch_run(current: &mut Current, slot: &Slot, limits: Watch, now: i64) -> Option<i64> {
    if let Some((cause, reason)) = current.watched.wanted.take() {
        slot.want_end(current.run, cause, now, &reason);
    }
    loop {
        let watched = &mut current.watched;
        let watch = Watch {
            beat: slot.progress.heard_at(),
            cancelled: slot.cancel.asked_at(current.run),
            signalled: watched.signalled,
            terminated: watched.terminated,
            stuck_since: watched.stuck_since,
            ..limits
        };
        match watch.step(now, guc::cancel_grace()) {
            Step::Wait(next) => return next,
            Step::Expire(cause) => {
                let reason = limits.reason(cause);
                let asked = slot.want_end(current.run, cause, now, reason.as_bytes());
                if asked != Asked::Noted && slot.cancel.asked_at(current.run).is_none() {
                    // Somebody is about to note another cause.
                    return Some(now.saturating_add(NOT_BEGUN));
                }
            }
            Step::Cancel => {
                watched.signalled = true;
                slot.signal(libc::SIGINT);
            }
            Step::Terminate => {
                watched.terminated = true;
                slot.signal(libc::SIGTERM);
            }
            Step::Stuck(sign) => {
                watched.stuck_since = Some(sign);
                (watched.stuck, watched.sign) = (true, Some(true));
                if slot.progress.await_beat(watch.beat) {
                    say_stuck(current, &limits);
                }
            }
        }
    }
}

/// A line in the server log for a run that is stuck.
fn say_stuck(current: &Current, limits: &Watch) {
    let (run, job) = (current.run, current.occurrence.job);
    let silence = limits.reason(Cause::Stuck);
    if limits.ends_stuck {
        pgrx::warning!("pg_tock: run {run} of job {job} is stuck and is cancelled: {silence}");
    } else {
        pgrx::warning!(
            "pg_tock: run {run} of job {job} is stuck: {silence}; cron.running shows what it waits \
             for, SELECT cron.cancel_run({run}) ends it"
        );
    }
}

/// The next instant at which something has to be done about a run that lasts.
pub(super) fn next_look<'a>(executors: impl Iterator<Item = &'a Executor>) -> Option<Timestamp> {
    let running = executors.filter(|executor| executor.told.is_none());
    let first = running.filter_map(|executor| executor.current.as_ref()?.watched.look_at).min()?;
    Some(time::now().plus(first.saturating_sub(monotonic()).max(0)))
}

/// What `return_message` says of a run whose process had to be terminated.
pub(super) fn terminated_message(cause: Cause) -> String {
    if cause.stands_alone() {
        return cause.message().to_owned();
    }
    let detail = cancel::terminated_detail(guc::cancel_grace());
    format!("ERROR:  {}\nDETAIL:  {detail}\n", cause.message())
}
