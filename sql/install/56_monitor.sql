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
COMMENT ON COLUMN cron.monitor_health.status IS 'healthy, warning or critical';
COMMENT ON COLUMN cron.monitor_health.reasons IS 'why it is not healthy, what is critical first; empty if it is';
COMMENT ON COLUMN cron.monitor_health.preloaded IS 'whether the server has the library in shared_preload_libraries';
COMMENT ON COLUMN cron.monitor_health.in_recovery IS 'whether the server is a standby, on which no job runs';
COMMENT ON COLUMN cron.monitor_health.scheduler_alive IS 'whether this database has a scheduler';
COMMENT ON COLUMN cron.monitor_health.scheduler_pid IS 'its process; NULL if there is none';
COMMENT ON COLUMN cron.monitor_health.scheduler_started_at IS 'when it was started';
COMMENT ON COLUMN cron.monitor_health.overdue IS 'how long it is past the instant at which it said it would wake up, or since when something is wanted of it that it has not looked at; NULL if it is not';
COMMENT ON COLUMN cron.monitor_health.waiting IS 'occurrences that are due and have not started, those behind a run of their own job included; NULL for those who may not know';
COMMENT ON COLUMN cron.monitor_health.waited IS 'how long the one has waited that has waited for longest, for a slot or behind a run of its own job; NULL if none does';
COMMENT ON COLUMN cron.monitor_health.running IS 'runs under way';
COMMENT ON COLUMN cron.monitor_health.stuck IS 'runs that have given no heartbeat for as long as their job''s stuck_after says';
COMMENT ON COLUMN cron.monitor_health.slots IS 'worker processes that executors of this database may take';
COMMENT ON COLUMN cron.monitor_health.slots_in_use IS 'executors there are';
COMMENT ON COLUMN cron.monitor_health.short_of_slots IS 'whether runs wait because no worker process was to be had';
COMMENT ON COLUMN cron.monitor_health.jobs IS 'jobs there are';
COMMENT ON COLUMN cron.monitor_health.failing_jobs IS 'active jobs whose newest run that counts failed, with nobody having resolved it and no attempt to come';
COMMENT ON COLUMN cron.monitor_health.broken_jobs IS 'active jobs that cannot run, for what cron.jobs says in state';
COMMENT ON COLUMN cron.monitor_health.keeper_pid IS 'process of the keeper, which prunes the history; NULL if it has nothing to do';
COMMENT ON COLUMN cron.monitor_health.history_pruned_at IS 'when the history was pruned last';
COMMENT ON COLUMN cron.monitor_health.history_pruned_runs IS 'how many runs were deleted then';
COMMENT ON COLUMN cron.monitor_health.history_runs IS 'about how many runs are in cron.job_run_details, as of its last VACUUM or ANALYZE';
COMMENT ON COLUMN cron.monitor_health.inactive_jobs IS 'jobs that are switched off; they are in jobs as well';

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
COMMENT ON COLUMN cron.monitor_jobs.jobid IS 'id of the job';
COMMENT ON COLUMN cron.monitor_jobs.jobname IS 'name of the job; NULL if it has none';
COMMENT ON COLUMN cron.monitor_jobs.schedule IS 'when the job is due, as written';
COMMENT ON COLUMN cron.monitor_jobs.timezone IS 'the time zone in force';
COMMENT ON COLUMN cron.monitor_jobs.kind IS 'sql or http';
COMMENT ON COLUMN cron.monitor_jobs.database IS 'the database it runs in';
COMMENT ON COLUMN cron.monitor_jobs.username IS 'the owner: the role it runs as';
COMMENT ON COLUMN cron.monitor_jobs.active IS 'false if the job is switched off';
COMMENT ON COLUMN cron.monitor_jobs.state IS 'as in cron.jobs, but never running';
COMMENT ON COLUMN cron.monitor_jobs.next_run_at IS 'when it starts next; NULL if it cannot run or has no coming instant';
COMMENT ON COLUMN cron.monitor_jobs.last_run_at IS 'start of the newest run';
COMMENT ON COLUMN cron.monitor_jobs.last_status IS 'status of the newest run';
COMMENT ON COLUMN cron.monitor_jobs.paused_until IS 'until when it is paused, infinity for until it is resumed; NULL if it is not';
COMMENT ON COLUMN cron.monitor_jobs.tags IS 'labels to group jobs by';
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
    run.start_time - run.scheduled_for AS start_lag,
    run.end_time - run.start_time AS duration,
    run.trigger,
    run.attempt,
    run.guarantee,
    run.row_count,
    run.usage
FROM cron.job_run_details AS run;

COMMENT ON VIEW cron.monitor_runs IS 'all runs, without what they ran and returned; for whoever it is granted to; ask for runid above the last one seen, which is an index scan';
COMMENT ON COLUMN cron.monitor_runs.runid IS 'id of the run; later runs have higher ones';
COMMENT ON COLUMN cron.monitor_runs.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_runs.jobname IS 'its name, as it was then';
COMMENT ON COLUMN cron.monitor_runs.job_pid IS 'process that ran it';
COMMENT ON COLUMN cron.monitor_runs.database IS 'the database it ran in';
COMMENT ON COLUMN cron.monitor_runs.username IS 'the role it ran as';
COMMENT ON COLUMN cron.monitor_runs.status IS 'starting, connecting, sending, running, succeeded or failed';
COMMENT ON COLUMN cron.monitor_runs.outcome IS 'succeeded, failed, timeout, cancelled or crashed; NULL while it is under way';
COMMENT ON COLUMN cron.monitor_runs.sqlstate IS 'SQLSTATE of its error';
COMMENT ON COLUMN cron.monitor_runs.http_status IS 'status code of an HTTP run';
COMMENT ON COLUMN cron.monitor_runs.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.monitor_runs.start_time IS 'when it started';
COMMENT ON COLUMN cron.monitor_runs.end_time IS 'when it ended; NULL while it is under way';
COMMENT ON COLUMN cron.monitor_runs.start_lag IS 'how long after its instant it started, jitter and waiting for other runs included';
COMMENT ON COLUMN cron.monitor_runs.duration IS 'how long it took';
COMMENT ON COLUMN cron.monitor_runs.trigger IS 'why it ran: schedule, manual, retry, catch_up, backfill, startup or dependency';
COMMENT ON COLUMN cron.monitor_runs.attempt IS 'which attempt at this occurrence, from 1';
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
    cron.shown_ms(stat.p50_duration_ms) AS p50_duration_ms,
    cron.shown_ms(stat.p95_duration_ms) AS p95_duration_ms,
    cron.shown_ms(stat.p99_duration_ms) AS p99_duration_ms,
    cron.shown_ms(stat.p50_start_lag_ms) AS p50_start_lag_ms,
    cron.shown_ms(stat.p95_start_lag_ms) AS p95_start_lag_ms,
    cron.shown_ms(stat.p99_start_lag_ms) AS p99_start_lag_ms,
    coalesce(stat.wal_bytes, 0) AS wal_bytes,
    coalesce(stat.rows, 0) AS rows,
    stat.last_success_at,
    coalesce(stat.consecutive_failures, 0) AS consecutive_failures
FROM cron.job AS job
LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid;

COMMENT ON VIEW cron.monitor_stats IS 'cron.job_stats of all jobs, without errors; for whoever it is granted to';
COMMENT ON COLUMN cron.monitor_stats.jobid IS 'the job';
COMMENT ON COLUMN cron.monitor_stats.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.monitor_stats.username IS 'the role it runs as';
COMMENT ON COLUMN cron.monitor_stats.total_runs IS 'runs that ended';
COMMENT ON COLUMN cron.monitor_stats.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.monitor_stats.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.monitor_stats.success_rate IS 'successful_runs in percent of total_runs; NULL before the first run';
COMMENT ON COLUMN cron.monitor_stats.avg_duration_ms IS 'mean duration of a run in milliseconds';
COMMENT ON COLUMN cron.monitor_stats.max_duration_ms IS 'longest duration of a run in milliseconds';
COMMENT ON COLUMN cron.monitor_stats.last_run_at IS 'start of the newest run';
COMMENT ON COLUMN cron.monitor_stats.last_status IS 'status of the newest run';
COMMENT ON COLUMN cron.monitor_stats.skipped_runs IS 'occurrences that were due and did not run, as in cron.job_skip';
COMMENT ON COLUMN cron.monitor_stats.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.monitor_stats.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.monitor_stats.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.monitor_stats.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.monitor_stats.p50_duration_ms IS 'half of the runs took no longer than this many milliseconds; within 3.2 percent, as all of these';
COMMENT ON COLUMN cron.monitor_stats.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.monitor_stats.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.monitor_stats.p50_start_lag_ms IS 'half of the runs started no later than this many milliseconds after their instant, jitter included; runs asked for count from the request, retries and runs caught up do not count';
COMMENT ON COLUMN cron.monitor_stats.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.monitor_stats.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON COLUMN cron.monitor_stats.wal_bytes IS 'WAL all runs together have written, in bytes';
COMMENT ON COLUMN cron.monitor_stats.rows IS 'rows the statements of all runs together have returned or changed';
COMMENT ON COLUMN cron.monitor_stats.last_success_at IS 'latest end of a run that succeeded';
COMMENT ON COLUMN cron.monitor_stats.consecutive_failures IS 'runs that have failed since the last one that succeeded or was resolved; those that somebody ended do not count';
