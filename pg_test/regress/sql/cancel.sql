-- cron.cancel_run on runs that are not under way. Those that are, are tested on a server with a scheduler.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_eve LOGIN;
GRANT regress_tock_ann TO regress_tock_bob;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_eve;
SELECT cron.create_job('daily', '0 3 * * *', 'SELECT 1', username => 'regress_tock_ann') AS id \gset

-- A request is taken back by whoever may change the job, and is for the scheduler to record then
SET ROLE regress_tock_ann;
SELECT cron.run_now('daily') AS first \gset
SELECT cron.run_now('daily') AS second \gset
SELECT cron.run_now('daily') AS third \gset
RESET ROLE;
SET ROLE regress_tock_eve;
SELECT cron.cancel_run(:first);
RESET ROLE;
BEGIN;
SELECT cron.cancel_run(:first, 'not this time');
ROLLBACK;
SELECT count(*) FROM cron.run_request;
SET ROLE regress_tock_ann;
SELECT cron.cancel_run(:first);
RESET ROLE;
SET ROLE regress_tock_bob;
SELECT cron.cancel_run(:second, 'we have it already');
RESET ROLE;
SELECT cron.cancel_run(:third, '');
-- The first who asks is the one who did it; a long reason is cut between letters
SELECT cron.cancel_run(:first, 'again');
SELECT cron.run_now(:id) AS fourth \gset
SELECT cron.cancel_run(:fourth, repeat('ä', 300));
SELECT jobid = :id AS of_job, runid, CASE WHEN runid = :fourth THEN right(reason, 2) ELSE reason END AS reason, octet_length(reason)
FROM cron.run_cancel ORDER BY runid;
SET ROLE regress_tock_ann;
SELECT * FROM cron.run_cancel;
INSERT INTO cron.run_cancel VALUES (:first, :id, 'x');
RESET ROLE;

-- A row without an end that nobody runs, runs of a job that is gone, and one that has never been
INSERT INTO cron.job_run_details (jobid, runid, username, scheduled_for, attempt, status, start_time)
VALUES (:id, 1000, 'regress_tock_ann', '2020-01-02 02:00+00', 1, 'running', now());
SELECT cron.cancel_run(1000);
SET ROLE regress_tock_eve;
SELECT cron.cancel_run(1000);
RESET ROLE;
SELECT cron.unschedule(:id);
SELECT cron.cancel_run(1000);
SELECT cron.cancel_run(:first);
SELECT cron.cancel_run(1001);
SELECT cron.cancel_run(NULL);
SELECT cron.cancel_run(runid => -1, reason => NULL);

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_eve;
