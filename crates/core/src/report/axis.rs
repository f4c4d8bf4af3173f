//! Where a drawing's marks of time stand.

use super::{Span, text};
use crate::schedule::Zone;
use crate::time::Timestamp;

/// Distances between marks, in seconds of the wall clock.
const STEPS: [i64; 17] = [
    1, 5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    1_209_600, 2_592_000,
];

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// The instant.
    pub(super) at: Timestamp,
    /// Where it stands, from 0 to 1.
    pub(super) place: f64,
    /// What stands there: a time of day, or a day where one begins.
    pub(super) label: String,
}

/// Marks at round times of a zone's clock, at most so many and at least one.
pub(super) fn ticks(span: Span, zone: &Zone, most: i64) -> Vec<Tick> {
    let seconds = span.length() / Timestamp::SECOND;
    let fits = |step: &&i64| seconds / **step <= most;
    let step = STEPS.iter().find(fits).copied().unwrap_or(seconds / most.max(1) + 1);
    let mut local = zone.local(span.from).secs.div_euclid(step) * step;
    let mut ticks: Vec<Tick> = Vec::new();
    let last = zone.local(span.until).secs;
    while local <= last {
        let at = zone.instant_of(local);
        // A local time that clocks skip stands where the next one does.
        let new = ticks.last().is_none_or(|tick| tick.at < at);
        if new && at >= span.from && at <= span.until {
            ticks.push(Tick { at, place: span.place(at), label: label(zone, at, step) });
        }
        local += step;
    }
    ticks
}

fn label(zone: &Zone, at: Timestamp, step: i64) -> String {
    let local = zone.local(at);
    if step >= 86_400 || local.secs.rem_euclid(86_400) == 0 {
        text::day(&local)
    } else if step < 60 {
        text::clock(&local)
    } else {
        text::short_clock(&local)
    }
}
