//! Rights for monitoring: an owner sees what is his, a stranger nothing, and whoever the views for
//! monitoring are granted to sees everybody's figures and nobody's commands.

use pg_tock_test::{Cluster, sqlstate};

const VIEWS: [&str; 12] = [
    "monitor_health",
    "monitor_jobs",
    "monitor_runs",
    "monitor_stats",
    "monitor_running",
    "monitor_upcoming",
    "monitor_skips",
    "monitor_dead_letters",
    "monitor_alerts",
    "monitor_stats_hourly",
    "monitor_stats_daily",
    "metrics",
];

/// Three roles: `owner` has jobs, `stranger` has none, `monitor` may read the views.
fn three_roles() -> Cluster {
    let cluster = Cluster::start();
    for role in ["owner", "stranger", "monitor"] {
        cluster.role(role);
    }
    for view in VIEWS {
        cluster.sql(&format!("grant select on cron.{view} to monitor"));
    }
    let secret = "select 'hush' from generate_series(1, 3)";
    let fails = "do $$ begin raise exception 'hush'; end $$";
    let good = cluster.schedule_as("owner", "good", "1 second", secret);
    let bad = cluster.schedule_as("owner", "bad", "1 second", fails);
    cluster.sql(&format!(
        "select cron.set_job({good}, '{{\"settings\": {{\"application_name\": \"hush\"}}, \
         \"description\": \"hush\", \"run_if\": \"''hush'' <> ''''\"}}')"
    ));
    let _ = cluster.finished_run(good);
    let _ = cluster.finished_run(bad);
    // Whose note is in shared memory while it runs.
    let notes = "select cron.heartbeat(40, 'hush'), pg_sleep(3600)";
    cluster.schedule_as("owner", "long", "1 second", notes);
    cluster.schedule("of the superuser", "1 second", "select pg_sleep(3600)");
    cluster.wait_for(
        "(select progress = 40 and note = 'hush' from cron.running where jobname = 'long')",
    );
    cluster.wait_for("(select count(*) = 1 from cron.running where jobname = 'of the superuser')");
    cluster.wait_for("(select failing_jobs = 1 from cron.health)");
    cluster
}

/// A view for monitoring says what the view it is made from says, but for what it keeps to itself.
#[test]
fn what_monitors_see_is_what_superusers_see() {
    let cluster = three_roles();
    for (view, of, other) in [
        ("monitor_stats", "job_stats", "{username}"),
        ("monitor_jobs", "jobs", "{username, kind, state, next_run_at}"),
    ] {
        // Every figure of it another one.
        cluster.sql(
            "update cron.job_stat set total_runs = 40, successful_runs = 13, failed_runs = 27, timed_out_runs = 5, \
              cancelled_runs = 6, crashed_runs = 7, retried_runs = 8, skipped_runs = 11, consecutive_failures = 12, \
              wal_bytes = 123456, rows = 14, total_ms = 900100, max_ms = 90200, last_success_at = '2026-01-01', \
              durations = '\\x019301324f2d4f05', start_lags = '\\x0153324f2d4f05' where jobid = 1",
        );
        let differ = cluster.column::<String>(&format!(
            "select concat_ws(' ', e.key, e.value, to_jsonb(s)->e.key) from cron.{view} m \
             join cron.{of} s using (jobid) cross join jsonb_each(to_jsonb(m) - '{other}'::text[]) e \
             where jobid = 1 and to_jsonb(s) ? e.key and e.value is distinct from to_jsonb(s)->e.key"
        ));
        assert_eq!(differ, [""; 0], "{view}");
    }
}

#[test]
fn those_who_monitor_see_all_jobs_and_no_commands() {
    let cluster = three_roles();
    let mut monitor = cluster.client_as("monitor");
    let mut number = |query: &str| -> i64 {
        let row = monitor.query_one(query, &[]);
        row.unwrap_or_else(|error| panic!("{query}: {}", pg_tock_test::explain(&error))).get(0)
    };
    assert_eq!(number("select count(*) from cron.monitor_jobs"), 4);
    assert_eq!(number("select count(*) from cron.monitor_stats"), 4);
    assert_eq!(
        number(
            "select count(distinct jobname) from cron.monitor_runs where jobname in ('good', 'bad')"
        ),
        2
    );
    assert_eq!(number("select failing_jobs from cron.monitor_health"), 1);
    assert_eq!(number("select jobs from cron.monitor_health"), 4);
    // With that right the figures of cron.health are everybody's; its jobs are still one's own.
    assert_eq!(number("select jobs from cron.health"), 0);
    assert!(number("select running from cron.health") >= 1);
    assert!(number("select waiting from cron.health") >= 0);
    for view in VIEWS {
        let leaks = format!("select count(*) from cron.{view} v where v::text ~ 'hush|sleep'");
        assert_eq!(number(&leaks), 0, "{view}");
    }
    for table in ["job", "job_run_details", "job_stat", "jobs", "recent_runs"] {
        assert_eq!(number(&format!("select count(*) from cron.{table}")), 0, "{table}");
    }
    // A function that tells what it is given learns nothing that the view does not show.
    monitor
        .batch_execute(
            "create function pg_temp.tell(t text) returns bool language plpgsql cost 0.0001 as \
             'begin raise notice ''%'', t; return true; end'",
        )
        .expect("a function");
    let hidden = monitor.query("select command from cron.monitor_jobs", &[]);
    assert_eq!(sqlstate(&hidden.expect_err("no such column")), "42703");
}

#[test]
fn those_who_monitor_see_what_became_of_everybodys_jobs() {
    let cluster = three_roles();
    for (role, name) in [("owner", "theirs"), ("postgres", "ours")] {
        let command = "do $$ begin raise exception 'hush'; end $$";
        let job = cluster.schedule_as(role, name, "1 second", command);
        cluster.sql(&format!(
            "select cron.set_job({job}, '{{\"alert_after_failures\": 1, \"description\": \"hush\"}}')"
        ));
        // One that may not run now, with what somebody said of that.
        let idle =
            cluster.schedule_as(role, &format!("{name}, paused"), "1 second", "select 'hush'");
        cluster.sql(&format!("select cron.pause({idle}, reason => 'hush')"));
    }
    // What is due while these run is skipped.
    cluster.sql(
        "select cron.set_job(jobid, '{\"on_overlap\": \"skip\"}') from cron.job \
         where jobname in ('long', 'of the superuser')",
    );
    cluster.wait_for("(select count(distinct jobname) = 2 from cron.alerts where open)");
    cluster.wait_for("(select count(distinct jobid) >= 2 from cron.job_skip)");
    let mut monitor = cluster.client_as("monitor");
    // Of each view: who is in it, and that what is open in cron's own views for a superuser is there as well.
    for (view, jobs) in [
        ("monitor_running", "long, of the superuser"),
        ("monitor_upcoming", "ours, theirs"),
        ("monitor_skips", "long, of the superuser"),
        ("monitor_dead_letters", "ours, theirs"),
        ("monitor_alerts", "ours, theirs"),
        ("monitor_stats_hourly", "ours, theirs"),
        ("monitor_stats_daily", "ours, theirs"),
    ] {
        let seen = format!(
            "select count(distinct (jobname, username)) from cron.{view} \
             where jobname = any ('{{{jobs}}}'::text[])"
        );
        let seen: i64 = monitor.query_one(&seen, &[]).expect(view).get(0);
        assert_eq!(seen, 2, "{view}");
        let leaks = format!("select count(*) from cron.{view} v where v::text ~ 'hush|sleep'");
        let leaks: i64 = monitor.query_one(&leaks, &[]).expect(view).get(0);
        assert_eq!(leaks, 0, "{view}");
    }
    // Without the right to the view, its function tells a role of its own runs alone.
    for (role, seen) in
        [("monitor", (true, true)), ("owner", (true, false)), ("stranger", (false, false))]
    {
        let query = "select count(*) filter (where username = 'owner') > 0, \
             count(*) filter (where username = 'postgres') > 0, \
             count(note) filter (where username <> current_user) from cron.running_runs(of_all => true)";
        let row = cluster.client_as(role).query_one(query, &[]).expect("runs");
        assert_eq!((row.get::<_, bool>(0), row.get::<_, bool>(1)), seen, "{role}");
        assert_eq!(row.get::<_, i64>(2), 0, "{role}: notes of others");
    }
}

#[test]
fn others_see_what_is_theirs() {
    let cluster = three_roles();
    for (role, jobs, failing) in [("owner", 3, 1), ("stranger", 0, 0)] {
        let mut client = cluster.client_as(role);
        for view in VIEWS {
            let denied = client.query(&format!("select * from cron.{view}"), &[]);
            assert_eq!(sqlstate(&denied.expect_err("no right")), "42501", "{role} {view}");
        }
        let row = client
            .query_one(
                "select jobs, failing_jobs, status, waiting is null and slots is null \
                  and slots_in_use is null and short_of_slots is null and waited is null, \
                  running, scheduler_alive, array_to_string(reasons, ' ') ~ 'superuser' from cron.health",
                &[],
            )
            .expect("cron.health");
        let figures: (i64, i64, &str) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(figures, (jobs, failing, if failing > 0 { "warning" } else { "healthy" }));
        assert!(row.get::<_, bool>(3), "{role} sees figures of others");
        assert!(row.get::<_, i64>(4) <= jobs, "{role} sees runs of others");
        assert!(row.get::<_, bool>(5) && !row.get::<_, bool>(6), "{role}");
        let figures = client
            .query_one("select sees_all from cron.scheduler_figures() where waiting is null", &[])
            .expect("figures");
        assert!(!figures.get::<_, bool>(0));
        let denied = client.query("select cron.prune()", &[]);
        assert_eq!(sqlstate(&denied.expect_err("no right")), "42501");
    }
    // What an owner sees of jobs that cannot run are his own.
    cluster.sql(
        "update cron.job set schedule = 'nonsense' where jobname in ('good', 'of the superuser')",
    );
    let broken = |role: &str| -> i64 {
        cluster
            .client_as(role)
            .query_one("select broken_jobs from cron.health", &[])
            .expect("a row")
            .get(0)
    };
    assert_eq!((broken("owner"), broken("stranger")), (1, 0));
    cluster.wait_for("(select broken_jobs = 2 from cron.health)");
}
