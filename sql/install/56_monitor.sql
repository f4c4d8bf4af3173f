-- For monitoring: with the rights of their owner, about everybody's jobs, and without what jobs say, run and
-- return. They are granted to nobody; whoever may read cron.monitor_health also sees everybody's figures in
-- cron.health.

CREATE VIEW cron.monitor_health WITH (security_barrier = true) AS
SELECT
    CASE
        WHEN pg_catalog.cardinality(verdict.critical) > 0 THEN 'critical'
        WHEN pg_catalog.cardinality(verdict.warning) > 0 THEN 'warning'
        ELSE 'healthy'
    END AS status,
    verdict.critical || verdict.warning AS reasons,
    server.preloaded,
    server.in_recovery,
    facts.scheduler_pid IS NOT NULL AS scheduler_alive,
    facts.scheduler_pid,
    facts.started_at AS scheduler_started_at,
    facts.overdue,
    facts.waiting,
    server.at - facts.oldest_due AS waited,
    coalesce(facts.running, 0) AS running,
    coalesce(facts.stuck, 0) AS stuck,
    facts.slots,
    facts.slots_in_use,
    facts.short_of_slots,
    jobs.jobs,
    jobs.failing AS failing_jobs,
    broken.jobs AS broken_jobs,
    facts.keeper_pid,
    keeper.pruned_at AS history_pruned_at,
    keeper.pruned_runs AS history_pruned_runs,
    (SELECT nullif(class.reltuples, -1)::pg_catalog.int8 FROM pg_catalog.pg_class AS class
        WHERE class.oid = 'cron.job_run_details'::pg_catalog.regclass) AS history_runs,
    jobs.inactive AS inactive_jobs
FROM (
    SELECT
        EXISTS (SELECT FROM pg_catalog.pg_settings AS setting WHERE setting.name = 'cron.executor_max_age') AS preloaded,
        pg_catalog.pg_is_in_recovery() AS in_recovery,
        pg_catalog.clock_timestamp() AS at
    OFFSET 0) AS server
LEFT JOIN LATERAL (
    SELECT figure.* FROM cron.scheduler_facts() AS figure WHERE server.preloaded OFFSET 0) AS facts ON true
CROSS JOIN LATERAL (SELECT facts.broken AS jobs) AS broken
CROSS JOIN (
    SELECT
        pg_catalog.count(*) AS jobs,
        pg_catalog.count(*) FILTER (WHERE NOT job.active) AS inactive,
        pg_catalog.count(*) FILTER (WHERE failing.yes) AS failing,
        (pg_catalog.array_agg(coalesce(job.jobname, job.jobid::pg_catalog.text) ORDER BY job.jobid)
            FILTER (WHERE failing.yes))[1:3] AS names
    FROM cron.job AS job
    LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid
    CROSS JOIN LATERAL (
        SELECT job.active AND stat.consecutive_failures > 0 AND NOT EXISTS (
            SELECT FROM cron.run_request AS request WHERE request.jobid = job.jobid AND request.trigger = 'retry') AS yes
    ) AS failing) AS jobs
LEFT JOIN cron.keeper_state AS keeper ON true
CROSS JOIN LATERAL cron.judge_health(
    server.preloaded, server.in_recovery, facts.launcher_pid, facts.scheduler_pid, facts.started_at, facts.overdue,
    facts.launches, server.at - facts.oldest_waiting, facts.short_of_slots, jobs.failing, jobs.names, broken.jobs,
    facts.stuck, keeper.pruned_at, facts.blind, facts.blind_because) AS verdict;

COMMENT ON VIEW cron.monitor_health IS 'cron.health about all jobs, for whoever it is granted to';

CREATE VIEW cron.monitor_jobs WITH (security_barrier = true) AS
SELECT
    job.jobid,
    job.jobname,
    job.schedule,
    cron.timezone_in_force(job.schedule, job.timezone) AS timezone,
    CASE WHEN job.http IS NULL THEN 'sql' ELSE 'http' END AS kind,
    job.database,
    job.username,
    job.active,
    CASE
        WHEN own.condition IN ('inactive', 'remote node', 'invalid schedule', 'invalid options') THEN own.condition
        WHEN owner.oid IS NULL THEN 'owner missing'
        WHEN NOT owner.rolcanlogin THEN 'owner cannot log in'
        WHEN database.oid IS NULL THEN 'database missing'
        WHEN NOT cron.job_may_start(job.active, job.nodename, job.username, job.database) THEN 'superuser jobs disabled'
        WHEN job.paused_until > pg_catalog.now() THEN 'paused'
        WHEN own.condition = 'recurring' AND next.run_at IS NULL THEN 'never fires'
        ELSE 'scheduled'
    END AS state,
    next.run_at AS next_run_at,
    stat.last_run_at,
    stat.last_status,
    CASE WHEN job.paused_until > pg_catalog.now() THEN job.paused_until END AS paused_until,
    job.tags,
    job.queue,
    job.priority,
    job.timeout,
    job.max_attempts
FROM cron.job AS job
CROSS JOIN LATERAL cron.job_condition(
    job.active, job.nodename, job.schedule, job.timezone, job.run_window, job.skip_on, job.only_on) AS own (condition)
LEFT JOIN cron.job_state AS state ON state.jobid = job.jobid
LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid
LEFT JOIN pg_catalog.pg_roles AS owner ON owner.rolname = job.username
LEFT JOIN pg_catalog.pg_database AS database ON database.datname = job.database
CROSS JOIN LATERAL cron.job_next_run(
    job.jobid,
    CASE WHEN own.condition = 'recurring' AND cron.job_may_start(job.active, job.nodename, job.username, job.database)
        THEN job.schedule END,
    job.timezone,
    job.dst_policy,
    job.jitter,
    job.run_window,
    job.skip_on,
    job.only_on,
    job.paused_until,
    state.effective_from,
    stat.last_end) AS next (run_at);

COMMENT ON VIEW cron.monitor_jobs IS 'all jobs, without what they run; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_jobs.kind IS 'sql or http';
COMMENT ON COLUMN cron.monitor_jobs.state IS 'as in cron.jobs, but never running';
COMMENT ON COLUMN cron.monitor_jobs.queue IS 'the queue whose limits it keeps to; NULL for none';
COMMENT ON COLUMN cron.monitor_jobs.priority IS 'its own priority; NULL for cron.default_priority';
COMMENT ON COLUMN cron.monitor_jobs.timeout IS 'its own timeout; NULL for cron.default_timeout';
COMMENT ON COLUMN cron.monitor_jobs.max_attempts IS 'its own number of attempts; NULL for cron.default_max_attempts';

CREATE VIEW cron.monitor_runs WITH (security_barrier = true) AS
SELECT
    run.runid,
    run.jobid,
    run.jobname,
    run.job_pid,
    run.database,
    run.username,
    run.status,
    run.outcome,
    run.sqlstate,
    run.http_status,
    run.scheduled_for,
    run.start_time,
    run.end_time,
    CASE WHEN pg_catalog.isfinite(run.start_time) AND pg_catalog.isfinite(run.scheduled_for)
        THEN run.start_time - run.scheduled_for END AS start_lag,
    CASE WHEN pg_catalog.isfinite(run.end_time) AND pg_catalog.isfinite(run.start_time)
        THEN run.end_time - run.start_time END AS duration,
    run.trigger,
    run.attempt,
    run.guarantee,
    run.row_count,
    run.usage
FROM cron.job_run_details AS run;

COMMENT ON VIEW cron.monitor_runs IS 'all runs, without what they ran and returned; for whoever it is granted to; ask for runid above the last one seen, which is an index scan';
COMMENT ON COLUMN cron.monitor_runs.runid IS 'id of the run; later runs have higher ones';
COMMENT ON COLUMN cron.monitor_runs.job_pid IS 'process that ran it';
COMMENT ON COLUMN cron.monitor_runs.sqlstate IS 'SQLSTATE of its error';
COMMENT ON COLUMN cron.monitor_runs.http_status IS 'status code of an HTTP run';
COMMENT ON COLUMN cron.monitor_runs.start_lag IS 'how long after its instant it started, jitter and waiting for other runs included';
COMMENT ON COLUMN cron.monitor_runs.guarantee IS 'what its effects can rely on: exactly_once, at_most_once or at_least_once';
COMMENT ON COLUMN cron.monitor_runs.row_count IS 'rows the last statement returned or changed';
COMMENT ON COLUMN cron.monitor_runs.usage IS 'what it used: WAL bytes, buffers, CPU time';

CREATE VIEW cron.monitor_stats WITH (security_barrier = true) AS
SELECT
    job.jobid,
    job.jobname,
    job.username,
    coalesce(stat.total_runs, 0) AS total_runs,
    coalesce(stat.successful_runs, 0) AS successful_runs,
    coalesce(stat.failed_runs, 0) AS failed_runs,
    cron.shown_percent(stat.successful_runs, stat.total_runs) AS success_rate,
    cron.shown_ms(stat.total_ms, stat.total_runs) AS avg_duration_ms,
    CASE WHEN stat.total_runs > 0 THEN cron.shown_ms(stat.max_ms) END AS max_duration_ms,
    stat.last_run_at,
    stat.last_status,
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
    coalesce(stat.consecutive_failures, 0) AS consecutive_failures
FROM cron.job AS job
LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid;

COMMENT ON VIEW cron.monitor_stats IS 'cron.job_stats of all jobs, without errors; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_stats.username IS 'the role it runs as';
