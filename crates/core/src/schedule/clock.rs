//! What clock changes do to a schedule, said beforehand.
//!
//! Owns no rule: everything here is read off [`Walk`](super::walk::Walk) and the zone's shifts, so
//! that previews and explanations cannot disagree with what runs.

use std::fmt;

use super::walk::Walk;
use super::zone::{LocalTime, Shift, Zone};
use super::{Context, Form, Schedule};
use crate::time::Timestamp;

/// What a clock change did to one firing instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNote {
    /// The local time is skipped that day; the run is at the first instant after the gap.
    Moved {
        /// The first local time that was due in the gap.
        from: LocalTime,
    },
    /// Local times skipped that day run together with the one that is due at this instant anyway.
    Merged {
        /// The first local time that was due in the gap.
        from: LocalTime,
    },
    /// The local time comes twice that day; this is the first pass, and the second does not run.
    FirstPassOnly,
    /// The local time comes twice that day and runs both times; this is the first pass.
    FirstPass,
    /// The local time comes twice that day and runs both times; this is the second pass.
    SecondPass,
}

impl fmt::Display for ClockNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved { from } => write!(f, "moved from {from}, which clocks skip"),
            Self::Merged { from } => write!(f, "also stands for {from}, which clocks skip"),
            Self::FirstPassOnly => {
                f.write_str("this local time comes twice; runs the first time only")
            }
            Self::FirstPass => f.write_str("this local time comes twice; first of two runs"),
            Self::SecondPass => f.write_str("this local time comes twice; second of two runs"),
        }
    }
}

/// What happens to the local times of a schedule that a clock change skips or repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Skipped times run once, at the first instant after the gap.
    OnceAfterGap,
    /// Skipped times do not run.
    Skipped,
    /// Repeated times run in the first pass only.
    FirstPassOnly,
    /// Repeated times run in both passes.
    BothPasses,
}

/// A clock change that touches a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEffect {
    /// The instant of the change.
    pub at: Timestamp,
    /// The change itself.
    pub shift: Shift,
    /// The first local time of the schedule that is skipped or repeated.
    pub first: LocalTime,
    /// How many local times of the schedule are skipped or repeated.
    pub times: u32,
    /// What happens to them.
    pub outcome: Outcome,
}

impl fmt::Display for ClockEffect {
    /// A sentence, for example `2026-03-08 02:30:00 does not exist: it runs at 2026-03-08
    /// 03:00:00.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, times, .. } = self;
        let after_gap = LocalTime { secs: self.shift.at + self.shift.after, micros: 0 };
        write!(f, "{first}")?;
        if *times > 1 {
            write!(f, " and {} more", times - 1)?;
        }
        let one = *times == 1;
        match (self.outcome, one) {
            (Outcome::OnceAfterGap, true) => write!(f, " does not exist: it runs at {after_gap}."),
            (Outcome::OnceAfterGap, false) => {
                write!(f, " do not exist: they run once, together, at {after_gap}.")
            }
            (Outcome::Skipped, true) => f.write_str(" does not exist and does not run."),
            (Outcome::Skipped, false) => f.write_str(" do not exist and do not run."),
            (Outcome::FirstPassOnly, true) => {
                f.write_str(" comes twice: it runs the first time only.")
            }
            (Outcome::FirstPassOnly, false) => {
                f.write_str(" come twice: they run the first time only.")
            }
            (Outcome::BothPasses, true) => f.write_str(" comes twice and runs both times."),
            (Outcome::BothPasses, false) => f.write_str(" come twice and run both times."),
        }
    }
}

impl Schedule {
    /// What a clock change did to an instant that [`Schedule::next`] gave; `None` in the usual case
    /// that it did nothing.
    #[must_use]
    pub fn clock_note(&self, at: Timestamp, ctx: &Context<'_>) -> Option<ClockNote> {
        let zone = self.zone.as_ref().unwrap_or(ctx.zone);
        let now = zone.local(at);
        match &self.form {
            Form::Cron(cron) => note(&cron.walk(zone, ctx), zone, at.secs(), now.secs),
            Form::Once(local) if *local != now.secs => {
                Some(ClockNote::Moved { from: LocalTime { secs: *local, micros: 0 } })
            }
            Form::Once(_) => repeated(zone, at.secs(), now.secs).map(|_| ClockNote::FirstPassOnly),
            Form::Interval(_) | Form::Every { .. } | Form::Startup => None,
        }
    }

    /// The clock changes after `after` and up to `until` that skip or repeat local times of the
    /// schedule, oldest first. Always empty for schedules that count elapsed time.
    #[must_use]
    pub fn clock_effects(
        &self,
        after: Timestamp,
        until: Timestamp,
        ctx: &Context<'_>,
    ) -> Vec<ClockEffect> {
        let Form::Cron(cron) = &self.form else { return Vec::new() };
        let zone = self.zone.as_ref().unwrap_or(ctx.zone);
        let walk = cron.walk(zone, ctx);
        zone.shifts_between(after, until).filter_map(|shift| effect(&walk, shift)).collect()
    }
}

fn effect(walk: &Walk<'_>, shift: Shift) -> Option<ClockEffect> {
    let (old, new) = (shift.at + shift.before, shift.at + shift.after);
    let fixed = walk.fixed && shift.is_dst();
    let outcome = match (shift.is_gap(), fixed) {
        (true, true) => Outcome::OnceAfterGap,
        (true, false) => Outcome::Skipped,
        (false, true) => Outcome::FirstPassOnly,
        (false, false) => Outcome::BothPasses,
    };
    let (from, until) = (old.min(new), old.max(new));
    let first = walk.match_between(from, until)?;
    let mut times = 0;
    let mut at = Some(first);
    while let Some(found) = at {
        times += 1;
        at = walk.match_between(found + 1, until);
    }
    Some(ClockEffect {
        at: Timestamp::from_secs(shift.at),
        shift,
        first: LocalTime { secs: first, micros: 0 },
        times,
        outcome,
    })
}

/// Which pass of a repeated local time an instant is in, and the shift that repeats it.
fn repeated(zone: &Zone, at: i64, local: i64) -> Option<(bool, Shift)> {
    let index = zone.shifts_until(at);
    let shift = |index: Option<usize>| index.and_then(|i| zone.shifts().get(i)).copied();
    let second = shift(index.checked_sub(1)).filter(|s| !s.is_gap() && local < s.at + s.before);
    let first = shift(Some(index)).filter(|s| !s.is_gap() && local >= s.at + s.after);
    second.map(|s| (false, s)).or_else(|| first.map(|s| (true, s)))
}

fn note(walk: &Walk<'_>, zone: &Zone, at: i64, local: i64) -> Option<ClockNote> {
    if let Some((first, shift)) = repeated(zone, at, local) {
        return Some(match (first, walk.fixed && shift.is_dst()) {
            (true, true) => ClockNote::FirstPassOnly,
            (true, false) => ClockNote::FirstPass,
            (false, _) => ClockNote::SecondPass,
        });
    }
    let seam = zone.shifts_until(at).checked_sub(1).and_then(|i| zone.shifts().get(i))?;
    if !walk.fixed || seam.at != at || !seam.is_gap() || !seam.is_dst() {
        return None;
    }
    let from = LocalTime { secs: walk.match_between(seam.at + seam.before, local)?, micros: 0 };
    Some(match walk.match_between(local, local + 1) {
        Some(_) => ClockNote::Merged { from },
        None => ClockNote::Moved { from },
    })
}
