-- Functions for runs, outside any run; holds of jobs; what nobody may write.
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
\set VERBOSITY sqlstate
\set SHOW_CONTEXT never

-- There is no run here: nothing is stored, whatever the arguments.
SELECT * FROM cron.current_run();
SELECT cron.heartbeat();
SELECT cron.heartbeat(50, 'half');
SELECT cron.heartbeat(-1);
SELECT cron.checkpoint('{"n": 1}');
SELECT cron.checkpoint(NULL);
SELECT cron.last_checkpoint();
SELECT cron.log('info', 'text', '{}');
SELECT cron.log(NULL, NULL);
SELECT cron.run_again();
SELECT count(*) FROM cron.run_log;
SELECT count(*) FROM cron.run_checkpoint;

-- What a run reads of itself is empty, and nobody can set it.
SELECT name, setting, context FROM pg_settings
WHERE name IN ('cron.job_id', 'cron.run_id', 'cron.scheduled_for', 'cron.attempt', 'cron.window_start', 'cron.window_end')
ORDER BY name;
SET cron.job_id = '1';
SET LOCAL cron.run_id = '1';
RESET cron.scheduled_for;
SELECT set_config('cron.attempt', '1', false);
ALTER ROLE regress_tock_ann SET cron.window_start = 'now';
ALTER SYSTEM SET cron.window_end = 'now';
CREATE FUNCTION pg_temp.liar() RETURNS text LANGUAGE sql SET cron.job_id = '1' AS $$ SELECT 'x' $$;

-- Holds.
SET ROLE regress_tock_ann;
SELECT cron.schedule('hers', '@hourly', 'SELECT 1') AS hers \gset
SELECT cron.hold('hers');
SELECT cron.hold('hers');
SELECT locktype, mode, granted, objsubid FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT pg_try_advisory_lock(:hers), pg_advisory_unlock(:hers);
SELECT cron.release('hers');
SELECT cron.release('hers');
SELECT cron.hold(:hers);
SELECT cron.release(:hers);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
-- A hold is the session's: a rollback does not end it, a job that is gone can be released.
BEGIN;
SELECT cron.hold(:hers);
ROLLBACK;
SELECT cron.unschedule('hers');
SELECT cron.release(:hers);
SELECT cron.hold('hers');
SELECT cron.release('hers');
SELECT cron.hold(NULL::bigint);
SELECT cron.hold(NULL::text);
SELECT cron.release(NULL::bigint);
SELECT cron.release(NULL::text);
SELECT cron.release(0);
\set VERBOSITY terse
SELECT cron.hold(0);
SELECT cron.schedule('hers', '@hourly', 'SELECT 1') AS hers \gset
SET ROLE regress_tock_bob;
SELECT cron.hold('hers');
DO $$ BEGIN PERFORM cron.hold((SELECT max(last_value) FROM cron.jobid_seq)); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'not his'; END $$;

-- Only functions write.
INSERT INTO cron.run_log VALUES (1, 1, now(), 'info', 'x', NULL, 'regress_tock_bob');
UPDATE cron.run_log SET message = 'x';
TRUNCATE cron.run_log;
INSERT INTO cron.run_checkpoint VALUES (1, now(), 1, now(), '{}');
UPDATE cron.run_checkpoint SET data = '{}';
DELETE FROM cron.run_checkpoint;

-- Each sees, and deletes, his own.
RESET ROLE;
INSERT INTO cron.run_log
SELECT n, n, '2026-01-01', 'info', 'text', NULL, CASE WHEN n % 2 = 0 THEN 'regress_tock_ann' ELSE 'regress_tock_bob' END
FROM generate_series(1, 4) n;
INSERT INTO cron.run_checkpoint SELECT jobid, '2026-01-01', 1, '2026-01-01', '{}' FROM cron.job;
SET ROLE regress_tock_bob;
SELECT runid, username FROM cron.run_log ORDER BY runid;
SELECT count(*) FROM cron.run_checkpoint;
DELETE FROM cron.run_log;
SET ROLE regress_tock_ann;
SELECT runid, username FROM cron.run_log ORDER BY runid;
SELECT data FROM cron.run_checkpoint;
RESET ROLE;
SELECT count(*) FROM cron.run_log;

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob;
