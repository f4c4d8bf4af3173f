//! What a run can know and say of itself: its settings, `cron.current_run`, heartbeats, checkpoints,
//! notes; and the options `settings` and `session`.

use std::time::Duration;

use pg_tock_test::{Cluster, poll_until};

#[test]
fn a_run_reads_what_it_is_and_cannot_change_it() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql(
        "create table seen (job text, run text, due text, attempt text, low text, high text); \
         grant insert on seen to ann",
    );
    let job = cluster.schedule_as(
        "ann",
        "reader",
        "1 second",
        "set datestyle = 'German'; set timezone = 'Asia/Kathmandu'; insert into public.seen select \
         current_setting('cron.job_id'), current_setting('cron.run_id'), \
         current_setting('cron.scheduled_for'), current_setting('cron.attempt'), \
         current_setting('cron.window_start'), current_setting('cron.window_end')",
    );
    let run = cluster.finished_run(job).must_have_succeeded();
    let right: bool = cluster.one_with(
        "select bool_and(s.job::bigint = d.jobid and s.due::timestamptz = d.scheduled_for \
          and s.attempt::int = d.attempt and s.high::timestamptz = d.scheduled_for \
          and s.low::timestamptz <= d.scheduled_for) \
         from seen s join cron.job_run_details d on d.runid = s.run::bigint where d.runid = $1",
        &[&run.runid],
    );
    assert!(right);
    cluster.unschedule(job);
    for attack in [
        "set cron.job_id = '1'",
        "set local cron.run_id = '1'",
        "reset cron.scheduled_for",
        "select set_config('cron.attempt', '7', false)",
        "select set_config('cron.window_end', 'now', true)",
    ] {
        let _ = cluster.run_once_as("ann", attack).must_have_failed_with("55P02");
        let _ = cluster.run_once(attack).must_have_failed_with("55P02");
    }
    let kept = cluster.run_once(
        "reset all; discard all; do $$ begin \
         if current_setting('cron.job_id') = '' then raise 'lost'; end if; end $$",
    );
    // DISCARD ALL refuses a block of several statements; what counts is that it stays readable.
    let _ = kept.must_have_failed_with("25001");
    let _ = cluster
        .run_once("reset all; select 1 / (current_setting('cron.job_id') <> '')::int")
        .must_have_succeeded();
    let outside: String = cluster.one(
        "select concat(current_setting('cron.job_id'), current_setting('cron.run_id'), \
         current_setting('cron.scheduled_for'), current_setting('cron.attempt'), \
         current_setting('cron.window_start'), current_setting('cron.window_end'))",
    );
    assert_eq!(outside, "");
}

#[test]
fn parallel_workers_and_other_databases_read_the_same() {
    let cluster = Cluster::builder().conf("max_parallel_workers", "4").start();
    cluster.sql("create database other");
    for database in ["postgres", "other"] {
        let mut client = cluster.client_in(database);
        client
            .batch_execute(
                "create table many as select n from generate_series(1, 200000) n; analyze many; \
                 create table told (leader bool, workers bigint, different bigint)",
            )
            .unwrap();
        let text = "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; \
             set min_parallel_table_scan_size = 0; set parallel_leader_participation = off; \
             insert into told select current_setting('cron.job_id') <> '', count(*), \
             count(*) filter (where job <> current_setting('cron.job_id')) \
             from (select current_setting('cron.job_id') as job from many \
                   where n > length(current_setting('cron.run_id')) offset 0) m";
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database('par', '1 second', $1, $2)",
            &[&text, &database],
        );
        let _ = cluster.finished_run(job).must_have_succeeded();
        cluster.unschedule(job);
        let row = &client.query("select * from told limit 1", &[]).unwrap()[0];
        assert!(row.get::<_, bool>(0), "{database}");
        assert!(row.get::<_, i64>(1) > 100_000, "{database}: the filter saw an empty setting");
        assert_eq!(row.get::<_, i64>(2), 0, "{database}");
    }
}

#[test]
fn settings_hold_for_the_run_and_for_nothing_else() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql(
        "create table seen (name text, mem text, path text, own text); grant insert on seen to ann",
    );
    let probe = "insert into public.seen select (select jobname from cron.current_run()), \
         current_setting('work_mem'), current_setting('search_path'), current_setting('app.tenant', true)";
    let with = cluster.schedule_as("ann", "with", "1 second", probe);
    let without = cluster.schedule_as("ann", "without", "1 second", probe);
    cluster.sql(&format!(
        "update cron.job set settings = '{{\"work_mem\": \"7MB\", \"search_path\": \"pg_catalog, nowhere\", \
         \"app.tenant\": 42, \"enable_seqscan\": false}}' where jobid = {with}"
    ));
    cluster.wait_for("exists (select from seen where mem = '7MB' and path = 'pg_catalog, nowhere' and own = '42')");
    let _ = cluster.finished_runs(without, 2);
    let leaked: i64 =
        cluster.one("select count(*) from seen where name = 'without' and (mem = '7MB' or coalesce(own, '') <> '')");
    assert_eq!(leaked, 0);
    cluster.unschedule(with);
    cluster.unschedule(without);
    for (settings, code) in [
        (r#"{"no_such_setting": 1}"#, "42704"),
        (r#"{"work_mem": "huge"}"#, "22023"),
        (r#"{"log_statement": "none"}"#, "42501"),
        (r#"{"cron.job_id": "1"}"#, "55P02"),
        (r#"{"work_mem": [1]}"#, "22023"),
        (r#"[1]"#, "22023"),
    ] {
        let job = cluster.schedule_as("ann", "bad", "1 second", "select 1");
        let _ = cluster.rows(
            "update cron.job set settings = $1::text::jsonb where jobid = $2",
            &[&settings, &job],
        );
        poll_until("a run that fails", Duration::from_secs(45), || {
            cluster.runs_of(job).into_iter().find(|run| run.sqlstate.as_deref() == Some(code))
        });
        cluster.unschedule(job);
    }
}

#[test]
fn settings_are_in_force_before_the_transaction_begins() {
    let cluster = Cluster::start();
    let job = cluster.schedule("strict", "@hourly", "select 1");
    cluster.sql(&format!(
        "update cron.job set schedule = '1 second', command = $$ \
         select 1 / (current_setting('transaction_isolation') = 'serializable')::int, \
         1 / (current_setting('transaction_read_only') = 'on')::int $$, \
         settings = '{{\"default_transaction_isolation\": \"serializable\", \
          \"default_transaction_read_only\": true}}' where jobid = {job}"
    ));
    let _ = cluster.finished_run(job).must_have_succeeded();
}

#[test]
fn a_heartbeat_is_seen_at_once_and_goes_with_the_run() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let job = cluster.schedule_as(
        "ann",
        "long",
        "1 second",
        "select cron.heartbeat(12.5, 'half of it'); select cron.heartbeat(note => 'the rest'); \
         select pg_sleep(3600)",
    );
    cluster.wait_for(&format!(
        "exists (select from cron.running where jobid = {job} and progress = 12.5 \
         and note = 'the rest' and heartbeat_at between started_at and clock_timestamp())"
    ));
    cluster.unschedule(job);
    // The next run in the same executor has said nothing.
    let quiet = cluster.schedule_as("ann", "quiet", "1 second", "select pg_sleep(3600)");
    cluster.wait_for(&format!(
        "exists (select from cron.running where jobid = {quiet} and progress is null \
         and note is null and heartbeat_at is null)"
    ));
    cluster.unschedule(quiet);
    let long = cluster.schedule_as(
        "ann",
        "letters",
        "1 second",
        "select cron.heartbeat(note => 'x' || repeat('\u{e9}', 150)); select pg_sleep(3600)",
    );
    cluster.wait_for(&format!(
        "exists (select from cron.running where jobid = {long} and note = 'x' || repeat('\u{e9}', 99))"
    ));
    cluster.unschedule(long);
    for call in ["cron.heartbeat(-1)", "cron.heartbeat(100.5)", "cron.heartbeat('nan')"] {
        let run = cluster.run_once_as("ann", &format!("select {call}"));
        let _ = run.must_have_failed_with("22023");
    }
}

#[test]
fn a_checkpoint_commits_with_its_batch_and_goes_when_the_occurrence_succeeds() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql(
        "create procedure work(last int) language plpgsql as $$ begin \
          for i in 1..last loop perform cron.checkpoint(jsonb_build_object('done', i)); commit; \
          end loop; \
          perform cron.checkpoint('{\"done\": 99}'); \
          if last = 3 then raise exception 'broken'; end if; end $$",
    );
    let run = cluster.run_once_as("ann", "call public.work(3)").must_have_failed_with("P0001");
    let kept: i64 = cluster.one_with(
        "select (data->>'done')::bigint from cron.run_checkpoint \
         where runid = $1 and jobid = $2 and scheduled_for = (select scheduled_for \
          from cron.job_run_details where runid = $1)",
        &[&run.runid, &run.jobid],
    );
    assert_eq!(kept, 3, "what the last batch noted went with it");
    let run = cluster.run_once_as("ann", "call public.work(2)").must_have_succeeded();
    let left: i64 = cluster
        .one_with("select count(*) from cron.run_checkpoint where runid = $1", &[&run.runid]);
    assert_eq!(left, 0);
    // In one transaction, and whatever the job has set.
    let run = cluster.run_once_as(
        "ann",
        "select cron.checkpoint('[1]'); select 1 / (cron.last_checkpoint() = '[1]')::int; \
         set local search_path = nowhere; set transaction_read_only = on",
    );
    let run = run.must_have_succeeded();
    let left: i64 = cluster
        .one_with("select count(*) from cron.run_checkpoint where jobid = $1", &[&run.jobid]);
    assert_eq!(left, 0);
    let _ =
        cluster.run_once_as("ann", "select cron.checkpoint(null)").must_have_failed_with("22023");
}

#[test]
fn a_run_goes_on_from_the_checkpoint_of_its_occurrence() {
    let cluster = Cluster::start();
    cluster.sql("create table seen (due timestamptz, data jsonb)");
    let job = cluster.schedule(
        "goes on",
        "1 second",
        "insert into seen select scheduled_for, cron.last_checkpoint() from cron.current_run()",
    );
    // As an attempt that failed would have left it, for occurrences that come.
    cluster.wait_for(&format!("exists (select from cron.job_state where jobid = {job})"));
    cluster.sql(&format!(
        "insert into cron.run_checkpoint select {job}, effective_from + n * interval '1 second', n, \
         now(), jsonb_build_object('n', n) from cron.job_state, generate_series(1, 30) n \
         where jobid = {job} and effective_from + n * interval '1 second' > now() + interval '1 second'; \
         insert into cron.run_checkpoint select 987654321, scheduled_for, 1, now(), '{{}}' \
         from cron.run_checkpoint"
    ));
    cluster.wait_for("exists (select from seen where data is not null)");
    let wrong: i64 = cluster.one_with(
        "select count(*) from seen, cron.job_state where jobid = $1 and data is not null \
         and due <> effective_from + (data->>'n')::int * interval '1 second'",
        &[&job],
    );
    assert_eq!(wrong, 0);
    let left: i64 = cluster.one_with(
        "select count(*) from cron.run_checkpoint join seen on scheduled_for = due \
         where jobid = $1",
        &[&job],
    );
    assert_eq!(left, 0, "the occurrence has succeeded");
}

#[test]
fn notes_live_and_die_with_their_run_and_belong_to_its_role() {
    let cluster = Cluster::start();
    for role in ["ann", "bob"] {
        cluster.role(role);
    }
    let run = cluster.run_once_as(
        "ann",
        "select cron.log('info', 'hello', '{\"rows\": 3}'); select cron.log('warning', 'w')",
    );
    let run = run.must_have_succeeded();
    let query = "select coalesce(string_agg(format('%s %s %s %s', level, message, data->>'rows', username), ', ' order by at), '') \
         from cron.run_log where runid = $1 and jobid = $2";
    for (role, sees) in [
        ("ann", "info hello 3 ann, warning w  ann"),
        ("bob", ""),
        ("postgres", "info hello 3 ann, warning w  ann"),
    ] {
        let row = cluster.client_as(role).query_one(query, &[&run.runid, &run.jobid]).unwrap();
        assert_eq!(row.get::<_, String>(0), sees, "{role}");
    }
    let run = cluster.run_once_as("ann", "select cron.log('error', 'gone'); select 1 / 0");
    let run = run.must_have_failed_with("22012");
    let left: i64 =
        cluster.one_with("select count(*) from cron.run_log where runid = $1", &[&run.runid]);
    assert_eq!(left, 0);
    for (call, code) in [
        ("cron.log('INFO', 'x')", "22023"),
        ("cron.log('fatal', 'x')", "22023"),
        ("cron.log(null, 'x')", "22023"),
        ("cron.log('info', null)", "22023"),
    ] {
        let _ = cluster.run_once_as("ann", &format!("select {call}")).must_have_failed_with(code);
    }
    // Nobody writes the tables himself.
    for attack in [
        "insert into cron.run_log values (1, 1, now(), 'info', 'x', null, 'ann')",
        "update cron.run_log set message = 'x'",
        "delete from cron.run_checkpoint",
        "insert into cron.run_checkpoint values (1, now(), 1, now(), '{}')",
    ] {
        let _ = cluster.run_once_as("ann", attack).must_have_failed_with("42501");
    }
}

#[test]
fn functions_for_runs_are_refused_outside_and_in_other_databases() {
    let cluster = Cluster::builder()
        .conf("cron.database_name", "postgres, second")
        .without_extension()
        .start();
    cluster.sql("create extension pg_tock");
    cluster.sql("create database second");
    cluster.wait_scheduler();
    let calls = [
        "select * from cron.current_run()",
        "select cron.heartbeat()",
        "select cron.checkpoint('{}')",
        "select cron.last_checkpoint()",
        "select cron.log('info', 'x')",
        "select cron.run_again()",
    ];
    let mut second = cluster.client_in("second");
    second.batch_execute("create extension pg_tock").unwrap();
    let mut client = cluster.client();
    for call in calls {
        let error = client.batch_execute(call).unwrap_err();
        assert_eq!(pg_tock_test::sqlstate(&error), "55000", "{call}");
        let job: i64 = cluster.one_with(
            "select cron.schedule_in_database('far', '1 second', $1, 'second')",
            &[&call],
        );
        let _ = cluster.finished_run(job).must_have_failed_with("55000");
        cluster.unschedule(job);
    }
}

#[test]
fn a_run_knows_itself() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql(
        "create table seen (jobid bigint, jobname text, runid bigint, \
         scheduled_for timestamptz, attempt int, trigger text, started_at timestamptz, \
         window_start timestamptz, window_end timestamptz); grant insert on seen to ann",
    );
    let name = "caf\u{e9} at night";
    let job = cluster.schedule_as(
        "ann",
        name,
        "1 second",
        "insert into public.seen select * from cron.current_run()",
    );
    let run = cluster.finished_run(job).must_have_succeeded();
    let same: bool = cluster.one_with(
        "select s.jobid = d.jobid and s.jobname = $2 and s.jobname = d.jobname \
         and s.scheduled_for = d.scheduled_for and s.attempt = d.attempt and s.trigger = d.trigger \
         and s.started_at <= d.start_time and s.started_at > d.start_time - interval '1 second' \
         and s.window_end = d.scheduled_for \
         from seen s join cron.job_run_details d using (runid) where runid = $1",
        &[&run.runid, &name],
    );
    assert!(same);
}

#[test]
fn fresh_runs_share_their_process_with_nobody() {
    let cluster = Cluster::start();
    let reuse = cluster.schedule("reuse", "1 second", "select 1");
    let fresh = cluster.schedule("fresh", "1 second", "select 1");
    cluster.sql(&format!("update cron.job set session = 'fresh' where jobid = {fresh}"));
    cluster.wait_for(&format!(
        "(select count(*) from cron.job_run_details where jobid = {fresh} and status = 'succeeded') >= 4 \
         and (select count(*) from cron.job_run_details where jobid = {reuse} and status = 'succeeded') >= 4"
    ));
    cluster.stop_all_jobs();
    // The first run may have been handed over before the option was read.
    let shared: i64 = cluster.one_with(
        "select count(*) from cron.job_run_details f join cron.job_run_details o \
         on o.job_pid = f.job_pid and o.runid <> f.runid \
         where f.jobid = $1 and f.runid > (select min(runid) from cron.job_run_details where jobid = $1)",
        &[&fresh],
    );
    assert_eq!(shared, 0);
    let runs = cluster.finished_runs_of(fresh);
    assert!(runs.iter().all(|run| run.status == "succeeded"), "{runs:#?}");
}
