//! How late one user's one-second job starts, with the server to itself and while somebody without
//! special rights tries everything. `BENCH_HOSTILE_SECONDS` says for how long (30).

use crate::report::{PG_TOCK, Report};
use crate::server;
use pg_tock_test::{Cluster, MALLORY, under_attack};
use std::time::Duration;

pub(crate) fn measure(report: &mut Report) {
    let seconds: u64 = std::env::var("BENCH_HOSTILE_SECONDS")
        .map_or(30, |seconds| seconds.parse().expect("a number of seconds"));
    let cluster = server::pg_tock();
    cluster.conf(
        "log_min_messages",
        &std::env::var("BENCH_LOG").unwrap_or_else(|_| "fatal".to_owned()),
    );
    cluster.conf("log_min_error_statement", "panic");
    cluster.reload();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    cluster.role(MALLORY);
    cluster.role("ann");
    let job = cluster.schedule_as("ann", "tick", "1 second", "select 1");
    let _ = cluster.finished_runs(job, 10);
    figures(report, &cluster, job, "with the server to itself");
    cluster.sql("create table before as select max(scheduled_for) at from cron.job_run_details");
    under_attack(&cluster, Duration::from_secs(seconds));
    figures(report, &cluster, job, "while another user tries everything");
    let lost = cluster.found_by_audit_of(job).len();
    println!("    occurrences of it that were lost: {lost}");
}

fn figures(report: &mut Report, cluster: &Cluster, job: i64, when: &str) {
    let since = if cluster.one::<bool>("select to_regclass('before') is null") {
        "'-infinity'"
    } else {
        "(select at from before)"
    };
    let row = &cluster.rows(
        &format!(
            "select count(*), percentile_cont(array[0.5, 0.99, 1.0]) within group (order by lag)::float8[] \
             from (select extract(epoch from start_time - scheduled_for) * 1000 lag \
                   from cron.job_run_details where jobid = $1 and scheduled_for > {since}) r"
        ),
        &[&job],
    )[0];
    let (runs, lags): (i64, Vec<f64>) = (row.get(0), row.get(1));
    println!("    {runs} runs {when}");
    for (which, lag) in ["p50", "p99", "max"].into_iter().zip(lags) {
        report.add(&format!("start lag {when}: {which}"), "ms", PG_TOCK, lag);
    }
}
