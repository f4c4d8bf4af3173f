//! The walk against the plainest reading of the rule: every minute of a year is looked at, in
//! order, with `chrono-tz` alone deciding what wall clocks show.
//!
//! `PG_TOCK_WIDE=1` runs many more zones, years and expressions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small test numbers")]

use chrono::{DateTime, Datelike, NaiveDate, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;

/// Zones and years with the odd shifts; 2024 and 2025 are the ordinary ones.
const YEARS: [(&str, i32); 25] = [
    ("America/New_York", 2024),
    ("America/New_York", 2007),
    ("Europe/Berlin", 2025),
    ("Europe/Dublin", 2024),
    ("Australia/Lord_Howe", 2024),
    ("Antarctica/Troll", 2024),
    ("Antarctica/Casey", 2009),
    ("Antarctica/Casey", 2010),
    ("America/Sao_Paulo", 2018),
    ("America/Havana", 2023),
    ("America/St_Johns", 2010),
    ("America/Caracas", 2007),
    ("Asia/Pyongyang", 2018),
    ("Asia/Pyongyang", 2015),
    ("Asia/Beirut", 2023),
    ("Asia/Tehran", 2021),
    ("Asia/Gaza", 2011),
    ("Africa/Casablanca", 2024),
    ("Africa/Cairo", 2014),
    ("Pacific/Apia", 2011),
    ("Pacific/Apia", 2020),
    ("Pacific/Fakaofo", 2011),
    ("Pacific/Kwajalein", 1993),
    ("Pacific/Chatham", 2025),
    ("Asia/Kathmandu", 1986),
];

const WIDE_ZONES: [&str; 40] = [
    "UTC",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Anchorage",
    "America/Halifax",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Sao_Paulo",
    "America/Nuuk",
    "America/Scoresbysund",
    "America/Mexico_City",
    "Atlantic/Azores",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/Istanbul",
    "Europe/Kyiv",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Cairo",
    "Africa/Juba",
    "Asia/Jerusalem",
    "Asia/Gaza",
    "Asia/Beirut",
    "Asia/Amman",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Asia/Almaty",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Antarctica/Troll",
];

/// A small generator with a fixed seed: a failure repeats itself.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// One day-field item in words and as a predicate.
type DayTest = Box<dyn Fn(NaiveDate) -> bool>;

/// An expression with its meaning, put together without the parser.
struct Case {
    text: String,
    wild: bool,
    minutes: Vec<bool>,
    hours: Vec<bool>,
    months: Vec<bool>,
    month_day: DayTest,
    weekday: DayTest,
    any_star: bool,
}

/// A field of values `low..=high`: its text, its values, and whether it begins with `*`.
fn field(random: &mut Random, low: u64, high: u64) -> (String, Vec<bool>, bool) {
    let mut values = vec![false; 64];
    let mut parts = Vec::new();
    let items = random.one(&[1, 1, 1, 1, 2, 3]);
    for _ in 0..items {
        let step = random.one(&[1, 1, 2, 3, 5, 10, 15, 20, 30]).min(high);
        match random.below(5) {
            0 if step == 1 => {
                parts.push("*".to_owned());
                (low..=high).for_each(|v| values[v as usize] = true);
            }
            0 | 1 => {
                parts.push(format!("*/{step}"));
                (low..=high).step_by(step as usize).for_each(|v| values[v as usize] = true);
            }
            2 => {
                // Both ways round.
                let (from, to) =
                    (low + random.below(high - low + 1), low + random.below(high - low + 1));
                parts.push(if step == 1 {
                    format!("{from}-{to}")
                } else {
                    format!("{from}-{to}/{step}")
                });
                let to = if to < from { to + high - low + 1 } else { to };
                for v in (from..=to).step_by(step as usize) {
                    values[((v - low) % (high - low + 1) + low) as usize] = true;
                }
            }
            _ => {
                let v = low + random.below(high - low + 1);
                parts.push(v.to_string());
                values[v as usize] = true;
            }
        }
    }
    let star = parts[0].starts_with('*');
    (parts.join(","), values, star)
}

fn days_in_month(date: NaiveDate) -> u32 {
    let next = date.with_day(1).unwrap() + chrono::Months::new(1);
    next.pred_opt().unwrap().day()
}

/// The working day nearest to a day of the date's month, found by trying outwards.
fn nearest(date: NaiveDate, day: u32) -> Option<NaiveDate> {
    let wanted = date.with_day(day)?;
    [0, -1, 1, -2, 2]
        .into_iter()
        .map(|by| wanted + chrono::Days::new(2) - chrono::Days::new((2 - by) as u64))
        .find(|d| d.month() == date.month() && d.weekday().num_days_from_monday() < 5)
}

fn month_day(random: &mut Random) -> (String, DayTest, bool) {
    let day = 1 + random.below(31) as u32;
    match random.below(9) {
        0..=3 => ("*".to_owned(), Box::new(|_| true), true),
        4 => ("$".to_owned(), Box::new(|d| d.day() == days_in_month(d)), false),
        5 => (
            format!("L,{day}"),
            Box::new(move |d| d.day() == days_in_month(d) || d.day() == day),
            false,
        ),
        6 => ("LW".to_owned(), Box::new(|d| nearest(d, days_in_month(d)) == Some(d)), false),
        7 => (format!("{day}W"), Box::new(move |d| nearest(d, day) == Some(d)), false),
        _ => {
            let (text, values, star) = field(random, 1, 31);
            (text, Box::new(move |d| values[d.day() as usize]), star)
        }
    }
}

fn weekday(random: &mut Random) -> (String, DayTest, bool) {
    let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let day = random.below(7) as u32;
    let n = 1 + random.below(5) as u32;
    let is = move |d: NaiveDate| d.weekday().num_days_from_sunday() == day;
    match random.below(8) {
        0..=3 => ("*".to_owned(), Box::new(|_| true), true),
        4 => (
            format!("{}#{n}", names[day as usize]),
            Box::new(move |d| is(d) && (d.day() - 1) / 7 + 1 == n),
            false,
        ),
        5 => (format!("{day}L"), Box::new(move |d| is(d) && d.day() + 7 > days_in_month(d)), false),
        6 => {
            let to = random.below(7) as u32;
            let text = format!("{}-{}", names[day as usize], names[to as usize]);
            let length = (to + 7 - day) % 7;
            (
                text,
                Box::new(move |d| (d.weekday().num_days_from_sunday() + 7 - day) % 7 <= length),
                false,
            )
        }
        _ => (
            format!("{},{day}", 7),
            Box::new(move |d| is(d) || d.weekday().num_days_from_sunday() == 0),
            false,
        ),
    }
}

fn case(random: &mut Random) -> Case {
    let (minute, minutes, minute_star) = field(random, 0, 59);
    let (hour, hours, hour_star) = field(random, 0, 23);
    let (date, month_day, date_star) = month_day(random);
    let (month, months) = if random.below(4) == 0 {
        let (text, values, _) = field(random, 1, 12);
        (text, values)
    } else {
        ("*".to_owned(), vec![true; 64])
    };
    let (name, weekday, name_star) = weekday(random);
    Case {
        text: format!("{minute} {hour} {date} {month} {name}"),
        wild: minute_star || hour_star,
        minutes,
        hours,
        months,
        month_day,
        weekday,
        any_star: date_star || name_star,
    }
}

impl Case {
    fn matches_day(&self, day: i64, rule: DayRule) -> bool {
        let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::TimeDelta::days(day);
        let (a, b) = ((self.month_day)(date), (self.weekday)(date));
        let days = if self.any_star || rule == DayRule::And { a && b } else { a || b };
        self.months[date.month() as usize] && days
    }

    fn matches_time(&self, minute: i64) -> bool {
        let in_day = minute.rem_euclid(1440) as usize;
        self.hours[in_day / 60] && self.minutes[in_day % 60]
    }

    /// Every firing instant of a year, minute by minute. `local` holds the wall clock (in seconds)
    /// at each real minute, beginning one minute before the year.
    fn instants(&self, first: i64, local: &[i64], policy: DstPolicy, rule: DayRule) -> Vec<i64> {
        let begin = local[0].div_euclid(86_400) - 3;
        let end = local[local.len() - 1].div_euclid(86_400) + 3;
        let days: Vec<bool> = (begin..=end).map(|day| self.matches_day(day, rule)).collect();
        let matches = |minute: i64| {
            days[(minute.div_euclid(1440) - begin) as usize] && self.matches_time(minute)
        };
        let fixed = !self.wild && policy == DstPolicy::Cron;
        let mut found = Vec::new();
        // Local minutes below this one have already had their turn.
        let mut turn = i64::MIN;
        for (i, pair) in local.windows(2).enumerate() {
            let (before, now) = (pair[0], pair[1].div_euclid(60));
            let shift = pair[1] - before - 60;
            if fixed && shift < 0 && shift > -10_800 {
                turn = before.div_euclid(60) + 1;
            }
            let caught_up = fixed
                && shift > 0
                && shift < 10_800
                && (before.div_euclid(60) + 1..now).any(&matches);
            if caught_up || (now >= turn && matches(now)) {
                found.push(first + 60 * i as i64);
            }
        }
        found
    }
}

/// What wall clocks show at each minute of a year and the one before it.
fn wall_clock(tz: Tz, year: i32) -> (i64, Vec<i64>) {
    let first = Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp();
    let end = Utc.with_ymd_and_hms(year + 1, 1, 1, 0, 0, 0).unwrap().timestamp();
    let local = (first - 60..end)
        .step_by(60)
        .map(|at| {
            let utc = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
            at + i64::from(tz.offset_from_utc_datetime(&utc).fix().local_minus_utc())
        })
        .collect();
    (first, local)
}

fn compare(name: &str, year: i32, cases: usize, random: &mut Random) {
    let tz: Tz = name.parse().unwrap();
    let zone = Zone::resolve(name).unwrap();
    let (first, local) = wall_clock(tz, year);
    let end = first + 60 * (local.len() as i64 - 1);
    for _ in 0..cases {
        let case = case(random);
        let policy = random.one(&[DstPolicy::Cron, DstPolicy::Cron, DstPolicy::Wall]);
        let days = random.one(&[DayRule::Vixie, DayRule::Vixie, DayRule::And]);
        let ctx = Context { zone: &zone, policy, days, anchor: Timestamp(0) };
        let schedule = Schedule::parse(&case.text).unwrap();
        let expected = case.instants(first, &local, policy, days);
        let mut at = Timestamp::from_secs(first - 1);
        for &expected in &expected {
            let next = schedule.next(at, &ctx).map(Timestamp::secs);
            assert_eq!(
                next,
                Some(expected),
                "{} in {name} {year}, {policy:?} {days:?} after {}",
                case.text,
                at.secs()
            );
            at = Timestamp::from_secs(expected);
        }
        let after = schedule.next(at, &ctx).map(Timestamp::secs);
        assert!(
            after.is_none_or(|after| after >= end),
            "{} in {name} {year}: {after:?}",
            case.text
        );
    }
}

fn wide() -> bool {
    std::env::var_os("PG_TOCK_WIDE").is_some()
}

#[test]
fn every_minute_of_odd_years_agrees() {
    let mut random = Random(20_261_121);
    for (name, year) in YEARS {
        compare(name, year, if wide() { 200 } else { 8 }, &mut random);
    }
}

#[test]
fn every_minute_of_the_coming_years_agrees() {
    let mut random = Random(7);
    if wide() {
        for name in WIDE_ZONES {
            for year in 2020..=2045 {
                compare(name, year, 20, &mut random);
            }
        }
    } else {
        for name in WIDE_ZONES.iter().step_by(5) {
            compare(name, 2026, 5, &mut random);
        }
    }
}
