//! A long history: nobody reads all of it.

use pg_tock_test::Cluster;

#[test]
fn every_look_at_a_long_history_is_by_an_index() {
    let cluster = Cluster::builder()
        .conf("shared_preload_libraries", "pg_tock,auto_explain")
        .conf("auto_explain.log_min_duration", "0")
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
        "insert into cron.run_log select runid, jobid, end_time, 'info', 'note', null, 'postgres' \
                 from cron.job_run_details where runid % 4 = 0",
    );
    cluster.wait_counted();
    cluster.sql("analyze");
    cluster.prune();
    assert!(cluster.one::<bool>("select pruned_runs > 20000 from cron.keeper_state"));
    let log = cluster.log();
    let plans: Vec<&str> =
        log.split("\n20").filter(|entry| entry.contains(" pg_tock keeper ")).collect();
    assert!(plans.len() > 100, "{} plans", plans.len());
    let bad = plans.iter().find(|plan| plan.contains("Seq Scan on job_run_details"));
    assert!(bad.is_none(), "{}", bad.unwrap_or(&""));
    assert!(plans.iter().any(|plan| plan.contains("job_run_details_failed")));
    assert!(plans.iter().any(|plan| plan.contains("job_run_details_occurrence")));
    for view in ["recent_runs", "failed_runs", "dead_letters", "monitor_runs where runid > 59000"] {
        let plan: Vec<String> = cluster.column(&format!("explain select * from cron.{view}"));
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index Scan") && !plan.contains("Seq Scan on job_run_details"),
            "{view}: {plan}"
        );
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
