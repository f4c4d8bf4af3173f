//! Every form of schedule: what it means and how it is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use chrono::{DateTime, SecondsFormat};
use pg_tock_core::schedule::{
    ClockNote, Context, DayRule, DstPolicy, Kind, Outcome, Schedule, Zone,
};
use pg_tock_core::time::Timestamp;

fn instant(text: &str) -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

fn shown(at: Timestamp) -> String {
    DateTime::from_timestamp_micros(at.0).unwrap().to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The next `n` instants, with `after` as the anchor.
fn next(text: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
    let (schedule, zone) = (Schedule::parse(text).unwrap(), Zone::resolve(zone).unwrap());
    let after = instant(after);
    let ctx = Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor: after };
    std::iter::successors(schedule.next(after, &ctx), |&at| schedule.next(at, &ctx))
        .take(n)
        .map(shown)
        .collect()
}

#[test]
fn intervals_that_divide_a_day_begin_at_local_midnight() {
    assert_eq!(
        next("every 10 minutes", "Asia/Kathmandu", "2026-01-01T00:03:07Z", 2),
        ["2026-01-01T00:05:00Z", "2026-01-01T00:15:00Z"] // 05:50 and 06:00 there
    );
    assert_eq!(
        next("every 90 min", "UTC", "2026-01-01T22:00:00Z", 3),
        ["2026-01-01T22:30:00Z", "2026-01-02T00:00:00Z", "2026-01-02T01:30:00Z"]
    );
    assert_eq!(
        next("every day", "Europe/Berlin", "2026-07-01T12:00:00Z", 1),
        ["2026-07-01T22:00:00Z"]
    );
}

#[test]
fn other_intervals_count_from_the_anchor() {
    assert_eq!(
        next("every 7 minutes", "UTC", "2026-01-01T00:00:01.5Z", 2),
        ["2026-01-01T00:07:01.500Z", "2026-01-01T00:14:01.500Z"]
    );
    assert_eq!(
        next("every 2 days", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["2026-03-09T12:00:00Z", "2026-03-11T12:00:00Z"] // 48 hours, whatever clocks do
    );
    assert_eq!(
        next("every 10 minutes after completion", "UTC", "2026-01-01T00:03:00Z", 1),
        ["2026-01-01T00:13:00Z"]
    );
    assert_eq!(
        next("30 seconds", "UTC", "2026-01-01T00:00:10Z", 2),
        ["2026-01-01T00:00:40Z", "2026-01-01T00:01:10Z"]
    );
}

#[test]
fn an_interval_waits_one_interval_after_its_anchor() {
    let (zone, schedule) = (Zone::utc(), Schedule::parse("45 seconds").unwrap());
    let anchor = instant("2026-01-01T00:00:00Z");
    let ctx = Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor };
    let first = Some(instant("2026-01-01T00:00:45Z"));
    assert_eq!(schedule.next(anchor.plus(-3_600 * Timestamp::SECOND), &ctx), first);
    assert_eq!(schedule.next(anchor, &ctx), first);
}

#[test]
fn short_intervals_follow_real_time_and_long_ones_the_clock() {
    // New York, 1 November 2026: 02:00 EDT becomes 01:00 EST at 06:00 UTC.
    assert_eq!(
        next("every 30 minutes", "America/New_York", "2026-11-01T05:10:00Z", 3),
        ["2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z"]
    );
    assert_eq!(
        next("every 6 hours", "America/New_York", "2026-11-01T03:00:00Z", 3),
        ["2026-11-01T04:00:00Z", "2026-11-01T11:00:00Z", "2026-11-01T17:00:00Z"]
    );
    // São Paulo, 4 November 2018: 00:00 was skipped.
    assert_eq!(
        next("every 24 hours", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 2),
        ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]
    );
}

#[test]
fn once_is_one_instant_in_the_right_zone() {
    let at = "at 2026-12-24 18:00";
    assert_eq!(next(at, "Europe/Berlin", "2026-01-01T00:00:00Z", 3), ["2026-12-24T17:00:00Z"]);
    assert!(next(at, "Europe/Berlin", "2026-12-24T17:00:00Z", 1).is_empty());
    assert_eq!(
        next(
            "CRON_TZ=Asia/Tokyo AT 2026-12-24T18:00:30",
            "Europe/Berlin",
            "2026-01-01T00:00:00Z",
            2
        ),
        ["2026-12-24T09:00:30Z"]
    );
    // Skipped: right after the gap. Repeated: the first pass. A day that never was: its end.
    assert_eq!(
        next("at 2026-03-08 02:30", "America/New_York", "2026-01-01T00:00:00Z", 1),
        ["2026-03-08T07:00:00Z"]
    );
    assert_eq!(
        next("at 2026-11-01 01:30", "America/New_York", "2026-01-01T00:00:00Z", 1),
        ["2026-11-01T05:30:00Z"]
    );
    assert_eq!(
        next("at 2011-12-30 09:00", "Pacific/Apia", "2011-01-01T00:00:00Z", 1),
        ["2011-12-30T10:00:00Z"]
    );
}

#[test]
fn a_schedules_own_zone_goes_before_the_jobs() {
    let text = "CRON_TZ=Europe/Berlin 0 3 * * *";
    assert_eq!(next(text, "Asia/Tokyo", "2026-07-01T12:00:00Z", 1), ["2026-07-02T01:00:00Z"]);
    assert_eq!(Schedule::parse(text).unwrap().zone().unwrap().name(), "Europe/Berlin");
    assert_eq!(
        next("CRON_TZ=utc\n@daily", "Asia/Tokyo", "2026-07-01T12:00:00Z", 1),
        ["2026-07-02T00:00:00Z"]
    );
}

#[test]
fn six_fields_begin_with_seconds_when_the_text_says_so() {
    assert_eq!(
        next("seconds: */20 59 9-17 * * mon-fri", "UTC", "2026-07-03T17:59:39Z", 3),
        ["2026-07-03T17:59:40Z", "2026-07-06T09:59:00Z", "2026-07-06T09:59:20Z"]
    );
}

#[test]
fn special_days_are_those_of_the_calendar() {
    let year = |text: &str, n| -> Vec<String> {
        let days = next(text, "UTC", "2026-01-01T00:00:00Z", n);
        days.into_iter().map(|day| day[5..10].to_owned()).collect()
    };
    assert_eq!(year("0 1 L * *", 3), ["01-31", "02-28", "03-31"]);
    assert_eq!(year("0 1 LW * *", 5), ["01-30", "02-27", "03-31", "04-30", "05-29"]);
    assert_eq!(
        year("0 1 15W * *", 8),
        ["01-15", "02-16", "03-16", "04-15", "05-15", "06-15", "07-15", "08-14"]
    );
    assert_eq!(year("0 1 1w * *", 3), ["01-01", "02-02", "03-02"]);
    assert_eq!(year("0 1 31W * *", 3), ["01-30", "03-31", "05-29"]);
    assert_eq!(year("0 1 * * fri#2", 3), ["01-09", "02-13", "03-13"]);
    assert_eq!(year("0 1 * * MON#5", 2), ["03-30", "06-29"]);
    assert_eq!(year("0 1 * * 5L", 3), ["01-30", "02-27", "03-27"]);
    assert_eq!(year("0 1 * * sunL,mon#1", 4), ["01-05", "01-25", "02-02", "02-22"]);
    assert_eq!(year("0 1 15,L * *", 4), ["01-15", "01-31", "02-15", "02-28"]);
    // pg_cron's meaning where pg_cron has one.
    assert_eq!(year("0 1 * * 5#2", 3), ["01-02", "01-09", "01-16"]);
    assert_eq!(year("0 1 * * fri#6", 2), ["01-02", "01-09"]);
    assert_eq!(year("0 1 * * fri#2,#x", 2), ["01-02", "01-09"]);
}

#[test]
fn kinds_and_lengths() {
    for (text, kind, seconds) in [
        ("@hourly foo", Kind::Cron, None),
        ("# nightly\n\n 0 3 * * *\n", Kind::Cron, None),
        ("seconds: 0 * * * * *", Kind::Cron, None),
        ("@reboot", Kind::Startup, None),
        ("@startup", Kind::Startup, None),
        ("59 seconds", Kind::Interval, Some(59)),
        ("every 1 hour 30 minutes", Kind::Every, Some(5_400)),
        ("every 1h30m", Kind::Every, Some(5_400)),
        ("Every 2 Weeks", Kind::Every, Some(1_209_600)),
        ("every minute", Kind::Every, Some(60)),
        ("every 5 s after completion", Kind::EveryAfterCompletion, Some(5)),
        ("at 2026-12-24 18:00", Kind::Once, None),
    ] {
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!((schedule.kind(), schedule.interval_secs()), (kind, seconds), "{text}");
    }
}

#[test]
fn refusals_name_the_field_and_the_byte() {
    for (text, field, at, problem) in [
        ("", "minute", 0, "the minute field is missing"),
        ("* * * *", "day of week", 7, "the day of week field is missing"),
        ("*\n* * * *", "hour", 1, "the hour field is missing"),
        ("60 * * * *", "minute", 0, "minute 60 is not between 0 and 59"),
        ("* 1-24 * * *", "hour", 4, "hour 24 is not between 0 and 23"),
        ("4294967301 * * * *", "minute", 0, "minute 4294967301 is not between 0 and 59"),
        (
            "99999999999999999999999 * * * *",
            "minute",
            0,
            "minute 99999999999999999999999 is not between 0 and 59",
        ),
        ("0/5 * * * *", "minute", 1, "a step needs a range in the minute field"),
        ("*/0 * * * *", "minute", 2, "step 0 of the minute field is not between 1 and 59"),
        ("* */24 * * *", "hour", 4, "step 24 of the hour field is not between 1 and 23"),
        ("* * * JANUARY *", "month", 6, "\"JANUARY\" is not a month"),
        ("* * ? * *", "day of month", 4, "unexpected \"?\" in the day of month field"),
        ("* * $,15 * *", "day of month", 4, "\"$\" must be the whole day of month field"),
        ("* * 32W * *", "day of month", 4, "day of month 32 is not between 1 and 31"),
        ("* * L-3 * *", "day of month", 4, "\"L\" is not a day of month"),
        ("* * * * L", "day of week", 8, "\"L\" is not a day of week"),
        ("* * * * 8L", "day of week", 8, "day of week 8 is not between 0 and 7"),
        ("* * * * mön", "day of week", 8, "\"m\" is not a day of week"),
        ("* * * * 1-", "day of week", 10, "the day of week field is incomplete"),
        ("1,2, * * * *", "minute", 4, "unexpected \" \" in the minute field"),
        ("0 0 é * *", "day of month", 4, "unexpected \"é\" in the day of month field"),
        ("@Hourly", "macro", 0, "\"@Hourly\" is not a known schedule"),
        ("@every 5m", "macro", 0, "\"@every\" is not a known schedule"),
        ("60 seconds", "interval", 0, "an interval of 60 seconds is not between 1 and 59"),
        (
            " -4294967291 seconds",
            "interval",
            1,
            "an interval of -4294967291 seconds is not between 1 and 59",
        ),
        ("5 minutes", "interval", 2, "\"minutes\" cannot follow the number of an interval"),
        ("every", "interval", 5, "the interval is incomplete"),
        ("every 10", "interval", 8, "the interval is incomplete"),
        ("every 0 seconds", "interval", 6, "an interval of zero is not possible"),
        ("every 1.5 hours", "interval", 7, "unexpected \".\" in the interval"),
        ("every 2 months", "interval", 8, "\"months\" has no fixed length"),
        ("every 10 fortnights", "interval", 9, "\"fortnights\" is not a unit of time"),
        (
            "every 9999999999999999999 h",
            "interval",
            6,
            "an interval of more than 10,000 days is too long",
        ),
        ("every 10 minutes 10 minutes", "interval", 17, "the interval has its minutes twice"),
        ("every 1h 90 sec 1 Hour", "interval", 16, "the interval has its hours twice"),
        ("every 5 min after lunch", "interval", 12, "unexpected text after the interval"),
        ("at 2026-02-29 18:00", "date", 3, "\"2026-02-29\" is not a date"),
        ("at", "date", 2, "the date is missing"),
        ("at tomorrow", "date", 3, "\"tomorrow\" is not a date"),
        ("at 18:00", "date", 3, "\"18:00\" is not a date"),
        ("at 2026-12-24", "time", 13, "the time of day is missing"),
        ("at 2026-12-24 noon", "time", 14, "\"noon\" is not a time of day"),
        ("at 2026-12-24 24:00", "time", 14, "\"24:00\" is not a time of day"),
        ("at 2026-12-24 18:00 CET", "time", 20, "unexpected \"C\" after the time"),
        ("CRON_TZ=Mars/Base 0 3 * * *", "time zone", 8, "time zone \"Mars/Base\" is not known"),
        ("seconds: * * * * *", "day of week", 18, "the day of week field is missing"),
        ("seconds: 0 0 0 * * * 2026", "schedule", 21, "unexpected text after the sixth field"),
        ("seconds: 1;2 * * * * *", "second", 10, "unexpected \";\" in the second field"),
    ] {
        let error = Schedule::parse(text).unwrap_err();
        assert_eq!(
            (error.field(), error.at(), error.to_string().as_str()),
            (field, at, problem),
            "{text}"
        );
        assert!(error.hint().ends_with('.'), "{text}: {}", error.hint());
    }
    let six = Schedule::parse("seconds: * * * * *").unwrap_err();
    assert!(six.hint().contains("six fields: second,"), "{}", six.hint());
    let five = Schedule::parse("* * * *").unwrap_err();
    assert!(five.hint().contains("five fields: minute,"), "{}", five.hint());
    let long = format!("{}* * * * *", " ".repeat(991));
    assert_eq!(Schedule::parse(&long).unwrap_err().field(), "schedule");
    assert!(Schedule::parse(&long[1..]).is_ok());
}

#[test]
fn equal_means_the_same_however_written() {
    for (a, b) in [
        ("*/15 * * * *", "0,15,30,45 * * * *"),
        ("0 0 * * *", "@daily"),
        ("0 0 1 1 *", "@yearly"),
        ("0 0 * * 7", "@weekly"),
        ("0 * * * *", "@hourly"),
        ("0 0 $ * *", "0 0 L * *"),
        ("0 22-2 * * *", "0 22,23,0,1,2 * * *"),
        ("every 60 seconds", "every minute"),
        ("* * * * * ignored", "seconds: 0 * * * * *"),
    ] {
        assert_eq!(Schedule::parse(a), Schedule::parse(b), "{a} and {b}");
    }
    for (a, b) in [
        ("* 5 * * *", "0-59 5 * * *"),     // wild and fixed
        ("0 0 1-31 * 1", "0 0 * * 1"),     // either day, both days
        ("0 0 */2 * 1", "0 0 1-31/2 * 1"), // likewise
        ("every 60 seconds", "* * * * *"),
    ] {
        assert_ne!(Schedule::parse(a), Schedule::parse(b), "{a} and {b}");
    }
}

#[test]
fn the_normal_form_is_short() {
    for (text, printed) in [
        ("0,5,10,15,20,25,30,35,40,45,50,55 * * * *", "*/5 * * * *"),
        ("*/15 9-17 * jan-mar MON-fri", "*/15 9-17 * 1-3 1-5"),
        ("0-59 0-23 1-31 1-12 0-7", "0-59 0-23 * * *"),
        ("5-59/10 * * * *", "5-55/10 * * * *"),
        ("0 0 L * *", "0 0 $ * *"),
        ("0 0 15,LW * sun#2,5L", "0 0 15,LW * sun#2,5L"),
        ("0 0 1-7 * */7", "0 0 1-7 * */7"),
        ("seconds: */5 0 9 * * *", "seconds: */5 0 9 * * *"),
        ("cron_tz=europe/berlin @daily", "CRON_TZ=Europe/Berlin 0 0 * * *"),
        ("every 5400 seconds", "every 90 minutes"),
        ("every 1 minutes after completion", "every 1 minute after completion"),
        ("at 2026-12-24 9:05", "at 2026-12-24 09:05:00"),
        (" +05 SECONDS ", "5 seconds"),
        ("@reboot", "@startup"),
    ] {
        assert_eq!(Schedule::parse(text).unwrap().to_string(), printed, "{text}");
    }
}

#[test]
fn clock_notes_say_what_was_moved_or_merged() {
    let zone = Zone::resolve("America/New_York").unwrap();
    let note = |text: &str, after: &str, policy| {
        let after = instant(after);
        let ctx = Context { zone: &zone, policy, days: DayRule::Vixie, anchor: after };
        let schedule = Schedule::parse(text).unwrap();
        let at = schedule.next(after, &ctx).unwrap();
        schedule.clock_note(at, &ctx).map(|note| match note {
            ClockNote::Moved { from } => format!("moved {from}"),
            ClockNote::Merged { from } => format!("merged {from}"),
            other => format!("{other:?}"),
        })
    };
    let (spring, autumn) = ("2026-03-08T06:59:00Z", "2026-11-01T05:00:00Z");
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(note("30 2 * * *", spring, DstPolicy::Cron), some("moved 2026-03-08 02:30:00"));
    assert_eq!(
        note("at 2026-03-08 02:30", spring, DstPolicy::Cron),
        some("moved 2026-03-08 02:30:00")
    );
    assert_eq!(note("0 2,3 * * *", spring, DstPolicy::Cron), some("merged 2026-03-08 02:00:00"));
    assert_eq!(note("30 3 * * *", spring, DstPolicy::Cron), None);
    assert_eq!(note("* * * * *", spring, DstPolicy::Cron), None);
    assert_eq!(note("30 1 * * *", autumn, DstPolicy::Cron), some("FirstPassOnly"));
    assert_eq!(note("30 1 * * *", autumn, DstPolicy::Wall), some("FirstPass"));
    assert_eq!(note("30 * * * *", "2026-11-01T06:00:00Z", DstPolicy::Cron), some("SecondPass"));
    assert_eq!(note("30 2 * * *", "2026-07-01T00:00:00Z", DstPolicy::Cron), None);
}

#[test]
fn clock_effects_list_the_changes_that_matter() {
    let zone = Zone::resolve("America/New_York").unwrap();
    let (from, until) = (instant("2026-01-01T00:00:00Z"), instant("2028-01-01T00:00:00Z"));
    let effects = |text: &str, policy| -> Vec<(String, u32, Outcome)> {
        let ctx = Context { zone: &zone, policy, days: DayRule::Vixie, anchor: from };
        let effects = Schedule::parse(text).unwrap().clock_effects(from, until, &ctx);
        effects
            .iter()
            .map(|effect| (effect.first.to_string(), effect.times, effect.outcome))
            .collect()
    };
    assert_eq!(
        effects("0,30 1-2 * * *", DstPolicy::Cron),
        [
            ("2026-03-08 02:00:00".to_owned(), 2, Outcome::OnceAfterGap),
            ("2026-11-01 01:00:00".to_owned(), 2, Outcome::FirstPassOnly),
            ("2027-03-14 02:00:00".to_owned(), 2, Outcome::OnceAfterGap),
            ("2027-11-07 01:00:00".to_owned(), 2, Outcome::FirstPassOnly),
        ]
    );
    assert_eq!(
        effects("*/20 2 8 3 *", DstPolicy::Cron),
        [("2026-03-08 02:00:00".to_owned(), 3, Outcome::Skipped)]
    );
    assert_eq!(
        effects("30 1 1 11 *", DstPolicy::Wall),
        [("2026-11-01 01:30:00".to_owned(), 1, Outcome::BothPasses)]
    );
    assert_eq!(effects("0 3 * * *", DstPolicy::Cron), []);
    assert_eq!(effects("30 seconds", DstPolicy::Cron), []);
}

#[test]
fn the_day_rule_can_require_both_days() {
    let (zone, schedule) = (Zone::utc(), Schedule::parse("0 0 13 * fri").unwrap());
    let at = instant("2026-01-01T00:00:00Z");
    let ctx = |days| Context { zone: &zone, policy: DstPolicy::Cron, days, anchor: at };
    assert_eq!(schedule.next(at, &ctx(DayRule::Vixie)).map(shown).unwrap(), "2026-01-02T00:00:00Z");
    assert_eq!(schedule.next(at, &ctx(DayRule::And)).map(shown).unwrap(), "2026-02-13T00:00:00Z");
}

#[test]
fn the_search_ends_after_forty_years_but_not_before() {
    // 29 February on a Sunday: every 28 years, but 40 across 2100, which has none.
    assert_eq!(
        next("0 0 29 2 */7", "UTC", "2060-01-01T00:00:00Z", 3),
        ["2060-02-29T00:00:00Z", "2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"]
    );
    assert!(next("0 0 30 2 *", "America/New_York", "2026-01-01T00:00:00Z", 1).is_empty());
}

#[test]
fn extreme_instants_do_no_harm() {
    let zone = Zone::resolve("America/New_York").unwrap();
    for text in [
        "* * * * *",
        "30 2 * * *",
        "0 0 30 2 *",
        "30 seconds",
        "every 7 min",
        "at 2026-12-24 18:00",
    ] {
        let schedule = Schedule::parse(text).unwrap();
        for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            for anchor in [i64::MIN, 0, i64::MAX] {
                let anchor = Timestamp(anchor);
                let ctx =
                    Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor };
                if let Some(next) = schedule.next(Timestamp(at), &ctx) {
                    assert!(next > Timestamp(at), "{text} after {at}");
                    let _note = schedule.clock_note(next, &ctx);
                }
            }
        }
    }
}

/// `dst_policy = 'wall'`: what clocks show, for every kind of schedule.
#[test]
fn under_the_wall_policy_clocks_alone_decide() {
    let zone = Zone::resolve("America/New_York").unwrap();
    let next = |text: &str, after: &str| -> Vec<String> {
        let schedule = Schedule::parse(text).unwrap();
        let anchor = instant(after);
        let ctx = Context { zone: &zone, policy: DstPolicy::Wall, days: DayRule::Vixie, anchor };
        std::iter::successors(schedule.next(anchor, &ctx), |&at| schedule.next(at, &ctx))
            .take(3)
            .map(shown)
            .collect()
    };
    // Spring, 8 March 2026: 02:00 EST becomes 03:00 EDT at 07:00 UTC.
    let spring = "2026-03-08T06:20:00Z";
    assert_eq!(
        next("30 2 * * *", spring),
        ["2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z", "2026-03-11T06:30:00Z"]
    );
    assert_eq!(
        next("*/30 2-3 * * *", spring),
        ["2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z", "2026-03-09T06:00:00Z"]
    );
    assert_eq!(next("seconds: 15 59 2 * * *", spring)[..1], ["2026-03-09T06:59:15Z"]);
    assert_eq!(
        next("every 2 hours", spring),
        ["2026-03-08T08:00:00Z", "2026-03-08T10:00:00Z", "2026-03-08T12:00:00Z"]
    );
    // Autumn, 1 November 2026: 02:00 EDT becomes 01:00 EST at 06:00 UTC.
    let autumn = "2026-11-01T05:10:00Z";
    assert_eq!(
        next("30 1 * * *", autumn),
        ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"]
    );
    assert_eq!(
        next("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:00:00Z"),
        ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]
    );
    assert_eq!(
        next("every 30 minutes", autumn),
        ["2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z"]
    );
    // One instant is one run, and elapsed time has no clock.
    assert_eq!(next("at 2026-11-01 01:30", autumn), ["2026-11-01T05:30:00Z"]);
    assert_eq!(next("at 2026-03-08 02:30", spring), ["2026-03-08T07:00:00Z"]);
    for text in ["45 seconds", "every 45 seconds after completion"] {
        assert_eq!(
            next(text, autumn),
            ["2026-11-01T05:10:45Z", "2026-11-01T05:11:30Z", "2026-11-01T05:12:15Z"]
        );
    }
    assert!(next("@startup", autumn).is_empty());
}

#[test]
fn zones_in_a_schedule_are_named_as_in_postgres() {
    for (name, official) in [
        ("europe/berlin", "Europe/Berlin"),
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("us/eastern", "US/Eastern"),
        ("<+03>-3", "<+03>-3"),
    ] {
        let schedule = Schedule::parse(&format!("CRON_TZ={name} 0 3 * * *")).unwrap();
        assert_eq!(schedule.zone().unwrap().name(), official);
    }
    assert_eq!(
        next("CRON_TZ=us/eastern 0 3 * * *", "UTC", "2026-07-01T12:00:00Z", 1),
        next("0 3 * * *", "America/New_York", "2026-07-01T12:00:00Z", 1)
    );
}
