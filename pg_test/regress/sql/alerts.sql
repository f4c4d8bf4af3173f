-- Alerts: options, the table and view, who sees what. Nothing runs here; see pg_test/e2e/tests/alerts.rs.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS pg_tock CASCADE;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_ops LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_ops;
SET ROLE regress_tock_ann;
SELECT cron.create_job('watched', '@hourly', 'SELECT 1', alert_after_failures => 3, alert_if_slower => '8 minutes',
    alert_if_absent => '1 day', alert_below_success => 95, alert_job => 'tell', alert_if_times_slower => 3) AS ann \gset
SELECT alert_after_failures, alert_if_slower, alert_if_absent, alert_below_success, alert_job, alert_if_times_slower FROM cron.job WHERE jobid = :ann;
SELECT cron.set_job(:ann, '{"alert_after_failures": null, "alert_if_slower": "0", "alert_job": null, "alert_if_times_slower": 0}');
SELECT alert_after_failures, alert_if_slower, alert_if_absent, alert_below_success, alert_job, alert_if_times_slower FROM cron.job WHERE jobid = :ann;
-- limits
SELECT cron.set_job(:ann, '{"alert_after_failures": 1001}');
SELECT cron.set_job(:ann, '{"alert_if_absent": "1 month"}');
SELECT cron.set_job(:ann, '{"alert_below_success": 100.5}');
SELECT cron.set_job(:ann, '{"alert_job": " "}');
SELECT cron.set_job(:ann, '{"alert_if_times_slower": 0.5}');
SELECT cron.set_job(:ann, '{"alert_if_times_slower": 1000000.5}');
SELECT cron.set_job(:ann, '{"alert_if_times_slower": "3"}');
SELECT cron.set_job(:ann, '{"alert_if_times_slower": 1}');
RESET ROLE;
SET ROLE regress_tock_bob;
SELECT cron.create_job('watched', '@hourly', 'SELECT 1', alert_if_slower => '1 second') AS bob \gset
RESET ROLE;
-- rows as the scheduler writes them
INSERT INTO cron.alert (jobid, jobname, username, rule, raised_at, recovered_at, recovery, runid, outcome, message, detail)
VALUES
    (:ann, 'watched', 'regress_tock_ann', 'failures', '2026-11-21 05:00Z', '2026-11-21 06:30Z', 'recovered', 1, 'failed', '3 occurrences in a row have failed', '{"failures": 3}'),
    (:ann, 'watched', 'regress_tock_ann', 'absent', '2026-11-20 05:00Z', NULL, NULL, NULL, NULL, 'no run has succeeded for 24:00:00', '{}'),
    (:bob, 'watched', 'regress_tock_bob', 'slow', '2026-11-21 05:30Z', NULL, NULL, 2, NULL, 'a run takes longer than 00:00:01', '{}');
-- one is open for each job and rule
INSERT INTO cron.alert (jobid, username, rule, raised_at, message, detail) VALUES (:bob, 'regress_tock_bob', 'slow', now(), '', '{}');
SELECT username, rule, open, recovery, message FROM cron.alerts;
-- each role sees its own, open ones first, and changes none
SET ROLE regress_tock_ann;
SELECT rule, open, raised_at, recovered_at, CASE WHEN NOT open THEN lasted END AS lasted, outcome, detail FROM cron.alerts;
SELECT count(*) FROM cron.alert;
DELETE FROM cron.alert;
UPDATE cron.alert SET recovered_at = now();
INSERT INTO cron.alert (jobid, username, rule, raised_at, message, detail) VALUES (1, 'regress_tock_ann', 'slow', now(), '', '{}');
SELECT * FROM cron.event_queue;
INSERT INTO cron.event_queue (payload) VALUES ('forged');
RESET ROLE;
SET ROLE regress_tock_bob;
SELECT rule, open FROM cron.alerts;
RESET ROLE;
SET ROLE regress_tock_ops;
SELECT count(*) FROM cron.alerts;
RESET ROLE;
-- whoever has the job now sees what was before, at once
UPDATE cron.job SET username = 'regress_tock_ops' WHERE jobid = :ann;
SET ROLE regress_tock_ops;
SELECT username, rule, open FROM cron.alerts;
RESET ROLE;
-- outside a run there is no alert
SELECT current_setting('cron.alert') AS alert;
SET cron.alert = 'forged';
-- placeholders
SELECT cron.create_http_job('hook', '@hourly', 'https://example.com/', body => '{"text": "{{alert.text}}", "run": {{alert.runid}}}') > 0 AS created;
SELECT cron.create_http_job('hook', '@hourly', 'https://example.com/', body => '{{alert.error}}');
DROP EXTENSION pg_tock CASCADE;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_ops;
