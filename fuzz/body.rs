//! What must hold for every text. Shared by the fuzz targets and `crates/core/tests/fuzz.rs`, so
//! that a finding of the one is a test of the other.
#![allow(dead_code, reason = "each fuzz target uses one of these")]

use pg_tock_core::plan::RunWindow;
use pg_tock_core::schedule::{
    Context, DayRule, DstPolicy, MAX_LENGTH, Schedule, Zone, doubts_under,
};
use pg_tock_core::time::Timestamp;

/// 2026-03-08 06:00 UTC, an hour before New York's clocks go forward.
const START: Timestamp = Timestamp::from_secs(1_772_949_600);

/// Reads a text as a schedule and uses it, or looks at why it was refused.
pub(crate) fn schedule(text: &str) {
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => {
            assert!(text.is_char_boundary(error.at()), "{text:?}: {error:?}");
            assert!(!error.field().is_empty() && error.hint().ends_with('.'));
            assert!(!error.to_string().is_empty() && error.to_string().len() < 200, "{error}");
            return;
        }
    };
    assert!(text.len() < MAX_LENGTH);
    let printed = schedule.to_string();
    assert_eq!(Schedule::parse(&printed).as_ref(), Ok(&schedule), "{text:?} prints {printed:?}");
    let zone = Zone::resolve("America/New_York").unwrap_or(Zone::utc());
    for days in [DayRule::Vixie, DayRule::And] {
        for doubt in doubts_under(text, &schedule, days) {
            assert!(text.is_char_boundary(doubt.at), "{text:?}: {doubt:?}");
            assert!(!doubt.message.ends_with('.') && doubt.hint.ends_with('.'), "{doubt:?}");
        }
        for policy in [DstPolicy::Cron, DstPolicy::Wall] {
            let ctx = Context { zone: &zone, policy, days, anchor: START };
            assert!(schedule.explain(&ctx).iter().all(|sentence| sentence.ends_with('.')));
            let mut at = START;
            for _ in 0..3 {
                let Some(next) = schedule.next(at, &ctx) else { break };
                assert!(next > at, "{text:?}: {next:?} after {at:?}");
                let _note = schedule.clock_note(next, &ctx);
                at = next;
            }
        }
    }
}

/// Reads a text as a run window, or looks at why it was refused.
pub(crate) fn run_window(text: &str) {
    match RunWindow::parse(text) {
        Ok(window) => {
            let printed = window.to_string();
            let again = RunWindow::parse(&printed);
            assert_eq!(again.as_ref(), Ok(&window), "{text:?} prints {printed:?}");
            assert_eq!(again.map(|again| again.to_string()), Ok(printed));
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.at()), "{text:?}: {error:?}");
            assert!(!error.to_string().is_empty() && error.to_string().len() < 200, "{error}");
            assert!(error.hint().ends_with('.'));
        }
    }
}
