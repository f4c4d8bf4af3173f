-- How the scheduler is doing. All of it works when there is none, on a standby, and in a server that has not
-- preloaded the library, where loading it for a C function would be an error: functions in C are reached
-- through functions in SQL that are not inlined, and those are called only where a setting is there that
-- the library alone defines.

CREATE FUNCTION cron.scheduler_figures(
    OUT sees_all boolean,
    OUT launcher_pid int,
    OUT scheduler_pid int,
    OUT keeper_pid int,
    OUT started_at timestamptz,
    OUT overdue interval,
    OUT launches boolean,
    OUT running bigint,
    OUT stuck bigint,
    OUT waiting bigint,
    OUT oldest_waiting timestamptz,
    OUT slots int,
    OUT slots_in_use int,
    OUT short_of_slots boolean,
    OUT broken bigint,
    OUT blind interval,
    OUT blind_because text,
    OUT oldest_due timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE ROWS 1
AS 'MODULE_PATHNAME', 'cron_scheduler_figures_wrapper';
COMMENT ON FUNCTION cron.scheduler_figures()
    IS 'what shared memory knows of this database''s scheduler, in one row; an error in a server that does not preload the library';

-- Not inlined, because it is volatile.
CREATE FUNCTION cron.scheduler_facts(
    OUT sees_all boolean,
    OUT launcher_pid int,
    OUT scheduler_pid int,
    OUT keeper_pid int,
    OUT started_at timestamptz,
    OUT overdue interval,
    OUT launches boolean,
    OUT running bigint,
    OUT stuck bigint,
    OUT waiting bigint,
    OUT oldest_waiting timestamptz,
    OUT slots int,
    OUT slots_in_use int,
    OUT short_of_slots boolean,
    OUT broken bigint,
    OUT blind interval,
    OUT blind_because text,
    OUT oldest_due timestamptz)
RETURNS SETOF record
LANGUAGE sql VOLATILE ROWS 1
BEGIN ATOMIC
    SELECT * FROM cron.scheduler_figures();
END;
COMMENT ON FUNCTION cron.scheduler_facts() IS 'as cron.scheduler_figures(), for views that may have to do without';

CREATE FUNCTION cron.broken_jobs()
RETURNS bigint
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT pg_catalog.count(*)
    FROM cron.job AS job
    CROSS JOIN LATERAL cron.job_condition(
        job.active, job.nodename, job.schedule, job.timezone, job.run_window, job.skip_on, job.only_on) AS own (condition)
    WHERE own.condition <> 'inactive'
        AND (own.condition IN ('remote node', 'invalid schedule', 'invalid options')
            OR NOT cron.job_may_start(job.active, job.nodename, job.username, job.database));
END;
COMMENT ON FUNCTION cron.broken_jobs() IS 'how many active jobs there are that cannot run, of those the caller sees';

CREATE FUNCTION cron.judge_health(
    preloaded boolean,
    in_recovery boolean,
    launcher_pid int,
    scheduler_pid int,
    started_at timestamptz,
    overdue interval,
    launches boolean,
    waited interval,
    short_of_slots boolean,
    failing bigint,
    failing_names text[],
    broken bigint,
    stuck bigint,
    pruned_at timestamptz,
    blind interval DEFAULT NULL,
    blind_because text DEFAULT NULL,
    OUT critical text[],
    OUT warning text[])
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        pg_catalog.array_remove(ARRAY[
            CASE WHEN NOT preloaded
                THEN 'pg_tock is not in shared_preload_libraries: no job runs' END,
            CASE WHEN in_recovery
                THEN 'this server is a standby: jobs run on its primary' END,
            CASE WHEN preloaded AND NOT in_recovery AND scheduler_pid IS NULL
                THEN CASE WHEN launcher_pid IS NULL
                    THEN 'neither launcher nor scheduler are running'
                    ELSE 'no scheduler is running: is this database in cron.database_name, and a worker process free?' END END,
            CASE WHEN overdue >= '30 seconds'
                THEN pg_catalog.format('the scheduler is %s past its announced wake-up', pg_catalog.date_trunc('second', overdue)) END,
            CASE WHEN blind >= '30 seconds'
                THEN pg_catalog.format('the scheduler has not been able to read its tables for %s%s',
                    pg_catalog.date_trunc('second', blind), ': ' || pg_catalog.regexp_replace(blind_because, '[[:cntrl:]]', ' ', 'g')) END,
            CASE WHEN waited >= '5 minutes'
                THEN pg_catalog.format('a run has been waiting to start for %s', pg_catalog.date_trunc('second', waited)) END
        ]::pg_catalog.text[], NULL),
        pg_catalog.array_remove(ARRAY[
            CASE WHEN overdue >= '5 seconds' AND overdue < '30 seconds'
                THEN pg_catalog.format('the scheduler is %s past its announced wake-up', pg_catalog.date_trunc('second', overdue)) END,
            CASE WHEN blind >= '5 seconds' AND blind < '30 seconds'
                THEN pg_catalog.format('the scheduler has not been able to read its tables for %s%s',
                    pg_catalog.date_trunc('second', blind), ': ' || pg_catalog.regexp_replace(blind_because, '[[:cntrl:]]', ' ', 'g')) END,
            CASE WHEN waited >= '1 minute' AND waited < '5 minutes'
                THEN pg_catalog.format('a run has been waiting to start for %s', pg_catalog.date_trunc('second', waited)) END,
            CASE WHEN short_of_slots
                THEN 'runs wait for worker processes: max_worker_processes is too low' END,
            CASE WHEN preloaded AND NOT launches
                THEN 'cron.launch_active_jobs is off: no job runs' END,
            CASE WHEN failing > 0
                THEN pg_catalog.format('jobs whose last run failed: %s (%s%s)', failing,
                    pg_catalog.regexp_replace(pg_catalog.array_to_string(failing_names, ', '), '[[:cntrl:]]', ' ', 'g'),
                    CASE WHEN failing > pg_catalog.cardinality(failing_names) THEN ', ...' END) END,
            CASE WHEN broken > 0
                THEN pg_catalog.format('jobs that cannot run, see cron.jobs: %s', broken) END,
            CASE WHEN stuck > 0
                THEN pg_catalog.format('runs that are stuck, see cron.running: %s', stuck) END,
            CASE WHEN greatest(pruned_at, started_at) < pg_catalog.now() - '3 hours'::pg_catalog.interval AND NOT in_recovery
                THEN pg_catalog.format('the history has not been pruned for %s',
                    pg_catalog.date_trunc('minute', pg_catalog.now() - greatest(pruned_at, started_at))) END
        ]::pg_catalog.text[], NULL);
END;
COMMENT ON FUNCTION cron.judge_health(boolean, boolean, int, int, timestamptz, interval, boolean, interval, boolean, bigint, text[], bigint, bigint, timestamptz, interval, text)
    IS 'what is to be said about these facts: what is critical, and what is worth a warning';

CREATE VIEW cron.health WITH (security_invoker = true, security_barrier = true) AS
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
CROSS JOIN LATERAL (
    SELECT coalesce(facts.broken, (SELECT cron.broken_jobs() WHERE server.preloaded)) AS jobs OFFSET 0) AS broken
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

COMMENT ON VIEW cron.health IS 'whether jobs run as they should, in one row: of the reader''s jobs, for a superuser of all; works without a scheduler, on a standby and without the library';
COMMENT ON COLUMN cron.health.status IS 'healthy, warning or critical';
COMMENT ON COLUMN cron.health.reasons IS 'why it is not healthy, what is critical first; empty if it is';
COMMENT ON COLUMN cron.health.preloaded IS 'whether the server has the library in shared_preload_libraries';
COMMENT ON COLUMN cron.health.in_recovery IS 'whether the server is a standby, on which no job runs';
COMMENT ON COLUMN cron.health.scheduler_alive IS 'whether this database has a scheduler';
COMMENT ON COLUMN cron.health.scheduler_pid IS 'its process; NULL if there is none';
COMMENT ON COLUMN cron.health.scheduler_started_at IS 'when it was started';
COMMENT ON COLUMN cron.health.overdue IS 'how long it is past the instant at which it said it would wake up, or since when something is wanted of it that it has not looked at; NULL if it is not';
COMMENT ON COLUMN cron.health.waiting IS 'occurrences that are due and have not started, those behind a run of their own job included; NULL for those who may not know';
COMMENT ON COLUMN cron.health.waited IS 'how long the one has waited that has waited for longest, for a slot or behind a run of its own job; NULL if none does';
COMMENT ON COLUMN cron.health.running IS 'runs under way';
COMMENT ON COLUMN cron.health.stuck IS 'runs that have given no heartbeat for as long as their job''s stuck_after says';
COMMENT ON COLUMN cron.health.slots IS 'worker processes that executors of this database may take';
COMMENT ON COLUMN cron.health.slots_in_use IS 'executors there are';
COMMENT ON COLUMN cron.health.short_of_slots IS 'whether runs wait because no worker process was to be had';
COMMENT ON COLUMN cron.health.jobs IS 'jobs there are';
COMMENT ON COLUMN cron.health.failing_jobs IS 'active jobs whose newest run that counts failed, with nobody having resolved it and no attempt to come';
COMMENT ON COLUMN cron.health.broken_jobs IS 'active jobs that cannot run, for what cron.jobs says in state';
COMMENT ON COLUMN cron.health.keeper_pid IS 'process of the keeper, which prunes the history; NULL if it has nothing to do';
COMMENT ON COLUMN cron.health.history_pruned_at IS 'when the history was pruned last';
COMMENT ON COLUMN cron.health.history_pruned_runs IS 'how many runs were deleted then';
COMMENT ON COLUMN cron.health.history_runs IS 'about how many runs are in cron.job_run_details, as of its last VACUUM or ANALYZE';
COMMENT ON COLUMN cron.health.inactive_jobs IS 'jobs that are switched off; they are in jobs as well';
GRANT SELECT ON TABLE cron.health TO PUBLIC;
