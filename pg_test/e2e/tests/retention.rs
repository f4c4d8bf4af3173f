//! How long history is kept.

use pg_tock_test::Cluster;

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
    cluster.wait_counted();
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
    cluster.prune();
    assert_eq!(
        left(&cluster, job),
        ["failure failed", "recovery failed succeeded", "young succeeded", "newest succeeded"]
    );
    // A job's last run stays, however old.
    let other = dormant(&cluster, "other");
    history(&cluster, other, &[(500, "succeeded", "old"), (400, "succeeded", "newest")]);
    cluster.prune();
    assert_eq!(left(&cluster, other), ["newest succeeded"]);
    // It goes when its job has gone.
    cluster.unschedule(other);
    cluster.flush();
    cluster.prune();
    assert!(left(&cluster, other).is_empty());
}

#[test]
fn a_job_says_how_long_its_runs_are_kept() {
    let cluster = Cluster::start();
    let options = |name: &str, more: &str| -> i64 {
        cluster.one(&format!("select cron.create_job('{name}', '0 0 1 1 *', 'select 1', {more})"))
    };
    let rows: [(i32, &str, &str); 6] = [
        (400, "succeeded", "a"),
        (100, "failed", "b"),
        (50, "failed succeeded", "c"),
        (40, "succeeded", "d"),
        (3, "failed", "e"),
        (1, "succeeded", "f"),
    ];
    let week = options("week", "keep_days => 7");
    let ever = options("ever", "keep_days => 0");
    let both = options("both", "keep_days => 45, keep_runs => 2");
    let plain = options("plain", "description => 'cluster-wide rules'");
    for job in [week, ever, both, plain] {
        history(&cluster, job, &rows);
    }
    // Rows that pg_cron has left are for no occurrence.
    cluster.sql(&format!(
        "insert into cron.job_run_details (jobid, jobname, username, status, outcome, start_time, end_time) \
         select job, 'pg_cron', 'postgres', 'succeeded', 'succeeded', at, at \
         from unnest(array[{week}, {ever}, {both}, {plain}]) job, \
          unnest(array[now() - interval '60 days', now() - interval '20 days', now()]) at"
    ));
    cluster.wait_counted();
    cluster.prune();
    assert_eq!(left(&cluster, week), ["e failed", "f succeeded", "pg_cron succeeded"]);
    assert_eq!(left(&cluster, ever).len(), 7);
    assert_eq!(
        left(&cluster, both),
        ["d succeeded", "e failed", "f succeeded", "pg_cron succeeded succeeded"]
    );
    assert_eq!(
        left(&cluster, plain),
        ["c failed succeeded", "e failed", "f succeeded", "pg_cron succeeded succeeded"]
    );
}

#[test]
fn the_newest_runs_are_kept_of_each_kind() {
    let cluster = Cluster::builder().conf("cron.default_keep_runs", "3").start();
    let common = dormant(&cluster, "common");
    let one: i64 =
        cluster.one("select cron.create_job('one', '0 0 1 1 *', 'select 1', keep_runs => 1)");
    let all: i64 =
        cluster.one("select cron.create_job('all', '0 0 1 1 *', 'select 1', keep_runs => 0)");
    let rows: Vec<(i32, &str, &str)> = vec![
        (20, "failed", "f1"),
        (19, "failed succeeded", "r1"),
        (18, "succeeded", "s1"),
        (17, "failed failed succeeded", "r2"),
        (16, "succeeded", "s2"),
        (15, "succeeded", "s3"),
        (14, "failed", "f2"),
        (13, "succeeded", "s4"),
    ];
    for job in [common, one, all] {
        history(&cluster, job, &rows);
    }
    cluster.prune();
    assert_eq!(
        left(&cluster, common),
        // Of r2 the first attempt goes, and never the last one alone.
        ["r2 failed succeeded", "s2 succeeded", "s3 succeeded", "f2 failed", "s4 succeeded"]
    );
    assert_eq!(left(&cluster, one), ["f2 failed", "s4 succeeded"]);
    assert_eq!(left(&cluster, all).len(), rows.len());
    assert_eq!(
        cluster.one::<i64>("select count(*) from cron.dead_letters where jobname like 'r%'"),
        0
    );
}

/// A server where everything is old after a day.
fn forgetful() -> Cluster {
    Cluster::builder()
        .conf("cron.default_keep_days", "1")
        .conf("cron.default_keep_days_failed", "1")
        .start()
}

#[test]
fn what_is_needed_stays() {
    let cluster = forgetful();
    let job = dormant(&cluster, "job");
    history(
        &cluster,
        job,
        &[
            (9, "succeeded", "old"),
            (8, "failed", "asked for"),
            (4, "succeeded", "locked"),
            (3, "succeeded", "newest"),
            (6, "succeeded", "under way"),
        ],
    );
    let of = |name: &str| format!("jobid = {job} and jobname = '{name}'");
    cluster.sql(&format!(
        "insert into cron.run_request (jobid, scheduled_for, attempt, trigger, requested_by, not_before) \
         select jobid, scheduled_for, 2, 'retry', null, now() + interval '1 hour' \
         from cron.job_run_details where {}",
        of("asked for")
    ));
    cluster.sql(&format!(
        "update cron.job_run_details set end_time = null, status = 'running' where {}",
        of("under way")
    ));
    let mut other = cluster.client();
    let mut transaction = other.transaction().expect("begin");
    let lock = format!("select from cron.job_run_details where {} for key share", of("locked"));
    transaction.execute(&lock, &[]).expect("a row to lock");
    cluster.prune();
    assert_eq!(
        left(&cluster, job),
        ["asked for failed", "under way succeeded", "locked succeeded", "newest succeeded"]
    );
    transaction.commit().expect("commit");
    cluster.sql("delete from cron.run_request");
    cluster.prune();
    assert_eq!(left(&cluster, job), ["under way succeeded", "newest succeeded"]);
}

#[test]
fn runs_stay_until_they_are_accounted_for() {
    let cluster = forgetful();
    let job = dormant(&cluster, "job");
    let rows = [
        (9, "succeeded", "a"),
        (8, "succeeded", "b"),
        (7, "succeeded", "c"),
        (6, "succeeded", "d"),
        (5, "succeeded", "e"),
    ];
    history(&cluster, job, &rows);
    let counted = "update cron.engine_state set counted_below = \
                   (select runid from cron.job_run_details where jobname = 'b')";
    // What waits to be counted would move the mark.
    cluster.flush();
    cluster.sql(counted);
    cluster.prune();
    assert_eq!(left(&cluster, job).len(), 4);
    cluster.sql("update cron.engine_state set counted_below = 1000");
    // Beyond how far its job has come a row keeps its occurrence from running again.
    cluster.sql(
        "update cron.job_state set effective_from = now() - interval '30 days', \
                 cursor = (select scheduled_for from cron.job_run_details where jobname = 'c')",
    );
    cluster.prune();
    assert_eq!(left(&cluster, job), ["d succeeded", "e succeeded"]);
    cluster.sql("update cron.job_state set cursor = now()");
    cluster.prune();
    assert_eq!(left(&cluster, job), ["e succeeded"]);
}

#[test]
fn what_belongs_to_runs_goes_with_them() {
    let cluster = forgetful();
    let job = dormant(&cluster, "job");
    let kept = cluster
        .one::<i64>("select cron.create_job('kept', '0 0 1 1 *', 'select 1', keep_days => 0)");
    let rows = [(9, "succeeded", "old"), (3, "failed", "stays"), (2, "succeeded", "stays as well")];
    for job in [job, kept] {
        history(&cluster, job, &rows[..]);
    }
    cluster.sql(
        "insert into cron.run_log (runid, jobid, at, level, message, username) \
         select runid, jobid, end_time, 'info', jobname, 'postgres' from cron.job_run_details \
         union all select -5, 1, now() - interval '9 days', 'info', 'stray', 'postgres' \
         union all select -4, 1, now(), 'info', 'young', 'postgres'",
    );
    cluster.sql(
        "insert into cron.run_checkpoint (jobid, scheduled_for, runid, at) \
         select jobid, scheduled_for, runid, end_time from cron.job_run_details \
         union all select 1, '2020-01-01', 1, '2020-01-01' union all select 1, '2020-01-02', 1, now()",
    );
    cluster.sql(&format!(
        "update cron.job_state set cursor = now(); \
         insert into cron.job_skip select job, 'paused', at, at, 1 \
         from unnest(array[{job}, {kept}]) job, \
          unnest(array[now() - interval '9 days', now() - interval '1 hour', now() + interval '1 hour']) at"
    ));
    cluster.prune();
    assert_eq!(left(&cluster, job), ["stays as well succeeded"]);
    assert_eq!(left(&cluster, kept).len(), 3);
    let logs: Vec<String> = cluster.column("select message from cron.run_log order by runid");
    assert_eq!(logs, ["young", "stays as well", "old", "stays", "stays as well"]);
    assert_eq!(cluster.one::<i64>("select count(*) from cron.run_checkpoint"), 5);
    let skips = |job: i64| -> i64 {
        cluster.one_with("select count(*) from cron.job_skip where jobid = $1", &[&job])
    };
    assert_eq!((skips(job), skips(kept)), (2, 3));
}

#[test]
fn alerts_go_once_they_have_been_over_for_as_long_as_failed_runs_are_kept() {
    let cluster = Cluster::start();
    let jobs = ["job", "gone", "ever"].map(|name| dormant(&cluster, name));
    cluster.sql("select cron.set_job('ever', '{\"keep_days\": 0}')");
    cluster.unschedule(jobs[1]);
    cluster.flush();
    for job in jobs {
        cluster.sql(&format!(
            "insert into cron.alert (jobid, username, rule, message, detail, raised_at, recovered_at, recovery) \
             select {job}, 'postgres', 'failures', message, '{{}}', now() - raised * interval '24 hours', \
              now() - recovered * interval '24 hours', 'recovered' \
             from (values (500, 91, 'old'), (500, 89, 'long'), (91, 90.001, 'just too old'), (1, 0, 'new')) \
              v (raised, recovered, message)"
        ));
    }
    cluster.sql(&format!(
        "insert into cron.alert (jobid, username, rule, message, detail, raised_at) \
         values ({}, 'postgres', 'slow', 'open', '{{}}', now() - interval '500 days')",
        jobs[2]
    ));
    cluster.prune();
    let left: Vec<String> = cluster.column(
        "select message || ' ' || count(*) from cron.alert group by message order by message",
    );
    assert_eq!(left, ["long 3", "new 3", "open 1"]);
    // Where failed runs are kept for ever, alerts are as well.
    cluster.conf("cron.default_keep_days_failed", "0");
    cluster.reload();
    cluster.wait_for("current_setting('cron.default_keep_days_failed') = '0'");
    cluster.sql("update cron.alert set recovered_at = raised_at where recovered_at is not null");
    cluster.prune();
    assert_eq!(cluster.one::<i64>("select count(*) from cron.alert"), 7);
}

#[test]
fn a_locked_ledger_keeps_nobody_waiting() {
    let cluster = forgetful();
    let job = dormant(&cluster, "job");
    history(&cluster, job, &[(9, "succeeded", "old"), (3, "succeeded", "newest")]);
    let mut other = cluster.client();
    let mut transaction = other.transaction().expect("begin");
    transaction.batch_execute("lock table cron.job_run_details in exclusive mode").expect("lock");
    cluster.sql("select cron.prune()");
    // It has tried, and does not stand in the queue for the lock.
    cluster.wait_for("exists (select from pg_stat_activity where backend_type = 'pg_tock keeper' and query <> '')");
    let waiting = "select count(*) from pg_locks where not granted";
    assert_eq!(cluster.one::<i64>(waiting), 0);
    assert_eq!(left(&cluster, job).len(), 2);
    transaction.commit().expect("commit");
    cluster.wait_for("exists (select from cron.keeper_state)");
    assert_eq!(left(&cluster, job), ["newest succeeded"]);
}

#[test]
fn a_row_out_of_range_keeps_nobody_from_pruning() {
    let cluster = Cluster::start();
    let (odd, job) = (dormant(&cluster, "odd"), dormant(&cluster, "job"));
    let old = [(400, "succeeded", "old"), (0, "succeeded", "new")];
    history(&cluster, odd, &old);
    history(&cluster, job, &old);
    // As a row from before the table refused that, or from somebody who has taken the constraint away.
    cluster.sql("alter table cron.job drop constraint job_keep_days_check");
    for (days, kept) in [(200_000_000, 2), (-200_000_000, 2)] {
        cluster.sql(&format!("update cron.job set keep_days = {days} where jobid = {odd}"));
        cluster.sql(&format!("update cron.job set keep_days = 300 where jobid = {job}"));
        cluster.prune();
        assert_eq!(left(&cluster, odd).len(), kept, "{days}");
        assert_eq!(left(&cluster, job), ["new succeeded"]);
    }
}
