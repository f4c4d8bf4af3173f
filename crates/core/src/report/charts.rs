//! The drawings of a page, each a function from figures to SVG.
//!
//! Owns one invariant: a drawing stretches with the page and its letters do not. Lanes are stretched
//! as a whole and hold no letters; the others place everything by percentages.

use maud::{Markup, html};

use super::axis::{Tick, ticks};
use super::{Cell, Durations, Lane, Report, Run, Skip, Span, Week, text};
use crate::schedule::Zone;
use crate::time::Timestamp;

/// Width of a lane in units of its own.
const UNITS: i64 = 1_440;
/// The most bars of a kind in a lane.
const MOST_BARS: usize = 160;
/// The shortest bar, and the shortest mark of a failure, in units: two and four dots of a wide page.
const SHORTEST: i64 = 3;
const MARK: i64 = 6;

/// Neighbouring runs drawn as one bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// Where it begins and ends, in units.
    pub(super) from: i64,
    pub(super) to: i64,
    /// The runs it stands for.
    pub(super) count: u64,
    first: Timestamp,
    last: Timestamp,
    /// When the last of them ended; None if it goes on.
    ended: Option<Timestamp>,
}

/// Runs as bars that do not touch: at most [`MOST_BARS`], with neighbours put together as that needs.
pub(super) fn bars(runs: &[Run], span: Span, shortest: i64) -> Vec<Bar> {
    let unit = (span.length() / UNITS).max(1);
    let place = |at: Timestamp| (at.since(span.from) / unit).clamp(0, UNITS);
    let mut single: Vec<Bar> = runs
        .iter()
        .filter(|run| run.started < span.until && run.ended.is_none_or(|end| end >= span.from))
        .map(|run| {
            let from = place(run.started).min(UNITS - shortest);
            let to = place(run.ended.unwrap_or(span.until)).max(from + shortest);
            let (first, last) = (run.started, run.started);
            Bar { from, to, count: 1, first, last, ended: run.ended }
        })
        .collect();
    single.sort_unstable_by_key(|bar| (bar.from, bar.to));
    let mut gap = 0;
    loop {
        let merged = merge(&single, gap);
        if merged.len() <= MOST_BARS {
            return merged;
        }
        gap = gap * 2 + 1;
    }
}

fn merge(bars: &[Bar], gap: i64) -> Vec<Bar> {
    let mut merged: Vec<Bar> = Vec::new();
    for bar in bars {
        match merged.last_mut() {
            Some(last) if bar.from <= last.to + gap => {
                last.to = last.to.max(bar.to);
                last.count += bar.count;
                last.first = last.first.min(bar.first);
                last.last = last.last.max(bar.last);
                last.ended = last.ended.zip(bar.ended).map(|(a, b)| a.max(b));
            }
            _ => merged.push(*bar),
        }
    }
    merged
}

/// A job's day: runs, failures and skips as bars over marks of the hours.
pub(super) fn lane(lane: &Lane, span: Span, zone: &Zone) -> Markup {
    let ticks = ticks(span, zone, 8);
    let (failed, fine): (Vec<Run>, Vec<Run>) = lane.runs.iter().partition(|run| run.failed());
    let (running, done): (Vec<Run>, Vec<Run>) = fine.iter().partition(|run| run.ended.is_none());
    let unread = lane.unread_before.filter(|&at| at > span.from);
    html! {
        svg.lane viewBox={ "0 0 " (UNITS) " 24" } preserveAspectRatio="none" role="img"
            aria-label=(said(lane)) {
            (grid(&ticks))
            @if let Some(at) = unread {
                rect.unread x="0" y="0" width=(units(span.place(at))) height="24" {
                    title { "Runs before " (text::moment(zone, at)) " are too many to be drawn" }
                }
            }
            @for bar in bars(&done, span, SHORTEST) { (run_bar(&bar, "ok", 7, 10, zone, "succeeded")) }
            @for bar in bars(&running, span, SHORTEST) { (run_bar(&bar, "now", 7, 10, zone, "running")) }
            @for bar in bars(&failed, span, MARK) { (run_bar(&bar, "bad", 2, 20, zone, "failed")) }
            @for (from, to, title) in skips(&lane.skips, span, zone) {
                rect.skip x=(from) y="20" width=(to - from) height="3" { title { (title) } }
            }
        }
    }
}

fn units(place: f64) -> String {
    format!("{:.1}", place * 1_440.0)
}

fn grid(ticks: &[Tick]) -> Markup {
    let path: String = ticks.iter().map(|tick| format!("M{} 0V24", units(tick.place))).collect();
    html! { path.grid d=(path) {} }
}

fn run_bar(bar: &Bar, class: &str, y: i64, height: i64, zone: &Zone, word: &str) -> Markup {
    html! {
        rect class=(class) x=(bar.from) y=(y) width=(bar.to - bar.from) height=(height) {
            title { (bar_title(bar, zone, word)) }
        }
    }
}

fn bar_title(bar: &Bar, zone: &Zone, word: &str) -> String {
    if bar.count > 1 {
        let times = text::between(zone, bar.first, bar.last);
        return format!("{} {word}, started {times}", text::counted(bar.count, "run", "runs"));
    }
    let took = bar
        .ended
        .map_or_else(String::new, |end| format!(" after {}", text::duration(end.since(bar.first))));
    format!("{} {word}{took}", text::moment(zone, bar.first))
}

/// What a lane shows, in words.
fn said(lane: &Lane) -> String {
    let mut said =
        format!("{}: {}", lane.job.title(), text::counted(lane.tally.runs, "run", "runs"));
    for (n, word) in [
        (lane.tally.failed, "failed"),
        (lane.tally.running, "running"),
        (lane.tally.skipped, "skipped"),
    ] {
        if n > 0 {
            said.push_str(&format!(", {} {word}", text::count(n)));
        }
    }
    said
}

/// Skips as bars that do not touch.
fn skips(skips: &[Skip], span: Span, zone: &Zone) -> Vec<(i64, i64, String)> {
    let unit = (span.length() / UNITS).max(1);
    let place = |at: Timestamp| (at.since(span.from) / unit).clamp(0, UNITS - SHORTEST);
    let mut sorted: Vec<&Skip> = skips.iter().collect();
    sorted.sort_by_key(|skip| skip.first);
    let mut bars: Vec<(i64, i64, String)> = Vec::new();
    for skip in sorted {
        let from = place(skip.first);
        let to = (place(skip.last) + 1).max(from + SHORTEST);
        let times = text::between(zone, skip.first, skip.last);
        let what = format!(
            "{} skipped ({}), {times}",
            text::count(skip.count),
            text::line(&skip.reason, 40)
        );
        match bars.last_mut() {
            Some(last) if from <= last.1 || bars_full(from, last.1, skips.len()) => {
                last.1 = last.1.max(to);
                if last.2.len() < 200 {
                    last.2.push_str("; ");
                    last.2.push_str(&what);
                }
            }
            _ => bars.push((from, to, what)),
        }
    }
    bars
}

/// Whether neighbours as close as that are put together, there being so many.
fn bars_full(from: i64, to: i64, many: usize) -> bool {
    many > MOST_BARS && from - to <= UNITS / 100
}

/// The hours under (or over) the lanes.
pub(super) fn hours(span: Span, zone: &Zone) -> Markup {
    html! {
        svg.hours width="100%" height="16" aria-hidden="true" {
            // At the very ends there is no room for letters.
            @for tick in ticks(span, zone, 8).iter().filter(|tick| (0.03..=0.97).contains(&tick.place)) {
                text x={ (format!("{:.2}", tick.place * 100.0)) "%" } y="12" text-anchor="middle" { (tick.label) }
            }
        }
    }
}

/// A map of the week: a row for each day that was seen, a column for each hour.
pub(super) fn heat(week: &Week, what: &str, value: fn(&Cell) -> f64) -> Markup {
    let seen = |day: &[Cell; 24]| day.iter().any(|cell| cell.seen > 0.0);
    let days: Vec<(usize, &[Cell; 24])> =
        week.iter().enumerate().filter(|(_, day)| seen(day)).collect();
    let most = week.iter().flatten().map(value).fold(0.0, f64::max);
    let height = 18 + days.len() * 22;
    html! {
        figure.heat {
            figcaption { (what) span.scale { "0 " @for step in 0..=5 { i class={ "c" (step) } {} } " " (text::decimal(most)) } }
            svg width="100%" height=(height) role="img" aria-label=(peak(&days, what, value)) {
                @for hour in [0_u32, 6, 12, 18] {
                    text x={ (column(hour)) "%" } y="12" { (format!("{hour:02}")) }
                }
                @for (row, (day, cells)) in days.iter().enumerate() {
                    text x="0" y=(row * 22 + 33) { (text::WEEKDAYS.get(*day).copied().unwrap_or("")) }
                    @for (hour, cell) in (0_u32..).zip(cells.iter()).filter(|(_, cell)| cell.seen > 0.0) {
                        rect class={ "c" (step(value(cell), most)) } x={ (column(hour)) "%" } y=(row * 22 + 18)
                            width="3.6%" height="20" {
                            title { (text::WEEKDAYS.get(*day).copied().unwrap_or("")) " " (format!("{hour:02}:00")) ": " (text::decimal(value(cell))) }
                        }
                    }
                }
            }
        }
    }
}

fn column(hour: u32) -> String {
    format!("{:.2}", 10.0 + 3.75 * f64::from(hour))
}

/// How dark a cell is, from 0 for nothing to 5 for the most there is.
fn step(value: f64, most: f64) -> u8 {
    // By square root: one job at night is to be seen beside a hundred at noon.
    match (value / most).sqrt() {
        part if part.is_nan() || part <= 0.0 => 0,
        part if part <= 0.2 => 1,
        part if part <= 0.4 => 2,
        part if part <= 0.6 => 3,
        part if part <= 0.8 => 4,
        _ => 5,
    }
}

/// A heat map in words: where it is darkest.
fn peak(days: &[(usize, &[Cell; 24])], what: &str, value: fn(&Cell) -> f64) -> String {
    let cells =
        days.iter().flat_map(|(day, cells)| (0..).zip(cells.iter()).map(move |cell| (day, cell)));
    let darkest = cells.max_by(|(_, (_, a)), (_, (_, b))| value(a).total_cmp(&value(b)));
    match darkest {
        Some((day, (hour, cell))) if value(cell) > 0.0 => format!(
            "{what}, by weekday and hour; most: {} {hour:02}:00 with {}",
            text::WEEKDAYS.get(*day).copied().unwrap_or(""),
            text::decimal(value(cell))
        ),
        _ => format!("{what}, by weekday and hour: none"),
    }
}

/// Where durations lie on a scale that all jobs of a page share, by orders of magnitude.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// The scale on which all jobs of a report have room.
    pub(super) fn of(report: &Report) -> Self {
        let all = || report.lanes.iter().filter_map(|lane| lane.durations);
        let low = all().map(|d| magnitude(d.p50)).fold(f64::INFINITY, f64::min).floor();
        let high = all().map(|d| magnitude(d.max)).fold(f64::NEG_INFINITY, f64::max).ceil();
        if low < high { Self { low, high } } else { Self { low: 3.0, high: 6.0 } }
    }

    fn percent(self, micros: i64) -> String {
        let place = (magnitude(micros) - self.low) / (self.high - self.low);
        format!("{:.1}", 2.0 + 96.0 * place.clamp(0.0, 1.0))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a place on a drawing")]
fn magnitude(micros: i64) -> f64 {
    (micros.max(1) as f64).log10()
}

/// A job's durations: a line to the longest, a thick one from the median to the 95th percentile.
pub(super) fn spread(durations: &Durations, scale: Scale) -> Markup {
    let at = |micros| format!("{}%", scale.percent(micros));
    html! {
        svg.spread width="100%" height="14" aria-hidden="true" {
            line.thin x1=(at(durations.p50)) x2=(at(durations.max)) y1="7" y2="7" {}
            line.thick x1=(at(durations.p50)) x2=(at(durations.p95)) y1="7" y2="7" {}
            circle.dot cx=(at(durations.p50)) cy="7" r="3.5" {}
            circle.end cx=(at(durations.max)) cy="7" r="2" {}
        }
    }
}
