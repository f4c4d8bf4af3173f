//! What is said of a condition that was not true: it is its owner's SQL.

use pg_tock_test::Cluster;
use postgres::Client;
use serde_json::json;

use super::{ask, some};

/// Runs the remedy for a condition that was not true, and returns the answer's first column.
fn run(client: &mut Client, job: &str) -> (String, Vec<Option<String>>) {
    let (_, found) = ask(client, job);
    let remedy = found["condition false"].remedy.clone().unwrap();
    let asked = format!("SELECT r::text FROM ({remedy}) AS t (r)");
    let rows = client.query(&asked, &[]).unwrap();
    (remedy, rows.iter().map(|row| row.get(0)).collect())
}

#[test]
fn nobody_runs_the_condition_of_somebody_elses_job_as_a_remedy() {
    let cluster = Cluster::start();
    for role in ["ann", "bob"] {
        cluster.role(role);
    }
    cluster.sql(
        "grant ann to bob; create schema lair authorization ann; \
         create function lair.f() returns boolean language plpgsql as $$ begin \
          if (select rolsuper from pg_roles where rolname = session_user) then \
           reset role; alter role ann superuser; \
          end if; return false; end $$; alter function lair.f() owner to ann",
    );
    let condition = "lair.f() -- it's on weekdays \\";
    cluster
        .client_as("ann")
        .execute(
            "select cron.create_job('job', '1 second', 'select 1', run_if => $1)",
            &[&condition],
        )
        .unwrap();
    let _ = some(&cluster, "job", "condition false");
    let shown = [Some(condition.to_owned())];
    let mut superuser = cluster.client();
    assert_eq!(run(&mut superuser, "job").1, shown);
    // Nor in her role: what she wrote could leave it.
    superuser.batch_execute("set role ann").unwrap();
    assert_eq!(run(&mut superuser, "job").1, shown);
    superuser.batch_execute("reset role; set session authorization ann").unwrap();
    assert_eq!(run(&mut superuser, "job").1, shown);
    let id: i64 = cluster.one("select jobid from cron.job");
    let mut bob = cluster.client_as("bob");
    let row = bob.query_one(
        "select remedy from cron.diagnose($1::bigint) where finding = 'condition false'",
        &[&id],
    );
    let remedy: String = row.unwrap().get(0);
    assert_eq!(bob.query_one(&remedy, &[]).unwrap().get::<_, String>(0), condition);
    // She herself sees what it comes to, comment and all.
    let (remedy, answer) = run(&mut cluster.client_as("ann"), "job");
    assert_eq!(remedy, format!("SELECT (\n{condition}\n)"));
    assert_eq!(answer, [Some("false".to_owned())]);
    assert!(!cluster.one::<bool>("select rolsuper from pg_roles where rolname = 'ann'"));
    // A condition of another database's job is not for this one.
    cluster.sql("create database elsewhere");
    let _ = cluster.create_job(&json!({
        "job_name": "far", "schedule": "1 second", "command": "select 1", "database": "elsewhere",
        "run_if": "current_database() = 'postgres'",
    }));
    let found = some(&cluster, "far", "condition false");
    assert!(found.remedy.unwrap().ends_with(" AS run_if"));
}
