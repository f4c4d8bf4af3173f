-- The SQLSTATE of every error, pg_cron's where pg_cron has the error.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_nologin;
CREATE DATABASE regress_tock_db;
REVOKE CONNECT ON DATABASE regress_tock_db FROM PUBLIC;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO regress_tock_ann;
SELECT cron.schedule('one', '0 1 * * *', 'SELECT 1');
\set VERBOSITY sqlstate

-- 22023: what is not a schedule, a zone or a number of runs
SELECT cron.schedule('x', 'SELECT 1');
SELECT cron.alter_job(1, schedule => 'x');
SELECT cron.next_runs('x');
SELECT cron.next_runs('* * * * *', 1, 'Mars/Olympus');
SELECT cron.next_runs('* * * * *', -1);
SELECT cron.next_runs('* * * * *', 1, NULL, 'infinity');
SELECT cron.next_runs(NULL);

-- XX000: pg_cron's elog(ERROR) and ereport(ERROR) without a code
SELECT cron.schedule(NULL, '* * * * *', 'SELECT 1');
SELECT cron.schedule('x', NULL, 'SELECT 1');
SELECT cron.schedule('x', '* * * * *', NULL);
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', 'postgres', 'regress tock nobody');
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', 'postgres', 'regress_tock_nologin');
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', 'regress_tock_db', 'regress_tock_ann');
SELECT cron.alter_job(NULL);
SELECT cron.alter_job(1);
SELECT cron.alter_job(99, active => true);
SELECT cron.unschedule(99);
SELECT cron.unschedule('x');
SET ROLE regress_tock_ann;
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', 'postgres', 'regress_tock_ann');
SELECT cron.alter_job(1, username => 'regress_tock_ann');

-- 42501: somebody else's job
SELECT cron.unschedule(1);
RESET ROLE;

-- 3D000: no such database
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', 'regress tock nowhere');
SELECT cron.alter_job(1, database => 'regress tock nowhere');

-- 39P01: not a trigger
SELECT cron.job_cache_invalidate();
SELECT cron.job_changed();

-- 25006: not now
BEGIN READ ONLY;
SELECT cron.schedule('* * * * *', 'SELECT 1');
ROLLBACK;

-- 55000: the functions without the extension
ALTER EXTENSION pg_tock DROP FUNCTION cron.schedule(text, text);
BEGIN;
UPDATE pg_extension SET extname = 'pg_tock_renamed' WHERE extname = 'pg_tock';
SELECT cron.schedule('* * * * *', 'SELECT 1');
ROLLBACK;
ALTER EXTENSION pg_tock ADD FUNCTION cron.schedule(text, text);

\set VERBOSITY default
DROP EXTENSION pg_tock;
DROP DATABASE regress_tock_db;
DROP ROLE regress_tock_ann, regress_tock_nologin;
