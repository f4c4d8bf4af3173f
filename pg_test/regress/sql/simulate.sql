-- cron.simulate: what an outage would do to the jobs, by the engine that schedules.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE ROLE regress_tock_ann LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann;
SELECT cron.create_job('skips', '0 * * * *', 'SELECT 1', timezone => 'UTC') > 0 AS stored;
SELECT cron.create_job('once', '0 * * * *', 'SELECT 1', timezone => 'UTC', on_missed => 'once') > 0 AS stored;
SELECT cron.create_job('all', '0 * * * *', 'SELECT 1', timezone => 'UTC', on_missed => 'all') > 0 AS stored;
SELECT cron.create_job('recent', '0 * * * *', 'SELECT 1', timezone => 'UTC', on_missed => 'all', missed_window => '90 minutes') > 0 AS stored;
SELECT cron.create_job('windowed', '0 * * * *', 'SELECT 1', timezone => 'UTC', on_missed => 'all', run_window => '02:00-04:00') > 0 AS stored;
SELECT cron.create_job('off', '0 * * * *', 'SELECT 1', active => false) > 0 AS stored;
SELECT cron.create_job('anns', '30 * * * *', 'SELECT 1', timezone => 'UTC', username => 'regress_tock_ann') > 0 AS stored;
-- Down from half past midnight to half past four, then followed for an hour
SELECT jobname, action, reason, scheduled_for, count FROM cron.simulate('2100-01-01 00:30+00', '2100-01-01 04:30+00', '1 hour') ORDER BY jobid, at, scheduled_for;
SELECT bool_and(at >= '2100-01-01 04:30+00' AND at <= '2100-01-01 05:30+00') AS after_it FROM cron.simulate('2100-01-01 00:30+00', '2100-01-01 04:30+00', '1 hour');
-- Nothing is written by it.
SELECT (SELECT count(*) FROM cron.job_run_details) + (SELECT count(*) FROM cron.job_skip) + (SELECT count(*) FROM cron.run_request) AS rows;
SET ROLE regress_tock_ann;
SELECT DISTINCT jobname FROM cron.simulate('2100-01-01 00:30+00', '2100-01-01 04:30+00');
RESET ROLE;
-- No outage
SELECT count(*) FROM cron.simulate('2100-01-01 00:30+00', '2100-01-01 00:30+00', '0');
-- Bad input
SELECT cron.simulate(NULL, '2100-01-01');
SELECT cron.simulate('2100-01-01', NULL);
SELECT cron.simulate('2100-01-01', '2100-01-02', NULL);
SELECT cron.simulate('-infinity', '2100-01-02');
SELECT cron.simulate('2100-01-01', 'infinity');
SELECT cron.simulate('294276-12-01', '294276-12-31');
SELECT cron.simulate('2100-01-02', '2100-01-01');
SELECT cron.simulate('2100-01-01', '2102-01-01');
SELECT cron.simulate('2100-01-01', '2100-01-02', '-1 hour');
SELECT cron.simulate('2100-01-01', '2100-01-02', '8 days');
DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann;
