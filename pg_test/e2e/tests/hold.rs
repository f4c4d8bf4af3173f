//! A run holds its job's lock, and `cron.hold` keeps a job from running.

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until, sqlstate, stays_true};

/// The locks of that job's form, as one text: mode, whether granted, and whose.
fn locks(cluster: &Cluster, job: i64) -> Vec<String> {
    let query = "select mode || ' ' || granted || ' ' || a.backend_type from pg_locks l \
         join pg_stat_activity a using (pid) \
         where locktype = 'advisory' and objsubid = 3 and classid::bigint = $1::bigint >> 32 \
         and objid::bigint = $1::bigint & 4294967295 \
         and l.database = (select oid from pg_database where datname = 'postgres') order by 1";
    cluster.rows(query, &[&job]).iter().map(|row| row.get(0)).collect()
}

fn started(cluster: &Cluster, job: i64) -> bool {
    cluster.one_with("select exists (select from cron.running where jobid = $1)", &[&job])
}

#[test]
fn a_run_shows_its_lock_and_drops_it_at_its_end() {
    let cluster = Cluster::start();
    let single = cluster.schedule("single", "1 second", "select pg_sleep(3600)");
    let several =
        cluster.schedule("several", "1 second", "do $$ begin perform pg_sleep(3600); end $$");
    for job in [single, several] {
        let pid = cluster.executor_of(job);
        assert_eq!(locks(&cluster, job), ["ExclusiveLock true pg_tock executor"]);
        // What users can take is another lock, also with the same numbers.
        let mut client = cluster.client();
        let high = i32::try_from(job >> 32).unwrap();
        let low = i32::try_from(job).unwrap();
        for call in [
            format!("select pg_try_advisory_lock({job})"),
            format!("select pg_try_advisory_lock({high}, {low})"),
        ] {
            assert!(client.query_one(&call, &[]).unwrap().get::<_, bool>(0), "{call}");
        }
        cluster.unschedule(job);
        cluster.wait_for(&format!(
            "not exists (select from pg_stat_activity where pid = {pid} and state <> 'idle')"
        ));
        assert!(locks(&cluster, job).is_empty());
    }
}

#[test]
fn a_job_cannot_drop_its_lock_and_one_that_did_takes_it_again() {
    let cluster = Cluster::start();
    let single = cluster.schedule(
        "single",
        "1 second",
        "select pg_advisory_unlock_all(); select pg_sleep(3600)",
    );
    let _ = cluster.executor_of(single);
    poll_until("the second statement", Duration::from_secs(45), || {
        let waiting: bool = cluster
            .one("select exists (select from pg_stat_activity where wait_event = 'PgSleep')");
        waiting.then_some(())
    });
    assert_eq!(locks(&cluster, single), ["ExclusiveLock true pg_tock executor"]);
    cluster.unschedule(single);

    let dropped = cluster.run_once("do $$ begin perform pg_advisory_unlock_all(); end $$");
    let _ = dropped.must_have_succeeded();
}

#[test]
fn a_run_that_gave_its_lock_away_does_not_settle_over_a_hold() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let job = cluster.schedule(
        "careless",
        "1 second",
        "select pg_advisory_unlock_all(); call wait_for_hold()",
    );
    cluster.sql(
        "create procedure wait_for_hold() language plpgsql as $$ begin \
         insert into effect values (1); \
         while not exists (select from pg_locks where locktype = 'advisory' and objsubid = 3 \
          and granted and pid <> pg_backend_pid()) loop perform pg_sleep(0.01); end loop; \
         end $$",
    );
    let mut holder = cluster.client();
    poll_until("a run that has dropped its lock", Duration::from_secs(45), || {
        (started(&cluster, job) && locks(&cluster, job).is_empty()).then_some(())
    });
    holder.execute("select cron.hold($1::bigint)", &[&job]).unwrap();
    let run = poll_until("a run that failed for its lock", Duration::from_secs(45), || {
        let runs = cluster.finished_runs_of(job);
        runs.into_iter().find(|run| run.sqlstate.as_deref() == Some("55P03"))
    });
    let _ = run.must_have_failed_with("55P03");
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0);
}

#[test]
fn a_held_job_waits_and_runs_when_it_is_released() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let job = cluster.schedule_as("ann", "tick", "1 second", "select 1");
    let _ = cluster.finished_run(job);
    let mut ann = cluster.client_as("ann");
    ann.execute("select cron.hold('tick')", &[]).unwrap();
    ann.execute("select cron.hold('tick')", &[]).unwrap(); // holds it already
    assert_eq!(locks(&cluster, job), ["ExclusiveLock true client backend"]);
    let before = cluster.runs_of(job).len();
    stays_true("nothing runs", Duration::from_millis(2500), || {
        cluster.runs_of(job).len() == before && !started(&cluster, job)
    });
    let released: bool = ann.query_one("select cron.release('tick')", &[]).unwrap().get(0);
    assert!(released);
    let again: bool = ann.query_one("select cron.release('tick')", &[]).unwrap().get(0);
    assert!(!again, "there is nothing left to release");
    // What was due meanwhile runs, each at its own instant.
    let runs = cluster.finished_runs(job, before + 3);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
    let skipped: i64 =
        cluster.one_with("select count(*) from cron.job_skip where jobid = $1", &[&job]);
    assert_eq!(skipped, 0);
}

#[test]
fn a_hold_ends_however_its_session_lets_go() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    for way in ["select pg_advisory_unlock_all()", "discard all", "end of the session", "terminate"]
    {
        let _ = cluster.finished_run(job);
        let mut holder = cluster.client();
        holder.execute("select cron.hold($1::bigint)", &[&job]).unwrap();
        let before = cluster.runs_of(job).len();
        stays_true("nothing runs", Duration::from_millis(1500), || {
            cluster.runs_of(job).len() == before
        });
        match way {
            "end of the session" => drop(holder),
            "terminate" => {
                let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
                cluster.terminate(pid);
            }
            statement => holder.batch_execute(statement).unwrap(),
        }
        let _ = cluster.finished_runs(job, before + 2);
    }
}

#[test]
fn hold_waits_for_the_run_under_way_and_can_be_given_up() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let job = cluster.schedule("slow", "1 second", "update gate set n = n + 1");
    let mut gate = cluster.client();
    let mut open = gate.transaction().unwrap();
    open.execute("select from gate for update", &[]).unwrap();
    let _ = cluster.executor_of(job);

    let mut holder = cluster.client();
    holder.batch_execute("set lock_timeout = '200ms'").unwrap();
    let error = holder.execute("select cron.hold($1::bigint)", &[&job]).unwrap_err();
    assert_eq!(sqlstate(&error), "55P03");
    assert_eq!(locks(&cluster, job), ["ExclusiveLock true pg_tock executor"]);

    holder.batch_execute("set lock_timeout = 0").unwrap();
    let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let waiter = std::thread::spawn(move || {
        holder.execute("select cron.hold('slow')", &[]).unwrap();
        holder
    });
    cluster.wait_for(&format!(
        "exists (select from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock')"
    ));
    open.commit().unwrap();
    let holder = waiter.join().unwrap();
    let runs = cluster.finished_runs(job, 1).len();
    stays_true("nothing runs", Duration::from_millis(1500), || cluster.runs_of(job).len() == runs);
    drop(holder);
    let _ = cluster.finished_runs(job, runs + 1);
}

#[test]
fn a_hold_waits_for_all_runs_that_share_a_lock_and_lets_no_other_begin() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (n int); insert into gate values (1)");
    let job: i64 = cluster.one(
        "select cron.create_job('shares', '0 0 29 2 *', 'update gate set n = n + 1', \
          on_overlap => 'allow', max_concurrency => 3)",
    );
    let mut gate = cluster.client();
    let mut open = gate.transaction().unwrap();
    open.execute("select from gate for update", &[]).unwrap();
    cluster.sql("select cron.run_now('shares'); select cron.run_now('shares')");
    poll_until("two runs with the lock", Duration::from_secs(45), || {
        (locks(&cluster, job) == ["ShareLock true pg_tock executor"; 2]).then_some(())
    });
    let mut holder = cluster.client();
    let waiter = std::thread::spawn(move || {
        holder.execute("select cron.hold('shares')", &[]).unwrap();
        holder
    });
    poll_until("the hold waits", Duration::from_secs(45), || {
        (locks(&cluster, job).len() == 3).then_some(())
    });
    // There is room for a third run, but not beside a hold that waits.
    cluster.sql("select cron.run_now('shares')");
    stays_true("two runs are under way", Duration::from_millis(1500), || {
        locks(&cluster, job).len() == 3 && !waiter.is_finished()
    });
    open.commit().unwrap();
    let holder = waiter.join().unwrap();
    assert_eq!(cluster.finished_runs(job, 2).len(), 2);
    drop(holder);
    let _ = cluster.finished_runs(job, 3);
    assert_eq!(cluster.one::<i32>("select n from gate"), 4);
}

#[test]
fn only_who_may_change_a_job_may_hold_it() {
    let cluster = Cluster::start();
    for role in ["ann", "bob", "carl"] {
        cluster.role(role);
    }
    cluster.sql("grant ann to carl");
    let job = cluster.schedule_as("ann", "hers", "@hourly", "select 1");
    for (role, allowed) in [("ann", true), ("bob", false), ("carl", true), ("postgres", true)] {
        let mut client = cluster.client_as(role);
        let held = client.execute("select cron.hold($1::bigint)", &[&job]);
        assert_eq!(held.is_ok(), allowed, "{role}");
        if let Err(error) = held {
            assert_eq!(sqlstate(&error), "42501");
        }
        drop(client);
        poll_until("the hold to end", Duration::from_secs(45), || {
            locks(&cluster, job).is_empty().then_some(())
        });
    }
    let mut client = cluster.client();
    for (call, code) in [
        ("select cron.hold(987654321::bigint)", "42704"),
        ("select cron.hold('nobody''s')", "42704"),
        ("select cron.hold(null::bigint)", "22023"),
        ("select cron.hold(null::text)", "22023"),
        ("select cron.release(null::bigint)", "22023"),
        ("select cron.release('nobody''s')", "42704"),
    ] {
        let error = client.execute(call, &[]).unwrap_err();
        assert_eq!(sqlstate(&error), code, "{call}");
    }
    let run = cluster.run_once("select cron.hold('once')");
    let _ = run.must_have_failed_with("55000");
}

#[test]
fn runs_in_other_databases_hold_the_lock_and_obey_it() {
    let cluster = Cluster::start();
    cluster.sql("create database other");
    let job: i64 = cluster.one(
        "select cron.schedule_in_database('far', '1 second', 'select pg_sleep(0.2)', 'other')",
    );
    poll_until("a lock", Duration::from_secs(45), || {
        (locks(&cluster, job) == ["ExclusiveLock true pg_tock executor"]).then_some(())
    });
    let mut holder = cluster.client();
    holder.execute("select cron.hold($1::bigint)", &[&job]).unwrap();
    cluster.wait_quiet();
    let before = cluster.runs_of(job).len();
    stays_true("nothing runs, no row says so", Duration::from_millis(2500), || {
        cluster.runs_of(job).len() == before
    });
    drop(holder);
    let runs = cluster.finished_runs(job, before + 3);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
}
