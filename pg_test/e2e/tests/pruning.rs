//! Deleting what need not be kept: by itself, in batches, and without getting in anybody's way. What is
//! kept and for how long is `retention`'s.

use std::time::Duration;

use pg_tock_test::{Cluster, stays_true, utc};

/// In which what is about to happen would have happened.
const MOMENT: Duration = Duration::from_millis(700);

/// A job that never runs by itself.
fn dormant(cluster: &Cluster, name: &str, more: &str) -> i64 {
    cluster.one(&format!("select cron.create_job('{name}', '0 0 1 1 *', 'select 1'{more})"))
}

/// Runs of a job, one for each minute up to so many days ago.
fn runs(cluster: &Cluster, job: i64, days: i32, count: i32, status: &str) {
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, jobname, username, command, status, outcome, \
          scheduled_for, attempt, trigger, start_time, end_time) \
         select {job}, 'old', 'postgres', 'select 1', '{status}', '{status}', at, 1, 'schedule', at, at \
         from generate_series(1, {count}) n, lateral (select date_trunc('minute', now()) \
          - {days} * interval '24 hours' - ({count} - n) * interval '1 minute') t (at)"
    ));
}

/// An alert of a job that was over so many days ago.
fn alerts(cluster: &Cluster, job: i64, days: i32, count: i32) {
    cluster.sql(&format!(
        "insert into cron.alert (jobid, username, rule, message, detail, raised_at, recovered_at, recovery) \
         select {job}, 'postgres', 'failures', '', '{{}}', at, at, 'recovered' \
         from generate_series(1, {count}), lateral (select now() - {days} * interval '24 hours') t (at)"
    ));
}

/// What there is to do for the keeper, of a job that has one run that stays.
fn make_work(cluster: &Cluster, job: i64) {
    runs(cluster, job, 40, 10, "succeeded");
    alerts(cluster, job, 100, 10);
    cluster.sql(&format!(
        "insert into cron.job_stat_hour (jobid, hour) values ({job}, '2000-01-01') on conflict do nothing"
    ));
    cluster.wait_counted();
}

#[test]
fn history_goes_by_itself_soon_after_the_start_and_each_hour() {
    let cluster = Cluster::builder().clock(utc(2026, 6, 1, 10, 0, 20)).start();
    let minute = cluster.schedule("minute", "* * * * *", "select 1");
    let job = dormant(&cluster, "dormant", "");
    cluster.wait_known();
    runs(&cluster, job, 0, 1, "succeeded");
    make_work(&cluster, job);
    let started: i64 = cluster.one(
        "select extract(epoch from backend_start)::bigint from pg_stat_activity \
         where backend_type = 'pg_tock scheduler'",
    );
    let done = format!(
        "(select count(*) = 1 from cron.job_run_details where jobid = {job}) \
         and not exists (select from cron.alert) \
         and not exists (select from cron.job_stat_hour where hour < '2001-01-01')"
    );
    let settled = format!(
        "exists (select from cron.job_run_details where jobid = {minute} \
          and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))"
    );
    let pruned_at = || -> i64 {
        cluster.one("select coalesce((select extract(epoch from pruned_at)::bigint from cron.keeper_state), 0)")
    };
    // Not before its time, though there is an executor by then: while one starts, the keeper waits.
    cluster.advance_clock(started + 110, &settled);
    cluster.advance_clock(started + 150, &settled);
    stays_true("nothing is pruned yet", MOMENT, || pruned_at() == 0);
    cluster.advance_clock(started + 190, &settled);
    cluster.wait_for(&format!("exists (select from cron.keeper_state) and {done}"));
    let first = pruned_at();
    assert!((180..=3600).contains(&(first - started)), "{first} {started}");
    // What grows old from then on goes an hour later.
    make_work(&cluster, job);
    cluster.advance_clock(started + 3700, &settled);
    stays_true("nothing is pruned again yet", MOMENT, || pruned_at() == first);
    assert!(!cluster.one::<bool>(&format!("select {done}")));
    cluster.advance_clock(first + 3660, &settled);
    cluster.wait_for(&format!(
        "(select extract(epoch from pruned_at) > {first} + 1 from cron.keeper_state) and {done}"
    ));
    let second = pruned_at();
    assert!(second - started >= 180 + 3600, "{second} {started}");
    // And so it goes on.
    make_work(&cluster, job);
    cluster.advance_clock(second + 3660, &settled);
    cluster.wait_for(&done);
    cluster.audit();
}
