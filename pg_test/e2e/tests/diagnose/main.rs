//! Why a job does not run: each finding for real, and what its remedy does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of scenarios, which fail by panicking"
)]

mod conditions;
mod servers;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_tock_test::{Cluster, PATIENCE, explain, poll_until, sqlstate, utc};
use postgres::Client;
use serde_json::json;

/// A finding by its columns.
#[derive(Clone, Debug)]
struct Finding {
    severity: String,
    detail: String,
    remedy: Option<String>,
}

/// What is found about a job: the words for it, in the order in which it is found, and the rest.
fn ask(client: &mut Client, job: &str) -> (Vec<String>, HashMap<String, Finding>) {
    let rows = client.query("select * from cron.diagnose($1::text)", &[&job]);
    let rows = rows.unwrap_or_else(|error| panic!("{job}: {}", explain(&error)));
    let mut words = Vec::new();
    let mut found = HashMap::new();
    for (place, row) in (1..).zip(&rows) {
        assert_eq!(row.get::<_, i32>("position"), place);
        let (severity, detail) = (row.get("severity"), row.get("detail"));
        words.push(row.get("finding"));
        found.insert(row.get("finding"), Finding { severity, detail, remedy: row.get("remedy") });
    }
    (words, found)
}

/// Asks until the answer is accepted; shows the last one if that never happens.
fn until<T>(
    cluster: &Cluster,
    job: &str,
    wanted: &str,
    accept: impl Fn(&[String], &HashMap<String, Finding>) -> Option<T>,
) -> T {
    let mut client = cluster.client();
    let mut last = HashMap::new();
    let answer = catch_unwind(AssertUnwindSafe(|| {
        poll_until(&format!("{wanted}: {job}"), PATIENCE, || {
            cluster.flush_if_there();
            let (words, found) = ask(&mut client, job);
            let accepted = accept(&words, &found);
            last = found;
            accepted
        })
    }));
    answer.unwrap_or_else(|_| panic!("{job} is to be found {wanted}, and is {last:#?}"))
}

/// What is found first, once that is this.
fn first(cluster: &Cluster, job: &str, finding: &str) -> Finding {
    until(cluster, job, finding, |words, found| {
        words.first().filter(|word| *word == finding).map(|word| found[word].clone())
    })
}

/// What is found about this, once it is.
fn some(cluster: &Cluster, job: &str, finding: &str) -> Finding {
    until(cluster, job, finding, |_, found| found.get(finding).cloned())
}

/// As [`first`]: it is so severe, and its remedy, if it has one, can be run as it is.
fn remedied(cluster: &Cluster, job: &str, finding: &str, severity: &str) -> Finding {
    let found = first(cluster, job, finding);
    assert_eq!(found.severity, severity, "{found:?}");
    if let Some(remedy) = &found.remedy {
        cluster.sql(remedy);
    }
    found
}

/// Nothing is wrong with the job, which is said in one row.
fn well(cluster: &Cluster, job: &str) -> Finding {
    let found = until(cluster, job, "well", |words, found| {
        (words == ["nothing wrong"]).then(|| found["nothing wrong"].clone())
    });
    assert_eq!((found.severity.as_str(), &found.remedy), ("info", &None));
    found
}

/// Has the scheduler write what it knows, if there is one.
trait Flush {
    fn flush_if_there(&self);
}

impl Flush for Cluster {
    fn flush_if_there(&self) {
        drop(self.try_sql("set statement_timeout = '1s'; select cron.flush()"));
    }
}

fn daily(cluster: &Cluster, name: &str) -> i64 {
    cluster.schedule(name, "@daily", "select 1")
}

#[test]
fn a_job_that_is_switched_off_in_one_way_or_the_other() {
    let cluster = Cluster::start();
    let job = daily(&cluster, "job");
    let next: String = cluster.one("select left(next_run_at::text, 13) from cron.jobs");
    assert!(well(&cluster, "job").detail.contains(&format!("next at {next}")));
    cluster.sql("update cron.job set active = false");
    let _ = remedied(&cluster, "job", "inactive", "error");
    let _ = well(&cluster, "job");
    cluster.sql("select cron.pause('job', '2100-01-01', 'a \"strike\"')");
    let found = remedied(&cluster, "job", "paused", "error");
    for part in ["2100-01-01", "a \"strike\"", "postgres"] {
        assert!(found.detail.contains(part), "{found:?}");
    }
    cluster.sql("select cron.pause('job')");
    assert!(first(&cluster, "job", "paused").detail.contains("until it is resumed"));
    cluster.sql("select cron.resume('job')");
    cluster.sql("update cron.job set nodename = 'elsewhere.example'");
    let found = remedied(&cluster, "job", "remote node", "error");
    assert!(found.detail.contains("elsewhere.example"), "{found:?}");
    let _ = well(&cluster, "job");
    // Several at once: what keeps all jobs from running comes first.
    cluster.conf("cron.launch_active_jobs", "off");
    cluster.reload();
    cluster.wait_for("current_setting('cron.launch_active_jobs') = 'off'");
    cluster.sql("select cron.pause('job'); update cron.job set active = false");
    let found = first(&cluster, "job", "jobs switched off");
    let (words, _) = ask(&mut cluster.client(), "job");
    assert_eq!(words, ["jobs switched off", "inactive", "paused"]);
    cluster.sql(&found.remedy.unwrap());
    cluster.reload();
    cluster.sql(&format!("select cron.resume({job}); update cron.job set active = true"));
    let _ = well(&cluster, "job");
}

#[test]
fn a_schedule_that_is_none() {
    let cluster =
        Cluster::builder().clock(utc(2026, 6, 1, 10, 2, 30)).conf("timezone", "UTC").start();
    let _ = daily(&cluster, "job");
    cluster.sql("update cron.job set schedule = '61 * * * *'");
    let found = remedied(&cluster, "job", "bad schedule", "error");
    assert!(found.detail.contains("minute 61"), "{found:?}");
    cluster.sql("update cron.job set schedule = '0 0 30 2 *'");
    let found = remedied(&cluster, "job", "never fires", "error");
    assert!(found.remedy.unwrap().contains("explain_schedule"));
    cluster.sql("update cron.job set schedule = '@daily', skip_on = '{holi''days}'");
    let found = remedied(&cluster, "job", "bad options", "error");
    assert!(found.detail.contains("holi"), "{found:?}");
    let _ = well(&cluster, "job");
    cluster.sql("select cron.set_job('job', '{\"schedule\": \"@reboot\"}')");
    assert!(well(&cluster, "job").detail.contains("when the server starts"));
    // Closed at present, and as it should be.
    cluster.sql(
        "select cron.set_job('job', '{\"schedule\": \"* * * * *\", \"run_window\": \"22:00-23:00\"}')",
    );
    let found = first(&cluster, "job", "outside its window");
    assert_eq!(found.severity, "info");
    assert!(found.detail.contains("until 2026-06-01 22:00:00"), "{found:?}");
    cluster.sql("select cron.create_calendar('fair')");
    cluster.sql("select cron.add_calendar_dates('fair', '2026-06-09')");
    cluster.sql("select cron.set_job('job', '{\"run_window\": null, \"only_on\": [\"fair\"]}')");
    let found = first(&cluster, "job", "closed by calendar");
    assert!(found.detail.contains("until 2026-06-09 00:00:00"), "{found:?}");
    cluster.sql("select cron.remove_calendar_dates('fair', '2026-06-09')");
    let found = first(&cluster, "job", "never fires");
    assert!(found.detail.contains("never open again"), "{found:?}");
    // A window that is closed now is no matter if the job is due inside it.
    cluster.sql(
        "select cron.set_job('job', '{\"schedule\": \"30 22 * * *\", \"only_on\": null, \
          \"run_window\": \"22:00-23:00\"}')",
    );
    let _ = well(&cluster, "job");
}

#[test]
fn an_owner_or_a_database_that_is_not_as_it_should_be() {
    let cluster = Cluster::start();
    cluster.role("\"ann O'Neil\"");
    let _ = cluster.schedule_as("ann O'Neil", "job", "@daily", "select 1");
    let _ = well(&cluster, "job");
    cluster.sql("alter role \"ann O'Neil\" nologin");
    let _ = remedied(&cluster, "job", "owner cannot log in", "error");
    let _ = well(&cluster, "job");
    cluster.sql("revoke connect on database postgres from public");
    let _ = remedied(&cluster, "job", "owner may not connect", "error");
    let _ = well(&cluster, "job");
    cluster.sql("update cron.job set database = 'no\"where'");
    let _ = remedied(&cluster, "job", "database missing", "error");
    let _ = well(&cluster, "job");
    cluster.sql("create database \"other db\"");
    cluster.sql("update cron.job set database = 'other db'");
    let _ = well(&cluster, "job");
    cluster.sql("alter database \"other db\" allow_connections false");
    let _ = remedied(&cluster, "job", "database closed", "error");
    let _ = well(&cluster, "job");
    cluster.sql("drop owned by \"ann O'Neil\"");
    cluster.sql("drop role \"ann O'Neil\"");
    let _ = remedied(&cluster, "job", "owner missing", "error");
    cluster.sql("grant connect on database postgres to public");
    let _ = well(&cluster, "job");
}

#[test]
fn superusers_may_own_no_jobs() {
    let cluster = Cluster::builder().conf("cron.enable_superuser_jobs", "off").start();
    cluster.sql(
        "insert into cron.job (jobname, schedule, command, nodeport) \
         values ('job', '@daily', 'x', 1)",
    );
    let _ = remedied(&cluster, "job", "superuser jobs disabled", "error");
    cluster.restart();
    let _ = well(&cluster, "job");
}

#[test]
fn a_request_without_its_secret() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.client().execute("select cron.set_secret('token', $1)", &[&"s3cr3t"]).unwrap();
    cluster.sql("select cron.grant_secret('token', 'ann')");
    let _ = cluster.create_job(&json!({
        "job_name": "call", "schedule": "@daily", "url": "https://example.com/", "username": "ann",
        "headers": {"X-Token": "{{secret:token}}"},
    }));
    let _ = well(&cluster, "call");
    cluster.sql("delete from cron.secret_grant");
    let found = remedied(&cluster, "call", "secret denied", "error");
    assert!(!found.detail.contains("s3cr3t"));
    let _ = well(&cluster, "call");
    cluster.sql(
        "set session_replication_role = replica; delete from cron.secret; \
         reset session_replication_role",
    );
    assert!(first(&cluster, "call", "secret missing").detail.contains("token"));
}

#[test]
fn a_job_that_is_held() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let _ = cluster.schedule_as("ann", "job", "1 second", "select 1");
    let mut holder = cluster.client_as("ann");
    holder.batch_execute("select cron.hold('job')").unwrap();
    let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let (words, found) = ask(&mut holder, "job");
    assert_eq!(words.first().map(String::as_str), Some("held"));
    assert!(found["held"].remedy.as_ref().unwrap().contains("cron.release"));
    let found = remedied(&cluster, "job", "held", "warning");
    assert!(found.detail.contains(&format!("{pid} of role \"ann\"")), "{found:?}");
    let _ = well(&cluster, "job");
}

#[test]
fn a_run_that_waits_for_a_lock_or_has_no_end() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.sql("create table t (x int); grant all on t to ann");
    let job = cluster.schedule_as("ann", "locked", "1 second", "insert into t values (1)");
    let mut blocker = cluster.client();
    blocker.batch_execute("begin; lock table t").unwrap();
    let pid: i32 = blocker.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    // Its owner sees who it is, and cannot end a superuser's session.
    let mut ann = cluster.client_as("ann");
    let found = poll_until("the run is blocked", PATIENCE, || {
        let (_, found) = ask(&mut ann, "locked");
        found.get("run blocked").cloned()
    });
    assert!(
        found.detail.contains(&format!("waits for process {pid} of role \"postgres\"")),
        "{found:?}"
    );
    assert!(found.remedy.unwrap().contains("cron.cancel_run"));
    let found = remedied(&cluster, "locked", "run blocked", "warning");
    assert_eq!(found.remedy, Some(format!("SELECT pg_catalog.pg_terminate_backend({pid})")));
    let _ = cluster.finished_run(job);
    let _ = well(&cluster, "locked");

    let long = cluster.schedule("long", "1 second", "select pg_sleep(3600)");
    let found = first(&cluster, "long", "still running");
    assert_eq!(found.severity, "warning");
    assert!(found.detail.contains("PgSleep"), "{found:?}");
    cluster.sql(&format!("update cron.job set active = false where jobid <> {long}"));
    let _ = cluster.create_job(&json!({
        "job_name": "quiet", "schedule": "@daily", "command": "select pg_sleep(3600)",
        "stuck_after": "1 second",
    }));
    cluster.sql("select cron.run_now('quiet')");
    let _ = remedied(&cluster, "quiet", "run stuck", "warning");
    let found = first(&cluster, "quiet", "cancelled");
    assert_eq!(found.severity, "info");
    assert!(found.remedy.is_some_and(|remedy| remedy.contains("cron.retry_run")));
}

#[test]
fn a_job_whose_turn_does_not_come() {
    let cluster = Cluster::builder().conf("cron.max_running_jobs", "2").start();
    cluster.role("ann");
    cluster.role("bob");
    cluster.sql("select cron.create_queue('line', max_running => 1, shared => true)");
    let endless = |name: &str, owner: &str, queue: Option<&str>| {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "1 second", "command": "select pg_sleep(3600)",
            "username": owner, "queue": queue,
        }))
    };
    let one = endless("one", "ann", Some("line"));
    let _ = cluster.run_in_status(one, "running");
    let _ = endless("next", "bob", Some("line"));
    let found = remedied(&cluster, "next", "queue full", "warning");
    assert!(found.detail.contains("1 run of queue \"line\" is under way"), "{found:?}");
    cluster.wait_for("(select count(*) from cron.running) = 2");
    let _ = endless("third", "ann", None);
    let found = first(&cluster, "third", "cap reached");
    assert!(found.detail.contains("2 runs are under way"), "{found:?}");
    cluster.sql(&found.remedy.unwrap());
    cluster.restart();
    cluster.wait_for("(select count(*) from cron.running) = 3");
    cluster.conf("cron.max_running_jobs_per_role", "1");
    cluster.sql("delete from cron.job where jobname = 'third'");
    cluster.reload();
    let _ = endless("fourth", "ann", None);
    let found = first(&cluster, "fourth", "role cap reached");
    assert!(found.detail.contains("1 run of role \"ann\" is under way"), "{found:?}");
}

#[test]
fn a_job_that_fails_or_is_skipped() {
    let cluster = Cluster::start();
    cluster.sql("create table gate (open boolean); insert into gate values (false)");
    let upstream = cluster.schedule("upstream", "1 second", "select 1 / open::int from gate");
    let create = |job: &serde_json::Value| {
        let _ = cluster.create_job(job);
    };
    create(&json!({
        "job_name": "after", "schedule": "1 second", "command": "select 1",
        "run_after": ["upstream"],
    }));
    create(&json!({
        "job_name": "if", "schedule": "1 second", "command": "select 1",
        "run_if": "(select open from gate)",
    }));
    create(&json!({
        "job_name": "patient", "schedule": "@daily", "command": "select 1 / 0", "retry_on": "any",
        "max_attempts": 2, "retry_delay": "1 hour",
    }));
    create(&json!({
        "job_name": "skipper", "schedule": "1 second", "command": "select pg_sleep(3600)",
        "on_overlap": "skip",
    }));
    let _ = cluster.finished_runs(upstream, 3);
    let found = remedied(&cluster, "upstream", "failing", "warning");
    for part in ["22012", "division by zero", "All of the last"] {
        assert!(found.detail.contains(part), "{found:?}");
    }
    assert!(found.remedy.unwrap().contains("cron.retry_run"));
    cluster.sql("select cron.run_now('patient')");
    let found = some(&cluster, "patient", "attempt to come");
    assert!(found.detail.contains("(retry) is to begin at"), "{found:?}");
    let found = some(&cluster, "if", "condition false");
    assert_eq!(found.remedy.as_deref(), Some("SELECT (\n(select open from gate)\n)"));
    assert_eq!(some(&cluster, "after", "upstream failed").severity, "warning");
    let found = some(&cluster, "skipper", "overlap");
    assert!(found.detail.contains("skipped"), "{found:?}");
    cluster.sql("update gate set open = true");
    for job in ["upstream", "after", "if"] {
        let _ = well(&cluster, job);
    }
    cluster.sql("select cron.unschedule('upstream')");
    let _ = remedied(&cluster, "after", "upstream missing", "error");
    let _ = well(&cluster, "after");
}

#[test]
fn occurrences_that_were_missed() {
    let cluster = Cluster::builder().clock(utc(2026, 6, 1, 10, 2, 30)).start();
    let job = cluster.schedule("job", "*/10 * * * *", "select 1");
    cluster.wait_known();
    cluster.stop();
    cluster.step_clock(3_600);
    cluster.boot();
    cluster.wait_scheduler();
    let found = some(&cluster, "job", "missed");
    assert!(found.detail.starts_with("6 occurrences were skipped"), "{found:?}");
    let runs: Vec<i64> = cluster.column(&found.remedy.unwrap().replace("SELECT", "select * from"));
    assert_eq!(runs.len(), 6);
    let _ = cluster.finished_runs(job, 6);
    let _ = well(&cluster, "job");
}

#[test]
fn who_may_ask() {
    let cluster = Cluster::start();
    for role in ["ann", "bob", "eve"] {
        cluster.role(role);
    }
    cluster.sql("grant ann to bob");
    let job = cluster.schedule_as("ann", "job", "@daily", "select 1");
    let by_id = |role: &str| {
        cluster.client_as(role).query("select finding from cron.diagnose($1::bigint)", &[&job])
    };
    for role in ["ann", "bob"] {
        let rows = by_id(role).unwrap();
        let words: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(words, ["nothing wrong"], "{role}");
    }
    assert_eq!(sqlstate(&by_id("eve").unwrap_err()), "42501");
    let mut eve = cluster.client_as("eve");
    let error = eve.query("select * from cron.diagnose('job'::text)", &[]).unwrap_err();
    assert_eq!(sqlstate(&error), "42704");
    // What she cannot do is no remedy.
    cluster.sql("alter role ann nologin");
    let mut bob = cluster.client_as("bob");
    let row = bob.query_one("select * from cron.diagnose($1::bigint)", &[&job]).unwrap();
    assert_eq!(row.get::<_, String>("finding"), "owner cannot log in");
    assert_eq!(row.get::<_, Option<String>>("remedy"), None);
}
