//! Limits that jobs share: queues, a role's limit, the server's; and who goes first within them.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::{Cluster, poll_until};
use postgres::Client;
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// Jobs that are due at one instant, some seconds from now, and wait at the gate.
fn crowd(cluster: &Cluster, count: i64, role: &str, options: &str) {
    let mut client = cluster.client_as(role);
    client
        .execute(
            &format!(
                "select cron.create_job(jsonb_build_object('job_name', '{role} ' || n, \
                  'schedule', 'at ' || to_char((now() + '6 seconds') at time zone 'UTC', \
                   'YYYY-MM-DD HH24:MI:SS'), 'timezone', 'UTC', \
                  'command', 'select pg_advisory_xact_lock_shared(7), pg_sleep(0.002)') || '{options}') \
                 from generate_series(1, $1::bigint) n"
            ),
            &[&count],
        )
        .unwrap();
}

fn wait_all(cluster: &Cluster, count: i64) {
    poll_until("all runs", PATIENCE, || {
        let done: i64 =
            cluster.one("select count(*) from cron.job_run_details where status = 'succeeded'");
        (done == count).then_some(())
    });
}

/// The most runs that were under way at one time, among those for which the condition holds.
fn most_at_once(cluster: &Cluster, which: &str) -> i64 {
    cluster.one(&format!(
        "select max(sum) from (select sum(step) over (order by at, step)::bigint from ( \
           select start_time, 1 from cron.job_run_details where {which} union all \
           select end_time, -1 from cron.job_run_details where {which}) moves (at, step)) sums"
    ))
}

/// The gate that `crowd` and others wait at: closed until it is dropped.
fn gate(cluster: &Cluster) -> Client {
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    gate
}

fn wait_running(cluster: &Cluster, count: i64, which: &str) {
    cluster.wait_for(&format!("(select count(*) from cron.running where {which}) = {count}"));
}

/// Each run starts no sooner than the queue lets it: the first at once, each further one that many
/// seconds later. How far apart two of them are says nothing: a run notes itself when it starts, which may
/// be late on a busy machine.
fn starts_are_apart(cluster: &Cluster, seconds: f64, which: &str) {
    let wrong: Vec<String> = cluster.column(&format!(
        "select format('start %s: %s after it was due', n, lag) \
         from (select row_number() over (order by start_time) - 1 n, \
                 start_time - min(scheduled_for) over () lag \
               from cron.job_run_details where {which}) starts \
         where lag < n * interval '{seconds} seconds'"
    ));
    assert!(wrong.is_empty(), "starts {seconds} s apart: {wrong:#?}");
}

#[test]
fn a_thousand_due_at_once_reach_the_limits_and_never_exceed_them() {
    let cluster = Cluster::builder()
        .conf("cron.max_running_jobs", "6")
        .conf("cron.max_running_jobs_per_role", "4")
        .max_worker_processes(20)
        .start();
    cluster.role("ann");
    cluster.role("bob");
    cluster.sql("select cron.create_queue('narrow', 3, shared => true)");
    let closed = gate(&cluster);
    crowd(&cluster, 500, "ann", r#"{"queue": "narrow"}"#);
    crowd(&cluster, 500, "bob", "{}");
    wait_running(&cluster, 6, "true");
    drop(closed);
    wait_all(&cluster, 1_000);
    // Each of them alone gets as far as its own limit.
    for (role, limit) in [("ann", 3), ("bob", 4)] {
        let closed = gate(&cluster);
        let before: i64 = cluster.one("select count(*) from cron.job_run_details");
        // Their only occurrence is over, and they are switched off; limits hold by force, too.
        cluster.sql(&format!(
            "select cron.run_now('{role} ' || n, force => true) from generate_series(1, 8) n"
        ));
        wait_running(&cluster, limit, &format!("username = '{role}'"));
        drop(closed);
        wait_all(&cluster, before + 8);
    }
    assert_eq!(most_at_once(&cluster, "username = 'ann'"), 3);
    assert_eq!(most_at_once(&cluster, "username = 'bob'"), 4);
    assert_eq!(most_at_once(&cluster, "true"), 6);
}

#[test]
fn a_role_at_its_limit_does_not_keep_the_place_of_a_shared_queue() {
    let cluster = Cluster::builder().conf("cron.max_running_jobs_per_role", "1").start();
    cluster.role("ann");
    cluster.role("bob");
    cluster.sql("select cron.create_queue('common', 1, shared => true)");
    let closed = gate(&cluster);
    let run = |name: &str, role: &str, options: serde_json::Value, command: &str| {
        let mut document = json!({
            "job_name": name, "username": role, "schedule": "0 0 29 2 *", "command": command,
        });
        document.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        cluster.create_job(&document);
        cluster.sql(&format!("select cron.run_now('{name}')"));
    };
    run("long", "ann", json!({}), "select pg_advisory_xact_lock_shared(7)");
    wait_running(&cluster, 1, "jobname = 'long'");
    run("hers", "ann", json!({"queue": "common", "priority": 100}), "select 1");
    run("his", "bob", json!({"queue": "common"}), "select 1");
    let succeeded = |name: &str| {
        format!(
            "exists (select from cron.job_run_details where jobname = '{name}' and status = 'succeeded')"
        )
    };
    cluster.wait_for(&succeeded("his"));
    assert!(!cluster.one::<bool>(&format!("select {}", succeeded("hers"))));
    drop(closed);
    cluster.wait_for(&succeeded("hers"));
}

#[test]
fn starts_are_spread_as_the_queue_says() {
    let cluster = Cluster::start();
    // There is an executor when they are due.
    let _ = cluster.run_once("select 1").must_have_succeeded();
    cluster.sql("select cron.create_queue('slow', max_start_rate => 2)");
    crowd(&cluster, 6, "postgres", r#"{"queue": "slow"}"#);
    let crowd = "jobname like 'postgres %'";
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details where {crowd} and status = 'succeeded') = 6"
    ));
    starts_are_apart(&cluster, 0.5, crowd);
}

#[test]
fn a_changed_queue_takes_effect_at_once() {
    let cluster = Cluster::builder().max_worker_processes(16).start();
    cluster.sql("select cron.create_queue('gate', 1)");
    let closed = gate(&cluster);
    for n in 1..=3 {
        cluster.create_job(&json!({
            "job_name": format!("waits {n}"), "schedule": "1 second", "queue": "gate",
            "command": "select pg_advisory_xact_lock_shared(7)",
        }));
    }
    wait_running(&cluster, 1, "true");
    cluster.sql("select cron.create_queue('gate', 2)");
    wait_running(&cluster, 2, "true");
    cluster.sql("select cron.create_queue('gate')");
    wait_running(&cluster, 3, "true");
    drop(closed);
}

/// Five runs by hand of jobs of a queue that is made in the same script, at a time when the scheduler
/// has just heard of others.
fn run_in_a_new_queue(cluster: &Cluster, name: &str, limits: &str) {
    for other in 1..=3 {
        cluster.sql(&format!("select cron.create_queue('before {name} {other}')"));
    }
    cluster.sql(&format!("select cron.create_queue('{name}', {limits})"));
    for n in 1..=5 {
        cluster.create_job(&json!({
            "job_name": format!("{name} {n}"), "schedule": "0 0 29 2 *", "queue": name,
            "command": "select pg_sleep(0.3)",
        }));
    }
    cluster.sql(&format!("select cron.run_now('{name} ' || n) from generate_series(1, 5) n"));
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details \
          where jobname like '{name} %' and status = 'succeeded') = 5"
    ));
}

#[test]
fn a_new_queue_limits_the_first_runs_of_its_jobs() {
    let cluster = Cluster::builder().max_worker_processes(16).start();
    for round in 1..=3 {
        run_in_a_new_queue(&cluster, &format!("one {round}"), "max_running => 1");
        assert_eq!(most_at_once(&cluster, &format!("jobname like 'one {round} %'")), 1);
        run_in_a_new_queue(&cluster, &format!("slow {round}"), "max_start_rate => 2");
        starts_are_apart(&cluster, 0.5, &format!("jobname like 'slow {round} %'"));
    }
}

#[test]
fn a_lower_limit_holds_once_the_scheduler_has_heard_of_it() {
    let cluster = Cluster::builder().max_worker_processes(16).start();
    cluster.sql("select cron.create_queue('limit', 5)");
    cluster.sql("select cron.schedule('barrier', '0 0 29 2 *', 'select 1')");
    for n in 1..=5 {
        cluster.create_job(&json!({
            "job_name": format!("limited {n}"), "schedule": "1 second", "queue": "limit",
            "command": "select pg_sleep(0.7)",
        }));
    }
    cluster.sql("select cron.run_now('barrier', wait => true)");
    for round in 1..=3 {
        cluster.sql("select cron.create_queue('limit', 5)");
        cluster.wait_for("(select count(*) from cron.running where jobname like 'limited %') > 1");
        cluster.sql(&format!("select cron.create_queue('other {round}')"));
        cluster.sql("select cron.create_queue('limit', 1)");
        cluster.sql("select cron.run_now('barrier', wait => true)");
        let heard: String = cluster.one("select clock_timestamp()::text");
        let since = format!("jobname like 'limited %' and start_time > '{heard}'");
        cluster.wait_for(&format!(
            "(select count(*) from cron.job_run_details where {since} and status = 'succeeded') >= 3"
        ));
        assert_eq!(most_at_once(&cluster, &format!("{since} and end_time is not null")), 1);
    }
}

#[test]
fn those_with_a_higher_priority_go_first() {
    let cluster = Cluster::builder().conf("cron.max_running_jobs", "1").start();
    let closed = gate(&cluster);
    let blocker = cluster.schedule("blocker", "1 second", "select pg_advisory_xact_lock(7)");
    let _ = cluster.executor_of(blocker);
    for (name, priority) in [("low", -5), ("middle", 0), ("high", 5)] {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "0 0 29 2 *", "command": "select 1", "priority": priority,
        }));
        cluster.sql(&format!("select cron.run_now('{name}')"));
    }
    cluster.wait_known();
    cluster.unschedule(blocker);
    drop(closed);
    // The blocker may be told to stop, or get through the gate first.
    cluster.wait_for(
        "(select count(*) from cron.job_run_details \
          where trigger = 'manual' and status = 'succeeded') = 3",
    );
    let order: Vec<String> = cluster.column(
        "select jobname from cron.job_run_details where trigger = 'manual' order by start_time",
    );
    assert_eq!(order, ["high", "middle", "low"]);
}

#[test]
fn runs_without_end_of_one_role_leave_a_place_to_another() {
    let cluster =
        Cluster::builder().conf("cron.max_running_jobs", "8").max_worker_processes(30).start();
    cluster.role("ann");
    cluster.role("bob");
    let seldom = cluster.schedule_as("bob", "seldom", "@yearly", "select 1");
    let ask = |role: &str, what: &str| cluster.client_as(role).batch_execute(what).unwrap();
    ask(
        "ann",
        "select cron.schedule('endless ' || n, '1 second', 'select pg_sleep(3600)') from generate_series(1, 20) n",
    );
    cluster.wait_for("(select count(*) from cron.running) = 7");
    let said: Option<String> = poll_until("the reason why the others wait", PATIENCE, || {
        let found = cluster.one::<Option<String>>(
            "select min(detail) from cron.job j, cron.diagnose(j.jobid) \
             where jobname ~ '^endless' and finding = 'cap reached'",
        );
        found.is_some().then_some(found)
    });
    let said = said.unwrap();
    assert!(said.contains("no more than 8 through, of which 1 are kept"), "{said}");
    ask("bob", "select cron.run_now('seldom')");
    assert_eq!(cluster.finished_run(seldom).status, "succeeded");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.running"), 7);
}

#[test]
fn startup_jobs_keep_to_every_limit_and_run_once() {
    let cluster = Cluster::builder()
        .conf("cron.max_running_jobs", "3")
        .conf("cron.max_running_jobs_per_role", "2")
        .conf("max_prepared_transactions", "1")
        .max_worker_processes(20)
        .start();
    cluster.role("ann");
    cluster.role("bob");
    cluster.sql("select cron.create_queue('narrow', 1, shared => true)");
    for (role, count, options) in
        [("ann", 3, r#"{"queue": "narrow"}"#), ("bob", 4, "{}"), ("postgres", 1, "{}")]
    {
        cluster
            .client_as(role)
            .batch_execute(&format!(
                "select cron.create_job(jsonb_build_object('job_name', '{role} ' || n, \
                  'schedule', '@startup', 'command', 'select pg_advisory_xact_lock_shared(7)') \
                  || '{options}') from generate_series(1, {count}) n"
            ))
            .unwrap();
    }
    cluster.wait_known();
    // Until this is committed the next scheduler does not know whether the server has just started.
    cluster
        .client()
        .batch_execute("begin; lock table cron.engine_state; prepare transaction 'unsure'")
        .unwrap();
    cluster.restart();
    let closed = gate(&cluster);
    let mut holder = cluster.client();
    holder.batch_execute("select cron.hold('postgres 1')").unwrap();
    cluster.sql("commit prepared 'unsure'");
    wait_running(&cluster, 3, "true");
    wait_running(&cluster, 1, "jobname like 'ann %'");
    drop(closed);
    wait_all(&cluster, 7);
    for (which, limit) in [("username = 'ann'", 1), ("username = 'bob'", 2), ("true", 3)] {
        assert_eq!(most_at_once(&cluster, which), limit, "{which}");
    }
    drop(holder);
    wait_all(&cluster, 8);
    let last: String =
        cluster.one("select jobname from cron.job_run_details order by start_time desc limit 1");
    assert_eq!(last, "postgres 1", "it was held");
    let once: bool = cluster.one(
        "select count(distinct jobid) = 8 and bool_and(trigger = 'startup') from cron.job_run_details",
    );
    assert!(once);
}
