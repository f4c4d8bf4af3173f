//! Schedules in plain words, and what refusals quote of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Schedule, Zone};
use pg_tock_core::time::Timestamp;

fn sentences(text: &str, policy: DstPolicy, days: DayRule) -> Vec<String> {
    let zone = Zone::resolve("Europe/Berlin").unwrap();
    let ctx = Context { zone: &zone, policy, days, anchor: Timestamp(0) };
    Schedule::parse(text).unwrap().explain(&ctx)
}

fn first(text: &str) -> String {
    sentences(text, DstPolicy::Cron, DayRule::Vixie).swap_remove(0)
}

#[test]
fn the_first_sentence_says_what_runs() {
    for (text, words) in [
        ("* * * * *", "Every minute"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("30 2 * * *", "At 02:30 every day"),
        ("@hourly", "At minute 0 of every hour"),
        ("0 9,17 * * mon-fri", "At 09:00 and 17:00 on Monday to Friday"),
        ("*/7 * * * *", "At minute 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("*/15 9-17 * * 1-5", "At minute 0, 15, 30 and 45 of hour 9 to 17 on Monday to Friday"),
        ("* 5 * * *", "At every minute of hour 5"),
        ("0 0 1,15 1-3,7 *", "At 00:00 on day 1 and 15 of the month in January to March and July"),
        ("0 0 13 * 5", "At 00:00 on day 13 of the month, or on Friday"),
        ("0 0 1-7 * */7", "At 00:00 on day 1 to 7 of the month, if it is Sunday"),
        ("0 0 1-31 * 1", "At 00:00 every day"),
        ("0 0 $ * *", "At 00:00 on the last day of the month"),
        (
            "0 0 15W,LW * *",
            "At 00:00 on the last working day of the month or the working day nearest to day 15 of the month",
        ),
        (
            "0 0 * * fri#2,1L",
            "At 00:00 on the second Friday of the month or the last Monday of the month",
        ),
        ("seconds: */5 * 9-17 * * *", "Every 5 seconds of every minute of hour 9 to 17"),
        ("every 90 minutes", "Every 90 minutes from midnight"),
        ("every day", "At 00:00 every day"),
    ] {
        assert_eq!(first(text), format!("{words}, in time zone Europe/Berlin."), "{text}");
    }
    assert_eq!(first("CRON_TZ=utc @daily"), "At 00:00 every day, in time zone UTC.");
    assert_eq!(
        first("30 seconds"),
        "Every 30 seconds, counted from when the schedule took effect."
    );
    assert_eq!(first("every 1 h after completion"), "1 hour after the end of the last run.");
    assert_eq!(
        first("at 2026-12-24 18:00"),
        "Once, at 2026-12-24 18:00:00 in time zone Europe/Berlin."
    );
    assert!(first("@startup").starts_with("Once when the server starts"));
}

#[test]
fn more_sentences_say_what_is_easily_overlooked() {
    let has = |text: &str, policy, days, part: &str| {
        let all = sentences(text, policy, days).join(" ");
        assert!(all.contains(part), "{text}: {all}");
    };
    has("30 2 * * *", DstPolicy::Cron, DayRule::Vixie, "runs once right after the gap");
    has("*/30 2 * * *", DstPolicy::Cron, DayRule::Vixie, "follows real time");
    has("30 2 * * *", DstPolicy::Wall, DayRule::Vixie, "repeat run twice");
    has("0 0 13 * 5", DstPolicy::Cron, DayRule::Vixie, "either of them is enough");
    has("0 0 13 * 5", DstPolicy::Cron, DayRule::And, "Both day fields must match");
    has("0 0 30 2 *", DstPolicy::Cron, DayRule::Vixie, "never fires");
    has("0 0 30 2 mon", DstPolicy::Cron, DayRule::And, "never fires");
    assert_eq!(sentences("CRON_TZ=UTC 30 2 * * *", DstPolicy::Cron, DayRule::Vixie).len(), 1);
}

#[test]
fn clock_effects_read_as_sentences() {
    let zone = Zone::resolve("Europe/Berlin").unwrap();
    let effects = |text: &str, policy| -> Vec<String> {
        let start = Timestamp::from_secs(1_767_225_600); // 2026-01-01 00:00:00 UTC
        let ctx = Context { zone: &zone, policy, days: DayRule::Vixie, anchor: start };
        let until = start.plus(365 * 86_400 * Timestamp::SECOND);
        let effects = Schedule::parse(text).unwrap().clock_effects(start, until, &ctx);
        effects.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        effects("30 2 * * *", DstPolicy::Cron),
        [
            "2026-03-29 02:30:00 does not exist: it runs at 2026-03-29 03:00:00.",
            "2026-10-25 02:30:00 comes twice: it runs the first time only.",
        ]
    );
    assert_eq!(
        effects("*/20 2 * * *", DstPolicy::Cron),
        [
            "2026-03-29 02:00:00 and 2 more do not exist and do not run.",
            "2026-10-25 02:00:00 and 2 more come twice and run both times.",
        ]
    );
}

#[test]
fn refusals_quote_what_was_written_cut_and_escaped() {
    for (text, problem) in [
        ("at \u{1}soon", "\"\\u{1}soon\" is not a date"),
        ("@dai\u{1b}ly", "\"@dai\\u{1b}ly\" is not a known schedule"),
        ("5 min\u{7}utes", "\"min\\u{7}utes\" cannot follow the number of an interval"),
        ("CRON_TZ=\u{1} 0 3 * * *", "time zone \"\\u{1}\" is not known"),
        ("abcdefghijklmnopqrstuvwxyz * * * *", "\"abcdefghijklmnopqrstuvwx…\" is not a minute"),
    ] {
        assert_eq!(Schedule::parse(text).unwrap_err().to_string(), problem);
    }
}
