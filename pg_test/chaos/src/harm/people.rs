//! People at work: on jobs, and on what jobs need.

use crate::population;
use crate::world::World;
use postgres::Client;
use serde_json::json;

/// Changes something as superuser; what is refused is refused.
fn attempt(world: &World, statement: &str) -> bool {
    match world.cluster.try_sql(statement) {
        Ok(()) => true,
        Err(refused) => {
            println!("      refused: {}", pg_tock_test::explain(&refused).replace('\n', "; "));
            false
        }
    }
}

pub(super) fn drop_role(world: &mut World) -> bool {
    let dropped = attempt(world, "drop owned by victim; drop role victim");
    world.work_on(30);
    population::raise_victims(world);
    dropped
}

pub(super) fn drop_database(world: &mut World) -> bool {
    let dropped = attempt(world, "drop database victim with (force)");
    world.work_on(30);
    population::raise_victims(world);
    dropped
}

/// A maintenance script holds a job, and lets it go or dies.
pub(super) fn hold(world: &mut World) -> bool {
    let job = world.any_job();
    let mut script: Client = world.cluster.client();
    script.batch_execute("set statement_timeout = '20s'").expect("a setting");
    let held = script.execute("select cron.hold($1)", &[&job]).is_ok();
    world.work_on(40);
    if world.rng.within(0, 2) == 0 {
        // It may have died with the server.
        drop(script.execute("select cron.release($1)", &[&job]));
    }
    held
}

pub(super) fn pause(world: &mut World) -> bool {
    let job = world.any_job();
    let paused = attempt(world, &format!("select cron.pause('{job}')"));
    world.work_on(40);
    attempt(world, &format!("select cron.resume('{job}')")) && paused
}

pub(super) fn change(world: &mut World) -> bool {
    let job = world.any_job();
    let options = [
        json!({ "schedule": "2 seconds" }),
        json!({ "schedule": "every 3 seconds", "on_missed": "all", "missed_window": "1 minute" }),
        json!({ "jitter": "900 milliseconds" }),
        json!({ "on_missed": "once" }),
        json!({ "timezone": "Europe/Berlin" }),
        json!({ "timezone": null, "jitter": null }),
        json!({ "schedule": "seconds: */3 * * * * *" }),
    ];
    let options = world.rng.of(&options).expect("some");
    attempt(world, &format!("select cron.set_job('{job}', '{options}')"))
}

pub(super) fn switch(world: &mut World) -> bool {
    let job = world.any_job();
    let off =
        attempt(world, &format!("update cron.job set active = false where jobname = '{job}'"));
    world.work_on(20);
    attempt(world, &format!("update cron.job set active = true where jobname = '{job}'")) && off
}

pub(super) fn replace(world: &mut World) -> bool {
    if world.fresh > 5 {
        let gone = world.rng.within(1, i64::from(world.fresh));
        attempt(
            world,
            &format!("select cron.unschedule(jobid) from cron.job where jobname = 'quick {gone}'"),
        );
    }
    population::another(world);
    true
}

pub(super) fn backfill(world: &mut World) -> bool {
    let job = world.any_job();
    attempt(world, &format!("select cron.backfill('{job}', now() - interval '1 minute', now())"))
}

pub(super) fn run_now(world: &mut World) -> bool {
    let job = world.any_job();
    let force = world.rng.within(0, 2) == 0;
    attempt(
        world,
        &format!("select cron.run_now('{job}', force => {force}) from generate_series(1, 5)"),
    )
}

pub(super) fn cancel_run(world: &mut World) -> bool {
    attempt(world, "select cron.cancel_run(runid, 'chaos') from cron.running limit 5")
}

/// Of what failed lately, as somebody does who has mended the cause.
pub(super) fn retry_runs(world: &mut World) -> bool {
    attempt(
        world,
        "select cron.retry_run(runid) from (select distinct on (jobid) runid from cron.dead_letters \
          order by jobid, runid desc) d limit 10",
    )
}

pub(super) fn change_queue(world: &mut World) -> bool {
    let most = world.rng.within(1, 4);
    attempt(world, &format!("select cron.create_queue('narrow', {most}, shared => true)"))
}

pub(super) fn reload(world: &mut World) -> bool {
    let seconds = world.rng.within(2, 60);
    world.cluster.conf("cron.executor_idle_timeout", &format!("{seconds}s"));
    world.cluster.reload();
    true
}
