//! Plans that were made before: a view asks for those of all jobs, row by row, and most jobs have their
//! schedule in common with others.
//!
//! Owns one invariant: what is remembered is what would be made anew. A plan is a pure function of
//! columns, of settings that are part of its key, of `cron.timezone`, which stays while the server runs,
//! and of calendars, which hold for one view of the tables. Its next start says itself for how long it is
//! that.

use std::cell::Cell;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use pg_tock_core::plan::{NextStart, Plan};
use pg_tock_core::schedule::{DayRule, DstPolicy};
use pg_tock_core::time::Timestamp;

use crate::catalog::outlook::Shaped;
use crate::pg::args::Args;
use crate::pg::snapshot::{View, view};

use super::outlook::{Broken, Calendars, clock_rule, plan};
use super::preview::day_rule;
use super::schedules::readable;

/// Most plans remembered, of some 400 bytes each; then all are forgotten.
const MOST: usize = 10_000;

thread_local! {
    static KNOWN: Cell<Option<Known>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
struct Known {
    plans: HashMap<Box<[u8]>, Remembered, RandomState>,
    /// Memory for the key that is looked for.
    key: Vec<u8>,
}

/// What makes a plan that its jobs have in common: arguments as they came, by their places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'call> {
    pub(super) schedule: &'call [u8],
    pub(super) timezone: Option<&'call [u8]>,
    pub(super) dst_policy: Option<&'call [u8]>,
    pub(super) run_window: Option<&'call [u8]>,
    pub(super) args: Args<'call>,
    /// The places of `skip_on` and `only_on`.
    pub(super) calendars: [usize; 2],
}

/// A plan without jitter, anchor and seed.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) plan: Result<Plan, Broken>,
    /// What was seen of the tables when its calendars were read; None if it has none.
    read_in: Option<View>,
    next: Option<NextStart>,
}

/// What `body` makes of the plan of these columns; None if its calendars cannot be read.
pub(super) fn with_plan<R>(
    columns: &Columns<'_>,
    body: impl FnOnce(&mut Remembered) -> R,
) -> Option<R> {
    // Taken out, for reading calendars runs statements.
    let mut known = KNOWN.take().unwrap_or_default();
    columns.write_key(&mut known.key);
    let found = known.plans.get_mut(known.key.as_slice());
    if let Some(found) = found.filter(|found| found.read_in.is_none() || found.read_in == view()) {
        let answer = body(found);
        KNOWN.set(Some(known));
        return Some(answer);
    }
    let made = columns.make();
    let answer = made.map(|(mut made, lasts)| {
        let answer = body(&mut made);
        if lasts {
            if known.plans.len() >= MOST {
                known.plans.clear();
            }
            known.plans.insert(known.key.as_slice().into(), made);
        }
        answer
    });
    KNOWN.set(Some(known));
    answer
}

impl Columns<'_> {
    fn write_key(&self, key: &mut Vec<u8>) {
        let [skip_on, only_on] = self.calendars.map(|place| self.args.bytes(place));
        let parts = [self.timezone, self.run_window, skip_on, only_on];
        // What there is, and then how long it is and what: no two lists of texts look alike.
        let mut there = self.settings();
        there = parts.iter().fold(there, |there, part| there << 1 | u8::from(part.is_some()));
        key.clear();
        key.push(there);
        for part in parts.into_iter().flatten() {
            key.extend_from_slice(&part.len().to_ne_bytes());
            key.extend_from_slice(part);
        }
        key.extend_from_slice(self.schedule);
    }

    /// The settings that count, as bits.
    pub(super) fn settings(&self) -> u8 {
        let wall = u8::from(self.clock_rule() == DstPolicy::Wall);
        wall << 1 | u8::from(day_rule() == DayRule::And)
    }

    /// Whether it names calendars.
    pub(super) fn has_calendars(&self) -> bool {
        self.calendars.iter().any(|&place| self.args.is_given(place))
    }

    fn clock_rule(&self) -> DstPolicy {
        clock_rule(self.dst_policy)
    }

    /// The plan, and whether it may be remembered; None if its calendars cannot be read.
    fn make(&self) -> Option<(Remembered, bool)> {
        let [skip_on, only_on] = self.calendars.map(|place| self.args.names(place));
        let has_calendars = !skip_on.is_empty() || !only_on.is_empty();
        let job = Shaped {
            jobid: 0,
            schedule: readable(self.schedule).into_owned(),
            timezone: self.timezone.map(|name| readable(name).into_owned()),
            dst_policy: self.dst_policy.map(|name| readable(name).into_owned()),
            jitter: Some(0),
            run_window: self.run_window.map(|text| readable(text).into_owned()),
            skip_on,
            only_on,
        };
        let plan = Calendars::of_snapshot(|calendars| plan(&job, Timestamp(0), calendars)).ok()?;
        let read_in = if has_calendars { view() } else { None };
        let lasts = read_in.is_some() || !has_calendars;
        Some((Remembered { plan, read_in, next: None }, lasts))
    }
}

impl Remembered {
    /// When a job of this very plan starts next; None also if jobs start at instants of their own.
    pub(super) fn next(&mut self, after: Timestamp) -> Option<Timestamp> {
        self.next_start(after)?.after(after)
    }

    /// When a job with this jitter starts next; None also if that does not follow from the clock alone.
    pub(super) fn next_of(
        &mut self,
        jobid: i64,
        jitter: i64,
        after: Timestamp,
    ) -> Option<NextStart> {
        if jitter <= 0 {
            return self.next_start(after);
        }
        let plan = self.plan.as_ref().ok()?.for_job(Timestamp(i64::MIN), jitter, jobid);
        plan.next_start_by_clock(after)
    }

    fn next_start(&mut self, after: Timestamp) -> Option<NextStart> {
        if self.next.is_none_or(|next| next.after(after).is_none()) {
            let plan = self.plan.as_ref().ok().filter(|plan| plan.is_common())?;
            self.next = plan.next_start_by_clock(after);
        }
        self.next
    }
}
