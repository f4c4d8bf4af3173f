//! Statistics: what they count, that nothing is counted twice or not at all, whoever dies, and that they
//! agree with the ledger they are not read from.

use pg_tock_test::{Cluster, Run, sqlstate, utc};

/// What the tables of statistics should say, from the ledger: differences, as text.
const DIFFERENCES: &str = "with counted as (select s.jobid, count(d.runid) as total, \
      count(*) filter (where outcome = 'succeeded') as good, \
      count(*) filter (where status = 'failed') as bad, \
      count(*) filter (where outcome = 'timeout') as late, \
      count(*) filter (where outcome = 'cancelled') as cancelled, \
      count(*) filter (where outcome = 'crashed') as crashed, \
      count(*) filter (where attempt > 1) as again, \
      coalesce(sum((usage->>'wal_bytes')::bigint), 0) as wal, \
      coalesce(sum(coalesce((usage->>'rows')::bigint, row_count, 0)), 0) as rows, \
      max(end_time) filter (where outcome = 'succeeded') as success \
     from cron.job s left join cron.job_run_details d on s.jobid = d.jobid and end_time is not null \
     group by s.jobid) \
     select concat_ws(' ', 'job', jobid, 'runs', c.total, s.total_runs, 'good', c.good, s.successful_runs, \
      'bad', c.bad, s.failed_runs, 'late', c.late, s.timed_out_runs, 'cancelled', c.cancelled, s.cancelled_runs, \
      'crashed', c.crashed, s.crashed_runs, 'again', c.again, s.retried_runs, 'wal', c.wal, s.wal_bytes, \
      'rows', c.rows, s.rows, 'success', c.success, s.last_success_at) \
     from counted c join cron.job_stats s using (jobid) \
     where (c.total, c.good, c.bad, c.late, c.cancelled, c.crashed, c.again, c.wal, c.rows, c.success) \
      is distinct from (s.total_runs, s.successful_runs, s.failed_runs, s.timed_out_runs, s.cancelled_runs, \
       s.crashed_runs, s.retried_runs, s.wal_bytes, s.rows, s.last_success_at)";

/// Hours and days add up to the whole.
const ROLL_UPS: &str = "select concat_ws(' ', kind, jobid, t.total_runs, s.total_runs, t.skipped_runs, s.skipped_runs, \
      t.wal_bytes, s.wal_bytes, t.p99, s.p99_duration_ms) from ( \
      select 'hours' as kind, jobid, sum(total_runs) as total_runs, sum(successful_runs) as successful_runs, \
       sum(skipped_runs) as skipped_runs, sum(retried_runs) as retried_runs, sum(wal_bytes) as wal_bytes, \
       sum(rows) as rows, cron.sketch_quantile(cron.sketch_merge(durations), 0.99, max(max_ms)) as p99, \
       cron.sketch_merge(start_lags) as lags from cron.job_stat_hour group by jobid \
      union all select 'days', jobid, sum(total_runs), sum(successful_runs), sum(skipped_runs), \
       sum(retried_runs), sum(wal_bytes), sum(rows), \
       cron.sketch_quantile(cron.sketch_merge(durations), 0.99, max(max_ms)), cron.sketch_merge(start_lags) \
       from cron.job_stat_day group by jobid) t full join cron.job_stat s using (jobid) \
     where (t.total_runs, t.successful_runs, t.skipped_runs, t.retried_runs, t.wal_bytes, t.rows, t.p99, t.lags) \
      is distinct from (s.total_runs::numeric, s.successful_runs::numeric, s.skipped_runs::numeric, \
       s.retried_runs::numeric, s.wal_bytes::numeric, s.rows::numeric, s.p99_duration_ms, s.start_lags)";

/// Once the last reports are in, statistics say what the ledger says.
#[track_caller]
fn agree(cluster: &Cluster) {
    cluster.wait_for(
        "cron.flush() and (select coalesce(sum(total_runs), 0) from cron.job_stat) \
         >= (select count(*) from cron.job_run_details where end_time is not null)",
    );
    for query in [DIFFERENCES, ROLL_UPS] {
        assert_eq!(cluster.column::<String>(query), [""; 0], "{query}");
    }
}

#[track_caller]
fn figure(cluster: &Cluster, job: i64, figure: &str) -> f64 {
    cluster.one(&format!("select {figure}::float8 from cron.job_stats where jobid = {job}"))
}

/// Some jobs that end in every way, and one that runs elsewhere.
fn every_way(cluster: &Cluster) -> Vec<i64> {
    cluster.sql("create database other; ");
    cluster.sql("create table sink (n int)");
    let create = |name: &str, command: &str, options: &str| -> i64 {
        cluster.one_with(
            &format!("select cron.create_job($1, '1 second', $2 {options})"),
            &[&name, &command],
        )
    };
    vec![
        create("good", "insert into sink select generate_series(1, 10)", ""),
        create(
            "bad",
            "select 1 / 0",
            ", max_attempts => 3, retry_on => 'any', retry_delay => '10 ms'",
        ),
        create("late", "select pg_sleep(60)", ", timeout => '200 ms'"),
        create("two", "insert into sink values (1); select 1", ""),
        create(
            "elsewhere",
            "create temp table t as select generate_series(1, 100)",
            ", database => 'other'",
        ),
        create("closed", "select 1", ", run_if => 'false'"),
    ]
}

#[test]
fn what_is_counted_is_what_the_ledger_says() {
    let cluster = Cluster::start();
    let jobs = every_way(&cluster);
    for &job in &jobs[..5] {
        let _ = cluster.finished_runs(job, 4);
    }
    let slow = cluster.schedule("slow", "1 second", "select pg_sleep(60)");
    let run = cluster.run_in_status(slow, "running");
    assert!(cluster.one_with::<bool>("select cron.cancel_run($1)", &[&run.runid]));
    let _ = cluster.finished_run(slow);
    cluster.stop_all_jobs();
    agree(&cluster);
    for (job, column) in [
        (0, "rows"),
        (0, "wal_bytes"),
        (1, "retried_runs"),
        (2, "timed_out_runs"),
        (4, "wal_bytes"),
    ] {
        assert!(figure(&cluster, jobs[job], column) >= 3.0, "{column} of job {job}");
    }
    assert!(figure(&cluster, slow, "cancelled_runs") >= 1.0);
    let skipped: (i64, i64) = {
        let row = &cluster.rows(
            "select skipped_runs, (select sum(count)::bigint from cron.job_skip k where k.jobid = s.jobid) \
             from cron.job_stats s where jobid = $1",
            &[&jobs[5]],
        )[0];
        (row.get(0), row.get(1))
    };
    assert!(skipped.0 >= 1 && skipped.0 == skipped.1, "{skipped:?}");
}

#[test]
fn runs_of_a_scheduler_that_died_are_counted_once() {
    let cluster = Cluster::start();
    let jobs = every_way(&cluster);
    let _ = cluster.finished_runs(jobs[0], 2);
    // The mark is not past what is counted, and what is not counted is in the ledger.
    for round in 0..3 {
        let before = cluster.finished_runs_of(jobs[0]).len();
        if round == 1 {
            let scheduler = cluster.wait_scheduler();
            cluster.terminate(scheduler);
        } else {
            cluster.crash();
        }
        let _ = cluster.finished_runs(jobs[0], before + 2);
    }
    cluster.stop_all_jobs();
    agree(&cluster);
    assert!(figure(&cluster, jobs[0], "total_runs") >= 6.0);
}

#[test]
fn a_crash_is_counted_as_one() {
    let cluster = Cluster::start();
    cluster.sql(
        "create procedure nap() language plpgsql as $$ begin commit; perform pg_sleep(60); end $$",
    );
    let job = cluster.schedule("nap", "1 second", "call nap()");
    let _ = cluster.run_in_status(job, "running");
    // The claim need not be on disk, and a crash that loses it loses the run.
    cluster.sql("checkpoint");
    cluster.crash();
    cluster.wait_for(&format!(
        "exists (select from cron.job_stats where jobid = {job} and crashed_runs = 1 and consecutive_failures = 1)"
    ));
    cluster.stop_all_jobs();
    agree(&cluster);
}

#[test]
fn failures_in_a_row_end_with_a_success_and_not_with_a_cancel() {
    let cluster = Cluster::start();
    cluster.sql("create table switch (divisor int); insert into switch values (0)");
    let job: i64 = cluster.one(
        "select cron.create_job('moody', '@yearly', \
         'select case divisor when 2 then pg_sleep(60)::text else (1 / divisor)::text end from switch')",
    );
    let run = |divisor: i32| {
        cluster.sql(&format!("update switch set divisor = {divisor}"));
        cluster.one::<i64>("select cron.run_now('moody', wait => true)")
    };
    for failures in 1..=3 {
        run(0);
        cluster.flush();
        assert_eq!(figure(&cluster, job, "consecutive_failures"), f64::from(failures));
    }
    cluster.sql("update switch set divisor = 2");
    let napping: i64 = cluster.one("select cron.run_now('moody')");
    cluster.wait_for(&format!("exists (select from cron.running where runid = {napping})"));
    assert!(cluster.one_with::<bool>("select cron.cancel_run($1)", &[&napping]));
    cluster.wait_for(&format!(
        "exists (select from cron.job_run_details where runid = {napping} and end_time is not null)"
    ));
    cluster.flush();
    assert_eq!(figure(&cluster, job, "consecutive_failures"), 3.0);
    let good = run(1);
    cluster.flush();
    assert_eq!(figure(&cluster, job, "consecutive_failures"), 0.0);
    assert!(cluster.one_with::<bool>(
        "select s.last_success_at = d.end_time from cron.job_stats s, cron.job_run_details d \
         where d.runid = $1 and s.jobid = d.jobid",
        &[&good],
    ));
    run(0);
    run(0);
    agree(&cluster);
    assert_eq!(figure(&cluster, job, "consecutive_failures"), 2.0);
}

#[test]
fn percentiles_are_those_of_the_runs() {
    let cluster = Cluster::start();
    let quick = cluster.schedule("quick", "1 second", "select pg_sleep(0.02)");
    let slow = cluster.schedule("slow", "1 second", "select pg_sleep(0.2)");
    for job in [quick, slow] {
        let _: Vec<Run> = cluster.finished_runs(job, 5);
    }
    cluster.stop_all_jobs();
    agree(&cluster);
    // Against the ledger: a rank of its own definition, and no more off than is said.
    let off: Vec<String> = cluster.column(
        "select concat_ws(' ', jobid, part, exact, s.p50_duration_ms, s.p95_duration_ms, s.p99_duration_ms, late, lag) \
         from cron.job_stats s, unnest(array[0.5, 0.95, 0.99]) part, lateral ( \
          select percentile_disc(part) within group (order by extract(epoch from end_time - start_time) * 1000)::float8 as exact, \
           percentile_disc(part) within group (order by extract(epoch from start_time - scheduled_for) * 1000)::float8 as late \
          from cron.job_run_details d where d.jobid = s.jobid) ledger, \
         lateral (select case part when 0.5 then p50_duration_ms when 0.95 then p95_duration_ms else p99_duration_ms end as said, \
          case part when 0.5 then p50_start_lag_ms when 0.95 then p95_start_lag_ms else p99_start_lag_ms end as lag) stated \
         where (abs(said - exact) <= 0.032 * exact + 0.001 \
          and abs(lag - late) <= 0.032 * late + 0.001) is not true",
    );
    assert_eq!(off, [""; 0]);
    assert!(figure(&cluster, quick, "p99_duration_ms") < figure(&cluster, slow, "p50_duration_ms"));
}

#[test]
fn jitter_is_no_lateness_and_what_is_late_by_nature_does_not_count() {
    let cluster = Cluster::start();
    let job: i64 = cluster
        .one("select cron.create_job('spread', '2 seconds', 'select 1', jitter => '1900 ms')");
    let _ = cluster.finished_runs(job, 5);
    let spread: f64 = cluster.one_with(
        "select max(extract(epoch from start_time - scheduled_for))::float8 * 1000 from cron.job_run_details where jobid = $1",
        &[&job],
    );
    let failing: i64 = cluster.one(
        "select cron.create_job('failing', '1 second', 'select 1 / 0', max_attempts => 2, retry_on => 'any', retry_delay => '700 ms')",
    );
    let _ = cluster.finished_runs(failing, 4);
    cluster.stop_all_jobs();
    agree(&cluster);
    let lag = figure(&cluster, job, "p99_start_lag_ms");
    assert!(lag < spread, "{lag} ms late, {spread} ms after the instants");
    let counted: Vec<i64> = cluster.column(
        "select (s.total_runs - s.retried_runs) from cron.job_stats s where jobname = 'failing'",
    );
    assert!(counted[0] >= 1);
    let lag = figure(&cluster, failing, "p99_start_lag_ms");
    assert!(lag < 700.0, "{lag} ms: retries are in it");
}

#[test]
fn statistics_begin_anew_on_request() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let job = cluster.schedule("tick", "@yearly", "insert into pg_temp.none values (1)");
    let anns = cluster.schedule_as("ann", "tock", "@yearly", "select 1");
    let run = |job: i64| {
        cluster.one_with::<i64>("select cron.run_now($1::bigint, wait => true)", &[&job])
    };
    for job in [job, anns, job, anns] {
        run(job);
    }
    agree(&cluster);
    // Whoever rolls back has not asked; whoever keeps his transaction open holds up nobody.
    let mut ann = cluster.client_as("ann");
    let mut open = ann.transaction().unwrap();
    assert_eq!(open.query_one("select cron.reset_stats()", &[]).unwrap().get::<_, i64>(0), 1);
    let refused = cluster
        .client_as("ann")
        .execute("select cron.reset_stats($1::bigint)", &[&job])
        .unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
    cluster.sql(&format!("select cron.reset_stats({job})"));
    cluster.wait_for(&format!(
        "exists (select from cron.job_stats where jobid = {job} and total_runs = 0 and failed_runs = 0 \
         and consecutive_failures = 0 and p99_duration_ms is null and last_run_at is not null \
         and last_status = 'failed' and counted_since > last_run_at)"
    ));
    assert!(figure(&cluster, anns, "total_runs") >= 2.0);
    open.rollback().unwrap();
    cluster.flush();
    assert!(figure(&cluster, anns, "total_runs") >= 2.0);
    cluster.client_as("ann").execute("select cron.reset_stats('tock')", &[]).unwrap();
    cluster.wait_for(&format!(
        "exists (select from cron.job_stats where jobid = {anns} and total_runs = 0)"
    ));
    assert_eq!(cluster.one::<i64>("select count(*) from cron.stat_reset"), 0);
    // Hours keep what was.
    assert!(cluster.one::<bool>("select bool_and(total_runs >= 2) from cron.job_stats_hourly"));
    // And counting goes on, of new runs only.
    run(anns);
    cluster.flush();
    assert_eq!(figure(&cluster, anns, "total_runs"), 1.0);
    cluster.sql("checkpoint"); // none of this need be on disk
    cluster.crash();
    cluster.wait_scheduler();
    cluster.flush();
    assert_eq!(figure(&cluster, anns, "total_runs"), 1.0);
}

#[test]
fn a_history_from_elsewhere_is_counted_while_jobs_go_on() {
    let cluster = Cluster::start();
    let old = cluster.schedule("old", "@yearly", "select 1");
    let tick = cluster.schedule("tick", "1 second", "select 1");
    let _ = cluster.finished_run(tick);
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time, \
          scheduled_for, attempt, trigger, outcome, row_count, usage) \
         select {old}, nextval('cron.runid_seq'), 'postgres', 'postgres', 'select 1', 'succeeded', at, at + interval '40 ms', \
          at, 1, 'schedule', 'succeeded', 2, '{{\"wal_bytes\": 10}}' \
         from (select now() - n * interval '7 minutes' as at from generate_series(1, 3000) n) h"
    ));
    let before = cluster.finished_runs_of(tick).len();
    let _ = cluster.finished_runs(tick, before + 1);
    cluster.wait_for(&format!(
        "exists (select from cron.job_stats where jobid = {old} and total_runs = 3000 and rows = 6000 and wal_bytes = 30000)"
    ));
    let median = figure(&cluster, old, "p50_duration_ms");
    assert!((median - 40.0).abs() < 40.0 * 0.032, "{median}");
    cluster.stop_all_jobs();
    agree(&cluster);
    let hours: i64 =
        cluster.one(&format!("select count(*) from cron.job_stats_hourly where jobid = {old}"));
    assert!((349..=352).contains(&hours), "{hours}");
    let days: i64 =
        cluster.one(&format!("select count(*) from cron.job_stats_daily where jobid = {old}"));
    assert!((15..=17).contains(&days), "{days}");
}

#[test]
fn hours_and_days_go_when_they_are_old_or_their_job_is_gone() {
    let cluster = Cluster::builder()
        .conf("cron.keep_hourly_stats", "10")
        .conf("cron.keep_daily_stats", "20")
        .start();
    let job = cluster.schedule("job", "@yearly", "select 1");
    let gone = cluster.schedule("gone", "@yearly", "select 1");
    for (table, column, step, count) in
        [("hour", "hour", "1 hour", 3_000), ("day", "day", "24 hours", 3_000)]
    {
        cluster.sql(&format!(
            "insert into cron.job_stat_{table} (jobid, {column}, total_runs) \
             select job, (date_trunc('day', now(), 'UTC') - n * interval '{step}') at time zone 'UTC', 1 \
             from generate_series(1, {count}) n, unnest(array[{job}, {gone}]) job"
        ));
    }
    cluster.unschedule(gone);
    assert!(cluster.one::<bool>("select cron.prune()"));
    cluster.wait_for(
        "(select count(*) between 216 and 240 from cron.job_stat_hour) \
         and (select count(*) between 19 and 20 from cron.job_stat_day)",
    );
    assert_eq!(
        cluster.column::<i64>(
            "select jobid from cron.job_stat_hour union select jobid from cron.job_stat_day"
        ),
        [job]
    );
    assert!(cluster.one::<bool>(
        "select min(hour) > now() - interval '10 days 1 hour' from cron.job_stat_hour"
    ));
    assert!(cluster.one::<bool>(
        "select min(day) >= (now() at time zone 'UTC')::date - 20 from cron.job_stat_day"
    ));
    // What is kept for ever stays.
    cluster.conf("cron.keep_daily_stats", "0");
    cluster.reload();
    cluster.sql(&format!(
        "insert into cron.job_stat_day (jobid, day) values ({job}, '2000-01-01'); \
         insert into cron.job_stat_hour (jobid, hour) values ({job}, '2000-01-01')"
    ));
    assert!(cluster.one::<bool>("select cron.prune()"));
    cluster.wait_for("not exists (select from cron.job_stat_hour where hour < '2001-01-01')");
    assert!(
        cluster
            .one::<bool>("select exists (select from cron.job_stat_day where day = '2000-01-01')")
    );
}

#[test]
fn statistics_outlive_the_history_they_were_made_of() {
    let cluster = Cluster::start();
    let job = cluster.schedule("job", "@yearly", "select 1");
    // As its history is: 100 days ago even what failed has just been deleted.
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time, \
          scheduled_for, attempt, trigger, outcome, row_count) \
         select {job}, nextval('cron.runid_seq'), 'postgres', 'postgres', 'select 1', status, at, at + interval '40 ms', \
          at, 1, 'schedule', status, 2 \
         from (select now() - n * interval '1 day' as at, case when n % 4 = 0 then 'failed' else 'succeeded' end \
          from generate_series(0, 100) n) h (at, status) order by at"
    ));
    cluster.wait_for(&format!(
        "exists (select from cron.job_stats where jobid = {job} and total_runs = 101 and failed_runs = 26)"
    ));
    agree(&cluster);
    let views = ["job_stats", "job_stats_hourly", "job_stats_daily"];
    let all = || {
        views.map(|view| -> Vec<String> {
            cluster.column(&format!("select s::text from cron.{view} s order by 1"))
        })
    };
    let before = all();
    assert_eq!(before.each_ref().map(Vec::len), [1, 101, 101]);
    // Once these have gone, so has whatever else was to go.
    cluster.sql(&format!(
        "insert into cron.job_stat_hour (jobid, hour) values ({job}, '2000-01-01'); \
         insert into cron.job_stat_day (jobid, day) values ({job}, '2000-01-01')"
    ));
    cluster.prune();
    cluster.wait_for(
        "not exists (select from cron.job_stat_hour where hour < '2001-01-01') \
         and not exists (select from cron.job_stat_day where day < '2001-01-01')",
    );
    let left = cluster.one::<i64>("select count(*) from cron.job_run_details");
    assert!((40..=50).contains(&left), "{left} of 101 runs are left");
    assert_eq!(all(), before);
}

/// What hours or days should say, from ledger and skips: differences, as text. Runs belong to where they
/// started, stretches of skipped occurrences to where they end.
fn misplaced(unit: &str, start: &str) -> String {
    format!(
        "with run as (select jobid, date_trunc('{unit}', start_time, 'UTC') as at, count(*) as total, \
          count(*) filter (where outcome = 'succeeded') as good, \
          count(*) filter (where outcome = 'cancelled') as cancelled, sum(row_count) as rows \
          from cron.job_run_details where end_time is not null group by 1, 2), \
         skip as (select jobid, date_trunc('{unit}', last_at, 'UTC') as at, sum(count) as skipped \
          from cron.job_skip group by 1, 2), \
         said as (select jobid, {start} as at, total_runs, successful_runs, cancelled_runs, rows, \
          skipped_runs from cron.job_stat_{unit}) \
         select concat_ws(' ', jobid, at, to_jsonb(said), to_jsonb(run), to_jsonb(skip)) \
         from said full join run using (jobid, at) full join skip using (jobid, at) \
         where (said.total_runs, said.successful_runs, said.cancelled_runs, said.rows, said.skipped_runs) \
          is distinct from (coalesce(run.total, 0), coalesce(run.good, 0), coalesce(run.cancelled, 0), \
           coalesce(run.rows, 0)::bigint, coalesce(skip.skipped, 0)::bigint)"
    )
}

/// Midnight in UTC, which is not where this server's users live.
#[test]
fn hours_and_days_change_when_they_do() {
    let midnight = utc(2026, 6, 2, 0, 0, 0);
    let cluster = Cluster::builder()
        .clock(midnight - 90)
        .conf("timezone", "Asia/Tokyo")
        .conf("cron.timezone", "UTC")
        .start();
    let tick = cluster.schedule("tick", "1 second", "select generate_series(1, 3)");
    let long = cluster.schedule("long", "1 second", "select pg_sleep(3600)");
    let rests = cluster.schedule("rests", "1 second", "select 1");
    cluster.sql(&format!("select cron.pause({rests}, '2026-06-02 00:00:02+00')"));
    let _ = cluster.run_in_status(long, "running");
    let _ = cluster.finished_run(tick);
    assert!(cluster.now() < midnight, "this machine is too slow for this scenario");
    cluster.step_clock((midnight - 3 - cluster.now()).max(0));
    cluster.wait_for("now() > '2026-06-02 00:00:04+00'");
    // A run that began before midnight ends after it.
    cluster.sql(&format!("update cron.job set active = false where jobid = {long}"));
    let _ = cluster.finished_run(long);
    cluster.wait_for(&format!("(select count(*) > 0 from cron.job_skip where jobid = {rests})"));
    cluster.stop_all_jobs();
    agree(&cluster);
    let hours: Vec<String> = cluster.column(
        "select distinct (hour at time zone 'UTC')::text from cron.job_stats_hourly \
         where jobname = 'tick' and total_runs > 0 order by 1",
    );
    assert_eq!(hours, ["2026-06-01 23:00:00", "2026-06-02 00:00:00"]);
    let days: Vec<String> = cluster.column(
        "select day::text from cron.job_stats_daily where jobname = 'tick' and total_runs > 0 order by 1",
    );
    assert_eq!(days, ["2026-06-01", "2026-06-02"]);
    let cancelled: Vec<String> = cluster.column(
        "select concat_ws(' ', day, cancelled_runs, max_duration_ms > 1000) from cron.job_stats_daily \
         where jobname = 'long' and total_runs > 0",
    );
    assert_eq!(cancelled, ["2026-06-01 1 t"]);
    for (unit, start) in [("hour", "hour"), ("day", "day::timestamp at time zone 'UTC'")] {
        assert_eq!(cluster.column::<String>(&misplaced(unit, start)), [""; 0], "{unit}");
    }
}
