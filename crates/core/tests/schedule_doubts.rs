//! Schedules that are legal and may not mean what their author thinks: what is said of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use chrono::DateTime;
use pg_tock_core::schedule::{DayRule, Schedule, Zone, doubts, doubts_under, passed};
use pg_tock_core::time::Timestamp;

fn instant(text: &str) -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

#[test]
fn doubts_name_the_remedy() {
    for (text, at, message, hint) in [
        ("0 0 30 2 *", 0, "never fires", "write $ or L"),
        ("0 0 31W feb *", 0, "never fires", "write $ or L"),
        ("*/30 * * * * *", 13, "sixth field is ignored", "write: seconds: */30 * * * * *."),
        ("0 0 * * * 2024", 10, "\"2024\" is ignored", "no field for the year"),
        ("0 0 * * * root backup", 10, "\"root backup\" is ignored", "remove the text"),
        ("@daily at noon", 7, "\"at noon\" is ignored", "remove the text"),
        ("0 0 1-7 * mon", 4, "either day field is enough", "mon#1."),
        ("0 0 13 * 5", 4, "either day field is enough", "cron.match_dom_and_dow"),
        (
            "0 0 1-31 * 1",
            4,
            "the day of week field has no effect",
            "Write * in the day of month field.",
        ),
        (
            "0 0 15 * 0-6",
            4,
            "the day of month field has no effect",
            "Write * in the day of week field.",
        ),
        ("0 9 * * 1#2", 9, "\"#2\" in the day of week field is ignored", "as in mon#2."),
        ("0 9 * * 5,1#2", 11, "\"#2\" in the day of week field is ignored", "as in mon#2."),
        ("0 9 * * fri#6", 11, "\"#6\" in the day of week field", "are fri#1 to fri#5, and friL"),
        ("0 9 * * fri#0", 11, "\"#0\" in the day of week field", "are fri#1 to fri#5, and friL"),
        ("0 9 * * fri#2-3", 11, "\"#2-3\" in the day of week", "commas, as in fri#1,fri#3."),
        ("0 9 * * 5#2,1L", 9, "\"#2,1L\" in the day of week", "commas, as in fri#1,fri#3."),
        ("0 9 * * mon-fri#2", 15, "\"#2\" in the day of week", "are mon#1 to mon#5"),
        ("5~10 * * * *", 1, "\"~10\" in the minute field is ignored", "Separate values"),
        ("0 9 * * fri#2", 8, "every week in pg_cron", "Write fri alone for every week."),
        ("0 0 12 * * ?", 11, "sixth field is ignored", "write: seconds: 0 0 12 * * *."),
        (
            "cron_tz=europe/berlin */30 * * * * *",
            35,
            "sixth field is ignored",
            "write: CRON_TZ=Europe/Berlin seconds: */30 * * * * *.",
        ),
    ] {
        let found = doubts(text, &Schedule::parse(text).unwrap());
        let [doubt] = found.as_slice() else { unreachable!("{text}: {found:?}") };
        assert_eq!(doubt.at, at, "{text}: {doubt:?}");
        assert!(doubt.message.contains(message), "{text}: {doubt:?}");
        assert!(doubt.hint.contains(hint), "{text}: {doubt:?}");
    }
    for text in [
        "* * * * *",
        "0 0 1-7 * */7",
        "0 0 $ * *",
        "0 0 * * 1-5",
        "*/5 9-17 1,15 * *",
        "@weekly",
        "0 0 29 2 *",
        "30 seconds",
        "every 7 minutes",
        "at 2026-12-24 18:00",
        "@reboot",
        "CRON_TZ=Europe/Berlin 0 3 * * *",
        "seconds: * * * * * *",
        "# note\n0 3 * * *\n",
    ] {
        assert_eq!(doubts(text, &Schedule::parse(text).unwrap()), [], "{text}");
    }
}

#[test]
fn a_single_instant_that_has_passed_is_doubtful() {
    let found = |text: &str, now: &str| {
        let zone = Zone::resolve("Europe/Berlin").unwrap();
        passed(text, &Schedule::parse(text).unwrap(), &zone, instant(now))
    };
    let at = "at 2026-12-24 18:00";
    assert_eq!(found(at, "2026-12-24T16:59:59.999999Z"), None);
    let doubt = found(at, "2026-12-24T17:00:00Z").unwrap();
    assert_eq!(doubt.at, 0);
    assert_eq!(
        doubt.message,
        "the schedule never fires: 2026-12-24 18:00:00 in Europe/Berlin has passed"
    );
    // The schedule's own zone goes before the job's, here as elsewhere.
    let own = "CRON_TZ=Asia/Tokyo at 2026-12-24 18:00";
    assert_eq!(found(own, "2026-12-24T08:59:59Z"), None);
    assert_eq!(found(own, "2026-12-24T09:00:00Z").unwrap().at, 19);
    assert_eq!(found("0 0 1 1 *", "2026-12-24T09:00:00Z"), None);
    assert_eq!(found("@startup", "2026-12-24T09:00:00Z"), None);
}

#[test]
fn doubts_depend_on_how_day_fields_go_together() {
    let under = |text: &str| -> Vec<String> {
        let found = doubts_under(text, &Schedule::parse(text).unwrap(), DayRule::And);
        found.into_iter().map(|doubt| format!("{}: {}", doubt.message, doubt.hint)).collect()
    };
    // With both required there is no doubt about either, and a field that matches all does no harm.
    for text in ["0 0 1-7 * mon", "0 0 13 * 5", "0 0 1-31 * 1", "0 0 15 * 0-6", "0 0 29 2 *"] {
        assert_eq!(under(text), [""; 0], "{text}");
    }
    let [never] = under("0 0 30 2 mon").try_into().unwrap();
    assert!(never.contains("never fires") && never.contains("cron.match_dom_and_dow"), "{never}");
    let [never] = under("0 0 30 2 *").try_into().unwrap();
    assert!(never.contains("never fires") && never.contains("write $ or L"), "{never}");
}
