//! What waits of one job.
//!
//! Invariant: everything that waits stands in exactly one lane, and what is asked of a queue
//! (who is next, how far the cursor may go, whether an instant waits already) costs O(log n) of
//! what waits: one backfill may ask for 100,000 runs of a job. A queue of one, the usual one,
//! allocates nothing.

use std::collections::BTreeMap;

use crate::run::Trigger;
use crate::time::{RunId, Timestamp};

/// Since when something waits; the second number orders what came at one instant.
pub(super) type Place = (Timestamp, u64);

/// An occurrence without its job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) scheduled_for: Timestamp,
    /// Since when it could start: orders the jobs of an owner.
    pub(super) ready_at: Timestamp,
    /// Orders what is ready at one instant.
    pub(super) turn: u64,
    pub(super) run: Option<RunId>,
    pub(super) attempt: u32,
    pub(super) trigger: Trigger,
    pub(super) claim: bool,
    /// A run that has more to do asked for it: the run of nobody who waits.
    pub(super) follows: bool,
}

impl Waiting {
    /// Whether it is an instant of the schedule, which the job's cursor must not pass.
    pub(super) const fn is_nominal(&self) -> bool {
        self.trigger.is_nominal()
    }

    /// Whether somebody wants it whatever pause, window and calendars say.
    pub(super) const fn is_forced(&self) -> bool {
        matches!(self.trigger, Trigger::Manual) && !self.follows
    }

    pub(super) const fn place(&self) -> Place {
        (self.ready_at, self.turn)
    }

    const fn instant(&self) -> Place {
        (self.scheduled_for, self.turn)
    }
}

/// A job's occurrences that wait.
#[derive(Debug, Default)]
pub(super) enum JobQueue {
    #[default]
    Empty,
    One(Waiting),
    Many(Box<Lanes>),
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Instants of the schedule, by instant. After a step back of the clock an earlier one may come
    /// after a later one.
    nominal: BTreeMap<Place, Waiting>,
    /// What somebody asked for, and of that what nothing holds back, by place.
    asked: BTreeMap<Place, Waiting>,
    forced: BTreeMap<Place, Waiting>,
    /// What follows a run that asked for it, by place.
    follow_ups: BTreeMap<Place, Waiting>,
    /// Requests that are not ready yet, by place.
    later: BTreeMap<Place, Waiting>,
    /// How many of the requests are for an instant.
    instants: BTreeMap<Timestamp, u32>,
    /// How many of the instants are caught up.
    catch_ups: usize,
}

impl JobQueue {
    /// How many are ready.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Many(lanes) => {
                let Lanes { nominal, asked, forced, follow_ups, .. } = &**lanes;
                nominal.len() + asked.len() + forced.len() + follow_ups.len()
            }
        }
    }

    /// Everything, what is not ready too, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(waiting) => (Some(waiting), None),
            Self::Many(lanes) => (None, Some(lanes)),
        };
        let lanes = many.into_iter().flat_map(|lanes| {
            let Lanes { nominal, asked, forced, follow_ups, later, .. } = &**lanes;
            [nominal, asked, forced, follow_ups, later].into_iter().flat_map(BTreeMap::values)
        });
        one.into_iter().chain(lanes)
    }

    /// Adds what is ready.
    pub(super) fn push(&mut self, waiting: Waiting) {
        if let Self::Empty = self {
            *self = Self::One(waiting);
            return;
        }
        let mut lanes = self.take_lanes();
        lanes.push(waiting);
        *self = Self::Many(lanes);
    }

    /// Adds a request that is not ready before its `ready_at`.
    pub(super) fn push_later(&mut self, waiting: Waiting) {
        let mut lanes = self.take_lanes();
        lanes.later.insert(waiting.place(), waiting);
        *lanes.instants.entry(waiting.scheduled_for).or_default() += 1;
        *self = Self::Many(lanes);
    }

    /// When the next request becomes ready.
    pub(super) fn next_later(&self) -> Option<Timestamp> {
        match self {
            Self::Many(lanes) => lanes.later.first_key_value().map(|((at, _), _)| *at),
            _ => None,
        }
    }

    /// Makes a request ready whose time has come; false if there is none.
    pub(super) fn promote(&mut self, now: Timestamp) -> bool {
        let Self::Many(lanes) = self else { return false };
        let Some(entry) = lanes.later.first_entry().filter(|entry| entry.key().0 <= now) else {
            return false;
        };
        let waiting = entry.remove();
        lanes.forget_instant(waiting.scheduled_for);
        lanes.push(waiting);
        true
    }

    /// The earliest instant of the schedule.
    pub(super) fn nominal(&self) -> Option<&Waiting> {
        match self {
            Self::Empty => None,
            Self::One(waiting) => Some(waiting).filter(|waiting| waiting.is_nominal()),
            Self::Many(lanes) => lanes.nominal.values().next(),
        }
    }

    /// The request that is ready for longest.
    pub(super) fn request(&self) -> Option<&Waiting> {
        match self {
            Self::Empty => None,
            Self::One(waiting) => Some(waiting).filter(|waiting| !waiting.is_nominal()),
            Self::Many(lanes) => {
                let Lanes { asked, forced, follow_ups, .. } = &**lanes;
                let heads = [asked, forced, follow_ups].map(|lane| lane.values().next());
                heads.into_iter().flatten().min_by_key(|waiting| waiting.place())
            }
        }
    }

    /// Since when the one waits that could start first.
    pub(super) fn ready_since(&self) -> Option<Timestamp> {
        let heads = [self.nominal(), self.request()];
        heads.into_iter().flatten().map(|waiting| waiting.ready_at).min()
    }

    /// The forced request that is ready for longest.
    pub(super) fn forced(&self) -> Option<&Waiting> {
        match self {
            Self::Empty => None,
            Self::One(waiting) => Some(waiting).filter(|waiting| waiting.is_forced()),
            Self::Many(lanes) => lanes.forced.values().next(),
        }
    }

    /// Whether something waits that follows a run.
    pub(super) fn has_follow_up(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::One(waiting) => waiting.follows,
            Self::Many(lanes) => !lanes.follow_ups.is_empty(),
        }
    }

    /// Drops what follows a run, and says how many that were.
    pub(super) fn drop_follow_ups(&mut self) -> usize {
        match self {
            Self::Many(lanes) => {
                let dropped = std::mem::take(&mut lanes.follow_ups);
                for waiting in dropped.values() {
                    lanes.forget_instant(waiting.scheduled_for);
                }
                if lanes.is_empty() {
                    *self = Self::Empty;
                }
                dropped.len()
            }
            Self::One(waiting) if waiting.follows => {
                *self = Self::Empty;
                1
            }
            _ => 0,
        }
    }

    /// Whether something waits for this instant, ready or not.
    pub(super) fn has(&self, at: Timestamp) -> bool {
        match self {
            Self::Empty => false,
            Self::One(waiting) => waiting.scheduled_for == at,
            Self::Many(lanes) => {
                let same = (at, u64::MIN)..=(at, u64::MAX);
                lanes.instants.contains_key(&at) || lanes.nominal.range(same).next().is_some()
            }
        }
    }

    /// Whether an instant to be caught up waits.
    pub(super) fn catches_up(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::One(waiting) => waiting.trigger == Trigger::CatchUp,
            Self::Many(lanes) => lanes.catch_ups > 0,
        }
    }

    /// Takes out one that is ready.
    pub(super) fn remove(&mut self, waiting: &Waiting) -> bool {
        match self {
            Self::Empty => false,
            Self::One(one) => {
                let same = one.turn == waiting.turn;
                if same {
                    *self = Self::Empty;
                }
                same
            }
            Self::Many(lanes) => {
                let found = lanes.remove(waiting);
                if lanes.is_empty() {
                    *self = Self::Empty;
                }
                found
            }
        }
    }

    /// Takes out the instants of the schedule, in order.
    pub(super) fn take_nominal(&mut self) -> Vec<Timestamp> {
        match self {
            Self::Many(lanes) => {
                lanes.catch_ups = 0;
                let taken = std::mem::take(&mut lanes.nominal);
                if lanes.is_empty() {
                    *self = Self::Empty;
                }
                taken.into_keys().map(|(at, _)| at).collect()
            }
            Self::One(one) if one.is_nominal() => {
                let at = one.scheduled_for;
                *self = Self::Empty;
                vec![at]
            }
            _ => Vec::new(),
        }
    }

    /// Empties the queue and says how many of what it held were ready.
    pub(super) fn clear(&mut self) -> usize {
        let held = self.len();
        *self = Self::Empty;
        held
    }

    /// Takes everything out, as lanes.
    fn take_lanes(&mut self) -> Box<Lanes> {
        match std::mem::take(self) {
            Self::Empty => Box::default(),
            Self::One(waiting) => {
                let mut lanes = Box::<Lanes>::default();
                lanes.push(waiting);
                lanes
            }
            Self::Many(lanes) => lanes,
        }
    }
}

impl Lanes {
    fn push(&mut self, waiting: Waiting) {
        if waiting.is_nominal() {
            self.catch_ups += usize::from(waiting.trigger == Trigger::CatchUp);
            self.nominal.insert(waiting.instant(), waiting);
            return;
        }
        *self.instants.entry(waiting.scheduled_for).or_default() += 1;
        self.lane_of(&waiting).insert(waiting.place(), waiting);
    }

    fn remove(&mut self, waiting: &Waiting) -> bool {
        if waiting.is_nominal() {
            let found = self.nominal.remove(&waiting.instant()).is_some();
            self.catch_ups -= usize::from(found && waiting.trigger == Trigger::CatchUp);
            return found;
        }
        let found = self.lane_of(waiting).remove(&waiting.place()).is_some();
        if found {
            self.forget_instant(waiting.scheduled_for);
        }
        found
    }

    /// Where what is no instant of the schedule waits once it is ready.
    const fn lane_of(&mut self, waiting: &Waiting) -> &mut BTreeMap<Place, Waiting> {
        if waiting.follows {
            &mut self.follow_ups
        } else if waiting.is_forced() {
            &mut self.forced
        } else {
            &mut self.asked
        }
    }

    fn forget_instant(&mut self, at: Timestamp) {
        if let Some(count) = self.instants.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                self.instants.remove(&at);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.nominal.is_empty()
            && self.asked.is_empty()
            && self.forced.is_empty()
            && self.follow_ups.is_empty()
            && self.later.is_empty()
    }
}
