//! Alerts: one for each episode and one recovery, whoever dies in between.

use pg_tock_test::{Cluster, PATIENCE, poll_until};

/// A job that comes to what the table `fate` says: it fails, or lasts so long.
const FATED: &str = "select 1 / (1 - fails::int) from fate; select pg_sleep(lasts) from fate";

fn cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.sql("create table fate as select false as fails, 0::float8 as lasts");
    cluster
}

fn fated(cluster: &Cluster, name: &str, options: &str) -> i64 {
    let create = format!("select cron.create_job($1, '1 second', $2, {options})");
    cluster.one_with(&create, &[&name, &FATED])
}

/// The alerts of a job as `rule recovery`, in their order.
fn alerts(cluster: &Cluster, job: i64) -> Vec<String> {
    let query = "select rule || coalesce(' ' || recovery, ' open') from cron.alert \
         where jobid = $1 order by id";
    cluster.rows(query, &[&job]).iter().map(|row| row.get(0)).collect()
}

#[track_caller]
fn wait_alerts(cluster: &Cluster, job: i64, wanted: &[&str]) {
    let mut seen = Vec::new();
    poll_until(&format!("alerts {wanted:?}"), PATIENCE, || {
        seen = alerts(cluster, job);
        (seen == wanted).then_some(())
    });
}

fn runs(cluster: &Cluster, job: i64) -> i64 {
    let query = "select count(*) from cron.job_run_details \
         where jobid = $1 and end_time is not null";
    cluster.one_with(query, &[&job])
}

/// Waits until the job has had so many more runs.
fn wait_runs(cluster: &Cluster, job: i64, more: i64) {
    let before = runs(cluster, job);
    poll_until(&format!("{more} more runs"), PATIENCE, || {
        (runs(cluster, job) >= before + more).then_some(())
    });
}

fn another_scheduler(cluster: &Cluster) {
    let old = cluster.pid_of("pg_tock scheduler");
    cluster.terminate(old);
    cluster.wait_scheduler();
    cluster.wait_known();
}

#[test]
fn an_episode_is_one_alert_whoever_dies_in_between() {
    let cluster = cluster();
    cluster.sql("update fate set fails = true");
    let job = fated(&cluster, "failing", "alert_after_failures => 2");
    wait_alerts(&cluster, job, &["failures open"]);
    let seen = cluster.rows(
        "select message, detail->>'failures', jobname, username, outcome, runid is not null, \
          raised_at <= now(), handler is null from cron.alerts where jobid = $1 and open",
        &[&job],
    );
    assert_eq!(seen.len(), 1);
    let texts: Vec<String> = (0..5).map(|column| seen[0].get(column)).collect();
    let said = ["2 occurrences in a row have failed", "2", "failing", "postgres", "failed"];
    assert_eq!(texts, said);
    assert!((5..8).all(|column| seen[0].get::<_, bool>(column)), "{seen:?}");
    // It goes on, with another scheduler, after a restart, and after a crash.
    another_scheduler(&cluster);
    wait_runs(&cluster, job, 3);
    assert_eq!(alerts(&cluster, job), ["failures open"]);
    cluster.restart();
    cluster.wait_scheduler();
    wait_runs(&cluster, job, 2);
    cluster.crash();
    cluster.boot();
    cluster.wait_scheduler();
    wait_runs(&cluster, job, 2);
    assert_eq!(alerts(&cluster, job), ["failures open"]);
    cluster.sql("update fate set fails = false");
    wait_alerts(&cluster, job, &["failures recovered"]);
    wait_runs(&cluster, job, 2);
    // The next episode is another alert.
    cluster.sql("update fate set fails = true");
    wait_alerts(&cluster, job, &["failures recovered", "failures open"]);
    let other: i64 = cluster.one("select cron.create_job('calm', '1 second', 'select 1/0')");
    wait_runs(&cluster, other, 2);
    assert_eq!(alerts(&cluster, other), [""; 0], "a job without rules has no alerts");
    cluster.unschedule(job);
    wait_alerts(&cluster, job, &["failures recovered", "failures job dropped"]);
    let log = cluster.log();
    let said = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    let what = format!("job {job} \"failing\": 2 occurrences in a row have failed");
    assert_eq!(said(&format!("WARNING:  pg_tock: alert: {what}")), 2);
    assert_eq!(said(&format!("LOG:  pg_tock: recovered: {what}")), 1);
    assert_eq!(said(&format!("LOG:  pg_tock: alert over, job dropped: {what}")), 1);
}

#[test]
fn changes_of_the_job_end_an_episode_whether_or_not_anybody_sees_them() {
    let cluster = cluster();
    cluster.sql("update fate set fails = true");
    let names = ["fail\ning", "changed", "dropped"];
    let jobs = names.map(|name| fated(&cluster, name, "alert_after_failures => 1"));
    for job in jobs {
        wait_alerts(&cluster, job, &["failures open"]);
    }
    // A name is no line of its own.
    let said = format!("pg_tock: alert: job {} \"fail\\ning\": ", jobs[0]);
    assert!(cluster.log().contains(&said), "{said}");
    cluster.stop_all_jobs();
    for job in jobs {
        wait_alerts(&cluster, job, &["failures job changed"]);
    }
    cluster.sql("update cron.job set active = true");
    for job in jobs {
        wait_alerts(&cluster, job, &["failures job changed", "failures open"]);
    }
    // Nobody sees this: the scheduler's database is another one meanwhile.
    cluster.conf("cron.database_name", "template1");
    cluster.restart();
    let [failing, changed, dropped] = jobs;
    cluster.sql(&format!(
        "update cron.job set alert_after_failures = null where jobid = {changed}; \
         delete from cron.job where jobid = {dropped}"
    ));
    cluster.conf("cron.database_name", "postgres");
    cluster.restart();
    cluster.wait_scheduler();
    wait_alerts(&cluster, changed, &["failures job changed", "failures job changed"]);
    wait_alerts(&cluster, dropped, &["failures job changed", "failures job dropped"]);
    assert_eq!(alerts(&cluster, failing), ["failures job changed", "failures open"]);
}

#[test]
fn a_slow_run_is_an_alert_while_it_runs() {
    let cluster = cluster();
    cluster.sql("update fate set lasts = 3600");
    let job = fated(&cluster, "slow", "alert_if_slower => '300 ms'");
    wait_alerts(&cluster, job, &["slow open"]);
    let running = "select count(*) from cron.running r join cron.alert a using (jobid, runid)";
    assert_eq!(cluster.one::<i64>(running), 1, "it runs still");
    // The next scheduler knows of it, and of the run.
    another_scheduler(&cluster);
    assert_eq!(alerts(&cluster, job), ["slow open"]);
    cluster.sql("update fate set lasts = 0");
    let run: i64 = cluster.one("select runid from cron.running");
    assert!(cluster.one_with::<bool>("select cron.cancel_run($1)", &[&run]));
    wait_alerts(&cluster, job, &["slow recovered"]);
    // A limit that is set while the run goes on holds for it.
    cluster.sql("update fate set lasts = 3600");
    let late = fated(&cluster, "late", "active => true");
    cluster.wait_for(&format!("exists (select from cron.running where jobid = {late})"));
    cluster.sql("select cron.set_job('late', '{\"alert_if_slower\": \"100 ms\"}')");
    wait_alerts(&cluster, late, &["slow open"]);
}

#[test]
fn a_run_slower_than_usual_is_an_alert_while_it_runs() {
    let cluster = Cluster::builder().conf("cron.default_alert_if_times_slower", "10").start();
    let mut gate = cluster.client();
    let command = "select pg_sleep(0.1); select pg_advisory_xact_lock_shared(1)";
    let create =
        format!("select cron.create_job($1, '@yearly', '{command}', on_overlap => 'allow'");
    let jobs = [
        cluster.one_with::<i64>(&format!("{create}, alert_if_times_slower => 10)"), &[&"own"]),
        cluster.one_with::<i64>(&format!("{create})"), &[&"default"]),
        cluster.one_with::<i64>(&format!("{create}, alert_if_times_slower => 0)"), &[&"never"]),
    ];
    let run = |job: i64, times: usize| {
        for _ in 0..times {
            let _: i64 = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
        }
    };
    let counted = |wanted: i64| {
        let total =
            format!("(select min(total_runs) >= {wanted} and count(*) = 3 from cron.job_stat)");
        cluster.wait_for(&total);
    };
    // Of nineteen runs nothing can be said.
    jobs.iter().for_each(|&job| run(job, 19));
    counted(19);
    gate.batch_execute("select pg_advisory_lock(1)").unwrap();
    jobs.iter().for_each(|&job| run(job, 1));
    cluster.wait_for("(select count(*) = 3 from cron.running where elapsed > 15 * p95_duration)");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.alert"), 0);
    gate.batch_execute("select pg_advisory_unlock(1)").unwrap();
    // One in so many is not usual.
    jobs.iter().for_each(|&job| run(job, 21));
    counted(41);
    gate.batch_execute("select pg_advisory_lock(1)").unwrap();
    jobs.iter().for_each(|&job| run(job, 1));
    let [own, default, never] = jobs;
    for job in [own, default] {
        wait_alerts(&cluster, job, &["slow open"]);
    }
    let said = cluster.rows(
        "select r.runid = a.runid, (detail->>'times')::float8 = 10 and outcome is null, \
          abs((detail->>'limit_seconds')::float8 / (detail->>'p95_seconds')::float8 - 10) < 0.01, \
          abs((detail->>'p95_seconds')::float8 * 1000 / s.p95_duration_ms - 1) < 0.01, \
          message like 'a run takes longer than %, 10 times as long as 95 percent of the runs' \
         from cron.alert a join cron.running r using (jobid) join cron.job_stat s using (jobid)",
        &[],
    );
    assert_eq!(said.len(), 2, "they run still");
    for row in &said {
        let true_of_it: Vec<bool> = (0..5).map(|column| row.get(column)).collect();
        assert_eq!(true_of_it, [true; 5]);
    }
    // The next scheduler knows of it, of the run, and of what is usual.
    another_scheduler(&cluster);
    gate.batch_execute("select pg_advisory_unlock(1)").unwrap();
    counted(42);
    for job in [own, default] {
        assert_eq!(alerts(&cluster, job), ["slow open"], "a slow run is no recovery");
        run(job, 1);
        wait_alerts(&cluster, job, &["slow recovered"]);
    }
    // Without statistics nothing is usual.
    gate.batch_execute("select pg_advisory_lock(1)").unwrap();
    run(own, 1);
    wait_alerts(&cluster, own, &["slow recovered", "slow open"]);
    cluster.sql("select cron.reset_stats('own')");
    wait_alerts(&cluster, own, &["slow recovered", "slow job changed"]);
    gate.batch_execute("select pg_advisory_unlock(1)").unwrap();
    assert_eq!(alerts(&cluster, never), [""; 0], "0 is never");
}

#[test]
fn a_stuck_run_is_an_alert_until_it_speaks() {
    let cluster = Cluster::start();
    let mut gate = cluster.client();
    gate.batch_execute("select pg_advisory_lock(1), pg_advisory_lock(2)").unwrap();
    let job: i64 = cluster.one(
        "select cron.create_job('quiet', '1 second', $$ do $b$ begin for i in 1 .. 2 loop \
         while not pg_try_advisory_lock(i) loop perform pg_sleep(0.02); end loop; \
         perform cron.heartbeat(); end loop; end $b$ $$, stuck_after => '500ms')",
    );
    wait_alerts(&cluster, job, &["stuck open"]);
    gate.batch_execute("select pg_advisory_unlock(1)").unwrap();
    wait_alerts(&cluster, job, &["stuck recovered", "stuck open"]);
    another_scheduler(&cluster);
    assert_eq!(alerts(&cluster, job), ["stuck recovered", "stuck open"]);
    gate.batch_execute("select pg_advisory_unlock(2)").unwrap();
    wait_alerts(&cluster, job, &["stuck recovered", "stuck recovered"]);
}

#[test]
fn an_expected_run_is_missed() {
    let cluster = cluster();
    let job = fated(&cluster, "expected", "alert_if_absent => '5 seconds'");
    wait_runs(&cluster, job, 3);
    assert_eq!(alerts(&cluster, job), [""; 0]);
    cluster.sql("update fate set fails = true");
    wait_alerts(&cluster, job, &["absent open"]);
    assert!(cluster.one::<bool>("select detail->>'last_success' is not null from cron.alert"));
    another_scheduler(&cluster);
    wait_runs(&cluster, job, 2);
    assert_eq!(alerts(&cluster, job), ["absent open"]);
    cluster.sql("update fate set fails = false");
    wait_alerts(&cluster, job, &["absent recovered"]);
    // A job that cannot run at all is missed like any other.
    let watched = "'1 second', 'select 1', alert_if_absent => '5 seconds'";
    let broken: i64 = cluster.one(&format!("select cron.create_job('broken', {watched})"));
    wait_runs(&cluster, broken, 1);
    cluster.sql(&format!("update cron.job set username = 'nobody at all' where jobid = {broken}"));
    wait_alerts(&cluster, broken, &["absent open"]);
    // One that is paused is not.
    cluster.sql("select cron.pause('expected'::text)");
    let free: i64 = cluster.one("select cron.create_job('free', '1 second', 'select 1')");
    wait_runs(&cluster, free, 4);
    assert_eq!(alerts(&cluster, job), ["absent recovered"]);
}

/// Twenty occurrences that ended while there was no scheduler; `failed` says which of them, `n`, failed.
fn twenty_unseen(cluster: &Cluster, job: i64, failed: &str) {
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, username, status, outcome, start_time, \
          end_time, scheduled_for, attempt, trigger) \
         select {job}, 'postgres', word, word, t, t, t, 1, 'schedule' \
         from generate_series(1, 20) n, \
          lateral (select clock_timestamp() + n * interval '1 microsecond', \
           case when {failed} then 'failed' else 'succeeded' end) x (t, word)"
    ));
    another_scheduler(cluster);
}

#[test]
fn the_success_rate_is_that_of_the_last_twenty() {
    let cluster = cluster();
    let job: i64 = cluster
        .one("select cron.create_job('rated', '@yearly', 'select 1', alert_below_success => 95)");
    cluster.wait_known();
    // Twenty occurrences this scheduler has not seen: two of them failed.
    twenty_unseen(&cluster, job, "n <= 2");
    wait_alerts(&cluster, job, &["success_rate open"]);
    let message: String = cluster.one("select message from cron.alerts");
    assert_eq!(message, "18 of the last 20 occurrences have succeeded, less than 95 percent");
    cluster.sql("select cron.set_job('rated', '{\"alert_below_success\": 90}')");
    wait_alerts(&cluster, job, &["success_rate job changed"]);
}

#[test]
fn a_success_rate_sinks_and_rises_as_runs_end() {
    let cluster = cluster();
    // Fails the first time and never again. Until the job has a past, it has to wait.
    cluster.sql(
        "create sequence turn; \
         select cron.create_job('rated', '1 second', $$select 1 / (nextval('turn') - 1)$$, \
          alert_below_success => 95); \
         select cron.pause('rated'::text)",
    );
    cluster.wait_known();
    let job: i64 = cluster.one("select jobid from cron.job");
    // The third of twenty failed, so one more is one too many, until that one is forgotten.
    twenty_unseen(&cluster, job, "n = 3");
    assert_eq!(alerts(&cluster, job), [""; 0]);
    cluster.sql("select cron.resume('rated'::text)");
    wait_alerts(&cluster, job, &["success_rate recovered"]);
    let said = cluster.rows(
        "select detail->>'succeeded', d.outcome from cron.alerts a \
          join cron.job_run_details d using (runid)",
        &[],
    );
    assert_eq!(
        (said[0].get(0), said[0].get(1)),
        ("18", "failed"),
        "by the run that has just failed"
    );
}

#[test]
fn jobs_that_do_not_say_have_the_alerts_of_the_cluster() {
    let cluster = Cluster::builder()
        .conf("cron.default_alert_if_slower", "1500ms")
        .conf("cron.default_alert_if_absent", "4s")
        .conf("cron.default_alert_below_success", "92.5")
        .start();
    let create = |name: &str, schedule: &str, command: &str, options: &str| -> i64 {
        let create = format!("select cron.create_job($1, $2, $3, {options})");
        cluster.one_with(&create, &[&name, &schedule, &command])
    };
    // Each leaves one rule to the cluster, and the last one none.
    let rated = create("rated", "@yearly", "select 1", "alert_if_absent => '0'");
    let sleep = "select pg_sleep(3600)";
    let slow = create("slow", "1 second", sleep, "alert_if_absent => '0'");
    let absent = create("absent", "@yearly", "select 1", "active => true");
    let own = "alert_if_slower => '1 day', alert_if_absent => '1 day', alert_below_success => 1";
    let own = create("own", "1 second", sleep, own);
    cluster.wait_known();
    twenty_unseen(&cluster, rated, "n <= 2");
    twenty_unseen(&cluster, own, "n <= 2");
    wait_alerts(&cluster, rated, &["success_rate open"]);
    wait_alerts(&cluster, slow, &["slow open"]);
    wait_alerts(&cluster, absent, &["absent open"]);
    let limits = "select format('%s %s', jobname, \
          coalesce(detail->>'limit_seconds', detail->>'limit_percent')::float8) from cron.alert order by 1";
    assert_eq!(cluster.column::<String>(limits), ["absent 4", "rated 92.5", "slow 1.5"]);
    let in_time: Vec<bool> = cluster.column(
        "select raised_at >= r.started_at + interval '1.5 seconds' from cron.alert \
          join cron.running r using (jobid, runid) \
         union all select raised_at >= s.effective_from + interval '4 seconds' \
          from cron.alert join cron.job_state s using (jobid) where rule = 'absent'",
    );
    assert_eq!(in_time, [true, true], "not before its time");
    assert_eq!(alerts(&cluster, own), [""; 0], "what a job says goes before");
}

#[test]
fn an_open_alert_goes_with_its_job() {
    let cluster = cluster();
    cluster.sql(
        "create table told (who text, what text); grant all on told, fate to public; \
         update fate set fails = true",
    );
    for role in ["ann", "bob"] {
        cluster.role(role);
        let tell = "insert into told select current_user, a::jsonb->>'event' || ' ' || (a::jsonb->>'id') \
             from current_setting('cron.alert') a where a <> ''";
        let handler = cluster.schedule_as(role, "tell", "0 0 1 1 *", tell);
        assert!(handler > 0);
    }
    let job = cluster.schedule_as("ann", "moving", "1 second", FATED);
    let options = r#"{"alert_after_failures": 1, "alert_job": "tell"}"#;
    cluster.sql(&format!("select cron.set_job({job}, '{options}')"));
    wait_alerts(&cluster, job, &["failures open"]);
    let seen = |role: &str| -> Vec<String> {
        let query =
            "select concat_ws(' ', id, username, coalesce(recovery, 'open')) from cron.alerts";
        let rows = cluster.client_as(role).query(query, &[]).expect("alerts");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let id: i64 = cluster.one("select id from cron.alert");
    assert_eq!((seen("ann"), seen("bob")), (vec![format!("{id} ann open")], vec![]));
    cluster.wait_for("(select count(*) = 1 from told)");

    cluster.sql(&format!("select cron.set_job({job}, '{{\"username\": \"bob\"}}')"));
    assert_eq!(seen("bob").len(), 1, "at once");
    cluster.wait_for("(select username = 'bob' from cron.alert)");
    assert_eq!((seen("ann"), seen("bob")), (vec![], vec![format!("{id} bob open")]));
    another_scheduler(&cluster);
    cluster.sql("update fate set fails = false");
    wait_alerts(&cluster, job, &["failures recovered"]);
    assert_eq!((seen("ann"), seen("bob")), (vec![], vec![format!("{id} bob recovered")]));
    cluster.wait_for("(select count(*) >= 2 from told)");
    let told: String =
        cluster.one("select string_agg(who || ' ' || what, ', ' order by what) from told");
    assert_eq!(told, format!("ann alert {id}, bob recovery {id}"));

    // What was before goes on being the past of the one who has the job.
    cluster.sql(&format!("select cron.set_job({job}, '{{\"username\": \"ann\"}}')"));
    let past = vec![format!("{id} bob recovered")];
    assert_eq!((seen("ann"), seen("bob")), (past.clone(), past));
}

#[test]
fn an_odd_row_in_the_history_of_one_job_silences_nobody() {
    let cluster = cluster();
    cluster.sql("update fate set fails = true");
    let odd = cluster.schedule("odd", "0 0 29 2 *", "select 1");
    let job = cluster.schedule("plain", "1 second", FATED);
    let options = r#"{"alert_after_failures": 1}"#;
    for job in [odd, job] {
        cluster.sql(&format!("select cron.set_job({job}, '{options}')"));
    }
    cluster.wait_known();
    wait_alerts(&cluster, job, &["failures open"]);
    // Written by a superuser, or restored.
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, runid, database, username, command, status, start_time, \
          end_time, scheduled_for, outcome, trigger, attempt) \
         values ({odd}, nextval('cron.runid_seq'), 'postgres', 'postgres', 'select 1', 'failed', '-infinity', \
          'infinity', 'infinity', 'failed', 'schedule', 1)"
    ));
    // The next scheduler knows of no alert, and has to find out by the rows.
    cluster.sql("delete from cron.alert");
    another_scheduler(&cluster);
    wait_alerts(&cluster, job, &["failures open"]);
    for look in [
        format!("select count(*) from cron.diagnose({odd})"),
        "select count(duration) from cron.recent_runs".to_owned(),
        "select count(duration) from cron.failed_runs".to_owned(),
        "select count(duration) + count(start_lag) from cron.monitor_runs".to_owned(),
    ] {
        let _: i64 = cluster.one(&look);
    }
}
