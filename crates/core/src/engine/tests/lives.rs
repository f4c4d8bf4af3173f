//! Whole lives of the engine in a random world.

use std::sync::Arc;

use proptest::prelude::*;

use super::support::*;
use super::world::World;
use crate::engine::{JobSpec, Limits, PoolKey};
use crate::time::JobId;

fn random_key(world: &mut World) -> PoolKey {
    let role = 10 + u32::try_from(world.dice.roll(4)).unwrap();
    PoolKey { database: 1 + u32::try_from(world.dice.roll(2)).unwrap(), role }
}

fn random_times(world: &mut World) -> Arc<Span> {
    let period = [200 * MS, 333 * MS, SEC, 2 * SEC, 7 * SEC, 60 * SEC];
    Arc::new(Span { period: period[usize::try_from(world.dice.roll(6)).unwrap()], until: i64::MAX })
}

fn random_job(world: &mut World, id: i64) -> JobSpec {
    let key = random_key(world);
    let active = world.dice.roll(8) > 0;
    JobSpec { active, ..JobSpec::new(JobId(id), key, random_times(world)) }
}

fn pick(world: &mut World, ids: &[i64]) -> Option<i64> {
    let at = world.dice.roll(ids.len() as u64);
    ids.get(usize::try_from(at).unwrap()).copied()
}

/// Something happens to a job.
fn touch_job(world: &mut World) {
    let ids = world.job_ids();
    let Some(id) = pick(world, &ids) else { return };
    let Some(spec) = world.spec(id) else { return };
    match world.dice.roll(7) {
        0 => world.drop_job(id),
        1 => world.put(JobSpec { active: !spec.active, ..spec }),
        2 => {
            let key = random_key(world);
            world.put(JobSpec { key, ..spec });
        }
        3 => {
            let times = random_times(world);
            world.put(JobSpec { times, ..spec });
        }
        4 => world.put(spec),
        _ => world.enqueue(id),
    }
}

/// Something happens to anything.
fn disturb(world: &mut World, id: i64) {
    match world.dice.roll(16) {
        0..=5 => touch_job(world),
        6 | 7 => {
            let job = random_job(world, id);
            world.put(job);
        }
        8 | 9 => {
            let executors = world.executor_ids();
            let at = world.dice.roll(executors.len() as u64);
            if let Some(&executor) = executors.get(usize::try_from(at).unwrap()) {
                world.kill(executor);
            }
        }
        10 => {
            let key = random_key(world);
            world.engine.retire_where(|other| other.role == key.role);
        }
        11 => world.slots = usize::try_from(world.dice.roll(8)).unwrap(),
        12 => {
            let limits = Limits {
                max_running: u32::try_from(world.dice.roll(8)).unwrap(),
                launch: world.dice.roll(4) > 0,
                ..world.limits
            };
            world.set_limits(limits);
        }
        13 => world.failing_starts = world.dice.roll(40),
        14 => world.now += world.dice.up_to(400 * SEC),
        _ => {
            // The clock is set, back by less than five minutes; a timerfd tells the edge.
            world.offset += world.dice.up_to(400 * SEC) - 200 * SEC;
            world.tick();
        }
    }
}

/// A world with so many jobs and disturbances, played to its end.
fn live(limits: Limits, slots: usize, seed: u64, jobs: i64, disturbances: i64) -> World {
    let mut world = World::new(limits, slots, seed);
    if seed.is_multiple_of(2) {
        world.engine.set_slots(u32::try_from(slots).unwrap());
    }
    for id in 0..jobs {
        let job = random_job(&mut world, id);
        world.put(job);
    }
    for n in 0..disturbances {
        for _ in 0..world.dice.roll(40) {
            world.step();
        }
        disturb(&mut world, 1_000 + n);
    }
    (world.slots, world.failing_starts) = (slots, 0);
    world.settle();
    world
}

#[test]
fn the_random_world_is_a_varied_one() {
    let limits = Limits { max_running: 4, max_queued_per_job: 2, ..LIMITS };
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..10 {
        for (name, count) in live(limits, 4, seed, 12, 60).seen {
            *seen.entry(name).or_insert(0) += count;
        }
    }
    let often: Vec<&str> = seen.iter().filter(|(_, n)| **n >= 10).map(|(name, _)| *name).collect();
    assert_eq!(often, ["cancel", "fail", "missed", "overflow", "retire", "run", "start"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(64), ..ProptestConfig::default() })]

    #[test]
    fn every_due_occurrence_is_accounted_for(
        seed: u64,
        slots in 1usize..10,
        max_running in 0u32..10,
        max_queued_per_job in 0u32..6,
        idle_timeout in prop_oneof![Just(0), Just(100 * MS), Just(3 * SEC)],
        max_age in prop_oneof![Just(0), Just(2 * SEC)],
        jobs in 1i64..25,
        disturbances in 0i64..80,
    ) {
        let limits = Limits { max_running, max_queued_per_job, idle_timeout, max_age, ..LIMITS };
        let world = live(limits, slots, seed, jobs, disturbances);
        if idle_timeout > 0 {
            prop_assert_eq!(world.executor_ids(), Vec::<u32>::new());
        }
    }

    #[test]
    fn nobody_waits_behind_a_flood(
        seed: u64,
        slots in 1usize..6,
        max_running in 1u32..6,
        flood in 1i64..30,
        others in 1u32..5,
    ) {
        let limits = Limits { max_running, max_queued_per_job: 5, ..LIMITS };
        let mut world = World::new(limits, slots, seed);
        world.longest_run = 40 * MS;
        let until = 1_000_004 * SEC;
        let spec = |id, role, period| {
            let times = Arc::new(Span { period, until });
            JobSpec::new(JobId(id), PoolKey { database: 1, role }, times)
        };
        for id in 0..flood {
            world.put(spec(id, 10, 20 * MS));
        }
        for other in 1..=others {
            world.put(spec(100 + i64::from(other), 10 + other, 500 * MS));
        }
        while world.clock().0 < until {
            prop_assert!(world.step());
        }
        // Each other owner may come first once, with its quantum, its last run, and a change of
        // executors; twice that for those who come in between.
        let turn = 50 * MS + 40 * MS + 10 * MS;
        prop_assert!(world.longest_hunger <= 2 * turn * i64::from(others + 1),
                     "an owner waited {} us without a run", world.longest_hunger);
    }
}
