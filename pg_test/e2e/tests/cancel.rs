//! `cron.cancel_run`: who may end which run, and what is recorded of that.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::{Cluster, PATIENCE, Run, poll_until, signal, sqlstate};
use postgres::Client;
use rustix::process::Signal;

/// The run a job has now.
fn run_now(cluster: &Cluster, job: i64) -> i64 {
    poll_until(&format!("a run of job {job}"), PATIENCE, || {
        cluster
            .rows("select runid from cron.running where jobid = $1", &[&job])
            .first()
            .map(|row| row.get(0))
    })
}

fn cancel(client: &mut Client, run: i64, reason: Option<&str>) -> Result<bool, postgres::Error> {
    client.query_one("select cron.cancel_run($1, $2)", &[&run, &reason]).map(|row| row.get(0))
}

fn closed(cluster: &Cluster, job: i64, run: i64) -> Run {
    poll_until(&format!("run {run} is closed"), PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|row| row.runid == run)
    })
}

#[track_caller]
fn assert_cancelled(run: &Run, reason: &str) {
    let outcome = (run.status.as_str(), run.outcome.as_deref(), run.reason.as_deref());
    assert_eq!(outcome, ("failed", Some("cancelled"), Some(reason)), "{run:#?}");
    assert!(run.end_time.is_some(), "{run:#?}");
}

#[test]
fn owners_members_and_superusers_end_a_run_and_say_why() {
    let cluster = Cluster::start();
    for role in ["ann", "bob", "eve"] {
        cluster.role(role);
    }
    cluster.sql("grant ann to bob; create table effect (n int); grant insert on effect to ann");
    let command = "insert into effect values (1); select pg_sleep(3600)";
    let job = cluster.schedule_as("ann", "nap", "1 second", command);
    let run = run_now(&cluster, job);
    let error = cancel(&mut cluster.client_as("eve"), run, None).unwrap_err();
    assert_eq!(sqlstate(&error), "42501");

    for (role, why, reason) in [
        ("ann", None, "cancelled by ann"),
        ("bob", Some("too slow"), "cancelled by bob: too slow"),
        ("postgres", Some("höher"), "cancelled by postgres: höher"),
    ] {
        let run = run_now(&cluster, job);
        assert!(cancel(&mut cluster.client_as(role), run, why).unwrap());
        let row = closed(&cluster, job, run);
        assert_cancelled(&row, reason);
        assert_eq!(row.return_message, "ERROR:  canceling statement due to cron.cancel_run\n");
        assert_eq!(row.sqlstate.as_deref(), Some("57014"), "{row:#?}");
        // It is over, for everybody who may know.
        assert!(!cancel(&mut cluster.client_as("ann"), run, None).unwrap());
        let error = cancel(&mut cluster.client_as("eve"), run, None).unwrap_err();
        assert_eq!(sqlstate(&error), "42501");
        poll_until("the next run", PATIENCE, || (run_now(&cluster, job) != run).then_some(()));
    }
    let mut ann = cluster.client_as("ann");
    assert_eq!(sqlstate(&cancel(&mut ann, 999_999, None).unwrap_err()), "42704");
    let null = ann.query_one("select cron.cancel_run(null)", &[]).unwrap_err();
    assert_eq!(sqlstate(&null), "22023");
    cluster.stop_all_jobs();
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
}

#[test]
fn the_first_who_asks_is_recorded() {
    let cluster = Cluster::start();
    let job = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    let run = run_now(&cluster, job);
    // The executor cannot take the signal yet.
    let executor = cluster.executor_of(job);
    signal(executor, Signal::STOP);
    let mut client = cluster.client();
    assert!(cancel(&mut client, run, Some("first")).unwrap());
    assert!(cancel(&mut client, run, Some("second")).unwrap(), "it is ending, as asked");
    cluster.unschedule(job);
    signal(executor, Signal::CONT);
    assert_cancelled(&closed(&cluster, job, run), "cancelled by postgres: first");
}

#[test]
fn a_run_that_goes_on_is_terminated() {
    let cluster = Cluster::builder().conf("cron.cancel_grace", "200ms").start();
    cluster.sql("create database other");
    let stubborn = "do $$ begin loop begin perform pg_sleep(3600); \
         exception when query_canceled then null; end; end loop; end $$";
    for database in ["postgres", "other"] {
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database($1, '1 second', $2, $1)",
            &[&database, &stubborn],
        );
        let run = run_now(&cluster, job);
        // Before that it does not catch what cancels it.
        cluster.wait_for(
            "(select exists (select from pg_stat_activity where wait_event = 'PgSleep'))",
        );
        assert!(cancel(&mut cluster.client(), run, Some("enough")).unwrap());
        let row = closed(&cluster, job, run);
        cluster.unschedule(job);
        assert_cancelled(&row, "cancelled by postgres: enough");
        assert_eq!(row.sqlstate.as_deref(), Some("57P01"), "{row:#?}");
        assert!(row.return_message.contains("00:00:00.2 after it was canceled"), "{row:#?}");
    }
}

#[test]
fn a_run_in_another_database_is_ended() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    let job: i64 = cluster.one(
        "select cron.schedule_in_database('far', '1 second', 'select pg_sleep(3600)', 'other')",
    );
    let run = run_now(&cluster, job);
    assert!(cancel(&mut cluster.client(), run, None).unwrap());
    assert_cancelled(&closed(&cluster, job, run), "cancelled by postgres");
}

#[test]
fn a_job_that_is_dropped_or_switched_off_says_so() {
    let cluster = Cluster::start();
    for end in ["cron.unschedule($1::bigint)", "cron.alter_job($1, active => false) is null"] {
        let job = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
        let run = run_now(&cluster, job);
        let _: bool = cluster.one_with(&format!("select {end}"), &[&job]);
        let row = closed(&cluster, job, run);
        assert_cancelled(&row, "job dropped or inactive");
        assert_eq!(row.return_message, "job canceled");
    }
}

#[test]
fn a_request_that_waits_is_taken_back() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("eve");
    cluster.sql("create table effect (n int); grant insert on effect to ann");
    let job = cluster.schedule_as("ann", "rare", "0 0 1 1 *", "insert into effect values (1)");
    let mut ann = cluster.client_as("ann");
    ann.execute("select cron.hold('rare')", &[]).unwrap();
    let request = |client: &mut Client| -> i64 {
        client.query_one("select cron.run_now('rare')", &[]).unwrap().get(0)
    };
    let (first, second) = (request(&mut ann), request(&mut ann));
    let error = cancel(&mut cluster.client_as("eve"), first, None).unwrap_err();
    assert_eq!(sqlstate(&error), "42501");

    // What is rolled back has not happened.
    let mut transaction = ann.transaction().unwrap();
    let taken: bool =
        transaction.query_one("select cron.cancel_run($1, 'no')", &[&first]).unwrap().get(0);
    assert!(taken);
    transaction.rollback().unwrap();
    assert!(cluster.runs_of(job).is_empty());

    assert!(cancel(&mut ann, first, Some("not needed")).unwrap());
    let row = closed(&cluster, job, first);
    assert_cancelled(&row, "cancelled by ann: not needed");
    assert_eq!(row.return_message, "run canceled before it began");
    assert_eq!((row.trigger.as_str(), row.attempt), ("manual", 1), "{row:#?}");
    assert!(!cancel(&mut ann, first, None).unwrap());

    ann.execute("select cron.release('rare')", &[]).unwrap();
    let _ = closed(&cluster, job, second).must_have_succeeded();
    cluster.wait_for("not exists (select from cron.run_request)");
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 1);
    assert_eq!(cluster.runs_of(job).len(), 2);
    cluster.wait_for("not exists (select from cron.run_cancel)");
    cluster.wait_for(&format!(
        "(select total_runs = 2 and failed_runs = 1 from cron.job_stats where jobid = {job})"
    ));
}

/// Does `act` again and again until executors have found a held job so many times more. Meanwhile each end
/// of a hold of the job `spoon` has the scheduler try once more whatever waits for one.
fn while_tried(cluster: &Cluster, times: usize, mut act: impl FnMut()) {
    let tried = || cluster.log().matches("did not begin: job is held").count();
    let enough = tried() + times;
    std::thread::scope(|scope| {
        let stirring = scope.spawn(|| {
            let mut client = cluster.client();
            let stir = "select cron.hold('spoon'); select cron.release('spoon')";
            poll_until("executors find the job held", PATIENCE, || {
                for _ in 0..10 {
                    client.batch_execute(stir).unwrap();
                }
                (tried() >= enough).then_some(())
            });
        });
        while !stirring.is_finished() {
            act();
        }
    });
}

#[test]
fn a_cancel_of_what_only_tries_its_lock_counts_when_it_is_committed() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (run bigint)");
    let effect = "insert into effect values (current_setting('cron.run_id')::bigint)";
    let rare = cluster.schedule("rare", "0 0 1 1 *", effect);
    let seldom = cluster.schedule("seldom", "0 0 1 1 *", effect);
    let _ = cluster.schedule("spoon", "0 0 1 1 *", "select 1");
    let mut holder = cluster.client();
    holder.batch_execute("select cron.hold('rare')").unwrap();
    let kept: i64 = cluster.one("select cron.run_now('rare')");
    let mut client = cluster.client();
    let rolled_back = format!(
        "do $$ begin for i in 1..50 loop \
             perform cron.cancel_run({kept}, 'no'); rollback; \
             begin perform cron.cancel_run({kept}, 'no'); raise division_by_zero; \
             exception when division_by_zero then null; end; commit; \
         end loop; end $$"
    );
    while_tried(&cluster, 200, || {
        client.batch_execute(&rolled_back).unwrap();
        assert!(cluster.runs_of(rare).is_empty(), "what is rolled back has not happened");
    });
    holder.batch_execute("select cron.release('rare'); select cron.hold('seldom')").unwrap();
    let _ = closed(&cluster, rare, kept).must_have_succeeded();

    // Those that are committed count, once each, wherever their run is just then.
    let mut cancelled: Vec<i64> = Vec::new();
    while_tried(&cluster, 200, || {
        let run: i64 = cluster.one("select cron.run_now('seldom')");
        assert!(cancel(&mut client, run, Some("yes")).unwrap());
        cancelled.push(run);
    });
    // A scheduler that is busy hears of the last ones later; even so they must not begin.
    holder.batch_execute("select cron.release('seldom')").unwrap();
    cluster.wait_for("not exists (select from cron.run_request)");
    cluster.wait_for("not exists (select from cron.run_cancel)");
    let rows = cluster.finished_runs(seldom, cancelled.len());
    assert_eq!(rows.iter().map(|row| row.runid).collect::<Vec<_>>(), cancelled);
    for row in &rows {
        assert_cancelled(row, "cancelled by postgres: yes");
    }
    assert_eq!(cluster.column::<i64>("select run from effect"), [kept]);
    assert_eq!(cluster.runs_of(rare).len(), 1);
    for (job, runs) in [(rare, 1), (seldom, cancelled.len())] {
        cluster.wait_for(&format!(
            "(select total_runs = {runs} from cron.job_stats where jobid = {job})"
        ));
    }
}

/// Has the executor `executor` find a run of `job` in its queue that was taken back after it was put there, while
/// the scheduler reads nothing.
fn cancel_on_the_way(cluster: &Cluster, scheduler: i32, executor: i32, job: i64) -> i64 {
    let met = || cluster.log().matches(&format!("cron job {job} cancelled")).count();
    let before = met();
    signal(executor, Signal::STOP);
    let run: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
    // The second one is answered by a turn that has read of the run.
    cluster.flush();
    cluster.flush();
    signal(scheduler, Signal::STOP);
    let mut client = cluster.client();
    let mut transaction = client.transaction().unwrap();
    let mut within = transaction.savepoint("within").unwrap();
    let asked: bool =
        within.query_one("select cron.cancel_run($1, 'yes')", &[&run]).unwrap().get(0);
    assert!(asked);
    within.commit().unwrap();
    transaction.commit().unwrap();
    signal(executor, Signal::CONT);
    poll_until("the executor has met the run", PATIENCE, || (met() > before).then_some(()));
    signal(scheduler, Signal::CONT);
    run
}

#[test]
fn a_run_that_was_cancelled_before_it_began_does_not_begin() {
    let cluster = Cluster::start();
    let scheduler = cluster.wait_scheduler();
    cluster.sql("create database other");
    let effect = "insert into effect values (current_setting('cron.run_id')::bigint)";
    for database in ["postgres", "other"] {
        let mut there = cluster.client_in(database);
        there.batch_execute("create table effect (run bigint)").unwrap();
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database($1, '0 0 1 1 *', $2, $1)",
            &[&database, &effect],
        );
        let warm: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
        let _ = closed(&cluster, job, warm).must_have_succeeded();
        let executor: i32 = cluster.one_with(
            "select pid from pg_stat_activity \
             where backend_type = 'pg_tock executor' and datname = $1",
            &[&database],
        );
        for _ in 0..3 {
            let run = cancel_on_the_way(&cluster, scheduler, executor, job);
            let row = closed(&cluster, job, run);
            assert_cancelled(&row, "cancelled by postgres: yes");
            assert_eq!(row.return_message, "run canceled before it began");
        }
        // Nothing is left that would keep a later run from running.
        let last: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
        let _ = closed(&cluster, job, last).must_have_succeeded();
        let effects = there.query("select run from effect order by run", &[]).unwrap();
        let effects: Vec<i64> = effects.iter().map(|row| row.get(0)).collect();
        assert_eq!(effects, [warm, last]);
    }
    cluster.wait_for("not exists (select from cron.run_request)");
    cluster.wait_for("not exists (select from cron.run_cancel)");
}

#[test]
fn a_run_that_gets_its_lock_before_the_cancel_is_committed_is_ended_then() {
    let cluster = Cluster::start();
    let job = cluster.schedule("rare", "0 0 1 1 *", "select pg_sleep(3600)");
    let mut holder = cluster.client();
    holder.execute("select cron.hold('rare')", &[]).unwrap();
    let run: i64 = cluster.one("select cron.run_now('rare')");
    let mut client = cluster.client();
    let mut transaction = client.transaction().unwrap();
    let asked: bool =
        transaction.query_one("select cron.cancel_run($1, 'late')", &[&run]).unwrap().get(0);
    assert!(asked);
    holder.execute("select cron.release('rare')", &[]).unwrap();
    assert_eq!(run_now(&cluster, job), run);
    transaction.commit().unwrap();
    assert_cancelled(&closed(&cluster, job, run), "cancelled by postgres: late");
    cluster.wait_for("not exists (select from cron.run_request)");
    cluster.wait_for("not exists (select from cron.run_cancel)");
    assert_eq!(cluster.runs_of(job).len(), 1);
}

#[test]
fn a_cancel_never_makes_a_committed_run_a_cancelled_one() {
    let cluster = Cluster::builder().conf("cron.cancel_grace", "0").start();
    cluster.sql("create table effect (run bigint)");
    let job = cluster.schedule(
        "quick",
        "1 second",
        "insert into effect values (current_setting('cron.run_id')::bigint); select pg_sleep(0.001)",
    );
    // Runs are short, so that cancels, and here the signal that ends the process with them, meet
    // them at every stage: before, in and after their commit. How long a run takes differs between
    // machines, so the pause before the cancel is drawn anew each time, up to one that outlives it.
    let mut client = cluster.client();
    let ask = "do $$ declare run bigint; began timestamptz; begin
             insert into cron.run_request (jobid, scheduled_for, trigger)
             select jobid, clock_timestamp(), 'manual' from cron.job;
             commit;
             began := clock_timestamp();
             loop
                 select runid into run from cron.running_runs();
                 exit when found or clock_timestamp() > began + interval '20 ms';
             end loop;
             if run is not null then
                 began := clock_timestamp() + random() * random() * interval '4 ms';
                 while clock_timestamp() < began loop end loop;
                 perform cron.cancel_run(run, 'race');
             end if;
         end $$";
    poll_until("cancels before and after the commit", PATIENCE, || {
        for _ in 0..20 {
            client.batch_execute(ask).unwrap();
        }
        let both: i64 = cluster.one(
            "select least(count(*) filter (where outcome = 'cancelled'), \
              count(*) filter (where outcome = 'succeeded')) from cron.job_run_details",
        );
        (both >= 30).then_some(())
    });
    cluster.sql(&format!("select cron.unschedule({job}::bigint)"));
    cluster.wait_quiet();
    let rows = cluster.rows(
        "select count(*) filter (where outcome = 'succeeded'), \
         count(*) filter (where outcome = 'cancelled'), \
         count(*) filter (where outcome not in ('succeeded', 'cancelled')), \
         count(*) filter (where (outcome = 'succeeded') <> (e.run is not null)) \
         from cron.job_run_details d left join effect e on e.run = d.runid",
        &[],
    );
    let counts: Vec<i64> = (0..4).map(|at| rows[0].get(at)).collect();
    assert_eq!(&counts[2..], [0, 0], "{counts:?}");
    assert!(counts[0] > 0 && counts[1] > 0, "both come about: {counts:?}");
}
