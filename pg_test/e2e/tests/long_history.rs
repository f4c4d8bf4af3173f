//! A long history: nobody reads all of it.

use pg_tock_test::Cluster;

/// Tables that grow with what jobs have done.
const LONG: [&str; 7] = [
    "job_run_details",
    "job_skip",
    "run_log",
    "run_checkpoint",
    "alert",
    "job_stat_hour",
    "job_stat_day",
];

/// Those of some plans that are to read all of a table.
fn read_in_full(plans: &[String]) -> Vec<&str> {
    let all = LONG.map(|table| format!("Seq Scan on {table} "));
    let bad = plans.iter().filter(|plan| all.iter().any(|scan| plan.contains(scan)));
    bad.map(String::as_str).collect()
}

/// A server with 60,000 runs of 20 jobs and 10 that are gone, and with as much of what goes with them.
fn long_history() -> Cluster {
    let cluster = Cluster::builder()
        .conf("shared_preload_libraries", "pg_tock,auto_explain")
        .conf("auto_explain.log_min_duration", "-1")
        .conf("auto_explain.log_nested_statements", "on")
        .conf("autovacuum", "off")
        .start();
    for n in 1..=20 {
        let options =
            if n % 2 == 0 { "keep_runs => 100, keep_days => 60" } else { "keep_days => 45" };
        cluster
            .sql(&format!("select cron.create_job('job {n}', '0 0 1 1 *', 'select 1', {options})"));
    }
    cluster.sql(
        "insert into cron.job_run_details (jobid, jobname, username, command, status, outcome, \
          scheduled_for, attempt, trigger, start_time, end_time) \
         select 1 + i % 30, 'job', 'postgres', 'select 1', \
          case when i % 50 = 0 then 'failed' else 'succeeded' end, \
          case when i % 50 = 0 then 'failed' else 'succeeded' end, at, 1, 'schedule', at, at \
         from generate_series(1, 60000) i, \
          lateral (select now() - interval '100 days' + i * interval '143 seconds') t (at)",
    );
    cluster.sql(
        "insert into cron.run_log select runid, jobid, end_time, 'info', repeat('note ', 300), null, 'postgres' \
          from cron.job_run_details where runid % 4 = 0; \
         insert into cron.run_log select -n, 1, now() - interval '99 days', 'info', 'note', null, 'postgres' \
          from generate_series(1, 5000) n; \
         insert into cron.run_checkpoint select jobid, scheduled_for, runid, end_time \
          from cron.job_run_details; \
         insert into cron.run_checkpoint select jobid, scheduled_for + interval '1 second', runid, end_time \
          from cron.job_run_details where runid % 10 = 0; \
         insert into cron.job_skip select jobid, 'closed', scheduled_for, scheduled_for, 1 \
          from cron.job_run_details; \
         insert into cron.alert (jobid, username, rule, message, detail, raised_at, recovered_at, recovery) \
          select jobid, 'postgres', 'failures', 'failed', '{}', end_time, end_time, 'recovered' \
          from cron.job_run_details; \
         update cron.job_state set cursor = now()",
    );
    cluster.wait_counted();
    cluster.flush();
    cluster.sql("analyze");
    cluster.conf("auto_explain.log_min_duration", "0");
    cluster.reload();
    cluster.wait_for("current_setting('auto_explain.log_min_duration') = '0'");
    cluster
}

/// What auto_explain has written since the log was so long, of processes of that type.
fn plans(cluster: &Cluster, since: usize, backend_type: &str) -> Vec<String> {
    let log = cluster.log();
    let own = format!(" {backend_type} ");
    let entries = log[since..].split("\n20");
    entries
        .filter(|entry| entry.contains(&own) && entry.contains(" plan:"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_look_of_the_keeper_at_a_long_history_is_by_an_index() {
    let cluster = long_history();
    cluster.prune();
    assert!(cluster.one::<bool>("select pruned_runs > 20000 from cron.keeper_state"));
    let plans = plans(&cluster, 0, "pg_tock keeper");
    assert!(plans.len() > 100, "{} plans", plans.len());
    assert_eq!(read_in_full(&plans), [""; 0]);
    for index in [
        "job_run_details_failed",
        "job_run_details_occurrence",
        "job_skip_jobid_last_at",
        "alert_recovered_at",
        "run_log_runid",
        "run_checkpoint_pkey",
    ] {
        assert!(plans.iter().any(|plan| plan.contains(index)), "{index}");
    }
    // It has been everywhere; what has grown old since is not a day too old.
    let old = "select (select count(*) from cron.run_log where runid < 0) \
         + (select count(*) from cron.alert where recovered_at < now() - interval '91 days') \
         + (select count(*) from cron.job_skip s join cron.job j using (jobid) \
            where last_at < now() - (j.keep_days + 1) * interval '24 hours') \
         + (select count(*) from cron.run_checkpoint c where at < now() - interval '91 days' \
            and not exists (select from cron.job_run_details d where d.jobid = c.jobid \
             and d.scheduled_for = c.scheduled_for))";
    assert_eq!(cluster.one::<i64>(old), 0);
}

#[test]
fn every_look_of_others_at_a_long_history_is_by_an_index() {
    let cluster = long_history();
    for (view, index) in [
        ("recent_runs", "job_run_details_pkey"),
        ("failed_runs", "job_run_details_failed"),
        ("dead_letters", "job_run_details_failed"),
        ("metrics", "job_run_details_failed"),
        ("monitor_runs where runid > 59000", "job_run_details_pkey"),
        ("monitor_dead_letters", "job_run_details_failed"),
        ("monitor_skips where jobid = 7", "job_skip_jobid_last_at"),
        ("job_stats_hourly where jobid = 7", "job_stat_hour_pkey"),
        ("job_stats_daily where jobid = 7", "job_stat_day_pkey"),
        ("monitor_stats_hourly where jobid = 7", "job_stat_hour_pkey"),
        ("monitor_stats_daily where jobid = 7", "job_stat_day_pkey"),
        ("run_log where runid = 100", "run_log_runid"),
        ("alerts where open", "alert_"),
        ("alerts limit 100", "alert_recovered_at"),
        ("alerts where jobid = 7", "alert_jobid_recovered_at"),
        ("monitor_alerts where open", "alert_"),
        ("monitor_alerts limit 100", "alert_recovered_at"),
        ("monitor_alerts where jobid = 7", "alert_jobid_recovered_at"),
    ] {
        let plan: Vec<String> = cluster.column(&format!("explain select * from cron.{view}"));
        let plan = [plan.join("\n")];
        assert!(plan[0].contains(index) && read_in_full(&plan).is_empty(), "{view}: {}", plan[0]);
    }
    // What functions and the scheduler read.
    let mark = cluster.log().len();
    assert!(cluster.one::<String>("select cron.report_html('7 days')").contains("job 7"));
    assert!(cluster.one::<i64>("select count(*) from cron.timeline(7, '7 days')") > 0);
    assert!(cluster.one::<i64>("select count(*) from cron.timeline(null::bigint, '1 day')") > 0);
    assert!(cluster.one::<i64>("select count(*) from cron.diagnose(7)") > 0);
    assert!(!cluster.one::<String>("select cron.metrics_text()").is_empty());
    // These read what is kept for each job, and ask functions for the rest.
    for view in [
        "job_stats",
        "jobs",
        "upcoming",
        "health",
        "monitor_stats",
        "monitor_jobs",
        "monitor_upcoming",
        "monitor_health",
    ] {
        let rows = cluster.one::<String>(&format!("select json_agg(v)::text from cron.{view} v"));
        assert!(rows.len() > 100, "{view}: {rows}");
    }
    cluster.sql("select cron.set_job('job 7', '{\"alert_below_success\": 0.5, \"alert_after_failures\": 3}')");
    cluster.restart();
    cluster.wait_scheduler();
    cluster.flush();
    for (who, told) in [
        ("client backend", ["make_interval(secs => least(", "'may_retry'", "cron.job_skip s"]),
        (
            "pg_tock scheduler",
            ["AS u (jobid, since, most)", "cron.alert a", "cron.job_run_details"],
        ),
    ] {
        let plans = plans(&cluster, mark, who);
        assert_eq!(read_in_full(&plans), [""; 0], "{who}");
        for words in told {
            assert!(plans.iter().any(|plan| plan.contains(words)), "{who} has not asked: {words}");
        }
    }
}

#[test]
fn a_role_finds_its_runs_in_a_long_history_by_an_index() {
    let cluster = Cluster::builder()
        .conf("autovacuum", "off")
        .conf("cron.default_keep_days", "0")
        .conf("cron.default_keep_days_failed", "0")
        .start();
    cluster.role("ann");
    let hers = cluster.schedule_as("ann", "hers", "0 0 1 1 *", "select 1");
    // Of 60,000 runs of 600 jobs ten are hers, and two of a job she has no more. Half of hers failed.
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, jobname, username, command, status, outcome, \
          scheduled_for, attempt, trigger, start_time, end_time) \
         select case who when 'hers' then {hers} when 'gone' then 999 else 1000 + i % 600 end, i::text, \
          case who when 'others' then 'postgres' else 'ann' end, 'select 1', \
          outcome, outcome, at, 1, 'schedule', at, at \
         from generate_series(1, 60000) i, lateral (select \
          case when i % 6000 = 0 then 'hers' when i in (3000, 33000) then 'gone' else 'others' end, \
          case when i % 12000 = 0 or i % 50 = 1 then 'failed' else 'succeeded' end, \
          now() - interval '100 days' + i * interval '143 seconds') t (who, outcome, at)"
    ));
    cluster.wait_counted();
    cluster.sql("analyze");
    let mut ann = cluster.client_as("ann");
    let mut ask = |query: &str| -> Vec<String> {
        ann.query(query, &[]).expect("an answer").iter().map(|row| row.get(0)).collect()
    };
    let failed = ["60000", "48000", "36000", "24000", "12000"];
    assert_eq!(ask("select jobname from cron.failed_runs"), failed);
    assert_eq!(ask("select jobname from cron.dead_letters"), failed);
    let recent = ask("select jobname from cron.recent_runs");
    let wanted = [
        "60000", "54000", "48000", "42000", "36000", "33000", "30000", "24000", "18000", "12000",
        // Not one of the newest 50,000, and found by its job, as that of the one she has no more is not.
        "6000",
    ];
    assert_eq!(recent, wanted);
    for (view, index) in [
        ("recent_runs", "job_run_details_occurrence"),
        ("recent_runs", "job_run_details_pkey"),
        ("failed_runs", "job_run_details_failed"),
        ("dead_letters", "job_run_details_failed"),
    ] {
        let plan = ask(&format!("explain select * from cron.{view}")).join("\n");
        assert!(
            plan.contains(index) && !plan.contains("Seq Scan on job_run_details"),
            "{view}: {plan}"
        );
    }
    // Who sees all of them sees the newest thousand.
    let seen: Vec<String> = cluster.column("select jobname from cron.recent_runs");
    assert_eq!((seen.len(), seen[0].as_str(), seen[999].as_str()), (1000, "60000", "59001"));
}
