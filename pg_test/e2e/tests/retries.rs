//! Attempts that fail are followed by others, as the job says, whatever dies in between.

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, utc};
use serde_json::{Value, json};

/// Creates a job from its options, the command and the name among them.
#[track_caller]
fn job(cluster: &Cluster, more: Value) -> i64 {
    let mut options = json!({
        "job_name": "job", "schedule": "1 second", "max_attempts": 3, "retry_delay": "100 ms",
    });
    if let (Value::Object(options), Value::Object(more)) = (&mut options, more) {
        options.extend(more);
    }
    cluster.create_job(&options)
}

/// A function that raises an error the first `times` it is called, whatever becomes of its caller's
/// transaction.
fn failing(cluster: &Cluster, sqlstate: &str, times: i32) {
    cluster.sql(&format!(
        "create table effect (scheduled_for text, attempt text); \
         create sequence calls; \
         create function fail() returns void language plpgsql as $$ begin \
          insert into effect values \
           (current_setting('cron.scheduled_for'), current_setting('cron.attempt')); \
          if nextval('calls') <= {times} then raise 'failed' using errcode = '{sqlstate}'; end if; \
         end $$"
    ));
}

/// The attempts at the first occurrence of a job, once the last of them is as `over` wants it.
#[track_caller]
fn attempts(cluster: &Cluster, job: i64, over: impl Fn(&[Run]) -> bool) -> Vec<Run> {
    poll_until(&format!("the attempts of job {job}"), PATIENCE, || {
        let runs = cluster.finished_runs_of(job);
        let first = runs.first()?.scheduled_for;
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.scheduled_for == first).collect();
        Some(runs).filter(|runs| over(runs))
    })
}

fn succeeded(runs: &[Run]) -> bool {
    runs.iter().any(|run| run.status == "succeeded")
}

/// Waits until a retry of the job waits, and returns the id it will have.
#[track_caller]
fn promised(cluster: &Cluster, job: i64) -> i64 {
    poll_until("a retry that waits", PATIENCE, || {
        let runs: Vec<i64> = cluster.column(&format!(
            "select runid from cron.run_request where jobid = {job} and trigger = 'retry' limit 1"
        ));
        runs.first().copied()
    })
}

/// For scenarios that killed something: no occurrence is lost, and the attempts are in order.
#[track_caller]
fn nothing_lost(cluster: &Cluster) {
    cluster.audit();
    in_order(cluster);
}

/// No occurrence has two attempts of a number, an attempt after its success, or a gap.
#[track_caller]
fn in_order(cluster: &Cluster) {
    let wrong: Vec<String> = cluster.column(
        "select format('job %s at %s: %s', jobid, scheduled_for, string_agg(attempt || status, ',' order by attempt)) \
         from cron.job_run_details where scheduled_for is not null group by jobid, scheduled_for \
         having count(*) <> max(attempt) or count(*) <> count(distinct attempt) \
          or count(*) filter (where status = 'succeeded') > 1 \
          or bool_or(status = 'succeeded') and (array_agg(status order by attempt desc))[1] <> 'succeeded'",
    );
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn an_error_that_passes_is_tried_again_until_it_has_passed() {
    let cluster = Cluster::start();
    failing(&cluster, "40001", 2);
    let job = job(&cluster, json!({"command": "select fail()"}));
    let runs = attempts(&cluster, job, succeeded);
    let story: Vec<(i64, &str, &str)> =
        runs.iter().map(|run| (run.attempt, run.trigger.as_str(), run.status.as_str())).collect();
    assert_eq!(
        story,
        [(1, "schedule", "failed"), (2, "retry", "failed"), (3, "retry", "succeeded")]
    );
    assert!(runs.windows(2).all(|pair| pair[0].end_time <= pair[1].start_time), "{runs:#?}");
    cluster.stop_all_jobs();
    // The attempts that failed left nothing: effects are successes.
    let effects: Vec<String> = cluster.column("select attempt from effect order by scheduled_for");
    assert_eq!(effects.first().map(String::as_str), Some("3"));
    let same: bool = cluster.one(
        "select count(*) = (select count(*) from cron.job_run_details where status = 'succeeded') \
         from effect",
    );
    assert!(same);
    in_order(&cluster);
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.dead_letters"), 0);
}

#[test]
fn a_mistake_is_not_tried_again_unless_the_job_says_any() {
    let cluster = Cluster::start();
    let plain = job(&cluster, json!({"command": "select * from nowhere"}));
    let any = job(
        &cluster,
        json!({"job_name": "any", "command": "select * from nowhere", "retry_on": "any"}),
    );
    let runs = attempts(&cluster, any, |runs| runs.len() == 3);
    assert!(runs.iter().all(|run| run.sqlstate.as_deref() == Some("42P01")), "{runs:#?}");
    cluster.stop_all_jobs();
    assert!(cluster.runs_of(plain).iter().all(|run| run.attempt == 1));
    in_order(&cluster);
    // Those that failed for good, and they alone, are left over.
    cluster.wait_for(
        "(select count(*) from cron.dead_letters) = \
         (select count(distinct (jobid, scheduled_for)) from cron.job_run_details \
          where (jobid, scheduled_for) not in (select jobid, scheduled_for from cron.run_request))",
    );
}

#[test]
fn delays_grow_and_are_written_down() {
    let cluster = Cluster::start();
    failing(&cluster, "40001", 1_000_000);
    let job = job(
        &cluster,
        json!({
            "command": "select fail()", "schedule": "0 0 1 1 *", "max_attempts": 4,
            "retry_delay": "1 second", "retry_backoff": 3, "retry_max_delay": "5 seconds",
        }),
    );
    cluster.note_retries();
    cluster.sql(&format!("select cron.run_now({job})"));
    let runs = attempts(&cluster, job, |runs| runs.len() == 4);
    let triggers: Vec<&str> = runs.iter().map(|run| run.trigger.as_str()).collect();
    assert_eq!(triggers, ["manual", "retry", "retry", "retry"]);
    let near: Vec<i32> = cluster.column(
        "select p.attempt from plan p join (values (2, 1), (3, 3), (4, 5)) w (attempt, wait) \
          on w.attempt = p.attempt and p.wait between 0.899 * w.wait and least(1.101 * w.wait, 5.001) \
         order by 1",
    );
    assert_eq!(near, [2, 3, 4], "{:?}", cluster.column::<String>("select plan::text from plan"));
    let early: i64 = cluster.one(
        "select count(*) from plan p join cron.job_run_details d using (attempt) \
          join cron.job_run_details b on b.attempt = d.attempt - 1 \
         where d.start_time < b.end_time + p.wait * interval '0.999 second'",
    );
    assert_eq!(early, 0, "no attempt starts before its time");
}

#[test]
fn a_retry_that_waits_survives_a_restart_and_a_crash() {
    // An hour, less or more a tenth, is more than anything here takes.
    let cluster = Cluster::builder()
        .clock(utc(2026, 6, 1, 10, 6, 0))
        .conf("timezone", "UTC")
        .conf("cron.timezone", "UTC")
        .start();
    failing(&cluster, "40001", 1);
    let job = job(
        &cluster,
        json!({"command": "select fail()", "schedule": "*/10 * * * *", "retry_delay": "1 hour"}),
    );
    cluster.wait_known();
    cluster.step_clock(utc(2026, 6, 1, 10, 10, 5) - cluster.now());
    let first = cluster.finished_run(job).must_have_failed_with("40001");
    let promise = promised(&cluster, job);
    for crash in [false, true] {
        if crash {
            cluster.stop_immediately();
            cluster.boot();
        } else {
            cluster.restart();
        }
        cluster.wait_scheduler();
    }
    assert_eq!(cluster.runs_of(job).len(), 1, "it waits");
    cluster.step_clock(utc(2026, 6, 1, 11, 17, 0) - cluster.now());
    let again = poll_until("the retry", PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|run| run.runid == promise)
    })
    .must_have_succeeded();
    assert_eq!((again.attempt, again.trigger.as_str()), (2, "retry"));
    assert_eq!(again.scheduled_for, first.scheduled_for);
    nothing_lost(&cluster);
}

#[test]
fn a_failure_nobody_has_looked_at_is_looked_at_by_the_next_scheduler() {
    let cluster = Cluster::start();
    failing(&cluster, "40001", 1);
    cluster.sql("create table gate (open boolean); insert into gate values (false)");
    cluster.sql(
        "create function pass() returns void language plpgsql as $$ begin \
          while not (select open from gate) loop perform pg_sleep(0.02); end loop; \
          perform fail(); end $$",
    );
    let job = job(&cluster, json!({"command": "select pass()"}));
    let executor = cluster.executor_of(job);
    // The scheduler goes in the middle of the run, and with it the one who would hear of the failure.
    let scheduler = cluster.wait_scheduler();
    pg_tock_test::signal(scheduler, rustix::process::Signal::STOP);
    cluster.sql("update gate set open = true");
    poll_until("the executor is done", PATIENCE, || {
        cluster
            .rows("select from pg_stat_activity where pid = $1 and state = 'active'", &[&executor])
            .is_empty()
            .then_some(())
    });
    cluster.sql(&format!("select pg_terminate_backend({scheduler})"));
    pg_tock_test::signal(scheduler, rustix::process::Signal::CONT);
    poll_until("the scheduler ends", PATIENCE, || {
        (!pg_tock_test::is_alive(scheduler)).then_some(())
    });
    let runs = attempts(&cluster, job, succeeded);
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert_eq!(runs[1].trigger, "retry");
    nothing_lost(&cluster);
}

#[test]
fn a_crash_is_repeated_where_nothing_can_have_happened() {
    let cluster = Cluster::start();
    cluster.sql(
        "create table effect (n int); create table slow (); insert into slow default values; \
         create procedure pass() language plpgsql as $$ begin \
          insert into effect values (1); commit; \
          perform pg_sleep(600) where exists (select from slow); end $$",
    );
    // Its row is written after a second; what it did is gone with it.
    let whole = job(
        &cluster,
        json!({
            "job_name": "whole",
            "command": "insert into effect values (2); \
                select pg_sleep(600) where exists (select from slow)",
        }),
    );
    let run = cluster.run_in_status(whole, "running");
    // A commit that waits for the disk takes the row along.
    cluster.sql("delete from slow");
    cluster.crash_by_killing(run.job_pid.unwrap());
    cluster.wait_scheduler();
    let runs = attempts(&cluster, whole, succeeded);
    let outcomes: Vec<Option<&str>> = runs.iter().map(|run| run.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("crashed"), Some("succeeded")], "{runs:#?}");
    assert_eq!(runs[0].guarantee.as_deref(), Some("exactly_once"));
    cluster.audit();
    cluster.stop_all_jobs();
    let same: bool = cluster.one(
        "select count(*) = (select count(*) from cron.job_run_details where status = 'succeeded') \
         from effect where n = 2",
    );
    assert!(same);

    // One that commits on its own may have done anything.
    cluster.sql("insert into slow default values");
    let apart = job(&cluster, json!({"job_name": "apart", "command": "call pass()"}));
    let run = cluster.run_in_status(apart, "running");
    cluster.wait_for("exists (select from effect where n = 1)");
    cluster.sql("delete from slow");
    cluster.crash_by_killing(run.job_pid.unwrap());
    cluster.wait_scheduler();
    let next = poll_until("another occurrence", PATIENCE, || {
        cluster.finished_runs_of(apart).into_iter().find(|row| row.status == "succeeded")
    });
    assert!(next.scheduled_for > run.scheduled_for);
    cluster.audit();
    cluster.stop_all_jobs();
    assert_eq!(attempts(&cluster, apart, |_| true).len(), 1);
    let letter: bool = cluster.one(&format!(
        "select exists (select from cron.dead_letters where runid = {} and outcome = 'crashed')",
        run.runid
    ));
    assert!(letter);
    in_order(&cluster);
}

#[test]
fn a_crash_that_may_have_done_something_is_repeated_if_the_job_says_so() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    let mut other = cluster.client_in("other");
    other.batch_execute("create table slow (); insert into slow default values").unwrap();
    // A run in another database is never sure of its row.
    let job = job(
        &cluster,
        json!({
            "command": "select pg_sleep(600) where exists (select from slow)", "database": "other",
            "retry_on_crash": true,
        }),
    );
    let run = cluster.run_in_status(job, "running");
    cluster.wait_for(
        "exists (select from pg_stat_activity where datname = 'other' and wait_event = 'PgSleep')",
    );
    other.batch_execute("delete from slow").unwrap();
    drop(other);
    cluster.crash_by_killing(run.job_pid.unwrap());
    cluster.wait_scheduler();
    let runs = attempts(&cluster, job, succeeded);
    let outcomes: Vec<Option<&str>> = runs.iter().map(|run| run.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("crashed"), Some("succeeded")], "{runs:#?}");
    nothing_lost(&cluster);
}

#[test]
fn runs_in_other_databases_are_tried_again() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    cluster
        .client_in("other")
        .batch_execute(
            "create sequence calls; create function fail() returns void language plpgsql as $$ \
             begin if nextval('calls') <= 2 then raise 'x' using errcode = '55P03'; end if; end $$",
        )
        .unwrap();
    let job = job(&cluster, json!({"command": "select fail()", "database": "other"}));
    let runs = attempts(&cluster, job, succeeded);
    assert_eq!(runs.len(), 3, "{runs:#?}");
    assert!(runs.iter().all(|run| run.database == "other"));
    in_order(&cluster);
}

#[test]
fn a_retry_waits_while_its_job_rests_and_goes_with_it() {
    let cluster = Cluster::start();
    failing(&cluster, "40001", 1_000_000);
    for (name, stop, resume) in [
        ("paused", "select cron.pause('paused')", "select cron.resume('paused')"),
        (
            "inactive",
            "select cron.set_job('inactive', '{\"active\": false}')",
            "select cron.set_job('inactive', '{\"active\": true}')",
        ),
    ] {
        let job = job(
            &cluster,
            json!({
                "job_name": name, "command": "select fail()", "schedule": "0 0 1 1 *",
                "retry_delay": "1 second", "max_attempts": 2,
            }),
        );
        cluster.sql(&format!("select cron.run_now({job})"));
        let promise = promised(&cluster, job);
        cluster.sql(stop);
        let due: String = cluster
            .one(&format!("select not_before::text from cron.run_request where runid = {promise}"));
        // Another job's run that began after the retry was due shows that the time has come.
        let tick = cluster.schedule("tick", "1 second", "select 1");
        cluster.wait_for(&format!(
            "exists (select from cron.job_run_details where jobid = {tick} \
             and start_time > '{due}'::timestamptz + interval '1 second')"
        ));
        cluster.unschedule(tick);
        assert_eq!(cluster.runs_of(job).len(), 1, "{name}");
        cluster.sql(resume);
        poll_until("the retry", PATIENCE, || {
            cluster.finished_runs_of(job).into_iter().find(|run| run.runid == promise)
        });
    }
    let gone = job(
        &cluster,
        json!({
            "job_name": "gone", "command": "select fail()", "schedule": "0 0 1 1 *",
            "retry_delay": "1 second",
        }),
    );
    cluster.sql(&format!("select cron.run_now({gone})"));
    promised(&cluster, gone);
    cluster.unschedule(gone);
    cluster.wait_for(&format!("not exists (select from cron.run_request where jobid = {gone})"));
    in_order(&cluster);
}

#[test]
fn a_one_time_job_stays_until_its_last_attempt() {
    let cluster = Cluster::start();
    failing(&cluster, "40001", 1);
    let at: String = cluster.one(
        "select to_char((now() + interval '2 seconds') at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
    );
    let job = job(
        &cluster,
        json!({"command": "select fail()", "schedule": format!("at {at}"), "timezone": "UTC"}),
    );
    let runs = attempts(&cluster, job, succeeded);
    assert_eq!(runs.len(), 2, "{runs:#?}");
    cluster.wait_for(&format!("not (select active from cron.job where jobid = {job})"));
}

#[test]
fn a_retry_goes_on_from_its_checkpoint_and_never_beside_the_next_occurrence() {
    let cluster = Cluster::start();
    cluster.sql(
        "create table seen (attempt text, state text, begun timestamptz default clock_timestamp(), \
          ended timestamptz); \
         create procedure work() language plpgsql as $$ \
         declare me timestamptz := clock_timestamp(); begin \
          insert into seen values (current_setting('cron.attempt'), cron.last_checkpoint()::text, me); \
          perform cron.checkpoint('{\"done\": 7}'); commit; \
          if current_setting('cron.attempt') = '1' then raise 'x' using errcode = '40001'; end if; \
          update seen set ended = clock_timestamp() where begun = me; end $$",
    );
    let job = job(&cluster, json!({"command": "call work()", "retry_delay": "1 second"}));
    let runs = attempts(&cluster, job, succeeded);
    assert_eq!(runs.len(), 2);
    cluster.stop_all_jobs();
    let second: Vec<String> = cluster.column("select distinct state from seen where attempt = '2'");
    assert_eq!(second, ["{\"done\": 7}"]);
    let overlaps: i64 = cluster.one(
        "select count(*) from cron.job_run_details a join cron.job_run_details b \
          on a.jobid = b.jobid and a.runid < b.runid \
          and tstzrange(a.start_time, a.end_time) && tstzrange(b.start_time, b.end_time)",
    );
    assert_eq!(overlaps, 0);
    in_order(&cluster);
}
