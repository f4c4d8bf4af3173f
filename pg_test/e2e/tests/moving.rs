//! From pg_cron to pg_tock: by the migration script, by a dump, and what happens when both are there.
//!
//! These scenarios need servers that have pg_cron, or our alias of it, which `ci/e2e.sh` makes as
//! private copies (`ci/pg-tree.sh`); elsewhere they are ignored.

#![allow(clippy::panic, reason = "helpers of tests, which are not tests to clippy")]

use pg_tock_test::{Cluster, PATIENCE, documented_answer, poll_until};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// All that pg_cron knows of jobs, runs and sequences, in a form that can be compared.
const CONTENT: &str = "select array_agg(line order by line) from ( \
    select 'job ' || row(jobid, schedule, command, nodename, nodeport, database, username, active, jobname)::text \
    from cron.job \
    union all select 'run ' || row(jobid, runid, job_pid, database, username, command, status, \
        return_message, start_time, end_time)::text from cron.job_run_details \
    union all select 'jobid_seq ' || last_value || is_called from cron.jobid_seq \
    union all select 'runid_seq ' || last_value || is_called from cron.runid_seq) lines(line)";

fn server_with(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .map_or_else(|| panic!("{variable} is not set: run ci/e2e.sh"), PathBuf::from)
}

fn psql(cluster: &Cluster, file: &Path) -> Output {
    cluster
        .tool("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("psql does not start: {error}"))
}

fn in_this_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
#[ignore = "needs a server with pg_cron"]
fn loaded_beside_pg_cron_the_server_refuses_and_says_what_to_change() {
    for libraries in ["pg_cron,pg_tock", "pg_tock,pg_cron"] {
        let cluster = Cluster::builder()
            .bindir(server_with("PG_TOCK_PG_CRON_BINDIR"))
            .conf("shared_preload_libraries", libraries)
            .without_extension()
            .spawn();
        cluster.wait_stopped();
        let log = cluster.log();
        assert!(log.contains("FATAL") || log.contains("ERROR"), "{libraries}: {log}");
        assert!(log.contains("pg_tock") && log.contains("pg_cron"), "{libraries}: {log}");
        assert!(log.contains("shared_preload_libraries"), "{libraries}: {log}");
    }
}

#[test]
#[ignore = "needs a server with pg_cron"]
fn the_migration_script_moves_everything_from_debians_pg_cron() {
    let cluster = Cluster::builder()
        .bindir(server_with("PG_TOCK_PG_CRON_BINDIR"))
        .conf("shared_preload_libraries", "pg_cron")
        .without_extension()
        .start();
    cluster.sql("create extension pg_cron");
    cluster.sql("create database shop");
    cluster.sql("create role ann login; grant usage on schema cron to ann");
    cluster.schedule("nightly", "0 3 * * *", "vacuum");
    cluster.schedule("nightly", "0 4 * * *", "vacuum analyze");
    cluster.schedule_as("ann", "nightly", "0 5 * * *", "select 1");
    cluster.sql("select cron.schedule('1 1 1 1 *', 'select ''quoted'' || e''\\t''')");
    cluster.sql("select cron.schedule_in_database('elsewhere', '0 6 * * *', 'select 2', 'shop')");
    cluster.sql("select cron.schedule_in_database('paused', '0 7 * * *', 'select 3', 'postgres', null, false)");
    cluster.sql(
        "insert into cron.job_run_details \
         select 1 + n % 5, nextval('cron.runid_seq'), 4711, 'postgres', 'postgres', 'select ' || n, \
         case when n % 3 = 0 then 'failed' else 'succeeded' end, \
         case when n % 3 = 0 then e'ERROR:  boom\\nLINE 1: x\\n' else '1 row' end, \
         now() - n * interval '1 hour', now() - n * interval '1 hour' + interval '1 second' \
         from generate_series(1, 1000) n",
    );
    cluster.sql("update cron.job set active = false where jobid = 1");
    let before: Vec<String> = cluster.one(CONTENT);

    cluster.conf("shared_preload_libraries", "pg_tock");
    cluster.restart();
    let script = psql(&cluster, &in_this_repository("sql/migrate_from_pg_cron.sql"));
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    assert_eq!(cluster.one::<Vec<String>>(CONTENT), before);
    let extensions =
        "select array_agg(extname::text order by 1) from pg_extension where extname like 'pg\\_%'";
    assert_eq!(cluster.one::<Vec<String>>(extensions), ["pg_tock"]);

    // What pg_cron has left are runs for no occurrence: none of them has run twice.
    let twice = documented_answer("Has anything run twice?");
    let seen = || cluster.rows(twice, &[]).len();
    assert_eq!(seen(), 0);
    let plan: Vec<String> = cluster.column(&format!("explain {twice}"));
    let plan = plan.join("\n");
    assert!(!plan.contains("Seq Scan on job_run_details"), "{plan}");
    cluster.sql(
        "insert into cron.job_run_details (jobid, username, status, outcome, scheduled_for, attempt, start_time, end_time) \
         select jobid, 'postgres', 'succeeded', 'succeeded', date_trunc('minute', now()), attempt, now(), now() \
         from cron.job, generate_series(1, 2) attempt \
         where attempt = 1 or jobid = (select max(jobid) from cron.job)",
    );
    assert_eq!(seen(), 1, "one that has");
    cluster.sql("delete from cron.job_run_details where attempt is not null");

    // Moved jobs are scheduled, and new ones run.
    cluster.wait_scheduler();
    let unscheduled: i64 =
        cluster.one("select count(*) from cron.jobs where active and next_run_at is null");
    assert_eq!(unscheduled, 0);
    let job = cluster.schedule("new", "1 second", "select 1");
    let _ = cluster.finished_run(job).must_have_succeeded();
    let mut ann = cluster.client_as("ann");
    let own: i64 = ann.query_one("select count(*) from cron.job", &[]).unwrap().get(0);
    assert_eq!(own, 1, "owners and their rights came along");
}

#[test]
#[ignore = "needs a server with the alias"]
fn a_dump_of_pg_cron_restores_through_the_alias() {
    let cluster =
        Cluster::builder().bindir(server_with("PG_TOCK_ALIAS_BINDIR")).without_extension().start();
    cluster.sql("create role ann login");
    let dump = psql(&cluster, &in_this_repository("pg_test/e2e/fixtures/pg_cron_1.6.sql"));
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job"), 4);
    assert!(!cluster.one::<bool>("select active from cron.job where jobid = 4"));
    assert_eq!(cluster.one::<i64>("select last_value from cron.jobid_seq"), 12);
    assert!(cluster.one::<i64>("select last_value from cron.runid_seq") >= 104);
    let told: String =
        cluster.one("select return_message from cron.job_run_details where runid = 102");
    assert_eq!(told, "ERROR:  relation \"x\" does not exist\nLINE 1: select\n");
    let job = cluster.schedule("new", "1 second", "select 1");
    assert_eq!(job, 13);
    let _ = cluster.finished_run(job).must_have_succeeded();
    // What the old server left running did not survive it: the next start says so.
    cluster.restart();
    poll_until("the run that was under way at the dump is closed", PATIENCE, || {
        cluster
            .one::<bool>("select end_time is not null from cron.job_run_details where runid = 104")
            .then_some(())
    });
}

#[test]
#[ignore = "needs a server with the alias"]
fn old_migrations_that_create_and_update_pg_cron_work() {
    let cluster =
        Cluster::builder().bindir(server_with("PG_TOCK_ALIAS_BINDIR")).without_extension().start();
    cluster.sql("create extension pg_cron version '1.4'");
    cluster.sql("alter extension pg_cron update");
    let job = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(job).must_have_succeeded();
    cluster.sql("drop extension pg_cron");
    assert_eq!(cluster.one::<i64>("select count(*) from cron.job"), 1, "the alias owns nothing");
}
