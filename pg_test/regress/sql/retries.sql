-- Runs that failed: cron.dead_letters, cron.retry_run, cron.resolve_run. That runs are tried again is
-- tested on a server with a scheduler.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
SELECT cron.create_job('daily', '0 3 * * *', 'SELECT 2', username => 'regress_tock_ann') AS id \gset
-- The view, but not in \d+'s words: they differ between PostgreSQL's majors.
SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum)
FROM pg_attribute WHERE attrelid = 'cron.dead_letters'::regclass AND attnum > 0 ORDER BY attnum;
SELECT relkind, reloptions FROM pg_class WHERE oid = 'cron.dead_letters'::regclass;
-- Seven days: succeeded; failed; failed and then succeeded; failed twice; timed out; crashed; cancelled after a failure
INSERT INTO cron.job_run_details (jobid, runid, username, database, command, jobname, scheduled_for, attempt, trigger, status, outcome, sqlstate, reason, return_message, start_time, end_time)
SELECT :id, r, 'regress_tock_ann', (SELECT database FROM cron.job), 'SELECT 1', 'daily', '2020-01-01 03:00+00'::timestamptz + d * interval '1 day', a, 'schedule', s, o, CASE o WHEN 'failed' THEN '22012' END, CASE o WHEN 'crashed' THEN 'server restarted' END, o, '2020-02-01', '2020-02-02'
FROM (VALUES
    (1, 0, 1, 'succeeded', 'succeeded'),
    (2, 1, 1, 'failed', 'failed'),
    (3, 2, 1, 'failed', 'failed'),
    (4, 2, 2, 'succeeded', 'succeeded'),
    (5, 3, 1, 'failed', 'failed'),
    (6, 3, 2, 'failed', 'failed'),
    (7, 4, 1, 'failed', 'timeout'),
    (8, 5, 1, 'failed', 'crashed'),
    (9, 6, 1, 'failed', 'failed'),
    (10, 6, 2, 'failed', 'cancelled')) AS v (r, d, a, s, o);
-- As pg_cron left them
INSERT INTO cron.job_run_details (jobid, runid, username, status, start_time, end_time) VALUES (:id, 11, 'regress_tock_ann', 'failed', now(), now());
SELECT setval('cron.runid_seq', 100);
SELECT * FROM cron.dead_letters;

-- Once more
SELECT cron.retry_run(2);
SELECT runid, jobid = :id AS of_job, scheduled_for, attempt, trigger, force, requested_by = current_user AS by_me, not_before, command FROM cron.run_request;
SELECT runid FROM cron.dead_letters;
SELECT cron.retry_run(2);
SELECT cron.retry_run(101);
SELECT cron.resolve_run(2, 'failed');
SELECT cron.retry_run(5);
SELECT scheduled_for, attempt FROM cron.run_request WHERE runid = 102;
SELECT cron.retry_run(1);
SELECT cron.retry_run(3);
SELECT cron.retry_run(11);
SELECT cron.retry_run(12);
SELECT cron.retry_run(NULL);
-- A cancelled one may be run again.
SELECT cron.retry_run(10);
DELETE FROM cron.run_request;
-- Under way
UPDATE cron.job_run_details SET status = 'running', outcome = NULL, end_time = NULL WHERE runid = 10;
SELECT cron.retry_run(9);
UPDATE cron.job_run_details SET status = 'failed', outcome = 'cancelled', end_time = now() WHERE runid = 10;

-- Resolved
SELECT cron.resolve_run(8, 'succeeded', 'the work was done');
SELECT cron.resolve_run(7, 'failed');
SELECT status, outcome, reason FROM cron.job_run_details WHERE runid IN (7, 8) ORDER BY runid;
SELECT runid FROM cron.dead_letters;
SELECT cron.retry_run(8);
SELECT cron.retry_run(7);
SELECT count(*) FROM cron.backfill(:id, '2020-01-06 03:00+00', '2020-01-06 03:00+00');
SELECT cron.resolve_run(5, 'failed');
SELECT cron.resolve_run(4, 'failed');
SELECT cron.resolve_run(10, 'failed');
SELECT cron.resolve_run(12, 'failed');
SELECT cron.resolve_run(2, 'done');
SELECT cron.resolve_run(2, NULL);
SELECT cron.resolve_run(NULL, 'failed');

-- Rights
SET ROLE regress_tock_ann;
SELECT runid FROM cron.dead_letters;
SELECT cron.retry_run(2);
SELECT cron.resolve_run(6, 'succeeded', 'müde');
SELECT runid, reason FROM cron.job_run_details WHERE runid = 6;
SELECT command, requested_by FROM cron.run_request WHERE scheduled_for = '2020-01-02 03:00+00';
SET ROLE regress_tock_bob;
SELECT runid FROM cron.dead_letters;
SELECT cron.retry_run(5);

SELECT cron.resolve_run(6, 'failed');
RESET ROLE;

-- A job that has become somebody else's, or is gone
DELETE FROM cron.run_request;
SELECT cron.alter_job(:id, username => 'regress_tock_bob');
SELECT cron.retry_run(2);
SELECT cron.unschedule(:id);
SELECT cron.retry_run(2);
SET ROLE regress_tock_ann;
SELECT cron.resolve_run(2, 'failed', 'the job is gone');
RESET ROLE;
SELECT runid FROM cron.dead_letters;

\set VERBOSITY sqlstate
SELECT cron.retry_run(12);
SELECT cron.retry_run(2);
SELECT cron.retry_run(1);
SELECT cron.retry_run(NULL);
SELECT cron.resolve_run(2, 'done');
SELECT cron.resolve_run(1, 'failed');
\set VERBOSITY default

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob;
