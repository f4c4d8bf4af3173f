//! Runs that ask for another one, and what ends such a chain.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until};

/// Begins a chain of runs that goes on until something ends it, and waits until it is under way.
fn begin_chain(cluster: &Cluster, job: i64) {
    let runs: i64 =
        cluster.one_with("select count(*) from cron.job_run_details where jobid = $1", &[&job]);
    // A session may hear of a changed setting a moment later.
    poll_until("a run by hand", Duration::from_secs(60), || {
        cluster.try_sql(&format!("select cron.run_now({job}::bigint)")).ok()
    });
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details where jobid = {job}) > {runs} + 3"
    ));
}

/// No run of the job has begun for a second, and none is under way.
fn wait_for_its_end(cluster: &Cluster, job: i64) {
    cluster.wait_for(&format!(
        "not exists (select from cron.running where jobid = {job}) \
         and not exists (select from cron.job_run_details where jobid = {job} \
          and start_time > clock_timestamp() - interval '1 second')"
    ));
}

#[test]
fn a_run_that_asks_is_followed_at_once_until_it_does_not_ask() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create table todo (n int); insert into todo select generate_series(1, 5); grant select, delete on todo to ann");
    let job = cluster.schedule_as(
        "ann",
        "batches",
        "1 second",
        "delete from public.todo where n = (select min(n) from public.todo); \
         select case when exists (select from public.todo) then cron.run_again() end",
    );
    cluster.wait_for("not exists (select from todo)");
    cluster.unschedule(job);
    cluster.wait_quiet();
    let runs = cluster.finished_runs_of(job);
    let followers = runs.iter().filter(|run| run.trigger == "manual").count();
    assert!((1..=4).contains(&followers), "{runs:#?}");
    let unique: bool = cluster.one_with(
        "select count(*) = count(distinct scheduled_for) from cron.job_run_details where jobid = $1",
        &[&job],
    );
    assert!(unique);
    // A failure is not followed.
    let run = cluster
        .run_once_as("ann", "select cron.run_again(); select 1 / 0")
        .must_have_failed_with("22012");
    cluster.wait_quiet();
    assert!(cluster.runs_of(run.jobid).iter().all(|run| run.trigger == "schedule"));
}

#[test]
fn a_chain_of_runs_ends_when_its_job_may_not_run() {
    let cluster = Cluster::start();
    cluster.sql("select cron.create_calendar('never')");
    let job = cluster.create_job(&serde_json::json!({
        "job_name": "chain", "schedule": "0 0 29 2 *", "command": "select cron.run_again()",
    }));
    let window = "to_char((now() + interval '6 hours') at time zone 'UTC', 'HH24:MI') || '-' || \
                  to_char((now() + interval '7 hours') at time zone 'UTC', 'HH24:MI')";
    let set = |options: &str| format!("select cron.set_job('chain', {options})");
    let off = |setting: &str| format!("alter system {setting}");
    let controls = [
        ("select cron.pause('chain')".to_owned(), "select cron.resume('chain')".to_owned()),
        (
            "select cron.pause('chain', now() + interval '1 day')".to_owned(),
            "select cron.resume('chain')".to_owned(),
        ),
        (set(r#"'{"active": false}'"#), set(r#"'{"active": true}'"#)),
        (
            off("set cron.launch_active_jobs = off; select pg_reload_conf()"),
            off("reset cron.launch_active_jobs; select pg_reload_conf()"),
        ),
        (
            set(&format!("jsonb_build_object('timezone', 'UTC', 'run_window', {window})")),
            set(r#"'{"run_window": null}'"#),
        ),
        (set(r#"'{"only_on": ["never"]}'"#), set(r#"'{"only_on": null}'"#)),
    ];
    for (close, open) in controls {
        begin_chain(&cluster, job);
        for statement in close.split("; ") {
            cluster.sql(statement);
        }
        wait_for_its_end(&cluster, job);
        // It is over, and not put off.
        for statement in open.split("; ") {
            cluster.sql(statement);
        }
        cluster.flush();
        wait_for_its_end(&cluster, job);
    }
    let failed: Vec<String> = cluster.column(
        "select return_message from cron.job_run_details where status <> 'succeeded' \
         and outcome <> 'cancelled'",
    );
    assert_eq!(failed, [""; 0]);
}

#[test]
fn cancelling_a_run_of_a_chain_ends_the_chain() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    let job = cluster.schedule_as(
        "ann",
        "chain",
        "0 0 29 2 *",
        "select cron.run_again(); select pg_advisory_xact_lock_shared(7)",
    );
    cluster.sql(&format!("select cron.run_now({job}::bigint)"));
    cluster.wait_for(&format!("exists (select from cron.running where jobid = {job})"));
    drop(gate);
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details where jobid = {job} and status = 'succeeded') > 3"
    ));
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    poll_until("the run that waits is cancelled", Duration::from_secs(60), || {
        let mut ann = cluster.client_as("ann");
        // The run seen may have ended by now, and then another one follows.
        let _ = ann.batch_execute(&format!(
            "select cron.cancel_run(runid) from cron.running where jobid = {job}"
        ));
        cluster
            .one::<bool>(&format!(
                "select exists (select from cron.job_run_details \
                  where jobid = {job} and outcome = 'cancelled')"
            ))
            .then_some(())
    });
    drop(gate);
    wait_for_its_end(&cluster, job);
}
