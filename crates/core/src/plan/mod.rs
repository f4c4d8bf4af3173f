//! A schedule with its shape: jitter, run window and calendars.
//!
//! Owns the answer to "when may this job's next run start": every other part (engine, previews,
//! forecasts) asks a [`Plan`]. Its invariants: starts come in the order of their instants, each
//! strictly before the next instant and in the same open stretch as its own; every answer is a
//! pure function of the plan and the question.
//!
//! Window and calendars speak of the nominal instant, in the zone the schedule is read in. What
//! they exclude is not moved but skipped, for [`SkipReason::Calendar`](crate::run::SkipReason) or
//! `Window`.

mod dates;
mod forecast;
mod gate;
mod jitter;
mod window;

use std::sync::Arc;

pub use dates::Dates;
pub use forecast::{Forecast, ForecastJob, Forecasts, forecast};
pub(crate) use jitter::splitmix;
pub use window::{RunWindow, WindowError};

use crate::engine::Occurrences;
use crate::run::Verdict;
use crate::schedule::{Context, DayRule, DstPolicy, Kind, Schedule, Zone};
use crate::time::Timestamp;
use gate::{Gate, HORIZON};

/// How many open stretches without an instant of the schedule are looked at before a search gives
/// up: whoever writes a window with many holes must not be able to hold up the scheduler.
const MOST_STRETCHES: u32 = 20_000;

/// What shapes a schedule. The default shapes nothing.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The most microseconds a run starts after its instant; 0 or less = it starts right then.
    pub jitter: i64,
    /// The hours of the week in which runs may start; `None` = all.
    pub window: Option<RunWindow>,
    /// Local dates on which nothing runs, whatever `only_on` says.
    pub skip_on: Vec<Arc<Dates>>,
    /// The only local dates on which something runs; empty = any.
    pub only_on: Vec<Arc<Dates>>,
    /// What tells this job's jitter from that of others: its id.
    pub seed: i64,
}

/// A job's schedule in its zone, with its shape.
#[derive(Clone, Debug)]
pub struct Plan {
    schedule: Schedule,
    zone: Arc<Zone>,
    days: DayRule,
    policy: DstPolicy,
    anchor: Timestamp,
    /// `None` = [`PLAIN`]; most jobs have no shape, and a scheduler may hold 100,000 of them.
    shape: Option<Box<Shape>>,
}

/// The shape of a plan that has none.
static PLAIN: Shape =
    Shape { jitter: 0, window: None, skip_on: Vec::new(), only_on: Vec::new(), seed: 0 };

/// One run to come, for previews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    /// The instant the schedule names.
    pub nominal: Timestamp,
    /// When the run starts.
    pub start: Timestamp,
    /// What a clock change or jitter did to it, if either did.
    pub note: Option<String>,
}

/// A start, and at which times it is the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextStart {
    from: Timestamp,
    /// The first instant at which it is not known any more to be the next one.
    until: Timestamp,
    start: Timestamp,
}

impl NextStart {
    /// None, at no time.
    pub const NEVER: Self = Self { from: Timestamp(0), until: Timestamp(0), start: Timestamp(0) };

    /// The start, if it is known to be the first one after `after`.
    #[must_use]
    pub fn after(&self, after: Timestamp) -> Option<Timestamp> {
        (self.from <= after && after < self.until).then_some(self.start)
    }
}

impl Plan {
    /// A plan. `zone` is the job's; a schedule with `CRON_TZ=` is read in its own, and so are then
    /// window and calendars. For `days`, `policy` and `anchor` see [`Context`].
    #[must_use]
    pub fn new(
        schedule: Schedule,
        zone: Arc<Zone>,
        days: DayRule,
        policy: DstPolicy,
        anchor: Timestamp,
        shape: Shape,
    ) -> Self {
        let zone = schedule.zone().map_or(zone, |own| Arc::new(own.clone()));
        Self { schedule, zone, days, policy, anchor, shape: boxed(shape) }
    }

    /// The same plan with another anchor.
    #[must_use]
    pub fn from(self, anchor: Timestamp) -> Self {
        Self { anchor, ..self }
    }

    /// The same plan for a job that took effect at another instant and spreads its starts otherwise.
    #[must_use]
    pub fn for_job(&self, anchor: Timestamp, jitter: i64, seed: i64) -> Self {
        let shape = boxed(Shape { jitter, seed, ..self.shape().clone() });
        Self {
            schedule: self.schedule.clone(),
            zone: Arc::clone(&self.zone),
            anchor,
            shape,
            ..*self
        }
    }

    /// Whether it is the same for all jobs with this schedule, zone, window and calendars: it depends
    /// neither on its anchor nor on its seed.
    #[must_use]
    pub fn is_common(&self) -> bool {
        !self.schedule.counts_from_anchor() && self.shape().jitter <= 0
    }

    /// The schedule.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The zone it is read in: the schedule's own, or else the job's.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What shapes it; the default shape when nothing does.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        self.shape.as_deref().unwrap_or(&PLAIN)
    }

    /// What the schedule is read with.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        let Self { policy, days, anchor, .. } = *self;
        Context { zone: &self.zone, policy, days, anchor }
    }

    /// The first instant the schedule names strictly after `after`, open or not; see
    /// [`Schedule::next`].
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, &self.context())
    }

    /// What becomes of an instant the schedule names.
    #[must_use]
    pub fn verdict(&self, nominal: Timestamp) -> Verdict {
        match self.gate().reason(nominal) {
            Some(reason) => Verdict::Skip(reason),
            None => Verdict::Start(self.start_of(nominal)),
        }
    }

    /// The first instant strictly after `after` that runs (whose verdict is a start); `None` when
    /// there is none within forty years, or when 20,000 open stretches in a row hold no instant of
    /// the schedule (a window open daily at the wrong hour has 14,600 in that time). Closed
    /// stretches are jumped over, so a one-second job outside its window costs no more than any
    /// other.
    #[must_use]
    pub fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        if self.gate().is_absent() {
            return self.next(after);
        }
        self.next_open_until(after, after.plus(HORIZON * Timestamp::SECOND))
    }

    /// The first instant strictly after `after` and up to `until` that runs.
    fn next_open_until(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let gate = self.gate();
        let mut at = after;
        for _ in 0..MOST_STRETCHES {
            let nominal = self.next(at).filter(|&nominal| nominal <= until)?;
            let opens = gate.opens(nominal)?;
            if opens == nominal {
                return Some(nominal);
            }
            at = opens.plus(-1);
        }
        None
    }

    /// The first instant at or after `at` at which window and calendars let a run start: `at`
    /// itself when they do so then, `None` when they do not within forty years.
    #[must_use]
    pub fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        self.gate().opens(at)
    }

    /// The runs that start strictly after `after`, in order, window, calendars and jitter applied.
    pub fn coming(&self, after: Timestamp) -> impl Iterator<Item = Coming> {
        self.starts(after).map(|(nominal, start)| Coming {
            nominal,
            start,
            note: self.note(nominal, start),
        })
    }

    /// When the first of them starts.
    #[must_use]
    pub fn next_start(&self, after: Timestamp) -> Option<Timestamp> {
        self.starts(after).next().map(|(_, start)| start)
    }

    /// The same where it is known without the anchor, and for how long it is the answer; None also if
    /// there is none.
    #[must_use]
    pub fn next_start_by_clock(&self, after: Timestamp) -> Option<NextStart> {
        if self.schedule.counts_from_anchor() {
            return None;
        }
        // Whether an instant that has passed and is about to start is one of its own depends on when it
        // took effect.
        let (nominal, start) = self.starts(after).next()?;
        (nominal > after).then_some(NextStart { from: after, until: nominal, start })
    }

    /// Instants that run, each with its start, from the first that starts after `after`.
    fn starts(&self, after: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let mut at = Some(self.before_starts_after(after));
        std::iter::from_fn(move || {
            at = self.next_open(at?);
            at
        })
        .map(|nominal| (nominal, self.start_of(nominal)))
        .skip_while(move |&(_, start)| start <= after)
    }

    fn gate(&self) -> Gate<'_> {
        let Shape { window, skip_on, only_on, .. } = self.shape();
        Gate { zone: &self.zone, window: window.as_ref(), skip_on, only_on }
    }

    /// When the run of an open instant starts.
    fn start_of(&self, nominal: Timestamp) -> Timestamp {
        let Shape { jitter, seed, .. } = *self.shape();
        if jitter <= 0 {
            return nominal;
        }
        let next = match self.schedule.kind() {
            // The next one counts from this one's end, which is not before this one.
            Kind::EveryAfterCompletion => self.after_completion().map(|by| nominal.plus(by)),
            _ => self.next(nominal),
        };
        let latest = nominal.plus(jitter);
        let cap = next.map_or(latest, |next| next.min(latest));
        let room = self.gate().closes(nominal, cap).since(nominal);
        nominal.plus(jitter::delay(seed, nominal.0, room))
    }

    /// An instant from which on [`Self::next_open`] finds every run that starts after `after`.
    ///
    /// Starts come before the next instant, so only the last instant up to `after` can still be
    /// about to start; nothing is gained by going back further. What the schedule named before the
    /// anchor, when it took effect, is none of its instants.
    fn before_starts_after(&self, after: Timestamp) -> Timestamp {
        let jitter = self.shape().jitter;
        let last = if jitter > 0 { self.latest_open(after, jitter) } else { None };
        last.map_or(after, |last| last.plus(-1).max(self.anchor.min(after)))
    }

    /// The last instant that runs, is at most `reach` microseconds before `until`, and not after
    /// it.
    fn latest_open(&self, until: Timestamp, reach: i64) -> Option<Timestamp> {
        let due = |after: Timestamp| self.next_open_until(after, until);
        // Some instant is found by looking back ever further; then the last one by halving.
        let mut back = Timestamp::SECOND.min(reach);
        let mut found = loop {
            match due(until.plus(-back)) {
                Some(found) => break found,
                None if back >= reach => return None,
                None => back = back.saturating_mul(2).min(reach),
            }
        };
        let mut bound = until;
        while found < bound {
            let middle = found.plus(bound.since(found) / 2); // rounds down
            match due(middle) {
                Some(later) => found = later,
                None => bound = middle,
            }
        }
        Some(found)
    }

    /// Microseconds from the end of a run to the next; `None` for schedules that do not depend on
    /// their runs.
    #[must_use]
    pub fn after_completion(&self) -> Option<i64> {
        let seconds = match self.schedule.kind() {
            Kind::EveryAfterCompletion => self.schedule.interval_secs(),
            _ => None,
        };
        seconds.map(|seconds| seconds.saturating_mul(Timestamp::SECOND))
    }

    fn note(&self, nominal: Timestamp, start: Timestamp) -> Option<String> {
        let clock = self.schedule.clock_note(nominal, &self.context()).map(|n| n.to_string());
        let jitter = (start > nominal).then(|| {
            let late = start.since(nominal);
            let (seconds, millis) = (late / Timestamp::SECOND, late / 1_000 % 1_000);
            format!("jitter of {seconds}.{millis:03} s after {}", self.zone.local(nominal))
        });
        match (clock, jitter) {
            (Some(clock), Some(jitter)) => Some(format!("{clock}; {jitter}")),
            (clock, jitter) => clock.or(jitter),
        }
    }
}

/// A shape that is kept; None if it shapes nothing.
fn boxed(shape: Shape) -> Option<Box<Shape>> {
    let Shape { jitter, window, skip_on, only_on, .. } = &shape;
    let plain = *jitter <= 0 && window.is_none() && skip_on.is_empty() && only_on.is_empty();
    (!plain).then(|| Box::new(shape))
}

impl Occurrences for Plan {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.next(after)
    }

    fn verdict(&self, nominal: Timestamp) -> Verdict {
        Self::verdict(self, nominal)
    }

    fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        Self::next_open(self, after)
    }

    fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        Self::opens(self, at)
    }

    fn after_completion(&self) -> Option<i64> {
        Self::after_completion(self)
    }

    fn once(&self) -> bool {
        self.schedule.kind() == Kind::Once
    }
}
