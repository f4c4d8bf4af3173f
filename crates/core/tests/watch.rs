//! The life of a run that lasts, played with every wake-up it asks for and with none too many.

use pg_tock_core::watch::{Step, Watch};
use proptest::prelude::*;

/// What was done to a run, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Expired,
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
            Step::Expire => {
                watch.cancelled = Some(now);
                Deed::Expired
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

proptest! {
    #[test]
    fn sleeping_misses_nothing(
        timeout in proptest::option::of(1..200_i64),
        stuck_after in proptest::option::of(1..100_i64),
        grace in 0..100_i64,
        events in events(),
    ) {
        let watch = Watch { timeout, stuck_after, ..Watch::default() };
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
        grace in 0..100_i64,
        events in events(),
    ) {
        let deeds = always(Watch { timeout, stuck_after, ..Watch::default() }, grace, &events);
        let requested = events.iter().filter(|(_, event)| matches!(event, Event::Request));
        let requested = requested.map(|(at, _)| *at).min();
        let wanted = [timeout, requested].into_iter().flatten().min();
        let ends: Vec<_> =
            deeds.iter().copied().filter(|(_, deed)| !matches!(deed, Deed::Stuck(_))).collect();
        let mut expected = Vec::new();
        if let Some(at) = wanted {
            if requested != wanted {
                expected.push((at, Deed::Expired));
            }
            expected.push((at, Deed::Cancelled));
            expected.push((at + grace, Deed::Terminated));
        }
        expected.retain(|(at, _)| *at < END);
        prop_assert_eq!(ends, expected);
    }

    #[test]
    fn a_silence_is_reported_once(
        stuck_after in 1..100_i64,
        events in events(),
    ) {
        let watch = Watch { stuck_after: Some(stuck_after), ..Watch::default() };
        let mut beats: Vec<i64> = events.iter()
            .filter(|(_, event)| matches!(event, Event::Beat)).map(|(at, _)| *at).collect();
        beats.extend([0, END]);
        beats.sort_unstable();
        beats.dedup();
        // At the end of a silence of exactly that length the sign of life is seen first.
        let silences = beats.windows(2).filter(|pair| pair[1] - pair[0] > stuck_after);
        let expected: Vec<_> =
            silences.map(|pair| (pair[0] + stuck_after, Deed::Stuck(pair[0]))).collect();
        let deeds = always(watch, 0, &events);
        let stuck: Vec<_> =
            deeds.into_iter().filter(|(_, deed)| matches!(deed, Deed::Stuck(_))).collect();
        prop_assert_eq!(stuck, expected);
    }

    #[test]
    fn no_numbers_overflow(
        now: i64, grace in 0..i64::MAX, began: i64, timeout: Option<i64>, stuck_after: Option<i64>,
        beat: Option<i64>, cancelled: Option<i64>, signalled: bool,
    ) {
        let watch = Watch {
            began, timeout, stuck_after, beat, cancelled, signalled, ..Watch::default()
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
    assert_eq!(watch.step(31, 5), Step::Expire, "nobody looked at the deadline");
    // The cancel is noted where the run is, the signals are not: they are sent again.
    let cancelled = Watch { cancelled: Some(30), ..watch };
    assert_eq!(cancelled.step(31, 5), Step::Cancel);
    let signalled = Watch { signalled: true, ..cancelled };
    assert_eq!(signalled.step(31, 5), Step::Wait(Some(35)));
    assert_eq!(signalled.step(35, 5), Step::Terminate);
    let terminated = Watch { terminated: true, ..signalled };
    assert_eq!(terminated.step(36, 5), Step::Wait(None));
}
