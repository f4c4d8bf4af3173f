-- cron.backfill: what it asks for. That it runs is tested on a server with a scheduler.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team LOGIN;
GRANT regress_tock_team TO regress_tock_ann;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
SELECT cron.create_job('daily', '0 3 * * *', 'SELECT 1', timezone => 'Europe/Berlin', username => 'regress_tock_ann') AS id \gset

-- Ten days: one succeeded, one failed twice, one runs, one is there without an end
INSERT INTO cron.job_run_details (jobid, runid, username, scheduled_for, attempt, status, outcome, start_time, end_time) VALUES
    (:id, 1, 'regress_tock_ann', '2020-01-02 02:00+00', 1, 'succeeded', 'succeeded', now(), now()),
    (:id, 2, 'regress_tock_ann', '2020-01-03 02:00+00', 1, 'failed', 'failed', now(), now()),
    (:id, 3, 'regress_tock_ann', '2020-01-03 02:00+00', 2, 'failed', 'crashed', now(), now()),
    (:id, 4, 'regress_tock_ann', '2020-01-04 02:00+00', 1, 'running', NULL, now(), NULL),
    (:id, 5, 'regress_tock_ann', '2020-01-05 02:00+00', 1, 'failed', 'failed', now(), now()),
    (:id, 6, 'regress_tock_ann', '2020-01-05 02:00+00', 2, 'succeeded', 'succeeded', now(), now());
SELECT setval('cron.runid_seq', 100);
SELECT cron.backfill('daily', '2020-01-01 02:00+00', '2020-01-10 02:00+00') AS runid;
SELECT runid, jobid = :id AS of_job, scheduled_for, attempt, trigger, force, requested_by = current_user AS by_me
FROM cron.run_request ORDER BY runid;
-- Again: nothing that is not missing any more. Further: what is new.
SELECT count(*) FROM cron.backfill(:id, '2020-01-01 00:00+00', '2020-01-10 23:00+00');
SELECT count(*) FROM cron.backfill(:id, '2020-01-01 00:00+00', '2020-01-12 02:00+00');
DELETE FROM cron.run_request WHERE scheduled_for = '2020-01-07 02:00+00';
SELECT count(*) FROM cron.backfill(:id, '2020-01-01 00:00+00', '2020-01-12 02:00+00');
-- Nothing of the future, and only what falls into the time
SELECT count(*) FROM cron.backfill('daily', now() + interval '1 minute', now() + interval '10 days');
SELECT count(*) FROM cron.backfill('daily', '2020-01-20 02:00:00.000001+00', '2020-01-21 01:59:59.999999+00');
SELECT count(*) FROM cron.backfill('daily', '2020-01-20 02:00+00', '2020-01-20 02:00+00');
SELECT count(*) BETWEEN 2 AND 4 AS up_to_now FROM cron.backfill('daily', now() - interval '3 days', now() + interval '3 days');
SELECT max(scheduled_for) <= now() AS not_later FROM cron.run_request;
-- Rolled back, nothing was asked for.
BEGIN;
SELECT count(*) FROM cron.backfill('daily', '2019-01-01', '2019-01-31');
ROLLBACK;
SELECT count(*) FROM cron.run_request WHERE scheduled_for < '2020-01-01';

-- Window and calendars decide as they do at the time; jitter is no part of an occurrence.
SELECT cron.create_calendar('closed');
SELECT cron.add_calendar_dates('closed', '2020-01-07');
SELECT cron.create_job('shaped', '0 */6 * * *', 'SELECT 1', timezone => 'UTC', run_window => 'mon-fri 06:00-18:01', skip_on => '{closed}', jitter => '1 hour') > 0 AS stored;
SELECT count(*) FROM cron.backfill('shaped', '2020-01-05', '2020-01-13');
SELECT to_char(scheduled_for, 'Dy YYYY-MM-DD HH24:MI') AS scheduled_for FROM cron.run_request JOIN cron.job USING (jobid) WHERE jobname = 'shaped' ORDER BY runid;
-- Schedules with a past of their own
SELECT cron.create_job('once', 'at 2020-01-01 12:00', 'SELECT 1', timezone => 'UTC') > 0 AS stored;
SELECT count(*) FROM cron.backfill('once', '2019-12-01', '2020-12-31');
SELECT cron.create_job('grid', 'every 6 hours', 'SELECT 1', timezone => 'UTC') > 0 AS stored;
SELECT count(*) FROM cron.backfill('grid', '2020-01-01', '2020-01-01 12:00');
SELECT jobname, scheduled_for FROM cron.run_request JOIN cron.job USING (jobid) WHERE jobname IN ('once', 'grid') ORDER BY runid;
SELECT cron.create_job('start', '@reboot', 'SELECT 1') > 0 AS stored;
SELECT cron.backfill('start', '2020-01-01', '2020-01-02');
SELECT cron.create_job('after', 'every 6 hours after completion', 'SELECT 1') > 0 AS stored;
SELECT cron.backfill('after', '2020-01-01', '2020-01-02');

-- Rights: owner, members, superusers; whoever sees the job sees what was asked for
SET ROLE regress_tock_ann;
SELECT count(*) FROM cron.backfill('daily', '2019-02-01', '2019-02-02 03:00');
SELECT count(*) > 0 AS seen, count(*) FILTER (WHERE requested_by = current_user) AS mine FROM cron.run_request;
INSERT INTO cron.run_request (jobid, scheduled_for, trigger) VALUES (1, now(), 'manual');
DELETE FROM cron.run_request;
SET ROLE regress_tock_bob;
SELECT count(*) FROM cron.run_request;
SELECT cron.backfill('daily', '2019-02-01', '2019-02-02');
SELECT format('DO $x$ BEGIN PERFORM cron.backfill(%s, ''2019-02-01'', ''2019-02-02''); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''refused''; END $x$', :id) \gexec
RESET ROLE;
SELECT cron.create_job('team', '0 3 * * *', 'SELECT 1', username => 'regress_tock_team') AS id \gset team_
SET ROLE regress_tock_ann;
SELECT count(*) FROM cron.backfill(:team_id, '2019-02-01', '2019-02-02 03:00');
RESET ROLE;

-- Bad input
SELECT count(*) AS requests FROM cron.run_request \gset
SELECT cron.backfill(NULL::bigint, '2020-01-01', '2020-01-02');
SELECT cron.backfill(NULL::text, '2020-01-01', '2020-01-02');
SELECT cron.backfill('daily', NULL, '2020-01-02');
SELECT cron.backfill('daily', '2020-01-02', NULL);
SELECT cron.backfill('daily', '2020-01-02', '2020-01-01');
SELECT cron.backfill('daily', '-infinity', '2020-01-01');
SELECT cron.backfill('daily', '2020-01-01', 'infinity');
SELECT cron.backfill('nonesuch', '2020-01-01', '2020-01-02');
SELECT cron.backfill(0, '2020-01-01', '2020-01-02');
SELECT cron.create_job('often', '* * * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.backfill('often', '2019-01-01', '2020-01-01');
SELECT count(*) FROM cron.backfill('often', '2019-01-01 00:00:01', '2019-03-11 10:40');
UPDATE cron.job SET schedule = 'x' WHERE jobname = 'often';
SELECT cron.backfill('often', '2020-01-01', '2020-01-02');
SELECT count(*) - :requests AS only_these FROM cron.run_request;
\set VERBOSITY sqlstate
SELECT cron.backfill('nonesuch', '2020-01-01', '2020-01-02');
SELECT cron.backfill('daily', '2020-01-02', '2020-01-01');
SELECT cron.backfill('start', '2020-01-01', '2020-01-02');
UPDATE cron.job SET schedule = '* * * * *' WHERE jobname = 'often';
SELECT cron.backfill('often', '2019-01-01', '2020-01-01');
\set VERBOSITY default

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team;
