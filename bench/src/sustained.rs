//! How many runs a second are executed and recorded when there is always one due.

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::{Cluster, poll_until};
use std::time::Duration;

const WINDOWS: usize = 5;
const WINDOW_SECONDS: f64 = 4.0;

/// How many jobs, each due every second, keep the scheduler busy: more than can be done.
pub(crate) fn jobs(variable: &str, default: i64) -> i64 {
    std::env::var(variable).map_or(default, |count| count.parse().expect("a number of jobs"))
}

/// Jobs of the measurement of `select 1`; `BENCH_SELECT_JOBS` overrides.
pub(crate) fn select_jobs() -> i64 {
    jobs("BENCH_SELECT_JOBS", 100_000)
}

/// Jobs of the measurement of the one-row insert; `BENCH_INSERT_JOBS` overrides.
pub(crate) fn insert_jobs() -> i64 {
    jobs("BENCH_INSERT_JOBS", 40_000)
}

/// The server's counters at one instant.
struct Instant {
    clock: String,
    xids: i64,
    wal: i64,
}

fn look(cluster: &Cluster) -> Instant {
    let row = &cluster.rows(
        "select clock_timestamp()::text, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, \
         (pg_current_wal_insert_lsn() - '0/0')::bigint",
        &[],
    )[0];
    Instant { clock: row.get(0), xids: row.get(1), wal: row.get(2) }
}

/// Succeeded runs that ended between two looks.
fn recorded(cluster: &Cluster, from: &Instant, to: &Instant) -> i64 {
    cluster.one(&format!(
        "select count(*) from cron.job_run_details \
         where status = 'succeeded' and end_time >= '{}' and end_time < '{}'",
        from.clock, to.clock
    ))
}

pub(crate) fn measure(report: &mut Report, name: &str, command: &str, jobs: i64) {
    let cluster = server::pg_tock();
    cluster.sql("create table sink (n int)");
    server::add_jobs(&cluster, jobs, "1 second", command);
    measure_jobs(report, &format!("runs of {name}"), &cluster, jobs);
}

/// Measures the jobs of a cluster, each due every second.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn measure_jobs(report: &mut Report, name: &str, cluster: &Cluster, jobs: i64) {
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    poll_until("the jobs are under way", Duration::from_secs(60), || {
        cluster.one::<bool>("select count(*) >= 20000 from cron.job_run_details").then_some(())
    });
    let mut looks = vec![look(cluster)];
    for _ in 0..WINDOWS {
        cluster.sql(&format!("select pg_sleep({WINDOW_SECONDS})"));
        looks.push(look(cluster));
    }
    let (mut rates, mut commits, mut wal) = (Vec::new(), Vec::new(), Vec::new());
    for pair in looks.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        let runs = recorded(cluster, from, to) as f64;
        let seconds: f64 = cluster.one(&format!(
            "select extract(epoch from timestamptz '{}' - timestamptz '{}')::float8",
            to.clock, from.clock
        ));
        rates.push(runs / seconds);
        commits.push((to.xids - from.xids) as f64 / runs);
        wal.push((to.wal - from.wal) as f64 / runs);
    }
    let rate = median(rates);
    report.add(&format!("recorded {name}"), "1/s", PG_TOCK, rate);
    if rate > 0.95 * jobs as f64 {
        println!("    (that is all {jobs} jobs asked for: give it more jobs)");
    }
    // The run's row is part of the job's own transaction, so one transaction a run is none beyond it.
    let beyond = median(commits) - 1.0;
    let short = name.trim_start_matches("runs of ");
    report.add(&format!("commits beyond the job's own, {short}"), "per run", PG_TOCK, beyond);
    report.add(&format!("WAL, {short}"), "bytes per run", PG_TOCK, median(wal));
}
