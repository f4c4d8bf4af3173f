//! Outages played through.

use std::sync::Arc;

use super::support::*;
use crate::engine::after::VAIN_PER_TICK;
use crate::engine::{Event, JobSpec, Limits, Rules, Simulated, What, simulate};
use crate::run::{MissedPolicy, SkipReason, Trigger};
use crate::time::JobId;

const MINUTE: i64 = 60 * SEC;

fn minutely(id: i64, missed: MissedPolicy) -> Simulated {
    let spec = JobSpec { missed, ..job(id, 7, Every(MINUTE)) };
    Simulated { spec, cursor: at(0), duration: SEC }
}

fn ran(now: i64, id: i64, instant: i64, trigger: Trigger) -> Event {
    let what = What::Run { trigger };
    Event { at: at(now), job: JobId(id), scheduled_for: at(instant), what }
}

fn left_out(now: i64, id: i64, first: i64, last: i64, count: u64) -> Event {
    let what = What::Skipped { reason: SkipReason::Missed, last: at(last), count };
    Event { at: at(now), job: JobId(id), scheduled_for: at(first), what }
}

/// Down from 0 to 3 min 30 s, followed for a minute.
fn outage(jobs: Vec<Simulated>) -> Vec<Event> {
    simulate(jobs, at(0), at(210 * SEC), MINUTE, LIMITS)
}

#[test]
fn each_policy_does_what_it_says_however_short_the_outage() {
    let after = |id| ran(4 * MINUTE, id, 4 * MINUTE, Trigger::Schedule);
    let now = 210 * SEC;
    assert_eq!(
        outage(vec![minutely(1, MissedPolicy::Skip)]),
        [left_out(now, 1, MINUTE, 3 * MINUTE, 3), after(1)]
    );
    assert_eq!(
        outage(vec![minutely(1, MissedPolicy::Once)]),
        [
            left_out(now, 1, MINUTE, 2 * MINUTE, 2),
            ran(now, 1, 3 * MINUTE, Trigger::CatchUp),
            after(1)
        ]
    );
    let all: Vec<Event> = (0..3)
        .map(|n| ran(now + n * SEC, 1, (n + 1) * MINUTE, Trigger::CatchUp))
        .chain([after(1)])
        .collect();
    assert_eq!(outage(vec![minutely(1, MissedPolicy::All)]), all);
}

#[test]
fn no_outage_and_nothing_to_follow_is_nothing() {
    let jobs = || vec![minutely(1, MissedPolicy::All)];
    assert_eq!(simulate(jobs(), at(0), at(0), 0, LIMITS), []);
    assert_eq!(simulate(jobs(), at(0), at(0), -1, LIMITS), []);
    assert_eq!(simulate(Vec::new(), at(0), at(MINUTE), MINUTE, LIMITS), []);
}

#[test]
fn run_slots_are_shared_as_they_would_be() {
    let limits = Limits { max_running: 1, ..LIMITS };
    let jobs = vec![minutely(1, MissedPolicy::Once), minutely(2, MissedPolicy::Once)];
    let events = simulate(jobs, at(0), at(90 * SEC), 0, limits);
    assert_eq!(events, [ran(90 * SEC, 1, MINUTE, Trigger::CatchUp)], "one runs, the other waits");
}

#[test]
fn what_is_skipped_bit_by_bit_is_one_event() {
    let limits = Limits { max_queued_per_job: 0, ..LIMITS };
    let spec = job(1, 7, Every(SEC));
    let slow = Simulated { spec, cursor: at(0), duration: 10 * SEC };
    let events = simulate(vec![slow], at(0), at(0), 5 * SEC, limits);
    let what = What::Skipped { reason: SkipReason::Overlap, last: at(5 * SEC), count: 4 };
    let skipped = Event { at: at(2 * SEC), job: JobId(1), scheduled_for: at(2 * SEC), what };
    assert_eq!(events, [ran(SEC, 1, SEC, Trigger::Schedule), skipped]);
}

#[test]
fn a_job_that_counts_from_its_end_goes_on_from_its_catch_up() {
    let rest = Simulated {
        spec: JobSpec {
            missed: MissedPolicy::Once,
            times: Arc::new(Rest(20 * SEC)),
            ..job(1, 7, Every(SEC))
        },
        cursor: at(0),
        duration: SEC,
    };
    let events = outage(vec![rest]);
    let now = 210 * SEC;
    let later = |n: i64| now + n * 21 * SEC;
    let expected = [
        ran(now, 1, 20 * SEC, Trigger::CatchUp),
        ran(later(1), 1, later(1), Trigger::Schedule),
        ran(later(2), 1, later(2), Trigger::Schedule),
    ];
    assert_eq!(events, expected);
}

#[test]
fn more_that_waits_in_vain_than_one_tick_skips_is_one_event_of_one_instant() {
    let many = 5 * i64::from(VAIN_PER_TICK) + 7;
    let of = |spec| Simulated { spec, cursor: at(0), duration: 1 };
    let first = job(1, 7, Every(SEC));
    let rules = Rules { after: Arc::from([JobId(1)]), ..Rules::default() };
    let second = JobSpec { missed: MissedPolicy::All, rules, ..job(2, 8, Every(SEC)) };
    let now = many * SEC;
    let events = simulate(vec![of(first), of(second)], at(0), at(now), SEC + 1, LIMITS);
    let count = u64::try_from(many).unwrap();
    let what = What::Skipped { reason: SkipReason::Upstream, last: at(now), count };
    let in_vain = Event { at: at(now), job: JobId(2), scheduled_for: at(SEC), what };
    let next = now + SEC;
    let expected = [
        left_out(now, 1, SEC, now, count),
        in_vain,
        ran(next, 1, next, Trigger::Schedule),
        ran(next + 1, 2, next, Trigger::Dependency),
    ];
    assert_eq!(events, expected);
}
