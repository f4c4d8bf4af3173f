//! What is done to the server. Each harm leaves it up and able to work: what it took away it gives
//! back, so that what has stopped afterwards has stopped for good.

mod clock;
mod people;
mod processes;
mod resources;

use crate::world::World;

/// Name, how likely beside the others, and the deed. A deed that finds nothing to be done to says so.
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
    ("disk full", 3, resources::disk_full),
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

/// Does one harm, chosen at random, and tells it.
pub(crate) fn one(world: &mut World) {
    let all: u32 = HARMS.iter().map(|harm| harm.1).sum();
    let mut drawn = u32::try_from(world.rng.within(0, i64::from(all))).expect("a small number");
    for (name, weight, deed) in HARMS {
        if drawn < *weight {
            println!("    {name}");
            if deed(world) {
                *world.done.entry(name).or_default() += 1;
            }
            return;
        }
        drawn -= weight;
    }
}
