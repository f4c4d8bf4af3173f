-- What a job says about its runs once they are due: options, checked together; queues; jobs that wait for others.
\set SHOW_CONTEXT never
\pset format unaligned
\pset null (null)
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_team;
-- pg_cron's way is the default.
SELECT name, setting, unit FROM pg_settings WHERE name LIKE 'cron.default_%' OR name = 'cron.max_running_jobs_per_role' ORDER BY name;
SELECT cron.create_job('plain', '0 3 * * *', 'select 1') AS plain \gset
SELECT num_nulls(timeout, max_attempts, retry_delay, retry_backoff, retry_max_delay, retry_on, retry_on_crash, on_overlap, max_concurrency, run_if, run_after, priority, queue, settings, session, stuck_after, on_stuck) FROM cron.job;
SELECT cron.create_job('full', '0 3 * * *', 'select 1', timeout => '5 minutes', max_attempts => 5, retry_delay => '1 second', retry_backoff => 1.5, retry_max_delay => '1 minute',
    retry_on => 'any', retry_on_crash => true, on_overlap => 'allow', max_concurrency => 4, run_if => 'now() > ''2000-01-01''', priority => 10, settings => '{"work_mem": "64MB", "app.tenant": 7}',
    session => 'fresh', stuck_after => '10 minutes', on_stuck => 'cancel', run_after => '{plain}') AS "full" \gset
SELECT timeout, max_attempts, retry_delay, retry_backoff, retry_max_delay, retry_on, retry_on_crash, on_overlap, max_concurrency, run_if, run_after, priority, settings, session, stuck_after, on_stuck
    FROM cron.job WHERE jobname = 'full';
-- null is back to default
SELECT cron.set_job('full', '{"on_overlap": null, "max_concurrency": null, "settings": null, "run_after": [], "timeout": null}');
SELECT timeout, on_overlap, max_concurrency, settings, run_after, max_attempts FROM cron.job WHERE jobname = 'full';
-- The default may be to let runs overlap.
SELECT cron.set_job('full', '{"max_concurrency": 2}');
SELECT cron.set_job('full', '{"on_overlap": "queue"}');
SELECT cron.set_job('full', '{"max_concurrency": null}');
-- Checked together, and nothing is stored.
SELECT cron.set_job('full', '{"retry_delay": "2 minutes"}');
SELECT cron.set_job('full', '{"on_overlap": "skip", "max_concurrency": 2}');
SELECT cron.set_job('full', '{"stuck_after": "0"}');
SELECT cron.set_job('full', '{"on_stuck": "retry"}');
SELECT cron.set_job('full', '{"retry_backoff": 0}');
SELECT cron.set_job('full', '{"max_attempts": 0}');
SELECT cron.set_job('full', '{"timeout": "-1 second"}');
SELECT cron.set_job('full', '{"settings": {"cron.log_run": "off"}}');
SELECT cron.set_job('full', '{"settings": {"role; drop": "off"}}');
SELECT cron.set_job('full', '{"settings": "work_mem"}');
-- Each setting is checked as SET would, for the job's role.
SELECT cron.set_job('full', '{"settings": {"work_mom": "64MB"}}');
SELECT cron.set_job('full', '{"settings": {"work_mem": "a lot"}}');
SELECT cron.set_job('full', '{"settings": {"statement_timeout": -1}}');
SELECT cron.set_job('full', '{"settings": {"max_connections": 10}}');
SELECT cron.set_job('full', '{"settings": {"fsync": false}}');
SELECT cron.set_job('full', '{"settings": {"bytea_output": "octal"}}');
SELECT cron.set_job('full', '{"settings": {"Role": "postgres"}}');
SELECT cron.set_job('full', '{"settings": {"session_authorization": "postgres"}}');
SELECT cron.set_job('full', '{"settings": {"cron.job_id": 1}}');
SELECT cron.create_job('unset', '@daily', 'select 1', settings => '{"work_mom": 1}');
SELECT cron.apply_jobs('{"version": 1, "jobs": [{"job_name": "unset", "schedule": "@daily", "command": "select 1", "settings": {"work_mom": 1}}]}');
SELECT cron.set_job('full', '{"settings": {"log_min_messages": "info", "App.tenant": 7, "jit": false}}');
SELECT cron.set_job('full', '{"username": "regress_tock_ann"}');
SET ROLE regress_tock_ann;
SELECT cron.create_job('hers', '@daily', 'select 1', settings => '{"log_min_messages": "info"}');
SELECT cron.create_job('hers', '@daily', 'select 1', settings => '{"app.tenant": 7, "work_mem": "1MB"}') > 0;
SELECT cron.unschedule('hers');
RESET ROLE;
SELECT current_setting('work_mem') = '1MB' AS set, settings, username = current_user AS mine FROM cron.job WHERE jobname = 'full';
SELECT cron.set_job('full', '{"settings": null}');
-- Names are of a length that is of use.
SELECT cron.create_job(repeat('x', 1001), '@daily', 'select 1');
SELECT cron.schedule(repeat('x', 1001), '@daily', 'select 1');
SELECT cron.create_queue(repeat('x', 1001));
SELECT cron.create_calendar(repeat('x', 1001));
SELECT cron.set_job('full', jsonb_build_object('tags', jsonb_build_array(repeat('x', 1001))));
\set VERBOSITY sqlstate
INSERT INTO cron.job (jobname, schedule, command, nodeport) VALUES (repeat('x', 1001), '@daily', 'select 1', 5432);
SELECT cron.apply_jobs(jsonb_build_object('version', 1, 'jobs', jsonb_build_array(jsonb_build_object('job_name', repeat('x', 1001), 'schedule', '@daily', 'command', 'select 1'))));
\set VERBOSITY default
SELECT cron.unschedule(cron.schedule(repeat('x', 1000), '@daily', 'select 1'));
SELECT cron.set_job('full', '{"retry_delais": "1 second"}');
SELECT retry_delay, max_concurrency, stuck_after, on_stuck FROM cron.job WHERE jobname = 'full';
-- A default of the cluster may say when a run is stuck.
SELECT cron.set_job('full', '{"stuck_after": null}');
SELECT stuck_after, on_stuck FROM cron.job WHERE jobname = 'full';
SELECT job -> 'on_stuck' AS on_stuck FROM jsonb_array_elements(cron.export_jobs() -> 'jobs') AS job WHERE job ->> 'job_name' = 'full';
SELECT cron.set_job('full', '{"stuck_after": "0", "on_stuck": null}');
SELECT stuck_after, on_stuck FROM cron.job WHERE jobname = 'full';
-- Queues
SET ROLE regress_tock_ann;
SELECT cron.create_queue('heavy', max_running => 2, max_start_rate => 0.5, description => 'one at a time, more or less');
SELECT cron.create_queue('', 1);
SELECT cron.create_queue(NULL, 1);
SELECT cron.create_queue('x', 0);
SELECT cron.create_queue('x', max_start_rate => 'NaN');
SELECT cron.create_queue('x', max_start_rate => -1);
SELECT cron.create_job('mine', '@daily', 'select 1', queue => 'heavy') > 0;
SELECT cron.set_job('mine', '{"queue": "nowhere"}');
SET ROLE regress_tock_bob;
SELECT * FROM cron.queue;
SELECT cron.create_job('foreign', '@daily', 'select 1', queue => 'heavy');
SELECT cron.create_queue('heavy', 100);
SELECT cron.drop_queue('heavy');
SELECT cron.drop_queue('nowhere');
RESET ROLE;
-- The rights of the queue's owner are those of its members.
GRANT regress_tock_ann TO regress_tock_bob;
SET ROLE regress_tock_bob;
SELECT cron.create_job('foreign', '@daily', 'select 1', queue => 'heavy') > 0;
SELECT cron.drop_queue('heavy');
SELECT cron.set_job('foreign', '{"queue": null}');
RESET ROLE;
REVOKE regress_tock_ann FROM regress_tock_bob;
SET ROLE regress_tock_ann;
SELECT cron.create_queue('heavy', 3, shared => true);
SET ROLE regress_tock_bob;
SELECT cron.set_job('foreign', '{"queue": "heavy"}');
SELECT max_running, max_start_rate, shared, description, owner FROM cron.queue;
-- Jobs that wait for others
SELECT cron.create_job('one', '@daily', 'select 1') > 0, cron.create_job('two', '@daily', 'select 1', run_after => '{one}') > 0,
    cron.create_job('three', '@daily', 'select 1', run_after => '{two,one}') > 0;
SELECT cron.set_job('one', '{"run_after": ["three"]}');
SELECT cron.create_job('one', '@daily', 'select 1', run_after => '{two}');
SELECT cron.create_job('one', '@daily', 'select 1', run_after => '{one}');
SELECT cron.create_job('four', '@daily', 'select 1', run_after => '{mine}');
SELECT cron.create_job('four', '@daily', 'select 1', run_after => '{one,one}');
SELECT jobname, run_after FROM cron.job ORDER BY jobid;
RESET ROLE;
SELECT cron.unschedule(jobid) FROM cron.job ORDER BY jobid;
SELECT cron.drop_queue('heavy');
DROP EXTENSION pg_tock;
DROP OWNED BY regress_tock_ann, regress_tock_bob, regress_tock_team;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team;
