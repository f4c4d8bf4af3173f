//! A cross-check with the crate `cron` over the dialect both share: universal time, no day rule
//! to apply (one day field is `*`), weekdays by name, ranges that do not wrap.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::str::FromStr;

use chrono::{DateTime, Utc};
use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn item(low: u32, high: u32) -> impl Strategy<Value = String> {
    let ordered = (low..=high, low..=high).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        2 => Just("*".to_owned()),
        2 => (1..=high - low).prop_map(|n| format!("*/{n}")),
        3 => (low..=high).prop_map(|v| v.to_string()),
        2 => ordered.clone().prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (ordered, 1..=high - low).prop_map(|((a, b), n)| format!("{a}-{b}/{n}")),
    ]
}

fn list(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop::collection::vec(item(low, high), 1..4).prop_map(|items| items.join(","))
}

const NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The day fields of either program: (day of month, day of week).
fn days() -> impl Strategy<Value = (String, String)> {
    let names = prop_oneof![
        subsequence(NAMES.to_vec(), 1..7).prop_map(|names| names.join(",")),
        select(vec!["mon-fri", "sun-tue", "tue-sat"]).prop_map(str::to_owned),
    ];
    prop_oneof![
        list(1, 31).prop_map(|date| (date, "*".to_owned())),
        names.prop_map(|names| ("*".to_owned(), names)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("PG_TOCK_WIDE").is_some() { 20_000 } else { 500 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_next_instants_agree(
        minute in list(0, 59),
        hour in list(0, 23),
        (date, name) in days(),
        month in prop_oneof![Just("*".to_owned()), list(1, 12)],
        after in 1_420_070_400..2_000_000_000_i64,
    ) {
        let text = format!("{minute} {hour} {date} {month} {name}");
        let other = cron::Schedule::from_str(&format!("0 {text}")).unwrap();
        let schedule = Schedule::parse(&text).unwrap();
        let zone = Zone::utc();
        let mut at = Timestamp::from_secs(after);
        let ctx = Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor: at };
        let start: DateTime<Utc> = DateTime::from_timestamp(after, 0).unwrap();
        // Beyond 2070 our search may end where the other goes on to 2100.
        let expected = other.after(&start).take(10).map(|at| at.timestamp());
        for expected in expected.take_while(|&at| at < after + 40 * 365 * 86_400) {
            let next = schedule.next(at, &ctx);
            prop_assert_eq!(next.map(Timestamp::secs), Some(expected), "{}", text);
            at = Timestamp::from_secs(expected);
        }
    }
}
