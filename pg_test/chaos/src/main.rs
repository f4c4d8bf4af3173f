//! `make chaos`: hundreds of jobs of every kind, while everything around them is killed, dropped,
//! filled up and set back, in an order that a seed repeats. Afterwards the books have to balance.
//!
//! `DURATION` says how long (`90s`, `30m`, `2h`; one minute by default), `SEED` which order. First each
//! harm of a list is done once, however long that takes, then what chance says.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program: a broken expectation is a failed test, and has to say so at once"
)]

mod check;
mod harm;
mod kinds;
mod population;
mod rng;
mod web;
mod world;

use pg_tock_test::utc;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use world::World;

fn main() {
    let duration = duration(&std::env::var("DURATION").unwrap_or_else(|_| "1m".to_owned()));
    let seed = std::env::var("SEED").ok().filter(|seed| !seed.is_empty()).map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() % 1_000_000,
        |seed| seed.parse().expect("SEED is a number"),
    );
    let small = std::env::var_os("PG_TOCK_SMALL_DIR").map(PathBuf::from);
    println!("chaos for {duration:?}, SEED={seed}");
    let mut world = World::new(seed, small, utc(2026, 6, 1, 12, 2, 0));
    let jobs = population::settle(&mut world);
    world.cluster.wait_known();
    println!("    {jobs} jobs");
    let started = Instant::now();
    harm::each(&mut world);
    println!("    each harm that has to be: {:.0} s", started.elapsed().as_secs_f64());
    while started.elapsed() < duration {
        harm::some(&mut world);
    }
    check::all_run_on(&world);
    world.look_at_memory();
    check::quiet(&world);
    let (runs, effects): (i64, i64) = (
        world.cluster.one("select count(*) from cron.job_run_details"),
        world.cluster.one("select count(*) from effect"),
    );
    println!("    {runs} runs, {effects} effects");
    for (name, count) in &world.done {
        println!("    {count:>4} × {name}");
    }
    for line in check::failures(&world) {
        println!("    {line}");
    }
    let mut verdicts = check::Verdicts::default();
    check::judge(&world, &mut verdicts);
    assert!(verdicts.failed == 0, "{} checks failed with SEED={seed}", verdicts.failed);
}

/// A number of seconds, or of another unit that it names.
fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let count: u64 = digits.parse().expect("DURATION is a number such as 90, 90s, 30m or 2h");
    let unit = match &text[digits.len()..] {
        "m" => 60,
        "h" => 3600,
        _ => 1,
    };
    Duration::from_secs(count * unit)
}
