-- The rest of what is for monitoring: what runs, what comes, what did not run, what failed for good, alerts, hours and
-- days. As in 56_monitor.sql: with the rights of their owner, about everybody's jobs, granted to nobody, and without
-- commands, parameters, settings, messages, errors and whatever jobs and people have noted in their own words.

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
FROM cron.running_runs(of_all => true) AS run
LEFT JOIN cron.job AS job ON job.jobid = run.jobid
LEFT JOIN cron.job_stat AS stat ON stat.jobid = run.jobid;

COMMENT ON VIEW cron.monitor_running IS 'cron.running of all jobs, without what runs have noted; for whoever it is granted to';

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
COMMENT ON COLUMN cron.monitor_skips.jobname IS 'its name; NULL if it has none, or is gone';
COMMENT ON COLUMN cron.monitor_skips.username IS 'the role it runs as; NULL if it is gone';
COMMENT ON COLUMN cron.monitor_skips.reason IS 'why they did not run: one of the words of cron.job_skip';

-- Views that show of everybody what others show of the caller's jobs: these are written once, and have their owner's
-- rights here in place of the caller's. Columns are named, so that one that is added there is not shown here by itself.
DO $copies$
DECLARE
    figures CONSTANT text := 'total_runs, successful_runs, failed_runs, success_rate, skipped_runs, timed_out_runs, '
        'cancelled_runs, crashed_runs, retried_runs, avg_duration_ms, max_duration_ms, p50_duration_ms, p95_duration_ms, '
        'p99_duration_ms, p50_start_lag_ms, p95_start_lag_ms, p99_start_lag_ms, wal_bytes, rows';
    copy record;
BEGIN
    FOR copy IN
        SELECT * FROM (VALUES
            (
                'monitor_dead_letters',
                'dead_letters',
                'jobid, jobname, username, runid, scheduled_for, attempts, outcome, sqlstate, end_time',
                'cron.dead_letters of all jobs, without errors'),
            (
                'monitor_alerts',
                'alerts',
                'id, jobid, jobname, username, rule, open, raised_at, recovered_at, lasted, recovery, message, runid, outcome, '
                'detail, handler',
                'cron.alerts of all jobs; what they say has numbers in it and nothing that a job or an error has said'),
            (
                'monitor_stats_hourly',
                'job_stats_hourly',
                'jobid, jobname, username, hour, ' || figures,
                'cron.job_stats_hourly of all jobs'),
            (
                'monitor_stats_daily',
                'job_stats_daily',
                'jobid, jobname, username, day, ' || figures,
                'cron.job_stats_daily of all jobs')) AS every (name, original, columns, meaning)
    LOOP
        EXECUTE pg_catalog.format(
            'CREATE VIEW cron.%I WITH (security_barrier = true) AS SELECT %s FROM (%s) AS every',
            copy.name,
            copy.columns,
            pg_catalog.rtrim(pg_catalog.pg_get_viewdef(('cron.' || copy.original)::pg_catalog.regclass), ';'));
        EXECUTE pg_catalog.format(
            'COMMENT ON VIEW cron.%I IS %L', copy.name, copy.meaning || '; for whoever it is granted to');
    END LOOP;
END
$copies$;

-- What a column means stands where the caller's own jobs are shown, unless it means something else here.
DO $comments$
DECLARE
    same record;
BEGIN
    FOR same IN
        SELECT here.attrelid::pg_catalog.regclass AS relation, here.attname, pg_catalog.col_description(there.attrelid, there.attnum) AS meaning
        FROM (VALUES
            ('monitor_health', 'health'),
            ('monitor_jobs', 'jobs'),
            ('monitor_runs', 'recent_runs'),
            ('monitor_stats', 'job_stats'),
            ('monitor_running', 'running'),
            ('monitor_upcoming', 'upcoming'),
            ('monitor_skips', 'job_skip'),
            ('monitor_dead_letters', 'dead_letters'),
            ('monitor_alerts', 'alerts'),
            ('monitor_stats_hourly', 'job_stats_hourly'),
            ('monitor_stats_daily', 'job_stats_daily')) AS pair (copy, original)
        JOIN pg_catalog.pg_attribute AS here ON here.attrelid = ('cron.' || pair.copy)::pg_catalog.regclass AND here.attnum > 0
        JOIN pg_catalog.pg_attribute AS there ON there.attrelid = ('cron.' || pair.original)::pg_catalog.regclass
            AND there.attnum > 0 AND there.attname = here.attname
        WHERE pg_catalog.col_description(here.attrelid, here.attnum) IS NULL
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L', same.relation, same.attname, same.meaning);
    END LOOP;
END
$comments$;
