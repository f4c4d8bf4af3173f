-- cron.job written directly: allowed to those who have the rights, and never looked at.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;

-- pg_cron's columns alone, as a dump of pg_cron 1.6 has them
COPY cron.job (jobid, schedule, command, nodename, nodeport, database, username, active, jobname) FROM stdin;
7	*/5 * * * *	SELECT 1	localhost	5432	postgres	postgres	t	\N
8	nonsense	SELECT 1	localhost	5432	postgres	postgres	f	named
\.
SELECT pg_catalog.setval('cron.jobid_seq', 8, true);
COPY cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time) FROM stdin;
7	41	1234	postgres	postgres	SELECT 1	succeeded	1 row	2026-01-01 00:00:00+00	2026-01-01 00:00:01+00
7	42	\N	postgres	postgres	SELECT 1	failed	server restarted	\N	\N
\.
SELECT pg_catalog.setval('cron.runid_seq', 42, true);
SELECT * FROM cron.job ORDER BY jobid;
SELECT cron.schedule('0 1 * * *', 'next id');
SELECT runid, status, jobname, scheduled_for, attempt, outcome FROM cron.job_run_details ORDER BY runid;

-- A column that is left out has its default; the port needs a TCP connection to have one.
INSERT INTO cron.job (schedule, command) VALUES ('0 2 * * *', 'SELECT 2');
INSERT INTO cron.job (schedule, command, nodeport) VALUES ('0 2 * * *', 'SELECT 2', 1) RETURNING nodename, database, active, jobname, timezone, description, tags;
UPDATE cron.job SET timezone = 'Europe/Berlin', description = 'twice', tags = ARRAY['a', 'b'] WHERE jobid = 7;
-- What the scheduler could not read is refused, and whatever else a row says is shown by cron.jobs.
\set VERBOSITY terse
UPDATE cron.job SET alert_below_success = 'Infinity' WHERE jobid = 7;
UPDATE cron.job SET alert_below_success = 'NaN' WHERE jobid = 7;
UPDATE cron.job SET alert_if_times_slower = 'NaN' WHERE jobid = 7;
UPDATE cron.job SET retry_backoff = 'NaN' WHERE jobid = 7;
UPDATE cron.job SET retry_backoff = 0 WHERE jobid = 7;
UPDATE cron.job SET skip_on = ARRAY[NULL]::text[] WHERE jobid = 7;
UPDATE cron.job SET only_on = ARRAY['here', NULL] WHERE jobid = 7;
UPDATE cron.job SET run_after = ARRAY['ok', NULL] WHERE jobid = 7;
UPDATE cron.job SET run_after = ARRAY[ARRAY['ok']] WHERE jobid = 7;
UPDATE cron.job SET tags = ARRAY[NULL]::text[] WHERE jobid = 7;
UPDATE cron.job SET keep_days = 200000000 WHERE jobid = 7;
UPDATE cron.job SET keep_runs = -1 WHERE jobid = 7;
\set VERBOSITY default
UPDATE cron.job SET skip_on = '{}', retry_backoff = 1.5, alert_below_success = 100, keep_days = 0 WHERE jobid = 7;
-- Names are unique for their owner; jobs without one never conflict.
INSERT INTO cron.job (schedule, command, nodeport, jobname) VALUES ('0 2 * * *', 'SELECT 2', 1, 'named'), ('0 3 * * *', 'SELECT 3', 1, 'named');
DELETE FROM cron.job WHERE jobid = 8;

-- An occurrence has one row for each attempt.
INSERT INTO cron.job_run_details (jobid, scheduled_for, attempt) VALUES (7, '2026-01-01 00:05+00', 1), (7, '2026-01-01 00:05+00', 2);
INSERT INTO cron.job_run_details (jobid, scheduled_for, attempt) VALUES (7, '2026-01-01 00:05+00', 2);

-- History outlives its job.
DELETE FROM cron.job WHERE jobid = 7;
SELECT count(*) FROM cron.job_run_details WHERE jobid = 7;
TRUNCATE cron.job;

-- The trigger functions are for triggers, and ours for tables like cron.job.
SELECT cron.job_cache_invalidate();
SELECT cron.job_changed();
CREATE TABLE regress_tock_other (a int);
CREATE TRIGGER t AFTER INSERT ON regress_tock_other FOR EACH ROW EXECUTE FUNCTION cron.job_changed();
INSERT INTO regress_tock_other VALUES (1);
DROP TRIGGER t ON regress_tock_other;
CREATE TRIGGER t AFTER INSERT ON regress_tock_other FOR EACH STATEMENT EXECUTE FUNCTION cron.job_cache_invalidate();
INSERT INTO regress_tock_other VALUES (1);
DROP TABLE regress_tock_other;
