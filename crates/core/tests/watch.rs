//! The life of a run that lasts, played with every wake-up it asks for and with none too many.

use pg_tock_core::cancel::Cause;
use pg_tock_core::watch::{Step, Watch};
use proptest::prelude::*;

/// What was done to a run, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Expired(Cause),
    Cancelled,
    Terminated,
    Stuck(i64),
}

/// What happens to a run from outside.
#[derive(Clone, Copy, Debug)]
enum Event {
    Beat,
    Request,
}

/// Does what is to be done now, as the scheduler does it.
fn act(watch: &mut Watch, now: i64, grace: i64, deeds: &mut Vec<(i64, Deed)>) -> Option<i64> {
    let before = deeds.len();
    loop {
        assert!(deeds.len() < before + 10, "asks for ever: {watch:?}");
        let deed = match watch.step(now, grace) {
            Step::Wait(next) => return next,
            Step::Expire(cause) => {
                watch.cancelled = Some(now);
                Deed::Expired(cause)
            }
            Step::Cancel => {
                watch.signalled = true;
                Deed::Cancelled
            }
            Step::Terminate => {
                watch.terminated = true;
                Deed::Terminated
            }
            Step::Stuck(sign) => {
                watch.stuck_since = Some(sign);
                Deed::Stuck(sign)
            }
        };
        deeds.push((now, deed));
    }
}

fn happen(watch: &mut Watch, event: Event, now: i64) {
    match event {
        Event::Beat => watch.beat = Some(now),
        Event::Request => watch.cancelled = watch.cancelled.or(Some(now)),
    }
}

const END: i64 = 400;

/// Looks at every instant.
fn always(mut watch: Watch, grace: i64, events: &[(i64, Event)]) -> Vec<(i64, Deed)> {
    let mut deeds = Vec::new();
    for now in 0..END {
        for &(_, event) in events.iter().filter(|(at, _)| *at == now) {
            happen(&mut watch, event, now);
        }
        act(&mut watch, now, grace, &mut deeds);
    }
    deeds
}

/// Looks when it was asked to, when somebody wants the run to end, and when a run that was called
/// stuck gives a sign of life; not at other heartbeats.
fn awoken(mut watch: Watch, grace: i64, events: &[(i64, Event)]) -> (Vec<(i64, Deed)>, usize) {
    let mut deeds = Vec::new();
    let (mut next, mut looks) = (Some(0), 0);
    for now in 0..END {
        let mut woken = next == Some(now);
        for &(_, event) in events.iter().filter(|(at, _)| *at == now) {
            woken |= match event {
                Event::Beat => watch.stuck_since == Some(watch.last_sign()),
                Event::Request => true,
            };
            happen(&mut watch, event, now);
        }
        if woken {
            looks += 1;
            next = act(&mut watch, now, grace, &mut deeds);
            assert!(next.is_none_or(|at| at > now), "{watch:?} wants {next:?} at {now}");
        }
    }
    (deeds, looks)
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let event = prop_oneof![4 => Just(Event::Beat), 1 => Just(Event::Request)];
    proptest::collection::vec((1..END, event), 0..12)
}

/// When a run is silent for that long, and since when.
fn silences(events: &[(i64, Event)], stuck_after: i64) -> Vec<(i64, i64)> {
    let beats = events.iter().filter(|(_, event)| matches!(event, Event::Beat));
    let mut beats: Vec<i64> = beats.map(|(at, _)| *at).chain([0, END]).collect();
    beats.sort_unstable();
    beats.dedup();
    // At the end of a silence of exactly that length the sign of life is seen first.
    let silence = |pair: &[i64]| match *pair {
        [from, to] if to - from > stuck_after => Some((from + stuck_after, from)),
        _ => None,
    };
    beats.windows(2).filter_map(silence).collect()
}

proptest! {
    #[test]
    fn sleeping_misses_nothing(
        timeout in proptest::option::of(1..200_i64),
        stuck_after in proptest::option::of(1..100_i64),
        ends_stuck: bool,
        grace in 0..100_i64,
        events in events(),
    ) {
        let watch = Watch { timeout, stuck_after, ends_stuck, ..Watch::default() };
        let all = always(watch, grace, &events);
        let (seen, looks) = awoken(watch, grace, &events);
        prop_assert_eq!(&all, &seen);
        // One look a deed and a wake-up, and one more a period without a sign of life.
        let periods = stuck_after.map_or(0, |after| END / after);
        let most = 2 * (seen.len() + events.len()) + usize::try_from(periods).unwrap() + 2;
        prop_assert!(looks <= most, "{} looks for {} deeds", looks, seen.len());
    }

    #[test]
    fn a_run_ends_once_in_order_and_in_time(
        timeout in proptest::option::of(1..200_i64),
        stuck_after in proptest::option::of(1..100_i64),
        ends_stuck: bool,
        grace in 0..100_i64,
        events in events(),
    ) {
        let watch = Watch { timeout, stuck_after, ends_stuck, ..Watch::default() };
        let deeds = always(watch, grace, &events);
        let requested = events.iter().filter(|(_, event)| matches!(event, Event::Request));
        let requested = requested.map(|(at, _)| *at).min();
        let silence = stuck_after.filter(|_| ends_stuck);
        let silence = silence.and_then(|after| silences(&events, after).first().copied());
        let silent = silence.map(|(at, _)| at);
        let wanted = [timeout, requested, silent].into_iter().flatten().min();
        let ends: Vec<_> =
            deeds.iter().copied().filter(|(_, deed)| !matches!(deed, Deed::Stuck(_))).collect();
        let mut expected = Vec::new();
        if let Some(at) = wanted {
            if requested != wanted {
                let cause = if timeout == wanted { Cause::Timeout } else { Cause::Stuck };
                expected.push((at, Deed::Expired(cause)));
            }
            expected.push((at, Deed::Cancelled));
            expected.push((at + grace, Deed::Terminated));
        }
        expected.retain(|(at, _)| *at < END);
        prop_assert_eq!(ends, expected);
        // A run that is ended for its silence has been called stuck before, at the same instant.
        if let Some(end) = deeds.iter().position(|(_, deed)| *deed == Deed::Expired(Cause::Stuck)) {
            let before = end.checked_sub(1).and_then(|at| deeds.get(at)).copied();
            prop_assert_eq!(before, silence.map(|(at, sign)| (at, Deed::Stuck(sign))));
        }
    }

    #[test]
    fn a_silence_is_reported_once(
        stuck_after in 1..100_i64,
        events in events(),
    ) {
        let watch = Watch { stuck_after: Some(stuck_after), ..Watch::default() };
        let silences = silences(&events, stuck_after).into_iter();
        let expected: Vec<_> = silences.map(|(at, sign)| (at, Deed::Stuck(sign))).collect();
        let deeds = always(watch, 0, &events);
        let stuck: Vec<_> =
            deeds.into_iter().filter(|(_, deed)| matches!(deed, Deed::Stuck(_))).collect();
        prop_assert_eq!(stuck, expected);
    }

    #[test]
    fn no_numbers_overflow(
        now: i64, grace in 0..i64::MAX, began: i64, timeout: Option<i64>, stuck_after: Option<i64>,
        beat: Option<i64>, cancelled: Option<i64>, signalled: bool, ends_stuck: bool,
        stuck_since: Option<i64>,
    ) {
        let watch = Watch {
            began, timeout, stuck_after, ends_stuck, beat, cancelled, signalled, stuck_since,
            ..Watch::default()
        };
        if let Step::Wait(Some(next)) = watch.step(now, grace) {
            prop_assert!(next > now);
        }
        prop_assert_eq!(watch.is_stuck(now), watch.stuck_at().is_some_and(|at| at <= now));
    }
}

#[test]
fn a_run_without_options_is_left_alone() {
    let watch = Watch { began: 5, ..Watch::default() };
    assert_eq!(watch.step(i64::MAX, 0), Step::Wait(None));
    assert_eq!((watch.deadline(), watch.is_stuck(i64::MAX)), (None, false));
}

#[test]
fn a_new_scheduler_goes_on_where_the_last_one_was() {
    let watch = Watch { began: 10, timeout: Some(20), ..Watch::default() };
    assert_eq!(watch.step(12, 5), Step::Wait(Some(30)));
    let expired = Step::Expire(Cause::Timeout);
    assert_eq!(watch.step(31, 5), expired, "nobody looked at the deadline");
    // The cancel is noted where the run is, the signals are not: they are sent again.
    let cancelled = Watch { cancelled: Some(30), ..watch };
    assert_eq!(cancelled.step(31, 5), Step::Cancel);
    let signalled = Watch { signalled: true, ..cancelled };
    assert_eq!(signalled.step(31, 5), Step::Wait(Some(35)));
    assert_eq!(signalled.step(35, 5), Step::Terminate);
    let terminated = Watch { terminated: true, ..signalled };
    assert_eq!(terminated.step(36, 5), Step::Wait(None));
}

#[test]
fn a_silent_run_is_ended_if_its_job_says_so() {
    let watch = Watch { stuck_after: Some(10), ends_stuck: true, ..Watch::default() };
    assert_eq!(watch.step(9, 5), Step::Wait(Some(10)));
    assert_eq!(watch.step(10, 5), Step::Stuck(0));
    let stuck = Watch { stuck_since: Some(0), ..watch };
    assert_eq!(stuck.step(10, 5), Step::Expire(Cause::Stuck));
    assert_eq!(stuck.reason(Cause::Stuck), "no heartbeat for 00:00:00.00001");
    // One that speaks before it is ended goes on.
    let spoke = Watch { beat: Some(10), ..stuck };
    assert_eq!(spoke.step(10, 5), Step::Wait(Some(20)));
    // Otherwise it is only said.
    let left = Watch { ends_stuck: false, ..stuck };
    assert_eq!(left.step(10, 5), Step::Wait(None));
    // The next scheduler says it again, and ends it if the last one has not.
    assert_eq!(watch.step(12, 5), Step::Stuck(0));
    let cancelled = Watch { cancelled: Some(10), ..stuck };
    assert_eq!(cancelled.step(12, 5), Step::Cancel);
}

#[test]
fn what_cannot_speak_has_the_shorter_limit() {
    let limits = |timeout, stuck_after, ends_stuck| {
        Watch { timeout, stuck_after, ends_stuck, ..Watch::default() }.silent_limit()
    };
    assert_eq!(limits(None, None, true), None);
    assert_eq!(limits(None, Some(5), false), None);
    assert_eq!(limits(None, Some(5), true), Some((5, Cause::Stuck)));
    assert_eq!(limits(Some(6), Some(5), true), Some((5, Cause::Stuck)));
    assert_eq!(limits(Some(6), Some(5), false), Some((6, Cause::Timeout)));
    assert_eq!(limits(Some(5), Some(5), true), Some((5, Cause::Timeout)));
    assert_eq!(limits(Some(4), Some(5), true), Some((4, Cause::Timeout)));
}
