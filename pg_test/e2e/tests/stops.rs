//! Runs that a stop of the server cuts off: one end, whichever of its processes goes first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper whose expectation is broken fails the scenario"
)]

mod web;

use pg_tock_test::{Cluster, PATIENCE, Run, is_alive, poll_until, signal};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

const NAP: &str = "select pg_sleep(3600)";
const NEVER: &str = "0 0 1 1 *";

/// A job that is run by hand, and once more if it may.
fn job(cluster: &Cluster, name: &str, command: &str, database: &str, on_crash: bool) -> i64 {
    cluster.create_job(&json!({
        "job_name": name, "schedule": NEVER, "command": command, "database": database,
        "max_attempts": 2, "retry_delay": "0", "retry_on_crash": on_crash,
    }))
}

/// Asks for a run and waits until it is at work.
fn begin(cluster: &Cluster, job: i64) -> i64 {
    let run = cluster.one_with("select cron.run_now($1::bigint)", &[&job]);
    cluster.wait_for(&format!("exists (select from cron.running where runid = {run})"));
    run
}

/// A fast stop with the processes in `last` held back until others have gone.
fn stop_with(cluster: &Cluster, last: &[i32]) {
    let launcher = cluster.pid_of("pg_tock launcher");
    for &process in last {
        signal(process, Signal::STOP);
    }
    signal(cluster.postmaster_pid(), Signal::INT);
    poll_until("others go", PATIENCE, || (!is_alive(launcher)).then_some(()));
    for &process in last {
        signal(process, Signal::CONT);
    }
    cluster.wait_stopped();
}

/// The rows of these runs once each has an end.
fn ends(cluster: &Cluster, runs: &[i64]) -> Vec<Run> {
    runs.iter()
        .map(|&run| {
            poll_until(&format!("the end of run {run}"), PATIENCE, || {
                let job: i64 = cluster.one_with(
                    "select coalesce((select jobid from cron.job_run_details where runid = $1), 0)",
                    &[&run],
                );
                cluster.finished_runs_of(job).into_iter().find(|row| row.runid == run)
            })
        })
        .collect()
}

fn is_crashed(run: &Run) {
    assert_eq!(run.status, "failed", "{run:#?}");
    assert_eq!(run.outcome.as_deref(), Some("crashed"), "{run:#?}");
    assert_eq!(run.return_message, "server restarted", "{run:#?}");
    assert_eq!(run.reason.as_deref(), Some("server restarted"), "{run:#?}");
    assert_eq!((&run.sqlstate, &run.error), (&None, &None), "{run:#?}");
}

/// Which attempts at that run's occurrence there are, or will be.
fn attempts(cluster: &Cluster, run: &Run) -> i64 {
    cluster.one_with(
        "select max(attempt)::bigint from (select attempt from cron.job_run_details r where r.jobid = $1 \
          and r.scheduled_for = $2 union all select q.attempt from cron.run_request q \
          where q.jobid = $1 and q.scheduled_for = $2) a (attempt)",
        &[&run.jobid, &run.scheduled_for.unwrap()],
    )
}

fn stops(scheduler_first: bool) {
    let cluster = Cluster::builder().max_worker_processes(20).start();
    cluster.sql("create database other");
    let apart = "do $$ begin commit; perform pg_sleep(3600); end $$";
    let jobs = [
        job(&cluster, "long", NAP, "postgres", false),
        job(&cluster, "apart", apart, "postgres", false),
        job(&cluster, "apart, on crash", apart, "postgres", true),
        job(&cluster, "elsewhere", NAP, "other", false),
        job(&cluster, "brief", NAP, "postgres", false),
    ];
    let mut runs: Vec<i64> = jobs[..4].iter().map(|&job| begin(&cluster, job)).collect();
    let _ = cluster.run_in_status(jobs[0], "running");
    // Its row comes after a second, which it has or has not.
    runs.push(begin(&cluster, jobs[4]));
    let last = match scheduler_first {
        true => cluster.pids_of("pg_tock executor"),
        false => cluster.pids_of("pg_tock scheduler"),
    };
    stop_with(&cluster, &last);
    cluster.boot();
    cluster.wait_scheduler();
    let ended = ends(&cluster, &runs);
    ended.iter().for_each(is_crashed);
    let guarantees: Vec<&str> = ended.iter().filter_map(|run| run.guarantee.as_deref()).collect();
    let (once, most) = ("exactly_once", "at_most_once");
    assert_eq!(guarantees, [once, most, most, most, once]);
    // What left nothing is tried again, and what may have left something where the job says so.
    for (again, which) in [(true, 0), (true, 2), (true, 4), (false, 1), (false, 3)] {
        let run = &ended[which];
        if again {
            poll_until("a second attempt", PATIENCE, || {
                (attempts(&cluster, run) == 2).then_some(())
            });
        } else {
            assert_eq!(attempts(&cluster, run), 1, "{run:#?}");
        }
    }
}

#[test]
fn a_fast_stop_makes_crashed_runs_if_the_scheduler_goes_first() {
    stops(true);
}

#[test]
fn a_fast_stop_makes_crashed_runs_if_the_executors_go_first() {
    stops(false);
}

#[test]
fn a_fast_stop_makes_crashed_runs_of_requests() {
    let servers = web::Servers::new();
    let address = servers.raw(|mut stream| async move {
        let mut room = [0; 1024];
        while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
    });
    let cluster = web::builder().start();
    let url = format!("http://{address}/");
    for last in ["pg_tock http", "pg_tock scheduler"] {
        let job = cluster
            .one_with("select cron.create_http_job($1, $2, $3)", &[&last, &NEVER, &url.as_str()]);
        let run = begin(&cluster, job);
        stop_with(&cluster, &cluster.pids_of(last));
        cluster.boot();
        cluster.wait_scheduler();
        ends(&cluster, &[run]).iter().for_each(is_crashed);
    }
}

#[test]
fn a_process_somebody_ends_is_not_taken_for_a_stop_of_the_server() {
    let cluster = Cluster::start();
    let job = job(&cluster, "nap", NAP, "postgres", false);
    let run = begin(&cluster, job);
    cluster.terminate(cluster.executor_of(job));
    let row = ends(&cluster, &[run]).remove(0).must_have_failed_with("57P01");
    assert_eq!(row.outcome.as_deref(), Some("cancelled"), "{row:#?}");
    assert_eq!(attempts(&cluster, &row), 1);
}
