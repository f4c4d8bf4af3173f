//! Runs by hand: `cron.run_now` and `cron.run_now_tagged`. Those that are waited for are in `waiting`.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use std::time::Duration;

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, sqlstate, stays_true};
use postgres::Client;
use serde_json::json;

/// The finished run of that id.
fn run(cluster: &Cluster, job: i64, id: i64) -> Run {
    poll_until(&format!("the end of run {id}"), Duration::from_secs(45), || {
        cluster.finished_runs_of(job).into_iter().find(|run| run.runid == id)
    })
}

/// A job that never runs by itself.
fn job(cluster: &Cluster, name: &str, command: &str) -> i64 {
    let job = cluster.schedule(name, "0 0 29 2 *", command);
    cluster.wait_known();
    job
}

fn run_now(client: &mut Client, job: i64) -> i64 {
    client.query_one("select cron.run_now($1::bigint)", &[&job]).unwrap().get(0)
}

/// A table a job's run waits for, and the session that keeps it waiting.
fn gate(cluster: &Cluster) -> Client {
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let mut gate = cluster.client();
    gate.batch_execute("begin; select from gate for update").unwrap();
    gate
}

const THROUGH_THE_GATE: &str = "update gate set n = n + 1";

#[test]
fn a_run_by_hand_begins_at_commit_and_is_an_occurrence_of_its_own() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (run bigint)");
    let job =
        job(&cluster, "rare", "insert into effect select current_setting('cron.run_id')::bigint");
    let mut client = cluster.client();
    let mut open = client.transaction().unwrap();
    let first: i64 = open.query_one("select cron.run_now('rare')", &[]).unwrap().get(0);
    let second: i64 = open.query_one("select cron.run_now('rare')", &[]).unwrap().get(0);
    stays_true("nothing runs before COMMIT", Duration::from_millis(500), || {
        cluster.runs_of(job).is_empty()
    });
    open.commit().unwrap();
    let (first, second) = (run(&cluster, job, first), run(&cluster, job, second));
    for run in [&first, &second] {
        assert_eq!((run.trigger.as_str(), run.attempt), ("manual", 1));
        assert_eq!(run.guarantee.as_deref(), Some("exactly_once"));
        assert!(run.scheduled_for <= run.start_time, "{run:#?}");
    }
    let (first, second) = (first.must_have_succeeded(), second.must_have_succeeded());
    assert!(first.end_time <= second.start_time, "one at a time, in the order of the calls");
    assert_eq!(
        cluster.column::<i64>("select run from effect order by 1"),
        [first.runid, second.runid]
    );
    cluster.wait_for("not exists (select from cron.run_request)");

    // Rolled back, nothing was asked for.
    let mut open = client.transaction().unwrap();
    let _ = open.query_one("select cron.run_now('rare')", &[]).unwrap();
    open.rollback().unwrap();
    let last = run_now(&mut client, job);
    let _ = run(&cluster, job, last);
    assert_eq!(cluster.runs_of(job).len(), 3);
}

#[test]
fn force_runs_a_job_that_would_not_run_by_itself() {
    let cluster = Cluster::start();
    let job = job(&cluster, "rare", "select 1");
    let mut client = cluster.client();
    for (close, open) in [
        ("select cron.pause('rare')", "select cron.resume('rare')"),
        (
            "select cron.set_job('rare', '{\"active\": false}')",
            "select cron.set_job('rare', '{\"active\": true}')",
        ),
        (
            "select cron.create_calendar('all'), cron.add_calendar_dates('all', '2000-01-01', '2300-01-01'), \
              cron.set_job('rare', '{\"skip_on\": [\"all\"]}')",
            "select cron.set_job('rare', '{\"skip_on\": null}')",
        ),
        (
            "select cron.set_job('rare', jsonb_build_object('timezone', 'UTC', 'run_window', \
              to_char(now() at time zone 'UTC' + interval '6 hours', 'HH24:MI') || '-' || \
              to_char(now() at time zone 'UTC' + interval '12 hours', 'HH24:MI')))",
            "select cron.set_job('rare', '{\"run_window\": null}')",
        ),
    ] {
        cluster.sql(close);
        cluster.wait_known();
        let error = client.query_one("select cron.run_now('rare')", &[]).unwrap_err();
        assert_eq!(sqlstate(&error), "55000", "{close}");
        let forced: i64 =
            client.query_one("select cron.run_now('rare', force => true)", &[]).unwrap().get(0);
        let _ = run(&cluster, job, forced).must_have_succeeded();
        cluster.sql(open);
        cluster.wait_known();
        let plain = run_now(&mut client, job);
        let _ = run(&cluster, job, plain).must_have_succeeded();
    }
    assert_eq!(cluster.runs_of(job).len(), 8);
}

#[test]
fn it_survives_a_crash_and_a_restart() {
    let cluster = Cluster::start();
    let job = job(&cluster, "rare", "select 1");
    let at_once = |cluster: &Cluster| {
        // A fast shutdown ends the hold before the scheduler, and cuts off what then begins.
        cluster.stop_immediately();
        cluster.boot();
    };
    let restarts: [&dyn Fn(&Cluster); 2] = [&Cluster::crash, &at_once];
    for restart in restarts {
        let mut holder = cluster.client();
        holder.execute("select cron.hold('rare')", &[]).unwrap();
        let asked: i64 = cluster.one("select cron.run_now('rare')");
        stays_true("the job is held", Duration::from_millis(300), || {
            !cluster.runs_of(job).iter().any(|run| run.runid == asked)
        });
        restart(&cluster);
        drop(holder);
        let _ = run(&cluster, job, asked).must_have_succeeded();
    }
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!(cluster.runs_of(job).len(), 2, "each of them once");
}

#[test]
fn it_obeys_holds_overlap_and_caps() {
    let cluster = Cluster::builder().conf("cron.max_running_jobs", "1").start();
    let mut gate = gate(&cluster);
    let slow = job(&cluster, "slow", THROUGH_THE_GATE);
    let other = job(&cluster, "other", "select 1");
    let mut client = cluster.client();
    let (first, second) = (run_now(&mut client, slow), run_now(&mut client, slow));
    let _ = cluster.executor_of(slow);
    let third: i64 =
        client.query_one("select cron.run_now('other', force => true)", &[]).unwrap().get(0);
    stays_true("one run at a time", Duration::from_millis(700), || {
        cluster.one::<i64>("select count(*) from cron.running") == 1
            && cluster.runs_of(other).is_empty()
    });
    gate.batch_execute("commit").unwrap();
    let runs =
        [run(&cluster, slow, first), run(&cluster, slow, second), run(&cluster, other, third)];
    for run in &runs {
        assert_eq!(run.status, "succeeded", "{run:#?}");
    }
    let overlap: i64 = cluster.one(
        "select count(*) from cron.job_run_details a join cron.job_run_details b \
          on a.runid < b.runid and a.start_time < b.end_time and b.start_time < a.end_time",
    );
    assert_eq!(overlap, 0);

    let mut holder = cluster.client();
    holder.execute("select cron.hold('other')", &[]).unwrap();
    let held: i64 =
        client.query_one("select cron.run_now('other', force => true)", &[]).unwrap().get(0);
    stays_true("force is no way round a hold", Duration::from_millis(700), || {
        cluster.runs_of(other).len() == 1
    });
    drop(holder);
    let _ = run(&cluster, other, held).must_have_succeeded();
}

#[test]
fn startup_and_manual_runs_obey_the_same_lock() {
    let cluster = Cluster::start();
    let job = cluster.schedule("boot", "@reboot", "select pg_sleep(0.5)");
    cluster.wait_known();
    let asked: i64 = {
        let mut holder = cluster.client();
        holder.execute("select cron.hold('boot')", &[]).unwrap();
        let asked = cluster.one("select cron.run_now('boot')");
        stays_true("the job is held", Duration::from_millis(300), || {
            cluster.runs_of(job).is_empty()
        });
        cluster.restart();
        asked
    };
    let runs = cluster.finished_runs(job, 2);
    let mut triggers: Vec<&str> = runs.iter().map(|run| run.trigger.as_str()).collect();
    triggers.sort_unstable();
    assert_eq!(triggers, ["manual", "startup"]);
    assert!(runs.iter().any(|run| run.runid == asked));
    let (a, b) = (&runs[0], &runs[1]);
    assert!(a.end_time <= b.start_time || b.end_time <= a.start_time, "{runs:#?}");
}

/// The executors that run a job now.
fn busy(cluster: &Cluster, job: i64) -> Vec<i32> {
    cluster.column(&format!(
        "select pid from pg_stat_activity where backend_type = 'pg_tock executor' \
         and state <> 'idle' and application_name ~ '^pg_tock job {job}( |$)'"
    ))
}

#[test]
fn a_run_that_brings_the_server_down_begins_twice_at_the_most() {
    let cluster = Cluster::start();
    let (long, asks) = ("select pg_sleep(3600)", "(select true from pg_sleep(3600))");
    for (name, schedule, command, run_if) in [
        ("asked", "0 0 29 2 *", json!(long), json!(null)),
        ("boot", "@reboot", json!(long), json!(null)),
        ("asked, with a condition", "0 0 29 2 *", json!("select 1"), json!(asks)),
        ("boot, with a condition", "@reboot", json!("select 1"), json!(asks)),
    ] {
        let job = cluster.create_job(&json!({
            "job_name": name, "schedule": schedule, "command": command, "run_if": run_if,
        }));
        if schedule != "@reboot" {
            cluster.wait_known();
            let _: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
        } else {
            cluster.wait_known();
            cluster.restart();
        }
        let mut crashes = 0;
        let run = poll_until("the run is over", PATIENCE, || {
            // At first it is quicker than its row.
            for executor in busy(&cluster, job) {
                cluster.crash_by_killing(executor);
                crashes += 1;
            }
            assert!(crashes <= 2, "it would go on for ever");
            cluster.finished_runs_of(job).pop()
        });
        assert_eq!(run.outcome.as_deref(), Some("crashed"), "{run:#?}");
        cluster.wait_for("not exists (select from cron.run_request)");
        assert_eq!(cluster.runs_of(job).len(), 1);
        cluster.unschedule(job);
    }
}

#[test]
fn a_tag_runs_all_of_the_callers_jobs_that_have_it() {
    let cluster = Cluster::start();
    for role in ["ann", "bob"] {
        cluster.role(role);
    }
    for (name, owner) in [("a", "ann"), ("b", "ann"), ("c", "bob")] {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "0 0 29 2 *", "command": "select 1",
            "username": owner, "tags": ["nightly"],
        }));
    }
    cluster.wait_known();
    let mut ann = cluster.client_as("ann");
    let runs = ann.query("select * from cron.run_now_tagged('nightly')", &[]).unwrap();
    assert_eq!(runs.len(), 2);
    cluster.wait_for(
        "(select array_agg(jobname order by jobname) = '{a,b}' from cron.job_run_details \
         where status = 'succeeded' and trigger = 'manual')",
    );
    // Who asked is in their rows, whoever owns the job.
    cluster.sql("create role clerk login; grant usage on schema cron to clerk; grant ann to clerk");
    let mut clerk = cluster.client_as("clerk");
    assert_eq!(clerk.query("select * from cron.run_now_tagged('nightly')", &[]).unwrap().len(), 2);
    cluster.wait_for("(select count(*) = 4 from cron.job_run_details where status = 'succeeded')");
    let who: Vec<String> = cluster.column(
        "select format('%s: %s for %s', jobname, requested_by, username) \
         from cron.job_run_details order by runid, jobname",
    );
    assert_eq!(who, ["a: ann for ann", "b: ann for ann", "a: clerk for ann", "b: clerk for ann"]);
}

#[test]
fn runs_of_a_tag_obey_the_caps_also_by_force() {
    let cluster = Cluster::builder().conf("cron.max_running_jobs_per_role", "2").start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(7)").unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "0 0 29 2 *", "tags": ["nightly"],
            "command": "select pg_advisory_xact_lock_shared(7)",
        }));
    }
    cluster.sql("select cron.pause('e')");
    cluster.wait_known();
    let asked: i64 =
        cluster.one("select count(*) from cron.run_now_tagged('nightly', force => true)");
    assert_eq!(asked, 5);
    cluster.wait_for("(select count(*) = 2 from cron.running)");
    stays_true("two at a time", Duration::from_millis(700), || {
        cluster.one::<i64>("select count(*) from cron.running") == 2
    });
    gate.batch_execute("select pg_advisory_unlock(7)").unwrap();
    cluster.wait_for("(select count(*) = 5 from cron.job_run_details where status = 'succeeded')");
    let most: i64 = cluster.one(
        "select max((select count(*) from cron.job_run_details b \
           where b.start_time <= a.start_time and a.start_time < b.end_time)) \
         from cron.job_run_details a",
    );
    assert_eq!(most, 2);
}

#[test]
fn a_job_and_its_run_asked_for_while_all_jobs_are_read_are_not_lost() {
    let cluster = Cluster::start();
    // So many that reading them takes a while; the commit makes the scheduler read them.
    cluster.sql(
        "insert into cron.job (schedule, command, jobname, nodeport) \
         select '0 0 29 2 *', 'select 1', 'n' || n, 5432 from generate_series(1, 20000) n",
    );
    let mut client = cluster.client();
    let mut asked = Vec::new();
    let known = "select not exists (select from cron.job_state where jobid = 20000)";
    // Until long after the jobs were read: they are read one second after the last time at the earliest.
    for n in 0..100_000 {
        if !cluster.one::<bool>(known) {
            break;
        }
        let name = format!("late {n}");
        let mut both = client.transaction().unwrap();
        let job: i64 = both
            .query_one("select cron.schedule($1, '0 0 29 2 *', 'select 1')", &[&name])
            .unwrap()
            .get(0);
        let run: i64 = both.query_one("select cron.run_now($1::bigint)", &[&job]).unwrap().get(0);
        both.commit().unwrap();
        asked.push((job, run));
    }
    for (job, id) in asked {
        let _ = run(&cluster, job, id).must_have_succeeded();
    }
}

#[test]
fn a_run_by_hand_that_waits_is_no_attempt_to_come() {
    let cluster = Cluster::start();
    let id = job(&cluster, "long", "select pg_sleep(3600)");
    // The second waits for the first.
    let _: Vec<i64> = cluster.column("select cron.run_now('long') from generate_series(1, 2)");
    let executor = cluster.executor_of(id);
    assert!(
        cluster.one::<bool>("select count(*) = 2 from cron.run_request where not_before is null")
    );
    let findings: Vec<String> =
        cluster.column(&format!("select finding from cron.diagnose({id}::bigint)"));
    assert!(!findings.is_empty());
    assert!(!findings.contains(&"attempt to come".to_owned()), "{findings:?}");
    cluster.unschedule(id);
    cluster.terminate(executor);
}
