-- cron.alter_job
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_login LOGIN;
CREATE ROLE regress_tock_nologin;
SELECT cron.schedule('one', '0 1 * * *', 'SELECT 1');
SELECT cron.alter_job(NULL);
SELECT cron.alter_job(1);
SELECT cron.alter_job(1, NULL, NULL, NULL, NULL, NULL);
SELECT cron.alter_job(99, active => false);
SELECT cron.alter_job(1, schedule => '0 2 * * *');
SELECT cron.alter_job(1, command => 'SELECT 2', active => false);
SELECT jobid, schedule, command, database, active FROM cron.job;
SELECT cron.alter_job(job_id => 1, schedule => '0 3 * * *', command => 'SELECT 3', database => 'template1', username => 'regress_tock_login', active => true);
SELECT jobid, schedule, command, database, username, active, jobname FROM cron.job;
SELECT cron.alter_job(1, database => 'regress tock nowhere');
SELECT cron.alter_job(1, username => 'regress tock nobody');
SELECT cron.alter_job(1, username => 'regress_tock_nologin');
-- A new owner with a job of that name
SELECT cron.schedule('one', '0 1 * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.alter_job(max(jobid), username => 'regress_tock_login') FROM cron.job;
-- A NOLOGIN role may not own a job through the functions.
SELECT cron.schedule_in_database('x', '0 1 * * *', 'SELECT 1', 'postgres', 'regress_tock_nologin');
SELECT jobid, schedule, command, database, username, active FROM cron.job WHERE username = 'regress_tock_login';
DROP EXTENSION pg_tock;
DROP ROLE regress_tock_login, regress_tock_nologin;
