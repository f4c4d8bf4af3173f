-- next_run_at of cron.job_stats and cron.jobs, which find it in ways of their own: whatever it depends on, they agree,
-- and what they remember of earlier statements shows nowhere. No scheduler runs here.
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
SELECT cron.create_calendar('closed');
INSERT INTO cron.job (jobname, schedule, command, nodename, nodeport, database, username,
    timezone, dst_policy, jitter, run_window, skip_on, only_on, active, paused_until)
SELECT format('%s, %s', schedule, option), schedule, 'SELECT 1', 'localhost', 5432, current_database(), 'regress_tock_ann',
    CASE WHEN option = 'zone' THEN 'Asia/Tokyo' END, CASE WHEN option = 'wall' THEN 'wall' END,
    CASE option WHEN 'jitter' THEN interval '1 hour' WHEN 'no jitter' THEN '0' END,
    CASE WHEN option = 'window' THEN 'mon-fri 09:00-17:00' END, CASE WHEN option = 'skip_on' THEN '{closed}'::text[] END,
    CASE WHEN option = 'only_on' THEN '{closed}'::text[] END, option <> 'inactive',
    CASE option WHEN 'paused' THEN now() + interval '100 days' WHEN 'paused for ever' THEN 'infinity' END
FROM unnest(ARRAY['* * * * *', '0 3 * * *', '30 seconds', 'every 7 minutes', 'every 7 minutes after completion', '@reboot',
        'at 2100-01-01 00:00', 'at 2000-01-01 00:00', '0 0 30 2 *', 'CRON_TZ=Europe/Berlin 0 0 * * *', 'nonsense']) AS schedule,
    unnest(ARRAY['', 'zone', 'wall', 'jitter', 'no jitter', 'window', 'skip_on', 'only_on', 'inactive', 'paused',
        'paused for ever']) AS option;
-- Some have started lately, some of them have run, some are about to start as jitter has it.
INSERT INTO cron.job_state (jobid, effective_from)
    SELECT jobid, now() - jobid * interval '17 seconds' FROM cron.job WHERE jobid % 7 <> 0;
INSERT INTO cron.job_stat (jobid, last_end) SELECT jobid, now() - interval '5 seconds' FROM cron.job WHERE jobid % 3 <> 0;

CREATE VIEW compared AS
SELECT count(*) AS jobs, count(*) FILTER (WHERE s.next_run_at > now()) > 50 AS most_come,
    count(*) FILTER (WHERE s.next_run_at IS DISTINCT FROM j.next_run_at) AS differ
FROM cron.job_stats s JOIN cron.jobs j USING (jobid);
SELECT * FROM compared;
SELECT * FROM compared;
WITH shown AS MATERIALIZED (
    SELECT s.jobid, s.next_run_at FROM cron.job_stats s JOIN cron.job j USING (jobid) WHERE j.active AND j.schedule <> 'nonsense')
SELECT count(*) AS jobs, count(*) FILTER (WHERE next_run_at IS DISTINCT FROM (SELECT min(run_at) FROM cron.job_next_runs(jobid, 1))) AS differ
FROM shown;

-- A calendar, in a transaction that is rolled back, and for good.
BEGIN;
SELECT cron.add_calendar_dates('closed', (now() - interval '2 days')::date, (now() + interval '40 days')::date);
SELECT * FROM compared;
SELECT count(*) FILTER (WHERE next_run_at < now() + interval '39 days') AS skip_on_soon FROM cron.job_stats WHERE jobname ~ 'skip_on$';
SELECT count(*) FILTER (WHERE next_run_at < now() + interval '39 days') AS only_on_soon FROM cron.job_stats WHERE jobname ~ 'only_on$';
ROLLBACK;
SELECT * FROM compared;
SELECT count(*) FILTER (WHERE next_run_at < now() + interval '39 days') AS skip_on_soon FROM cron.job_stats WHERE jobname ~ 'skip_on$';
SELECT count(*) FILTER (WHERE next_run_at < now() + interval '39 days') AS only_on_soon FROM cron.job_stats WHERE jobname ~ 'only_on$';

-- Its owner, within a session and a transaction.
ALTER ROLE regress_tock_ann NOLOGIN;
SELECT count(next_run_at) AS come FROM cron.job_stats;
SELECT * FROM compared;
BEGIN;
ALTER ROLE regress_tock_ann LOGIN;
SELECT count(next_run_at) > 50 AS come FROM cron.job_stats;
SELECT * FROM compared;
ROLLBACK;
SELECT count(next_run_at) AS come FROM cron.job_stats;
ALTER ROLE regress_tock_ann LOGIN;
SELECT * FROM compared;
ALTER ROLE regress_tock_ann RENAME TO regress_tock_bob;
SELECT count(next_run_at) AS come FROM cron.job_stats;
ALTER ROLE regress_tock_bob RENAME TO regress_tock_ann;
SELECT * FROM compared;

-- Its database.
UPDATE cron.job SET database = 'regress_tock_elsewhere' WHERE schedule = '0 3 * * *';
SELECT count(next_run_at) AS come FROM cron.job_stats WHERE jobname ~ '^0 3';
CREATE DATABASE regress_tock_elsewhere;
SELECT count(next_run_at) AS come FROM cron.job_stats WHERE jobname ~ '^0 3';
SELECT * FROM compared;
DROP DATABASE regress_tock_elsewhere;
SELECT count(next_run_at) AS come FROM cron.job_stats WHERE jobname ~ '^0 3';
UPDATE cron.job SET database = repeat('x', 100), username = repeat('y', 100) WHERE schedule = '0 3 * * *';
SELECT * FROM compared;

-- Columns as nobody should write them.
UPDATE cron.job SET timezone = 'Mars/Olympus' WHERE schedule = '* * * * *' AND jobid % 2 = 0;
UPDATE cron.job SET run_window = 'always' WHERE schedule = '* * * * *' AND jobid % 2 = 1;
UPDATE cron.job SET skip_on = '{nonesuch}' WHERE schedule = '30 seconds';
UPDATE cron.job SET nodename = 'elsewhere' WHERE schedule = 'every 7 minutes';
SELECT * FROM compared;
SELECT count(next_run_at) AS come FROM cron.job_stats WHERE jobname ~ '^(\* \*|30 sec|every 7 minutes,)';

-- The functions, with nothing.
SELECT cron.job_may_start(NULL, NULL, NULL, NULL) AS nothing, cron.job_may_start(true, NULL, 'regress_tock_ann', current_database()) AS here,
    cron.job_next_run_by_clock(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) IS NULL AS none,
    cron.job_next_run_by_clock(NULL, '0 0 1 1 *', 'UTC', NULL, NULL, NULL, NULL, NULL, '2030-06-01') = '2031-01-01 00:00+00' AS new_year,
    cron.job_effective_from(NULL) IS NULL AS unknown;
-- A role sees when its own jobs took effect.
GRANT USAGE ON SCHEMA cron TO regress_tock_ann;
SET ROLE regress_tock_ann;
SELECT count(*) > 50 AS own, count(cron.job_effective_from(jobid)) > 50 AS known FROM cron.job;
SELECT count(*) AS others FROM generate_series(1, 200) AS id WHERE cron.job_effective_from(id) IS NOT NULL AND id NOT IN (SELECT jobid FROM cron.job);
SELECT count(*) > 50 AS own, count(*) FILTER (WHERE s.next_run_at IS DISTINCT FROM j.next_run_at) AS differ FROM cron.job_stats s JOIN cron.jobs j USING (jobid);
RESET ROLE;
DROP VIEW compared;
DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann;
