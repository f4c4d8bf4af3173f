//! The ledger is a table like any other: users index it, hang triggers on it, switch it off.

use pg_tock_test::{Cluster, PATIENCE, poll_until, signal};
use rustix::process::Signal;

#[test]
fn indexes_that_users_add_are_kept() {
    let cluster = Cluster::start();
    cluster.sql("create extension amcheck");
    cluster.sql(
        "create index by_word on cron.job_run_details (lower(status), (end_time - start_time))",
    );
    cluster
        .sql("create index only_long on cron.job_run_details (jobid) where command like '%sleep%'");
    for n in 0..10 {
        // Short runs are inserted, long ones updated from their running row.
        let command = if n % 2 == 0 { "select 1" } else { "select pg_sleep(1.2)" };
        cluster.schedule(&format!("job {n}"), "1 second", command);
    }
    cluster.wait_for("(select count(*) > 40 from cron.job_run_details where status = 'succeeded')");
    cluster.stop_all_jobs();
    let indexes: Vec<String> = cluster.column(
        "select indexrelid::regclass::text from pg_index where indrelid = 'cron.job_run_details'::regclass",
    );
    assert!(indexes.len() >= 4, "{indexes:?}");
    for index in indexes {
        cluster.sql(&format!("select bt_index_check('{index}', true)"));
    }
    let by_index: i64 = cluster.one(
        "with _ as materialized (select set_config('enable_seqscan', 'off', true)) \
         select count(*) from cron.job_run_details, _ where lower(status) = 'succeeded'",
    );
    assert_eq!(
        by_index,
        cluster.one::<i64>("select count(*) from cron.job_run_details where status = 'succeeded'")
    );
}

#[test]
fn triggers_that_users_add_fire() {
    let cluster = Cluster::start();
    cluster.sql("create table seen (runid bigint, status text)");
    cluster.sql(
        "create function see() returns trigger language plpgsql security definer as \
         'begin insert into public.seen values (new.runid, new.status); return new; end'",
    );
    cluster.sql(
        "create trigger see after insert or update on cron.job_run_details \
         for each row execute function see()",
    );
    let job = cluster.schedule("tick", "1 second", "select 1");
    let failing = cluster.schedule("failing", "1 second", "select 1/0");
    let ran = cluster.finished_run(job).must_have_succeeded();
    let failed = cluster.finished_run(failing).must_have_failed_with("22012");
    for run in [ran, failed] {
        let seen: i64 = cluster.one_with(
            "select count(*) from seen where runid = $1 and status = $2",
            &[&run.runid, &run.status],
        );
        assert_eq!(seen, 1, "{run:#?}");
    }
}

#[test]
fn a_long_run_has_its_row_however_late_it_began() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let late = cluster.schedule("late", "0 0 1 1 *", "select pg_sleep(3600)");
    let quick = cluster.schedule("quick", "0 0 1 1 *", "select 1");
    cluster.sql("select cron.run_now('quick')");
    // The executor that is there now is given the next run, and does not begin it.
    let executor = cluster.finished_run(quick).job_pid.unwrap();
    cluster.wait_quiet();
    signal(executor, Signal::STOP);
    cluster.sql("select cron.run_now('late')");
    let seconds = cluster.schedule_as("ann", "seconds", "1 second", "select 1");
    let _ = cluster.finished_runs(seconds, 3);
    assert!(cluster.runs_of(late).is_empty());
    signal(executor, Signal::CONT);
    assert_eq!(cluster.run_in_status(late, "running").job_pid, Some(executor));
    cluster.stop_all_jobs();
}

#[test]
fn without_the_ledger_jobs_still_run() {
    let cluster = Cluster::builder().conf("cron.log_run", "off").start();
    cluster.sql("create table ticks (at timestamptz default now())");
    cluster.schedule("tick", "1 second", "insert into ticks default values");
    cluster.wait_for("(select count(*) >= 3 from ticks)");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job_run_details"), 0);
}

#[test]
fn superuser_jobs_can_be_switched_off() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create table ticks (who text default current_user); grant insert on ticks to ann");
    let command = "insert into ticks default values";
    cluster.schedule("tick", "1 second", command);
    let ann = cluster.schedule_as("ann", "tick", "1 second", command);
    cluster.wait_for("(select count(distinct who) = 2 from ticks)");
    cluster.conf("cron.enable_superuser_jobs", "off");
    cluster.restart();
    cluster.sql("truncate ticks");
    let before = cluster.finished_runs_of(ann).len();
    let _ = cluster.finished_runs(ann, before + 3);
    assert_eq!(cluster.column::<String>("select distinct who from ticks"), ["ann"]);
}

#[test]
fn statistics_do_not_read_the_ledger() {
    let cluster = Cluster::start();
    let plan = cluster.column::<String>("explain select * from cron.job_stats").join("\n");
    assert!(plan.contains("job_stat"), "{plan}");
    assert!(!plan.contains("job_run_details"), "{plan}");
}

#[test]
fn a_deleted_history_is_not_run_again() {
    let cluster = Cluster::start();
    cluster.sql("create table ticks (at timestamptz default now())");
    let job = cluster.schedule("tick", "1 second", "insert into ticks default values");
    let _ = cluster.finished_runs(job, 3);
    cluster.stop_all_jobs();
    let ran = cluster.one::<i64>("select count(*) from ticks");
    cluster.sql("truncate cron.job_run_details");
    cluster.restart();
    cluster.sql(&format!("update cron.job set active = true where jobid = {job}"));
    let first = cluster.finished_run(job);
    poll_until("the job goes on", PATIENCE, || {
        (cluster.one::<i64>("select count(*) from ticks") > ran).then_some(())
    });
    let repeated: bool = cluster.one_with(
        "select $1::timestamptz <= (select max(at) from (select at from ticks order by at limit $2) old)",
        &[&first.scheduled_for, &ran],
    );
    // No audit: it is to find the occurrences whose rows were deleted.
    assert!(!repeated, "an occurrence of before ran again: {first:#?}");
}

#[test]
fn a_ledger_locked_while_a_scheduler_starts_makes_it_forget_nothing() {
    let cluster = Cluster::builder().conf("max_prepared_transactions", "2").start();
    let job = cluster.schedule("tick", "1 second", "select 1");
    let before = cluster.finished_runs(job, 3).len();
    // How far it has come is written now and then, and here not at all: the ledger knows more.
    let mut behind = cluster.client();
    behind.batch_execute("begin; lock table cron.job_state in share mode").expect("a lock");
    cluster.wait_for(
        "(select max(scheduled_for) from cron.job_run_details) \
         > (select coalesce(cursor, effective_from) from cron.job_state)",
    );
    // A lock that outlives the server.
    cluster.client().batch_execute(
        "begin; lock table cron.job_run_details in access exclusive mode; prepare transaction 'lock'",
    )
    .expect("a prepared lock");
    cluster.stop_immediately();
    cluster.boot();
    poll_until("a scheduler that does not know what has run", PATIENCE, || {
        cluster.log().contains("what has run already is not known").then_some(())
    });
    cluster.sql("commit prepared 'lock'");
    let _ = cluster.finished_runs(job, before + 3);
    cluster.audit();
}

#[test]
fn rows_that_found_no_room_are_written_once_there_is_some() {
    let cluster = Cluster::start();
    // What a full disk says, for as long as `full` has a row; how often anybody has tried is kept.
    cluster.sql(
        "create table full_disk (); create sequence tried; \
         create function no_room() returns trigger language plpgsql as $$ begin \
           perform nextval('public.tried'); \
           if exists (select from public.full_disk) then \
             raise exception 'could not extend file' using errcode = 'disk_full'; \
           end if; \
           return new; end $$; \
         create trigger no_room before insert or update on cron.job_run_details \
           for each row execute function no_room(); \
         insert into full_disk default values",
    );
    for n in 0..8 {
        let _ = cluster.schedule(&format!("job {n}"), "0 0 1 1 *", "select 1");
    }
    cluster.sql("select cron.run_now(jobid) from cron.job");
    // Each of them has been tried more often than one that is up to its own values would be.
    cluster.wait_for("(select last_value >= 200 from tried)");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job_run_details"), 0);
    cluster.sql("delete from full_disk");
    cluster.wait_for("(select count(*) = 8 from cron.job_run_details where sqlstate = '53100')");
    let others: i64 =
        cluster.one("select count(*) from cron.job_run_details where sqlstate <> '53100'");
    assert_eq!(others, 0);
    assert!(!cluster.log().contains("given up"));
}

#[test]
fn the_mark_of_counted_runs_never_goes_back() {
    let cluster = Cluster::start();
    let job = cluster.schedule("tick", "1 second", "select 1 / 0");
    let _ = cluster.finished_runs(job, 3);
    let mark = "select counted_below from cron.engine_state";
    cluster.wait_for("(select counted_below > 3 from cron.engine_state)");
    cluster.sql("select cron.create_calendar('never')");
    cluster.unschedule(job);
    cluster.flush();
    let before: i64 = cluster.one(mark);
    let _ = cluster.stop();
    cluster.boot();
    // The next scheduler counts what is skipped, and draws no id: failed runs are not to be looked at anew.
    let _ = cluster.create_job(&serde_json::json!({
        "job_name": "closed", "schedule": "1 second", "command": "select 1", "only_on": ["never"],
    }));
    poll_until("skipped occurrences", PATIENCE, || {
        cluster.sql("select cron.flush()");
        cluster
            .one::<bool>(
                "select exists (select from cron.job_skip where last_at > now() - interval '9 s')",
            )
            .then_some(())
    });
    assert!(cluster.one::<i64>(mark) >= before);
}
