//! pg_cron's defects (contract, 3.1 and 3.2), each as a scenario that pg_cron fails.

use pg_tock_test::{Cluster, PATIENCE, cpu_time, poll_until, sqlstate, stays_true};
use std::time::{Duration, Instant};

/// Waits until a job has run `more` times from now on: its owner is served.
#[track_caller]
fn goes_on(cluster: &Cluster, job: i64, more: usize) {
    let before = cluster.finished_runs_of(job).len();
    let runs = cluster.finished_runs(job, before + more);
    assert!(runs.iter().skip(before).all(|run| run.status == "succeeded"), "{runs:#?}");
}

#[test]
fn a_hundred_overlapping_jobs_share_thirty_two_slots() {
    let cluster =
        Cluster::builder().max_worker_processes(40).conf("cron.max_running_jobs", "32").start();
    for n in 0..100 {
        cluster.schedule(&format!("job {n}"), "2 seconds", "select pg_sleep(1.5)");
    }
    poll_until("every one of the hundred has run twice", Duration::from_secs(90), || {
        let least: Option<i64> = cluster.one(
            "select min(n) from (select count(d.runid) filter (where d.status = 'succeeded') n \
             from cron.job j left join cron.job_run_details d using (jobid) group by jobid) counts",
        );
        assert!(
            cluster.one::<i64>(
                "select count(*) from pg_stat_activity \
                 where backend_type = 'pg_tock executor' and state = 'active'"
            ) <= 32
        );
        least.filter(|n| *n >= 2)
    });
}

#[test]
fn copy_to_stdout_stops_nobody() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.schedule_as("ann", "rude", "1 second", "copy (select 1) to stdout");
    cluster.schedule_as("ann", "rude too", "1 second", "copy pg_class from stdin");
    let job = cluster.schedule("polite", "1 second", "select 1");
    goes_on(&cluster, job, 4);
}

#[test]
fn a_dropped_owner_stops_only_their_own_jobs() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let ann = cluster.schedule_as("ann", "ann's", "1 second", "select 1");
    let bob = cluster.schedule_as("bob", "bob's", "1 second", "select 1");
    goes_on(&cluster, ann, 1);
    let scheduler = cluster.wait_scheduler();
    cluster.sql("drop owned by ann");
    cluster.sql("drop role ann");
    goes_on(&cluster, bob, 3);
    assert_eq!(cluster.wait_scheduler(), scheduler, "the scheduler took no harm");
    let state: String = cluster.one_with("select state from cron.jobs where jobid = $1", &[&ann]);
    assert_eq!(state, "owner missing");
    cluster.wait_for("not exists (select from pg_stat_activity where usename = 'ann')");
    // An inactive job of a missing owner is enough to stop pg_cron.
    cluster.sql(&format!("update cron.job set active = false where jobid = {ann}"));
    goes_on(&cluster, bob, 2);
}

#[test]
fn a_renamed_owner_stops_only_their_own_jobs_until_the_name_is_back() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let ann = cluster.schedule_as("ann", "ann's", "1 second", "select 1");
    let bob = cluster.schedule_as("bob", "bob's", "1 second", "select 1");
    goes_on(&cluster, ann, 1);
    cluster.sql("alter role ann rename to anna");
    goes_on(&cluster, bob, 3);
    let state: String = cluster.one_with("select state from cron.jobs where jobid = $1", &[&ann]);
    assert_eq!(state, "owner missing");
    cluster.sql("alter role anna rename to ann");
    let before = cluster.finished_runs_of(ann).len();
    poll_until("the job runs again under its owner's name", PATIENCE, || {
        cluster
            .finished_runs_of(ann)
            .iter()
            .skip(before)
            .find(|run| run.status == "succeeded")
            .map(|_| ())
    });
}

#[test]
fn an_owner_who_may_not_log_in_stops_only_their_own_jobs() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let ann = cluster.schedule_as("ann", "ann's", "1 second", "select 1");
    let bob = cluster.schedule_as("bob", "bob's", "1 second", "select 1");
    goes_on(&cluster, ann, 1);
    cluster.sql("alter role ann nologin");
    goes_on(&cluster, bob, 3);
    let state: String = cluster.one_with("select state from cron.jobs where jobid = $1", &[&ann]);
    assert_eq!(state, "owner cannot log in");
    cluster.sql("alter role ann login");
    let before = cluster.finished_runs_of(ann).len();
    poll_until("the job runs again", PATIENCE, || {
        let runs = cluster.finished_runs_of(ann);
        runs.iter().skip(before).any(|run| run.status == "succeeded").then_some(())
    });
}

#[test]
fn nothing_is_lost_that_cannot_start_while_no_run_id_can_be_drawn() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let ann = cluster.schedule_as("ann", "ann's", "1 second", "select 1");
    let bob = cluster.schedule_as("bob", "bob's", "1 second", "select 1");
    goes_on(&cluster, bob, 1);
    cluster.sql("alter role ann nologin");
    let failed = |at_least: usize| {
        poll_until("runs that could not start", PATIENCE, || {
            let runs = cluster.finished_runs_of(ann);
            let failed = runs.iter().filter(|run| run.status == "failed").count();
            (failed >= at_least).then_some(failed)
        })
    };
    let before = failed(1);
    let mut locker = cluster.client();
    locker.batch_execute("begin; alter sequence cron.runid_seq cache 1").expect("locked");
    // Ids that were drawn before are used up, and a few more would be needed.
    cluster.wait_for(
        "clock_timestamp() > (select max(end_time) + interval '3 seconds' from cron.job_run_details)",
    );
    locker.batch_execute("commit").expect("unlocked");
    goes_on(&cluster, bob, 2);
    let _ = failed(before + 2);
    let found = cluster.found_by_audit_of(ann);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn without_a_free_worker_slot_everybody_still_gets_a_turn() {
    // Slots: the logical replication launcher, our launcher, our scheduler, and one executor.
    let cluster = Cluster::builder().max_worker_processes(4).start();
    let owners = ["ann", "bob", "cat"];
    let jobs = owners.map(|owner| {
        cluster.role(owner);
        cluster.schedule_as(owner, "mine", "1 second", "select 1")
    });
    for job in jobs {
        goes_on(&cluster, job, 3);
    }
}

#[test]
fn waiting_for_a_worker_slot_does_not_spin() {
    let cluster = Cluster::builder().max_worker_processes(4).start();
    cluster.role("ann");
    cluster.role("bob");
    let hog = cluster.schedule_as("ann", "hog", "1 second", "select pg_sleep(3600)");
    let executor = cluster.executor_of(hog);
    let waiting = cluster.schedule_as("bob", "waiting", "1 second", "select 1");
    let scheduler = cluster.wait_scheduler();
    let (began, used) = (Instant::now(), cpu_time(scheduler));
    stays_true("no slot, no run", Duration::from_secs(5), || {
        cluster.runs_of(waiting).iter().all(|run| run.end_time.is_none())
    });
    let busy = cpu_time(scheduler).saturating_sub(used);
    assert!(busy < began.elapsed() / 4, "the scheduler was busy for {busy:?}");
    cluster.sql(&format!("select pg_cancel_backend({executor})"));
    goes_on(&cluster, waiting, 1);
}

#[test]
fn unscheduling_really_stops_the_query() {
    let cluster = Cluster::start();
    cluster.sql("create table effect (n int)");
    let job = cluster.schedule(
        "nap",
        "1 second",
        "insert into effect values (1); select pg_sleep(3600) /* nap */",
    );
    let run = cluster.run_in_status(job, "running");
    cluster.unschedule(job);
    let run = poll_until("the run is closed", PATIENCE, || {
        cluster.finished_runs_of(job).into_iter().find(|closed| closed.runid == run.runid)
    });
    assert_eq!((run.status.as_str(), run.return_message.as_str()), ("failed", "job canceled"));
    assert_eq!(run.outcome.as_deref(), Some("cancelled"));
    assert!(run.end_time.is_some());
    cluster.wait_for(
        "not exists (select from pg_stat_activity where state = 'active' and query like '%/* nap%' \
         and pid <> pg_backend_pid())",
    );
    assert_eq!(cluster.one::<i64>("select count(*) from effect"), 0, "and its effects are gone");
}

#[test]
fn deactivating_really_stops_the_query() {
    let cluster = Cluster::start();
    let job = cluster.schedule("nap", "1 second", "select pg_sleep(3600)");
    let _ = cluster.executor_of(job);
    cluster.sql(&format!("select cron.alter_job({job}, active => false)"));
    let run = cluster.finished_run(job);
    assert_eq!((run.status.as_str(), run.return_message.as_str()), ("failed", "job canceled"));
    cluster.wait_quiet();
}

#[test]
fn begin_without_commit_is_not_a_success() {
    let cluster = Cluster::start();
    cluster.sql("create table t (n int)");
    let job = cluster.schedule("open", "1 second", "begin; insert into t values (1)");
    let runs = cluster.finished_runs(job, 2);
    assert!(runs.iter().all(|run| run.status == "failed"), "{runs:#?}");
    assert_eq!(cluster.one::<i64>("select count(*) from t"), 0);
}

#[test]
fn an_empty_command_ends() {
    let cluster = Cluster::start();
    for text in ["", "   ", "-- a comment", "/* a comment */", ";", ";;"] {
        let run = cluster.run_once(text).must_have_succeeded();
        assert_eq!(run.return_message, "0 rows", "{text:?}");
    }
}

#[test]
fn a_locked_ledger_delays_records_but_no_schedule() {
    let cluster = Cluster::start();
    cluster.sql("create sequence a; create sequence b; create sequence late");
    let jobs = ["a", "b"].map(|name| {
        cluster.schedule(name, "1 second", &format!("select nextval('public.{name}')"))
    });
    for job in jobs {
        goes_on(&cluster, job, 1);
    }
    let mut session = cluster.client();
    let mut holder = session.transaction().unwrap();
    holder.batch_execute("lock table cron.job_run_details in access exclusive mode").unwrap();
    let started = |name: &str| cluster.one::<i64>(&format!("select last_value from public.{name}"));
    let before = (started("a"), started("b"));
    poll_until("both jobs start although nothing can be recorded", PATIENCE, || {
        (started("a") > before.0 && started("b") > before.1).then_some(())
    });
    // A job that is new while the ledger is locked starts as well.
    let late = cluster.schedule("late", "1 second", "select nextval('public.late')");
    poll_until("a new job starts although nothing can be recorded", PATIENCE, || {
        cluster.one::<bool>("select is_called from public.late").then_some(())
    });
    holder.rollback().unwrap();

    cluster.stop_all_jobs();
    for (name, job) in ["a", "b"].into_iter().zip(jobs) {
        let rows = cluster.finished_runs_of(job);
        let succeeded = rows.iter().filter(|run| run.status == "succeeded").count();
        let ran = usize::try_from(started(name)).unwrap();
        // Switching the job off may have cancelled one run after its nextval.
        assert!(
            succeeded <= ran && ran <= rows.len(),
            "{succeeded} recorded, {ran} ran: {rows:#?}"
        );
    }
    assert!(!cluster.runs_of(late).is_empty());
}

#[test]
fn only_superusers_can_lock_the_ledger() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let mut ann = cluster.client_as("ann");
    // What everybody may delete from, everybody might lock.
    let open = cluster.column::<String>(
        "select oid::regclass::text from pg_class where relnamespace = 'cron'::regnamespace \
         and has_table_privilege('ann', oid, 'insert, update, delete, truncate') order by 1",
    );
    assert_eq!(open, ["cron.job_run_details", "cron.run_log"]);
    for table in open {
        for mode in ["access exclusive", "exclusive", "share row exclusive", "share"] {
            let refused = ann
                .batch_execute(&format!("begin; lock table {table} in {mode} mode"))
                .unwrap_err();
            assert_eq!(sqlstate(&refused), "42501", "{table} {mode}");
            ann.batch_execute("rollback").unwrap();
        }
        ann.batch_execute(&format!("delete from {table}")).unwrap();
    }
}

#[test]
fn a_failing_job_neither_leaks_nor_slows() {
    let cluster = Cluster::start();
    let failing = cluster.schedule("failing", "1 second", "select 1/0");
    let job = cluster.schedule("fine", "1 second", "select 1");
    let _ = cluster.finished_runs(failing, 4);
    // Two jobs, so two executors at most: a failure is no reason for a new one.
    let executors: i64 = cluster.one("select count(distinct job_pid) from cron.job_run_details");
    assert!(executors <= 2, "{executors} executors for two jobs");
    goes_on(&cluster, job, 2);
}
