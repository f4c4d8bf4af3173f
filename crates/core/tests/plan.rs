//! Run windows, calendars and jitter: what they mean, how they are written, what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use pg_tock_core::engine::Occurrences;
use pg_tock_core::plan::{Dates, Forecast, ForecastJob, Plan, RunWindow, Shape, forecast};
use pg_tock_core::run::{SkipReason, Verdict};
use pg_tock_core::schedule::{DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;

const MINUTE: i64 = 60 * Timestamp::SECOND;

fn instant(text: &str) -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

fn shown(at: Timestamp) -> String {
    DateTime::from_timestamp_micros(at.0).unwrap().to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn day(text: &str) -> i64 {
    let date: NaiveDate = text.parse().unwrap();
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// A set of dates from texts `2026-12-24` or `2026-12-24..2026-12-26`.
fn dates(ranges: &[&str]) -> Arc<Dates> {
    Arc::new(Dates::from_days(ranges.iter().map(|range| match range.split_once("..") {
        Some((from, to)) => (day(from), day(to)),
        None => (day(range), day(range)),
    })))
}

fn plan(schedule: &str, zone: &str, shape: Shape) -> Plan {
    let (schedule, zone) = (Schedule::parse(schedule).unwrap(), Zone::resolve(zone).unwrap());
    let anchor = instant("2026-01-01T00:00:00Z");
    Plan::new(schedule, Arc::new(zone), DayRule::Vixie, DstPolicy::Cron, anchor, shape)
}

fn windowed(schedule: &str, zone: &str, window: &str) -> Plan {
    let window = Some(RunWindow::parse(window).unwrap());
    plan(schedule, zone, Shape { window, ..Shape::default() })
}

/// The next `n` instants that run.
fn open(plan: &Plan, after: &str, n: usize) -> Vec<String> {
    std::iter::successors(plan.next_open(instant(after)), |&at| plan.next_open(at))
        .take(n)
        .map(shown)
        .collect()
}

#[test]
fn a_window_is_written_in_its_normal_form() {
    for (text, printed) in [
        ("09:00-17:00", "09:00-17:00"),
        (" 9:00 - 17:00 ", "09:00-17:00"),
        ("mon-fri 09:00-17:00; sat 10:00-12:00", "mon-fri 09:00-17:00; sat 10:00-12:00"),
        ("MON-Friday 9:00-17:00;Saturday 10:00-12:00", "mon-fri 09:00-17:00; sat 10:00-12:00"),
        ("22:00-06:00", "22:00-06:00"),
        ("09:00-24:00", "09:00-24:00"),
        ("18:00-0:00", "18:00-24:00"),
        ("00:00-24:00", "00:00-24:00"),
        ("sat,sun", "sat-sun 00:00-24:00"),
        ("fri-mon 08:00-09:00", "fri-mon 08:00-09:00"),
        ("sun,tue, thu-fri 08:00-09:00", "tue,thu-fri,sun 08:00-09:00"),
        ("sun-sat 08:00-09:00", "08:00-09:00"),
        ("tue-mon 08:00-09:00", "08:00-09:00"),
        ("mon 08:00-09:00; wed 08:00-09:00", "mon,wed 08:00-09:00"),
        ("mon\t08:00-09:00\n;\nwed 10:00-11:00", "mon 08:00-09:00; wed 10:00-11:00"),
    ] {
        let window = RunWindow::parse(text).unwrap();
        assert_eq!(window.to_string(), printed, "{text}");
        assert_eq!(RunWindow::parse(printed).unwrap(), window, "{text}");
    }
}

#[test]
fn windows_are_equal_when_they_hold_the_same_hours() {
    let same = |a: &str, b: &str| RunWindow::parse(a).unwrap() == RunWindow::parse(b).unwrap();
    assert!(same("09:00-12:00; 12:00-17:00", "09:00-17:00"));
    assert!(same("sat 22:00-02:00", "sat 22:00-24:00; sun 00:00-02:00"));
    assert!(same("mon-fri 09:00-17:00", "fri,mon-thu 09:00-17:00; wed 10:00-11:00"));
    assert!(!same("sat 22:00-02:00", "sat,sun 22:00-02:00"));
}

#[test]
fn a_refused_window_names_the_byte() {
    for (text, at, problem) in [
        ("", 0, "an empty alternative is not possible"),
        ("09:00-17:00;", 12, "an empty alternative is not possible"),
        ("; 09:00-17:00", 0, "an empty alternative is not possible"),
        ("09:00", 5, "expected \"-\" and the end of the window, not the end"),
        ("09:00-", 6, "expected a time of day, not the end"),
        ("9-17", 0, "\"9\" is not a time of day in hours and minutes"),
        ("09:00-25:00", 6, "\"25:00\" is not a time of day in hours and minutes"),
        ("09:60-10:00", 0, "\"09:60\" is not a time of day in hours and minutes"),
        ("09:00-24:01", 6, "\"24:01\" is not a time of day in hours and minutes"),
        ("09:00:30-10:00", 0, "\"09:00:30\" is not a time of day in hours and minutes"),
        ("009:00-10:00", 0, "\"009:00\" is not a time of day in hours and minutes"),
        ("24:00-06:00", 0, "24:00 cannot begin a window"),
        ("09:00-09:00", 0, "the window begins and ends at the same time"),
        ("mo 09:00-17:00", 0, "\"mo\" is not a day of the week"),
        ("mon-xyz 09:00-17:00", 4, "\"xyz\" is not a day of the week"),
        ("mon, 09:00-17:00", 5, "expected a day of the week, not \"0\""),
        ("mon 09:00-17:00 tue", 16, "unexpected \"t\" after the times"),
        ("mon 09:00-17:00, 18:00-19:00", 15, "unexpected \",\" after the times"),
        ("mon 09:00-17:00; tue x", 21, "expected a time of day, not \"x\""),
        ("é", 0, "expected a time of day, not \"é\""),
        ("09:00–17:00", 5, "expected \"-\" and the end of the window, not \"–\""),
        ("1-5 09:00-17:00", 0, "\"1\" is not a time of day in hours and minutes"),
    ] {
        let error = RunWindow::parse(text).unwrap_err();
        assert_eq!((error.at(), error.to_string().as_str()), (at, problem), "{text}");
        assert!(error.hint().ends_with('.'));
    }
    let long = format!("09:00-17:00{}", " ".repeat(989));
    assert!(RunWindow::parse(&long).unwrap_err().to_string().contains("too long"));
    assert!(RunWindow::parse(&long[..999]).is_ok());
}

#[test]
fn a_window_ends_before_its_end() {
    let plan = windowed("*/30 * * * *", "Europe/Berlin", "mon-fri 09:00-10:00");
    // Friday, 09:30 there; the next is on Monday.
    assert_eq!(
        open(&plan, "2026-07-03T07:00:00Z", 3),
        ["2026-07-03T07:30:00Z", "2026-07-06T07:00:00Z", "2026-07-06T07:30:00Z"]
    );
    assert_eq!(plan.verdict(instant("2026-07-03T08:00:00Z")), Verdict::Skip(SkipReason::Window));
    assert_eq!(plan.opens(instant("2026-07-03T08:00:00Z")), Some(instant("2026-07-06T07:00:00Z")));
    let inside = instant("2026-07-03T07:59:59.999999Z");
    assert_eq!(plan.opens(inside), Some(inside));
    assert_eq!(plan.verdict(inside), Verdict::Start(inside));
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_began_on() {
    let plan = windowed("59 5,21,22 * * *", "UTC", "mon-fri 22:00-06:00");
    assert_eq!(
        open(&plan, "2026-07-02T23:00:00Z", 5), // Thursday
        [
            "2026-07-03T05:59:00Z",
            "2026-07-03T22:59:00Z",
            "2026-07-04T05:59:00Z", // Saturday
            "2026-07-06T22:59:00Z",
            "2026-07-07T05:59:00Z",
        ]
    );
}

#[test]
fn calendars_exclude_whole_local_dates() {
    let shape = |skip_on: Vec<_>, only_on: Vec<_>| Shape { skip_on, only_on, ..Shape::default() };
    let holidays = dates(&["2026-12-24..2026-12-26", "2026-12-31"]);
    let plan = plan("0 */12 * * *", "Europe/Berlin", shape(vec![holidays.clone()], vec![]));
    assert_eq!(
        open(&plan, "2026-12-23T10:59:59Z", 3),
        ["2026-12-23T11:00:00Z", "2026-12-26T23:00:00Z", "2026-12-27T11:00:00Z"]
    );
    let christmas_eve = instant("2026-12-23T23:00:00Z"); // local midnight
    assert_eq!(plan.verdict(christmas_eve), Verdict::Skip(SkipReason::Calendar));
    assert_eq!(plan.opens(christmas_eve), Some(instant("2026-12-26T23:00:00Z")));

    // What is in both is skipped.
    let year_end = dates(&["2026-12-25..2027-01-01"]);
    let both = self::plan("0 12 * * *", "UTC", shape(vec![holidays], vec![year_end]));
    assert_eq!(
        open(&both, "2026-01-01T00:00:00Z", 9),
        [
            "2026-12-27T12:00:00Z",
            "2026-12-28T12:00:00Z",
            "2026-12-29T12:00:00Z",
            "2026-12-30T12:00:00Z",
            "2027-01-01T12:00:00Z",
        ]
    );
    assert_eq!(both.opens(instant("2027-01-02T00:00:00Z")), None);
    // An empty calendar as the only one lets nothing run.
    let nothing = self::plan("0 12 * * *", "UTC", shape(vec![], vec![dates(&[])]));
    assert_eq!(nothing.next_open(Timestamp(0)), None);
    let everything = Arc::new(Dates::from_days([(i64::MIN, i64::MAX)]));
    let plan = self::plan("* * * * *", "UTC", shape(vec![everything], vec![]));
    assert_eq!((plan.next_open(Timestamp(0)), plan.opens(Timestamp(0))), (None, None));
}

#[test]
fn a_day_off_is_the_calendars_reason_at_night_too() {
    let window = Some(RunWindow::parse("09:00-17:00").unwrap());
    let skip_on = vec![dates(&["2026-12-25"])];
    let plan = plan("0 * * * *", "UTC", Shape { window, skip_on, ..Shape::default() });
    let reason = |at| plan.verdict(instant(at));
    assert_eq!(reason("2026-12-24T20:00:00Z"), Verdict::Skip(SkipReason::Window));
    assert_eq!(reason("2026-12-25T03:00:00Z"), Verdict::Skip(SkipReason::Calendar));
    assert_eq!(reason("2026-12-25T12:00:00Z"), Verdict::Skip(SkipReason::Calendar));
}

#[test]
fn windows_follow_the_wall_clock_through_its_changes() {
    // New York, 8 March 2026: 02:00 to 03:00 does not exist, so this window is one hour long.
    let spring = windowed("*/30 * * * *", "America/New_York", "01:30-03:30");
    assert_eq!(
        open(&spring, "2026-03-08T05:00:00Z", 3),
        ["2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T05:30:00Z"]
    );
    // 1 November 2026: 01:00 to 02:00 comes twice, and the window is open both times.
    let autumn = windowed("*/30 * * * *", "America/New_York", "01:15-01:45");
    assert_eq!(
        open(&autumn, "2026-11-01T04:00:00Z", 3),
        ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"]
    );
    // A window that lies in the gap alone is not open at all that day.
    let gap = windowed("* * * * *", "America/New_York", "02:10-02:20");
    assert_eq!(gap.opens(instant("2026-03-08T06:00:00Z")), Some(instant("2026-03-09T06:10:00Z")));
    // Samoa had no 30 December 2011.
    let samoa = Shape { only_on: vec![dates(&["2011-12-30"])], ..Shape::default() };
    assert_eq!(
        plan("* * * * *", "Pacific/Apia", samoa).opens(instant("2011-12-01T00:00:00Z")),
        None
    );
}

#[test]
fn the_schedules_own_zone_is_the_windows_too() {
    let plan = windowed("CRON_TZ=Asia/Tokyo 0 * * * *", "Europe/Berlin", "09:00-09:30");
    assert_eq!(open(&plan, "2026-07-01T12:00:00Z", 1), ["2026-07-02T00:00:00Z"]);
    assert_eq!(plan.zone().name(), "Asia/Tokyo");
}

/// The hash is part of what is promised: the same on every platform and in every release.
#[test]
fn jitter_is_pinned() {
    let shape = |seed| Shape { jitter: 10 * MINUTE, seed, ..Shape::default() };
    let starts = |schedule, seed| -> Vec<i64> {
        let plan = plan(schedule, "UTC", shape(seed));
        let coming = plan.coming(instant("2026-07-01T00:00:00Z"));
        coming.take(3).map(|run| run.start.since(run.nominal)).collect()
    };
    // The first is that of midnight, which has yet to start.
    assert_eq!(starts("0 * * * *", 1), [567_212_718, 446_622_237, 3_722_933]);
    assert_eq!(starts("0 * * * *", -2)[1..], [316_851_110, 384_806_453]);
    // No more than a minute, because the next instant comes then.
    assert_eq!(starts("* * * * *", 1)[1..], [5_509_730, 35_947_406]);
}

#[test]
fn a_run_whose_start_is_delayed_past_the_moment_of_asking_is_still_coming() {
    let shape = Shape { jitter: 50 * MINUTE, seed: 7, ..Shape::default() };
    let plan = plan("0 * * * *", "UTC", shape);
    let first = plan.coming(instant("2026-07-01T11:30:00Z")).next().unwrap();
    let between = Timestamp(i64::midpoint(first.nominal.0, first.start.0));
    assert_eq!(plan.coming(between).next(), Some(first.clone()));
    let second = plan.coming(first.start).next().unwrap();
    assert_eq!(second.nominal, first.nominal.plus(60 * MINUTE));
    assert_eq!(plan.coming(first.start.plus(-1)).next(), Some(first));
}

#[test]
fn notes_say_what_moved_a_run() {
    let at = instant("2026-03-08T05:00:00Z");
    let moved = plan("30 2 * * *", "America/New_York", Shape::default());
    let note = moved.coming(at).next().unwrap().note.unwrap();
    assert_eq!(note, "moved from 2026-03-08 02:30:00, which clocks skip");
    assert_eq!(moved.coming(at).nth(1).unwrap().note, None);
    let shape = Shape { jitter: MINUTE, seed: 1, ..Shape::default() };
    let both = plan("30 2 * * *", "America/New_York", shape).coming(at).next().unwrap();
    let note = both.note.unwrap();
    let (clock, jitter) = note.split_once("; ").unwrap();
    assert_eq!(clock, "moved from 2026-03-08 02:30:00, which clocks skip");
    assert!(jitter.starts_with("jitter of ") && jitter.ends_with(" s after 2026-03-08 03:00:00"));
}

#[test]
fn a_plan_is_what_the_engine_asks() {
    let plan = windowed("0 * * * *", "UTC", "09:00-10:00");
    let times: &dyn Occurrences = &plan;
    let (midnight, one, nine) = (
        instant("2026-07-01T00:00:00Z"),
        instant("2026-07-01T01:00:00Z"),
        instant("2026-07-01T09:00:00Z"),
    );
    // The instants themselves, open or not.
    assert_eq!(times.next_after(midnight), Some(one));
    assert_eq!(times.verdict(one), Verdict::Skip(SkipReason::Window));
    assert_eq!((times.next_open(midnight), times.opens(midnight)), (Some(nine), Some(nine)));
    assert_eq!((times.after_completion(), times.once()), (None, false));
    let after = windowed("every 5 minutes after completion", "UTC", "09:00-10:00");
    assert_eq!(Occurrences::after_completion(&after), Some(5 * MINUTE));
    assert!(windowed("at 2026-12-24 18:00", "UTC", "09:00-10:00").once());
}

#[test]
fn a_schedule_that_never_meets_its_window_has_no_next_run() {
    assert_eq!(windowed("0 12 * * *", "UTC", "13:00-14:00").next_open(Timestamp(0)), None);
    assert_eq!(windowed("at 2026-12-24 18:00", "UTC", "09:00-10:00").next_open(Timestamp(0)), None);
    assert_eq!(windowed("@reboot", "UTC", "09:00-10:00").next_open(Timestamp(0)), None);
    // Fifty holes a day, for years: given up, not searched for seconds.
    let holes: Vec<String> = (0..50)
        .map(|i| format!("{:02}:{:02}-{:02}:{:02}", i / 3, i % 3 * 10 + 1, i / 3, i % 3 * 10 + 9))
        .collect();
    assert_eq!(windowed("30 * * * *", "UTC", &holes.join(";")).next_open(Timestamp(0)), None);
    // One that meets it on leap days only.
    let leap = windowed("0 12 29 2 *", "UTC", "sun 12:00-13:00");
    assert_eq!(
        open(&leap, "2026-01-01T00:00:00Z", 2),
        ["2032-02-29T12:00:00Z", "2060-02-29T12:00:00Z"]
    );
}

#[test]
fn extreme_instants_do_no_harm() {
    let skip_on = vec![dates(&["2026-12-25"])];
    let window = Some(RunWindow::parse("22:00-06:00").unwrap());
    for schedule in
        ["* * * * *", "30 seconds", "at 2026-12-24 23:00", "every 7 min after completion"]
    {
        for jitter in [0, 1, i64::MAX] {
            let shape = Shape {
                jitter,
                window: window.clone(),
                skip_on: skip_on.clone(),
                ..Shape::default()
            };
            let plan = plan(schedule, "America/New_York", shape);
            for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX].map(Timestamp) {
                assert!(plan.next_open(at).is_none_or(|next| next > at), "{schedule} {at:?}");
                assert!(plan.opens(at).is_none_or(|opens| opens >= at), "{schedule} {at:?}");
                assert!(plan.coming(at).take(2).all(|run| run.start > at), "{schedule} {at:?}");
            }
        }
    }
}

#[test]
fn a_forecast_counts_what_runs_at_each_start() {
    let hourly = plan("0 * * * *", "UTC", Shape::default());
    let half_hourly = plan("*/30 * * * *", "UTC", Shape::default());
    let jobs = [
        ForecastJob { plan: &hourly, duration: 45 * MINUTE },
        ForecastJob { plan: &half_hourly, duration: 40 * MINUTE },
    ];
    let found = forecast(&jobs, instant("2026-07-01T11:50:00Z"), instant("2026-07-01T13:00:00Z"));
    let at = |at, job, concurrency| Forecast { start: instant(at), job, concurrency };
    assert_eq!(
        found,
        [
            at("2026-07-01T12:00:00Z", 0, 2),
            at("2026-07-01T12:00:00Z", 1, 2),
            at("2026-07-01T12:30:00Z", 1, 2),
            at("2026-07-01T13:00:00Z", 0, 2),
            at("2026-07-01T13:00:00Z", 1, 2),
        ]
    );
    assert_eq!(forecast(&[], Timestamp(0), Timestamp(i64::MAX)), []);
}

/// Jitter uses the whole of the open stretch, and no more.
#[test]
fn jitter_ends_where_the_stretch_does() {
    for (window, zone, nominal, closes) in [
        ("09:00-17:00", "UTC", "2026-07-01T16:00:00Z", "2026-07-01T17:00:00Z"),
        ("09:00-17:00; 17:00-18:00", "UTC", "2026-07-01T16:00:00Z", "2026-07-01T18:00:00Z"),
        // Over midnight, and over the end of the week (Saturday to Sunday).
        ("22:00-02:00", "UTC", "2026-07-01T23:30:00Z", "2026-07-02T02:00:00Z"),
        ("sat 22:00-02:00", "UTC", "2026-07-04T23:30:00Z", "2026-07-05T02:00:00Z"),
        ("sat 22:00-24:00; sun 00:00-01:00", "UTC", "2026-07-04T23:30:00Z", "2026-07-05T01:00:00Z"),
        // Clocks go forward at 07:00 UTC, out of the window; back at 06:00 UTC, into it again.
        ("01:30-02:30", "America/New_York", "2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z"),
        ("01:30-03:15", "America/New_York", "2026-03-08T06:30:00Z", "2026-03-08T07:15:00Z"),
        ("00:30-01:30", "America/New_York", "2026-11-01T04:30:00Z", "2026-11-01T05:30:00Z"),
        ("00:30-02:00", "America/New_York", "2026-11-01T04:30:00Z", "2026-11-01T07:00:00Z"),
        // Three hours are what is wished for at most.
        ("00:00-24:00", "UTC", "2026-07-04T23:30:00Z", "2026-07-05T02:30:00Z"),
    ] {
        let (nominal, closes) = (instant(nominal), instant(closes));
        let window = RunWindow::parse(window).unwrap();
        let starts = (0..2_000).map(|seed| {
            let window = Some(window.clone());
            let shape = Shape { jitter: 180 * MINUTE, window, seed, ..Shape::default() };
            match plan("0,30 0 1 * *", zone, shape).verdict(nominal) {
                Verdict::Start(start) => start,
                Verdict::Skip(reason) => unreachable!("{reason}"),
            }
        });
        let latest = starts.max().unwrap();
        assert!(latest < closes, "{window}: {}", shown(latest));
        assert!(closes.since(latest) < MINUTE, "{window}: {}", shown(latest));
    }
}

#[test]
fn jitter_ends_with_the_day_that_calendars_allow() {
    let shape = |skip_on, only_on, seed| Shape {
        jitter: 180 * MINUTE,
        skip_on,
        only_on,
        seed,
        ..Shape::default()
    };
    let nominal = instant("2026-07-04T23:30:00Z");
    let latest = |skip_on: &[Arc<Dates>], only_on: &[Arc<Dates>]| {
        let starts = (0..2_000).map(|seed| {
            let plan = plan("0 0 1 * *", "UTC", shape(skip_on.to_vec(), only_on.to_vec(), seed));
            let Verdict::Start(start) = plan.verdict(nominal) else { unreachable!() };
            start
        });
        starts.max().unwrap()
    };
    let (midnight, wish) = (instant("2026-07-05T00:00:00Z"), nominal.plus(180 * MINUTE));
    let near = |at: Timestamp, end: Timestamp| at < end && end.since(at) < MINUTE;
    assert!(near(latest(&[dates(&["2026-07-05"])], &[]), midnight));
    assert!(near(latest(&[dates(&["2026-07-06"])], &[]), wish));
    assert!(near(latest(&[], &[dates(&["2026-07-01..2026-07-04"])]), midnight));
    assert!(near(latest(&[], &[dates(&["2026-07-04"]), dates(&["2026-07-05"])]), wish));
}

#[test]
fn dates_are_a_set() {
    let set = |ranges: &[(i64, i64)]| Dates::from_days(ranges.iter().copied());
    assert_eq!(set(&[(4, 6), (1, 3), (2, 2)]), set(&[(1, 6)]));
    assert_ne!(set(&[(1, 3), (5, 6)]), set(&[(1, 6)]));
    assert!(set(&[(3, 2)]).is_empty());
    let some = set(&[(1, 3), (5, 6)]);
    assert_eq!((0..8).filter(|&day| some.contains(day)).collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
}
