//! Zones: every name, and every shift of the clock, against `chrono-tz`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use pg_tock_core::schedule::Zone;
use pg_tock_core::time::Timestamp;

/// 1970-01-01 to 2100-01-01.
const YEARS: std::ops::Range<i64> = 0..4_102_444_800;

fn offset(tz: Tz, secs: i64) -> i64 {
    let utc = DateTime::from_timestamp(secs, 0).unwrap().naive_utc();
    i64::from(tz.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

fn naive(local: i64) -> NaiveDateTime {
    DateTime::from_timestamp(local, 0).unwrap().naive_utc()
}

#[test]
fn every_name_is_found_in_any_case() {
    for tz in TZ_VARIANTS {
        for name in [tz.name().to_owned(), tz.name().to_lowercase(), tz.name().to_uppercase()] {
            assert_eq!(Zone::resolve(&name).unwrap().name(), tz.name());
        }
    }
    assert_eq!(Zone::resolve("utc").unwrap(), Zone::utc());
    assert_ne!(Zone::resolve("Europe/Berlin").unwrap(), Zone::resolve("Europe/Paris").unwrap());
}

#[test]
fn posix_offsets_count_westwards() {
    for (name, offset) in [
        ("<+03>-3", 10_800),
        ("UTC+3", -10_800),
        ("utc3", -10_800),
        ("GMT-5:30", 19_800),
        ("<+05:45>-05:45", 20_700),
        ("<-03:30>3:30:15", -12_615),
        ("FOO+0", 0),
        // Known by name before its form is looked at: twelve hours behind.
        ("Etc/GMT+12", -43_200),
    ] {
        let zone = Zone::resolve(name).unwrap();
        assert_eq!((zone.name(), zone.offset_at(Timestamp(0))), (name, offset));
    }
    assert_eq!(Zone::resolve("<+03>-3").unwrap(), Zone::resolve("MSK-3").unwrap());
}

#[test]
fn other_names_are_refused_with_a_hint() {
    for name in [
        "",
        " ",
        "Mars/Base",
        "Europe/Berlin ",
        "localtime",
        "UT+",
        "<+03",
        "<>-3",
        "<+03>",
        "AB-3",
        "UTC+25",
        "UTC+3:60",
        "UTC+3:00:00:00",
        "UTC+123",
        "UTC+-3",
        "+3",
        "3",
        "é-3",
        "UTC+3x",
    ] {
        let error = Zone::resolve(name).unwrap_err();
        assert!(error.to_string().starts_with("time zone \""), "{name}: {error}");
        assert!(error.hint().ends_with('.'));
    }
    let error = Zone::resolve("EST5EDT4,M3.2.0,M11.1.0").unwrap_err();
    assert!(error.to_string().contains("daylight saving rules"), "{error}");
}

/// The table of shifts is found by looking every few days, so it is checked by looking often.
#[test]
fn no_shift_is_missed() {
    let wide = std::env::var_os("PG_TOCK_WIDE").is_some();
    let (step, every) = if wide { (3_600, 1) } else { (10_800, 25) };
    for tz in TZ_VARIANTS.into_iter().step_by(every) {
        let zone = Zone::resolve(tz.name()).unwrap();
        let mut secs = YEARS.start;
        while secs < YEARS.end {
            assert_eq!(zone.offset_at(Timestamp::from_secs(secs)), offset(tz, secs), "{tz} {secs}");
            secs += step;
        }
    }
}

#[test]
fn shifts_are_where_offsets_change() {
    let (from, until) = (Timestamp::from_secs(YEARS.start), Timestamp::from_secs(YEARS.end));
    for tz in TZ_VARIANTS {
        let zone = Zone::resolve(tz.name()).unwrap();
        for shift in zone.shifts_between(from, until) {
            assert_eq!(
                (offset(tz, shift.at - 1), offset(tz, shift.at)),
                (shift.before, shift.after)
            );
            assert_ne!(shift.before, shift.after);
        }
    }
}

#[test]
fn local_times_map_to_their_first_pass_or_to_the_end_of_the_gap() {
    let (from, until) = (Timestamp::from_secs(YEARS.start), Timestamp::from_secs(YEARS.end));
    for tz in TZ_VARIANTS.into_iter().step_by(3) {
        let zone = Zone::resolve(tz.name()).unwrap();
        for shift in zone.shifts_between(from, until) {
            for by in [-90_000, -7_200, -3_600, -1, 0, 1, 1_800, 3_599, 3_600, 7_200, 90_000] {
                let local = shift.at + shift.before + by;
                let expected = match tz.from_local_datetime(&naive(local)) {
                    LocalResult::Single(at) => at.timestamp(),
                    LocalResult::Ambiguous(first, second) => first.min(second).timestamp(),
                    // Only the shift looked at is near enough to skip this time.
                    LocalResult::None => shift.at,
                };
                assert_eq!(zone.instant_of(local).secs(), expected, "{tz} {}", naive(local));
            }
        }
    }
}

#[test]
fn local_time_is_what_clocks_show() {
    let zone = Zone::resolve("America/St_Johns").unwrap();
    let local = zone.local(Timestamp(1_782_907_200_500_000)); // 2026-07-01 12:00:00.5 UTC
    assert_eq!((local.date(), local.time(), local.micros), ((2026, 7, 1), (9, 30, 0), 500_000));
    assert_eq!(local.to_string(), "2026-07-01 09:30:00");
}
