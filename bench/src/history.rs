//! A long history, as if the jobs had been running for months.

use pg_tock_test::Cluster;

/// Rows written at a time: so many that it is fast, and so few that memory and WAL stay small.
const PIECE: usize = 1_000_000;

/// Rows of runs long counted, as many for each job, spread over the time up to now, with ids below
/// those of this server. One in a hundred failed.
pub(crate) fn fill(cluster: &Cluster, jobs: i64, rows: i64, age: &str) {
    cluster.sql("alter table cron.job_run_details disable trigger all");
    for first in (0..rows).step_by(PIECE) {
        cluster.sql(&format!(
            "insert into cron.job_run_details (jobid, runid, job_pid, database, username, command, status, \
               return_message, start_time, end_time, jobname, scheduled_for, attempt, trigger, outcome, guarantee, row_count) \
             select 1 + n % {jobs}, n - {rows}, 1, 'postgres', 'postgres', 'select 1', outcome, '1 row', at, at, \
               'daily ' || 1 + n % {jobs}, at, 1, 'schedule', outcome, 'exactly_once', 1 \
             from generate_series({first}, {} - 1) n, \
               lateral (select now() - ({rows} - n) * (interval '{age}' / {rows}::float8) as at, \
                 case n / {jobs} % 100 when 0 then 'failed' else 'succeeded' end as outcome) t",
            (first + 1_000_000).min(rows)
        ));
    }
    cluster.sql("alter table cron.job_run_details enable trigger all");
    cluster.sql("alter table cron.job_run_details enable always trigger cron_ledger_changed");
    cluster.sql("vacuum analyze cron.job_run_details");
    cluster.sql("checkpoint");
}
