//! Plans against the plainest reading of their rules: every minute around a change of the clock is
//! looked at, with `chrono-tz` alone deciding what wall clocks show.
//!
//! `PG_TOCK_WIDE=1` runs many more cases.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use pg_tock_core::plan::{Dates, Forecast, ForecastJob, Plan, RunWindow, Shape, forecast};
use pg_tock_core::run::{SkipReason, Verdict};
use pg_tock_core::schedule::{DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

const MINUTE: i64 = 60 * Timestamp::SECOND;
/// The span looked at, in minutes: nine days.
const SPAN: i64 = 9 * 1_440;
/// 2015-01-01 to 2045-01-01 in seconds.
const INSTANTS: std::ops::Range<i64> = 1_420_070_400..2_366_841_600;
const NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One alternative of a window, put together without the parser: days (from Sunday), and minutes
/// of the day to begin and to end at.
#[derive(Clone, Debug)]
struct Part {
    days: Vec<bool>,
    from: i64,
    to: i64,
    text: String,
}

impl Part {
    fn holds(&self, weekday: i64, minute: i64) -> bool {
        let day = |day: i64| self.days[usize::try_from(day.rem_euclid(7)).unwrap()];
        if self.from < self.to {
            return day(weekday) && (self.from..self.to).contains(&minute);
        }
        (day(weekday) && minute >= self.from) || (day(weekday - 1) && minute < self.to)
    }
}

fn part() -> impl Strategy<Value = Part> {
    let time = prop_oneof![
        3 => (0..24_i64).prop_map(|hour| hour * 60),
        2 => 0..1_440_i64,
        1 => 0..300_i64,
        1 => Just(0_i64),
    ];
    let days = prop_oneof![
        1 => Just(None),
        2 => prop::collection::vec((0..7_usize, 0..7_usize, any::<bool>()), 1..3).prop_map(Some),
    ];
    let end = prop_oneof![1 => Just(1_440_i64), 6 => time.clone()];
    (days, time, end).prop_filter("no time at all", |(_, from, to)| from != to).prop_map(
        |(ranges, from, to)| {
            let mut days = vec![ranges.is_none(); 7];
            let mut words = Vec::new();
            for (first, last, range) in ranges.into_iter().flatten() {
                let last = if range { last } else { first };
                let length = (last + 7 - first) % 7;
                (first..=first + length).for_each(|day| days[day % 7] = true);
                words.push(if range {
                    format!("{}-{}", NAMES[first], NAMES[last])
                } else {
                    NAMES[first].to_owned()
                });
            }
            let clock = |time: i64| format!("{:02}:{:02}", time / 60, time % 60);
            let text = format!("{} {}-{}", words.join(","), clock(from), clock(to));
            Part { days, from, to, text: text.trim_start().to_owned() }
        },
    )
}

fn window() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec(part(), 1..4)
}

fn text_of(window: &[Part]) -> String {
    window.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("; ")
}

/// Calendars as day ranges, counted from the beginning of the span.
type Calendars = Vec<Vec<(i64, i64)>>;

fn calendars() -> impl Strategy<Value = Calendars> {
    let range = (-3..12_i64, 0..3_i64).prop_map(|(from, more)| (from, from + more));
    let calendar = prop::collection::vec(range, 0..4);
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(calendar, 1..3)]
}

fn schedule() -> impl Strategy<Value = &'static str> {
    select(vec![
        "* * * * *",
        "*/7 * * * *",
        "30 * * * *",
        "15,45 */3 * * *",
        "30 2 * * *",
        "0,30 1-3 * * *",
        "0 0 * * *",
        "17 4 * * mon,thu",
        "every 20 minutes",
        "every 6 hours",
        "every 11 minutes",
    ])
}

/// A plan, and what it was made of.
#[derive(Clone, Debug)]
struct Case {
    plan: Plan,
    tz: Tz,
    window: Option<Vec<Part>>,
    skip_on: Calendars,
    only_on: Calendars,
    /// A whole minute, in seconds since the epoch.
    begin: i64,
    first_day: i64,
}

fn offset(tz: Tz, secs: i64) -> i64 {
    let utc = DateTime::from_timestamp(secs, 0).unwrap().naive_utc();
    i64::from(tz.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

impl Case {
    /// When it took effect.
    fn anchor(&self) -> Timestamp {
        Timestamp::from_secs(self.begin - 3_600)
    }

    fn calendar_allows(&self, day: i64) -> bool {
        let within = |calendars: &Calendars| {
            let day = day - self.first_day;
            calendars.iter().flatten().any(|(from, to)| (*from..=*to).contains(&day))
        };
        !within(&self.skip_on) && (self.only_on.is_empty() || within(&self.only_on))
    }

    /// Why nothing may start in a minute of the span, read off the wall clock.
    fn closed(&self, minute: i64) -> Option<SkipReason> {
        let secs = self.begin + minute * 60;
        let local = secs + offset(self.tz, secs);
        let (day, in_day) = (local.div_euclid(86_400), local.rem_euclid(86_400) / 60);
        let weekday = (day + 4).rem_euclid(7);
        let holds = |parts: &Vec<Part>| parts.iter().any(|part| part.holds(weekday, in_day));
        if !self.calendar_allows(day) {
            return Some(SkipReason::Calendar);
        }
        (!self.window.as_ref().is_none_or(holds)).then_some(SkipReason::Window)
    }

    fn at(&self, minute: i64) -> Timestamp {
        Timestamp::from_secs(self.begin + minute * 60)
    }
}

fn case() -> impl Strategy<Value = Case> {
    let window = prop_oneof![1 => Just(None), 4 => window().prop_map(Some)];
    let jitter = prop_oneof![Just(0), 1..1_000_000_i64, 1..10_000 * MINUTE];
    let policy = select(vec![DstPolicy::Cron, DstPolicy::Wall]);
    let zone = 0..TZ_VARIANTS.len();
    let shape = (window, calendars(), calendars(), jitter, any::<i64>());
    (schedule(), zone, policy, INSTANTS, shape).prop_map(|(text, zone, policy, start, shape)| {
        let tz = TZ_VARIANTS[zone];
        let zone = Zone::resolve(tz.name()).unwrap();
        let (window, skip_on, only_on, jitter, seed) = shape;
        // Most of the time the span has a change of the clock in its midst.
        let start = Timestamp::from_secs(start);
        let shift = zone.shifts_between(start, start.plus(400 * 1_440 * MINUTE)).next();
        let middle = shift.map_or(start.secs(), |shift| shift.at);
        let begin = (middle - SPAN / 2 * 60).div_euclid(60) * 60;
        let first_day = begin.div_euclid(86_400);
        let dates = |calendars: &Calendars| -> Vec<Arc<Dates>> {
            let days = |ranges: &Vec<(i64, i64)>| {
                Arc::new(Dates::from_days(
                    ranges.iter().map(|(a, b)| (a + first_day, b + first_day)),
                ))
            };
            calendars.iter().map(days).collect()
        };
        let shape = Shape {
            jitter,
            window: window.as_ref().map(|parts| RunWindow::parse(&text_of(parts)).unwrap()),
            skip_on: dates(&skip_on),
            only_on: dates(&only_on),
            seed,
        };
        let schedule = Schedule::parse(text).unwrap();
        let anchor = Timestamp::from_secs(begin - 3_600);
        let plan = Plan::new(schedule, Arc::new(zone), DayRule::Vixie, policy, anchor, shape);
        Case { plan, tz, window, skip_on, only_on, begin, first_day }
    })
}

fn cases(few: u32, many: u32) -> ProptestConfig {
    let cases = if std::env::var_os("PG_TOCK_WIDE").is_some() { many } else { few };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(60, 3_000))]
    #[test]
    fn every_minute_is_open_or_closed_as_clocks_show(case in case()) {
        let closed: Vec<Option<SkipReason>> = (0..SPAN).map(|minute| case.closed(minute)).collect();
        let mut opens = None;
        let mut next_open = None;
        // Backwards, so that what comes next is known.
        for minute in (0..SPAN).rev() {
            let at = case.at(minute);
            let reason = closed[usize::try_from(minute).unwrap()];
            match (reason, case.plan.verdict(at)) {
                (None, Verdict::Start(_)) => opens = Some(at),
                (Some(reason), Verdict::Skip(found)) => prop_assert_eq!(reason, found, "{}", minute),
                (reason, verdict) => prop_assert!(false, "{minute}: {reason:?} {verdict:?}"),
            }
            match opens {
                Some(expected) => prop_assert_eq!(case.plan.opens(at), Some(expected)),
                None => prop_assert!(case.plan.opens(at).is_none_or(|at| at >= case.at(SPAN))),
            }
            // The instant before this minute sees it, the minute itself does not.
            let before = at.plus(-1);
            if case.plan.next(before) == Some(at) && reason.is_none() {
                next_open = Some(at);
            }
            match next_open {
                Some(expected) => prop_assert_eq!(case.plan.next_open(before), Some(expected)),
                None => prop_assert!(
                    minute % 600 != 0
                        || case.plan.next_open(before).is_none_or(|at| at >= case.at(SPAN))
                ),
            }
        }
    }

    #[test]
    fn starts_keep_their_order_and_stay_in_the_open(case in case()) {
        let (begin, end) = (case.at(0), case.at(SPAN));
        let mut before = None;
        let mut starts = Vec::new();
        let nominals = std::iter::successors(case.plan.next(begin), |&at| case.plan.next(at));
        for nominal in nominals.take_while(|&at| at < case.at(SPAN - 1_500)).take(400) {
            let Verdict::Start(start) = case.plan.verdict(nominal) else { continue };
            prop_assert!(before < Some(start));
            let late = start.since(nominal);
            prop_assert!(late == 0 || (0..case.plan.shape().jitter).contains(&late));
            prop_assert!(case.plan.next(nominal).is_none_or(|next| start < next));
            let minute = |at: Timestamp| (at.secs() - case.begin).div_euclid(60);
            if start < end {
                prop_assert!((minute(nominal)..=minute(start)).all(|m| case.closed(m).is_none()));
            }
            before = Some(start);
            starts.push((nominal, start));
        }
        // The preview is that list, from wherever one looks at it.
        for &(nominal, start) in starts.iter().step_by(7) {
            let seen = case.plan.coming(start.plus(-1)).next().map(|run| (run.nominal, run.start));
            prop_assert_eq!(seen, Some((nominal, start)));
            prop_assert_eq!(case.plan.next_start(start.plus(-1)), Some(start));
            // What is known of a job without its anchor is so whatever the anchor is.
            let Shape { jitter, seed, .. } = *case.plan.shape();
            let blank = case.plan.for_job(Timestamp(i64::MIN), 0, 0);
            prop_assert!(blank.is_common() != blank.schedule().counts_from_anchor());
            for after in [start.plus(-1), nominal.plus(-1), nominal] {
                let known = blank.for_job(Timestamp(i64::MIN), jitter, seed).next_start_by_clock(after);
                // And as long as it says.
                for later in [0, 1, 30, 60, 86_400].map(|by| after.plus(by * Timestamp::SECOND)) {
                    let Some(found) = known.and_then(|known| known.after(later)) else { continue };
                    for anchor in [case.anchor(), nominal, start, after.plus(-1)] {
                        let next = blank.for_job(anchor, jitter, seed).next_start(later);
                        prop_assert_eq!(Some(found), next, "{:?} {:?}", known, later);
                    }
                }
                prop_assert!(known.is_none_or(|known| known.after(after).is_some()));
                prop_assert_eq!(known.and_then(|known| known.after(after.plus(-1))), None);
                let told = after < nominal && !blank.schedule().counts_from_anchor();
                prop_assert!(!told || known.is_some() || case.plan.next_start(after) < Some(nominal));
            }
        }
        let seen: Vec<_> =
            case.plan.coming(begin).map(|run| (run.nominal, run.start)).take(starts.len() + 1).collect();
        // One whose instant has passed may still be about to start.
        let skip = seen.iter().take_while(|(nominal, _)| *nominal <= begin).count();
        prop_assert!(skip <= 1);
        prop_assert!(seen[skip..].iter().take(starts.len()).eq(starts.iter().take(seen.len() - skip)));
    }

    #[test]
    fn a_forecast_is_what_a_plain_sweep_finds(
        jobs in prop::collection::vec((case(), 0..300 * MINUTE), 1..5),
        hours in 1..40_i64,
    ) {
        let from = jobs[0].0.at(SPAN / 2 - 300);
        let until = from.plus(hours * 60 * MINUTE);
        // From so long before that whatever runs at the beginning has started since.
        let all: Vec<Vec<Timestamp>> = jobs
            .iter()
            .map(|(case, _)| {
                // What the schedule named before it took effect is not coming.
                let since = from.plus(-301 * MINUTE).max(case.anchor().min(from));
                let coming = case.plan.coming(since).map(|run| run.start);
                coming.take_while(|&start| start <= until).collect()
            })
            .collect();
        let running = |at: Timestamp| {
            let runs = |(starts, (_, duration)): &(&Vec<Timestamp>, &(Case, i64))| {
                starts.iter().any(|&start| start <= at && at < start.plus((*duration).max(1)))
            };
            u32::try_from(all.iter().zip(&jobs).filter(runs).count()).unwrap()
        };
        let mut expected: Vec<Forecast> = Vec::new();
        for (job, starts) in all.iter().enumerate() {
            let starts = starts.iter().filter(|&&start| start > from);
            expected.extend(starts.map(|&start| Forecast { start, job, concurrency: running(start) }));
        }
        expected.sort_by_key(|forecast| (forecast.start, forecast.job));
        let given: Vec<ForecastJob<'_>> =
            jobs.iter().map(|(case, duration)| ForecastJob { plan: &case.plan, duration: *duration }).collect();
        prop_assert_eq!(forecast(&given, from, until), expected);
    }
}

proptest! {
    #![proptest_config(cases(1_000, 100_000))]
    #[test]
    fn printing_a_window_and_reading_it_again_changes_nothing(parts in window()) {
        let window = RunWindow::parse(&text_of(&parts)).unwrap();
        let printed = window.to_string();
        let again = RunWindow::parse(&printed).unwrap();
        prop_assert_eq!(&again, &window, "{} printed as {}", text_of(&parts), printed);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn any_text_is_a_window_or_refused_with_a_place(
        text in prop_oneof![
            prop::collection::vec(
                select(vec!["mon", "fri", "sunday", "-", ",", ";", " ", "09:00", "24:00", "0:5", "é", "x"]),
                0..12,
            ).prop_map(|words| words.concat()),
            "[-a-z0-9:;, ]{0,30}",
            any::<String>(),
        ],
    ) {
        match RunWindow::parse(&text) {
            Ok(window) => prop_assert_eq!(RunWindow::parse(&window.to_string()), Ok(window)),
            Err(error) => {
                prop_assert!(text.is_char_boundary(error.at()), "{error:?}");
                prop_assert!(!error.to_string().is_empty() && error.hint().ends_with('.'));
            }
        }
    }
}
