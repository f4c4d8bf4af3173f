//! A million runs through one server, and what its processes have allocated meanwhile.
//!
//! Fewer runs fall due than can be done, so nothing queues up, and executors stay for the whole time:
//! what grows is a leak.

use crate::report::{PG_TOCK, Report};
use crate::server;
use pg_tock_test::{Cluster, anonymous_memory, poll_until};
use std::time::Duration;

/// When memory is looked at, in hundredths of all runs.
const MARKS: [i64; 5] = [0, 10, 25, 50, 100];

fn setting(variable: &str, default: i64) -> i64 {
    std::env::var(variable).map_or(default, |count| count.parse().expect("a number"))
}

/// Largest of their kind, in kB.
fn largest(cluster: &Cluster, backend_type: &str) -> f64 {
    let of_all = cluster.pids_of(backend_type).into_iter().filter_map(anonymous_memory);
    of_all.max().map_or(0.0, |bytes| f64::from(u32::try_from(bytes / 1024).expect("kilobytes")))
}

pub(crate) fn measure(report: &mut Report) {
    let runs = setting("BENCH_SOAK_RUNS", 1_000_000);
    let jobs = setting("BENCH_SOAK_JOBS", 3000);
    let cluster = server::pg_tock();
    cluster.conf("cron.executor_idle_timeout", "3600s");
    cluster.conf("cron.executor_max_age", "86400s");
    cluster.reload();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    cluster.sql("create table sink (n int)");
    for (share, command) in
        [(5, "select 1"), (4, "insert into sink values (1)"), (1, "select 1 / 0")]
    {
        server::add_jobs(&cluster, jobs * share / 10, "1 second", command);
    }
    let recorded = || -> i64 {
        cluster.one("select total::bigint from (select sum(total_runs) total from cron.job_stat) s where total > 0 \
                     union all select 0 limit 1")
    };
    poll_until("the jobs are under way", Duration::from_secs(120), || {
        (recorded() >= jobs).then_some(())
    });
    let scheduler = cluster.pid_of("pg_tock scheduler");
    let from = recorded();
    for mark in MARKS {
        let wanted = from + runs / 100 * mark;
        let done = poll_until("more runs", Duration::from_secs(3600), || {
            Some(recorded()).filter(|done| *done >= wanted)
        }) - from;
        assert_eq!(cluster.pid_of("pg_tock scheduler"), scheduler, "the same scheduler all along");
        let oldest: i64 = cluster
            .one("select count(*) from pg_stat_activity where backend_type = 'pg_tock executor'");
        println!("    after {done} runs, {oldest} executors:");
        let at = format!("memory after {} of {runs} runs", runs / 100 * mark);
        report.add(
            &format!("{at}: scheduler"),
            "kB",
            PG_TOCK,
            largest(&cluster, "pg_tock scheduler"),
        );
        report.add(
            &format!("{at}: largest executor"),
            "kB",
            PG_TOCK,
            largest(&cluster, "pg_tock executor"),
        );
    }
}
