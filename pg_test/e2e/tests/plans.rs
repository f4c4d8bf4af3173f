//! Jobs in version control: what is exported, applied, and left alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of scenarios, which fail by panicking"
)]

mod real_jobs;

use pg_tock_core::options::{Kind, OPTIONS};
use pg_tock_test::{Cluster, explain};
use postgres::Client;
use serde_json::{Value, json};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.roll(among.len())]
    }

    /// A value an option of a job takes, in some way of writing it.
    fn value(&mut self, name: &str, kind: Kind) -> Value {
        match (name, kind) {
            ("schedule", _) => (*self.pick(&[
                "@daily",
                "*/5 * * * *",
                "30 seconds",
                "every 2 hours",
                "0 3 * * mon-fri",
            ]))
            .into(),
            ("database", _) => "postgres".into(),
            ("username", _) => (*self.pick(&["ann", "bob", "postgres"])).into(),
            ("run_if", _) => "(select count(*) > 0 from pg_class)".into(),
            ("queue", _) => "line".into(),
            ("skip_on" | "only_on", _) => {
                json!([["holidays"], ["fairs"]][usize::from(name == "only_on")])
            }
            ("run_after", _) => json!(["upstream"]),
            (_, Kind::Text | Kind::Name | Kind::Remark) => {
                (*self.pick(&["select 1", "select 'it''s \"äöü\"\\n'\n -- line", " x ", "{}"]))
                    .into()
            }
            (_, Kind::Flag) => (self.roll(2) == 0).into(),
            (_, Kind::Word(words)) => (*self.pick(words)).into(),
            (_, Kind::Span(_)) => (*self.pick(&[
                "0",
                "1 ms",
                "1.000001 seconds",
                "90 minutes",
                "PT36H",
                "1 day 02:03:04.5",
                "7 days",
            ]))
            .into(),
            (_, Kind::Texts) => self
                .pick(&[json!(["a"]), json!(["b \"c\"", "ü, {}"]), json!(["b \"c\"", "a"])])
                .clone(),
            (_, Kind::TimeZone) => {
                (*self.pick(&["Europe/Berlin", "UTC", "America/New_York"])).into()
            }
            (_, Kind::Window) => "mon-fri 09:00-17:00".into(),
            (_, Kind::Count(least, most)) => {
                (*self.pick(&[least, least.midpoint(most), most])).into()
            }
            (_, Kind::Factor(least, most)) => {
                (*self.pick(&[least, most, least.midpoint(most), (least + most) / 3.0])).into()
            }
            (_, Kind::Times(most)) => (*self.pick(&[0.0, 1.0, 2.5, most])).into(),
            (_, Kind::Settings) => {
                json!({"work_mem": "64MB", "app.rate": 0.1, "app.on": true, "app.n": self.roll(9)})
            }
        }
    }

    /// A job with about a third of all options.
    fn job(&mut self, number: usize) -> Value {
        let mut job = json!({"job_name": format!("job {number} \"ä\"")});
        for option in OPTIONS.iter().filter(|option| option.name != "command") {
            if option.required || self.roll(3) == 0 {
                job[option.name] = self.value(option.name, option.kind);
            }
        }
        // What does not go together.
        if !job["max_concurrency"].is_null() {
            job["on_overlap"] = "allow".into();
        }
        if !job["retry_delay"].is_null() {
            job["retry_max_delay"] = Value::Null;
        }
        if job["stuck_after"] == "0" {
            job["on_stuck"] = Value::Null;
        }
        if self.roll(3) == 0 {
            job["url"] = "https://example.com/{{secret:token}}/x?job={{job_name}}".into();
            job["method"] = [json!("POST"), json!("put"), Value::Null][self.roll(3)].clone();
            job["headers"] = json!({"Authorization": "Bearer {{secret:token}}"});
            job["body"] = [json!({"n": 1}), json!("text"), Value::Null][self.roll(3)].clone();
        } else {
            job["command"] = self.value("command", Kind::Text);
        }
        job
    }
}

fn export(client: &mut Client) -> String {
    client.query_one("select cron.export_jobs()::text", &[]).unwrap().get(0)
}

/// What applying a document says, as `create job.field: old > new`.
fn apply(client: &mut Client, document: &str, options: &str) -> Vec<String> {
    let call = format!(
        "select format('%s %s.%s: %s > %s', action, coalesce(job_name, '?'), field, \
          coalesce(old, '-'), coalesce(new, '-')) from cron.apply_jobs($1::text::jsonb{options})"
    );
    match client.query(&call, &[&document]) {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(error) => panic!("{document}\ncannot be applied: {}", explain(&error)),
    }
}

/// A cluster with all that jobs of [`Dice::job`] name.
fn furnished() -> Cluster {
    let cluster = Cluster::start();
    for role in ["ann", "bob"] {
        cluster.role(role);
    }
    cluster.sql("select cron.create_calendar('holidays'), cron.create_calendar('fairs')");
    cluster.sql("select cron.add_calendar_dates('fairs', '2027-03-01', '2027-03-05')");
    cluster.sql("select cron.create_queue('line', shared => true)");
    real_jobs::secret(&cluster);
    cluster.sql("select cron.grant_secret('token', 'ann'), cron.grant_secret('token', 'bob')");
    for role in ["ann", "bob", "postgres"] {
        let _ = cluster.create_job(&json!({
            "job_name": "upstream", "schedule": "@daily", "command": "select 0", "username": role,
        }));
    }
    cluster
}

#[test]
fn an_export_that_was_applied_is_exported_again_to_the_byte() {
    let cluster = furnished();
    let mut dice = Dice(2026);
    for number in 0..150 {
        let _ = cluster.create_job(&dice.job(number));
    }
    let nameless = "insert into cron.job (schedule, command, database, nodeport) values ";
    cluster.sql(&format!("{nameless} ('@daily', 'select 1', 'postgres', 1)"));
    cluster.sql(&format!("{nameless} ('@daily', 'select 1', 'postgres', 1)"));
    cluster.sql(&format!("{nameless} ('@hourly', 'select 1', 'postgres', 1)"));
    let mut here = cluster.client();
    let document = export(&mut here);
    assert_eq!(apply(&mut here, &document, ", prune => true"), [""; 0]);
    // Whatever a session has set, the document is the same, and means the same.
    let mut other = cluster.client();
    other
        .batch_execute(
            "set intervalstyle = 'iso_8601'; set extra_float_digits = -10; set timezone = 'Asia/Tokyo'; \
             set datestyle = 'German'; set search_path = ''",
        )
        .unwrap();
    assert_eq!(export(&mut other), document);
    assert_eq!(apply(&mut other, &document, ", prune => true"), [""; 0]);
    cluster.sql("delete from cron.job");
    let said = apply(&mut other, &document, ", dry_run => true");
    assert!(said.len() > 500 && said.iter().all(|line| line.starts_with("create ")), "{said:#?}");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job"), 0, "a dry run");
    assert_eq!(apply(&mut other, &document, ""), said);
    assert_eq!(export(&mut here), document);
    assert_eq!(apply(&mut here, &document, ", prune => true"), [""; 0]);
    // As people keep it.
    let pretty: String =
        here.query_one("select jsonb_pretty($1::text::jsonb)", &[&document]).unwrap().get(0);
    assert_eq!(apply(&mut here, &pretty, ", prune => true"), [""; 0]);
}

#[test]
fn any_set_of_jobs_becomes_any_other() {
    let cluster = furnished();
    let mut client = cluster.client();
    let mut sets = Vec::new();
    for round in 0..6 {
        // The same names in each round, so that most jobs change.
        let mut dice = Dice(round);
        cluster.sql("delete from cron.job where jobname <> 'upstream'");
        for number in 0..25 {
            let mut job = dice.job(number);
            job["username"] = ["ann", "bob", "postgres"][number % 3].into();
            let _ = cluster.create_job(&job);
        }
        sets.push(export(&mut client));
    }
    for document in sets.iter().chain(&sets) {
        let said = apply(&mut client, document, ", prune => true, dry_run => true");
        assert_eq!(apply(&mut client, document, ", prune => true"), said);
        assert_eq!(&export(&mut client), document);
    }
}

#[test]
fn the_schedules_of_real_teams_come_back_to_the_byte() {
    let cluster = Cluster::start();
    real_jobs::secret(&cluster);
    let mut client = cluster.client();
    for set in ["S0", "S1", "S2", "S3", "S4"] {
        let jobs = real_jobs::set(set);
        for job in &jobs {
            let _ = cluster.create_job(job);
        }
        let document = export(&mut client);
        let exported: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(exported["jobs"].as_array().map(Vec::len), Some(jobs.len()), "{set}");
        cluster.sql("delete from cron.job");
        assert!(!apply(&mut client, &document, "").is_empty());
        assert_eq!(export(&mut client), document, "{set}");
        assert_eq!(apply(&mut client, &document, ", prune => true"), [""; 0], "{set}");
        let gone = apply(&mut client, r#"{"jobs": []}"#, ", prune => true");
        assert!(gone.len() >= jobs.len() && gone.iter().all(|line| line.starts_with("remove ")));
        assert_eq!(cluster.one::<i64>("select count(*) from cron.job"), 0, "{set}");
    }
}

#[test]
fn what_a_job_has_beside_its_options_stays() {
    let cluster = Cluster::start();
    let mut client = cluster.client();
    let busy = cluster.schedule("busy", "1 second", "select 1");
    let paused = cluster.schedule("paused", "1 second", "select 2");
    let _ = cluster.finished_run(busy);
    cluster.sql("select cron.pause('paused', reason => 'a strike')");
    cluster.wait_known();
    let state = "select row(j.xmin, j.ctid, j.jobid, s.effective_from, j.paused_until, \
        j.paused_by, j.pause_reason)::text from cron.job j join cron.job_state s using (jobid) \
        order by j.jobid";
    let before: Vec<String> = cluster.column(state);
    let document = export(&mut client);
    assert!(!document.contains("strike"), "{document}");
    let same = apply(&mut client, &document, ", prune => true");
    assert_eq!(same, [""; 0]);
    assert_eq!(cluster.column::<String>(state), before, "not written at all");
    // Another command leaves pause, time and statistics as they are, and the other job alone.
    cluster.flush();
    let counted = "select concat(counted_since, ' ', total_runs >= 1) from cron.job_stat \
        join cron.job using (jobid) where jobname = 'busy'";
    let since: String = cluster.one(counted);
    let changed = document.replace("select 2", "select 3");
    assert_eq!(
        apply(&mut client, &changed, ", prune => true"),
        ["update paused.command: select 2 > select 3"]
    );
    let after: Vec<String> = cluster.column(state);
    assert_eq!(after[0], before[0]);
    let kept = "select row(j.jobid, s.effective_from, j.paused_until, j.paused_by, j.pause_reason, \
        j.command)::text from cron.job j join cron.job_state s using (jobid) where jobid = ";
    let kept: String = cluster.one(&format!("{kept}{paused}"));
    assert!(kept.contains("infinity") && kept.contains("a strike"), "{kept}");
    assert!(kept.contains("select 3"), "{kept}");
    // A new command is what runs next; the scheduler has heard of it.
    let changed = changed.replace("select 1\"", "select 'new'\"");
    assert_eq!(apply(&mut client, &changed, "").len(), 1);
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where jobid = {busy} and command ~ 'new' \
          and status = 'succeeded')"
    ));
    assert_eq!(cluster.one::<String>(counted), since);
    assert!(cluster.one::<bool>(&format!(
        "select count(*) > 0 from cron.job_run_details where jobid = {busy} and command = 'select 1'"
    )));
}

#[test]
fn a_document_is_applied_as_a_whole_or_not_at_all() {
    let cluster = Cluster::start();
    let mut client = cluster.client();
    let document = r#"{"jobs": [
        {"job_name": "a", "schedule": "@daily", "command": "x"},
        {"job_name": "b", "schedule": "@daily", "command": "x", "queue": "nowhere"}]}"#;
    let error = client.query("select * from cron.apply_jobs($1::text::jsonb)", &[&document]);
    let error = error.unwrap_err();
    assert_eq!(pg_tock_test::sqlstate(&error), "42704");
    assert!(explain(&error).contains("$.jobs[1].queue: queue \"nowhere\""), "{}", explain(&error));
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job"), 0);
    // In a transaction that is rolled back nothing has happened, and nobody hears of it.
    let mut transaction = client.transaction().unwrap();
    let document =
        r#"{"jobs": [{"job_name": "a", "schedule": "1 second", "command": "select 1"}]}"#;
    transaction.query("select * from cron.apply_jobs($1::text::jsonb)", &[&document]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job"), 0);
}

#[test]
fn the_next_starts_before_and_after_are_those_of_the_jobs() {
    let cluster = Cluster::start();
    for (name, active) in [("moved", true), ("off", false), ("gone", true)] {
        let _ = cluster.create_job(&json!({
            "job_name": name, "schedule": "0 3 29 2 *", "command": "select 1", "active": active,
        }));
    }
    cluster.wait_known();
    let document = r#"{"jobs": [
        {"job_name": "moved", "schedule": "30 4 31 12 *", "command": "select 1"},
        {"job_name": "new", "schedule": "45 5 30 6 *", "command": "select 1"},
        {"job_name": "off", "schedule": "30 4 31 12 *", "command": "select 1"}]}"#;
    let starts = || -> Vec<String> {
        cluster.column("select jobname || ' ' || next_run_at from cron.jobs where next_run_at is not null order by 1")
    };
    let before = starts();
    assert_eq!(before.len(), 2, "{before:?}");
    // Both columns, each as the view has it.
    let said = |options: &str| -> [Vec<String>; 2] {
        let rows = cluster.rows(
            &format!(
                "select distinct job_name || ' ' || next_run_before, job_name || ' ' || next_run_after \
                 from cron.apply_jobs($1::text::jsonb, prune => true{options}) order by 1, 2"
            ),
            &[&document],
        );
        [0, 1].map(|column| {
            let mut texts: Vec<String> =
                rows.iter().filter_map(|row| row.get::<_, Option<String>>(column)).collect();
            texts.sort();
            texts
        })
    };
    let foretold = said(", dry_run => true");
    assert_eq!(foretold[0], before);
    assert_eq!(said(""), foretold);
    let after = starts();
    assert_eq!(foretold[1], after);
    assert!(after.len() == 3 && after.iter().all(|start| !before.contains(start)), "{after:?}");
}

#[test]
fn a_change_by_somebody_else_is_not_undone() {
    let cluster = Cluster::start();
    let _ = cluster.schedule("job", "@daily", "select 1");
    let mut other = cluster.client();
    other
        .batch_execute("begin; select cron.set_job('job', '{\"command\": \"select 2\"}')")
        .unwrap();
    let mut client = cluster.client();
    let applied = std::thread::spawn(move || {
        let document =
            r#"{"jobs": [{"job_name": "job", "schedule": "@daily", "command": "select 3"}]}"#;
        client.query("select * from cron.apply_jobs($1::text::jsonb)", &[&document])
    });
    cluster.wait_for(
        "exists (select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'apply_jobs')",
    );
    other.batch_execute("commit").unwrap();
    let error = applied.join().unwrap().unwrap_err();
    assert_eq!(pg_tock_test::sqlstate(&error), "40001", "{}", explain(&error));
    assert_eq!(cluster.one::<String>("select command from cron.job"), "select 2");
}

#[test]
fn documents_of_a_database_that_is_not_in_utf8() {
    let cluster =
        Cluster::builder().conf("cron.database_name", "latin").without_extension().start();
    cluster.sql("create database latin encoding 'LATIN1' locale 'C' template template0");
    let mut client = cluster.client_in("latin");
    client.batch_execute("create extension pg_tock").unwrap();
    client
        .batch_execute(
            "select cron.create_job('grün', '@daily', 'select ''ä''', tags => '{ß}', \
              settings => '{\"app.ort\": \"Köln\"}')",
        )
        .unwrap();
    let document = export(&mut client);
    for part in ["grün", "select 'ä'", "ß", "Köln"] {
        assert!(document.contains(part), "{document}");
    }
    client.batch_execute("delete from cron.job").unwrap();
    let said = apply(&mut client, &document, "");
    assert!(said.contains(&"create grün.command: - > select 'ä'".to_owned()), "{said:?}");
    assert_eq!(export(&mut client), document);
    let found = client.query("select remedy from cron.diagnose('grün')", &[]);
    assert!(!found.unwrap().is_empty());
    assert!(!client.query("select * from cron.advise()", &[]).unwrap().is_empty());
}
