//! Which alerts there are: when one is raised for a job, and when it is over.
//!
//! Owns one invariant: of a job and a rule one episode is open at the most, and once a job's past is
//! known it is open exactly while what the rule speaks of holds. Nothing here is an event that could be
//! missed: [`Book`] keeps what the rules ask about, and whatever it is told, it compares. So an episode
//! has one beginning and one end, and a new scheduler that is told the past and which episodes are open
//! goes on where the last one was. What counts as slow may depend on how long runs have taken: then ended
//! runs are compared with what is usual now, and one under way that was found to be slow stays so.
//!
//! Two clocks: `now` is the time of day, for what is expected until when; `steady` is a clock that only
//! goes forward and that nobody sets, in microseconds, for how long a run takes.

mod book;
mod pace;
#[cfg(test)]
mod tests;
mod watch;
mod words;

pub use book::Book;
pub use pace::{ENOUGH_RUNS, MOST_TIMES, Pace, SlowLimit, Usual};
pub use words::{Call, Episode, MOST_BYTES, document};

use crate::run::{Outcome, words};
use crate::time::{JobId, RunId, Timestamp};

/// How many of a job's last occurrences its success rate is taken from.
pub const WINDOW: u32 = 20;

/// The most occurrences in a row that a rule can wait for: so many have to be read back.
pub const MOST_FAILURES: i32 = 1_000;

words! {
    /// What an alert is about. The byte is the rule's bit in a set.
    Rule {
        /// So many occurrences in a row have failed for good (`alert_after_failures`).
        Failures = 0 "failures",
        /// A run takes longer than it should (`alert_if_slower`, `alert_if_times_slower`).
        Slow = 1 "slow",
        /// A run gives no heartbeat (`stuck_after`).
        Stuck = 2 "stuck",
        /// No run has succeeded for too long (`alert_if_absent`).
        Absent = 3 "absent",
        /// Too few of the last occurrences have succeeded (`alert_below_success`).
        SuccessRate = 4 "success_rate",
    }
}

words! {
    /// Why an episode is over.
    Recovery {
        /// What the rule speaks of does not hold any more.
        Recovered = 0 "recovered",
        /// The job was switched off, paused or defined anew, its rule was changed, or the statistics it
        /// went by were reset.
        JobChanged = 1 "job changed",
        /// The job is gone.
        JobDropped = 2 "job dropped",
    }
}

/// What is watched of a job. Durations are in microseconds; 0 is no rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// So many occurrences in a row that failed for good are an alert.
    pub after_failures: u32,
    /// A run that takes this long is an alert.
    pub slower: i64,
    /// A run without a heartbeat for this long is an alert.
    pub stuck: i64,
    /// Such a run is ended.
    pub ends_stuck: bool,
    /// No success for this long is an alert.
    pub absent: i64,
    /// Fewer successes than this, in percent of the last [`WINDOW`] occurrences, are an alert.
    pub below_success: f64,
    /// A run that takes so many times as long as is usual is an alert; 0 is no rule.
    pub times_slower: f64,
}

impl Rules {
    /// Whether there is such a rule.
    #[must_use]
    pub fn has(&self, rule: Rule) -> bool {
        match rule {
            Rule::Failures => self.after_failures > 0,
            Rule::Slow => self.slower > 0 || self.is_relative(),
            Rule::Stuck => self.stuck > 0,
            Rule::Absent => self.absent > 0,
            Rule::SuccessRate => self.below_success > 0.0,
        }
    }

    /// Whether a run that cannot give a heartbeat is an alert while it goes on. One that is ended for
    /// that is it at its end, which counts from when its request was sent.
    #[must_use]
    pub const fn says_silent(&self) -> bool {
        self.stuck > 0 && !self.ends_stuck
    }

    /// Whether there is any rule.
    #[must_use]
    pub fn any(&self) -> bool {
        Rule::ALL.iter().any(|&rule| self.has(rule))
    }

    /// Whether a rule depends on how long the job's runs have taken.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        self.times_slower > 0.0
    }

    /// How many of a job's newest rows in the ledger say all that its rules ask of the past, but for
    /// how long its last success may be back; occurrences with many attempts have more.
    #[must_use]
    pub fn rows_to_read(&self) -> u32 {
        self.after_failures.max(WINDOW).saturating_mul(2).saturating_add(10)
    }
}

/// What a job is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What is watched.
    pub rules: Rules,
    /// Whether it is switched on.
    pub on: bool,
    /// Since when it is as it is: what was before says nothing about it.
    pub since: Timestamp,
    /// Until when it is, or was, paused.
    pub paused_until: Option<Timestamp>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Another attempt at its occurrence follows.
    pub will_retry: bool,
    /// Somebody had asked for it: if it fails, that says nothing about the schedule.
    pub by_hand: bool,
    /// How long it took, in microseconds.
    pub lasted: i64,
}

/// What is known of a job's runs before it was watched, or before this scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Its newest runs, in the order in which they ended.
    pub runs: Vec<Ended>,
    /// These are all since the job is as it is.
    pub complete: bool,
    /// When a run last succeeded, if that is known from elsewhere.
    pub last_success: Option<Timestamp>,
}

/// Something to be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The job.
    pub job: JobId,
    /// The rule.
    pub rule: Rule,
    /// What happened.
    pub change: Change,
}

/// What became of an episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// It has begun.
    Raised {
        /// The run that made it so, if one did.
        run: Option<RunId>,
        /// How that run ended, if it did.
        outcome: Option<Outcome>,
        /// What was found.
        finding: Finding,
    },
    /// It is over.
    Recovered {
        /// The run that made it so, if one did.
        run: Option<RunId>,
        /// How that run ended, if it did.
        outcome: Option<Outcome>,
        /// Why it is over.
        why: Recovery,
    },
}

/// What an alert is raised for, in numbers. Durations are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finding {
    /// So many occurrences in a row have failed for good.
    Failures {
        /// How many.
        count: u32,
    },
    /// A run takes longer than it should.
    Slow {
        /// How long it may take.
        limit: i64,
        /// How long it has taken so far.
        elapsed: i64,
        /// What makes that the limit, if it depends on how long runs have taken.
        usual: Option<Usual>,
    },
    /// A run gives no heartbeat.
    Stuck {
        /// How long it may be silent.
        limit: i64,
        /// The run.
        run: Option<RunId>,
        /// It is ended.
        ends: bool,
    },
    /// No run has succeeded for too long.
    Absent {
        /// How long that may be.
        limit: i64,
        /// When one last did, if that is known.
        last_success: Option<Timestamp>,
    },
    /// Too few of the last [`WINDOW`] occurrences have succeeded.
    SuccessRate {
        /// How many have.
        succeeded: u32,
        /// How many percent have to.
        limit: f64,
    },
}
