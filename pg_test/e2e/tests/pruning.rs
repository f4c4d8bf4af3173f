//! Deleting what need not be kept: by itself, in batches, and without getting in anybody's way. What is
//! kept and for how long is `retention`'s.

use std::time::Duration;

use pg_tock_test::{Cluster, PATIENCE, poll_until, stays_true, utc};

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

#[test]
fn history_goes_in_small_transactions() {
    const COUNT: i32 = 2_500;
    let cluster = Cluster::start();
    let old = dormant(&cluster, "old", "");
    let failed = dormant(&cluster, "failed", "");
    let many = dormant(&cluster, "many", ", keep_runs => 1");
    for (job, days, status) in
        [(old, 40, "succeeded"), (failed, 100, "failed"), (many, 1, "succeeded")]
    {
        runs(&cluster, job, days, COUNT + 1, status);
    }
    alerts(&cluster, old, 100, COUNT);
    cluster.sql(&format!(
        "insert into cron.run_log (runid, jobid, at, level, message, username) \
         select runid, jobid, end_time, 'info', '', 'postgres' from cron.job_run_details \
         union all select -n, 1, now() - interval '100 days', 'info', '', 'postgres' \
         from generate_series(1, {COUNT}) n"
    ));
    cluster.sql(&format!(
        "insert into cron.run_checkpoint (jobid, scheduled_for, runid, at) \
         select jobid, scheduled_for, runid, end_time from cron.job_run_details \
         union all select {old}, at, 1, at from generate_series(1, {COUNT}) n, \
          lateral (select now() - interval '100 days' - n * interval '1 second') t (at)"
    ));
    cluster.sql(&format!(
        "update cron.job_state set cursor = now(); \
         insert into cron.job_skip select {old}, 'paused', at, at, 1 from generate_series(1, {COUNT}) n, \
          lateral (select now() - interval '100 days' - n * interval '1 second') t (at)"
    ));
    cluster.sql(
        "create table deleted (what text, by text, count bigint); \
         create function note() returns trigger language plpgsql as $$ begin \
           insert into public.deleted select tg_table_name, pg_current_xact_id()::text, count(*) \
            from gone having count(*) > 0; return null; end $$; \
         do $$ declare what text; begin foreach what in array \
          '{job_run_details, job_skip, alert, run_log, run_checkpoint}'::text[] loop \
           execute format('create trigger note after delete on cron.%I referencing old table as gone \
            for each statement execute function public.note()', what); end loop; end $$",
    );
    cluster.wait_counted();
    cluster.prune();
    let found: Vec<String> = cluster.column(
        "select format('%s %s: %s', what, sum(count), \
          case when max(count) > 1000 then max(count) || ' at once' \
           when count(*) < sum(count) / 1000 then 'too few transactions' else 'in batches' end) \
         from (select what, by, sum(count) as count from deleted group by what, by) t group by what order by what",
    );
    let wanted = [
        ("alert", COUNT),
        ("job_run_details", 3 * COUNT),
        ("job_skip", COUNT),
        ("run_checkpoint", 4 * COUNT),
        ("run_log", 4 * COUNT),
    ];
    assert_eq!(found, wanted.map(|(what, count)| format!("{what} {count}: in batches")));
    let batches: i64 = cluster.one(
        "select count(distinct by) from deleted where by in \
          (select by from deleted where what = 'job_run_details')",
    );
    assert!(batches >= 9, "each walk has at least three: {batches}");
}

#[test]
fn a_job_of_each_second_goes_on_while_history_is_pruned_on_a_slow_disk() {
    let cluster = Cluster::builder()
        .conf("autovacuum", "off")
        .conf("shared_buffers", "1MB")
        .slow_disk()
        .start();
    let old = dormant(&cluster, "old", "");
    runs(&cluster, old, 40, 5_001, "succeeded");
    cluster.wait_counted();
    // Nothing of it is in memory.
    cluster.restart();
    cluster.wait_scheduler();
    let job = cluster.schedule("second", "1 second", "select 1");
    let _ = cluster.finished_runs(job, 3);
    cluster.make_disk_slow(true);
    let began: String = cluster.one("select clock_timestamp()::text");
    assert!(cluster.one::<bool>("select cron.prune()"));
    poll_until("pruning is over", PATIENCE * 4, || {
        cluster.one::<bool>("select exists (select from cron.keeper_state)").then_some(())
    });
    cluster.make_disk_slow(false);
    assert_eq!(
        cluster
            .one::<i64>(&format!("select count(*) from cron.job_run_details where jobid = {old}")),
        1
    );
    let meanwhile: i64 = cluster.one(&format!(
        "select count(*) from cron.job_run_details, cron.keeper_state where jobid = {job} \
         and start_time > '{began}' and end_time < pruned_at"
    ));
    assert!(meanwhile >= 3, "{meanwhile} runs while history was pruned");
    cluster.stop_all_jobs();
    cluster.flush();
    assert_eq!(cluster.skipped(job), [""; 0]);
    let missing: Vec<String> = cluster.column(&format!(
        "select at::text from generate_series( \
          (select min(scheduled_for) from cron.job_run_details where jobid = {job}), \
          (select max(scheduled_for) from cron.job_run_details where jobid = {job}), '1 second') at \
         where not exists (select from cron.job_run_details \
          where jobid = {job} and scheduled_for = at and status = 'succeeded')"
    ));
    assert_eq!(missing, [""; 0]);
}
