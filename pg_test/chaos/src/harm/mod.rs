//! What is done to the server. Each harm leaves it up and able to work: what it took away it gives
//! back, so that what has stopped afterwards has stopped for good.

mod clock;
mod people;
mod processes;
mod resources;

use crate::world::World;

/// Name, how likely beside the others, and the deed, which says whether it was felt: one that finds
/// nothing to be done to does not count.
type Harm = (&'static str, u32, fn(&mut World) -> bool);

const HARMS: &[Harm] = &[
    ("busy executor killed", 4, processes::kill_busy_executor),
    ("executor killed", 2, processes::kill_executor),
    ("scheduler killed", 4, processes::kill_scheduler),
    ("launcher killed", 2, processes::kill_launcher),
    ("backend killed", 1, processes::kill_any),
    ("immediate stop", 3, processes::stop_immediately),
    ("postmaster killed", 3, processes::kill_postmaster),
    ("fast stop", 2, processes::stop),
    ("executors terminated", 3, processes::terminate_executors),
    ("scheduler terminated", 4, processes::terminate_scheduler),
    ("scheduler and executors terminated", 2, processes::terminate_all),
    ("launcher terminated", 2, processes::terminate_launcher),
    ("runs cancelled", 3, processes::cancel_runs),
    ("killed while it recovers", 2, processes::kill_twice),
    ("connections run out", 2, resources::connections),
    ("worker slots run out", 2, resources::worker_slots),
    (DISK_FULL, 3, resources::disk_full),
    ("ledger locked", 2, resources::lock_ledger),
    ("job table locked", 2, resources::lock_jobs),
    ("clock set forward a little", 2, clock::forward_a_little),
    ("clock set forward", 2, clock::forward),
    ("clock set back a little", 1, clock::back_a_little),
    ("clock set back", 2, clock::back),
    ("clock set while the server is down", 2, clock::while_down),
    ("role dropped", 2, people::drop_role),
    ("database dropped", 2, people::drop_database),
    ("job held", 3, people::hold),
    ("job paused", 3, people::pause),
    ("job changed", 4, people::change),
    ("job switched off and on", 3, people::switch),
    ("job removed, another one made", 3, people::replace),
    ("backfill", 3, people::backfill),
    ("run by hand", 4, people::run_now),
    ("run cancelled by hand", 3, people::cancel_run),
    ("failed runs tried again", 3, people::retry_runs),
    ("queue changed", 2, people::change_queue),
    ("settings read again", 1, people::reload),
];

/// What every chaos sees at least once, before chance takes over.
const EACH: [&str; 12] = [
    "busy executor killed",
    "scheduler killed",
    "launcher killed",
    "immediate stop",
    "postmaster killed",
    "role dropped",
    "database dropped",
    "connections run out",
    "worker slots run out",
    DISK_FULL,
    "clock set forward",
    "clock set back",
];
const DISK_FULL: &str = "disk full";

/// How often a harm that finds nothing to be done to is tried.
const TRIES: usize = 10;

/// Why a harm cannot be done here.
pub(crate) fn excuse(world: &World, name: &str) -> Option<&'static str> {
    (name == DISK_FULL && world.small.is_none())
        .then_some("the ledger has no file system of its own; mounting one takes root")
}

/// Does each of those at least once, in random order.
pub(crate) fn each(world: &mut World) {
    let mut left = EACH.to_vec();
    while let Some(name) = world.rng.of(&left) {
        left.retain(|other| *other != name);
        if excuse(world, name).is_some() {
            continue;
        }
        let harm = HARMS.iter().find(|harm| harm.0 == name).expect("a harm of that name");
        for _ in 0..TRIES {
            work_on(world);
            if perform(world, harm) {
                break;
            }
        }
    }
}

/// Those of them that were not done although they could have been.
pub(crate) fn missing(world: &World) -> Vec<String> {
    let mut missing = Vec::new();
    for name in EACH.into_iter().filter(|name| !world.done.contains_key(name)) {
        match excuse(world, name) {
            Some(why) => println!("    not done: {name}: {why}"),
            None => missing.push(name.to_owned()),
        }
    }
    missing
}

/// Lets jobs work for a moment, then does a harm or two, chosen at random.
pub(crate) fn some(world: &mut World) {
    work_on(world);
    one(world);
    // Misfortunes seldom come singly.
    if world.rng.within(0, 3) == 0 {
        one(world);
    }
}

fn work_on(world: &mut World) {
    let more = world.rng.within(10, 80);
    world.work_on(more);
}

fn one(world: &mut World) {
    let all: u32 = HARMS.iter().map(|harm| harm.1).sum();
    let mut drawn = u32::try_from(world.rng.within(0, i64::from(all))).expect("a small number");
    for harm in HARMS {
        if drawn < harm.1 {
            let _ = perform(world, harm);
            return;
        }
        drawn -= harm.1;
    }
}

/// Does a harm and tells it. Says whether there was anything to be done to.
fn perform(world: &mut World, (name, _, deed): &Harm) -> bool {
    println!("    {name}");
    let done = deed(world);
    if done {
        *world.done.entry(*name).or_default() += 1;
    }
    done
}
