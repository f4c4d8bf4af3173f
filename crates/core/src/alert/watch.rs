//! What is watched of one job.

use super::{Change, Ended, Event, Finding, Pace, Past, Recovery, Rule, SlowLimit, Terms, WINDOW};
use crate::run::Outcome;
use crate::time::{JobId, RunId, Timestamp};

/// What the bits of the last [`WINDOW`] occurrences take.
const WHOLE: u32 = (1 << WINDOW) - 1;

/// A run under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) run: RunId,
    /// On the steady clock.
    pub(super) began: i64,
    /// It cannot give a heartbeat.
    pub(super) silent: bool,
    /// It has been found to be slow.
    pub(super) slow: bool,
}

/// A job as its rules see it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) terms: Terms,
    /// How long its runs take, as far as that was told.
    pace: Pace,
    /// Its past has been told. Before that nothing is raised, and ends of runs are part of it.
    pub(super) known: bool,
    /// Occurrences in a row that failed for good.
    failures: u32,
    /// The last occurrences, newest in the lowest bit; 1 = succeeded.
    recent: u32,
    /// How many of these there are.
    counted: u32,
    last_success: Option<Timestamp>,
    /// How long the slowest run took since the last that was not slow.
    slowest: i64,
    /// A run older than the oldest that was told has been the last to succeed: no earlier than this.
    floor: Option<Timestamp>,
    pub(super) runs: Vec<Running>,
    stuck: Vec<RunId>,
    /// The rules with an open episode, by their bits.
    open: u8,
    /// The instant at which the book looks whether a success is missed.
    pub(super) noted: Option<Timestamp>,
    /// The run that was heard of last.
    last: (Option<RunId>, Option<Outcome>),
}

const fn bit(rule: Rule) -> u8 {
    1 << rule.as_u8()
}

impl Watch {
    pub(super) const fn new(terms: Terms) -> Self {
        Self {
            terms,
            pace: Pace { runs: 0, p95: 0 },
            known: false,
            failures: 0,
            recent: 0,
            counted: 0,
            last_success: None,
            slowest: 0,
            floor: None,
            runs: Vec::new(),
            stuck: Vec::new(),
            open: 0,
            noted: None,
            last: (None, None),
        }
    }

    /// The job is as it is since now: what its runs came to before says nothing.
    pub(super) fn begin_anew(&mut self, terms: Terms) {
        let (runs, stuck) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.stuck));
        let &mut Self { known, open, noted, pace, .. } = self;
        *self = Self { known, open, noted, pace, runs, stuck, ..Self::new(terms) };
    }

    /// The rules are others.
    pub(super) fn judge_anew(&mut self) {
        self.runs.iter_mut().for_each(|running| running.slow = false);
        if !self.terms.rules.is_relative() {
            self.pace = Pace::default();
        }
    }

    /// So long its runs take. One under way that was found to be slow stays so, unless nothing can be
    /// said of it any more.
    pub(super) fn measured(&mut self, pace: Pace) {
        self.pace = pace;
        if self.slow_limit().is_none() {
            self.runs.iter_mut().for_each(|running| running.slow = false);
            self.slowest = 0;
        }
    }

    fn slow_limit(&self) -> Option<SlowLimit> {
        self.terms.rules.slow_limit(self.pace)
    }

    /// An earlier scheduler has raised this, and it is not over: it goes on until something says
    /// otherwise.
    pub(super) fn was_open(&mut self, rule: Rule) {
        self.open |= bit(rule);
        match rule {
            Rule::Failures => self.failures = self.failures.max(self.terms.rules.after_failures),
            // Only once its past is told is its limit known.
            Rule::Slow | Rule::Stuck | Rule::Absent | Rule::SuccessRate => {}
        }
    }

    pub(super) const fn is_open(&self, rule: Rule) -> bool {
        self.open & bit(rule) != 0
    }

    /// The rules with an open episode.
    pub(super) fn open_rules(&self) -> impl Iterator<Item = Rule> + '_ {
        Rule::ALL.iter().copied().filter(|&rule| self.is_open(rule))
    }

    /// What its runs came to that have ended; those under way tell it themselves.
    pub(super) fn remember(&mut self, past: &Past) {
        // What is not told may have been slow.
        let guessed = self.is_open(Rule::Slow) && !past.complete;
        if let Some(limit) = self.slow_limit().filter(|_| guessed) {
            self.slowest = self.slowest.max(limit.micros);
        }
        for ended in &past.runs {
            if !self.runs.iter().any(|running| running.run == ended.run) {
                self.count(ended);
            }
        }
        self.last_success = self.last_success.max(past.last_success);
        let blind = !past.complete && self.last_success.is_none() && !self.is_open(Rule::Absent);
        self.floor = past.runs.first().map(|ended| ended.at).filter(|_| blind);
        self.known = true;
        self.last = (None, None);
    }

    /// A run has begun, or it turns out that it did so later.
    pub(super) fn began(&mut self, running: Running) {
        match self.runs.iter_mut().find(|known| known.run == running.run) {
            Some(known) => *known = Running { slow: known.slow, ..running },
            None => self.runs.push(running),
        }
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        self.runs.retain(|running| running.run != ended.run);
        self.stuck.retain(|&run| run != ended.run);
        if self.known {
            self.count(ended);
        }
    }

    pub(super) fn stuck(&mut self, run: RunId) {
        if !self.stuck.contains(&run) {
            self.stuck.push(run);
        }
        self.last = (Some(run), None);
    }

    pub(super) fn spoke(&mut self, run: RunId) {
        self.stuck.retain(|&stuck| stuck != run);
        self.last = (Some(run), None);
    }

    /// A cancelled run is neither a success nor a failure.
    fn count(&mut self, ended: &Ended) {
        let succeeded = ended.outcome == Outcome::Succeeded;
        let failed = matches!(ended.outcome, Outcome::Failed | Outcome::Timeout | Outcome::Crashed);
        let for_good = failed && !ended.will_retry && !ended.by_hand;
        if succeeded {
            self.failures = 0;
            self.last_success = self.last_success.max(Some(ended.at));
        } else if for_good {
            self.failures = self.failures.saturating_add(1);
        }
        if for_good || succeeded && !ended.by_hand {
            self.recent = (self.recent << 1 | u32::from(succeeded)) & WHOLE;
            self.counted = (self.counted + 1).min(WINDOW);
        }
        let limit = self.slow_limit();
        // One that the server died under ends when that is found out.
        let timed = ended.outcome != Outcome::Crashed;
        if timed && limit.is_some_and(|limit| ended.lasted >= limit.micros) {
            self.slowest = self.slowest.max(ended.lasted);
        } else if succeeded {
            self.slowest = 0;
        }
        self.last = (Some(ended.run), Some(ended.outcome));
    }

    /// Looks at the runs under way.
    pub(super) fn look(&mut self, steady: i64) {
        let (rules, limit) = (self.terms.rules, self.slow_limit());
        for running in &mut self.runs {
            let elapsed = steady.saturating_sub(running.began);
            if limit.is_some_and(|limit| elapsed >= limit.micros) && !running.slow {
                running.slow = true;
                self.last = (Some(running.run), None);
            }
            let silent = running.silent && rules.says_silent() && elapsed >= rules.stuck;
            if silent && !self.stuck.contains(&running.run) {
                self.stuck.push(running.run);
                self.last = (Some(running.run), None);
            }
        }
    }

    /// The next instant of the steady clock at which a run may have to be looked at.
    pub(super) fn next_look(&self, running: &Running) -> Option<i64> {
        let slow = self.slow_limit().filter(|_| !running.slow).map(|limit| limit.micros);
        let quiet = running.silent && !self.stuck.contains(&running.run);
        let rules = &self.terms.rules;
        let stuck = Some(rules.stuck).filter(|_| quiet && rules.says_silent());
        let limits = [slow, stuck].into_iter().flatten();
        limits.map(|limit| running.began.saturating_add(limit)).min()
    }

    /// Since when a success is missed: the last one, or whatever explains that there was none.
    fn expected_since(&self) -> Timestamp {
        let Terms { since, paused_until, .. } = self.terms;
        let since = since.max(self.last_success.unwrap_or(since));
        since.max(paused_until.unwrap_or(since)).max(self.floor.unwrap_or(since))
    }

    /// When the absence of a success is an alert.
    pub(super) fn absent_at(&self) -> Option<Timestamp> {
        let limit = self.terms.rules.absent;
        (self.terms.on && limit > 0)
            .then(|| Timestamp(self.expected_since().0.saturating_add(limit)))
    }

    /// The clock was set back: nothing that has been lies ahead.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        self.terms.since = self.terms.since.min(to);
        self.last_success = self.last_success.map(|at| at.min(to));
        self.floor = self.floor.map(|at| at.min(to));
    }

    /// Whether what a rule speaks of holds.
    fn holds(&self, rule: Rule, now: Timestamp) -> bool {
        let rules = &self.terms.rules;
        if !self.terms.on || !rules.has(rule) {
            return false;
        }
        match rule {
            Rule::Failures => self.failures >= rules.after_failures,
            Rule::Slow => {
                self.slow_limit().is_some_and(|limit| self.slowest >= limit.micros)
                    || self.runs.iter().any(|running| running.slow)
            }
            Rule::Stuck => !self.stuck.is_empty(),
            Rule::Absent => self.absent_at().is_some_and(|at| at <= now),
            // Of fewer nothing can be said.
            Rule::SuccessRate if self.counted < WINDOW => self.is_open(rule),
            Rule::SuccessRate => self.success_rate() < rules.below_success,
        }
    }

    /// In percent of a whole window.
    fn success_rate(&self) -> f64 {
        100.0 * f64::from(self.recent.count_ones()) / f64::from(WINDOW)
    }

    /// Whether there is a rule to go by.
    fn applies(&self, rule: Rule) -> bool {
        match rule {
            Rule::Slow => self.slow_limit().is_some(),
            _ => self.terms.rules.has(rule),
        }
    }

    fn finding(&self, rule: Rule) -> Finding {
        let rules = &self.terms.rules;
        match rule {
            Rule::Failures => Finding::Failures { count: self.failures },
            Rule::Slow => {
                let SlowLimit { micros: limit, usual } =
                    self.slow_limit().unwrap_or(SlowLimit { micros: 0, usual: None });
                Finding::Slow { limit, elapsed: self.slowest.max(limit), usual }
            }
            Rule::Stuck => {
                Finding::Stuck { limit: rules.stuck, run: self.last.0, ends: rules.ends_stuck }
            }
            Rule::Absent => {
                Finding::Absent { limit: rules.absent, last_success: self.last_success }
            }
            Rule::SuccessRate => Finding::SuccessRate {
                succeeded: self.recent.count_ones(),
                limit: rules.below_success,
            },
        }
    }

    /// Compares what is open with what holds; `why` is why something may hold no longer.
    pub(super) fn compare(
        &mut self,
        job: JobId,
        now: Timestamp,
        why: Recovery,
        out: &mut Vec<Event>,
    ) {
        if !self.known {
            return;
        }
        for &rule in Rule::ALL {
            let (was, is) = (self.is_open(rule), self.holds(rule, now));
            if was == is {
                continue;
            }
            self.open ^= bit(rule);
            let why = if self.applies(rule) { why } else { Recovery::JobChanged };
            let (run, outcome) = match rule {
                Rule::Absent if is => (None, None),
                _ if why != Recovery::Recovered => (None, None),
                _ => self.last,
            };
            let change = if is {
                Change::Raised { run, outcome, finding: self.finding(rule) }
            } else {
                Change::Recovered { run, outcome, why }
            };
            out.push(Event { job, rule, change });
        }
    }
}
