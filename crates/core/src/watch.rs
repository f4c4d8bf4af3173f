//! What to do with a run that lasts: nothing, cancel it, terminate it, call it stuck.
//!
//! This module owns the deadlines of a run: what becomes of it depends on what is in [`Watch`] and
//! on nothing else, so a new scheduler goes on where the last one was. Instants are microseconds of
//! a clock that only goes forward and that nobody sets; they say nothing about the time of day.

use crate::cancel::{Cause, stuck_reason, timeout_reason};

/// What is known of a run under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// When it began.
    pub began: i64,
    /// How long it may take.
    pub timeout: Option<i64>,
    /// After how long without a sign of life it counts as stuck.
    pub stuck_after: Option<i64>,
    /// Whether it is to end then.
    pub ends_stuck: bool,
    /// When it gave its last sign of life, if it gave any.
    pub beat: Option<i64>,
    /// When somebody first wanted it to end, for whatever cause.
    pub cancelled: Option<i64>,
    /// The cancel signal has been sent.
    pub signalled: bool,
    /// The signal that ends its process has been sent.
    pub terminated: bool,
    /// The sign of life after which it was called stuck last.
    pub stuck_since: Option<i64>,
}

/// What to do with a run now. Each is done once; then there is to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant, or before something happens to the run; `None` = nothing at
    /// all before something happens.
    Wait(Option<i64>),
    /// Its time is over, or it has been silent for too long after that was said: it is to end for
    /// [`Cause::Timeout`] or [`Cause::Stuck`]. Noted in `cancelled`.
    Expire(Cause),
    /// Send the cancel signal. Noted in `signalled`.
    Cancel,
    /// End its process: it was cancelled and goes on. Noted in `terminated`.
    Terminate,
    /// Say that it is stuck since this sign of life. Noted in `stuck_since`.
    Stuck(i64),
}

impl Watch {
    /// When it has to be over.
    #[must_use]
    pub fn deadline(&self) -> Option<i64> {
        self.timeout.map(|timeout| self.began.saturating_add(timeout))
    }

    /// Its last sign of life: its last heartbeat, or its beginning.
    #[must_use]
    pub fn last_sign(&self) -> i64 {
        self.beat.map_or(self.began, |beat| beat.max(self.began))
    }

    /// When it counts as stuck, unless it gives a sign of life before.
    #[must_use]
    pub fn stuck_at(&self) -> Option<i64> {
        self.stuck_after.map(|after| self.last_sign().saturating_add(after))
    }

    /// Whether it counts as stuck at `now`.
    #[must_use]
    pub fn is_stuck(&self, now: i64) -> bool {
        self.stuck_at().is_some_and(|at| at <= now)
    }

    /// How long it may take if it gives no sign of life, and what it is ended for then.
    #[must_use]
    pub fn silent_limit(&self) -> Option<(i64, Cause)> {
        let timeout = self.timeout.map(|limit| (limit, Cause::Timeout));
        let stuck = self.stuck_after.filter(|_| self.ends_stuck).map(|limit| (limit, Cause::Stuck));
        // Of two that are equal the first.
        [timeout, stuck].into_iter().flatten().min_by_key(|(limit, _)| *limit)
    }

    /// The column `reason` of a run that is to end because it took so long.
    #[must_use]
    pub fn reason(&self, cause: Cause) -> String {
        match cause {
            Cause::Stuck => stuck_reason(self.stuck_after.unwrap_or(0)),
            _ => timeout_reason(self.timeout.unwrap_or(0)),
        }
    }

    /// What to do at `now`. `grace`: how long after its cancel it may go on.
    #[must_use]
    pub fn step(&self, now: i64, grace: i64) -> Step {
        let mut next = None;
        let mut due = |at: i64| {
            if at > now {
                next = Some(next.map_or(at, |next: i64| next.min(at)));
            }
            at <= now
        };
        match (self.cancelled, self.deadline()) {
            (None, Some(deadline)) if due(deadline) => {
                return Step::Expire(Cause::Timeout);
            }
            (Some(_), _) if !self.signalled => return Step::Cancel,
            (Some(at), _) if !self.terminated && due(at.saturating_add(grace)) => {
                return Step::Terminate;
            }
            _ => {}
        }
        let sign = self.last_sign();
        let announced = self.stuck_since == Some(sign);
        let to_end = self.ends_stuck && self.cancelled.is_none();
        if let Some(at) = self.stuck_at().filter(|_| !announced || to_end)
            && due(at)
        {
            return if announced { Step::Expire(Cause::Stuck) } else { Step::Stuck(sign) };
        }
        Step::Wait(next)
    }
}
