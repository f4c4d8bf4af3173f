-- Metrics of all jobs, for whoever an administrator lets read them. The view has its owner's rights,
-- shows no command, message or response, and is granted to nobody at first.

CREATE FUNCTION cron.metric_figures()
RETURNS TABLE (figure text, jobid bigint, value double precision)
LANGUAGE C VOLATILE ROWS 100
AS 'MODULE_PATHNAME', 'cron_metric_figures_wrapper';
COMMENT ON FUNCTION cron.metric_figures()
    IS 'what of cron.metrics is in shared memory; refused to roles that may not read that view';

CREATE VIEW cron.metrics AS
WITH figure AS MATERIALIZED (
    SELECT now.figure, now.jobid, now.value FROM cron.metric_figures() AS now
), dead AS MATERIALIZED (
    -- Those of the newest failures: what lies further back has been looked at, or never will be.
    SELECT run.jobid, pg_catalog.count(*) AS count
    FROM (
        SELECT failed.jobid, failed.scheduled_for, failed.attempt, failed.outcome, failed.reason
        FROM cron.job_run_details AS failed
        WHERE failed.status = 'failed'
        ORDER BY failed.runid DESC
        LIMIT 10000) AS run
    WHERE run.outcome IN ('failed', 'timeout', 'crashed')
        AND NOT pg_catalog.starts_with(coalesce(run.reason, ''), 'resolved as ')
        AND NOT EXISTS (
            SELECT FROM cron.job_run_details AS later
            WHERE later.jobid = run.jobid AND later.scheduled_for = run.scheduled_for AND later.attempt > run.attempt
            OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM cron.run_request AS request
            WHERE request.jobid = run.jobid AND request.scheduled_for = run.scheduled_for
            OFFSET 0)
    GROUP BY run.jobid
), family (family, type, help) AS (
    VALUES
        ('pg_tock_up', 'gauge', '1 if a scheduler runs for this database.'),
        ('pg_tock_build_info', 'gauge', '1; its labels are the versions of the extension and of the server.'),
        ('pg_tock_scheduler_late_seconds', 'gauge', 'How long the scheduler has overslept the wake-up it has announced, or left what is wanted of it; 0 if it has not.'),
        ('pg_tock_executors', 'gauge', 'Sessions that run jobs, or wait for one.'),
        ('pg_tock_executor_slots', 'gauge', 'Worker processes that these may take.'),
        ('pg_tock_short_of_slots', 'gauge', '1 if runs wait because no worker process was to be had.'),
        ('pg_tock_waiting', 'gauge', 'Occurrences that are due and have not started.'),
        ('pg_tock_waiting_seconds', 'gauge', 'How long the one has waited that has waited for longest for a slot; 0 if none does.'),
        ('pg_tock_running', 'gauge', 'Runs under way.'),
        ('pg_tock_requested', 'gauge', 'Runs that were asked for, by somebody, a retry or the server''s start, and have not ended.'),
        ('pg_tock_jobs_active', 'gauge', 'Jobs that are switched on and not paused.'),
        ('pg_tock_jobs_paused', 'gauge', 'Jobs that are paused.'),
        ('pg_tock_jobs_inactive', 'gauge', 'Jobs that are switched off.'),
        ('pg_tock_jobs_broken', 'gauge', 'Active jobs that cannot run as they are; cron.jobs says why.'),
        ('pg_tock_jobs_failing', 'gauge', 'Active jobs whose newest run failed and was not resolved, with no attempt to come.'),
        ('pg_tock_dead_letters', 'gauge', 'Occurrences that failed for good and that nobody has resolved, among the newest 10000 failures.'),
        ('pg_tock_job_active', 'gauge', '1 if the job is switched on and not paused.'),
        ('pg_tock_job_running', 'gauge', 'Runs of the job under way.'),
        ('pg_tock_job_running_seconds', 'gauge', 'How long the longest run under way has taken so far; 0 if none is.'),
        ('pg_tock_job_runs_total', 'counter', 'Runs that ended, by outcome.'),
        ('pg_tock_job_retries_total', 'counter', 'Runs that were a further attempt at their occurrence.'),
        ('pg_tock_job_skipped_total', 'counter', 'Occurrences that were due and did not run.'),
        ('pg_tock_job_duration_seconds', 'summary', 'How long runs took, all of them since counting began.'),
        ('pg_tock_job_duration_max_seconds', 'gauge', 'How long the longest run took.'),
        ('pg_tock_job_start_lag_seconds', 'summary', 'How late runs started after their instant, all of them since counting began.'),
        ('pg_tock_job_last_start_timestamp_seconds', 'gauge', 'When the newest run started.'),
        ('pg_tock_job_last_success_timestamp_seconds', 'gauge', 'When a run last succeeded.'),
        ('pg_tock_job_consecutive_failures', 'gauge', 'Runs that failed since the last one that succeeded.'),
        ('pg_tock_job_dead_letters', 'gauge', 'Occurrences that failed for good and that nobody has resolved, among the newest 10000 failures of all jobs.'),
        ('pg_tock_job_wal_bytes_total', 'counter', 'WAL that runs wrote, in bytes.'),
        ('pg_tock_job_rows_total', 'counter', 'Rows that statements of runs returned or changed.')
), sample (name, labels, value) AS (
    SELECT 'pg_tock_' || figure.figure, '{}'::pg_catalog.jsonb, figure.value
    FROM figure WHERE figure.jobid IS NULL
    UNION ALL
    SELECT 'pg_tock_build_info', pg_catalog.jsonb_build_object(
            'version', (SELECT x.extversion FROM pg_catalog.pg_extension AS x WHERE x.extname = 'pg_tock'),
            'server', pg_catalog.current_setting('server_version')), 1
    UNION ALL
    SELECT 'pg_tock_running', '{}', coalesce(pg_catalog.sum(figure.value), 0)
    FROM figure WHERE figure.figure = 'running'
    UNION ALL
    SELECT 'pg_tock_requested', '{}', pg_catalog.count(*) FROM cron.run_request AS request
    UNION ALL
    SELECT of_jobs.name, '{}', of_jobs.count
    FROM (
        SELECT
            pg_catalog.count(*) FILTER (WHERE job.active AND coalesce(job.paused_until, '-infinity') <= pg_catalog.now()),
            pg_catalog.count(*) FILTER (WHERE job.active AND job.paused_until > pg_catalog.now()),
            pg_catalog.count(*) FILTER (WHERE NOT job.active),
            pg_catalog.count(*) FILTER (WHERE job.active AND stat.consecutive_failures > 0 AND NOT EXISTS (
                SELECT FROM cron.run_request AS request WHERE request.jobid = job.jobid AND request.trigger = 'retry'))
        FROM cron.job AS job
        LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid) AS counted (active, paused, inactive, failing)
    CROSS JOIN LATERAL (VALUES
        ('pg_tock_jobs_active', counted.active),
        ('pg_tock_jobs_paused', counted.paused),
        ('pg_tock_jobs_inactive', counted.inactive),
        ('pg_tock_jobs_failing', counted.failing)) AS of_jobs (name, count)
    UNION ALL
    SELECT 'pg_tock_dead_letters', '{}', coalesce(pg_catalog.sum(dead.count), 0) FROM dead
    UNION ALL
    SELECT
        of_job.name,
        pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
            'jobid', job.jobid::pg_catalog.text, 'jobname', job.jobname, 'owner', job.username)) || of_job.labels,
        of_job.value
    FROM cron.job AS job
    LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid
    LEFT JOIN figure AS running ON running.figure = 'running' AND running.jobid = job.jobid
    LEFT JOIN figure AS longest ON longest.figure = 'running_seconds' AND longest.jobid = job.jobid
    LEFT JOIN dead ON dead.jobid = job.jobid
    CROSS JOIN LATERAL (VALUES
        ('pg_tock_job_active', '{}'::pg_catalog.jsonb,
            (job.active AND coalesce(job.paused_until, '-infinity') <= pg_catalog.now())::int::double precision),
        ('pg_tock_job_running', '{}', coalesce(running.value, 0)),
        ('pg_tock_job_running_seconds', '{}', coalesce(longest.value, 0)),
        ('pg_tock_job_runs_total', '{"outcome": "succeeded"}', coalesce(stat.successful_runs, 0)),
        ('pg_tock_job_runs_total', '{"outcome": "failed"}',
            coalesce(stat.failed_runs - stat.timed_out_runs - stat.cancelled_runs - stat.crashed_runs, 0)),
        ('pg_tock_job_runs_total', '{"outcome": "timeout"}', coalesce(stat.timed_out_runs, 0)),
        ('pg_tock_job_runs_total', '{"outcome": "cancelled"}', coalesce(stat.cancelled_runs, 0)),
        ('pg_tock_job_runs_total', '{"outcome": "crashed"}', coalesce(stat.crashed_runs, 0)),
        ('pg_tock_job_retries_total', '{}', coalesce(stat.retried_runs, 0)),
        ('pg_tock_job_skipped_total', '{}', coalesce(stat.skipped_runs, 0)),
        ('pg_tock_job_duration_seconds', '{"quantile": "0.5"}', (stat.p50_duration_ms / 1000)::double precision),
        ('pg_tock_job_duration_seconds', '{"quantile": "0.95"}', (stat.p95_duration_ms / 1000)::double precision),
        ('pg_tock_job_duration_seconds', '{"quantile": "0.99"}', (stat.p99_duration_ms / 1000)::double precision),
        ('pg_tock_job_duration_seconds_count', '{}', coalesce(stat.total_runs, 0)),
        ('pg_tock_job_duration_seconds_sum', '{}', coalesce(stat.total_ms, 0) / 1000),
        ('pg_tock_job_duration_max_seconds', '{}', CASE WHEN stat.total_runs > 0 THEN stat.max_ms / 1000 END),
        ('pg_tock_job_start_lag_seconds', '{"quantile": "0.5"}', (stat.p50_start_lag_ms / 1000)::double precision),
        ('pg_tock_job_start_lag_seconds', '{"quantile": "0.95"}', (stat.p95_start_lag_ms / 1000)::double precision),
        ('pg_tock_job_start_lag_seconds', '{"quantile": "0.99"}', (stat.p99_start_lag_ms / 1000)::double precision),
        ('pg_tock_job_last_start_timestamp_seconds', '{}', extract(epoch FROM stat.last_run_at)::double precision),
        ('pg_tock_job_last_success_timestamp_seconds', '{}', extract(epoch FROM stat.last_success_at)::double precision),
        ('pg_tock_job_consecutive_failures', '{}', coalesce(stat.consecutive_failures, 0)),
        ('pg_tock_job_dead_letters', '{}', coalesce(dead.count, 0)),
        ('pg_tock_job_wal_bytes_total', '{}', coalesce(stat.wal_bytes, 0)),
        ('pg_tock_job_rows_total', '{}', coalesce(stat.rows, 0))) AS of_job (name, labels, value)
)
SELECT
    sample.name,
    pg_catalog.jsonb_build_object('database', pg_catalog.current_database()) || sample.labels AS labels,
    sample.value::double precision AS value,
    family.help,
    family.type
FROM sample
JOIN family ON family.family = CASE
    WHEN sample.name LIKE 'pg\_tock\_job\_%\_seconds\_%' THEN pg_catalog.regexp_replace(sample.name, '_(sum|count)$', '')
    ELSE sample.name END
WHERE sample.value IS NOT NULL;

REVOKE ALL ON TABLE cron.metrics FROM PUBLIC;
COMMENT ON VIEW cron.metrics IS 'figures of all jobs, for monitoring; whoever is granted SELECT reads them whoever owns the jobs';
COMMENT ON COLUMN cron.metrics.name IS 'name of the sample, as Prometheus has it';
COMMENT ON COLUMN cron.metrics.labels IS 'what it is of: always database; for a job jobid, jobname (absent if it has none) and owner';
COMMENT ON COLUMN cron.metrics.value IS 'the figure; times are in seconds';
COMMENT ON COLUMN cron.metrics.help IS 'what it says';
COMMENT ON COLUMN cron.metrics.type IS 'counter, gauge or summary';

CREATE FUNCTION cron.metrics_text(per_job boolean DEFAULT true)
RETURNS text
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_metrics_text_wrapper';
COMMENT ON FUNCTION cron.metrics_text(boolean)
    IS 'cron.metrics as Prometheus and OpenMetrics read it; without the samples of single jobs if per_job is false';
