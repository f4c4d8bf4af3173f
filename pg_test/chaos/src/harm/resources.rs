//! What runs out, and what somebody else has got.

use crate::world::World;
use pg_tock_test::stays_true;
use postgres::NoTls;
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

/// How long such a thing lasts.
fn a_while(world: &mut World) -> Duration {
    Duration::from_millis(u64::try_from(world.rng.within(200, 2500)).expect("a positive number"))
}

/// Lets it last; the server has to stay up meanwhile.
fn lasts(world: &mut World) {
    let span = a_while(world);
    stays_true("the server answers", span, || world.cluster.one::<i32>("select 1") == 1);
}

/// All connections are taken but that of the scenario itself.
pub(super) fn connections(world: &mut World) -> bool {
    let config = world.cluster.config("postgres", "postgres");
    let mut taken = Vec::new();
    while let Ok(client) = config.connect(NoTls) {
        taken.push(client);
    }
    // The last one goes to the scenario, should it need a new one.
    taken.pop();
    lasts(world);
    !taken.is_empty()
}

/// Parallel queries take the slots of background workers.
pub(super) fn worker_slots(world: &mut World) -> bool {
    let mut greedy = Vec::new();
    for _ in 0..2 {
        let mut client = world.cluster.client();
        greedy.push(std::thread::spawn(move || {
            // Ends with the server at the latest; how is nobody's business.
            drop(client.batch_execute(
                "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; \
                 set min_parallel_table_scan_size = 0; set max_parallel_workers_per_gather = 16; \
                 create temp table nothing (n int); \
                 create unlogged table if not exists greedy (n int) with (parallel_workers = 16); \
                 insert into greedy select 1 from generate_series(1, 2000); \
                 set statement_timeout = '3s'; \
                 select count(*) from greedy where pg_sleep(0.01) is null",
            ));
        }));
    }
    lasts(world);
    greedy.into_iter().for_each(|thread| drop(thread.join()));
    world.cluster.sql("drop table if exists greedy");
    true
}

/// The file system with the ledger is full for a while.
pub(super) fn disk_full(world: &mut World) -> bool {
    let Some(path) = world.small.as_ref().map(|small| small.join("filler")) else { return false };
    let mut file = File::create(&path).expect("a file on the small file system");
    for size in [1 << 20, 1 << 12, 1] {
        let block = vec![0_u8; size];
        while file.write_all(&block).is_ok() {}
    }
    lasts(world);
    fs::remove_file(&path).expect("the filler goes");
    true
}

fn locked(world: &mut World, table: &str) -> bool {
    let mut locker = world.cluster.client();
    let lock =
        format!("begin; set lock_timeout = '5s'; lock table {table} in access exclusive mode");
    // Runs that write it can be in the way for longer.
    let got = locker.batch_execute(&lock).is_ok();
    lasts(world);
    drop(locker);
    got
}

pub(super) fn lock_ledger(world: &mut World) -> bool {
    locked(world, "cron.job_run_details")
}

pub(super) fn lock_jobs(world: &mut World) -> bool {
    locked(world, "cron.job")
}
