//! A thousand jobs due at the same full minute: how soon the last has started, and how many a second
//! are done. Full minutes are the only thing that pg_cron 1.4 knows.

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::Cluster;

const JOBS: i64 = 1000;
const MINUTES: usize = 3;

pub(crate) fn pg_tock(report: &mut Report) {
    let cluster = server::pg_tock();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    measure(report, &cluster, PG_TOCK);
}

pub(crate) fn pg_cron(report: &mut Report) {
    if std::env::var_os("PG_TOCK_BENCH_ALONE").is_some() {
        println!("    skipped: there is no pg_cron here");
        return;
    }
    for (workers, mode) in [(true, "workers"), (false, "connections")] {
        let cluster = server::pg_cron(workers);
        let version: String =
            cluster.one("select extversion from pg_extension where extname = 'pg_cron'");
        measure(report, &cluster, &format!("pg_cron {version} {mode}"));
    }
}

/// What one minute's thousand runs came to.
struct Minute {
    done: i64,
    last_start: f64,
    last_end: f64,
    xids: f64,
}

/// Waits for the next full minute and then until its jobs are done, but not beyond the minute.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn next_minute(cluster: &Cluster) -> Minute {
    let minute: String =
        cluster.one("select (date_trunc('minute', clock_timestamp()) + interval '1 minute')::text");
    cluster.sql(&format!("select pg_sleep_until('{minute}')"));
    let xids =
        || cluster.one::<i64>("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint");
    let before = xids();
    let figures = format!(
        "select count(*), coalesce(max(extract(epoch from start_time - '{minute}')), 0)::float8, \
         coalesce(max(extract(epoch from end_time - '{minute}')), 0)::float8 \
         from cron.job_run_details where status = 'succeeded' and start_time >= '{minute}'"
    );
    loop {
        cluster.sql("select pg_sleep(0.5)");
        let row = &cluster.rows(&figures, &[])[0];
        let minute_over: bool = cluster
            .one(&format!("select clock_timestamp() > timestamptz '{minute}' + interval '55 s'"));
        let done: i64 = row.get(0);
        if done >= JOBS || minute_over {
            let (last_start, last_end) = (row.get(1), row.get(2));
            return Minute { done, last_start, last_end, xids: (xids() - before) as f64 };
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn measure(report: &mut Report, cluster: &Cluster, whose: &str) {
    cluster.sql("create table sink (n int)");
    server::add_jobs(cluster, JOBS, "* * * * *", "select 1");
    let minutes: Vec<Minute> = (0..MINUTES).map(|_| next_minute(cluster)).collect();
    let of = |figure: fn(&Minute) -> f64| median(minutes.iter().map(figure).collect());
    report.add("1,000 due in one minute: done", "runs", whose, of(|m| m.done as f64));
    report.add(
        "1,000 due in one minute: done per second",
        "1/s",
        whose,
        of(|m| m.done as f64 / m.last_end),
    );
    report.add(
        "1,000 due in one minute: last one started after",
        "ms",
        whose,
        of(|m| m.last_start * 1000.0),
    );

    // A job that writes has one commit of its own, whoever runs it.
    cluster.sql("update cron.job set command = 'insert into sink values (1)'");
    let minute = next_minute(cluster);
    let beyond = minute.xids / minute.done.max(1) as f64 - 1.0;
    report.add("commits beyond the job's own, one-row insert", "per run", whose, beyond);
}
