//! Clocks that are set back: nothing runs twice, nothing is lost.

use pg_tock_test::{Cluster, utc};

/// A quarter past ten and some minutes, on the day of these scenarios.
fn at(hour: i64, minute: i64) -> i64 {
    utc(2026, 6, 1, hour, minute, 20)
}

fn server() -> (Cluster, i64) {
    let cluster = Cluster::builder()
        .clock(at(10, 2))
        .conf("timezone", "UTC")
        .conf("cron.timezone", "UTC")
        .start();
    let job = cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    (cluster, job)
}

const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

/// The stories of a job that ran each minute from `from` to `to` past ten, as its schedule said.
fn each_minute(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|minute| format!("10:{minute:02} schedule")).collect()
}

#[test]
fn set_back_by_two_hours() {
    let (cluster, job) = server();
    cluster.advance_clock(at(10, 20), UP_TO_DATE);
    // Two hours too late for some time: what lies between counts as missed.
    cluster.step_clock(2 * 3600);
    cluster.wait_for(UP_TO_DATE);
    let missed = cluster.skipped(job);
    assert_eq!(missed.len(), 1, "{missed:?}");
    // Somebody notices, and sets it right, and a bit more.
    cluster.step_clock(at(10, 15) - cluster.now());
    cluster.flush();
    assert!(cluster.log().contains("the clock was set back"), "{}", cluster.log_tail(20));
    cluster.advance_clock(at(10, 30), UP_TO_DATE);
    let mut story = cluster.story(job);
    story.retain(|run| run.starts_with("10:"));
    assert_eq!(story, each_minute(3, 30), "each once, and those that had been missed as well");
    // The audit finds just these, as its page says: they were skipped, and had another turn after all.
    let two_turns = |rows: u32, skipped: u32| {
        cluster.accounts_balance();
        let (rows, skipped) = (format!(r#""rows":{rows},"#), format!(r#""skipped":{skipped}}}"#));
        let found = cluster.found_by_audit().into_iter();
        found.partition::<Vec<_>, _>(|line| line.contains(&rows) && line.contains(&skipped))
    };
    let (ran, others) = two_turns(1, 1);
    assert!(!ran.is_empty() && others.is_empty(), "{others:#?}");
    // The time at which it was set back comes again, and what ran then does not.
    cluster.step_clock(at(12, 25) - cluster.now());
    cluster.wait_for(UP_TO_DATE);
    let (skipped, others) = two_turns(0, 2);
    assert!(!skipped.is_empty());
    assert_eq!(others, ran, "and nothing else");
}

#[test]
fn set_back_by_two_hours_while_the_server_is_down() {
    let (cluster, job) = server();
    cluster.advance_clock(at(10, 20), UP_TO_DATE);
    cluster.stop();
    cluster.step_clock(-2 * 3600);
    cluster.boot();
    cluster.wait_scheduler();
    cluster.advance_clock(at(8, 25), UP_TO_DATE);
    cluster.step_clock(at(10, 18) - cluster.now());
    cluster.advance_clock(at(10, 23), UP_TO_DATE);
    let twice: i64 = cluster.one_with(
        "select count(*) - count(distinct scheduled_for) from cron.job_run_details where jobid = $1",
        &[&job],
    );
    assert_eq!(twice, 0, "{:?}", cluster.story(job));
    cluster.wait_for(
        "exists (select from cron.job_run_details where scheduled_for = '2026-06-01 10:23')",
    );
}

/// Sets the clock back by far and on to shortly before where it was, and lets each of many jobs go on.
fn many_jobs_go_on(set_back: impl FnOnce(&Cluster, i64)) {
    let (cluster, _) = server();
    cluster.sql("create database elsewhere");
    // So many that not all of them are looked up in the ledger.
    cluster.sql(
        "select cron.create_job('elsewhere ' || n, '* * * * *', 'select 1', database => 'elsewhere') \
         from generate_series(1, 150) n",
    );
    cluster.wait_known();
    let all_at = |minute: i64| {
        format!(
            "(select count(*) = 151 from cron.job_run_details where status = 'succeeded' \
             and scheduled_for = '2026-06-01 10:{minute:02}')"
        )
    };
    for minute in 3..=6 {
        cluster.advance_clock(at(10, minute), &all_at(minute));
    }
    set_back(&cluster, at(9, 30) - cluster.now());
    cluster.flush();
    // The minutes that have been come again.
    cluster.step_clock(at(10, 4) - cluster.now());
    cluster.flush();
    for minute in 5..=8 {
        cluster.advance_clock(at(10, minute), &all_at(minute));
    }
    let log = cluster.log();
    let found: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("duplicate key") || line.contains("another row"))
        .collect();
    assert!(found.is_empty(), "what had run was handed over again: {found:#?}");
}

#[test]
fn set_back_with_many_jobs() {
    many_jobs_go_on(|cluster, seconds| cluster.step_clock(seconds));
}

#[test]
fn set_back_with_many_jobs_while_the_server_is_down() {
    many_jobs_go_on(|cluster, seconds| {
        cluster.stop();
        cluster.step_clock(seconds);
        cluster.boot();
        cluster.wait_scheduler();
    });
}

#[test]
fn set_back_by_a_little_is_waited_out() {
    let (cluster, job) = server();
    cluster.advance_clock(at(10, 20), UP_TO_DATE);
    cluster.step_clock(-3 * 60);
    cluster.flush();
    assert!(!cluster.log().contains("the clock was set back"), "{}", cluster.log_tail(20));
    cluster.advance_clock(at(10, 22), UP_TO_DATE);
    assert_eq!(cluster.story(job), each_minute(3, 22));
    assert_eq!(cluster.skipped(job), Vec::<String>::new());
    cluster.audit();
}

#[test]
fn history_is_deleted_and_the_server_crashes() {
    let (cluster, job) = server();
    cluster.sql("select cron.set_job('minute', '{\"on_missed\": \"all\"}')");
    cluster.advance_clock(at(10, 20), UP_TO_DATE);
    cluster.sql("delete from cron.job_run_details");
    cluster.crash();
    cluster.wait_scheduler();
    cluster.advance_clock(at(10, 23), UP_TO_DATE);
    let again: Vec<String> =
        cluster.story(job).into_iter().filter(|run| run.as_str() < "10:21").collect();
    // No audit: it is to find the occurrences whose rows were deleted.
    assert_eq!(again, Vec::<String>::new(), "what ran is not run again because its rows are gone");
}

#[test]
fn jobs_made_while_the_clock_was_ahead_run_once_it_is_right() {
    let (cluster, _) = server();
    cluster.step_clock(86_400);
    cluster.wait_for(UP_TO_DATE);
    let job = cluster.schedule("seconds", "1 second", "select 1");
    let odd = cluster.schedule("odd", "every 7 seconds", "select 1");
    let _ = (cluster.finished_run(job), cluster.finished_run(odd));
    cluster.step_clock(-86_400);
    cluster.flush();
    for job in [job, odd] {
        cluster.wait_for(&format!(
            "(select count(*) >= 2 from cron.job_run_details \
             where jobid = {job} and status = 'succeeded' and start_time < '2026-06-02')"
        ));
        assert_eq!(cluster.found_by_audit_of(job), Vec::<String>::new());
    }
}
