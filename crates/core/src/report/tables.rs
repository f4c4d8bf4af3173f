//! The tables and lists of a page.

use maud::{Markup, html};

use super::charts::{Scale, spread};
use super::{Coming, FailureGroup, Lane, Report, text};
use crate::schedule::Zone;
use crate::time::Timestamp;

/// An instant, for people and for machines.
pub(super) fn time(zone: &Zone, at: Timestamp) -> Markup {
    html! { time datetime=(text::machine(at)) { (text::moment(zone, at)) } }
}

/// How long runs took, a row for each job that is shown and has runs that ended.
pub(super) fn durations(report: &Report) -> Markup {
    let scale = Scale::of(report);
    let timed: Vec<(&Lane, super::Durations)> =
        report.lanes.iter().filter_map(|lane| Some((lane, lane.durations?))).collect();
    if timed.is_empty() {
        return html! { p.quiet { "No run has ended in this time." } };
    }
    html! {
        div.box tabindex="0" role="region" aria-label="Durations" { table {
            thead { tr {
                th scope="col" { "Job" }
                th.n scope="col" { "Runs" }
                th.n scope="col" { "Succeeded" }
                th.n scope="col" { "p50" }
                th.n scope="col" { "p95" }
                th.n scope="col" { "p99" }
                th.n scope="col" { "Longest" }
                th.n scope="col" { "Together" }
                th.wide scope="col" { "Spread" }
            } }
            tbody { @for (lane, d) in timed { tr {
                th scope="row" { bdi { (lane.job.title()) } }
                td.n { (text::count(lane.tally.runs)) }
                td.n { (text::percent(lane.tally.succeeded, lane.tally.succeeded + lane.tally.failed)) }
                td.n { (text::duration(d.p50)) }
                td.n { (text::duration(d.p95)) }
                td.n { (text::duration(d.p99)) }
                td.n { (text::duration(d.max)) }
                td.n { (text::duration(lane.tally.busy)) }
                td.wide { (spread(&d, scale)) }
            } } }
        } }
        p.quiet { "Spread: the ring is the median, the thick line ends at p95, the thin one at the longest run; "
            "each step to the right is a multiple." }
    }
}

/// What failed and what it said.
pub(super) fn failures(groups: &[FailureGroup], zone: &Zone) -> Markup {
    html! {
        ol.failures { @for group in groups { li {
            p {
                b { bdi { (group.job) } } " "
                span.tag { (group.newest.outcome.as_str()) }
                @if let Some(state) = &group.newest.sqlstate { " " code { (text::line(state, 10)) } }
                @if group.count > 1 { " " span.times { (text::count(group.count)) " times" } }
            }
            p.quiet {
                @if group.count > 1 {
                    (time(zone, group.since)) " to " (time(zone, group.newest.started))
                    ", last run " (group.newest.run)
                } @else {
                    (time(zone, group.newest.started)) ", run " (group.newest.run)
                }
                @if group.newest.attempt > 1 { ", attempt " (group.newest.attempt) }
                @if let Some(reason) = &group.newest.reason { ": " bdi { (text::line(reason, 200)) } }
            }
            @if !group.newest.message.trim().is_empty() {
                pre { (text::lines(&group.newest.message, 800)) }
            }
        } } }
    }
}

/// What starts next, a row for each job.
pub(super) fn coming(coming: &[Coming], zone: &Zone, now: Timestamp) -> Markup {
    html! {
        div.box tabindex="0" role="region" aria-label="Coming runs" { table {
            thead { tr {
                th scope="col" { "Starts" }
                th.n scope="col" { "In" }
                th scope="col" { "Job" }
                th scope="col" { "Schedule" }
                th.n scope="col" { "Usually takes" }
                th scope="col" { "Then" }
            } }
            tbody { @for row in coming { tr {
                @let first = row.starts.first().copied().unwrap_or(now);
                td { (time(zone, first)) }
                td.n { (text::duration(first.since(now))) }
                th scope="row" { bdi { (row.job.title()) } }
                td { (schedule(row)) }
                td.n { @if let Some(expected) = row.job.expected { (text::duration(expected)) } @else { "–" } }
                td { @for (index, at) in row.starts.iter().skip(1).enumerate() {
                    @if index > 0 { ", " } (time(zone, *at))
                } }
            } } }
        } }
    }
}

fn schedule(row: &Coming) -> Markup {
    html! { code { (text::line(&row.job.schedule, 60)) } " " span.quiet { (text::line(&row.job.zone, 40)) } }
}
