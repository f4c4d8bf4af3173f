//! Processes that end before their time.

use crate::world::World;
use pg_tock_test::{PATIENCE, poll_until};
use std::time::{Duration, Instant};

const EXECUTOR: &str = "backend_type = 'pg_tock executor'";
const BUSY: &str = "backend_type = 'pg_tock executor' and state = 'active'";
const SCHEDULER: &str = "backend_type = 'pg_tock scheduler'";
const LAUNCHER: &str = "backend_type = 'pg_tock launcher'";

/// SIGKILL to one of them, which the postmaster answers by restarting everything.
fn kill_one(world: &mut World, of: &str) -> bool {
    let pids = world.pids(of);
    let Some(pid) = world.rng.of(&pids) else { return false };
    let killed = world.cluster.crash_by_killing_if_alive(pid);
    world.cluster.wait_scheduler();
    killed
}

/// How long to wait for an executor that is busy: most runs are over in no time.
const BUSY_SOON: Duration = Duration::from_secs(10);

pub(super) fn kill_busy_executor(world: &mut World) -> bool {
    let since = Instant::now();
    poll_until("a busy executor killed", PATIENCE, || {
        let killed = kill_one(world, BUSY);
        (killed || since.elapsed() > BUSY_SOON).then_some(killed)
    })
}

pub(super) fn kill_executor(world: &mut World) -> bool {
    kill_one(world, EXECUTOR)
}

pub(super) fn kill_scheduler(world: &mut World) -> bool {
    kill_one(world, SCHEDULER)
}

pub(super) fn kill_launcher(world: &mut World) -> bool {
    kill_one(world, LAUNCHER)
}

pub(super) fn kill_any(world: &mut World) -> bool {
    kill_one(world, "backend_type in ('checkpointer', 'walwriter', 'background writer')")
}

/// The scheduler is killed, and the next one as soon as it is there.
pub(super) fn kill_twice(world: &mut World) -> bool {
    kill_one(world, SCHEDULER) && kill_one(world, SCHEDULER)
}

pub(super) fn stop_immediately(world: &mut World) -> bool {
    world.cluster.stop_immediately();
    world.boot();
    true
}

pub(super) fn kill_postmaster(world: &mut World) -> bool {
    world.cluster.kill_postmaster();
    world.boot();
    true
}

pub(super) fn stop(world: &mut World) -> bool {
    world.cluster.stop();
    world.boot();
    true
}

/// Calls a function with the process id of each of them.
fn tell(world: &World, function: &str, of: &str) -> bool {
    let told: Vec<bool> =
        world.cluster.column(&format!("select {function}(pid) from pg_stat_activity where {of}"));
    told.contains(&true)
}

pub(super) fn terminate_executors(world: &mut World) -> bool {
    tell(world, "pg_terminate_backend", EXECUTOR)
}

pub(super) fn terminate_scheduler(world: &mut World) -> bool {
    tell(world, "pg_terminate_backend", SCHEDULER)
}

pub(super) fn terminate_all(world: &mut World) -> bool {
    tell(world, "pg_terminate_backend", &format!("{SCHEDULER} or {EXECUTOR}"))
}

pub(super) fn terminate_launcher(world: &mut World) -> bool {
    tell(world, "pg_terminate_backend", LAUNCHER)
}

/// Waits until there is a launcher.
pub(super) fn wait_launcher(world: &World) {
    world.cluster.wait_for(&format!("exists (select from pg_stat_activity where {LAUNCHER})"));
}

pub(super) fn cancel_runs(world: &mut World) -> bool {
    tell(world, "pg_cancel_backend", BUSY)
}
