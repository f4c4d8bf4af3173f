//! How long `cron.job_stats` takes with 10,000 jobs and a long history, by the server's own count: without
//! sending rows to anybody. `BENCH_JOB_STATS_ROWS` says how long the history is.

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::Cluster;

const EXECUTIONS: usize = 15;

/// What is read, and how that is called.
const READINGS: [(&str, &str); 11] = [
    ("all columns of all", "SELECT * FROM cron.job_stats"),
    ("all columns of one", "SELECT * FROM cron.job_stats WHERE jobid = 5"),
    ("all columns of one, by name", "SELECT * FROM cron.job_stats WHERE jobname = 'job 4711'"),
    (
        "all columns of the 20 that fail most",
        "SELECT * FROM cron.job_stats ORDER BY failed_runs DESC LIMIT 20",
    ),
    (
        "statistics of all",
        "SELECT jobid, jobname, total_runs, successful_runs, failed_runs, success_rate, avg_duration_ms, \
           max_duration_ms, p50_duration_ms, p95_duration_ms, p99_duration_ms, p50_start_lag_ms, p95_start_lag_ms, \
           p99_start_lag_ms, last_run_at, last_status, last_error, wal_bytes, rows FROM cron.job_stats",
    ),
    (
        "counts of all",
        "SELECT jobname, total_runs, failed_runs, last_status, last_run_at FROM cron.job_stats",
    ),
    // What a machine takes for that, to compare the others with.
    (
        "jobs and statistics joined, and nothing else",
        "SELECT j.jobname, s.total_runs FROM cron.job j LEFT JOIN cron.job_stat s ON s.jobid = j.jobid",
    ),
    ("next runs of all", "SELECT jobid, next_run_at FROM cron.job_stats"),
    ("the same from cron.jobs", "SELECT jobid, next_run_at FROM cron.jobs"),
    ("90 days of hours of one", "SELECT * FROM cron.job_stats_hourly WHERE jobid = 5"),
    ("3 years of days of one", "SELECT * FROM cron.job_stats_daily WHERE jobid = 5"),
];

pub(crate) fn measure(report: &mut Report) {
    let rows: i64 = std::env::var("BENCH_JOB_STATS_ROWS")
        .map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
    let cluster = server::pg_tock();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    // The jobs stay as they are: the scheduler looks elsewhere from here on.
    cluster.conf("cron.database_name", "template1");
    cluster.conf("max_wal_size", "1GB");
    cluster.restart();
    cluster.sql(include_str!("job_stats.sql"));
    fill(&cluster, rows);
    cluster.sql("vacuum analyze");
    let distinct = "select count(distinct (schedule, timezone)) from cron.job";
    println!(
        "    {} jobs with {} distinct pairs of schedule and time zone, {} rows of history",
        cluster.one::<i64>("select count(*) from cron.job"),
        cluster.one::<i64>(distinct),
        cluster.one::<i64>("select count(*) from cron.job_run_details")
    );
    for (what, query) in READINGS {
        let (plan, first, execution) = times(&cluster, query);
        let mut add = |when: &str, ms| report.add(&format!("{what}: {when}"), "ms", PG_TOCK, ms);
        add("execution", execution);
        add("planning", plan);
        add("first execution of a session", first);
    }
}

/// Runs long over, of all jobs in turn.
fn fill(cluster: &Cluster, rows: i64) {
    const PIECE: usize = 1_000_000;
    cluster.sql("alter table cron.job_run_details disable trigger all");
    for first in (0..rows).step_by(PIECE) {
        cluster.sql(&format!(
            "insert into cron.job_run_details (jobid, runid, job_pid, database, username, command, status, \
               return_message, start_time, end_time, jobname, scheduled_for, attempt, trigger, outcome, guarantee, row_count) \
             select 1 + n % 10000, n - {rows}, 1, 'postgres', 'postgres', 'select 1', 'succeeded', '1 row', at, at, \
               'job ' || 1 + n % 10000, at, 1, 'schedule', 'succeeded', 'exactly_once', 1 \
             from generate_series({first}, {} - 1) n, \
               lateral (select now() - interval '1 day' - ({rows} - n) * interval '1 second' AS at) t",
            (first + 1_000_000).min(rows)
        ));
    }
    cluster.sql("alter table cron.job_run_details enable trigger all");
}

/// Milliseconds of planning, of a session's first execution, and of the ones after it: the medians.
fn times(cluster: &Cluster, query: &str) -> (f64, f64, f64) {
    let explain = &format!("EXPLAIN (ANALYZE, TIMING OFF) {query}");
    let session = || {
        let mut client = cluster.client();
        let mut once = move || {
            let lines = client.query(explain, &[]).expect("EXPLAIN succeeds");
            let lines: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
            (figure(&lines, "Planning Time: "), figure(&lines, "Execution Time: "))
        };
        let (_, first) = once();
        (first, once)
    };
    let firsts = median((0..EXECUTIONS).map(|_| session().0).collect());
    let (_, mut once) = session();
    let all: Vec<(f64, f64)> = (0..EXECUTIONS).map(|_| once()).collect();
    let of = |which: fn(&(f64, f64)) -> f64| median(all.iter().map(which).collect());
    (of(|times| times.0), firsts, of(|times| times.1))
}

/// The number of milliseconds in a line of EXPLAIN.
fn figure(lines: &[String], name: &str) -> f64 {
    let line = lines.iter().find_map(|line| line.trim().strip_prefix(name)).expect("such a line");
    line.trim_end_matches(" ms").parse().expect("a number")
}
