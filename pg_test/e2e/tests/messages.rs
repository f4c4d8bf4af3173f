//! What a run says about its result: `return_message` as pg_cron's connection mode would have it
//! (contract 2.6), and every field of an error.

use pg_tock_test::Cluster;
use std::process::Stdio;

#[test]
fn return_messages_follow_connection_mode() {
    let cluster = Cluster::start();
    cluster.sql("create table t (n int)");
    cluster.sql("create materialized view v as select 1 as n");
    cluster.sql("create procedure p() language sql as 'select 1'");
    cluster.sql("create procedure q(out n int) language plpgsql as 'begin n := 1; end'");
    let cases: [(&str, &str, Option<i64>); 18] = [
        ("select 1", "1 row", Some(1)),
        ("select generate_series(1, 2)", "2 rows", Some(2)),
        ("select 1 where false", "0 rows", Some(0)),
        ("values (1), (2), (3)", "3 rows", Some(3)),
        ("show work_mem", "1 row", None),
        ("insert into t select generate_series(1, 3)", "INSERT 0 3", Some(3)),
        ("insert into t values (9) returning n", "1 row", Some(1)),
        ("delete from t where false", "DELETE 0", Some(0)),
        ("vacuum t", "VACUUM", None),
        ("do $$ begin end $$", "DO", None),
        ("create table if not exists u ()", "CREATE TABLE", None),
        ("refresh materialized view v", "REFRESH MATERIALIZED VIEW", None),
        ("call p()", "CALL", None),
        ("call q(null)", "1 row", None),
        ("select 1; insert into t values (4)", "INSERT 0 1", Some(1)),
        ("begin; insert into t values (5); commit", "COMMIT", None),
        ("", "0 rows", None),
        ("-- nothing to do", "0 rows", None),
    ];
    let jobs: Vec<i64> = cases
        .iter()
        .enumerate()
        .map(|(at, (command, ..))| cluster.schedule(&format!("m{at}"), "1 second", command))
        .collect();
    for (job, (command, message, count)) in jobs.into_iter().zip(cases) {
        let run = cluster.finished_run(job).must_have_succeeded();
        assert_eq!(run.return_message, message, "{command}");
        assert_eq!(run.command, command);
        if count.is_some() {
            assert_eq!(run.row_count, count, "{command}");
        }
    }
}

/// Failing commands whose report exercises each part of psql's format.
const FAILURES: [&str; 11] = [
    "select 1/0",
    "select no_such_column",
    "selec 1",
    "select 1\nfrom t\nwhere nope = 3",
    "insert into uniq values (1), (1)",
    "do $$ begin raise exception 'boom' using detail = 'the detail', hint = 'the hint'; end $$",
    "select fails()",
    "select fails_inside()",
    "select 'grün', nope, 'größer als üblich'",
    "select 'x' as a_rather_long_line_that_psql_shows_only_a_part_of, 'y' as and_still_more, nope, 'z' as behind_it, 'w' as far_behind",
    "select\t\t1,\tnope",
];

#[test]
fn errors_read_as_in_psql() {
    let cluster = Cluster::start();
    cluster.sql("create table t (n int)");
    cluster.sql("create table uniq (n int primary key)");
    cluster.sql("create function fails() returns int language plpgsql as 'begin return 1/0; end'");
    cluster.sql(
        "create function fails_inside() returns int language plpgsql as \
         'begin execute ''select nope from t''; return 1; end'",
    );
    for command in FAILURES {
        let psql = cluster
            .tool("psql")
            .args(["-X", "-q", "-c", command])
            .stdout(Stdio::null())
            .output()
            .expect("psql runs");
        let expected = String::from_utf8(psql.stderr).expect("text");
        let run = cluster.run_once(command);
        assert_eq!(run.status, "failed", "{run:#?}");
        assert_eq!(run.return_message, expected, "{command}");
    }
}

#[test]
fn every_field_of_an_error_is_kept() {
    let cluster = Cluster::start();
    let run = cluster.run_once(
        "do $$ begin raise exception 'boom' using errcode = 'P1234', detail = 'the detail', \
         hint = 'the hint', schema = 'the_schema', table = 'the_table', column = 'the_column', \
         datatype = 'the_type', constraint = 'the_constraint'; end $$",
    );
    let run = run.must_have_failed_with("P1234");
    assert_eq!(run.outcome.as_deref(), Some("failed"));
    assert_eq!(run.error_field("detail"), "the detail");
    assert_eq!(run.error_field("hint"), "the hint");
    assert_eq!(run.error_field("schema"), "the_schema");
    assert_eq!(run.error_field("table"), "the_table");
    assert_eq!(run.error_field("constraint"), "the_constraint");
    assert!(run.error_field("context").contains("inline_code_block"), "{run:#?}");
}

#[test]
fn the_position_of_an_error_is_kept() {
    let cluster = Cluster::start();
    let run = cluster.run_once("select nope").must_have_failed_with("42703");
    let position = run.error.as_ref().and_then(|error| error.get("position"));
    assert_eq!(position.and_then(serde_json::Value::as_i64), Some(8), "{run:#?}");
}

#[test]
fn no_error_carries_frames_of_the_library() {
    let cluster = Cluster::builder().environment("RUST_BACKTRACE", "full").start();
    // One of ours, one that Postgres raises inside a function of ours, and one in a run.
    for call in [
        "select cron.set_job('nonesuch', '{}')",
        "select cron.create_job('x', '@daily', 'select 1', jitter => null, settings => '[]')",
        "select cron.next_runs('* * * * *', 1, 'UTC', 'infinity')",
        "select cron.resume(-1::bigint)",
        "select cron.create_job('x', '@daily', 'select 1', settings => '{\"work_mem\": \"x\"}')",
    ] {
        let refused = cluster.try_sql(call).unwrap_err();
        let said = refused.as_db_error().unwrap();
        let detail = said.detail().unwrap_or_default();
        assert!(!detail.contains(" at ") && !detail.contains("pgrx"), "{call}: {said:#?}");
    }
    let run =
        cluster.run_once("select cron.set_job('nonesuch', '{}')").must_have_failed_with("42704");
    assert_eq!(run.error_field("detail"), "", "{run:#?}");
    assert!(!cluster.log().contains("pgrx_pg_sys::"), "{}", cluster.log());
    // It is still there for others.
    cluster.sql(
        "create table said (line text); copy said from program \
         'printenv RUST_BACKTRACE; printenv RUST_LIB_BACKTRACE || true'",
    );
    assert_eq!(cluster.column::<String>("select line from said"), ["full"]);
}
