//! The page: one HTML document that asks for nothing from outside and runs no script.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::{Lane, Report, charts, tables, text};

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded, run or sent; this page's own style sheet is known by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
});

/// The report as a page.
#[must_use]
pub fn html(report: &Report) -> String {
    let title = format!("Jobs of {}", text::line(&report.heading.database, 63));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(*POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (heading(report, &title))
                (figures(report))
                (timeline(report))
                (week(report))
                section {
                    h2 { "Durations" }
                    (tables::durations(report))
                }
                (failures(report))
                (coming(report))
                (footer(report))
            } }
        }
    }
    .into_string()
    .chars()
    .fold(String::new(), push_ascii)
}

/// Everything but ASCII as a character reference: whatever encodings database, client and file have,
/// the page stays what it is.
fn push_ascii(mut page: String, c: char) -> String {
    if c.is_ascii() {
        page.push(c);
    } else {
        // Writing to a String cannot fail.
        let _ = write!(page, "&#{};", u32::from(c));
    }
    page
}

fn heading(report: &Report, title: &str) -> Markup {
    let heading = &report.heading;
    let level = heading.level.as_str();
    html! {
        header {
            h1 { (title) }
            p.quiet {
                time datetime=(text::machine(heading.span.from)) { (text::date_time(&heading.zone, heading.span.from)) }
                " to "
                time datetime=(text::machine(heading.span.until)) { (text::date_time(&heading.zone, heading.span.until)) }
                ", " (heading.zone.name())
            }
            p class={ "health " (level) } {
                b { (level) }
                @for (index, reason) in heading.reasons.iter().enumerate() {
                    (if index > 0 { "; " } else { " " }) span { (text::line(reason, 300)) }
                }
            }
        }
    }
}

/// The figures of all jobs.
fn figures(report: &Report) -> Markup {
    let tally = &report.tally;
    let figures = [
        ("Jobs", text::count(report.jobs as u64), ""),
        ("Runs", text::count(tally.runs), ""),
        ("Succeeded", text::percent(tally.succeeded, tally.succeeded + tally.failed), ""),
        ("Failed", text::count(tally.failed), if tally.failed > 0 { "bad" } else { "" }),
        ("Skipped", text::count(tally.skipped), ""),
        ("Running", text::count(tally.running), ""),
        ("Busy", text::duration(tally.busy), ""),
    ];
    html! {
        dl.figures { @for (name, value, class) in figures {
            div { dt { (name) } dd class=[(!class.is_empty()).then_some(class)] { (value) } }
        } }
    }
}

fn timeline(report: &Report) -> Markup {
    let heading = &report.heading;
    html! {
        section {
            h2 { "Timeline" }
            @if report.lanes.is_empty() { p.quiet { "There is no job you may see." } }
            @else {
                p.legend aria-hidden="true" {
                    span { i.ok {} "succeeded" } span { i.bad {} "failed" }
                    span { i.now {} "running" } span { i.skip {} "skipped" }
                }
                div.lanes {
                    div.row.axis { div {} (charts::hours(heading.span, &heading.zone)) }
                    @for lane in &report.lanes {
                        div.row { (label(lane)) (charts::lane(lane, heading.span, &heading.zone)) }
                    }
                    div.row.axis { div {} (charts::hours(heading.span, &heading.zone)) }
                }
                (rest(report))
            }
        }
    }
}

/// What stands beside a lane.
fn label(lane: &Lane) -> Markup {
    let tally = &lane.tally;
    html! {
        div.label {
            bdi.name { (lane.job.title()) }
            span.quiet {
                code { (text::line(&lane.job.schedule, 40)) } ", "
                (text::counted(tally.runs, "run", "runs"))
                @if tally.failed > 0 { ", " b.bad { (text::count(tally.failed)) " failed" } }
                @if tally.skipped > 0 { ", " (text::count(tally.skipped)) " skipped" }
                @if lane.job.state != "scheduled" { ", " (text::line(&lane.job.state, 30)) }
            }
        }
    }
}

/// What the jobs come to that are not shown.
fn rest(report: &Report) -> Markup {
    let hidden = report.jobs.saturating_sub(report.lanes.len());
    let others = &report.others;
    html! {
        @if hidden > 0 {
            p.quiet {
                "Shown are the " (report.lanes.len()) " jobs that failed most or ran longest. The other "
                (text::counted(hidden as u64, "job", "jobs")) ": "
                (text::counted(others.runs, "run", "runs")) ", " (text::count(others.failed)) " failed, "
                (text::count(others.skipped)) " skipped, " (text::duration(others.busy)) " busy."
            }
        }
        @if report.cut > 0 {
            p.quiet {
                @if report.cut == 1 { "One job has" } @else { (text::count(report.cut as u64)) " jobs have" }
                " more runs in this time than are read for a page: only the newest are counted and drawn, and "
                "the time of the others is shaded."
            }
        }
    }
}

fn week(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Hours of the week" }
            @if report.week_of != report.heading.span {
                p.quiet.above {
                    "On average from " (tables::time(&report.heading.zone, report.week_of.from)) " to "
                    (tables::time(&report.heading.zone, report.week_of.until)) "."
                }
            }
            div.pair {
                (charts::heat(&report.week, "Starts in an hour", super::Cell::starts_an_hour))
                (charts::heat(&report.week, "Runs at once", super::Cell::load))
            }
        }
    }
}

fn failures(report: &Report) -> Markup {
    let shown: u64 = report.failures.iter().map(|group| group.count).sum();
    html! {
        section {
            h2 { "Failures" }
            @if report.failures.is_empty() { p.quiet { "None in this time." } }
            @else {
                (tables::failures(&report.failures, &report.heading.zone))
                @if shown < report.tally.failed {
                    p.quiet { (text::count(report.tally.failed - shown)) " more failed that are not shown here." }
                }
            }
            @if !report.broken.is_empty() {
                h3 { "Cannot run" }
                ul.broken { @for job in &report.broken {
                    li { b { bdi { (job.title()) } } " " span.quiet { (text::line(&job.state, 40)) } }
                } }
                @if report.broken_jobs > report.broken.len() {
                    p.quiet { "And " (text::count((report.broken_jobs - report.broken.len()) as u64)) " more." }
                }
            }
        }
    }
}

fn coming(report: &Report) -> Markup {
    let heading = &report.heading;
    html! {
        section {
            h2 { "Coming runs" }
            @if report.coming.is_empty() { p.quiet { "None." } }
            @else {
                (tables::coming(&report.coming, &heading.zone, heading.span.until))
                @if report.coming_jobs > report.coming.len() {
                    p.quiet {
                        (text::counted((report.coming_jobs - report.coming.len()) as u64, "job starts", "jobs start"))
                        " later."
                    }
                }
            }
        }
    }
}

fn footer(report: &Report) -> Markup {
    let heading = &report.heading;
    html! {
        footer {
            p.quiet {
                (text::line(&heading.version, 120)) ". Made at "
                (text::date_time(&heading.zone, heading.span.until)) " " (heading.zone.name())
                " for role " bdi { (text::line(&heading.role, 63)) } ", from the jobs and runs this role may see."
            }
        }
    }
}
