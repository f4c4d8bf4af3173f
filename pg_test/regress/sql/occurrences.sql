-- cron.occurrences: what fell due, open or not. That it agrees with the scheduler is tested on servers with one.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
SELECT cron.create_job('daily', '0 3 * * *', 'SELECT 1', timezone => 'Europe/Berlin', username => 'regress_tock_ann', run_window => 'sat 00:00-24:00') AS id \gset
-- In the job's zone, the beginning not included and the end is, whatever the window says
SELECT * FROM cron.occurrences('daily', '2026-03-27 02:00+00', '2026-03-30 01:00+00');
SELECT count(*) FROM cron.occurrences(:id, '2026-03-27 02:00+00', '2026-03-30 00:59:59.999999+00');
SELECT count(*) FROM cron.occurrences('daily', '2026-03-30', '2026-03-27');
-- Millions are no matter.
UPDATE cron.job SET schedule = '1 second' WHERE jobid = :id;
SELECT count(*), max(at) - min(at) AS span FROM cron.occurrences(:id, now(), now() + interval '3 days') AS at;
-- None of those that nobody can name beforehand, and none of what cannot be read
SELECT cron.schedule('boot', '@reboot', 'SELECT 1') AS boot, cron.schedule('after', 'every 1 minute after completion', 'SELECT 1') AS after \gset
SELECT count(*) FROM cron.job, cron.occurrences(jobid, '2026-01-01', '2027-01-01') WHERE jobname IN ('boot', 'after');
UPDATE cron.job SET schedule = 'whenever' WHERE jobid = :id;
SELECT count(*) FROM cron.occurrences('daily', '2026-01-01', '2027-01-01');
UPDATE cron.job SET schedule = '0 3 * * *' WHERE jobid = :id;
-- Nothing known, nothing due
SELECT count(*) FROM cron.occurrences('daily', NULL, '2027-01-01');
SELECT cron.occurrences('daily', '-infinity', '2027-01-01');
SELECT cron.occurrences('no such job', '2026-01-01', '2027-01-01');
-- One's own only
SET ROLE regress_tock_ann;
SELECT count(*) FROM cron.occurrences('daily', '2026-01-01', '2027-01-01');
SET ROLE regress_tock_bob;
SELECT cron.occurrences(:id, '2026-01-01', '2027-01-01');
RESET ROLE;
DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob;
