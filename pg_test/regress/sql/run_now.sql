-- cron.run_now and cron.run_now_tagged: what they ask for, and of whom. That it runs is tested on a
-- server with a scheduler.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team LOGIN;
GRANT regress_tock_team TO regress_tock_ann;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
SELECT cron.create_job('daily', '0 3 * * *', 'SELECT 1', username => 'regress_tock_ann', tags => '{money,night}') AS id \gset

-- An occurrence of its own, in the order of the calls
SELECT cron.run_now('daily') AS first \gset
SELECT cron.run_now(:id) AS second, cron.run_now(:id) AS third, cron.run_now('daily', force => true) AS forced \gset
SELECT :first < :second AND :second < :third AND :third < :forced AS ascending;
SELECT jobid = :id AS of_job, attempt, trigger, force, requested_by = current_user AS by_me,
    scheduled_for BETWEEN requested_at AND clock_timestamp() AS now,
    scheduled_for > lag(scheduled_for, 1, '-infinity') OVER (ORDER BY runid) AS later
FROM cron.run_request ORDER BY runid;
-- Many at once get an instant each.
SELECT count(DISTINCT cron.run_now(:id)) AS runs FROM generate_series(1, 500);
SELECT count(*) = count(DISTINCT scheduled_for) AS unique FROM cron.run_request;
-- Rolled back, nothing was asked for.
SELECT count(*) AS requests FROM cron.run_request \gset
BEGIN;
SELECT cron.run_now('daily') > 0 AS asked;
ROLLBACK;
SELECT count(*) - :requests AS more FROM cron.run_request;

-- Paused, switched off, closed: with force only
SELECT cron.pause('daily');
SELECT cron.run_now('daily');
SELECT cron.pause('daily', '2100-01-01 00:00+00');
SELECT cron.run_now(:id);
SELECT cron.run_now('daily', true) > 0 AS forced;
SELECT cron.resume('daily');
SELECT cron.run_now('daily') > 0 AS asked;
SELECT cron.set_job('daily', '{"active": false}');
SELECT cron.run_now('daily');
SELECT cron.run_now('daily', true) > 0 AS forced;
SELECT cron.set_job('daily', '{"active": true}');
SELECT cron.create_calendar('always');
SELECT cron.add_calendar_dates('always', '2000-01-01', '2300-01-01');
SELECT cron.set_job('daily', '{"skip_on": ["always"]}');
SELECT cron.run_now('daily');
SELECT cron.run_now('daily', true) > 0 AS forced;
SELECT cron.set_job('daily', '{"skip_on": null}');
-- A window that is closed now, and opens in an hour or two
SELECT format('{"timezone": "UTC", "run_window": "%s-%s"}', to_char(now() + interval '1 hour', 'HH24:MI'), to_char(now() + interval '3 hours', 'HH24:MI')) AS window \gset
SELECT cron.set_job('daily', :'window');
\set VERBOSITY terse
SELECT cron.run_now('daily');
\set VERBOSITY default
DO $$
DECLARE detail text; hint text;
BEGIN
    PERFORM cron.run_now('daily');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE NOTICE '% / %', regexp_replace(detail, '[0-9]+.*[0-9]+', '…'), hint;
END $$;
SELECT cron.run_now('daily', true) > 0 AS forced;
SELECT cron.set_job('daily', '{"run_window": null}');

-- Waiting and trying: not where it could wait for itself, and not without a scheduler
SELECT cron.run_now('daily', wait => true);
SELECT * FROM cron.dry_run('daily');
BEGIN;
SELECT cron.run_now('daily', wait => true);
ROLLBACK;
BEGIN;
SELECT * FROM cron.dry_run(:id);
ROLLBACK;
SELECT pg_current_xact_id() IS NOT NULL AS written, cron.run_now('daily', wait => true);
DO $$ BEGIN
    INSERT INTO cron.job_skip VALUES (0, 'condition', now(), now(), 1);
    PERFORM cron.run_now('daily', wait => true);
END $$;
SELECT cron.run_now('daily', wait => NULL);
SELECT cron.dry_run(NULL::bigint);
SELECT cron.dry_run('nonesuch');
SET ROLE regress_tock_bob;
SELECT cron.dry_run('daily');
RESET ROLE;

-- By tag: the caller's jobs, those that may not run are named
SELECT cron.create_job('weekly', '0 3 * * 0', 'SELECT 1', username => 'regress_tock_ann', tags => '{night}') AS weekly \gset
SELECT cron.create_job('team', '0 3 * * 0', 'SELECT 1', username => 'regress_tock_team', tags => '{night}') AS team \gset
SELECT cron.create_job('his', '0 3 * * 0', 'SELECT 1', username => 'regress_tock_bob', tags => '{night}') AS his \gset
TRUNCATE cron.run_request;
SET ROLE regress_tock_ann;
SELECT count(*) FROM cron.run_now_tagged('night');
RESET ROLE;
SELECT jobname, requested_by FROM cron.run_request JOIN cron.job USING (jobid) ORDER BY runid;
SELECT count(*) FROM cron.run_now_tagged('night');
SELECT count(*) FROM cron.run_now_tagged('money');
SELECT count(*) FROM cron.run_now_tagged('nonesuch');
SELECT cron.pause('daily');
SELECT cron.set_job('weekly', '{"active": false}');
SELECT count(*) FROM cron.run_now_tagged('night');
SELECT count(*) FROM cron.run_now_tagged('money');
SELECT count(*) FROM cron.run_now_tagged('night', force => true);
-- A job that cannot run at all keeps nobody else from running.
UPDATE cron.job SET schedule = 'x' WHERE jobname = 'weekly';
SELECT count(*) FROM cron.run_now_tagged('night', force => true);
SELECT cron.run_now('weekly', force => true);

-- Rights: owner, members, superusers; force gives none
SET ROLE regress_tock_bob;
SELECT cron.run_now('daily');
SELECT format('DO $x$ BEGIN PERFORM cron.run_now(%s, true); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''refused''; END $x$', :id) \gexec
SELECT count(*) FROM cron.run_now_tagged('money', force => true);
SET ROLE regress_tock_ann;
SELECT cron.run_now(:team) > 0 AS asked;
RESET ROLE;

-- Bad input
SELECT cron.run_now(NULL::bigint);
SELECT cron.run_now(NULL::text);
SELECT cron.run_now('daily', NULL);
SELECT cron.run_now('nonesuch');
SELECT cron.run_now(0);
SELECT cron.run_now_tagged(NULL);
SELECT cron.run_now_tagged('night', NULL);
UPDATE cron.job SET nodename = 'far.example' WHERE jobname = 'team';
SELECT cron.run_now('team', true);
UPDATE cron.job SET nodename = 'localhost', username = 'regress_tock_nobody' WHERE jobname = 'team';
SELECT cron.run_now('team', true);
BEGIN READ ONLY;
SELECT cron.run_now('daily', true);
ROLLBACK;
\set VERBOSITY sqlstate
SELECT cron.run_now('daily');
SELECT cron.run_now('nonesuch');
SELECT cron.run_now('team');
SELECT cron.dry_run('daily');
BEGIN;
SELECT cron.dry_run('daily');
ROLLBACK;
\set VERBOSITY default

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team;
