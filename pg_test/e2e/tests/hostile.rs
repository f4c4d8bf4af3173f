//! Somebody without special rights tries everything, all at once, while another user's job is due
//! each second: it runs for every second, soon after it.

use pg_tock_test::{Cluster, MALLORY, PATIENCE, poll_until, under_attack};
use serde_json::json;
use std::time::Duration;

/// Later than this no run of a neighbour may start, on a machine however busy with tests.
const LATEST: Duration = Duration::from_secs(15);

/// Ends what has run of hers for longer than so many seconds.
fn end_hers(cluster: &Cluster, seconds: i32) {
    let _: i64 = cluster.one(&format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{MALLORY}' \
         and query_start <= clock_timestamp() - interval '{seconds} seconds'"
    ));
}

/// Has her jobs run until the audit has much to look at: it may be that those without an end have had all her
/// places.
fn give_way(cluster: &Cluster) -> i64 {
    poll_until("occurrences of hers", PATIENCE * 2, || {
        let hers = occurrences(cluster, MALLORY);
        if hers < 500 {
            end_hers(cluster, 1);
        }
        (hers >= 500).then_some(hers)
    })
}

/// Nothing is due any more, and what waits or runs comes to an end, if need be by force.
fn end_all(cluster: &Cluster) {
    cluster.sql("select cron.pause(jobid) from cron.job where active");
    cluster.wait_known();
    poll_until("what waits and runs has ended", PATIENCE * 2, || {
        end_hers(cluster, 0);
        cluster
            .one::<bool>(
                "select not exists (select from cron.running) \
                 and not exists (select from cron.job_run_details where end_time is null)",
            )
            .then_some(())
    });
}

/// Occurrences of a role's jobs that the audit looks at.
fn occurrences(cluster: &Cluster, role: &str) -> i64 {
    cluster.one_with(
        "select count(*) from cron.job join cron.job_state using (jobid), \
           cron.occurrences(jobid, effective_from, cursor) where active and username = $1",
        &[&role],
    )
}

#[test]
fn one_user_tries_everything_and_another_ones_job_runs_each_second() {
    let cluster = Cluster::builder()
        .conf("log_min_messages", "fatal")
        .conf("log_min_error_statement", "panic")
        .start();
    cluster.role(MALLORY);
    cluster.role("ann");
    cluster.sql("create table effect (run bigint); grant insert on effect to ann");
    let job = cluster.schedule_as(
        "ann",
        "tick",
        "1 second",
        "insert into effect select runid from cron.current_run()",
    );
    let _ = cluster.finished_run(job);
    // Another one is in a queue of her own.
    cluster.sql("begin; set local role ann; select cron.create_queue('own', 1); commit");
    let queued = cluster.create_job(&json!({
        "job_name": "queued", "schedule": "1 second", "username": "ann", "queue": "own",
        "command": "insert into effect select runid from cron.current_run()",
    }));
    let _ = cluster.finished_run(queued);
    let scheduler = cluster.wait_scheduler();
    under_attack(&cluster, Duration::from_secs(20));
    let mut runs = Vec::new();
    for job in [job, queued] {
        let during = cluster.finished_runs_of(job).len();
        runs.extend(cluster.finished_runs(job, during + 2));
    }
    assert_eq!(cluster.wait_scheduler(), scheduler, "it is still the same scheduler");
    for run in &runs {
        assert_eq!(run.status, "succeeded", "{run:#?}");
        let lag = run
            .start_time
            .zip(run.scheduled_for)
            .map(|(start, due)| start.duration_since(due).unwrap_or_default());
        assert!(lag.is_some_and(|lag| lag < LATEST), "{run:#?}");
    }
    cluster.flush();
    for job in [job, queued] {
        assert_eq!(cluster.skipped(job), Vec::<String>::new());
    }
    let seconds = occurrences(&cluster, "ann");
    assert!(seconds >= 40, "{seconds} seconds");
    // One snapshot, as it goes on.
    let differing: i64 = cluster.one_with(
        "select count(*) from effect full join (select runid from cron.job_run_details \
           where jobid = any ($1) and status = 'succeeded') d on run = runid where run is null or runid is null",
        &[&vec![job, queued]],
    );
    assert_eq!(differing, 0, "its effects are its succeeded runs");
    // Her own are accounted for as well, whatever she did to them.
    eprintln!("    {} occurrences of hers", give_way(&cluster));
    end_all(&cluster);
    let lost = cluster.found_by_audit();
    assert!(
        lost.is_empty(),
        "{} of them: {:#?}",
        lost.len(),
        lost.iter().take(10).collect::<Vec<_>>()
    );
}
