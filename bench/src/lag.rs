//! Start lag: from the instant a run was due to the moment it began, on a server that has nothing else
//! to do, with 1, 100 and 1,000 jobs due at the same instant.

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::Cluster;

/// How many instants are looked at, by the number of jobs due at each. A single job gives one
/// figure per second, so it is given longer.
const ROUNDS: [(i64, i64); 3] = [(1, 40), (100, 15), (1000, 15)];

/// Instants at first that are not looked at: executors are being started.
const WARM_UP: i64 = 4;

pub(crate) fn measure(report: &mut Report) {
    let cluster = server::pg_tock();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    for (jobs, seconds) in ROUNDS {
        cluster.sql("delete from cron.job");
        cluster.sql("truncate cron.job_run_details");
        server::add_jobs(&cluster, jobs, "seconds: * * * * * *", "select 1");
        cluster.sql(&format!("select pg_sleep({})", WARM_UP + seconds));
        look(report, &cluster, jobs);
    }
}

/// Percentiles over all instants but the first and the last, which may be incomplete.
fn look(report: &mut Report, cluster: &Cluster, jobs: i64) {
    // a single job has one run per instant: then all instants are one group
    let group = if jobs == 1 { "()" } else { "second" };
    let rows = cluster.rows(
        &format!(
            "select percentile_cont(0.5) within group (order by lag)::float8, \
               percentile_cont(0.99) within group (order by lag)::float8, max(lag)::float8 \
             from (select date_trunc('second', scheduled_for) as second, \
                     (extract(epoch from start_time - scheduled_for) * 1000)::float8 as lag \
                   from cron.job_run_details where status = 'succeeded') runs \
             where second > (select min(start_time) from cron.job_run_details) \
                            + interval '{WARM_UP} s' \
             group by {group} having count(*) >= {jobs} * 9 / 10"
        ),
        &[],
    );
    let of = |column: usize| median(rows.iter().map(|row| row.get(column)).collect());
    let due = match jobs {
        1 => "1 due".to_owned(),
        1000 => "1,000 due at one instant".to_owned(),
        jobs => format!("{jobs} due at one instant"),
    };
    report.add(&format!("{due}: start lag p50"), "ms", PG_TOCK, of(0));
    report.add(&format!("{due}: start lag p99"), "ms", PG_TOCK, of(1));
    if jobs > 1 {
        report.add(&format!("{due}, every second: last one started after"), "ms", PG_TOCK, of(2));
    }
}
