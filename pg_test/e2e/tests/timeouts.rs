//! Runs that take too long: cancelled at their timeout, terminated when they go on all the same, and
//! recorded as what they are; runs that give no sign of life.

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until};
use serde_json::json;

/// A cluster in which a cancelled run is terminated soon.
fn impatient() -> Cluster {
    Cluster::builder().conf("cron.cancel_grace", "300ms").start()
}

/// A job that runs every second and may take that long.
fn limited(cluster: &Cluster, timeout: &str, command: &str) -> i64 {
    cluster.one_with(
        "select cron.create_job('limited', '1 second', $1, timeout => $2::text::interval)",
        &[&command, &timeout],
    )
}

/// What the command comes to in a job with that timeout.
fn timed(cluster: &Cluster, timeout: &str, command: &str) -> Run {
    let job = limited(cluster, timeout, command);
    let run = cluster.finished_run(job);
    cluster.unschedule(job);
    run
}

#[track_caller]
fn assert_ended(run: &Run, words: &str, reason: &str) {
    assert_eq!(
        (run.status.as_str(), run.outcome.as_deref()),
        ("failed", Some("timeout")),
        "{run:#?}"
    );
    let words = format!("ERROR:  canceling statement due to {words} of the job\n");
    assert!(run.return_message.starts_with(&words), "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some(reason), "{run:#?}");
    assert!(run.end_time >= run.start_time && run.sqlstate.is_some(), "{run:#?}");
}

#[track_caller]
fn assert_timed_out(run: &Run, limit: &str) {
    assert_ended(run, "timeout", &format!("timeout of {limit}"));
}

#[track_caller]
fn assert_ended_as_stuck(run: &Run, limit: &str) {
    assert_ended(run, "missing heartbeats", &format!("no heartbeat for {limit}"));
}

#[test]
fn the_time_the_condition_takes_counts() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let asks = |name: &str, condition: &str| -> Run {
        let job = cluster.create_job(&json!({
            "job_name": name, "schedule": "1 second", "timeout": "250ms", "run_if": condition,
            "command": "insert into effect values (1); select pg_sleep(3600)",
        }));
        let run = cluster.finished_run(job);
        cluster.unschedule(job);
        run
    };
    let run = asks("asks for long", "(select true from pg_sleep(3600))");
    assert_timed_out(&run, "00:00:00.25");
    let run = asks("asks for a while", "(select true from pg_sleep(0.2))");
    assert_timed_out(&run, "00:00:00.25");
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
}

#[test]
fn a_run_is_cancelled_at_its_limit() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let run = timed(&cluster, "250ms", "insert into effect values (1); select pg_sleep(3600)");
    assert_timed_out(&run, "00:00:00.25");
    assert_eq!(run.sqlstate.as_deref(), Some("57014"), "{run:#?}");
    assert_eq!(run.return_message, "ERROR:  canceling statement due to timeout of the job\n");
    assert_eq!(run.guarantee.as_deref(), Some("exactly_once"), "{run:#?}");
    let took = run.end_time.unwrap().duration_since(run.start_time.unwrap()).unwrap();
    assert!(took.as_millis() >= 245, "{took:?}");
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0, "its work is rolled back");

    // What is done in time is what it is.
    let run = timed(&cluster, "1 hour", "select 1").must_have_succeeded();
    assert_eq!(run.reason, None);
    // The server's own limits are not the job's.
    let run = timed(&cluster, "1 hour", "set statement_timeout = 10; select pg_sleep(3600)");
    assert_eq!(
        (run.outcome.as_deref(), run.reason.as_deref()),
        (Some("timeout"), None),
        "{run:#?}"
    );
    assert!(run.return_message.contains("due to statement timeout"), "{run:#?}");
    // Nobody can pass an error of his own off as one.
    let raise = "do $$ begin raise 'canceling statement due to user request' \
         using errcode = 'query_canceled'; end $$";
    let run = timed(&cluster, "1 hour", raise).must_have_failed_with("57014");
    assert_eq!(run.outcome.as_deref(), Some("failed"), "{run:#?}");
}

#[test]
fn the_default_limit_holds_for_jobs_without_one() {
    let cluster = Cluster::builder().conf("cron.default_timeout", "200ms").start();
    let run = cluster.run_once("select pg_sleep(3600)");
    assert_timed_out(&run, "00:00:00.2");
    let free = limited(&cluster, "0", "select pg_sleep(1.5)");
    let _ = cluster.finished_run(free).must_have_succeeded();
}

#[test]
fn a_run_that_catches_the_cancel_is_terminated() {
    let cluster = impatient();
    let _ = cluster.run_once("select 1");
    let stubborn = "do $$ begin loop begin perform pg_sleep(3600); \
         exception when query_canceled then null; end; end loop; end $$";
    let run = timed(&cluster, "200ms", stubborn);
    assert_timed_out(&run, "00:00:00.2");
    assert_eq!(run.sqlstate.as_deref(), Some("57P01"), "{run:#?}");
    let detail = "DETAIL:  It went on for 00:00:00.3 after it was canceled, and its process was \
         terminated.\n";
    assert!(run.return_message.ends_with(detail), "{run:#?}");
    // Nobody else is harmed.
    let _ = cluster.run_once("select 1").must_have_succeeded();
    assert!(!cluster.log().contains("terminating any other active server processes"));
}

#[test]
fn catching_the_cancel_does_not_make_a_success() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let caught = "begin perform pg_sleep(3600); exception when query_canceled then \
         insert into effect values (1); end";
    for command in [
        format!("do $$ {caught} $$"),
        format!("do $$ {caught} $$; select 1"),
        format!("begin; do $$ {caught} $$; commit"),
    ] {
        let run = timed(&cluster, "200ms", &command);
        assert_timed_out(&run, "00:00:00.2");
        assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0, "{command}");
    }
    // An error of its own on the way is told, and changes nothing.
    let own = "do $$ begin perform pg_sleep(3600); exception when query_canceled then \
         raise 'out of paper'; end $$";
    let run = timed(&cluster, "200ms", own);
    assert_timed_out(&run, "00:00:00.2");
    assert!(run.return_message.contains("DETAIL:  The command ended with: out of paper\n"));
    assert_eq!(run.error_field("message"), "out of paper", "{run:#?}");
}

/// A procedure that commits two batches after the ones its occurrence has done, and then, where `sleeps` holds,
/// goes on for ever.
fn create_batches(cluster: &Cluster, sleeps: &str) {
    cluster.sql(&format!(
        "create table effect (n int);
         create procedure batches() language plpgsql as $$
         declare n int := coalesce((cron.last_checkpoint() ->> 'n')::int, 0);
         begin
             for i in n + 1 .. n + 2 loop
                 perform cron.heartbeat(note => 'batch ' || i);
                 insert into effect values (i);
                 perform cron.checkpoint(jsonb_build_object('n', i));
                 commit;
             end loop;
             if {sleeps} then
                 insert into effect values (-1);
                 perform pg_sleep(3600);
             end if;
         end $$"
    ));
}

#[test]
fn committed_batches_and_the_checkpoint_stay() {
    let cluster = Cluster::start();
    create_batches(&cluster, "true");
    let run = timed(&cluster, "500ms", "call batches()");
    assert_timed_out(&run, "00:00:00.5");
    assert_eq!(run.guarantee.as_deref(), Some("at_most_once"), "{run:#?}");
    let kept = cluster.column::<i32>("select n from effect order by n");
    assert!(kept.starts_with(&[1, 2]) && !kept.contains(&-1), "{kept:?}");
    let noted: String = cluster.one_with(
        "select data::text from cron.run_checkpoint where jobid = $1 order by scheduled_for limit 1",
        &[&run.jobid],
    );
    assert_eq!(noted, "{\"n\": 2}");
}

#[test]
fn what_waits_for_a_lock_or_vacuums_is_cancelled_too() {
    let cluster = Cluster::start();
    cluster.sql("create table wanted (n int); insert into wanted select generate_series(1, 100)");
    let mut session = cluster.client();
    let mut holder = session.transaction().unwrap();
    holder.batch_execute("lock table wanted in access exclusive mode").unwrap();
    for command in ["update wanted set n = 2", "vacuum wanted"] {
        assert_timed_out(&timed(&cluster, "200ms", command), "00:00:00.2");
    }
    holder.rollback().unwrap();
}

#[test]
fn runs_in_other_databases_have_limits_as_well() {
    let cluster = impatient();
    cluster.sql("create database other");
    cluster.client_in("other").batch_execute("create table effect (n int)").unwrap();
    for (name, command) in [
        ("sleeps", "insert into effect values (1); select pg_sleep(3600)"),
        (
            "catches",
            "do $$ begin loop begin perform pg_sleep(3600); exception when query_canceled \
             then null; end; end loop; end $$",
        ),
    ] {
        let job: i64 = cluster.one_with(
            "select cron.create_job($1, '1 second', $2, database => 'other', timeout => '200ms')",
            &[&name, &command],
        );
        let run = cluster.finished_run(job);
        cluster.unschedule(job);
        assert_timed_out(&run, "00:00:00.2");
    }
    let left: i64 =
        cluster.client_in("other").query_one("select count(*) from effect", &[]).unwrap().get(0);
    assert_eq!(left, 0);
}

#[test]
fn the_next_scheduler_goes_on_with_the_deadline() {
    let cluster = impatient();
    let stubborn = "do $$ begin loop begin perform pg_sleep(3600); \
         exception when query_canceled then null; end; end loop; end $$";
    let (timeout, silence) =
        ("timeout => '3 seconds'", "stuck_after => '3 seconds', on_stuck => 'cancel'");
    for (name, command, limit, state) in [
        ("sleeps", "select pg_sleep(3600)", timeout, "57014"),
        ("catches", stubborn, timeout, "57P01"),
        ("is silent", "select pg_sleep(3600)", silence, "57014"),
        ("is silent and catches", stubborn, silence, "57P01"),
    ] {
        let job: i64 = cluster.one_with(
            &format!("select cron.create_job($1, '1 second', $2, {limit})"),
            &[&name, &command],
        );
        let under_way = cluster.run_in_status(job, "running");
        cluster.terminate(cluster.wait_scheduler());
        let run = cluster.finished_run(job);
        assert_eq!(run.runid, under_way.runid);
        cluster.unschedule(job);
        if limit == timeout {
            assert_timed_out(&run, "00:00:03");
        } else {
            assert_ended_as_stuck(&run, "00:00:03");
        }
        assert_eq!(run.sqlstate.as_deref(), Some(state), "{run:#?}");
    }
}

#[test]
fn a_run_shows_when_it_has_to_be_over() {
    let cluster = Cluster::start();
    let job = limited(&cluster, "1 hour", "select pg_sleep(3600)");
    let _ = cluster.executor_of(job);
    let shown: bool = cluster.one_with(
        "select deadline = started_at + interval '1 hour' and not stuck \
         from cron.running where jobid = $1",
        &[&job],
    );
    assert!(shown);
    // A change of the option is for the runs that begin after it.
    cluster.sql("select cron.set_job('limited', '{\"timeout\": null}')");
    let still: bool =
        cluster.one_with("select deadline is not null from cron.running where jobid = $1", &[&job]);
    assert!(still);
}

/// How often the server log says that a run of the job is stuck, and what of it.
fn complaints(cluster: &Cluster, run: i64, job: i64, what: &str) -> usize {
    let line = format!("pg_tock: run {run} of job {job} is stuck{what}");
    cluster.log().lines().filter(|text| text.contains(&line) && text.contains("WARNING:")).count()
}

#[test]
fn a_run_without_heartbeats_is_stuck_until_the_next_one() {
    let cluster = Cluster::start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(1), pg_advisory_lock(2)").unwrap();
    let job: i64 = cluster.one(
        "select cron.create_job('quiet', '1 second', $$ do $b$ begin for i in 1 .. 2 loop \
         while not pg_try_advisory_lock(i) loop perform pg_sleep(0.02); end loop; \
         perform cron.heartbeat(note => 'step ' || i); end loop; end $b$ $$, \
         stuck_after => '500ms')",
    );
    let shown = |note: Option<&str>| -> i64 {
        poll_until(&format!("a stuck run that noted {note:?}"), PATIENCE, || {
            let query = "select runid from cron.running \
                 where jobid = $1 and stuck and note is not distinct from $2";
            cluster.rows(query, &[&job, &note]).first().map(|row| row.get(0))
        })
    };
    let said = |run: i64, times: usize| {
        poll_until(&format!("{times} lines in the log"), PATIENCE, || {
            (complaints(&cluster, run, job, ": no heartbeat for 00:00:00.5") >= times).then_some(())
        });
    };
    let run = shown(None);
    said(run, 1);
    // One sign of life, then silence again: another episode, and one more line.
    gate.batch_execute("select pg_advisory_unlock(1)").unwrap();
    assert_eq!(shown(Some("step 1")), run);
    said(run, 2);
    // It is left alone: somebody has to end it.
    assert!(cluster.one_with::<bool>("select cron.cancel_run($1, 'stuck')", &[&run]));
    let ended = cluster.finished_run(job);
    assert_eq!(ended.reason.as_deref(), Some("cancelled by postgres: stuck"), "{ended:#?}");
    assert_eq!(complaints(&cluster, run, job, ": no heartbeat for 00:00:00.5"), 2);
}

#[test]
fn a_stuck_run_is_cancelled_if_its_job_says_so_and_tried_again() {
    let cluster = Cluster::start();
    create_batches(&cluster, "current_setting('cron.attempt') = '1'");
    let job: i64 = cluster.one(
        "select cron.create_job('silent', '10 seconds', 'call batches()', stuck_after => '3 s', \
         on_stuck => 'cancel', max_attempts => 2, retry_on => 'any', retry_delay => '100ms')",
    );
    let runs = cluster.finished_runs(job, 2);
    cluster.unschedule(job);
    let [first, second] = runs.get(..2).unwrap() else { panic!("{runs:#?}") };
    assert_ended_as_stuck(first, "00:00:03");
    assert_eq!((first.attempt, first.sqlstate.as_deref()), (1, Some("57014")), "{first:#?}");
    assert_eq!(second.attempt, 2, "{second:#?}");
    assert_eq!(second.scheduled_for, first.scheduled_for);
    assert_eq!(second.outcome.as_deref(), Some("succeeded"), "{second:#?}");
    // What it had committed stays, and the next attempt goes on from there.
    let kept = cluster.column::<i32>("select n from effect order by n");
    assert!(kept.starts_with(&[1, 2, 3, 4]), "{kept:?}");
    // It is said as well, and counted as a timeout.
    assert_eq!(
        complaints(&cluster, first.runid, job, " and is cancelled: no heartbeat for 00:00:03"),
        1
    );
    let message =
        format!("run {} has given no heartbeat for 00:00:03 and is cancelled", first.runid);
    cluster.wait_for(&format!(
        "exists (select from cron.alerts where jobid = {job} and rule = 'stuck' \
         and message = '{message}' and recovered_at is not null)"
    ));
}

#[test]
fn a_run_that_gives_heartbeats_is_not_cancelled() {
    let cluster = Cluster::start();
    let beating = "do $$ declare began timestamptz := clock_timestamp(); begin \
         while clock_timestamp() < began + interval '7 seconds' loop \
         perform cron.heartbeat(); perform pg_sleep(0.05); end loop; end $$";
    let job: i64 = cluster.one_with(
        "select cron.create_job('beats', '1 second', $1, stuck_after => '3 seconds', \
         on_stuck => 'cancel')",
        &[&beating],
    );
    let run = cluster.finished_run(job).must_have_succeeded();
    assert_eq!(run.reason, None, "{run:#?}");
    assert!(!cluster.log().contains("is stuck"));
}

#[test]
fn a_stuck_run_that_catches_the_cancel_is_terminated() {
    let cluster = impatient();
    let stubborn = "do $$ begin loop begin perform pg_sleep(3600); \
         exception when query_canceled then perform cron.heartbeat(); end; end loop; end $$";
    let job: i64 = cluster.one_with(
        "select cron.create_job('stubborn', '1 second', $1, timeout => '1 hour', \
         stuck_after => '300ms', on_stuck => 'cancel')",
        &[&stubborn],
    );
    let run = cluster.finished_run(job);
    cluster.unschedule(job);
    // It gives a heartbeat again, and is ended all the same.
    assert_ended_as_stuck(&run, "00:00:00.3");
    assert_eq!(run.sqlstate.as_deref(), Some("57P01"), "{run:#?}");
}
