//! All jobs are read again, some at a time, while they change.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, anonymous_memory, poll_until};

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

#[test]
fn long_commands_of_a_role_have_their_room_in_the_scheduler_and_no_more() {
    let cluster = Cluster::builder().conf("cron.max_job_size", "16MB").start();
    // Little on disk: 13 MB each, of which five fit.
    let schedule = |role: &str, count: i32| {
        cluster.role(role);
        cluster.client_as(role).execute(
            "select count(cron.schedule($1 || n, '0 0 29 2 *', '-- ' || repeat('x', 13000000) || e'\\nselect 1')) \
             from generate_series(1, $2) n",
            &[&role, &count],
        ).unwrap();
    };
    schedule("ann", 60);
    schedule("bob", 1);
    cluster.wait_for("(select count(*) = 61 from cron.job_state)");
    let kept = "select count(*) from cron.job_state where not no_room";
    assert_eq!(cluster.one::<i64>(kept), 6);
    // Each hears it of his own.
    let diagnosed = |role: &str, job: &str| -> Vec<String> {
        let query = "select finding from cron.diagnose($1::text)";
        cluster
            .client_as(role)
            .query(query, &[&job])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    assert_eq!(diagnosed("ann", "ann6"), ["no room"]);
    assert_eq!(diagnosed("ann", "ann5"), ["nothing wrong"]);
    assert_eq!(diagnosed("bob", "bob1"), ["nothing wrong"]);
    let ask = |jobs: &str| {
        cluster
            .sql(&format!("select cron.run_now(jobid) from cron.job where jobname ~ '^({jobs})$'"));
    };
    let ran = |names: &str| {
        cluster.wait_for(&format!(
            "(select coalesce(string_agg(distinct jobname, ' ' order by jobname), '') from cron.job_run_details \
              where status = 'succeeded' and length(command) > 13000000) = '{names}'"
        ));
    };
    ask("ann(1|5|6|60)|bob1");
    ran("ann1 ann5 bob1");
    cluster.flush();
    ran("ann1 ann5 bob1");
    assert!(cluster.log().contains("its role's jobs have long commands"));
    let memory = anonymous_memory(cluster.wait_scheduler()).unwrap();
    assert!(memory < 400_000_000, "{memory} bytes, where all would take up 800,000,000");
    // The next scheduler gives the room to others, and what becomes free is taken.
    cluster.terminate(cluster.wait_scheduler());
    let _ = cluster.wait_scheduler();
    cluster.flush();
    cluster.sql("select cron.unschedule(jobid) from cron.job where username = 'ann' and jobname not in ('ann6', 'ann60')");
    ran("ann1 ann5 ann6 ann60 bob1");
    cluster.wait_for("(select count(*) = 3 from cron.job_state where not no_room)");
    assert_eq!(diagnosed("ann", "ann6"), ["nothing wrong"]);
}
