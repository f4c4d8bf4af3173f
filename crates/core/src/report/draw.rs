//! The report as lines of characters, for a terminal.
//!
//! Owns one invariant: every line has the same marks at the same place, in columns as a terminal
//! counts them, whatever letters a job's name has.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::axis::ticks;
use super::{Lane, Report, Span, text};
use crate::schedule::Zone;
use crate::time::Timestamp;

/// Columns of the drawing.
const COLUMNS: usize = 48;
/// Columns of the names, at least and at most.
const NAME: (usize, usize) = (8, 28);

/// The characters to draw with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pen {
    /// From hardly busy to busy all the time.
    busy: &'static [char],
    failed: char,
    skipped: char,
    running: char,
    unread: char,
    empty: char,
    mark: char,
    ellipsis: &'static str,
}

impl Pen {
    /// Blocks, for those who can show them.
    pub const BLOCKS: Self = Self {
        busy: &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        failed: '✗',
        skipped: '-',
        running: '▶',
        unread: '?',
        empty: '·',
        mark: '╵',
        ellipsis: "…",
    };

    /// Characters that every encoding has.
    pub const ASCII: Self = Self {
        busy: &['.', ':', '=', '#'],
        failed: 'x',
        skipped: '-',
        running: '>',
        unread: '?',
        empty: ' ',
        mark: '\'',
        ellipsis: "~",
    };
}

/// The timeline: a line for each job that is shown, the hours above them, a legend below.
#[must_use]
pub fn lines(report: &Report, zone: &Zone, pen: Pen) -> Vec<String> {
    let span = report.heading.span;
    let (names, marks) = hours(span, zone);
    let titles = report.lanes.iter().map(|lane| lane.job.title().width());
    let width = titles.max().unwrap_or(0).clamp(NAME.0, NAME.1);
    let mut lines = vec![
        format!(
            "{} to {}, {}",
            text::date_time(zone, span.from),
            text::date_time(zone, span.until),
            zone.name()
        ),
        format!("{:width$} {names}", ""),
        format!("{:width$} {}", "", marks.replace('\'', &pen.mark.to_string()).trim_end()),
    ];
    lines.extend(report.lanes.iter().map(|lane| line(lane, span, width, pen)));
    let hidden = report.jobs.saturating_sub(report.lanes.len());
    if hidden > 0 {
        lines.push(format!(
            "and {}: {}",
            text::counted(hidden as u64, "more job", "more jobs"),
            figures(&report.others)
        ));
    }
    lines.push(legend(span, report.cut > 0, pen));
    lines
}

/// The times of day and the marks under them.
fn hours(span: Span, zone: &Zone) -> (String, String) {
    let mut names = String::new();
    let mut marks = vec![' '; COLUMNS];
    for tick in ticks(span, zone, 8) {
        let column = column(span, tick.at);
        if let Some(mark) = marks.get_mut(column) {
            *mark = '\'';
        }
        // A name that has no room after the one before is left out.
        if names.is_empty() || names.len() < column {
            while names.len() < column {
                names.push(' ');
            }
            names.push_str(&tick.label);
        }
    }
    (names, marks.into_iter().collect())
}

/// The column an instant is in.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to COLUMNS")]
fn column(span: Span, at: Timestamp) -> usize {
    ((span.place(at) * 48.0) as usize).min(COLUMNS - 1)
}

fn line(lane: &Lane, span: Span, width: usize, pen: Pen) -> String {
    let name = fit(&lane.job.title(), width, pen);
    let drawing: String = columns(lane, span, pen).into_iter().collect();
    format!("{name} {drawing} {}", figures(&lane.tally))
}

fn figures(tally: &super::Tally) -> String {
    let mut figures = text::counted(tally.runs, "run", "runs");
    for (n, word) in [(tally.failed, "failed"), (tally.skipped, "skipped")] {
        if n > 0 {
            figures.push_str(&format!(", {} {word}", text::count(n)));
        }
    }
    figures
}

/// What a job did in each column's time; the worst of it decides.
fn columns(lane: &Lane, span: Span, pen: Pen) -> Vec<char> {
    let width = (span.length() / 48).max(1);
    let mut busy = vec![None::<i64>; COLUMNS];
    let mut drawn = vec![pen.empty; COLUMNS];
    for run in &lane.runs {
        let (begin, end) = (run.started.max(span.from), run.ended.unwrap_or(span.until));
        if run.started >= span.until || end < span.from {
            continue;
        }
        for place in column(span, begin)..=column(span, end.plus(-1).max(begin)) {
            let from = span.from.plus(width.saturating_mul(i64::try_from(place).unwrap_or(0)));
            let part = end.min(from.plus(width)).since(begin.max(from)).max(0);
            if let Some(time) = busy.get_mut(place) {
                *time = Some(time.unwrap_or(0).saturating_add(part));
            }
        }
    }
    for (mark, time) in drawn.iter_mut().zip(&busy) {
        if let Some(time) = time {
            *mark = level(*time, width, pen);
        }
    }
    overlay(lane, span, pen, &mut drawn);
    drawn
}

/// The character for so much of a column's time.
fn level(busy: i64, width: i64, pen: Pen) -> char {
    let steps = i64::try_from(pen.busy.len()).unwrap_or(1);
    let step = (busy.saturating_mul(steps) / width).clamp(0, steps - 1);
    usize::try_from(step).ok().and_then(|step| pen.busy.get(step)).copied().unwrap_or(pen.empty)
}

/// What is said instead of how busy a job was: skips where nothing ran, runs under way, failures.
fn overlay(lane: &Lane, span: Span, pen: Pen, drawn: &mut [char]) {
    for skip in lane.skips.iter().filter(|skip| skip.last >= span.from && skip.first < span.until) {
        let (first, last) = (column(span, skip.first), column(span, skip.last));
        for mark in drawn.iter_mut().take(last + 1).skip(first).filter(|mark| **mark == pen.empty) {
            *mark = pen.skipped;
        }
    }
    if let Some(unread) = lane.unread_before.filter(|&at| at > span.from) {
        let end = column(span, unread);
        drawn.iter_mut().take(end).for_each(|mark| *mark = pen.unread);
    }
    let runs = || lane.runs.iter().filter(|run| run.started < span.until);
    if runs().any(|run| run.ended.is_none())
        && let Some(last) = drawn.last_mut()
    {
        *last = pen.running;
    }
    for run in runs().filter(|run| run.failed() && run.ended.is_some_and(|end| end >= span.from)) {
        if let Some(mark) = drawn.get_mut(column(span, run.ended.unwrap_or(run.started))) {
            *mark = pen.failed;
        }
    }
}

/// A name in exactly its columns.
fn fit(name: &str, width: usize, pen: Pen) -> String {
    let ascii = pen.ellipsis.is_ascii();
    let name: String = name.chars().map(|c| if ascii && !c.is_ascii() { '?' } else { c }).collect();
    if name.width() <= width {
        return format!("{name}{}", " ".repeat(width - name.width()));
    }
    let mut out = String::new();
    let mut room = width.saturating_sub(1);
    for c in name.chars() {
        let taken = c.width().unwrap_or(0);
        if taken > room {
            break;
        }
        room -= taken;
        out.push(c);
    }
    format!("{out}{}{}", pen.ellipsis, " ".repeat(room))
}

fn legend(span: Span, unread: bool, pen: Pen) -> String {
    let width = text::duration(span.length() / 48);
    let (least, most) = (pen.busy.first(), pen.busy.last());
    let of = |mark: Option<&char>| mark.copied().unwrap_or(pen.empty);
    let unread = if unread { format!("   {} not read", pen.unread) } else { String::new() };
    format!(
        "{} ran, {} busy throughout   {} failed   {} skipped   {} running{unread}   one column: {width}",
        of(least),
        of(most),
        pen.failed,
        pen.skipped,
        pen.running,
    )
}
