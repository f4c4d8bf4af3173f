//! What holds for every schedule, zone and instant.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use chrono_tz::TZ_VARIANTS;
use pg_tock_core::schedule::{
    ClockNote, Context, DayRule, DstPolicy, Kind, MAX_LENGTH, Schedule, Zone, doubts,
};
use pg_tock_core::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

/// 2015-01-01 to 2050-01-01 in microseconds.
const INSTANTS: std::ops::Range<i64> = 1_420_070_400_000_000..2_524_608_000_000_000;

fn item(low: u32, high: u32) -> impl Strategy<Value = String> {
    let value = low..=high;
    prop_oneof![
        2 => Just("*".to_owned()),
        2 => (1..=high).prop_map(|n| format!("*/{n}")),
        3 => value.clone().prop_map(|v| v.to_string()),
        2 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (value.clone(), value, 1..=high).prop_map(|(a, b, n)| format!("{a}-{b}/{n}")),
    ]
}

fn list(item: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(item, 1..4).prop_map(|items| items.join(","))
}

fn month_day() -> impl Strategy<Value = String> {
    let special = prop_oneof![
        Just("L".to_owned()),
        Just("LW".to_owned()),
        (1..=31).prop_map(|day| format!("{day}W")),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => Just("$".to_owned()),
        3 => list(prop_oneof![3 => item(1, 31), 1 => special]),
    ]
}

fn weekday() -> impl Strategy<Value = String> {
    let name = select(vec!["sun", "Mon", "tue", "WED", "thu", "fri", "sat"]);
    let special = prop_oneof![
        (name.clone(), 1..=5).prop_map(|(day, n)| format!("{day}#{n}")),
        (0..=7).prop_map(|day| format!("{day}L")),
        (name.clone(), name).prop_map(|(a, b)| format!("{a}-{b}")),
    ];
    prop_oneof![3 => Just("*".to_owned()), 3 => list(prop_oneof![2 => item(0, 7), 1 => special])]
}

fn fields() -> impl Strategy<Value = String> {
    let month = prop_oneof![2 => Just("*".to_owned()), 1 => list(item(1, 12))];
    (list(item(0, 59)), list(item(0, 23)), month_day(), month, weekday())
        .prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
}

/// Every form of schedule.
fn text() -> impl Strategy<Value = String> {
    let unit = select(vec!["second", "seconds", "min", "hours", "day", "w"]);
    let plain = prop_oneof![
        8 => fields(),
        1 => select(vec!["@yearly", "@monthly", "@weekly", "@daily", "@hourly", "@reboot"])
            .prop_map(str::to_owned),
        1 => (1..60).prop_map(|n| format!("{n} seconds")),
        2 => (1..200, unit, any::<bool>()).prop_map(|(n, unit, after)| {
            format!("every {n} {unit}{}", if after { " after completion" } else { "" })
        }),
        1 => (2015..2060, 1..=12, 1..=28, 0..24, 0..60)
            .prop_map(|(y, mo, d, h, mi)| format!("at {y}-{mo:02}-{d:02} {h:02}:{mi:02}")),
        2 => (list(item(0, 59)), fields()).prop_map(|(s, rest)| format!("seconds: {s} {rest}")),
    ];
    let zone = select(vec!["CRON_TZ=Europe/Dublin ", "CRON_TZ=<-03:30>3:30 ", "", "", ""]);
    (zone, plain).prop_map(|(zone, plain)| format!("{zone}{plain}"))
}

#[derive(Clone, Debug)]
struct Setting {
    zone: Zone,
    policy: DstPolicy,
    days: DayRule,
    anchor: Timestamp,
}

impl Setting {
    fn ctx(&self) -> Context<'_> {
        Context { zone: &self.zone, policy: self.policy, days: self.days, anchor: self.anchor }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let zone = (0..TZ_VARIANTS.len()).prop_map(|i| Zone::resolve(TZ_VARIANTS[i].name()).unwrap());
    let policy = prop_oneof![2 => Just(DstPolicy::Cron), 1 => Just(DstPolicy::Wall)];
    let days = prop_oneof![2 => Just(DayRule::Vixie), 1 => Just(DayRule::And)];
    (zone, policy, days, INSTANTS).prop_map(|(zone, policy, days, anchor)| Setting {
        zone,
        policy,
        days,
        anchor: Timestamp(anchor),
    })
}

/// An instant near a shift of the zone's clocks, where things go wrong.
fn near_a_shift(zone: &Zone, at: i64, by: i64) -> Timestamp {
    let until = Timestamp(at + 400 * 86_400 * Timestamp::SECOND);
    zone.shifts_between(Timestamp(at), until)
        .next()
        .map_or(Timestamp(at), |shift| Timestamp::from_secs(shift.at).plus(by))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("PG_TOCK_WIDE").is_some() { 200_000 } else { 1_500 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn next_is_after_increasing_and_stateless(
        text in text(),
        setting in setting(),
        start in INSTANTS,
        by in -8_000_000_000_i64..8_000_000_000,
        part in 0.0..1.0_f64,
    ) {
        let schedule = Schedule::parse(&text).unwrap();
        let ctx = setting.ctx();
        let zone = schedule.zone().unwrap_or(ctx.zone);
        let mut at = near_a_shift(zone, start, by);
        for _ in 0..6 {
            let Some(next) = schedule.next(at, &ctx) else { break };
            prop_assert!(next > at, "{text} in {}: {next:?} after {at:?}", zone.name());
            // The same answer from every instant on the way, to the last microsecond.
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any instant on the way will do")]
            let between = at.plus((next.since(at) as f64 * part) as i64).min(next.plus(-1));
            prop_assert_eq!(schedule.next(between, &ctx), Some(next), "{} in {}", text, zone.name());
            prop_assert_eq!(schedule.next(next.plus(-1), &ctx), Some(next));
            at = next;
        }
    }

    #[test]
    fn cron_fires_when_clocks_show_it_or_right_after_a_gap(
        text in fields(),
        setting in setting(),
        start in INSTANTS,
        by in -8_000_000_000_i64..8_000_000_000,
    ) {
        let schedule = Schedule::parse(&text).unwrap();
        let ctx = setting.ctx();
        let at = near_a_shift(&setting.zone, start, by);
        let Some(next) = schedule.next(at, &ctx) else { return Ok(()) };
        // Read as plain wall time in a zone without shifts, the same local time must be due.
        let local = setting.zone.local(next).secs;
        let utc = Zone::utc();
        let plain = Context { zone: &utc, ..ctx };
        let due = schedule.next(Timestamp::from_secs(local - 1), &plain) == Some(Timestamp::from_secs(local));
        let moved = matches!(schedule.clock_note(next, &ctx), Some(ClockNote::Moved { .. }));
        prop_assert!(due != moved, "{text} in {}: {next:?}", setting.zone.name());
        if moved {
            prop_assert!(setting.policy == DstPolicy::Cron);
            let shift = setting.zone.shifts_between(next.plus(-1), next).next().unwrap();
            prop_assert!(shift.is_gap() && shift.is_dst());
        }
    }

    #[test]
    fn printing_and_reading_again_changes_nothing(text in text()) {
        let schedule = Schedule::parse(&text).unwrap();
        let printed = schedule.to_string();
        let again = Schedule::parse(&printed);
        prop_assert_eq!(again.as_ref(), Ok(&schedule), "{} printed as {}", text, printed);
        prop_assert_eq!(again.unwrap().to_string(), printed);
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in any_text()) {
        match Schedule::parse(&text) {
            Ok(schedule) => {
                prop_assert!(text.len() < MAX_LENGTH);
                for doubt in doubts(&text, &schedule) {
                    prop_assert!(text.is_char_boundary(doubt.at), "{doubt:?}");
                    prop_assert!(doubt.hint.ends_with('.') && !doubt.message.ends_with('.'));
                }
            }
            Err(error) => {
                prop_assert!(text.is_char_boundary(error.at()), "{error:?}");
                prop_assert!(!error.to_string().is_empty() && error.hint().ends_with('.'));
                prop_assert!(error.to_string().len() < 200, "{error}");
            }
        }
    }

    #[test]
    fn blanks_around_fields_do_not_matter(text in fields(), blanks in "[ \t]{1,5}") {
        let spread = format!("{blanks}{}{blanks}", text.replace(' ', &blanks));
        prop_assert_eq!(Schedule::parse(&spread), Schedule::parse(&text));
    }

    #[test]
    fn an_interval_counts_from_its_anchor(
        seconds in 1..200_000_i64,
        setting in setting(),
        after in INSTANTS,
    ) {
        let schedule = Schedule::parse(&format!("every {seconds} seconds after completion")).unwrap();
        prop_assert_eq!(schedule.kind(), Kind::EveryAfterCompletion);
        let next = schedule.next(Timestamp(after), &setting.ctx()).unwrap();
        let passed = next.since(setting.anchor);
        prop_assert!(passed > 0 && passed % (seconds * Timestamp::SECOND) == 0);
        prop_assert!(next.0 - seconds * Timestamp::SECOND <= after.max(setting.anchor.0));
    }
}

/// Texts of every sort: noise, near misses, and long ones.
fn any_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        3 => text(),
        3 => "[-*/,#$@LW0-9a-z \t\n:=<>+]{0,12}",
        1 => any::<String>(),
        1 => select(vec!["every ", "at ", "CRON_TZ=", "seconds: ", "@", "4294967301", "9999999999999999999999", "é"])
            .prop_map(str::to_owned),
    ];
    let many = (prop::collection::vec(token, 0..6), 1..300_usize).prop_map(|(tokens, times)| {
        let text = tokens.concat();
        let times = if text.is_empty() { 1 } else { times.min(1 + 1_200 / text.len()) };
        text.repeat(times)
    });
    prop_oneof![many, any::<String>()]
}
