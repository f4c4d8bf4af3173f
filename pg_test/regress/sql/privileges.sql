-- Two owners who see and change their own only, and an administrator.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_nologin;
CREATE DATABASE regress_tock_db;
REVOKE CONNECT ON DATABASE regress_tock_db FROM PUBLIC;

-- Nobody is let into the schema by default.
SET ROLE regress_tock_ann;
SELECT cron.schedule('mine', '0 1 * * *', 'SELECT 1');
SELECT * FROM cron.job;
RESET ROLE;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_nologin;

-- The owner is the current role, not who logged in.
SET ROLE regress_tock_ann;
SELECT cron.schedule('mine', '0 1 * * *', 'SELECT ''ann''') AS id \gset ann_
SELECT jobname, username FROM cron.job;
-- A role that cannot log in may still schedule for itself, as with pg_cron; the job says so.
SET ROLE regress_tock_nologin;
SELECT cron.schedule('mine', '0 1 * * *', 'SELECT 1') > 0 AS stored;
SELECT jobname, state, next_run_at FROM cron.jobs;
SELECT cron.unschedule('mine');
SET ROLE regress_tock_bob;
SELECT cron.schedule('mine', '0 2 * * *', 'SELECT ''bob''') AS id \gset bob_
SELECT jobname, username, command FROM cron.job;

-- Somebody else's job is out of reach.
SELECT format('SELECT cron.unschedule(%s)', :ann_id) \gexec
UPDATE cron.job SET command = 'SELECT 1';
DELETE FROM cron.job;
INSERT INTO cron.job (schedule, command, nodeport) VALUES ('* * * * *', 'SELECT 1', 1);
SELECT nextval('cron.jobid_seq');
TRUNCATE cron.job_run_details;
UPDATE cron.job_run_details SET status = 'succeeded';
INSERT INTO cron.job_run_details (jobid) VALUES (1);

-- Not granted by default
SELECT cron.schedule_in_database('x', '0 1 * * *', 'SELECT 1', 'postgres');
SELECT cron.alter_job(1, active => false);
RESET ROLE;
GRANT EXECUTE ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) TO regress_tock_bob;
GRANT EXECUTE ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) TO regress_tock_bob;

-- Granted: still for oneself, one's own jobs, and databases one may connect to
SET ROLE regress_tock_bob;
SELECT cron.schedule_in_database('for ann', '0 1 * * *', 'SELECT 1', 'postgres', 'regress_tock_ann');
SELECT cron.schedule_in_database('for me', '0 1 * * *', 'SELECT 1', 'postgres', 'regress_tock_bob');
SELECT cron.schedule_in_database('there', '0 1 * * *', 'SELECT 1', 'regress_tock_db');
SELECT cron.schedule_in_database('here', '0 1 * * *', 'SELECT 1', 'postgres') > 0 AS stored;
SELECT format('DO $x$ BEGIN PERFORM cron.alter_job(%s, active => false); EXCEPTION WHEN internal_error THEN RAISE NOTICE ''%%'', replace(sqlerrm, %L, ''(ann)''); END $x$', :ann_id, :ann_id) \gexec
SELECT cron.alter_job(:bob_id, username => 'regress_tock_ann');
SELECT cron.alter_job(:bob_id, database => 'regress_tock_db');
SELECT cron.alter_job(:bob_id, active => false);
SELECT jobname, database, active FROM cron.job ORDER BY jobname;
RESET ROLE;
GRANT CONNECT ON DATABASE regress_tock_db TO regress_tock_bob;
SET ROLE regress_tock_bob;
SELECT cron.alter_job(:bob_id, database => 'regress_tock_db');
SELECT jobname, database FROM cron.job ORDER BY jobname;
RESET ROLE;

-- A superuser alters anybody's job; a job given away shows up with its new owner.
SELECT cron.alter_job(:bob_id, command => 'SELECT 2');
SELECT cron.schedule_in_database('for ann', '0 1 * * *', 'SELECT 1', 'postgres', 'regress_tock_ann') > 0 AS stored;
-- The job's role needs the right to connect, not the caller.
SELECT cron.schedule_in_database('for ann', '0 1 * * *', 'SELECT 1', 'regress_tock_db', 'regress_tock_ann');
-- By name only one's own, also for a superuser
SELECT cron.unschedule('for ann');
SET ROLE regress_tock_ann;
SELECT jobname FROM cron.job ORDER BY jobname;
SELECT cron.unschedule('for ann');
RESET ROLE;

-- The right to delete rows of the table is the right to unschedule by id.
SET ROLE regress_tock_bob;
SELECT cron.schedule('to go', '0 1 * * *', 'SELECT 1') AS id \gset go_
RESET ROLE;
SET ROLE regress_tock_ann;
SELECT cron.unschedule(:go_id);
RESET ROLE;
GRANT DELETE ON cron.job TO regress_tock_ann;
SET ROLE regress_tock_ann;
SELECT cron.unschedule(:go_id);
RESET ROLE;
REVOKE DELETE ON cron.job FROM regress_tock_ann;

-- Names of roles are told apart to the letter.
CREATE ROLE "Regress_Tock_Ann" LOGIN;
GRANT USAGE ON SCHEMA cron TO "Regress_Tock_Ann";
SET ROLE "Regress_Tock_Ann";
SELECT cron.schedule('mixed', '0 1 * * *', 'SELECT 1') AS id \gset mixed_
SELECT username FROM cron.job;
SET ROLE regress_tock_ann;
SELECT cron.unschedule(:mixed_id);
RESET ROLE;
SELECT cron.unschedule(:mixed_id);

-- Rights on the table itself: row security still keeps a role to its own rows.
GRANT INSERT, UPDATE ON cron.job TO regress_tock_ann;
GRANT USAGE ON SEQUENCE cron.jobid_seq TO regress_tock_ann;
SET ROLE regress_tock_ann;
INSERT INTO cron.job (schedule, command, nodeport, jobname) VALUES ('0 1 * * *', 'SELECT 1', 1, 'inserted') RETURNING username, database;
INSERT INTO cron.job (schedule, command, nodeport, username) VALUES ('0 1 * * *', 'SELECT 1', 1, 'regress_tock_bob');
UPDATE cron.job SET username = 'regress_tock_bob' WHERE jobname = 'inserted';
UPDATE cron.job SET active = false RETURNING jobname, username;
RESET ROLE;
DELETE FROM cron.job WHERE jobname = 'inserted';
UPDATE cron.job SET active = true WHERE username = 'regress_tock_ann';
REVOKE INSERT, UPDATE ON cron.job FROM regress_tock_ann;
REVOKE USAGE ON SEQUENCE cron.jobid_seq FROM regress_tock_ann;

-- A trusted function runs with its owner's rights: so do the jobs it schedules.
CREATE FUNCTION regress_tock_definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
$$ SELECT cron.schedule('by definer', '0 1 * * *', 'SELECT 1') $$;
SET ROLE regress_tock_ann;
SELECT regress_tock_definer() > 0 AS stored;
RESET ROLE;
SELECT username = current_user AS owned_by_definer FROM cron.job WHERE jobname = 'by definer';

-- History: everyone sees and deletes his own.
INSERT INTO cron.job_run_details (jobid, runid, username, status) VALUES
    (:ann_id, 1, 'regress_tock_ann', 'succeeded'), (:bob_id, 2, 'regress_tock_bob', 'failed'), (:bob_id, 3, 'regress_tock_bob', 'succeeded');
INSERT INTO cron.job_stat (jobid, total_runs, successful_runs, failed_runs) VALUES (:ann_id, 1, 1, 0), (:bob_id, 2, 1, 1);
INSERT INTO cron.job_state (jobid, effective_from) VALUES (:ann_id, now()), (:bob_id, now());
INSERT INTO cron.job_skip (jobid, reason, first_at, last_at, count) VALUES (:ann_id, 'overlap', now(), now(), 1), (:bob_id, 'overlap', now(), now(), 2);
SET ROLE regress_tock_bob;
SELECT runid, status FROM cron.recent_runs;
SELECT runid FROM cron.failed_runs;
SELECT jobname, username FROM cron.jobs ORDER BY jobname;
SELECT jobname, total_runs, failed_runs FROM cron.job_stats ORDER BY jobname;
SELECT count(*) FROM cron.running;
SELECT count FROM cron.job_skip;
SELECT count(*) FROM cron.job_state;
SELECT * FROM cron.engine_state;
INSERT INTO cron.job_skip VALUES (1, 'x', now(), now(), 1);
UPDATE cron.job_stat SET total_runs = 0;
DELETE FROM cron.job_state;
DELETE FROM cron.job_run_details;
RESET ROLE;
SELECT runid, username FROM cron.job_run_details ORDER BY runid;
SELECT count(*) FROM cron.jobs;

DROP FUNCTION regress_tock_definer();
DROP EXTENSION pg_tock;
DROP DATABASE regress_tock_db;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_nologin, "Regress_Tock_Ann";
