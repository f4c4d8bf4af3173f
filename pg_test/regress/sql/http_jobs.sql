-- Jobs that call a URL: what is stored, who may, and what is refused, by whatever way.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team;
GRANT regress_tock_team TO regress_tock_bob;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
GRANT INSERT ON cron.secret_input TO regress_tock_ann, regress_tock_bob;
\set SHOW 'SELECT jobname, schedule, command, username, http FROM cron.job ORDER BY jobid'

-- Its own part, and every option of cron.create_job, in their order.
SELECT string_agg(name, ' ' ORDER BY place) FROM pg_proc, unnest(proargnames) WITH ORDINALITY AS a (name, place)
WHERE oid::regproc = 'cron.create_http_job'::regproc;
SELECT (SELECT array_agg(name ORDER BY place) FROM pg_proc, unnest(proargnames) WITH ORDINALITY AS a (name, place)
        WHERE proname = 'create_job' AND pronargs > 1 AND place > 3)
     = (SELECT array_agg(name ORDER BY place) FROM pg_proc, unnest(proargnames) WITH ORDINALITY AS a (name, place)
        WHERE proname = 'create_http_job' AND place > 8) AS same_options;

-- Nobody without being let in, by any way.
SET ROLE regress_tock_ann;
SELECT cron.create_http_job('ping', '* * * * *', 'https://example.com/');
SELECT cron.create_job('{"job_name": "ping", "schedule": "* * * * *", "url": "https://example.com/"}');
RESET ROLE;
-- A condition is one expression.
SELECT cron.create_http_job('ping', '* * * * *', 'https://example.com/', run_if => 'true; false');
GRANT INSERT, UPDATE ON cron.job TO regress_tock_ann, regress_tock_bob;
GRANT USAGE ON SEQUENCE cron.jobid_seq TO regress_tock_ann, regress_tock_bob;
SET ROLE regress_tock_ann;
INSERT INTO cron.job (schedule, command, nodeport, http) VALUES ('* * * * *', '', 5432, '{"url": "https://example.com/"}');
SELECT cron.schedule('sql', '* * * * *', 'SELECT 1') AS sql \gset
UPDATE cron.job SET http = '{"url": "https://example.com/"}' WHERE jobid = :sql;
SELECT cron.set_job('sql', '{"url": "https://example.com/"}');
SELECT cron.set_job('sql', '{"method": null}');
RESET ROLE;
GRANT EXECUTE ON FUNCTION cron.create_http_job TO regress_tock_ann, regress_tock_bob;

-- What is stored.
SET ROLE regress_tock_ann;
SELECT cron.create_http_job('ping', '*/5 * * * *', 'https://example.com/in?job={{job_name}}') > 0 AS stored;
SELECT cron.create_http_job('all', '@daily', 'http://[::1]:8080/x', 'put', '{"Accept": "text/plain", "X-Run": "{{run_id}}"}',
    '{"at": "{{scheduled_for}}"}', '200-299,404', true, timezone => 'Europe/Berlin', timeout => '30 seconds',
    max_attempts => 3, tags => '{web}', description => 'all there is') > 0 AS stored;
SELECT cron.create_job('{"job_name": "doc", "schedule": "@hourly", "url": "https://example.com/doc", "body": {"n": [1, "{{attempt}}"]}}') > 0 AS stored;
:SHOW;
SELECT timezone, timeout, max_attempts, tags, description FROM cron.job WHERE jobname = 'all';
SELECT jobname, state, command FROM cron.jobs ORDER BY jobid;

-- Changes, option by option; what is not named stays.
SELECT cron.set_job('all', '{"url": "https://example.com/y", "method": null, "headers": {"X-One": "1"}}');
SELECT cron.set_job('all', '{"body": null, "expect_status": null, "follow_redirects": null, "timeout": null}');
SELECT cron.set_job('ping', '{"schedule": "*/10 * * * *"}');
:SHOW;
SELECT cron.set_job('ping', '{"command": "SELECT 1"}');
SELECT cron.set_job('ping', '{"command": null}');
SELECT cron.set_job('ping', '{"url": null}');
SELECT cron.set_job('ping', '{"url": "https://user:secret@example.com/"}');
SELECT cron.set_job('ping', '{"http": {"url": "https://example.com/"}}');
SELECT cron.set_job('ping', '[]');
SELECT cron.create_job('{"job_name": "both", "schedule": "* * * * *", "url": "https://example.com/", "command": "SELECT 1"}');
SELECT cron.create_job('{"job_name": "neither", "schedule": "* * * * *", "method": "GET"}');
SELECT cron.create_job('{"job_name": "half", "schedule": "* * * * *", "command": "SELECT 1", "method": "GET"}');

-- Directly, command follows the request.
UPDATE cron.job SET http = jsonb_set(http, '{url}', '"https://example.com/z"') WHERE jobname = 'ping';
UPDATE cron.job SET command = 'POST https://example.org/' WHERE jobname = 'ping';
UPDATE cron.job SET http = '{"url": "ftp://example.com/"}' WHERE jobname = 'ping';
UPDATE cron.job SET http = '{"url": "https://example.com/", "verb": "GET"}' WHERE jobname = 'ping';
UPDATE cron.job SET http = '[]' WHERE jobname = 'ping';
UPDATE cron.job SET http = 'null' WHERE jobname = 'ping';
UPDATE cron.job SET active = false WHERE jobname = 'ping';
INSERT INTO cron.job (schedule, command, nodeport, jobname, http)
VALUES ('* * * * *', 'anything', 5432, 'direct', '{"url": "https://example.com/direct"}');
SELECT jobname, active, command, http FROM cron.job WHERE jobname IN ('ping', 'direct') ORDER BY jobid;
RESET ROLE;
SELECT cron.alter_job(jobid, command => 'SELECT 1') FROM cron.job WHERE jobname = 'ping';
SELECT cron.alter_job(jobid, active => true, schedule => '1 * * * *') FROM cron.job WHERE jobname = 'ping';
SET ROLE regress_tock_ann;

-- One name is one job: what is created again is what it was created as last.
SELECT cron.schedule('direct', '* * * * *', 'SELECT 2') > 0 AS stored;
SELECT cron.create_job('doc', '* * * * *', 'SELECT 3') > 0 AS stored;
SELECT cron.create_http_job('sql', '* * * * *', 'https://example.com/was-sql', 'GET') = :sql AS same_job;
SELECT jobname, command, http FROM cron.job WHERE jobname IN ('direct', 'doc', 'sql') ORDER BY jobid;

-- Bad input, argument by argument; nothing is stored.
SELECT count(*) AS jobs FROM cron.job \gset
SELECT cron.create_http_job(NULL, '* * * * *', 'https://example.com/');
SELECT cron.create_http_job('', '* * * * *', 'https://example.com/');
SELECT cron.create_http_job('bad', NULL, 'https://example.com/');
SELECT cron.create_http_job('bad', 'often', 'https://example.com/');
SELECT cron.create_http_job('bad', '* * * * *', NULL);
SELECT cron.create_http_job('bad', '* * * * *', '');
SELECT cron.create_http_job('bad', '* * * * *', 'example.com');
SELECT cron.create_http_job('bad', '* * * * *', 'file:///etc/passwd');
SELECT cron.create_http_job('bad', '* * * * *', 'https://user:password@example.com/');
SELECT cron.create_http_job('bad', '* * * * *', 'https://{{secret:host}}/');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/{{nonesuch}}');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/{{secret:}}');
SELECT cron.create_http_job('bad', '* * * * *', E'https://example.com/\n');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', 'TRACE');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', headers => '[]');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', headers => '{"X-N": 1}');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', headers => '{"a b": "1"}');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', headers => '{"Host": "other"}');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', headers => '{"X": "a\r\nY: b"}');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', 'HEAD', body => 'x');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', headers => '{"Content-Type": "application/json"}', body => '{');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', body => repeat('x', 1048577));
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', expect_status => 'ok');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', expect_status => '99');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', database => 'regress tock nowhere');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', username => 'regress_tock_bob');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/', max_attempts => 0);
SELECT count(*) - :jobs AS stored FROM cron.job;

-- Secrets exist and may be used by the owner, or nothing is stored.
COPY cron.secret_input FROM STDIN;
token	t0k3n
other	value
\.
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/{{secret:nonesuch}}');
SELECT cron.create_http_job('with', '* * * * *', 'https://example.com/', headers => '{"Authorization": "Bearer {{secret:token}}"}',
    body => '{"key": "{{secret:other}}"}') > 0 AS stored;
SELECT cron.set_job('with', '{"body": "{{secret:nonesuch}}"}');
UPDATE cron.job SET http = jsonb_set(http, '{body}', '"{{secret:nonesuch}}"') WHERE jobname = 'with';
SELECT name, used_by = ARRAY[(SELECT jobid FROM cron.job WHERE jobname = 'with')] AS used FROM cron.secrets ORDER BY name;
SELECT cron.drop_secret('token');
SET ROLE regress_tock_bob;
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/{{secret:token}}');
INSERT INTO cron.job (schedule, command, nodeport, http) VALUES ('* * * * *', '', 5432, '{"url": "https://example.com/{{secret:token}}"}');
SET ROLE regress_tock_ann;
SELECT cron.grant_secret('token', 'regress_tock_team');
SET ROLE regress_tock_bob;
SELECT cron.create_http_job('granted', '* * * * *', 'https://example.com/{{secret:token}}') > 0 AS stored;
-- Whoever was granted a secret sees his own jobs with it, the owner all of them.
SELECT name, owner, cardinality(used_by) FROM cron.secrets;
SELECT cron.drop_secret('token');
SET ROLE regress_tock_ann;
SELECT name, owner, cardinality(used_by) FROM cron.secrets ORDER BY name;
SELECT cron.drop_secret('token');
SELECT cron.revoke_secret('token', 'regress_tock_team');
SET ROLE regress_tock_bob;
-- A job that is there can be changed in all but its request; it fails when it runs.
SELECT cron.set_job('granted', '{"description": "no right any more"}');
SELECT cron.set_job('granted', '{"method": "GET"}');
RESET ROLE;
SELECT cron.drop_secret('token');
-- A new owner has to have the right, too.
SELECT cron.set_job(jobid, '{"username": "regress_tock_bob"}') FROM cron.job WHERE jobname = 'with';
SELECT cron.grant_secret('token', 'regress_tock_bob'), cron.grant_secret('other', 'regress_tock_bob');
SELECT cron.set_job(jobid, '{"username": "regress_tock_bob"}') FROM cron.job WHERE jobname = 'with';
SELECT jobname, username FROM cron.job WHERE jobname = 'with';
SELECT cron.set_secret('of superuser', 'x');
SELECT cron.set_secret('supers', 'x');
SELECT cron.create_http_job('bad', '* * * * *', 'https://example.com/{{secret:supers}}', username => 'regress_tock_ann');
SELECT cron.grant_secret('supers', 'regress_tock_ann');
SELECT cron.create_http_job('good', '* * * * *', 'https://example.com/{{secret:supers}}', username => 'regress_tock_ann') > 0 AS stored;

-- A restore brings jobs before anybody has set secrets.
CREATE TEMP TABLE dump AS SELECT * FROM cron.job;
TRUNCATE cron.job;
SELECT cron.drop_secret(name) FROM (SELECT name FROM cron.secrets ORDER BY name) AS s;
INSERT INTO cron.job SELECT * FROM dump;
SELECT count(*) > 0 AS restored FROM cron.job WHERE http IS NOT NULL;

-- Without the right, a job keeps its request and everything else can be changed.
REVOKE EXECUTE ON FUNCTION cron.create_http_job FROM regress_tock_ann;
SET ROLE regress_tock_ann;
SELECT cron.set_job('ping', '{"description": "still mine"}');
SELECT cron.set_job('ping', '{"method": "GET"}');
SELECT cron.check_http_job();
RESET ROLE;

DROP EXTENSION pg_tock;
DROP OWNED BY regress_tock_ann, regress_tock_bob, regress_tock_team;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team;
