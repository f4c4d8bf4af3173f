-- Jobs as a document: what is exported, what applying one does, who may, and what is refused.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team LOGIN;
GRANT regress_tock_team TO regress_tock_bob;
CREATE DATABASE regress_tock_db;
REVOKE CONNECT ON DATABASE regress_tock_db FROM PUBLIC;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_team;
SET timezone = 'UTC';
\set DIFF 'SELECT action, job_name, field, old, new FROM cron.apply_jobs'


SET ROLE regress_tock_ann;
SELECT jsonb_pretty(cron.export_jobs());
SELECT cron.create_job('nightly', '0 3 * * *', 'CALL tidy_up()', timezone => 'Europe/Berlin', timeout => '90 minutes',
    retry_delay => '10 s', retry_backoff => 2, tags => '{ops,night}', settings => '{"work_mem": "64MB"}',
    database => 'contrib_regression', active => true, description => 'keeps the place tidy') > 0 AS stored;
SELECT cron.create_job('hourly', '@hourly', 'SELECT 1', active => false, tags => '{ops}') > 0 AS stored;
SELECT cron.schedule('* * * * *', 'SELECT ''nameless''') > 0 AS stored;
SELECT cron.pause('nightly', reason => 'a strike');
RESET ROLE;
SET ROLE regress_tock_bob;
SELECT cron.create_job('hourly', '@hourly', 'SELECT ''bob''') > 0 AS stored;
RESET ROLE;
SELECT cron.create_job('team', '@daily', 'SELECT ''team''', username => 'regress_tock_team', tags => '{ops}') > 0 AS stored;
INSERT INTO cron.job (jobname, schedule, command, nodename, nodeport, database) VALUES ('far away', '@daily', 'SELECT 1', 'elsewhere.example', 5432, 'x');

-- Each sees his own, a superuser all; a pause is no part of it, nor are jobs of other servers.
SET ROLE regress_tock_ann;
SELECT jsonb_pretty(cron.export_jobs());
SELECT jsonb_pretty(cron.export_jobs('{night,day}'));
SELECT cron.export_jobs() AS ann \gset
SELECT cron.export_jobs('{ops}') AS ops \gset
SELECT cron.export_jobs('{}');
SELECT cron.export_jobs('{a,NULL}');
SET ROLE regress_tock_bob;
SELECT jsonb_path_query(cron.export_jobs(), '$.jobs[*].command');
RESET ROLE;
SELECT jsonb_path_query(cron.export_jobs(), '$.jobs[*].job_name'), jsonb_path_query(cron.export_jobs(), '$.jobs[*].username'), cron.export_jobs()->'all_owners' AS all_owners;
SELECT cron.export_jobs() AS everybody \gset

-- Applied where it came from, it changes nothing.
SET ROLE regress_tock_ann;
:DIFF(:'ann', prune => true);
:DIFF(:'ops', prune => true);
RESET ROLE;
:DIFF(:'everybody', prune => true);

-- A dry run says what would happen; the real one does that.
SET ROLE regress_tock_ann;
\set CHANGED '{"jobs": [{"job_name": "hourly", "schedule": "@daily", "command": "SELECT 1", "tags": ["ops"]}, {"job_name": "new", "schedule": "0 0 1 1 *", "command": "SELECT 2"}]}'
:DIFF(:'CHANGED', dry_run => true);
:DIFF(:'CHANGED', prune => true, dry_run => true);
SELECT jobname, schedule, active FROM cron.job ORDER BY jobid;
SELECT action, job_name, field, next_run_before IS NULL AS did_not_run, next_run_after = date_trunc('day', now()) + interval '1 day' AS at_midnight,
    next_run_after = date_trunc('year', now()) + interval '1 year' AS at_new_year
FROM cron.apply_jobs(:'CHANGED', prune => true);
:DIFF(:'CHANGED', prune => true);
SELECT jobname, schedule, active FROM cron.job ORDER BY jobid;
-- What was removed comes back.
SELECT DISTINCT action, job_name FROM cron.apply_jobs(:'ann') ORDER BY 1, 2;
:DIFF(:'ann', dry_run => true);
SELECT action, job_name, field FROM cron.apply_jobs(:'ann', prune => true);
SELECT cron.export_jobs() = :'ann'::jsonb AS same;

-- With tags, jobs that have none of them stay.
:DIFF('{"tags": ["night"], "jobs": []}', prune => true);
SELECT jobname FROM cron.job ORDER BY jobname;
:DIFF('{"tags": ["night"], "jobs": [{"job_name": "hourly", "schedule": "@hourly", "command": "SELECT 1", "tags": ["night"]}]}', prune => true);
:DIFF('{"tags": ["ops"], "jobs": []}', prune => true);
SELECT jobname FROM cron.job ORDER BY jobname;
SELECT count(*) FROM cron.apply_jobs(:'ann');
RESET ROLE;

-- A job without a name is known by what it runs.
SET ROLE regress_tock_ann;
:DIFF('{"jobs": [{"job_name": null, "schedule": "@daily", "command": "SELECT ''nameless''"}]}');
:DIFF('{"jobs": [{"job_name": null, "schedule": "@daily", "command": "SELECT ''other''"}]}');
SELECT jobname, schedule, command FROM cron.job WHERE jobname IS NULL ORDER BY jobid;
RESET ROLE;

-- Jobs that wait for one another, in any order.
SET ROLE regress_tock_ann;
:DIFF('{"jobs": [{"job_name": "after", "schedule": "@daily", "command": "x", "run_after": ["before"]}, {"job_name": "before", "schedule": "@daily", "command": "x"}]}');
:DIFF('{"jobs": [{"job_name": "before", "schedule": "@daily", "command": "x", "run_after": ["after"]}, {"job_name": "after", "schedule": "@daily", "command": "x"}]}');
:DIFF('{"jobs": [{"job_name": "after", "schedule": "@daily", "command": "x", "run_after": ["before"]}]}', dry_run => true);
:DIFF('{"jobs": [{"job_name": "before", "schedule": "@daily", "command": "x", "run_after": ["after"]}]}', prune => true);
:DIFF('{"jobs": [{"job_name": "one", "schedule": "@daily", "command": "x", "run_after": ["after", "nobody"]}]}');
RESET ROLE;

-- One may do with a document what one may do without.
SET ROLE regress_tock_ann;
\set JOB '{"jobs": [{"job_name": "a", "schedule": "@daily", "command": "x"}, {"job_name": "b", "schedule": "@daily", "command": "x", '
:DIFF((:'JOB' || '"username": "regress_tock_bob"}]}')::jsonb);
:DIFF((:'JOB' || '"username": "regress_tock_nobody"}]}')::jsonb);
:DIFF((:'JOB' || '"database": "regress_tock_db"}]}')::jsonb);
:DIFF((:'JOB' || '"database": "regress_tock_nowhere"}]}')::jsonb);
:DIFF('{"jobs": [{"job_name": "b", "schedule": "@daily", "url": "https://example.com/"}]}');
:DIFF(:'everybody', dry_run => true);
:DIFF('{"all_owners": true, "jobs": []}', prune => true, dry_run => true) WHERE job_name = 'team' OR new IS NOT NULL;
SELECT count(*) FROM cron.job WHERE jobname IN ('a', 'b');
SET ROLE regress_tock_bob;
-- His own, and those of a role he belongs to; these are removed by nobody but their owner and superusers.
:DIFF('{"jobs": [{"job_name": "team", "username": "regress_tock_team", "schedule": "@daily", "command": "SELECT 1"}]}', dry_run => true);
:DIFF('{"jobs": [{"job_name": "crew", "username": "regress_tock_team", "schedule": "@daily", "command": "SELECT 1"}]}', prune => true, dry_run => true);
RESET ROLE;
-- A superuser's document is about his own jobs, unless it says that it is about all.
:DIFF('{"jobs": []}', prune => true, dry_run => true);
SELECT DISTINCT action, job_name, old FROM cron.apply_jobs('{"all_owners": true, "jobs": []}', prune => true, dry_run => true) WHERE field = 'username' ORDER BY 3, 2;
:DIFF('{"jobs": [{"job_name": "far away", "schedule": "@daily", "command": "SELECT 1"}]}', dry_run => true);
:DIFF('{"jobs": [{"job_name": "b", "schedule": "@daily", "command": "x", "username": "regress_tock_nobody"}]}');

-- HTTP jobs
GRANT EXECUTE ON FUNCTION cron.create_http_job TO regress_tock_ann;
SELECT cron.set_secret('token', 's3cr3t');
SET ROLE regress_tock_ann;
:DIFF('{"jobs": [{"job_name": "call", "schedule": "@hourly", "url": "https://example.com/", "headers": {"X-Token": "{{secret:token}}"}}]}');
RESET ROLE;
SELECT cron.grant_secret('token', 'regress_tock_ann');
SET ROLE regress_tock_ann;
:DIFF('{"jobs": [{"job_name": "call", "schedule": "@hourly", "url": "https://example.com/", "headers": {"X-Token": "{{secret:token}}"}, "body": {"a": 1}}]}');
SELECT command, http FROM cron.job WHERE jobname = 'call';
:DIFF('{"jobs": [{"job_name": "call", "schedule": "@hourly", "url": "https://example.com/x", "method": "get"}]}');
:DIFF('{"jobs": [{"job_name": "call", "schedule": "@hourly", "command": "SELECT 1"}]}');
SELECT command, http FROM cron.job WHERE jobname = 'call';

-- What is refused, and where.
SELECT * FROM cron.apply_jobs(NULL);
SELECT * FROM cron.apply_jobs('{"jobs": []}', NULL);
SELECT * FROM cron.apply_jobs('{"jobs": []}', true, NULL);
SELECT * FROM cron.apply_jobs('[]');
SELECT * FROM cron.apply_jobs('{"jobs": [], "version": 7}');
SELECT * FROM cron.apply_jobs('{"jobs": [], "job": 1}');
SELECT * FROM cron.apply_jobs('{"jobs": [{"schedule": "@daily", "command": "x"}]}');
SELECT * FROM cron.apply_jobs((:'JOB' || '"retry_delay": "1 month"}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"retry_delay": 10}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"priority": 101}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"timezone": "Mars/Olympus"}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"skip_on": ["holidays"]}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"queue": "line"}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"run_if": "true; false"}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"run_window": "mon-fry"}]}')::jsonb);
-- (The hint lists all options there are.)
\set VERBOSITY terse
SELECT * FROM cron.apply_jobs((:'JOB' || '"scedule": "@daily"}]}')::jsonb);
\set VERBOSITY default
SELECT * FROM cron.apply_jobs((:'JOB' || '"on_overlap": "skip", "max_concurrency": 2}]}')::jsonb);
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": "61 * * * *", "command": "x"}]}');
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": "@daily", "url": "ftp://example.com/"}]}');
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": "@daily", "url": "https://example.com/", "headers": {"X": "{{secret:none}}"}}]}');
-- Parts of values, and numbers that are none here.
SELECT * FROM cron.apply_jobs((:'JOB' || '"jitter": "99999999999999999999 years"}]}')::jsonb);
SELECT cron.set_job('nightly', '{"jitter": "99999999999999999999 years"}');
SELECT * FROM cron.apply_jobs((:'JOB' || '"tags": ["x", 7]}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"only_on": ["x", " "]}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"settings": {"app.x": 1, "cron.y": 2}}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"settings": 5}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"retry_backoff": 1e400}]}')::jsonb);
SELECT * FROM cron.apply_jobs((:'JOB' || '"settings": {"app.x": [-1e999]}}]}')::jsonb);
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": "CRON_TZ=Mars/Olympus @daily", "command": "x"}]}');
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": null, "command": "x"}]}');
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": "@daily", "url": "https://example.com/{{secret:none}}"}]}');
SELECT * FROM cron.apply_jobs('{"jobs": [{"job_name": "b", "schedule": "@daily", "url": "https://example.com/", "body": {"a": "{{secret:none}}"}}]}');
SELECT count(*) FROM cron.job WHERE jobname IN ('a', 'b');
RESET ROLE;

DROP EXTENSION pg_tock;
DROP DATABASE regress_tock_db;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team;
