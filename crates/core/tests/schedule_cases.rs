//! The sample of expected instants: expression, zone, `after`, the next five, class.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chrono::{DateTime, SecondsFormat};
use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;

fn instant(text: &str) -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

fn shown(at: Timestamp) -> String {
    DateTime::from_timestamp_micros(at.0).unwrap().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[test]
fn every_sample_case_has_its_next_five_instants() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for line in include_str!("data/schedule_cases.tsv").lines().skip(1) {
        let [text, zone, after, expected, class] =
            line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let schedule = Schedule::parse(text).unwrap();
        let zone = Zone::resolve(zone).unwrap();
        let after = instant(after);
        let ctx =
            Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor: after };
        let found: Vec<String> =
            std::iter::successors(schedule.next(after, &ctx), |&at| schedule.next(at, &ctx))
                .take(5)
                .map(shown)
                .collect();
        cases += 1;
        if found.join(",") != expected {
            wrong.push(format!(
                "{class}: {text} {}\n  {}\n  {expected}",
                zone.name(),
                found.join(",")
            ));
        }
    }
    assert_eq!(cases, 240);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
