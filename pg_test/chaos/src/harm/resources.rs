//! What runs out, and what somebody else has got.

use crate::world::World;
use pg_tock_test::{PATIENCE, poll_until, stays_true};
use postgres::NoTls;
use postgres::error::SqlState;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

/// How long a disk may be full without anybody noticing: rows find room where others were deleted.
const UNNOTICED: Duration = Duration::from_secs(5);

/// How long such a thing lasts.
fn a_while(world: &mut World) -> Duration {
    Duration::from_millis(u64::try_from(world.rng.within(200, 2500)).expect("a positive number"))
}

/// Lets it last; the server has to stay up meanwhile. Says whether `felt`, an SQL condition, was seen
/// to be true.
fn lasts(world: &mut World, felt: &str) -> bool {
    let span = a_while(world);
    let (look, mut seen) = (format!("select {felt}"), false);
    stays_true("the server answers", span, || {
        seen |= world.cluster.one::<bool>(&look);
        true
    });
    seen
}

/// Nobody can have another background worker.
const NO_SLOT_LEFT: &str = "(select count(*) >= current_setting('max_worker_processes')::int \
     from pg_stat_activity where backend_type ~ '^pg_tock|^parallel worker|^logical replication')";

/// All connections are taken but that of the scenario itself.
pub(super) fn connections(world: &mut World) -> bool {
    let config = world.cluster.config("postgres", "postgres");
    let mut taken = Vec::new();
    let refused = loop {
        match config.connect(NoTls) {
            Ok(client) => taken.push(client),
            Err(refused) => break refused,
        }
    };
    // The last one goes to the scenario, should it need a new one.
    taken.pop();
    lasts(world, "true") && refused.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
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
                 create table if not exists greedy (n int) with (parallel_workers = 16); \
                 insert into greedy select 1 from generate_series(1, 2000); \
                 set statement_timeout = '3s'; \
                 select count(*) from greedy where pg_sleep(0.01) is null",
            ));
        }));
    }
    let out = lasts(world, NO_SLOT_LEFT);
    greedy.into_iter().for_each(|thread| drop(thread.join()));
    world.cluster.sql("drop table if exists greedy");
    out
}

/// The file system with the ledger is full for a while, and until somebody has noticed.
pub(super) fn disk_full(world: &mut World) -> bool {
    let Some(path) = world.small.as_ref().map(|small| small.join("filler")) else { return false };
    let heard = world.cluster.log().len();
    let mut file = File::create(&path).expect("a file on the small file system");
    let mut full = false;
    for size in [1 << 20, 1 << 12, 1] {
        let block = vec![0_u8; size];
        full = loop {
            if let Err(error) = file.write_all(&block) {
                break error.kind() == ErrorKind::StorageFull;
            }
        };
    }
    let _ = lasts(world, "true");
    let (cluster, since) = (&world.cluster, Instant::now());
    let felt = poll_until("the full disk is felt", PATIENCE, || {
        let log = cluster.log();
        let felt = log.get(heard..).is_some_and(|log| log.contains("No space left on device"));
        (felt || since.elapsed() > UNNOTICED).then_some(felt)
    });
    fs::remove_file(&path).expect("the filler goes");
    full && felt
}

fn locked(world: &mut World, table: &str) -> bool {
    let mut locker = world.cluster.client();
    let lock =
        format!("begin; set lock_timeout = '5s'; lock table {table} in access exclusive mode");
    // Runs that write it can be in the way for longer.
    let got = locker.batch_execute(&lock).is_ok();
    let _ = lasts(world, "true");
    drop(locker);
    got
}

pub(super) fn lock_ledger(world: &mut World) -> bool {
    let got = locked(world, "cron.job_run_details");
    // Runs in other databases have begun without their claims, as documented: a crash before those are
    // written would leave effects that nobody knows of.
    world.cluster.flush();
    got
}

pub(super) fn lock_jobs(world: &mut World) -> bool {
    locked(world, "cron.job")
}
