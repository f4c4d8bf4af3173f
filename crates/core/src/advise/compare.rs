//! When jobs fire, compared.

use std::collections::BTreeMap;

use crate::engine::Occurrences;
use crate::time::Timestamp;

const DAY: i64 = 86_400 * Timestamp::SECOND;

/// How far ahead instants are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Microseconds.
    ahead: i64,
    /// So many of them at the most.
    most: usize,
}

impl Reach {
    /// For jobs that are compared with others: five years, so that yearly jobs have some; five weeks
    /// of a job that runs every five minutes.
    pub(super) const LONG: Self = Self { ahead: 5 * 366 * DAY, most: 10_080 };
    /// For what is asked of every job: more than a week, and more than a day of one that runs every
    /// minute.
    pub(super) const SHORT: Self = Self { ahead: 8 * DAY, most: 1_500 };
}

/// The coming instants of a job.
#[derive(Clone, Debug)]
pub(super) struct Fires {
    from: Timestamp,
    /// They are known up to here.
    until: Timestamp,
    at: Vec<Timestamp>,
}

/// How the instants of one job lie among those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are the same.
    Same,
    /// All of the first are among the second's.
    Within,
    /// All of the second are among the first's.
    Contains,
    /// Neither.
    Apart,
}

impl Fires {
    /// The instants after `now`. A job that counts from its last run has none.
    pub(super) fn of(times: &dyn Occurrences, now: Timestamp, reach: Reach) -> Self {
        let end = now.plus(reach.ahead);
        let mut at = Vec::new();
        let mut last = now;
        while at.len() < reach.most && times.after_completion().is_none() {
            match times.next_open(last).filter(|&next| next > last && next <= end) {
                Some(next) => {
                    at.push(next);
                    last = next;
                }
                None => break,
            }
        }
        let until = if at.len() < reach.most { end } else { last };
        Self { from: now, until, at }
    }

    /// Those up to an instant.
    fn up_to(&self, until: Timestamp) -> &[Timestamp] {
        let end = self.at.partition_point(|&at| at <= until);
        self.at.get(..end).unwrap_or_default()
    }

    /// All of them that are known.
    pub(super) fn all(&self) -> &[Timestamp] {
        &self.at
    }

    /// The least time between two of them; `None` if there are not two.
    pub(super) fn shortest_gap(&self) -> Option<i64> {
        self.at.iter().zip(self.at.iter().skip(1)).map(|(one, next)| next.since(*one)).min()
    }
}

/// How two jobs' instants lie, as far as both are known. Jobs without any have nothing in common.
pub(super) fn relation(one: &Fires, other: &Fires) -> Relation {
    let until = one.until.min(other.until);
    let (one, other) = (one.up_to(until), other.up_to(until));
    if one.is_empty() || other.is_empty() {
        return Relation::Apart;
    }
    if one == other {
        return Relation::Same;
    }
    let within = |few: &[Timestamp], many: &[Timestamp]| {
        few.len() < many.len() && few.iter().all(|at| many.binary_search(at).is_ok())
    };
    if within(one, other) {
        Relation::Within
    } else if within(other, one) {
        Relation::Contains
    } else {
        Relation::Apart
    }
}

/// By how much the second job is later than the first, if it always is by the same.
pub(super) fn shift(one: &Fires, other: &Fires) -> Option<i64> {
    let shift = other.at.first()?.since(*one.at.first()?);
    // The first instant of one may have passed while the other's has not.
    let shift = if shift.abs() > DAY / 2 { shift - DAY * shift.signum() } else { shift };
    let until = one.until.min(other.until).plus(-shift.abs());
    let from = one.from.max(other.from).plus(shift.abs());
    let moved = one.at.iter().map(|at| at.plus(shift));
    let inside = |at: &Timestamp| *at > from && *at <= until;
    let (one, other): (Vec<_>, Vec<_>) =
        (moved.filter(inside).collect(), other.at.iter().copied().filter(inside).collect());
    (one.len() > 1 && one == other).then_some(shift)
}

/// Jobs that are due at the same instants.
pub(super) struct Flock<'a> {
    /// When.
    pub(super) fires: &'a Fires,
    /// Their places in the list.
    pub(super) jobs: Vec<usize>,
}

/// The coming instants at which at least `least` jobs are due, the fullest first, each with the
/// places of the flocks that meet then.
pub(super) fn crowds(flocks: &[Flock<'_>], least: usize) -> Vec<(Timestamp, usize, Vec<usize>)> {
    let mut together: BTreeMap<Timestamp, (usize, Vec<usize>)> = BTreeMap::new();
    for (place, Flock { fires, jobs }) in flocks.iter().enumerate() {
        // Jobs that run all the time are no herd.
        if fires.shortest_gap().is_some_and(|gap| gap < 60 * Timestamp::SECOND) {
            continue;
        }
        for &at in fires.all() {
            let (count, met) = together.entry(at).or_default();
            *count += jobs.len();
            met.push(place);
        }
    }
    let mut crowds: Vec<_> = together
        .into_iter()
        .filter(|(_, (count, _))| *count >= least)
        .map(|(at, (count, met))| (at, count, met))
        .collect();
    crowds.sort_by_key(|(at, count, _)| (std::cmp::Reverse(*count), *at));
    crowds
}
