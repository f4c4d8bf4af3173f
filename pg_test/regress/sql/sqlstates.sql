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

-- 22023: options, calendars, previews
SELECT cron.create_job('x', 'often', 'SELECT 1');
SELECT cron.create_job('x', '* * * * *', 'SELECT 1', on_missed => 'never');
SELECT cron.create_job('x', '* * * * *', 'SELECT 1', jitter => '1 month');
SELECT cron.create_job(NULL, '* * * * *', 'SELECT 1');
SELECT cron.set_job('one', '{"nonesuch": 1}');
SELECT cron.set_job('one', '{"tags": 1}');
SELECT cron.set_job('one', '{"timezone": "Mars/Olympus"}');
SELECT cron.set_job('one', NULL);
SELECT cron.pause('one', 'yesterday');
SELECT cron.create_calendar('');
SELECT cron.validate_schedule(NULL);
SELECT cron.explain_schedule('x');
SELECT cron.job_next_runs('one', -1);
SELECT cron.forecast('-1 day');
SELECT cron.backfill('one', now(), now() - interval '1 day');
SELECT cron.run_now('one', NULL);
SELECT cron.run_now_tagged(NULL);
SELECT cron.cancel_run(NULL);

-- 22023: requests and secrets
SELECT cron.create_http_job('x', '* * * * *', 'ftp://example.com/');
SELECT cron.create_http_job('x', '* * * * *', NULL);
SELECT cron.create_job('{"job_name": "x", "schedule": "* * * * *", "command": "SELECT 1", "url": "https://example.com/"}');
SELECT cron.set_job('one', '{"url": "https://example.com/"}');
SELECT cron.set_secret('not a name', 'value');
SELECT cron.set_secret('x', '');
SELECT cron.set_secret('x', NULL);

-- 42704: no such secret; 42501: not to be used, somebody else's; 2BP01: in use; 22023: the key is gone
SELECT cron.create_http_job('x', '* * * * *', 'https://example.com/{{secret:nonesuch}}');
SELECT cron.drop_secret('nonesuch');
SELECT cron.set_secret('mine', 'value');
SELECT cron.create_http_job('http', '* * * * *', 'https://example.com/{{secret:mine}}') > 0 AS stored;
SELECT cron.drop_secret('mine');
SET ROLE regress_tock_ann;
SELECT cron.create_http_job('x', '* * * * *', 'https://example.com/{{secret:mine}}');
SELECT cron.set_secret('mine', 'other');
SELECT cron.grant_secret('mine', 'regress_tock_ann');
SELECT cron.rotate_secrets();
RESET ROLE;
UPDATE cron.secret SET value = '\x01016b' || decode(repeat('00', 40), 'hex') WHERE name = 'mine';
SELECT cron.rotate_secrets();
SELECT cron.unschedule('http');
SELECT cron.drop_secret('mine');

-- 42704: no such job, run, role, calendar
SELECT cron.set_job('nonesuch', '{}');
SELECT cron.set_job(99, '{}');
SELECT cron.pause('nonesuch');
SELECT cron.resume(99);
SELECT cron.run_now(99);
SELECT cron.cancel_run(99);
SELECT cron.job_next_runs('nonesuch');
SELECT cron.set_job('one', '{"username": "regress tock nobody"}');
SELECT cron.set_job('one', '{"skip_on": ["nonesuch"]}');
SELECT cron.add_calendar_dates('nonesuch', '2020-01-01');
SELECT cron.drop_calendar('nonesuch');

-- 0P000: a role that cannot log in; 3D000: no such database; 42710: there already; 2BP01: in use
SELECT cron.set_job('one', '{"username": "regress_tock_nologin"}');
SELECT cron.set_job('one', '{"database": "regress tock nowhere"}');
SELECT cron.create_calendar('calendar'), cron.set_job('one', '{"skip_on": ["calendar"]}');
SELECT cron.create_calendar('calendar');
SELECT cron.drop_calendar('calendar');

-- 42725: a name several owners have, for a superuser who has none of it himself
SELECT cron.create_job('two', '0 1 * * *', 'SELECT 1', username => 'regress_tock_ann') > 0 AS stored;
SELECT cron.set_job('two', '{"username": "postgres"}');
SELECT cron.create_job('two', '0 1 * * *', 'SELECT 1', username => 'regress_tock_ann') > 0 AS stored;
UPDATE cron.job SET username = 'somebody' WHERE jobname = 'two' AND username = current_user;
SELECT cron.pause('two');

-- 23505: a job is not given to a role that has one of its name
SELECT cron.create_job('two', '0 1 * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.set_job('two', '{"username": "regress_tock_ann"}');

-- 42501: somebody else's job, run, role, calendar, or a database that is out of reach
SELECT cron.run_now(1) AS run \gset
SET ROLE regress_tock_ann;
SELECT cron.set_job(1, '{}');
SELECT cron.pause(1);
SELECT cron.resume(1);
SELECT cron.job_next_runs(1);
SELECT cron.backfill(1, now(), now());
SELECT cron.run_now(1);
SELECT cron.cancel_run(:run);
SELECT cron.create_job('x', '0 1 * * *', 'SELECT 1', username => 'postgres');
SELECT cron.set_job('two', '{"username": "postgres"}');
SELECT cron.create_job('x', '0 1 * * *', 'SELECT 1', database => 'regress_tock_db');
SELECT cron.add_calendar_dates('calendar', '2020-01-01');
SELECT cron.drop_calendar('calendar');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) FROM regress_tock_ann;
SET ROLE regress_tock_ann;
SELECT cron.set_job('two', '{"database": "template1"}');
RESET ROLE;

-- 25006: not now
BEGIN READ ONLY;
SELECT cron.create_job('x', '* * * * *', 'SELECT 1');
ROLLBACK;

-- 55000: a job that is not to run now, and one that cannot run
SELECT cron.pause(1);
SELECT cron.run_now(1);
SELECT cron.resume(1);
UPDATE cron.job SET schedule = 'x' WHERE jobid = 1;
SELECT cron.job_next_runs(1);
SELECT cron.backfill(1, '2020-01-01', '2020-01-02');

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
