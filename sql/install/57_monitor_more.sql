-- The rest of what is for monitoring: what runs, what comes, what did not run, what failed for good, alerts, hours and
-- days. As in 56_monitor.sql: with the rights of their owner, about everybody's jobs, granted to nobody, and without
-- commands, parameters, settings, messages, errors and whatever jobs and people have noted in their own words.

CREATE FUNCTION cron.monitored_runs(
    OUT jobid bigint,
    OUT runid bigint,
    OUT job_pid int,
    OUT database text,
    OUT username text,
    OUT scheduled_for timestamptz,
    OUT started_at timestamptz,
    OUT trigger text,
    OUT attempt int,
    OUT progress double precision,
    OUT heartbeat_at timestamptz,
    OUT stuck boolean,
    OUT deadline timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'cron_monitored_runs_wrapper';
COMMENT ON FUNCTION cron.monitored_runs()
    IS 'the runs under way now, of all jobs for whoever may read cron.monitor_running, and else of the jobs the caller owns';

CREATE VIEW cron.monitor_running WITH (security_barrier = true) AS
SELECT
    run.jobid,
    job.jobname,
    run.runid,
    run.job_pid,
    run.database,
    run.username,
    run.scheduled_for,
    run.started_at,
    pg_catalog.clock_timestamp() - run.started_at AS elapsed,
    run.trigger,
    run.attempt,
    run.progress,
    run.heartbeat_at,
    run.stuck,
    run.deadline,
    stat.p95_duration_ms * interval '1 millisecond' AS p95_duration
FROM cron.monitored_runs() AS run
LEFT JOIN cron.job AS job ON job.jobid = run.jobid
LEFT JOIN cron.job_stat AS stat ON stat.jobid = run.jobid;

COMMENT ON VIEW cron.monitor_running IS 'cron.running of all jobs, without what runs have noted; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_running.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_running.jobname IS 'its name';
COMMENT ON COLUMN cron.monitor_running.runid IS 'id of the run';
COMMENT ON COLUMN cron.monitor_running.job_pid IS 'process that runs it, as in pg_stat_activity';
COMMENT ON COLUMN cron.monitor_running.database IS 'the database it runs in';
COMMENT ON COLUMN cron.monitor_running.username IS 'the role it runs as';
COMMENT ON COLUMN cron.monitor_running.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.monitor_running.started_at IS 'when it started';
COMMENT ON COLUMN cron.monitor_running.elapsed IS 'how long it has been running';
COMMENT ON COLUMN cron.monitor_running.trigger IS 'why it runs: schedule, manual, retry, catch_up, backfill, startup, dependency or alert';
COMMENT ON COLUMN cron.monitor_running.attempt IS 'which attempt at this occurrence, from 1';
COMMENT ON COLUMN cron.monitor_running.progress IS 'how much it has done, in percent, as it said with cron.heartbeat';
COMMENT ON COLUMN cron.monitor_running.heartbeat_at IS 'when it called cron.heartbeat last';
COMMENT ON COLUMN cron.monitor_running.stuck IS 'true if it has given no heartbeat for as long as its job''s stuck_after says';
COMMENT ON COLUMN cron.monitor_running.deadline IS 'when it is cancelled, if its job has a timeout';
COMMENT ON COLUMN cron.monitor_running.p95_duration IS '95 percent of the job''s runs took no longer; NULL before the first one ended';

CREATE VIEW cron.monitor_upcoming WITH (security_barrier = true) AS
SELECT
    job.next_run_at AS run_at,
    job.next_run_at - pg_catalog.clock_timestamp() AS starts_in,
    job.jobid,
    job.jobname,
    job.schedule,
    job.timezone,
    job.database,
    job.username,
    job.state
FROM cron.monitor_jobs AS job
WHERE job.next_run_at IS NOT NULL
ORDER BY job.next_run_at, job.jobid;

COMMENT ON VIEW cron.monitor_upcoming IS 'cron.upcoming of all jobs; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_upcoming.run_at IS 'when the job starts next';
COMMENT ON COLUMN cron.monitor_upcoming.starts_in IS 'how long until then';
COMMENT ON COLUMN cron.monitor_upcoming.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_upcoming.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.monitor_upcoming.schedule IS 'when it is due, as written';
COMMENT ON COLUMN cron.monitor_upcoming.timezone IS 'the time zone in force';
COMMENT ON COLUMN cron.monitor_upcoming.database IS 'the database it runs in';
COMMENT ON COLUMN cron.monitor_upcoming.username IS 'the role it runs as';
COMMENT ON COLUMN cron.monitor_upcoming.state IS 'scheduled or paused, as in cron.monitor_jobs';

CREATE VIEW cron.monitor_skips WITH (security_barrier = true) AS
SELECT
    skip.jobid,
    job.jobname,
    job.username,
    skip.reason,
    skip.first_at,
    skip.last_at,
    skip.count
FROM cron.job_skip AS skip
LEFT JOIN cron.job AS job ON job.jobid = skip.jobid;

COMMENT ON VIEW cron.monitor_skips IS 'all occurrences that were due and did not run; for whoever it is granted to; ask for a jobid, which is an index scan';
COMMENT ON COLUMN cron.monitor_skips.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_skips.jobname IS 'its name; NULL if it has none, or is gone';
COMMENT ON COLUMN cron.monitor_skips.username IS 'the role it runs as; NULL if it is gone';
COMMENT ON COLUMN cron.monitor_skips.reason IS 'why they did not run: one of the words of cron.job_skip';
COMMENT ON COLUMN cron.monitor_skips.first_at IS 'the first of these occurrences';
COMMENT ON COLUMN cron.monitor_skips.last_at IS 'the last of these occurrences';
COMMENT ON COLUMN cron.monitor_skips.count IS 'how many they are';

CREATE VIEW cron.monitor_dead_letters WITH (security_barrier = true) AS
SELECT
    run.jobid,
    run.jobname,
    run.username,
    run.runid,
    run.scheduled_for,
    run.attempt AS attempts,
    run.outcome,
    run.sqlstate,
    run.end_time
FROM cron.job_run_details AS run
WHERE run.status = 'failed'
    AND run.outcome IN ('failed', 'timeout', 'crashed')
    AND NOT pg_catalog.starts_with(coalesce(run.reason, ''), 'resolved as ')
    AND NOT EXISTS (
        SELECT FROM cron.job_run_details AS later
        WHERE later.jobid = run.jobid AND later.scheduled_for = run.scheduled_for AND later.attempt > run.attempt
        OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM cron.run_request AS request
        WHERE request.jobid = run.jobid AND request.scheduled_for = run.scheduled_for
        OFFSET 0)
ORDER BY run.runid DESC;

COMMENT ON VIEW cron.monitor_dead_letters IS 'cron.dead_letters of all jobs, without errors; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_dead_letters.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_dead_letters.jobname IS 'its name, as it was then';
COMMENT ON COLUMN cron.monitor_dead_letters.username IS 'the role it ran as';
COMMENT ON COLUMN cron.monitor_dead_letters.runid IS 'the last attempt, as cron.retry_run and cron.resolve_run want it';
COMMENT ON COLUMN cron.monitor_dead_letters.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.monitor_dead_letters.attempts IS 'how many attempts there were';
COMMENT ON COLUMN cron.monitor_dead_letters.outcome IS 'how the last one ended: failed, timeout or crashed';
COMMENT ON COLUMN cron.monitor_dead_letters.sqlstate IS 'SQLSTATE of its error';
COMMENT ON COLUMN cron.monitor_dead_letters.end_time IS 'when it ended';

CREATE VIEW cron.monitor_alerts WITH (security_barrier = true) AS
SELECT
    alert.id,
    alert.jobid,
    alert.jobname,
    alert.username,
    alert.rule,
    alert.recovered_at IS NULL AS open,
    alert.raised_at,
    alert.recovered_at,
    coalesce(alert.recovered_at, pg_catalog.clock_timestamp()) - alert.raised_at AS lasted,
    alert.recovery,
    alert.message,
    alert.runid,
    alert.outcome,
    alert.detail,
    alert.handler
FROM cron.alert AS alert
ORDER BY alert.recovered_at DESC NULLS FIRST, alert.raised_at DESC, alert.id DESC;

COMMENT ON VIEW cron.monitor_alerts IS 'cron.alerts of all jobs; what they say has numbers in it and nothing that a job or an error has said; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_alerts.id IS 'number of the alert';
COMMENT ON COLUMN cron.monitor_alerts.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_alerts.jobname IS 'its name, as it was then; NULL if it had none';
COMMENT ON COLUMN cron.monitor_alerts.username IS 'its owner; once the alert is over, as it was then';
COMMENT ON COLUMN cron.monitor_alerts.rule IS 'what it is about: failures, slow, stuck, absent or success_rate';
COMMENT ON COLUMN cron.monitor_alerts.open IS 'true if it is not over';
COMMENT ON COLUMN cron.monitor_alerts.raised_at IS 'since when';
COMMENT ON COLUMN cron.monitor_alerts.recovered_at IS 'until when; NULL while it is open';
COMMENT ON COLUMN cron.monitor_alerts.lasted IS 'how long it took, or has been open';
COMMENT ON COLUMN cron.monitor_alerts.recovery IS 'why it is over: recovered, job changed or job dropped';
COMMENT ON COLUMN cron.monitor_alerts.message IS 'what was found';
COMMENT ON COLUMN cron.monitor_alerts.runid IS 'the run it was raised for; NULL if there is none';
COMMENT ON COLUMN cron.monitor_alerts.outcome IS 'how that run had ended; NULL if it was under way';
COMMENT ON COLUMN cron.monitor_alerts.detail IS 'what was found, in numbers';
COMMENT ON COLUMN cron.monitor_alerts.handler IS 'name of the job that is run for it; NULL for none';

CREATE VIEW cron.monitor_stats_hourly WITH (security_barrier = true) AS
SELECT
    stat.jobid,
    job.jobname,
    job.username,
    stat.hour,
    stat.total_runs,
    stat.successful_runs,
    stat.total_runs - stat.successful_runs AS failed_runs,
    cron.shown_percent(stat.successful_runs, stat.total_runs) AS success_rate,
    stat.skipped_runs,
    stat.timed_out_runs,
    stat.cancelled_runs,
    stat.crashed_runs,
    stat.retried_runs,
    cron.shown_ms(stat.total_ms, stat.total_runs) AS avg_duration_ms,
    CASE WHEN stat.total_runs > 0 THEN cron.shown_ms(stat.max_ms) END AS max_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.durations, 0.5, stat.max_ms)) AS p50_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.durations, 0.95, stat.max_ms)) AS p95_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.durations, 0.99, stat.max_ms)) AS p99_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.start_lags, 0.5)) AS p50_start_lag_ms,
    cron.shown_ms(cron.sketch_quantile(stat.start_lags, 0.95)) AS p95_start_lag_ms,
    cron.shown_ms(cron.sketch_quantile(stat.start_lags, 0.99)) AS p99_start_lag_ms,
    stat.wal_bytes,
    stat.rows
FROM cron.job_stat_hour AS stat
JOIN cron.job AS job ON job.jobid = stat.jobid;

COMMENT ON VIEW cron.monitor_stats_hourly IS 'cron.job_stats_hourly of all jobs; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_stats_hourly.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_stats_hourly.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.monitor_stats_hourly.username IS 'the role it runs as';
COMMENT ON COLUMN cron.monitor_stats_hourly.hour IS 'start of the hour';
COMMENT ON COLUMN cron.monitor_stats_hourly.total_runs IS 'runs that started in this hour and have ended';
COMMENT ON COLUMN cron.monitor_stats_hourly.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.monitor_stats_hourly.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.monitor_stats_hourly.success_rate IS 'successful_runs in percent of total_runs; NULL if there are none';
COMMENT ON COLUMN cron.monitor_stats_hourly.skipped_runs IS 'occurrences that were due and did not run; a stretch of them counts where it ends';
COMMENT ON COLUMN cron.monitor_stats_hourly.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.monitor_stats_hourly.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.monitor_stats_hourly.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.monitor_stats_hourly.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.monitor_stats_hourly.avg_duration_ms IS 'mean duration of a run in milliseconds';
COMMENT ON COLUMN cron.monitor_stats_hourly.max_duration_ms IS 'longest duration of a run in milliseconds';
COMMENT ON COLUMN cron.monitor_stats_hourly.p50_duration_ms IS 'half of the runs took no longer than this many milliseconds; within 3.2 percent, as all of these';
COMMENT ON COLUMN cron.monitor_stats_hourly.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.monitor_stats_hourly.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.monitor_stats_hourly.p50_start_lag_ms IS 'half of the runs started no later than this many milliseconds after their instant, as in cron.job_stats';
COMMENT ON COLUMN cron.monitor_stats_hourly.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.monitor_stats_hourly.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON COLUMN cron.monitor_stats_hourly.wal_bytes IS 'WAL the runs have written, in bytes';
COMMENT ON COLUMN cron.monitor_stats_hourly.rows IS 'rows their statements have returned or changed';

CREATE VIEW cron.monitor_stats_daily WITH (security_barrier = true) AS
SELECT
    stat.jobid,
    job.jobname,
    job.username,
    stat.day,
    stat.total_runs,
    stat.successful_runs,
    stat.total_runs - stat.successful_runs AS failed_runs,
    cron.shown_percent(stat.successful_runs, stat.total_runs) AS success_rate,
    stat.skipped_runs,
    stat.timed_out_runs,
    stat.cancelled_runs,
    stat.crashed_runs,
    stat.retried_runs,
    cron.shown_ms(stat.total_ms, stat.total_runs) AS avg_duration_ms,
    CASE WHEN stat.total_runs > 0 THEN cron.shown_ms(stat.max_ms) END AS max_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.durations, 0.5, stat.max_ms)) AS p50_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.durations, 0.95, stat.max_ms)) AS p95_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.durations, 0.99, stat.max_ms)) AS p99_duration_ms,
    cron.shown_ms(cron.sketch_quantile(stat.start_lags, 0.5)) AS p50_start_lag_ms,
    cron.shown_ms(cron.sketch_quantile(stat.start_lags, 0.95)) AS p95_start_lag_ms,
    cron.shown_ms(cron.sketch_quantile(stat.start_lags, 0.99)) AS p99_start_lag_ms,
    stat.wal_bytes,
    stat.rows
FROM cron.job_stat_day AS stat
JOIN cron.job AS job ON job.jobid = stat.jobid;

COMMENT ON VIEW cron.monitor_stats_daily IS 'cron.job_stats_daily of all jobs; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_stats_daily.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_stats_daily.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.monitor_stats_daily.username IS 'the role it runs as';
COMMENT ON COLUMN cron.monitor_stats_daily.day IS 'the day, in UTC';
COMMENT ON COLUMN cron.monitor_stats_daily.total_runs IS 'runs that started in this day and have ended';
COMMENT ON COLUMN cron.monitor_stats_daily.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.monitor_stats_daily.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.monitor_stats_daily.success_rate IS 'successful_runs in percent of total_runs; NULL if there are none';
COMMENT ON COLUMN cron.monitor_stats_daily.skipped_runs IS 'occurrences that were due and did not run; a stretch of them counts where it ends';
COMMENT ON COLUMN cron.monitor_stats_daily.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.monitor_stats_daily.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.monitor_stats_daily.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.monitor_stats_daily.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.monitor_stats_daily.avg_duration_ms IS 'mean duration of a run in milliseconds';
COMMENT ON COLUMN cron.monitor_stats_daily.max_duration_ms IS 'longest duration of a run in milliseconds';
COMMENT ON COLUMN cron.monitor_stats_daily.p50_duration_ms IS 'half of the runs took no longer than this many milliseconds; within 3.2 percent, as all of these';
COMMENT ON COLUMN cron.monitor_stats_daily.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.monitor_stats_daily.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.monitor_stats_daily.p50_start_lag_ms IS 'half of the runs started no later than this many milliseconds after their instant, as in cron.job_stats';
COMMENT ON COLUMN cron.monitor_stats_daily.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.monitor_stats_daily.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON COLUMN cron.monitor_stats_daily.wal_bytes IS 'WAL the runs have written, in bytes';
COMMENT ON COLUMN cron.monitor_stats_daily.rows IS 'rows their statements have returned or changed';
