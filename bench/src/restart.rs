//! How soon the first run starts after a server with many jobs and a long history is started.

use crate::report::{PG_TOCK, Report, median};
use crate::{history, server};
use pg_tock_test::{Cluster, poll_until};
use std::time::Duration;

const JOBS: i64 = 100_000;
const STARTS: usize = 3;

/// Rows of history; `BENCH_RESTART_ROWS` overrides.
fn rows() -> i64 {
    std::env::var("BENCH_RESTART_ROWS").map_or(10_000_000, |rows| rows.parse().expect("a number"))
}

pub(crate) fn measure(report: &mut Report) {
    let cluster = server::pg_tock();
    // The history is gigabytes already.
    cluster.conf("max_wal_size", "1GB");
    cluster.reload();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    // Each minute some of them, spread over the day; and one that is always due.
    cluster.sql(&format!(
        "insert into cron.job (schedule, command, nodename, nodeport, database, username, jobname) \
         select n % 60 || ' ' || n % 24 || ' * * *', 'select 1', '{}', {}, 'postgres', 'postgres', 'daily ' || n \
         from generate_series(1, {JOBS}) n",
        cluster.dir().display(),
        cluster.port()
    ));
    cluster.schedule("tick", "1 second", "select 1");
    poll_until("all jobs are known", Duration::from_secs(300), || {
        cluster.one::<bool>("select count(*) > 100000 from cron.job_state").then_some(())
    });
    history::fill(&cluster, JOBS, rows(), "100 days");
    for (how, crash) in [("a stop", false), ("a crash", true)] {
        let times = (0..STARTS).map(|_| first_run(&cluster, crash)).collect();
        report.add(
            &format!("first run after {how}, 100,000 jobs, {} million rows", rows() / 1_000_000),
            "s",
            PG_TOCK,
            median(times),
        );
    }
}

/// Seconds from the start of the postmaster to the start of the first run.
fn first_run(cluster: &Cluster, crash: bool) -> f64 {
    cluster.flush();
    if crash {
        cluster.stop_immediately();
    } else {
        let _ = cluster.stop();
    }
    cluster.boot();
    poll_until("a first run", Duration::from_secs(300), || {
        cluster.one::<Option<f64>>(
            "select extract(epoch from min(start_time) - pg_postmaster_start_time())::float8 \
             from cron.job_run_details where runid > (select max(runid) - 100000 from cron.job_run_details) \
             and start_time > pg_postmaster_start_time()",
        )
    })
}
