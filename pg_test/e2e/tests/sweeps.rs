//! All jobs are read again, some at a time, while they change.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until};

const PATIENCE: Duration = Duration::from_secs(45);

/// Jobs that never run by themselves, with ids of one's own.
fn insert(cluster: &Cluster, ids: &str) {
    cluster.sql(&format!(
        "insert into cron.job (jobid, schedule, command, jobname, nodeport) \
         select n, '0 0 29 2 *', 'select 1', 'n' || n, 5432 from {ids} n"
    ));
}

#[test]
fn jobs_that_come_go_and_change_while_all_are_read_are_as_they_were_left() {
    let cluster = Cluster::start();
    insert(&cluster, "generate_series(2, 20000, 2)");
    cluster.wait_known();
    cluster.sql("create role somebody");
    for round in 1..=10_i64 {
        // Everything is read again, and meanwhile: some go, some come between them, some change.
        cluster.sql(&format!("alter role somebody set work_mem = '{round}MB'"));
        cluster.sql(&format!("delete from cron.job where jobid % 200 = {}", round * 2));
        insert(&cluster, &format!("generate_series({}, 20000, 2000)", 2 * round - 1));
        cluster.sql(&format!(
            "update cron.job set command = 'select 7' where jobid % 2000 = {}",
            2 * round + 20
        ));
    }
    cluster.wait_known();
    let jobs: Vec<i64> = cluster.column(
        "select jobid from cron.job where jobid % 2 = 1 or command = 'select 7' or jobid % 1000 = 0",
    );
    assert!(jobs.len() > 100, "{}", jobs.len());
    let asked: Vec<i64> = cluster.column(
        "select cron.run_now(jobid) from cron.job \
         where jobid % 2 = 1 or command = 'select 7' or jobid % 1000 = 0",
    );
    poll_until("all that were asked for", PATIENCE, || {
        let done: i64 = cluster.one(
            "select count(*) from cron.job_run_details r join cron.job j using (jobid) \
             where r.status = 'succeeded' and r.command = j.command",
        );
        (done == i64::try_from(asked.len()).unwrap()).then_some(())
    });
    // Nobody runs what is not there any more.
    cluster.sql("select cron.flush()");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.run_request"), 0);
}
