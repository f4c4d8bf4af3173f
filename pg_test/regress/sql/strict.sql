\set SHOW_CONTEXT never
-- The second pass: a list of databases, no jobs of superusers, background workers, an unknown zone.

-- The server has started; the zone is GMT, as is said in its log.
SHOW cron.timezone;

-- The guard takes the list, blanks and all.
\connect postgres
CREATE EXTENSION pg_tock;
\connect contrib_regression
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;

-- With background workers the limit is another, as in pg_cron.
SELECT l.setting AS running_jobs, l.min_val, l.max_val::int = w.setting::int - 1 AS bound_as_in_pg_cron,
    l.boot_val::int = least(w.setting::int - 1, 5) AS default_as_in_pg_cron
FROM pg_settings l, pg_settings w
WHERE l.name = 'cron.max_running_jobs' AND w.name = 'max_worker_processes';

-- Superusers get no jobs, and by pg_cron's rule alter none either, except for another role.
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_super LOGIN SUPERUSER;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann;
SELECT cron.schedule('0 3 29 2 *', 'SELECT 1');
SELECT cron.schedule_in_database('mine', '0 3 29 2 *', 'SELECT 1', 'postgres');
SELECT cron.schedule_in_database('super', '0 3 29 2 *', 'SELECT 1', 'postgres', 'regress_tock_super');
SELECT cron.schedule_in_database('for ann', '0 3 29 2 *', 'SELECT 1', 'postgres', 'regress_tock_ann');
SELECT cron.create_job('mine', '0 3 29 2 *', 'SELECT 1');
SELECT cron.create_job('super', '0 3 29 2 *', 'SELECT 1', username => 'regress_tock_super');
SELECT cron.create_job('by option', '0 3 29 2 *', 'SELECT 1', username => 'regress_tock_ann') > 0 AS stored;
SELECT cron.set_job('by option', '{"username": "regress_tock_super"}');
SELECT cron.alter_job(1, active => false);
SELECT cron.alter_job(1, active => false, username => 'regress_tock_ann');
\set VERBOSITY sqlstate
SELECT cron.schedule('0 3 29 2 *', 'SELECT 1');
\set VERBOSITY default

-- Where cron.database_name is a list, a job belongs to the database it was scheduled in.
SET ROLE regress_tock_ann;
SELECT cron.schedule('here', '0 3 29 2 *', 'SELECT 1') > 0 AS stored;
SELECT jobname, database, nodename, active FROM cron.job ORDER BY jobname;
-- cron.host is this server; that no job is launched makes every job inactive.
SELECT jobname, timezone, state, next_run_at FROM cron.jobs ORDER BY jobname;
RESET ROLE;

-- What holds for a job that does not say, and for one that does.
SELECT cron.create_job('says', '0 3 29 2 *', 'SELECT 1', username => 'regress_tock_ann', on_missed => 'skip', missed_window => '0') > 0 AS stored;
SELECT jobname, on_missed, missed_window FROM cron.jobs WHERE jobname IN ('says', 'here') ORDER BY jobname;
SET ROLE regress_tock_ann;
SELECT cron.create_job('elsewhere', '0 3 29 2 *', 'SELECT 1', database => 'postgres');
RESET ROLE;
-- No job is launched, so none has a coming run.
SELECT count(*) FROM cron.job_next_runs('says');
SELECT count(*) FROM cron.forecast('366 days');
SELECT count(*) FROM cron.upcoming;
-- The wall clock decides where cron.default_dst_policy says so: 1:30 comes twice.
SELECT local_time, note FROM cron.next_runs('30 1 * * *', 3, 'America/New_York', '2026-11-01 00:00+00');
-- Jitter by default
SELECT cron.job_next_run(1, '0 0 1 1 *', 'UTC', NULL, NULL, NULL, NULL, NULL, '2030-06-01', NULL, NULL) - timestamptz '2031-01-01 00:00+00' BETWEEN '1 microsecond' AND '10 minutes' AS jittered,
    cron.job_next_run(1, '0 0 1 1 *', 'UTC', NULL, '0', NULL, NULL, NULL, '2030-06-01', NULL, NULL) = '2031-01-01 00:00+00' AS not_jittered;

-- Both day fields: Friday the 13th.
SET timezone = 'UTC';
SELECT run_at FROM cron.next_runs('0 0 13 * 5', 2, 'UTC', '2026-01-01 00:00+00');
RESET timezone;
-- So there is nothing doubtful about it.
SELECT * FROM cron.validate_schedule('0 0 13 * 5');
SELECT line FROM cron.explain_schedule('0 0 13 * 5', 'UTC') AS line WHERE line NOT LIKE 'Next%';

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_super;

-- A database whose encoding is not UTF-8: names and commands arrive byte for byte.
CREATE DATABASE regress_tock_latin1 ENCODING 'LATIN1' TEMPLATE template0;
\connect regress_tock_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_tock;
CREATE ROLE "regress_tock_Jürgen" LOGIN;
GRANT USAGE ON SCHEMA cron TO "regress_tock_Jürgen";
SET ROLE "regress_tock_Jürgen";
SELECT cron.schedule('täglich', '0 3 29 2 *', 'SELECT ''ß''');
SELECT cron.schedule('täglich', '0 4 29 2 *', 'SELECT ''ß''');
SELECT jobname, schedule, command, username, convert_to(command, 'LATIN1') AS bytes FROM cron.jobs;
SELECT cron.schedule('wrong', '0 4 ä 2 *', 'SELECT 1');
SELECT cron.unschedule('nächtlich');
SELECT cron.unschedule('täglich');
SELECT cron.create_calendar('März');
SELECT cron.add_calendar_dates('März', '2020-03-01', '2020-03-31', 'für ''täglich''');
SELECT cron.create_job('täglich', '0 3 * * *', 'SELECT ''ß''', description => 'größe', tags => '{ä,ö}', skip_on => '{März}') > 0 AS stored;
SELECT cron.set_job('täglich', '{"only_on": ["März"], "skip_on": null, "username": "regress_tock_Jürgen"}');
SELECT jobname, command, username, description, tags, skip_on, only_on, convert_to(command, 'LATIN1') AS bytes FROM cron.job;
SELECT cron.pause('täglich', reason => 'Grüße');
SELECT paused_by, pause_reason FROM cron.job;
SELECT count(*) FROM cron.backfill('täglich', '2020-02-01', '2020-03-03');
-- Where a message cannot have the letter, it has a question mark; what the encoding lacks is refused.
SELECT cron.set_job('täglich', '{"only_on": ["Mörz"]}');
SELECT cron.set_job('täglich', '{"schedule": "0 3 * * ä"}');
SELECT cron.set_job('täglich', '{"schedule": "0 3 * * * ä"}');
SELECT cron.set_job('täglich', '{"ä": 1}');
-- 15 words this as the conversion does, later versions as the JSON parser does.
\set VERBOSITY sqlstate
SELECT cron.set_job('täglich', '{"description": "\u6f22"}');
\set VERBOSITY default
SELECT cron.drop_calendar('März');
SELECT cron.unschedule('täglich');
SELECT cron.drop_calendar('März');
RESET ROLE;
INSERT INTO cron.job (schedule, command, nodeport, jobname, timezone) VALUES ('ä', 'SELECT 1', 1, 'ü', 'Europe/Zürich');
SELECT jobname, schedule, timezone, active FROM cron.jobs;
SELECT count(*) FROM cron.job_stats;
DELETE FROM cron.job;
DROP EXTENSION pg_tock;
DROP ROLE "regress_tock_Jürgen";
