//! What a report says about known runs, and that its size and its text are under control whatever the
//! runs were.

use unicode_width::UnicodeWidthStr;

use super::draw::{self, Pen};
use super::*;
use crate::run::Outcome;

const MINUTE: i64 = 60 * Timestamp::SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Saturday 2026-11-21 12:00 UTC.
const NOON: Timestamp = Timestamp::from_secs(1_795_262_400);

fn day() -> Span {
    Span { from: NOON.plus(-24 * HOUR), until: NOON }
}

fn job(id: i64, name: &str) -> Job {
    Job {
        id,
        name: Some(name.to_owned()),
        owner: "app".to_owned(),
        database: "shop".to_owned(),
        schedule: "*/10 * * * *".to_owned(),
        zone: "UTC".to_owned(),
        state: "scheduled".to_owned(),
        next: Some(NOON.plus(10 * MINUTE)),
        expected: Some(1_500_000),
    }
}

/// A run that began so many minutes before noon.
fn run(id: i64, minutes: i64, micros: i64, outcome: Outcome) -> Run {
    let started = NOON.plus(-minutes * MINUTE);
    Run { id, started, ended: Some(started.plus(micros)), outcome: Some(outcome) }
}

fn heading(span: Span) -> Heading {
    Heading {
        database: "shop".to_owned(),
        role: "app".to_owned(),
        version: "pg_tock 0.1.0, PostgreSQL 15.20".to_owned(),
        span,
        zone: Zone::utc(),
        level: Level::Warning,
        reasons: vec!["1 failed last time: sync.".to_owned()],
    }
}

fn failure(run: &Run, job: i64, message: &str) -> Failure {
    Failure {
        run: run.id,
        job,
        started: run.started,
        outcome: Outcome::Failed,
        reason: None,
        sqlstate: Some("22012".to_owned()),
        attempt: 2,
        message: message.to_owned(),
    }
}

/// Three jobs: one with failures and skips, one that is under way, one that never ran.
fn sample() -> Report {
    let jobs = vec![job(1, "sync"), job(2, "export"), job(3, "</script><b x=\"1\">")];
    let mut collector = Collector::new(day(), jobs, Limits::of(3));
    let skip = Skip {
        reason: "paused".to_owned(),
        first: NOON.plus(-5 * HOUR),
        last: NOON.plus(-4 * HOUR),
        count: 7,
    };
    collector.skip(1, &skip);
    collector.running(2, Run { id: 90, started: NOON.plus(-HOUR), ended: None, outcome: None });
    let mut failures = Vec::new();
    for n in 0..20 {
        let failed = n % 8 == 3;
        let outcome = if failed { Outcome::Failed } else { Outcome::Succeeded };
        let run = run(n + 1, 10 + 60 * n, 2_000_000 + n * 100_000, outcome);
        if failed {
            failures.push(failure(
                &run,
                1,
                "ERROR:  division by <zero>\nDETAIL:  \u{202e}no\u{7}\n",
            ));
        }
        collector.run(1, run);
    }
    collector.run(2, run(80, 600, 30 * MINUTE, Outcome::Succeeded));
    let (shown, failed) = collector.settle();
    assert_eq!((shown.len(), failed.len()), (3, 3));
    collector.show_skip(1, skip);
    let coming =
        vec![Coming { job: job(1, "sync"), starts: vec![NOON.plus(10 * MINUTE), NOON.plus(HOUR)] }];
    collector.report(heading(day()), failures, coming)
}

/// Compares with the file of that name; UPDATE=1 writes it.
fn compare(name: &str, found: &str) {
    let path = format!("{}/src/report/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{path} is not what is made now; UPDATE=1 takes it over:\n{found}");
}

#[test]
fn the_page_is_as_it_was() {
    compare("page.html", &page::html(&sample()).replace("><", ">\n<"));
}

#[test]
fn the_drawing_is_as_it_was() {
    let report = sample();
    compare("blocks.txt", &draw::lines(&report, &Zone::utc(), Pen::BLOCKS).join("\n"));
    let ascii =
        draw::lines(&report, &Zone::resolve("Asia/Kolkata").unwrap(), Pen::ASCII).join("\n");
    assert!(ascii.is_ascii());
    compare("ascii.txt", &ascii);
}

#[test]
fn figures_are_those_of_the_runs() {
    let report = sample();
    let tally = report.tally;
    assert_eq!(
        (tally.runs, tally.succeeded, tally.failed, tally.running, tally.skipped),
        (22, 18, 3, 1, 7)
    );
    assert_eq!(tally.busy, (0..20).map(|n| 2_000_000 + n * 100_000).sum::<i64>() + 90 * MINUTE);
    let [sync, export, idle] = &report.lanes[..] else { panic!("three lanes") };
    assert_eq!(sync.job.id, 1, "who failed comes first");
    let found = sync.durations.unwrap();
    assert_eq!((found.p50, found.p95, found.max), (2_900_000, 3_800_000, 3_900_000));
    assert_eq!((export.tally.running, export.runs.len()), (1, 2));
    assert_eq!((idle.tally, idle.durations), (Tally::default(), None));
    let [group] = &report.failures[..] else { panic!("alike failures are one group") };
    assert_eq!((group.count, group.newest.run), (3, 4));
}

#[test]
fn a_week_has_every_start_and_all_the_time() {
    let span = Span { from: NOON.plus(-7 * 24 * HOUR), until: NOON };
    let mut collector = Collector::new(span, vec![job(1, "a"), job(2, "b")], Limits::of(2));
    // Three hours and a half, from Saturday 02:20 on; and one from before the span began.
    collector.run(1, run(1, 9 * 60 + 40, 210 * MINUTE, Outcome::Succeeded));
    collector.run(2, run(2, 7 * 24 * 60 + 30, HOUR, Outcome::Succeeded));
    collector.settle();
    let mut heading = heading(span);
    heading.zone = Zone::resolve("Asia/Kolkata").unwrap();
    let report = collector.report(heading, Vec::new(), Vec::new());
    let cells = || report.week.iter().flatten();
    assert!((cells().map(|cell| cell.starts).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!((cells().map(|cell| cell.busy).sum::<f64>() - 4.0).abs() < 1e-9);
    assert!((cells().map(|cell| cell.seen).sum::<f64>() - 168.0).abs() < 1e-9);
    // 02:20 is 07:50 in Kolkata.
    let hours: Vec<f64> = (6..13).map(|hour| report.week[5][hour].busy).collect();
    for (found, expected) in hours.iter().zip([0.0, 1.0 / 6.0, 1.0, 1.0, 1.0, 1.0 / 3.0, 0.0]) {
        assert!((found - expected).abs() < 1e-9, "{hours:?}");
    }
    assert!((report.week[5][7].starts - 1.0).abs() < 1e-9);
}

#[test]
fn a_week_is_made_from_statistics_if_they_reach_further_back() {
    let midnight = NOON.plus(-12 * HOUR);
    let hour = |days: i64, starts: u64, lasting: i64| Hour {
        at: midnight.plus(-days * 24 * HOUR),
        starts,
        busy: i64::try_from(starts).unwrap() * HOUR / 2,
        lasting,
    };
    let week = |hours: &[Hour]| {
        let mut collector = Collector::new(day(), vec![job(1, "a")], Limits::of(1));
        collector.past(hours);
        collector.run(1, run(1, 60, MINUTE, Outcome::Succeeded));
        collector.settle();
        let report = collector.report(heading(day()), Vec::new(), Vec::new());
        (report.week_of, report.week)
    };
    // Two Saturdays, of three that were seen, at midnight; runs of the second go on for three hours.
    let (of, found) = week(&[hour(14, 4, 1), hour(7, 6, 3)]);
    assert_eq!(of, Span { from: midnight.plus(-14 * 24 * HOUR), until: NOON });
    let [first, second, third, fourth] = found[5][..4] else { panic!("four hours") };
    assert!((first.seen - 3.0).abs() < 1e-9 && (first.starts - 10.0).abs() < 1e-9, "{first:?}");
    assert!(
        (first.busy - 3.0).abs() < 1e-9,
        "two hours of the one and one of the other: {first:?}"
    );
    assert!((second.busy - 1.0).abs() < 1e-9 && (third.busy - 1.0).abs() < 1e-9);
    assert!(second.starts.abs() < 1e-9 && fourth.busy.abs() < 1e-9);
    // Those of this day alone say less than its runs do.
    let (of, found) = week(&[hour(0, 9, 1)]);
    assert_eq!(of, day());
    assert!((found.iter().flatten().map(|cell| cell.starts).sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn size_does_not_grow_with_jobs_or_runs() {
    let jobs: Vec<Job> = (0..3_000).map(|id| job(id, &"<&\u{1f600}>".repeat(50))).collect();
    let mut limits = Limits::of(jobs.len());
    limits.runs_a_job = 400;
    let mut collector = Collector::new(day(), jobs, limits);
    for id in 0..3_000 {
        for n in 0..400 {
            let outcome = if n % 2 == 0 { Outcome::Failed } else { Outcome::Succeeded };
            collector.run(id, run(id * 1_000 + n, n * 7 / 2 + id % 3, 1_000 + n, outcome));
        }
    }
    let (shown, failed) = collector.settle();
    assert_eq!((shown.len(), failed.len()), (30, 500));
    let failures = failed
        .iter()
        .map(|&id| {
            failure(&run(id, id % 1_000, 1, Outcome::Failed), id / 1_000, &"<'\"&>\n".repeat(1_000))
        })
        .collect();
    let report = collector.report(heading(day()), failures, Vec::new());
    assert_eq!((report.tally.runs, report.others.runs), (1_200_000, 1_188_000));
    assert_eq!(report.cut, 3_000);
    let page = page::html(&report);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("The other 2,970 jobs: 1,188,000 runs, 594,000 failed"));
    let lines = draw::lines(&report, &Zone::utc(), Pen::BLOCKS);
    assert_eq!(lines.len(), 3 + 30 + 2);
}

#[test]
fn nothing_is_shown_of_no_jobs() {
    let mut collector = Collector::new(day(), Vec::new(), Limits::of(0));
    collector.settle();
    let report = collector.report(heading(day()), Vec::new(), Vec::new());
    assert!(page::html(&report).contains("There is no job you may see."));
    assert_eq!(draw::lines(&report, &Zone::utc(), Pen::ASCII).len(), 4);
}

#[test]
fn clock_changes_keep_the_hours_in_order() {
    // Berlin 2026-10-25: 03:00 comes twice, the day has 25 hours.
    let zone = Zone::resolve("Europe/Berlin").unwrap();
    let from = zone.instant_of(Timestamp::from_secs(1_792_886_400).secs());
    let span = Span { from, until: from.plus(25 * HOUR) };
    let found = axis::ticks(span, &zone, 8);
    assert!(found.windows(2).all(|two| two[0].at < two[1].at && two[0].place < two[1].place));
    assert!(found.len() <= 9, "{found:?}");
    for seconds in [1, 59, 3_600, 86_400, 86_400 * 366] {
        let span = Span { from, until: from.plus(seconds * Timestamp::SECOND) };
        let found = axis::ticks(span, &zone, 8);
        assert!((1..=10).contains(&found.len()), "{seconds}: {found:?}");
    }
}

#[test]
fn wide_and_narrow_names_leave_the_drawing_in_its_place() {
    for name in [
        "a",
        "日本語の長い名前はここで切られる",
        "x-is-not-in-this-long-name-of-a-job".trim_start_matches('x'),
        "e\u{301}\u{301}\u{301}",
        "\u{202e}\u{7}",
        "ümläut",
    ] {
        for (pen, failed) in [(Pen::BLOCKS, '✗'), (Pen::ASCII, 'x')] {
            let mut collector = Collector::new(day(), vec![job(1, name)], Limits::of(1));
            collector.run(1, run(1, 5, 1, Outcome::Failed));
            collector.settle();
            let report = collector.report(heading(day()), Vec::new(), Vec::new());
            let lines = draw::lines(&report, &Zone::utc(), pen);
            let (before, _) = lines[3].split_once(failed).unwrap();
            // The last mark of the axis stands in the last column, too.
            assert_eq!(before.width(), lines[2].width() - 1, "{lines:#?}");
            assert!(before.width() <= 28 + 1 + 47, "{lines:#?}");
        }
    }
}

#[test]
fn texts_are_short_and_say_what_they_mean() {
    let durations = [0, 900, 12_345, 1_500_000, 61_000_000, 3_660_000_000, 90_000_000_000];
    let shown: Vec<String> = durations.map(text::duration).to_vec();
    assert_eq!(shown, ["0.0 ms", "0.9 ms", "12 ms", "1.5 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    assert_eq!(text::duration(999_600), "1.0 s");
    assert_eq!(text::duration(59_960_000), "1 min", "not 60.0 s");
    assert_eq!([0, 999, 1_000, 1_234_567].map(text::count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(text::percent(99_999, 100_000), ">99.9 %");
    assert_eq!(text::percent(1, 100_000), "<0.1 %");
    assert_eq!(
        [(0, 0), (0, 5), (5, 5), (1, 3)].map(|(a, b)| text::percent(a, b)),
        ["–", "0 %", "100 %", "33.3 %"]
    );
    assert_eq!(
        text::line("a\nb\u{202e}c\u{200b}d\u{9b}", 60),
        "a\\u{a}b\\u{202e}c\\u{200b}d\\u{9b}"
    );
    assert_eq!(text::lines("a\r\n\tb\u{0}\n\n", 60), "a\n\tb\\u{0}");
    assert_eq!(text::line("abcdef", 3), "abc…");
}
