//! An executor is a session that serves one run after another: what it shows while it does, what it
//! must forget in between, and what happens when somebody cancels or terminates it.

use pg_tock_test::{Cluster, PATIENCE, anonymous_memory, is_alive, poll_until};
use std::time::Duration;

#[test]
fn nothing_leaks_from_a_run_to_the_next() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create role bob; grant bob to ann");
    cluster.sql(
        "create table probe (pid int, prepared bigint, temp bigint, work_mem text, locks bigint, \
         path text, who text, ro text, cursors bigint, listening bigint)",
    );
    cluster.sql("grant insert on probe to ann, bob");
    let leaver = cluster.schedule_as(
        "ann",
        "leaver",
        "1 second",
        "prepare leak as select 1; create temp table leak (n int); set work_mem = '9MB'; \
         set search_path = nowhere; select pg_advisory_lock(42); \
         declare held cursor with hold for select 1; \
         set session characteristics as transaction read only; set role bob",
    );
    let prober = cluster.schedule_as(
        "ann",
        "prober",
        "1 second",
        "insert into public.probe select pg_backend_pid(), \
         (select count(*) from pg_prepared_statements), \
         (to_regclass('pg_temp.leak') is not null)::int, \
         current_setting('work_mem'), \
         (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory' and objid = 42 and objsubid = 1), \
         current_setting('search_path'), current_user || '/' || session_user, \
         current_setting('transaction_read_only'), \
         (select count(*) from pg_cursors where is_holdable), \
         (select count(*) from pg_listening_channels())",
    );
    // The proof needs a probe by an executor that ran the leaver before.
    cluster.wait_for(&format!(
        "exists (select from probe where pid in \
         (select job_pid from cron.job_run_details where jobid = {leaver} and status = 'succeeded'))"
    ));
    cluster.unschedule(leaver);
    cluster.unschedule(prober);
    let unclean: Vec<i32> = cluster.column(
        "select pid from probe where prepared > 0 or temp > 0 or work_mem = '9MB' or locks > 0 \
         or path = 'nowhere' or who <> 'ann/ann' or ro = 'on' or cursors > 0 or listening > 0",
    );
    assert!(unclean.is_empty(), "runs saw what an earlier one left: {unclean:?}");
    let _ = cluster.finished_run(leaver).must_have_succeeded();
}

#[test]
fn a_job_cannot_become_anybody_but_its_owner() {
    let cluster = Cluster::start();
    cluster.role("ann");
    for text in [
        "set role postgres",
        "set session authorization postgres",
        "reset role; reset session authorization; create role mallory superuser",
    ] {
        let run = cluster.run_once_as("ann", text);
        let _ = run.must_have_failed_with("42501");
    }
}

#[test]
fn activity_shows_the_job() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let text = "select pg_sleep(3600) /* the job's text */";
    let job = cluster.schedule_as("ann", "nap time", "1 second", text);
    let pid = cluster.executor_of(job);
    let shown = &cluster.rows(
        "select query, application_name, usename::text, datname::text, state \
         from pg_stat_activity where pid = $1",
        &[&pid],
    )[0];
    assert_eq!(shown.get::<_, String>("query"), text);
    assert_eq!(shown.get::<_, String>("application_name"), format!("pg_tock job {job} nap time"));
    assert_eq!(shown.get::<_, String>("usename"), "ann");
    assert_eq!(shown.get::<_, String>("datname"), "postgres");
    assert_eq!(shown.get::<_, String>("state"), "active");

    let run = cluster.run_in_status(job, "running");
    assert_eq!(run.job_pid, Some(pid), "a long run has a row while it is under way");
    assert_eq!(run.end_time, None);
    let seen = &cluster.rows("select jobid, job_pid, username from cron.running", &[])[0];
    assert_eq!(seen.get::<_, i64>("jobid"), job);
    assert_eq!(seen.get::<_, i32>("job_pid"), pid);
    assert_eq!(seen.get::<_, String>("username"), "ann");
}

#[test]
fn pg_cancel_backend_ends_that_run_only() {
    let cluster = Cluster::start();
    let scheduler = cluster.wait_scheduler();
    let bystander = cluster.schedule("bystander", "1 second", "select pg_sleep(3600)");
    let victim = cluster.schedule("victim", "1 second", "select pg_sleep(3600)");
    let untouched = cluster.executor_of(bystander);
    let pid = cluster.executor_of(victim);
    assert!(cluster.one_with::<bool>("select pg_cancel_backend($1)", &[&pid]));

    let run = cluster.finished_run(victim).must_have_failed_with("57014");
    assert_eq!(run.job_pid, Some(pid));
    assert_eq!(run.outcome.as_deref(), Some("cancelled"), "{run:#?}");
    assert!(run.return_message.starts_with("ERROR:  canceling statement due to user request"));
    let next = cluster.executor_of(victim);
    assert!(is_alive(next), "the job runs again");
    assert_eq!(cluster.executor_of(bystander), untouched);
    assert_eq!(cluster.runs_of(bystander).iter().filter(|run| run.end_time.is_some()).count(), 0);
    assert_eq!(cluster.wait_scheduler(), scheduler);
}

#[test]
fn pg_terminate_backend_ends_that_run_only() {
    let cluster = Cluster::start();
    let scheduler = cluster.wait_scheduler();
    let bystander = cluster.schedule("bystander", "1 second", "select pg_sleep(3600)");
    let victim = cluster.schedule("victim", "1 second", "select pg_sleep(3600)");
    let untouched = cluster.executor_of(bystander);
    let pid = cluster.executor_of(victim);
    cluster.terminate(pid);

    let run = cluster.finished_run(victim).must_have_failed_with("57P01");
    assert_eq!(run.job_pid, Some(pid));
    assert_ne!(cluster.executor_of(victim), pid, "another executor runs the next occurrence");
    assert_eq!(cluster.executor_of(bystander), untouched);
    assert_eq!(cluster.wait_scheduler(), scheduler);
}

#[test]
fn terminating_an_idle_executor_harms_nothing() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let before = cluster.finished_runs(job, 1).len();
    for pid in cluster.pids_of("pg_tock executor") {
        cluster.terminate(pid);
    }
    let runs = cluster.finished_runs(job, before + 3);
    assert!(runs.iter().skip(before + 1).all(|run| run.status == "succeeded"), "{runs:#?}");
}

#[test]
fn an_executor_serves_many_runs() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let runs = cluster.finished_runs(job, 4);
    assert!(runs.iter().all(|run| run.job_pid == runs[0].job_pid), "{runs:#?}");
}

#[test]
fn a_temporary_replication_slot_goes_with_its_run() {
    let cluster = Cluster::builder().conf("wal_level", "logical").start();
    let make = "select pg_create_physical_replication_slot('leak', false, true)";
    let fine = cluster.schedule("fine", "1 second", make);
    let runs = cluster.finished_runs(fine, 3);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
    assert!(runs.iter().all(|run| run.job_pid == runs[0].job_pid), "one session: {runs:#?}");
    cluster.unschedule(fine);
    cluster.wait_quiet();
    let bad = cluster.schedule("bad", "1 second", &format!("{make}; select 1/0"));
    for run in cluster.finished_runs(bad, 3) {
        // 42710 if the slot of the run before were still there
        let _ = run.must_have_failed_with("22012");
    }
}

#[test]
fn executors_terminated_while_they_start_fail_nobody() {
    let cluster = Cluster::builder().conf("cron.executor_idle_timeout", "1s").start();
    let job = cluster.schedule("tick", "4 seconds", "select 1");
    let _ = cluster.finished_run(job);
    // Every session that starts reads this table; the executor has left when the job is due again.
    let mut locker = cluster.client();
    locker.batch_execute("begin; lock table pg_db_role_setting in access exclusive mode").unwrap();
    // A process is in `pg_stat_activity` once it has started, and from Postgres 18 on before.
    let starting = || -> Vec<i32> {
        cluster.column(
            "select l.pid from pg_locks l left join pg_stat_activity a on a.pid = l.pid \
             where relation = 'pg_db_role_setting'::regclass and not granted \
              and (a.backend_type is null or a.state = 'starting')",
        )
    };
    for _ in 0..2 {
        let starting = poll_until("an executor on its way", PATIENCE, || starting().pop());
        cluster.terminate(starting);
    }
    locker.batch_execute("commit").unwrap();
    let runs = cluster.finished_runs(job, 3);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
    assert_eq!(cluster.skipped(job), Vec::<String>::new());
}

#[test]
fn who_the_database_says_to_be_is_for_its_users_and_not_for_our_processes() {
    let cluster = Cluster::start();
    for role in ["ann", "bob", "dbo"] {
        cluster.role(role);
    }
    cluster.sql("alter database postgres owner to dbo");
    let job = cluster.schedule_as("ann", "job", "1 second", "select current_user");
    for setting in ["role", "session_authorization"] {
        cluster
            .client_as("dbo")
            .batch_execute(&format!("alter database postgres set {setting} = 'bob'"))
            .unwrap();
        let before = cluster.finished_runs(job, 1).len();
        cluster.terminate(cluster.wait_scheduler());
        let runs = cluster.finished_runs(job, before + 3);
        assert!(
            runs.iter().all(|run| run.username == "ann" && run.status == "succeeded"),
            "{runs:#?}"
        );
        cluster.sql(&format!("alter database postgres reset {setting}"));
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_runs() {
    let cluster = Cluster::builder()
        .conf("cron.executor_idle_timeout", "1h")
        .conf("cron.executor_max_age", "1d")
        .start();
    cluster.sql("create table sink (n int)");
    for (name, command) in [
        ("reads", "select 1"),
        ("writes", "insert into sink values (1)"),
        ("raises", "do $$ begin perform 1 / 0; exception when others then null; end $$"),
    ] {
        cluster.sql(&format!(
            "select cron.create_job('{name}', '0 0 29 2 *', $c${command}; select cron.run_again()$c$); \
             select cron.run_now('{name}')"
        ));
    }
    let until = |runs: i64| {
        poll_until("so many runs", Duration::from_secs(240), || {
            let done: i64 =
                cluster.one("select coalesce(sum(successful_runs), 0)::bigint from cron.job_stat");
            (done >= runs).then_some(())
        });
    };
    let memory = |pid: &i32| anonymous_memory(*pid).expect("the same processes all along");
    until(15_000);
    let kinds = ["pg_tock scheduler", "pg_tock executor"];
    let processes: Vec<i32> = kinds.into_iter().flat_map(|kind| cluster.pids_of(kind)).collect();
    let before: Vec<u64> = processes.iter().map(memory).collect();
    until(75_000);
    for (pid, before) in processes.iter().zip(before) {
        let grown = memory(pid).saturating_sub(before);
        // 60,000 runs that leave 32 bytes each are more.
        assert!(grown < 1_500_000, "process {pid} had {before} bytes, and then {grown} more");
    }
}
