//! Clocks that are set. Steps of less than five minutes count as slowness, others as missed time.

use super::processes;
use crate::world::World;

/// Sets the clock forward by that much. Says whether the server sees it.
fn set_forward(world: &World, seconds: i64) -> bool {
    let before = world.cluster.now();
    world.cluster.step_clock(seconds);
    world.cluster.now() >= before + seconds
}

/// Sets the clock back by that much, and notes what time comes again. Says whether the server sees it.
fn set_back(world: &mut World, seconds: i64) -> bool {
    // The postmaster goes by this clock when it starts a worker again that has ended, and would do without
    // a launcher until the time at which that ended has come again.
    processes::wait_launcher(world);
    let now = world.cluster.now();
    // What the clock says afterwards is later than this by as long as it takes.
    world.repeated.push((now - seconds - 1, now + 60));
    world.cluster.step_clock(-seconds);
    world.cluster.now() < now
}

pub(super) fn forward_a_little(world: &mut World) -> bool {
    let seconds = world.rng.within(1, 100);
    set_forward(world, seconds)
}

pub(super) fn forward(world: &mut World) -> bool {
    let seconds = world.rng.within(310, 1500);
    set_forward(world, seconds)
}

pub(super) fn back_a_little(world: &mut World) -> bool {
    // It is waited out, so it is short.
    let seconds = world.rng.within(1, 4);
    set_back(world, seconds)
}

pub(super) fn back(world: &mut World) -> bool {
    let seconds = world.rng.within(310, 1500);
    set_back(world, seconds)
}

pub(super) fn while_down(world: &mut World) -> bool {
    if world.rng.within(0, 2) == 0 {
        world.cluster.stop();
    } else {
        world.cluster.stop_immediately();
    }
    let seconds = world.rng.within(1, 900);
    world.cluster.step_clock(seconds);
    world.boot();
    true
}
