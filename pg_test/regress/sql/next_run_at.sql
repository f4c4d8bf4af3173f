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

-- What is remembered of a job holds for its columns, until its instant has passed: the end of a pause is a clock that can be
-- moved, to and fro. Each line is asked for twice.
UPDATE cron.job SET active = true, nodename = 'localhost', database = current_database(), username = 'regress_tock_ann';
CREATE VIEW moved AS
SELECT count(*) AS asked, count(f.at) > 200 AS most_come, count(*) FILTER (WHERE f.at IS DISTINCT FROM n.at) AS differ
FROM (VALUES (0), (59), (30), (86400), (0)) AS clock (seconds), cron.job j
    LEFT JOIN cron.job_state s USING (jobid) LEFT JOIN cron.job_stat t USING (jobid),
    LATERAL (SELECT greatest(j.paused_until, '2031-03-29 23:59:30+00'::timestamptz + seconds * interval '1 second')) AS p (until),
    LATERAL (SELECT cron.job_next_run_at(j.jobid, j.active, j.nodename, j.username, j.database, j.schedule, j.timezone, j.dst_policy,
        j.jitter, j.run_window, j.skip_on, j.only_on, p.until)) AS f (at),
    LATERAL (SELECT cron.job_next_run(j.jobid, j.schedule, j.timezone, j.dst_policy, j.jitter, j.run_window, j.skip_on, j.only_on,
        p.until, s.effective_from, t.last_end)) AS n (at)
WHERE j.schedule !~ '30 2|2000|@reboot|nonsense' AND j.only_on IS NULL;
SELECT * FROM moved;
SELECT * FROM moved;
SET timezone = 'Asia/Tokyo';
SELECT * FROM moved;
RESET timezone;
-- Changes of what a job starts by: through cron.alter_job, and each column alone.
SELECT count(cron.alter_job(jobid, schedule => '*/7 3-4 * * *')) > 0 AS altered FROM cron.job WHERE schedule = '* * * * *';
SELECT * FROM moved;
UPDATE cron.job SET jitter = CASE WHEN jitter IS NULL THEN interval '20 minutes' END;
SELECT * FROM moved;
UPDATE cron.job SET timezone = CASE WHEN timezone IS NULL THEN 'America/New_York' END WHERE timezone IS DISTINCT FROM 'Mars/Olympus';
SELECT * FROM moved;
UPDATE cron.job SET run_window = CASE WHEN run_window IS NULL THEN '00:00-05:00' END;
SELECT * FROM moved;
UPDATE cron.job SET dst_policy = CASE WHEN dst_policy IS NULL THEN 'wall' END;
SELECT * FROM moved;
UPDATE cron.job SET skip_on = CASE WHEN skip_on IS NULL THEN '{closed}'::text[] END;
SELECT * FROM moved;
-- Ids far apart, and columns longer than what is remembered of them.
INSERT INTO cron.job (jobid, jobname, schedule, command, nodename, nodeport, database, username, timezone, run_window)
SELECT jobid + far, jobname || far, schedule || CASE WHEN far < 0 THEN repeat(' ', 100) ELSE '' END, command, nodename, nodeport, database,
    username, timezone, run_window FROM cron.job, unnest(ARRAY[16384, 9000000000000000000, -200]) AS far WHERE schedule ~ '/|^0 3|after';
SELECT * FROM moved;
SELECT * FROM moved;
-- What intervals count from, in a transaction that is rolled back, and for good.
BEGIN;
UPDATE cron.job_state SET effective_from = effective_from - interval '11 seconds';
UPDATE cron.job_stat SET last_end = last_end - interval '3 seconds';
SELECT * FROM moved;
SAVEPOINT here;
UPDATE cron.job_state SET effective_from = effective_from - interval '11 seconds';
SELECT * FROM moved;
ROLLBACK TO here;
SELECT * FROM moved;
ROLLBACK;
SELECT * FROM moved;
DELETE FROM cron.job_state WHERE jobid % 2 = 0;
SELECT count(*) FILTER (WHERE s.next_run_at IS DISTINCT FROM j.next_run_at) AS differ FROM cron.job_stats s JOIN cron.jobs j USING (jobid)
    WHERE EXISTS (SELECT FROM cron.job_state st WHERE st.jobid = s.jobid);
DROP VIEW moved;

-- The function, with nothing.
SELECT cron.job_next_run_at(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) IS NULL AS nothing,
    cron.job_next_run_at(1, true, 'localhost', 'regress_tock_ann', current_database(), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) IS NULL AS none,
    cron.job_next_run_at(1, true, '', 'regress_tock_ann', current_database(), '0 0 1 1 *', 'UTC', NULL, NULL, NULL, NULL, NULL, '2030-06-01')
        = '2031-01-01 00:00+00' AS new_year;
-- A role learns when its own jobs took effect, by row security, as by a statement: a job of somebody else counts from now.
UPDATE cron.job SET username = 'postgres' WHERE schedule = 'every 7 minutes' AND jobid % 4 = 1;
UPDATE cron.job_state SET effective_from = '2001-01-01';
PREPARE counted (bigint[]) AS SELECT CASE WHEN jobid % 4 = 1 THEN 'theirs' ELSE 'own' END AS whose,
        count(*) FILTER (WHERE cron.job_next_run_at(jobid, true, 'localhost', 'regress_tock_ann', current_database(), 'every 7 minutes', NULL,
            NULL, '0', NULL, NULL, NULL, '2031-01-01')
            = cron.job_next_run(jobid, 'every 7 minutes', NULL, NULL, '0', NULL, NULL, NULL, '2031-01-01', '2001-01-01', NULL)) > 0 AS known
    FROM unnest($1) AS jobid GROUP BY 1 ORDER BY 1;
SELECT array_agg(jobid) AS ids FROM cron.job_state JOIN cron.job USING (jobid) WHERE schedule = 'every 7 minutes' \gset
EXECUTE counted (:'ids');
GRANT USAGE ON SCHEMA cron TO regress_tock_ann;
SET ROLE regress_tock_ann;
EXECUTE counted (:'ids');
RESET ROLE;
ALTER ROLE regress_tock_ann BYPASSRLS;
SET ROLE regress_tock_ann;
EXECUTE counted (:'ids');
RESET ROLE;
ALTER ROLE regress_tock_ann NOBYPASSRLS;
SET ROLE regress_tock_ann;
EXECUTE counted (:'ids');
SELECT count(*) > 50 AS own, count(*) FILTER (WHERE s.next_run_at IS DISTINCT FROM j.next_run_at) AS differ FROM cron.job_stats s JOIN cron.jobs j USING (jobid);
RESET ROLE;
-- Without the right to read what that depends on.
REVOKE SELECT ON cron.job_state FROM PUBLIC;
SET ROLE regress_tock_ann;
EXECUTE counted (:'ids');
RESET ROLE;
GRANT SELECT ON cron.job_state TO PUBLIC;
DROP VIEW compared;
DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann;
