-- Statistics, as people read them.

-- Ten thousand jobs are to be read in milliseconds. The functions in the list of columns are called only if their column
-- is asked for. next_run_at is found where cron.job is read, so that the join carries an instant and not the twelve
-- columns that it is made of.
CREATE VIEW cron.job_stats WITH (security_invoker = true, security_barrier = true) AS
SELECT
    job.jobid,
    job.jobname,
    coalesce(stat.total_runs, 0) AS total_runs,
    coalesce(stat.successful_runs, 0) AS successful_runs,
    coalesce(stat.failed_runs, 0) AS failed_runs,
    cron.shown_percent(stat.successful_runs, stat.total_runs) AS success_rate,
    cron.shown_ms(stat.total_ms, stat.total_runs) AS avg_duration_ms,
    CASE WHEN stat.total_runs > 0 THEN cron.shown_ms(stat.max_ms) END AS max_duration_ms,
    stat.last_run_at,
    stat.last_status,
    stat.last_error,
    next.run_at AS next_run_at,
    coalesce(stat.skipped_runs, 0) AS skipped_runs,
    coalesce(stat.timed_out_runs, 0) AS timed_out_runs,
    coalesce(stat.cancelled_runs, 0) AS cancelled_runs,
    coalesce(stat.crashed_runs, 0) AS crashed_runs,
    coalesce(stat.retried_runs, 0) AS retried_runs,
    stat.p50_duration_ms,
    stat.p95_duration_ms,
    stat.p99_duration_ms,
    stat.p50_start_lag_ms,
    stat.p95_start_lag_ms,
    stat.p99_start_lag_ms,
    coalesce(stat.wal_bytes, 0) AS wal_bytes,
    coalesce(stat.rows, 0) AS rows,
    stat.last_success_at,
    coalesce(stat.consecutive_failures, 0) AS consecutive_failures,
    stat.counted_since
FROM cron.job AS job
LEFT JOIN LATERAL (
    SELECT cron.job_next_run_at(
        job.jobid,
        job.active,
        job.nodename,
        job.username,
        job.database,
        job.schedule,
        job.timezone,
        job.dst_policy,
        job.jitter,
        job.run_window,
        job.skip_on,
        job.only_on,
        job.paused_until)) AS next (run_at) ON true
LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid;

COMMENT ON VIEW cron.job_stats IS 'how each job has been doing; kept as runs settle, so it costs the same however long the history is';
COMMENT ON COLUMN cron.job_stats.jobid IS 'the job';
COMMENT ON COLUMN cron.job_stats.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.job_stats.total_runs IS 'runs that ended';
COMMENT ON COLUMN cron.job_stats.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.job_stats.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.job_stats.success_rate IS 'successful_runs in percent of total_runs; NULL before the first run';
COMMENT ON COLUMN cron.job_stats.avg_duration_ms IS 'mean duration of a run in milliseconds';
COMMENT ON COLUMN cron.job_stats.max_duration_ms IS 'longest duration of a run in milliseconds';
COMMENT ON COLUMN cron.job_stats.last_run_at IS 'start of the newest run';
COMMENT ON COLUMN cron.job_stats.last_status IS 'status of the newest run';
COMMENT ON COLUMN cron.job_stats.last_error IS 'message of the newest run that failed';
COMMENT ON COLUMN cron.job_stats.next_run_at IS 'when the job is due next; NULL if it cannot run or has no coming instant';
COMMENT ON COLUMN cron.job_stats.skipped_runs IS 'occurrences that were due and did not run, as in cron.job_skip';
COMMENT ON COLUMN cron.job_stats.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.job_stats.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.job_stats.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.job_stats.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.job_stats.p50_duration_ms IS 'half of the runs took no longer than this many milliseconds; within 3.2 percent, as all of these';
COMMENT ON COLUMN cron.job_stats.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stats.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stats.p50_start_lag_ms IS 'half of the runs started no later than this many milliseconds after their instant, jitter included; runs asked for count from the request, retries and runs caught up do not count';
COMMENT ON COLUMN cron.job_stats.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stats.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stats.wal_bytes IS 'WAL all runs together have written, in bytes';
COMMENT ON COLUMN cron.job_stats.rows IS 'rows the statements of all runs together have returned or changed';
COMMENT ON COLUMN cron.job_stats.last_success_at IS 'latest end of a run that succeeded';
COMMENT ON COLUMN cron.job_stats.consecutive_failures IS 'runs that have failed since the last one that succeeded or was resolved; those that somebody ended do not count';
COMMENT ON COLUMN cron.job_stats.counted_since IS 'when counting began: at the first run, or with cron.reset_stats';

CREATE VIEW cron.job_stats_hourly WITH (security_invoker = true, security_barrier = true) AS
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

COMMENT ON VIEW cron.job_stats_hourly IS 'how each job did in each hour in UTC, by the start of its runs; kept for cron.keep_hourly_stats';
COMMENT ON COLUMN cron.job_stats_hourly.jobid IS 'the job';
COMMENT ON COLUMN cron.job_stats_hourly.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.job_stats_hourly.username IS 'the role it runs as';
COMMENT ON COLUMN cron.job_stats_hourly.hour IS 'start of the hour';
COMMENT ON COLUMN cron.job_stats_hourly.total_runs IS 'runs that started in this hour and have ended';
COMMENT ON COLUMN cron.job_stats_hourly.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.job_stats_hourly.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.job_stats_hourly.success_rate IS 'successful_runs in percent of total_runs; NULL if there are none';
COMMENT ON COLUMN cron.job_stats_hourly.skipped_runs IS 'occurrences that were due and did not run; a stretch of them counts where it ends';
COMMENT ON COLUMN cron.job_stats_hourly.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.job_stats_hourly.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.job_stats_hourly.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.job_stats_hourly.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.job_stats_hourly.avg_duration_ms IS 'mean duration of a run in milliseconds';
COMMENT ON COLUMN cron.job_stats_hourly.max_duration_ms IS 'longest duration of a run in milliseconds';
COMMENT ON COLUMN cron.job_stats_hourly.p50_duration_ms IS 'half of the runs took no longer than this many milliseconds; within 3.2 percent, as all of these';
COMMENT ON COLUMN cron.job_stats_hourly.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stats_hourly.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stats_hourly.p50_start_lag_ms IS 'half of the runs started no later than this many milliseconds after their instant, as in cron.job_stats';
COMMENT ON COLUMN cron.job_stats_hourly.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stats_hourly.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stats_hourly.wal_bytes IS 'WAL the runs have written, in bytes';
COMMENT ON COLUMN cron.job_stats_hourly.rows IS 'rows their statements have returned or changed';

CREATE VIEW cron.job_stats_daily WITH (security_invoker = true, security_barrier = true) AS
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

COMMENT ON VIEW cron.job_stats_daily IS 'how each job did in each day in UTC, by the start of its runs; kept for cron.keep_daily_stats';
COMMENT ON COLUMN cron.job_stats_daily.jobid IS 'the job';
COMMENT ON COLUMN cron.job_stats_daily.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.job_stats_daily.username IS 'the role it runs as';
COMMENT ON COLUMN cron.job_stats_daily.day IS 'the day, in UTC';
COMMENT ON COLUMN cron.job_stats_daily.total_runs IS 'runs that started in this day and have ended';
COMMENT ON COLUMN cron.job_stats_daily.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.job_stats_daily.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.job_stats_daily.success_rate IS 'successful_runs in percent of total_runs; NULL if there are none';
COMMENT ON COLUMN cron.job_stats_daily.skipped_runs IS 'occurrences that were due and did not run; a stretch of them counts where it ends';
COMMENT ON COLUMN cron.job_stats_daily.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.job_stats_daily.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.job_stats_daily.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.job_stats_daily.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.job_stats_daily.avg_duration_ms IS 'mean duration of a run in milliseconds';
COMMENT ON COLUMN cron.job_stats_daily.max_duration_ms IS 'longest duration of a run in milliseconds';
COMMENT ON COLUMN cron.job_stats_daily.p50_duration_ms IS 'half of the runs took no longer than this many milliseconds; within 3.2 percent, as all of these';
COMMENT ON COLUMN cron.job_stats_daily.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stats_daily.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stats_daily.p50_start_lag_ms IS 'half of the runs started no later than this many milliseconds after their instant, as in cron.job_stats';
COMMENT ON COLUMN cron.job_stats_daily.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stats_daily.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stats_daily.wal_bytes IS 'WAL the runs have written, in bytes';
COMMENT ON COLUMN cron.job_stats_daily.rows IS 'rows their statements have returned or changed';

-- Statistics that begin anew. The scheduler does it, as it does all that is written about statistics.

CREATE FUNCTION cron.reset_stats(job bigint)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_reset_stats_wrapper';
COMMENT ON FUNCTION cron.reset_stats(bigint)
    IS 'have the figures of a job in cron.job_stats begin anew; what is known of its newest run stays, and so do hours and days';

CREATE FUNCTION cron.reset_stats(job text)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_reset_stats_named_wrapper';
COMMENT ON FUNCTION cron.reset_stats(text)
    IS 'have the figures of a job in cron.job_stats begin anew; what is known of its newest run stays, and so do hours and days';

CREATE FUNCTION cron.reset_stats()
RETURNS bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_reset_all_stats_wrapper';
COMMENT ON FUNCTION cron.reset_stats()
    IS 'have the figures of all jobs the caller owns begin anew, for a superuser those of all jobs; returns how many jobs that are';
