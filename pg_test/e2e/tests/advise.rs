//! What could be better about jobs: the redundancies real teams have, and what runs show.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of scenarios, which fail by panicking"
)]

mod real_jobs;

use pg_tock_test::{Cluster, PATIENCE, poll_until, utc};
use serde_json::json;

/// The advice of a kind, as `topic: job, job`.
fn advice(cluster: &Cluster, kind: &str) -> Vec<String> {
    cluster.column(&format!(
        "select advice || ': ' || array_to_string(job_names, ', ') from cron.advise() \
         where kind = '{kind}'"
    ))
}

/// A cluster with a set of real jobs.
fn with_set(set: &str) -> Cluster {
    let cluster = Cluster::start();
    real_jobs::secret(&cluster);
    for job in real_jobs::set(set) {
        let _ = cluster.create_job(&job);
    }
    cluster
}

#[test]
fn every_redundancy_of_an_audited_set_is_named() {
    let cluster = with_set("S0");
    assert_eq!(
        advice(&cluster, "redundancy"),
        [
            "duplicate: daily-batch-midnight-edt, daily-batch-trigger-12am-est",
            "subset: daily-batch-trigger-every-5min, daily-batch-trigger-resilient",
            "subset: batch-reconciler-every-10min, batch-reconciler-cleanup",
            "offset pair: daily-batch-midnight-est, daily-batch-midnight-edt",
            "offset pair: daily-batch-midnight-est, daily-batch-trigger-12am-est",
            "offset pair: daily-scheduler-3am-edt, daily-scheduler-3am-est",
        ]
    );
    // Whoever follows it, one by one, is left with four jobs, of which two have a time zone.
    while let Some(remedy) = cluster
        .column::<String>("select remedy from cron.advise() where kind = 'redundancy' limit 1")
        .first()
    {
        cluster.sql(remedy);
    }
    let left: Vec<String> = cluster.column(
        "select format('%s %s %s', jobname, schedule, coalesce(timezone, '-')) from cron.job \
         order by jobname",
    );
    assert_eq!(
        left,
        [
            "batch-reconciler-every-10min */10 * * * * -",
            "daily-batch-midnight-est 0 0 * * * America/New_York",
            "daily-batch-trigger-every-5min */5 * * * * -",
            "daily-scheduler-3am-edt 0 3 * * * America/New_York",
        ]
    );
}

#[test]
fn a_set_without_redundancy_has_none() {
    for set in ["S1", "S2", "S3", "S4"] {
        let cluster = with_set(set);
        assert_eq!(advice(&cluster, "redundancy"), [""; 0], "{set}");
        assert_eq!(advice(&cluster, "trouble"), [""; 0], "{set}");
    }
    // What each of them lacks is said once.
    let cluster = with_set("S2");
    let upkeep = advice(&cluster, "upkeep");
    assert_eq!(upkeep.len(), 1, "{upkeep:?}");
    assert!(upkeep[0].starts_with("no timeout: reset-daily-challenges, "), "{upkeep:?}");
    let remedy: String = cluster.one("select remedy from cron.advise()");
    cluster.sql(&remedy);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.advise()"), 0);
}

#[test]
fn what_runs_show() {
    let cluster = Cluster::start();
    let create = |name: &str, more: serde_json::Value| {
        let mut job = json!({
            "job_name": name, "schedule": "1 second", "command": format!("select '{name}'"),
            "timeout": "10 seconds", "description": "as its name says",
        });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cluster.create_job(&job)
    };
    // As direct writes may have it.
    let _ = create("patient", json!({"schedule": "@yearly"}));
    cluster.sql("update cron.job set timeout = '100000000 years' where jobname = 'patient'");
    let slow = create("slow", json!({"command": "select pg_sleep(1.5)"}));
    let broken = create("broken", json!({"command": "select 1 / 0"}));
    let _ = create("never", json!({"run_if": "false"}));
    let _ = create("well", json!({"schedule": "@daily"}));
    let _ = cluster.finished_runs(slow, 2);
    let _ = cluster.finished_runs(broken, 5);
    poll_until("advice on each", PATIENCE, || {
        cluster.flush();
        let (trouble, load) = (advice(&cluster, "trouble"), advice(&cluster, "load"));
        let expected = ["failing: broken", "always skipped: never"];
        (trouble == expected && load == ["too slow: slow"]).then_some(())
    });
    assert_eq!(advice(&cluster, "redundancy"), [""; 0]);
    assert_eq!(advice(&cluster, "upkeep"), [""; 0]);
    let detail: String = cluster.one("select detail from cron.advise() where advice = 'failing'");
    assert!(detail.contains(" attempts of \"broken\" all failed."), "{detail}");
    let remedy: String = cluster.one("select remedy from cron.advise() where advice = 'failing'");
    assert!(
        cluster
            .column::<String>(&format!("select finding from ({remedy}) f"))
            .contains(&"failing".to_owned())
    );
}

#[test]
fn trouble_is_worth_a_word_from_a_limit_on() {
    let cluster = Cluster::start();
    // Runs within a week and before, failures, and skips since the last run or before it.
    for (hour, name, ran, failed, skips, skipped) in [
        (0, "four failed", "1 hour", 4, 0, "1 hour"),
        (1, "five failed", "1 hour", 5, 0, "1 hour"),
        (2, "nine skipped", "8 days", 0, 9, "1 day"),
        (3, "ten skipped", "8 days", 0, 10, "1 day"),
        (4, "ten skipped before", "8 days", 0, 10, "9 days"),
        (5, "ran this week", "167 hours", 0, 10, "1 hour"),
        (6, "ran the week before", "169 hours", 0, 10, "1 hour"),
    ] {
        let job = cluster.create_job(&json!({
            "job_name": name, "schedule": format!("0 {hour} 29 2 *"), "timeout": "10 seconds",
            "command": format!("select '{name}'"), "description": "as its name says",
        }));
        cluster.sql(&format!(
            "insert into cron.job_stat (jobid, total_runs, failed_runs, consecutive_failures, last_run_at) \
              values ({job}, 9, {failed}, {failed}, now() - interval '{ran}'); \
             insert into cron.job_skip select {job}, 'window', now() - interval '30 days', \
              now() - interval '{skipped}', {skips} where {skips} > 0"
        ));
    }
    assert_eq!(
        advice(&cluster, "trouble"),
        [
            "failing: five failed",
            "always skipped: ten skipped",
            "always skipped: ran the week before",
        ]
    );
}

#[test]
fn a_herd_is_spread() {
    let cluster = Cluster::builder().clock(utc(2026, 6, 1, 10, 2, 30)).start();
    for n in 0..12 {
        let _ = cluster.create_job(&json!({
            "job_name": format!("job {n}"), "schedule": "0 3 * * *", "timeout": "1 hour",
            "command": format!("select {n}"), "description": "one of many",
        }));
    }
    let (detail, remedy): (String, String) = {
        let rows = cluster.rows("select detail, remedy from cron.advise()", &[]);
        assert_eq!(rows.len(), 1);
        (rows[0].get(0), rows[0].get(1))
    };
    assert!(detail.contains("12 jobs start at 2026-06-02 03:00 UTC"), "{detail}");
    cluster.sql(&remedy);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.advise()"), 0);
    assert_eq!(cluster.one::<i64>("select count(distinct next_run_at) from cron.jobs"), 12);
}

#[test]
fn what_tenants_have_in_common_is_no_redundancy() {
    let cluster = Cluster::start();
    let create = |name: &str, more: serde_json::Value| {
        let mut job = json!({
            "job_name": name, "schedule": "0 3 * * *", "timeout": "10 seconds",
            "description": "as its name says",
        });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cluster.create_job(&job)
    };
    for tenant in ["ACME", "acme", "a -- b", "a -- c"] {
        let _ = create(
            &format!("{tenant} by setting"),
            json!({"command": "select bill()", "settings": {"app.tenant": tenant}}),
        );
        let _ = create(
            &format!("{tenant} by condition"),
            json!({"command": "select bill()", "run_if": format!("owes('{tenant}')")}),
        );
        let _ = create(
            &format!("{tenant} by upstream"),
            json!({"command": "select bill()", "run_after": [format!("{tenant} by setting")]}),
        );
        let _ = create(
            &format!("{tenant} by request"),
            json!({"url": "https://example.com/bill", "method": "POST", "body": {"customer": tenant}}),
        );
        let _ = create(
            &format!("{tenant} by string"),
            json!({"command": format!("select bill(E'it\\'s {tenant}')")}),
        );
    }
    // Once resumed it would be one too many; until then the other one is needed.
    let parked = create("parked", json!({"command": "select 1"}));
    let _ = create("live", json!({"command": "SELECT 1;"}));
    cluster.sql(&format!("select cron.pause({parked})"));
    assert_eq!(advice(&cluster, "redundancy"), [""; 0]);
    cluster.sql(&format!("select cron.resume({parked})"));
    assert_eq!(advice(&cluster, "redundancy"), ["duplicate: parked, live"]);
}

#[test]
fn one_sees_advice_on_ones_own_jobs() {
    let cluster = Cluster::start();
    for role in ["ann", "bob"] {
        cluster.role(role);
        let _ = cluster.schedule_as(role, "one", "@daily", "select 1");
    }
    let _ = cluster.schedule_as("ann", "two", "0 0 * * *", "SELECT 1;");
    let found = |role: &str| -> Vec<String> {
        let query = "select advice from cron.advise() where kind = 'redundancy'";
        cluster.client_as(role).query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(found("ann"), ["duplicate"]);
    assert_eq!(found("bob"), [""; 0], "hers are none of his business");
    // Two roles' jobs are two jobs.
    assert_eq!(advice(&cluster, "redundancy"), ["duplicate: one, two"]);
}

#[test]
fn a_job_that_others_name_is_not_advised_away() {
    let cluster = Cluster::start();
    let create = |name: &str, more: serde_json::Value| {
        let mut job = json!({
            "job_name": name, "schedule": "@daily", "command": "select 1", "timeout": "1 hour",
            "description": "one of those",
        });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cluster.create_job(&job)
    };
    let older = create("older", json!({}));
    let newer = create("newer", json!({}));
    let advised = || {
        let mut rows = cluster
            .rows("select detail, remedy from cron.advise() where advice = 'duplicate'", &[]);
        assert_eq!(rows.len(), 1);
        let row = rows.remove(0);
        (row.get::<_, String>(0), row.get::<_, Option<String>>(1))
    };
    let drop = |job: i64| Some(format!("SELECT cron.unschedule({job})"));
    assert_eq!(advised().1, drop(newer));
    // What is switched off names it as well.
    let _ = create(
        "next",
        json!({"schedule": "@monthly", "command": "select 2", "active": false, "run_after": ["newer"]}),
    );
    assert_eq!(advised().1, drop(older));
    let _ = create(
        "other",
        json!({"schedule": "@yearly", "command": "select 3", "alert_job": "older"}),
    );
    let (detail, remedy) = advised();
    assert!(detail.ends_with("Drop \"newer\" once it is no longer named by \"next\"."), "{detail}");
    assert_eq!(remedy, None);
    cluster.sql("select cron.unschedule('other')");
    assert_eq!(advised().1, drop(older));
    cluster.conf("cron.default_alert_job", "older");
    cluster.reload();
    poll_until("the handler by default", PATIENCE, || advised().1.is_none().then_some(()));
    cluster.sql("select cron.unschedule('next')");
    assert_eq!(advised().1, drop(newer));
}
