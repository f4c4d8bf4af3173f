//! When jobs run: on time, from COMMIT on, and not a wake-up more.

use pg_tock_test::{Cluster, PATIENCE, poll_until, stays_true, voluntary_switches};
use serde_json::json;
use std::time::{Duration, Instant};

const EVERY_YEAR: &str = "0 0 1 1 *";

#[test]
fn a_one_second_job_runs_every_second_and_its_rows_say_so() {
    let cluster = Cluster::start();
    cluster.sql("create table ticks (at timestamptz)");
    let job = cluster.schedule("tick", "1 second", "insert into ticks values (now())");
    let runs = cluster.finished_runs(job, 5);
    for run in runs.clone() {
        let run = run.must_have_succeeded();
        assert_eq!(run.return_message, "INSERT 0 1");
        assert_eq!(run.jobname.as_deref(), Some("tick"));
        assert_eq!((run.database.as_str(), run.username.as_str()), ("postgres", "postgres"));
        assert_eq!((run.attempt, run.trigger.as_str()), (1, "schedule"));
        assert_eq!(run.guarantee.as_deref(), Some("exactly_once"));
        assert!(run.start_time >= run.scheduled_for, "never early: {run:#?}");
    }
    for pair in runs.windows(2) {
        let step = pair[1].scheduled_for.unwrap().duration_since(pair[0].scheduled_for.unwrap());
        assert_eq!(step.unwrap(), Duration::from_secs(1), "no occurrence is left out: {pair:#?}");
    }
    assert_eq!(
        cluster.one::<String>("select state from cron.jobs where jobname = 'tick'"),
        "scheduled"
    );
}

#[test]
fn a_job_exists_from_commit_on() {
    let cluster = Cluster::start();
    let mut author = cluster.client();
    let mut open = author.transaction().unwrap();
    let job: i64 =
        open.query_one("select cron.schedule('tick', '1 second', 'select 1')", &[]).unwrap().get(0);
    stays_true("nothing runs before COMMIT", Duration::from_secs(2), || {
        cluster.runs_of(job).is_empty()
    });
    open.commit().unwrap();
    let _ = cluster.finished_run(job).must_have_succeeded();

    let mut open = author.transaction().unwrap();
    let ghost: i64 = open
        .query_one("select cron.schedule('ghost', '1 second', 'select 1')", &[])
        .unwrap()
        .get(0);
    open.rollback().unwrap();
    let mut open = author.transaction().unwrap();
    open.batch_execute(
        "savepoint s; select cron.schedule('ghost', '1 second', 'select 1'); rollback to s",
    )
    .unwrap();
    open.commit().unwrap();
    let before = cluster.finished_runs_of(job).len();
    let _ = cluster.finished_runs(job, before + 2);
    assert!(cluster.runs_of(ghost).is_empty(), "a rolled back job never runs");
    let ghosts = "select count(*) from cron.job_run_details where jobname = 'ghost'";
    assert_eq!(cluster.one::<i64>(ghosts), 0, "nor one behind a savepoint rolled back to");
}

#[test]
fn a_prepared_transaction_counts_from_commit_prepared_on() {
    let cluster = Cluster::builder().conf("max_prepared_transactions", "5").start();
    cluster.sql(
        "begin; select cron.schedule('tick', '1 second', 'select 1'); prepare transaction 'later'",
    );
    stays_true("nothing runs before COMMIT PREPARED", Duration::from_secs(2), || {
        cluster.one::<i64>("select count(*) from cron.job_run_details") == 0
    });
    cluster.sql("commit prepared 'later'");
    cluster.wait_for("exists (select from cron.job_run_details where status = 'succeeded')");
}

#[test]
fn occurrences_that_fall_due_during_a_run_wait_and_none_is_lost() {
    let cluster = Cluster::start();
    let job = cluster.schedule("slow", "1 second", "select pg_sleep(1.3)");
    let runs = cluster.finished_runs(job, 5);
    for pair in runs.windows(2) {
        let step = pair[1].scheduled_for.unwrap().duration_since(pair[0].scheduled_for.unwrap());
        assert_eq!(step.unwrap(), Duration::from_secs(1), "{pair:#?}");
        assert!(pair[1].start_time >= pair[0].end_time, "one at a time: {pair:#?}");
    }
}

#[test]
fn a_change_takes_effect_at_once() {
    let cluster = Cluster::start();
    let job = cluster.schedule("j", EVERY_YEAR, "select 1");
    cluster.sql(&format!("select cron.alter_job({job}, schedule => '1 second')"));
    let _ = cluster.finished_run(job).must_have_succeeded();
    cluster.sql(&format!(
        "select cron.alter_job({job}, command => 'select 1, 2 from generate_series(1, 2)')"
    ));
    poll_until("a run of the new command", PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|run| run.return_message == "2 rows")
    });
    // Back to once a year: what was due is done, and then no more.
    cluster.sql(&format!("select cron.alter_job({job}, schedule => '{EVERY_YEAR}')"));
    cluster.wait_quiet();
    let count = cluster.runs_of(job).len();
    stays_true("no run after the change", Duration::from_secs(3), || {
        cluster.runs_of(job).len() == count
    });
}

#[test]
fn direct_writes_to_the_table_count_too() {
    let cluster = Cluster::start();
    let job: i64 = cluster.one(
        "insert into cron.job (schedule, command, nodeport, username) \
         values ('1 second', 'select 1', 5432, 'postgres') returning jobid",
    );
    let _ = cluster.finished_run(job).must_have_succeeded();
    cluster.sql(&format!("update cron.job set active = false where jobid = {job}"));
    cluster.wait_quiet();
    let count = cluster.runs_of(job).len();
    stays_true("an inactive job does not run", Duration::from_secs(3), || {
        cluster.runs_of(job).len() == count
    });
    cluster.sql(&format!("update cron.job set active = true where jobid = {job}"));
    let _ = cluster.finished_runs(job, count + 1);
    cluster.sql("truncate cron.job");
    cluster.wait_quiet();
    let count = cluster.runs_of(job).len();
    stays_true("no job, no run", Duration::from_secs(3), || cluster.runs_of(job).len() == count);
}

#[test]
fn an_idle_scheduler_does_not_wake() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    cluster.unschedule(job);
    cluster.schedule("far", EVERY_YEAR, "select 1");
    let processes = [cluster.wait_scheduler(), cluster.pid_of("pg_tock launcher")];
    for process in processes {
        let mut seen = (voluntary_switches(process), Instant::now());
        poll_until("five seconds without a wake-up", PATIENCE, || {
            let now = voluntary_switches(process);
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            (seen.1.elapsed() > Duration::from_secs(5)).then_some(())
        });
    }
}

#[test]
fn the_scheduler_holds_neither_transaction_nor_snapshot_while_it_waits() {
    let cluster = Cluster::start();
    let job = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    let _ = cluster.executor_of(job);
    let scheduler = cluster.wait_scheduler();
    cluster.wait_for(&format!(
        "(select xact_start is null and backend_xmin is null and backend_xid is null \
         from pg_stat_activity where pid = {scheduler})"
    ));
}

#[test]
fn a_row_with_a_bad_schedule_is_logged_once_and_harms_nobody() {
    let cluster = Cluster::start();
    let good = cluster.schedule("good", "1 second", "select 1");
    let bad: i64 = cluster.one(
        "insert into cron.job (schedule, command, nodeport, jobname) \
         values ('every blue moon', 'select 1', 5432, 'bad') returning jobid",
    );
    let count = cluster.finished_runs_of(good).len();
    let _ = cluster.finished_runs(good, count + 3);
    let state = "select state from cron.jobs where jobname = 'bad'";
    assert_eq!(cluster.one::<String>(state), "invalid schedule");
    assert!(cluster.runs_of(bad).is_empty());
    let said = cluster.log();
    let lines = said
        .lines()
        .filter(|line| line.contains("every blue moon") && line.contains("pg_tock scheduler"));
    assert_eq!(lines.count(), 1, "{said}");
    cluster.sql("update cron.job set schedule = '1 second' where jobname = 'bad'");
    let _ = cluster.finished_run(bad).must_have_succeeded();
}

#[test]
fn startup_jobs_run_once_a_start() {
    let cluster = Cluster::start();
    let tick = cluster.schedule("tick", "1 second", "select 1");
    // The scheduler has begun by then.
    let begun = cluster.finished_runs(tick, 1).len();
    let job = cluster.schedule("boot", "@reboot", "select 1");
    let _ = cluster.finished_runs(tick, begun + 2);
    assert!(cluster.runs_of(job).is_empty(), "created after the start");
    cluster.restart();
    let run = cluster.finished_run(job).must_have_succeeded();
    assert_eq!(run.trigger, "startup");
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    let count = cluster.finished_runs_of(tick).len();
    let _ = cluster.finished_runs(tick, count + 2);
    assert_eq!(cluster.runs_of(job).len(), 1, "a new scheduler is not a start of the server");
}

#[test]
fn startup_runs_that_wait_are_not_forgotten() {
    let cluster = Cluster::start();
    cluster.sql("select cron.create_queue('narrow', max_running => 1)");
    let job = |name: &str, command: &str, priority: i32| {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "@reboot", "command": command, "queue": "narrow",
            "priority": priority,
        }))
    };
    let long = job("long", "select pg_sleep(3600)", 100);
    let waits = job("waits", "select 1", 0);
    cluster.wait_known();
    cluster.restart();
    let executor = cluster.executor_of(long);
    cluster.wait_for("exists (select from cron.job_run_details where jobname = 'long')");
    // Neither the end of the scheduler nor a crash loses the one that waits, nor has either run again.
    cluster.terminate(cluster.wait_scheduler());
    let _ = cluster.wait_scheduler();
    cluster.flush();
    assert!(cluster.runs_of(waits).is_empty());
    cluster.crash_by_killing(executor);
    let run = cluster.finished_run(waits).must_have_succeeded();
    assert_eq!(run.trigger, "startup");
    assert_eq!(cluster.finished_run(long).outcome.as_deref(), Some("crashed"));
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!((cluster.runs_of(waits).len(), cluster.runs_of(long).len()), (1, 1));

    // One that waits when its job is switched off is over.
    cluster.restart();
    let _ = cluster.executor_of(long);
    cluster
        .sql("select cron.alter_job(jobid, active => false) from cron.job where jobname = 'waits'");
    let over = poll_until("the run that waited is over", PATIENCE, || {
        cluster.finished_runs_of(waits).into_iter().nth(1)
    });
    assert_eq!(over.reason.as_deref(), Some("job dropped or inactive"), "{over:#?}");
    cluster.unschedule(long);
}

#[test]
fn a_start_makes_way_for_the_next_one() {
    let cluster = Cluster::start();
    let job = cluster.schedule("boot", "@reboot", "select 1");
    cluster.sql("select cron.pause('boot'::text)");
    cluster.wait_known();
    for _ in 0..2 {
        cluster.restart();
        cluster.wait_for(
            "(select array_agg(scheduled_for) = array[pg_postmaster_start_time()] from cron.run_request)",
        );
    }
    cluster.sql("select cron.resume('boot'::text)");
    let run = cluster.finished_run(job).must_have_succeeded();
    assert!(cluster.one_with::<bool>(
        "select scheduled_for = pg_postmaster_start_time() from cron.job_run_details where runid = $1",
        &[&run.runid],
    ));
    cluster.flush();
    assert_eq!(cluster.runs_of(job).len(), 1);
    assert_eq!(
        cluster.column::<String>("select reason || ' ' || count from cron.job_skip"),
        ["missed 1"]
    );
}

#[test]
fn startup_jobs_run_although_the_note_of_the_start_is_locked_at_first() {
    let cluster = Cluster::start();
    let tick = cluster.schedule("tick", "1 second", "select 1");
    let job = cluster.schedule("boot", "@reboot", "select 1");
    cluster.conf("cron.launch_active_jobs", "off");
    cluster.restart();
    // This start has been seen. Let it be another one, and let the next scheduler not see which.
    cluster.wait_for("(select server_start = pg_postmaster_start_time() from cron.engine_state)");
    cluster.sql("update cron.engine_state set server_start = server_start - interval '1 day'");
    let mut locker = cluster.client();
    locker.batch_execute("begin; lock table cron.engine_state").expect("locked");
    let scheduler = cluster.wait_scheduler();
    cluster.terminate(scheduler);
    let _ = cluster.wait_scheduler();
    cluster.conf("cron.launch_active_jobs", "on");
    cluster.reload();
    let _ = cluster.finished_runs(tick, 2);
    assert!(cluster.runs_of(job).is_empty(), "nobody knows yet that the server has just started");
    locker.batch_execute("commit").expect("unlocked");
    assert_eq!(cluster.finished_run(job).must_have_succeeded().trigger, "startup");
}

#[test]
fn launch_active_jobs_is_a_switch_for_all() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let nap = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    let _ = cluster.finished_run(job);
    let _ = cluster.executor_of(nap);
    cluster.conf("cron.launch_active_jobs", "off");
    cluster.reload();
    let run = cluster.finished_run(nap);
    assert_eq!((run.status.as_str(), run.return_message.as_str()), ("failed", "job canceled"));
    cluster.wait_quiet();
    let count = cluster.runs_of(job).len();
    stays_true("nothing runs while it is off", Duration::from_secs(3), || {
        cluster.runs_of(job).len() == count
    });
    cluster.conf("cron.launch_active_jobs", "on");
    cluster.reload();
    let _ = cluster.finished_runs(job, count + 1);
}

#[test]
fn one_owners_flood_does_not_delay_another() {
    // Slots: the logical replication launcher, our launcher, our scheduler, and three executors.
    let cluster = Cluster::builder().max_worker_processes(6).start();
    cluster.role("ann");
    cluster.role("bob");
    for n in 0..60 {
        cluster.schedule_as("ann", &format!("flood {n}"), "1 second", "select pg_sleep(0.3)");
    }
    poll_until("the flood is up", PATIENCE, || {
        (cluster.one::<i64>("select count(*) from cron.job_run_details") > 20).then_some(())
    });
    let job = cluster.schedule_as("bob", "modest", "1 second", "select 1");
    for run in cluster.finished_runs(job, 5) {
        let overtaken: i64 = cluster.one_with(
            "select count(*) from cron.job_run_details \
             where username = 'ann' and start_time > $1 and start_time < $2",
            &[&run.scheduled_for, &run.start_time],
        );
        assert!(overtaken <= 6, "{overtaken} runs of the flood began before it: {run:#?}");
    }
}
