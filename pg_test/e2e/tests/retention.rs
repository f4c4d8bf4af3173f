//! How long history is kept.

use pg_tock_test::Cluster;

/// Prunes, and waits until that is done.
fn prune(cluster: &Cluster) {
    let before: Option<String> =
        cluster.one("select (select pruned_at::text from cron.keeper_state)");
    assert!(cluster.one::<bool>("select cron.prune()"));
    cluster.wait_for(&format!(
        "(select pruned_at::text <> '{}' from cron.keeper_state)",
        before.unwrap_or_default()
    ));
}

/// History of a job: attempts at one occurrence for each day of age, with their outcomes. The newest
/// goes last.
fn history(cluster: &Cluster, job: i64, rows: &[(i32, &str, &str)]) {
    for (minute, (days, attempts, tag)) in rows.iter().enumerate() {
        for (n, outcome) in attempts.split(' ').enumerate() {
            let status = if outcome == "succeeded" { "succeeded" } else { "failed" };
            cluster.sql(&format!(
                "insert into cron.job_run_details (jobid, jobname, username, command, status, outcome, \
                  scheduled_for, attempt, trigger, start_time, end_time) \
                 select {job}, '{tag}', 'postgres', 'select 1', '{status}', '{outcome}', at, {n} + 1, \
                  case when {n} = 0 then 'schedule' else 'retry' end, at, at + {n} * interval '1 second' \
                 from (select date_trunc('hour', now()) - {days} * interval '24 hours' \
                  + {minute} * interval '1 minute' - interval '1 hour') t (at)"
            ));
        }
    }
    cluster.wait_for(
        "(select counted_below from cron.engine_state) > (select max(runid) from cron.job_run_details)",
    );
}

fn left(cluster: &Cluster, job: i64) -> Vec<String> {
    cluster.column(&format!(
        "select jobname || ' ' || string_agg(outcome, ' ' order by attempt) from cron.job_run_details \
         where jobid = {job} group by jobname, scheduled_for order by scheduled_for, jobname"
    ))
}

/// A job that never runs by itself.
fn dormant(cluster: &Cluster, name: &str) -> i64 {
    cluster.schedule(name, "0 0 1 1 *", "select 1")
}

#[test]
fn runs_that_failed_are_kept_longer() {
    let cluster = Cluster::start();
    let job = dormant(&cluster, "job");
    history(
        &cluster,
        job,
        &[
            (91, "failed", "old failure"),
            (91, "failed succeeded", "old recovery"),
            (89, "failed", "failure"),
            (89, "failed succeeded", "recovery"),
            (31, "succeeded", "old"),
            (29, "succeeded", "young"),
            (1, "succeeded", "newest"),
        ],
    );
    prune(&cluster);
    assert_eq!(
        left(&cluster, job),
        ["failure failed", "recovery failed succeeded", "young succeeded", "newest succeeded"]
    );
    // A job's last run stays, however old.
    let other = dormant(&cluster, "other");
    history(&cluster, other, &[(500, "succeeded", "old"), (400, "succeeded", "newest")]);
    prune(&cluster);
    assert_eq!(left(&cluster, other), ["newest succeeded"]);
    // It goes when its job has gone.
    cluster.unschedule(other);
    cluster.flush();
    prune(&cluster);
    assert!(left(&cluster, other).is_empty());
}
