-- The views, over rows as the scheduler writes them.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_login LOGIN;
CREATE ROLE regress_tock_nologin;

-- Every state a job can be in without running
INSERT INTO cron.job (jobid, jobname, schedule, command, nodeport, database, username, nodename, active, timezone) VALUES
    (1, 'fine', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', true, 'Europe/Berlin'),
    (2, 'at start', '@reboot', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', true, NULL),
    (3, 'switched off', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', false, NULL),
    (4, 'unreadable', 'sometimes', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', true, NULL),
    (5, 'unknown zone', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', true, 'Mars/Olympus'),
    (6, 'owner gone', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_gone', 'localhost', true, NULL),
    (7, 'owner barred', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_nologin', 'localhost', true, NULL),
    (8, 'nowhere', '0 1 * * *', 'SELECT 1', 1, 'regress tock nowhere', 'regress_tock_login', 'localhost', true, NULL),
    (9, 'not here', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'db2.example.org', true, NULL),
    (10, 'never', '0 0 30 2 *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', true, NULL),
    (11, 'here by address', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', '127.0.0.1', true, NULL),
    (12, 'here by address 6', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', '::1', true, NULL),
    (13, 'here by socket', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', '/var/run/postgresql', true, NULL),
    (14, 'here by default', '0 1 * * *', 'SELECT 1', 1, 'postgres', 'regress_tock_login', '', true, NULL),
    (15, NULL, '30 seconds', 'SELECT 1', 1, 'postgres', 'regress_tock_login', 'localhost', true, NULL);
INSERT INTO cron.job_state (jobid, effective_from) VALUES (15, date_trunc('minute', now()));
SELECT jobid, jobname, timezone, state, next_run_at IS NOT NULL AS has_next FROM cron.jobs ORDER BY jobid;

-- The next run is the one next_runs says; an interval counts from when the job took effect.
SELECT j.next_run_at = n.run_at AS same FROM cron.jobs j, cron.next_runs('0 1 * * *', 1, 'Europe/Berlin') n WHERE jobid = 1;
SELECT next_run_at > now() AS later, next_run_at <= now() + interval '30 seconds' AS soon,
    extract(second FROM next_run_at) IN (0, 30) AS on_the_grid FROM cron.jobs WHERE jobid = 15;

-- Statistics
INSERT INTO cron.job_stat (jobid, total_runs, successful_runs, failed_runs, total_ms, max_ms, last_run_at, last_runid, last_status, last_error) VALUES
    (1, 3, 2, 1, 1000, 700.12345, '2026-01-02 01:00+00', 12, 'failed', 'division by zero'),
    (2, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL),
    (99, 5, 5, 0, 5, 1, now(), 1, 'succeeded', NULL);
SELECT jobid, jobname, total_runs, successful_runs, failed_runs, success_rate, avg_duration_ms, max_duration_ms, last_run_at, last_status, last_error,
    next_run_at IS NOT NULL AS has_next
FROM cron.job_stats WHERE jobid IN (1, 2, 3, 99) ORDER BY jobid;
SELECT last_run_at, last_status FROM cron.jobs WHERE jobid = 1;

-- Runs, newest first, 1000 of them
INSERT INTO cron.job_run_details (jobid, runid, jobname, username, status, outcome, start_time, end_time)
SELECT 1, n, 'fine', 'regress_tock_login', 'succeeded', 'succeeded', '2026-01-01'::timestamptz + n * interval '1 minute', '2026-01-01'::timestamptz + n * interval '1 minute 0.25 seconds'
FROM generate_series(1, 1500) n;
INSERT INTO cron.job_run_details (jobid, runid, jobname, username, status, outcome, sqlstate, return_message, error, start_time, end_time) VALUES
    (1, 2001, 'fine', 'regress_tock_login', 'failed', 'timeout', '57014', E'ERROR:  canceling statement due to user request\n', '{"message": "canceling statement due to user request"}', '2026-02-01 00:00+00', '2026-02-01 00:00:09+00'),
    (1, 2002, 'fine', 'regress_tock_login', 'running', NULL, NULL, NULL, NULL, now() - interval '1 hour', NULL);
SELECT count(*), min(runid), max(runid) FROM cron.recent_runs;
SELECT runid, jobname, status, outcome, duration >= interval '1 hour' AS long FROM cron.recent_runs LIMIT 3;
SELECT runid, outcome, sqlstate, duration, error FROM cron.failed_runs;
SELECT count(*) FROM cron.running;

-- The planner has an index for what these views read.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT jobid FROM cron.job_run_details WHERE status = 'failed' ORDER BY runid DESC LIMIT 1000;
EXPLAIN (COSTS OFF) SELECT jobid FROM cron.job_run_details WHERE end_time IS NULL;
RESET enable_seqscan;
RESET enable_bitmapscan;
RESET enable_sort;

-- Neither the jobs nor their statistics are computed from the history, however long it is.
SELECT DISTINCT v.relname AS view, c.relname AS reads
FROM pg_rewrite r
JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid AND c.oid <> v.oid AND c.relnamespace = v.relnamespace
WHERE v.oid IN ('cron.jobs'::regclass, 'cron.job_stats'::regclass)
ORDER BY 1, 2;

-- One job's state costs one look, not one at every job.
SET enable_seqscan = off;
DO $$
DECLARE
    line text;
    by_index boolean := false;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN SELECT * FROM cron.job_stats WHERE jobid = 1' LOOP
        by_index := by_index OR line LIKE '%Index Scan using job_pkey on job%';
    END LOOP;
    RAISE NOTICE 'found by index: %', by_index;
END $$;
RESET enable_seqscan;

-- Nobody writes through them.
UPDATE cron.jobs SET active = false;
DELETE FROM cron.recent_runs;

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_login, regress_tock_nologin;
