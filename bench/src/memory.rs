//! Memory of the scheduler and of its executors over a million runs: what grows with the number of runs
//! would show.

use crate::process::anonymous_megabytes;
use crate::report::{PG_TOCK, Report};
use crate::server;
use pg_tock_test::{Cluster, poll_until};
use std::time::Duration;

/// Each due every second: fewer than can be run, so that nothing queues up.
const JOBS: i64 = 10_000;
const WARM_UP: i64 = 100_000;
const RUNS: i64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(400);

pub(crate) fn measure(report: &mut Report) {
    let cluster = server::pg_tock();
    server::add_jobs(&cluster, JOBS, "1 second", "select 1");
    for (runs, when) in [(WARM_UP, "100,000 runs"), (WARM_UP + RUNS, "a million more")] {
        poll_until("the runs are made", PATIENCE, || {
            cluster
                .one::<bool>(&format!("select last_value > {runs} from cron.runid_seq"))
                .then_some(())
        });
        let scheduler = largest(&cluster, "pg_tock scheduler");
        report.add(&format!("memory of the scheduler after {when}"), "MB", PG_TOCK, scheduler);
        let executor = largest(&cluster, "pg_tock executor");
        report.add(
            &format!("memory of the largest executor after {when}"),
            "MB",
            PG_TOCK,
            executor,
        );
    }
    let failed: i64 =
        cluster.one("select count(*) from cron.job_run_details where status = 'failed'");
    report.add("runs of these that failed", "runs", PG_TOCK, failed as f64);
}

/// Of all processes of that kind that are still there when looked at.
fn largest(cluster: &Cluster, kind: &str) -> f64 {
    cluster.pids_of(kind).into_iter().map(anonymous_megabytes).fold(0.0, f64::max)
}
