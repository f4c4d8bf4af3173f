//! More requests than are read at a time.
#![allow(clippy::unwrap_used, reason = "a helper whose expectation is broken fails the scenario")]

use std::thread::{JoinHandle, spawn};

use pg_tock_test::Cluster;

/// A cluster with ann's job `past`.
fn cluster(command: &str) -> (Cluster, i64) {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create role boss superuser login");
    cluster.sql("create table trace (who text); create table gate (n int)");
    cluster.sql("insert into gate values (1); grant all on trace, gate to public");
    let create = "select cron.create_job('past', '0 0 * * *', $1)";
    let job = cluster.client_as("ann").query_one(create, &[&command]).unwrap().get(0);
    (cluster, job)
}

/// Has so many runs of it asked for, and waits until the scheduler knows of them.
fn flood(cluster: &Cluster) -> i64 {
    let backfill = "select count(*) from cron.backfill('past', '2020-01-01', '2022-12-31')";
    let asked: i64 = cluster.client_as("ann").query_one(backfill, &[]).unwrap().get(0);
    assert!(asked > 1_000, "{asked}");
    cluster.wait_for(&format!("(select waiting + running >= {asked} from cron.health)"));
    asked
}

/// Asks for one run more and waits for it: its id.
fn one_more(cluster: &Cluster) -> JoinHandle<i64> {
    let mut ann = cluster.client_as("ann");
    spawn(move || {
        let row = ann.query_one("select cron.run_now('past', wait => true)", &[]).unwrap();
        row.get(0)
    })
}

#[test]
fn a_flood_ends_where_it_is_when_its_job_becomes_another_roles() {
    let (cluster, job) = cluster("insert into trace values (current_user)");
    cluster.sql(&format!("select cron.pause({job})"));
    let asked = flood(&cluster);
    cluster.sql(&format!("select cron.alter_job({job}, username => 'boss')"));
    cluster.sql(&format!("select cron.resume({job})"));
    cluster.wait_for("not exists (select from cron.run_request)");
    let ended = cluster.column::<String>(
        "select format('%s: %s', reason, count(*)) from cron.job_run_details group by reason",
    );
    assert_eq!(ended, [format!("role or database changed: {asked}")]);
    assert_eq!(cluster.one::<i64>("select count(*) from trace"), 0);
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn who_asks_behind_a_flood_is_told_of_the_end_of_that_run() {
    let (cluster, job) = cluster("update gate set n = n + 1");
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    let asked = flood(&cluster);
    let waiter = one_more(&cluster);
    cluster.wait_for(&format!("(select count(*) = {asked} + 1 from cron.run_request)"));
    // All is read again meanwhile.
    for limit in 0..20 {
        cluster.sql(&format!("alter role boss connection limit {limit}"));
    }
    cluster.sql(&format!("select cron.set_job({job}, '{{\"tags\": [\"old\"]}}')"));
    assert!(!waiter.is_finished());
    gate.batch_execute("commit").unwrap();
    let run = waiter.join().unwrap();
    let status: String =
        cluster.one_with("select status from cron.job_run_details where runid = $1", &[&run]);
    assert_eq!(status, "succeeded");
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!(i64::from(cluster.one::<i32>("select n from gate")), asked + 2);
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}

#[test]
fn a_flood_ends_when_its_job_is_switched_off_and_none_of_it_runs_when_it_is_on_again() {
    let (cluster, job) = cluster("update gate set n = n + 1");
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    let asked = flood(&cluster);
    let switch = |on| cluster.sql(&format!("select cron.set_job({job}, '{{\"active\": {on}}}')"));
    switch(false);
    cluster.wait_for("exists (select from cron.job_run_details where outcome = 'cancelled')");
    // On again while much of what waited has not been ended yet.
    switch(true);
    let waiter = one_more(&cluster);
    cluster.wait_for(&format!(
        "(select count(*) = {asked} from cron.job_run_details where outcome = 'cancelled')"
    ));
    gate.batch_execute("commit").unwrap();
    let run = waiter.join().unwrap();
    cluster.wait_for("not exists (select from cron.run_request)");
    let ended = cluster.column::<String>(&format!(
        "select format('%s: %s', outcome, count(*)) from cron.job_run_details where runid <> {run} group by outcome"
    ));
    assert_eq!(ended, [format!("cancelled: {asked}")]);
    let outcome: String =
        cluster.one_with("select outcome from cron.job_run_details where runid = $1", &[&run]);
    assert_eq!(outcome, "succeeded", "of what was asked for afterwards");
    assert_eq!(cluster.one::<i32>("select n from gate"), 2);
    assert_eq!(cluster.found_by_audit(), Vec::<String>::new());
}
