//! A thousand jobs due at the same instant: how soon the last has started, how many a second are done,
//! and what each costs. Full minutes are the only schedule that pg_cron 1.4 knows; pg_tock gets the same
//! jobs every ten seconds.

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::Cluster;

const JOBS: i64 = 1000;

pub(crate) fn pg_tock(report: &mut Report) {
    let cluster = server::pg_tock();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    let rhythm = Rhythm { schedule: "seconds: */10 * * * * *", seconds: 10, rounds: 5 };
    measure(report, &cluster, PG_TOCK, &rhythm);
}

pub(crate) fn pg_cron(report: &mut Report) {
    if std::env::var_os("PG_TOCK_BENCH_ALONE").is_some() {
        println!("    skipped: there is no pg_cron here");
        return;
    }
    let rhythm = Rhythm { schedule: "* * * * *", seconds: 60, rounds: 3 };
    for (workers, mode) in [(true, "workers"), (false, "connections")] {
        let cluster = server::pg_cron(workers);
        let version: String =
            cluster.one("select extversion from pg_extension where extname = 'pg_cron'");
        measure(report, &cluster, &format!("pg_cron {version} {mode}"), &rhythm);
    }
}

/// When all jobs are due, and how often that is looked at.
struct Rhythm {
    schedule: &'static str,
    seconds: u32,
    rounds: usize,
}

/// What a thousand runs due at one instant came to.
struct Round {
    done: i64,
    last_start: f64,
    last_end: f64,
    xids: f64,
    wal: f64,
}

/// The server's counters: transaction ids given out, and bytes of WAL.
fn counters(cluster: &Cluster) -> (i64, i64) {
    let row = &cluster.rows(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint, \
         (pg_current_wal_insert_lsn() - '0/0')::bigint",
        &[],
    )[0];
    (row.get(0), row.get(1))
}

/// Waits for the next instant and then until its jobs are done, but not until the one after it.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn next_round(cluster: &Cluster, rhythm: &Rhythm) -> Round {
    let seconds = rhythm.seconds;
    let instant: String = cluster.one(&format!(
        "select to_timestamp((floor(extract(epoch from clock_timestamp()) / {seconds}) + 1) * {seconds})::text"
    ));
    cluster.sql(&format!("select pg_sleep_until(timestamptz '{instant}' - interval '0.3 s')"));
    let before = counters(cluster);
    let figures = format!(
        "select count(*), coalesce(max(extract(epoch from start_time - '{instant}')), 0)::float8, \
         coalesce(max(extract(epoch from end_time - '{instant}')), 0)::float8 \
         from cron.job_run_details where status = 'succeeded' and start_time >= '{instant}'"
    );
    loop {
        cluster.sql("select pg_sleep(0.5)");
        let row = &cluster.rows(&figures, &[])[0];
        let over: bool = cluster.one(&format!(
            "select clock_timestamp() > timestamptz '{instant}' + interval '0.9 s' * {seconds}"
        ));
        let done: i64 = row.get(0);
        if done >= JOBS || over {
            let after = counters(cluster);
            let (last_start, last_end) = (row.get(1), row.get(2));
            let (xids, wal) = ((after.0 - before.0) as f64, (after.1 - before.1) as f64);
            return Round { done, last_start, last_end, xids, wal };
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn measure(report: &mut Report, cluster: &Cluster, whose: &str, rhythm: &Rhythm) {
    server::add_jobs(cluster, JOBS, rhythm.schedule, "select 1");
    let rounds: Vec<Round> = (0..rhythm.rounds).map(|_| next_round(cluster, rhythm)).collect();
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    report.add("1,000 due at one instant: done", "runs", whose, of(|r| r.done as f64));
    let rate = of(|r| r.done as f64 / r.last_end);
    report.add("1,000 due at one instant: done per second", "1/s", whose, rate);
    let last = of(|r| r.last_start * 1000.0);
    report.add("1,000 due at one instant: last one started after", "ms", whose, last);
    report.add(
        "transactions that write, for a select 1 that does not",
        "per run",
        whose,
        of(|r| r.xids / r.done.max(1) as f64),
    );
    let wal = of(|r| r.wal / r.done.max(1) as f64);
    report.add("WAL, 1,000 due at one instant, with all that follows", "bytes per run", whose, wal);
}
