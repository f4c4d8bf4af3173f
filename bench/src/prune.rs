//! What deleting old history costs the runs beside it: start lag of jobs that are due each second,
//! before and while millions of rows are deleted. `BENCH_PRUNE_ROWS` says how many rows there are
//! (10,000,000), `BENCH_PRUNE_SECONDS` for how long the deleting is looked at (180, or until it is over).
//!
//! `BENCH_PRUNE_SLOW_DISK=1` looks at both with a disk that does one thing at a time: a page in 2 ms, an
//! fsync in 20 ms, whether the kernel has it in its cache or not.

use crate::report::{PG_TOCK, Report};
use crate::{history, server};
use pg_tock_test::Cluster;
use std::time::{Duration, Instant};

const JOBS: i64 = 1_000;
/// Due at each second.
const DUE: i64 = 20;
/// Seconds looked at before, after as many in which executors start.
const BEFORE: u64 = 60;
const WARM_UP: u64 = 5;

fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

pub(crate) fn measure(report: &mut Report) {
    let rows = number("BENCH_PRUNE_ROWS", 10_000_000);
    let most = Duration::from_secs(number("BENCH_PRUNE_SECONDS", 180).unsigned_abs());
    let slow = std::env::var_os("BENCH_PRUNE_SLOW_DISK").is_some();
    let cluster = if slow { server::pg_tock_on_slow_disk() } else { server::pg_tock() };
    cluster.conf("max_wal_size", "1GB");
    cluster.reload();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    server::add_jobs(&cluster, JOBS - DUE, "0 0 1 1 *", "select 1");
    server::add_jobs(&cluster, DUE, "seconds: * * * * * *", "select 1");
    history::fill(&cluster, JOBS, rows, "100 days");
    let count = "select count(*) from cron.job_run_details where runid < 0";
    let before: i64 = cluster.one(count);
    if slow {
        cluster.make_disk_slow(true);
    }
    wait(WARM_UP);
    let quiet: String = cluster.one("select clock_timestamp()::text");
    wait(BEFORE);
    let began: String = cluster.one("select clock_timestamp()::text");
    let wal: String = cluster.one("select pg_current_wal_lsn()::text");
    cluster.sql("select cron.prune()");
    let since = Instant::now();
    let over = format!("select exists (select from cron.keeper_state where pruned_at > '{began}')");
    while since.elapsed() < most && !cluster.one::<bool>(&over) {
        wait(1);
    }
    let (took, until) =
        (since.elapsed().as_secs_f64(), cluster.one::<String>("select clock_timestamp()::text"));
    if slow {
        cluster.make_disk_slow(false);
    }
    #[allow(clippy::cast_precision_loss, reason = "millions")]
    let pruned = (before - cluster.one::<i64>(count)) as f64;
    println!("    {pruned} of {rows} rows deleted in {took:.0} s");
    let disk = if slow { ", slow disk" } else { "" };
    report.add(&format!("rows of history deleted per second{disk}"), "1/s", PG_TOCK, pruned / took);
    let bytes: f64 =
        cluster.one_with("select (pg_current_wal_lsn() - $1::text::pg_lsn)::float8", &[&wal]);
    report.add("WAL, rows of history deleted", "bytes per row", PG_TOCK, bytes / pruned.max(1.0));
    lag(report, &cluster, &format!("before{disk}"), &quiet, &began);
    lag(report, &cluster, &format!("while rows are deleted{disk}"), &began, &until);
}

fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

fn lag(report: &mut Report, cluster: &Cluster, when: &str, from: &str, until: &str) {
    let lags: Vec<f64> = cluster.one(&format!(
        "select percentile_cont(array[0.5, 0.99, 1.0]) within group \
          (order by extract(epoch from start_time - scheduled_for) * 1000)::float8[] \
         from cron.job_run_details \
         where runid > 0 and scheduled_for > '{from}' and scheduled_for < '{until}'"
    ));
    for (which, lag) in ["p50", "p99", "max"].into_iter().zip(lags) {
        report.add(
            &format!("start lag, {DUE} due each second, {when}: {which}"),
            "ms",
            PG_TOCK,
            lag,
        );
    }
}
