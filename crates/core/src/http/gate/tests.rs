use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SECOND: i64 = Timestamp::SECOND;
const LIMITS: Limits =
    Limits { max_in_flight: 10, per_host: 3, breaker_failures: 2, breaker_open_for: 30 * SECOND };
const LATER: Timestamp = Timestamp(1_000_000 * SECOND);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn submit(gate: &mut Gate, ids: std::ops::Range<u64>, origin: &str, now: Timestamp) {
    for id in ids {
        assert!(gate.submit(id, origin, LATER, now));
    }
}

fn start_all(gate: &mut Gate, now: Timestamp) -> Vec<u64> {
    std::iter::from_fn(|| gate.start(now)).map(|released| released.id).collect()
}

/// Fails requests of `origin` until its breaker is open at `now`.
fn open(gate: &mut Gate, origin: &str, now: Timestamp) {
    for id in 9000..9002 {
        gate.submit(id, origin, LATER, now);
        assert_eq!(gate.start(now).unwrap().id, id);
        gate.finish(id, Contact::Failed, now);
    }
    assert_eq!(
        gate.open_breakers().next().map(|(origin, _)| origin.to_owned()).as_deref(),
        Some(origin)
    );
}

#[test]
fn limits_hold_and_are_named() {
    let mut gate = Gate::new(LIMITS);
    submit(&mut gate, 0..5, "a", at(0));
    assert_eq!(start_all(&mut gate, at(0)), [0, 1, 2]);
    gate.finish(0, Contact::Reached, at(1));
    let next = gate.start(at(2)).unwrap();
    assert_eq!(next, Released { id: 3, waited: 2 * SECOND, held: Some(Hold::HostLimit) });
    for origin in 0..7 {
        assert!(gate.submit(100 + origin, &format!("h{origin}"), LATER, at(2)));
    }
    assert_eq!(start_all(&mut gate, at(2)).len(), 7);
    gate.submit(200, "z", LATER, at(2));
    assert_eq!((gate.start(at(2)), gate.in_flight(), gate.waiting()), (None, 10, 2));
    gate.finish(100, Contact::Reached, at(3));
    let next = gate.start(at(3)).unwrap();
    assert_eq!((next.id, next.held), (200, Some(Hold::Limit)));
}

#[test]
fn hosts_take_turns() {
    let mut gate = Gate::new(Limits { max_in_flight: 1, ..LIMITS });
    submit(&mut gate, 0..100, "busy", at(0));
    submit(&mut gate, 100..102, "quiet", at(0));
    let mut order = Vec::new();
    for _ in 0..5 {
        let id = gate.start(at(0)).unwrap().id;
        order.push(id);
        gate.finish(id, Contact::Reached, at(0));
    }
    assert_eq!(order, [0, 100, 1, 101, 2]);
}

#[test]
fn a_thousand_that_hang_delay_nobody() {
    let mut gate = Gate::new(Limits { max_in_flight: 1100, ..LIMITS });
    for id in 0..1000 {
        gate.submit(id, &format!("hangs{id}"), LATER, at(0));
    }
    assert_eq!(start_all(&mut gate, at(0)).len(), 1000);
    gate.submit(5000, "answers", LATER, at(1));
    assert_eq!(gate.start(at(1)), Some(Released { id: 5000, waited: 0, held: None }));
}

#[test]
fn breaker_opens_and_a_probe_closes_it() {
    let mut gate = Gate::new(LIMITS);
    open(&mut gate, "a", at(0));
    submit(&mut gate, 0..5, "a", at(1));
    submit(&mut gate, 50..51, "b", at(1));
    assert_eq!(start_all(&mut gate, at(29)), [50]);
    assert_eq!(gate.next_wake(), Some(at(30)));
    let probe = gate.start(at(30)).unwrap();
    assert_eq!(probe, Released { id: 0, waited: 29 * SECOND, held: Some(Hold::Breaker) });
    assert_eq!(gate.start(at(30)), None);
    let change = gate.finish(0, Contact::Reached, at(31)).unwrap();
    assert_eq!(
        change,
        BreakerChange { origin: "a".to_owned(), open: false, failures: 0, holds: 4 }
    );
    assert_eq!(start_all(&mut gate, at(31)), [1, 2, 3]);
}

#[test]
fn breaker_gets_more_patient() {
    let mut gate = Gate::new(LIMITS);
    open(&mut gate, "a", at(0));
    submit(&mut gate, 0..20, "a", at(0));
    let mut now = at(0);
    for wait in [30, 60, 120, 240, 480, 480, 480] {
        let due = now.plus(wait * SECOND);
        assert_eq!(gate.start(due.plus(-1)), None);
        let probe = gate.start(due).unwrap().id;
        assert_eq!(gate.finish(probe, Contact::Failed, due), None);
        now = due;
    }
    let probe = gate.start(now.plus(480 * SECOND)).unwrap().id;
    assert!(!gate.finish(probe, Contact::Reached, now).unwrap().open);
    // A new series starts from the beginning.
    for id in start_all(&mut gate, now).into_iter().take(2) {
        gate.finish(id, Contact::Failed, now);
    }
    assert_eq!(gate.next_wake(), Some(now.plus(30 * SECOND)));
}

#[test]
fn an_answer_to_an_earlier_request_closes_the_breaker() {
    let mut gate = Gate::new(LIMITS);
    submit(&mut gate, 0..4, "a", at(0));
    assert_eq!(start_all(&mut gate, at(0)), [0, 1, 2]);
    assert_eq!(gate.finish(0, Contact::Failed, at(1)), None);
    assert!(gate.finish(1, Contact::Failed, at(1)).unwrap().open);
    assert_eq!(gate.start(at(2)), None);
    assert!(!gate.finish(2, Contact::Reached, at(3)).unwrap().open);
    let held = gate.start(at(3)).unwrap();
    assert_eq!((held.id, held.held), (3, Some(Hold::Breaker)));
}

#[test]
fn a_probe_without_a_result_is_followed_by_another() {
    let mut gate = Gate::new(LIMITS);
    open(&mut gate, "a", at(0));
    submit(&mut gate, 0..3, "a", at(0));
    let probe = gate.start(at(30)).unwrap().id;
    gate.finish(probe, Contact::Unknown, at(31));
    assert_eq!(gate.start(at(31)).unwrap().id, 1);
    assert_eq!(gate.start(at(31)), None);
}

#[test]
fn waiting_ends_at_the_deadline() {
    let mut gate = Gate::new(LIMITS);
    open(&mut gate, "a", at(0));
    gate.submit(1, "a", at(10), at(5));
    gate.submit(2, "a", at(9), at(5));
    assert_eq!(gate.next_wake(), Some(at(9)));
    assert_eq!(gate.expire(at(8)), None);
    let expired = gate.expire(at(10)).unwrap();
    assert_eq!(expired, Released { id: 2, waited: 5 * SECOND, held: Some(Hold::Breaker) });
    assert_eq!(gate.expire(at(10)).unwrap().id, 1);
    assert_eq!((gate.expire(at(10)), gate.waiting(), gate.next_wake()), (None, 0, None));
}

#[test]
fn cancelled_requests_are_passed_over() {
    let mut gate = Gate::new(LIMITS);
    submit(&mut gate, 0..5, "a", at(0));
    assert_eq!(start_all(&mut gate, at(0)), [0, 1, 2]);
    assert!(gate.cancel(3));
    assert!(!gate.cancel(3) && !gate.cancel(0) && !gate.cancel(77));
    gate.finish(0, Contact::Unknown, at(0));
    assert_eq!(start_all(&mut gate, at(0)), [4]);
}

#[test]
fn breakers_can_be_switched_off_and_limits_raised() {
    let mut gate = Gate::new(Limits { breaker_failures: 0, ..LIMITS });
    for id in 0..50 {
        gate.submit(id, "a", LATER, at(0));
        assert_eq!(gate.start(at(0)).unwrap().id, id);
        assert_eq!(gate.finish(id, Contact::Failed, at(0)), None);
    }
    submit(&mut gate, 100..110, "a", at(0));
    assert_eq!(start_all(&mut gate, at(0)).len(), 3);
    gate.set_limits(Limits { per_host: 5, ..LIMITS });
    assert_eq!(start_all(&mut gate, at(0)).len(), 2);
}

#[test]
fn idle_hosts_are_forgotten() {
    let mut gate = Gate::new(LIMITS);
    for id in 0..1000 {
        gate.submit(id, &format!("h{id}"), LATER, at(0));
        gate.start(at(0)).unwrap();
        gate.finish(id, Contact::Reached, at(0));
    }
    assert_eq!(gate.hosts(), 0);
    assert!(gate.next_wake().is_none());
}

#[test]
fn nothing_piles_up_behind_one_that_waits() {
    let mut gate = Gate::new(LIMITS);
    open(&mut gate, "down", at(0));
    gate.submit(1, "down", at(3600), at(0));
    for id in 10..50_000 {
        gate.submit(id, "up", at(7200), at(1));
        assert_eq!(gate.start(at(1)).unwrap().id, id);
        gate.finish(id, Contact::Reached, at(1));
    }
    assert!(gate.deadlines.len() <= 2 * SLACK && gate.openings.len() < 10);
    for id in 60_000..70_000 {
        gate.submit(id, "down", at(7200), at(2));
    }
    assert!(gate.openings.len() < 10);
    assert_eq!(gate.start(at(30)).unwrap().id, 1);
}

#[derive(Clone, Debug)]
enum Event {
    Submit { host: u8, wait: i64 },
    Start,
    Finish { nth: usize, contact: Contact },
    Cancel { id: u64 },
    Pass(i64),
}

fn events() -> impl Strategy<Value = Event> {
    let contact =
        prop_oneof![Just(Contact::Reached), Just(Contact::Failed), Just(Contact::Unknown)];
    prop_oneof![
        4 => (0u8..4, 1i64..200).prop_map(|(host, wait)| Event::Submit { host, wait }),
        4 => Just(Event::Start),
        3 => (0usize..8, contact).prop_map(|(nth, contact)| Event::Finish { nth, contact }),
        1 => (0u64..60).prop_map(|id| Event::Cancel { id }),
        2 => (0i64..40).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn every_request_has_one_end_and_limits_hold(events in prop::collection::vec(events(), 1..200)) {
        let limits = Limits { max_in_flight: 4, per_host: 2, ..LIMITS };
        let mut gate = Gate::new(limits);
        let (mut now, mut id) = (at(0), 0);
        let mut waiting = BTreeSet::new();
        let mut flying: BTreeMap<u64, u8> = BTreeMap::new();
        let mut host_of = BTreeMap::new();
        for event in events {
            match event {
                Event::Submit { host, wait } => {
                    gate.submit(id, &host.to_string(), now.plus(wait * SECOND), now);
                    waiting.insert(id);
                    host_of.insert(id, host);
                    id += 1;
                }
                Event::Start => while let Some(released) = gate.start(now) {
                    prop_assert!(waiting.remove(&released.id));
                    flying.insert(released.id, host_of[&released.id]);
                },
                Event::Finish { nth, contact } => if let Some(&id) = flying.keys().nth(nth) {
                    flying.remove(&id);
                    gate.finish(id, contact, now);
                },
                Event::Cancel { id } => prop_assert_eq!(gate.cancel(id), waiting.remove(&id)),
                Event::Pass(seconds) => {
                    now = now.plus(seconds * SECOND);
                    while let Some(expired) = gate.expire(now) {
                        prop_assert!(waiting.remove(&expired.id));
                    }
                }
            }
            prop_assert!(flying.len() <= 4);
            for host in 0..4 {
                prop_assert!(flying.values().filter(|&&of| of == host).count() <= 2);
            }
            prop_assert_eq!((gate.waiting(), gate.in_flight()), (waiting.len(), flying.len()));
        }
        // Whatever happened, following the wake-ups alone brings every request to its end.
        let mut rounds = 0;
        while gate.waiting() + gate.in_flight() > 0 {
            rounds += 1;
            prop_assert!(rounds < 10_000);
            while gate.expire(now).is_some() {}
            while let Some(released) = gate.start(now) {
                flying.insert(released.id, 0);
            }
            for id in std::mem::take(&mut flying).into_keys() {
                gate.finish(id, Contact::Failed, now);
            }
            if let Some(wake) = gate.next_wake() {
                now = now.max(wake);
            }
        }
    }
}
