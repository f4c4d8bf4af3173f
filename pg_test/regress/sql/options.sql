-- Jobs with all their options: cron.create_job, cron.set_job, cron.pause, cron.resume.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team LOGIN;
CREATE ROLE regress_tock_barred;
GRANT regress_tock_team TO regress_tock_ann;
GRANT regress_tock_barred TO regress_tock_ann;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
CREATE DATABASE regress_tock_db;
REVOKE CONNECT ON DATABASE regress_tock_db FROM PUBLIC;
SELECT cron.create_calendar('holidays'), cron.create_calendar('closing days');
CREATE VIEW regress_tock_jobs AS
SELECT jobid, jobname, schedule, command, username, active, timezone, description, tags, dst_policy, jitter, run_window, skip_on, only_on,
    on_missed, missed_window
FROM cron.job ORDER BY jobid;
\x

-- Nothing but what has no default
SELECT cron.create_job('plain', '0 1 * * *', 'SELECT 1') AS id \gset
SELECT * FROM cron.job;
-- Everything
SELECT cron.create_job('full', '0 2 * * *', 'SELECT 2', database => current_database(), username => current_user, active => false,
    timezone => 'europe/berlin', description => 'all of it', tags => '{a,b}', dst_policy => 'wall', jitter => '90 seconds',
    run_window => 'mon-fri 09:00-17:00; sat 10:00-12:00', skip_on => '{holidays}', only_on => '{closing days}', on_missed => 'once', missed_window => '1 day 12:00') AS id \gset full_
SELECT * FROM regress_tock_jobs WHERE jobid = :full_id;
-- By position as by name
SELECT cron.create_job('full', '0 2 * * *', 'SELECT 2', NULL, NULL, NULL, NULL, '1 hour', 3, '0', 1, '0', 'any', false, 'skip', NULL, 'all', '0', 'cron', '0', '22:00-06:00', NULL, NULL, NULL, NULL, 1, NULL, NULL, ARRAY['x']) = :full_id AS same_id;
SELECT * FROM regress_tock_jobs WHERE jobid = :full_id;
-- The same name again is full replacement: what is not given is default, but for a pause.
SELECT cron.pause('full', 'infinity', 'wait');
SELECT cron.create_job('full', '0 3 * * *', 'SELECT 3') = :full_id AS same_id;
SELECT * FROM cron.job WHERE jobid = :full_id;
SELECT cron.resume('full');
-- pg_cron's function on such a job leaves its options alone.
SELECT cron.set_job('full', '{"on_missed": "all", "timezone": "Asia/Tokyo"}');
SELECT cron.schedule('full', '0 4 * * *', 'SELECT 4') = :full_id AS same_id;
SELECT * FROM regress_tock_jobs WHERE jobid = :full_id;

-- A patch changes what it names; null is the default again.
SELECT cron.set_job('plain', '{"schedule": "0 5 * * *", "tags": ["night", "tür"], "jitter": "1 minute", "active": false, "description": ""}');
SELECT * FROM regress_tock_jobs WHERE jobid = :id;
SELECT cron.set_job(:id, '{"tags": null, "jitter": null, "active": null, "run_window": "22:00-06:00", "skip_on": ["holidays"], "only_on": []}');
SELECT * FROM regress_tock_jobs WHERE jobid = :id;
SELECT cron.set_job(:id, '{}');
SELECT cron.set_job(:id, '{"command": "SELECT ''ü'' || E''\\n''", "description": "\"quoted\""}');
SELECT command, description FROM cron.job WHERE jobid = :id;
SELECT cron.create_job('{"job_name": "from an object", "schedule": "@daily", "command": "SELECT 1", "on_missed": "once"}') > 0 AS stored;
\x

-- What is refused leaves no trace.
CREATE TABLE regress_tock_before AS SELECT * FROM cron.job;
SELECT cron.set_job('plain', '{"jiter": "1 minute", "timezone": "Asia/Tokyo"}');
SELECT cron.set_job('plain', '{"timezone": "Asia/Tokyo", "jitter": 60}');
SELECT cron.set_job('plain', '{"active": "yes"}');
SELECT cron.set_job('plain', '{"active": 1e400}');
SELECT cron.set_job('plain', '{"tags": "night"}');
SELECT cron.set_job('plain', '{"tags": ["night", 1]}');
SELECT cron.set_job('plain', '{"tags": ["night", null]}');
SELECT cron.set_job('plain', '{"tags": [""]}');
SELECT cron.set_job('plain', '{"tags": ["a", "a"]}');
SELECT cron.set_job('plain', jsonb_build_object('tags', array_agg(n::text))) FROM generate_series(1, 101) n;
SELECT cron.set_job('plain', jsonb_build_object('tags', (repeat('[', 200) || repeat(']', 200))::jsonb));
SELECT cron.set_job('plain', '{"command": {"sql": "SELECT 1"}}');
SELECT cron.set_job('plain', '[]');
SELECT cron.set_job('plain', '"active"');
SELECT cron.set_job('plain', 'null');
SELECT cron.set_job('plain', NULL);
SELECT cron.set_job(NULL::text, '{}');
SELECT cron.set_job(NULL::bigint, '{}');
SELECT cron.set_job('', '{}');
SELECT cron.set_job('plain', '{"schedule": null}');
SELECT cron.set_job('plain', '{"command": null}');
SELECT cron.set_job('plain', '{"command": ""}');
SELECT cron.set_job('plain', '{"schedule": "0 25 * * *"}');
SELECT cron.set_job('plain', '{"dst_policy": "summer"}');
SELECT cron.set_job('plain', '{"on_missed": "ALL"}');
SELECT cron.set_job('plain', '{"timezone": "Mars/Olympus"}');
SELECT cron.set_job('plain', '{"timezone": ""}');
SELECT cron.set_job('plain', jsonb_build_object('timezone', E'\u0001'));
SELECT cron.set_job('plain', jsonb_build_object('timezone', repeat('x', 1000000)));
SELECT cron.set_job('plain', '{"jitter": "soon"}');
SELECT cron.set_job('plain', jsonb_build_object('jitter', repeat('x', 1000000)));
SELECT cron.set_job('plain', '{"jitter": "-1 second"}');
SELECT cron.set_job('plain', '{"jitter": "8 days"}');
SELECT cron.set_job('plain', '{"jitter": "1 month"}');
SELECT cron.set_job('plain', '{"missed_window": "1 year"}');
SELECT cron.set_job('plain', '{"missed_window": "999999999 days"}');
SELECT cron.set_job('plain', '{"run_window": "09:00"}');
SELECT cron.set_job('plain', '{"run_window": "mon-fri 09:00-25:00"}');
SELECT cron.set_job('plain', '{"run_window": ""}');
SELECT cron.set_job('plain', '{"skip_on": ["nonesuch"]}');
SELECT cron.set_job('plain', jsonb_build_object('skip_on', ARRAY[repeat('x', 1000000)]));
SELECT cron.set_job('plain', jsonb_build_object('skip_on', ARRAY[E'a\u0007\nb']));
SELECT cron.set_job('plain', '{"only_on": ["holidays"]}');
SELECT cron.set_job('plain', '{"database": "regress tock nowhere"}');
SELECT cron.set_job('plain', '{"username": "regress tock nobody"}');
SELECT cron.set_job('plain', '{"username": "regress_tock_barred"}');
SELECT cron.set_job('plain', '{"username": "regress_tock_ann", "database": "regress_tock_db"}');
SELECT cron.set_job('plain', jsonb_build_object('username', repeat('x', 1000000)));
SELECT cron.set_job('nonesuch', '{}');
SELECT cron.set_job(repeat('x', 1000000), '{}');
SELECT cron.set_job(E'two\nlines', '{}');
SELECT cron.set_job(0, '{}');
SELECT cron.create_job(NULL, '0 1 * * *', 'SELECT 1');
SELECT cron.create_job(' ', '0 1 * * *', 'SELECT 1');
SELECT cron.create_job('new', NULL, 'SELECT 1');
SELECT cron.create_job('new', '', 'SELECT 1');
SELECT cron.create_job('new', 'often', 'SELECT 1');
SELECT cron.create_job('new', '0 1 * * *', NULL);
SELECT cron.create_job('new', '0 1 * * *', '');
SELECT cron.create_job('new', '0 1 * * *', 'SELECT 1', timezone => 'EST5EDT,M3.2.0,M11.1.0');
SELECT cron.create_job('new', '0 1 * * *', 'SELECT 1', tags => '{{a,b},{c,d}}');
SELECT cron.create_job('new', '0 1 * * *', 'SELECT 1', skip_on => '{holidays}', only_on => '{holidays}');
SELECT cron.create_job('new', '0 1 * * *', 'SELECT 1', missed_window => '-1 day');
SELECT cron.create_job('{"schedule": "@daily", "command": "SELECT 1"}');
SELECT cron.create_job('{"job_name": 1, "schedule": "@daily", "command": "SELECT 1"}');
SELECT cron.create_job('{"jobname": "x", "job_name": "x", "schedule": "@daily", "command": "SELECT 1"}');
SELECT cron.create_job('[]');
SELECT cron.create_job(NULL);
SELECT count(*) AS changed FROM (TABLE cron.job EXCEPT TABLE regress_tock_before) AS changed;
SELECT count(*) AS changed FROM (TABLE regress_tock_before EXCEPT TABLE cron.job) AS changed;

-- Schedules that are legal and doubtful: a warning, and they are stored.
SELECT cron.create_job('never', '0 0 30 2 *', 'SELECT 1') > 0 AS stored;
SELECT cron.schedule('late', '0 1 * * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.set_job('late', '{"schedule": "0 1 13 * fri"}');
SELECT cron.set_job('late', '{"description": "no warning, the schedule is the same"}');

-- Rights
\set VERBOSITY terse
SELECT cron.create_job('anns', '0 1 * * *', 'SELECT 1', username => 'regress_tock_ann') AS id \gset ann_
SELECT cron.create_job('bobs', '0 1 * * *', 'SELECT 1', username => 'regress_tock_bob') AS id \gset bob_
SELECT cron.create_job('shared', '0 1 * * *', 'SELECT 1', username => 'regress_tock_ann') > 0 AS stored;
SELECT cron.create_job('shared', '0 1 * * *', 'SELECT 1', username => 'regress_tock_bob') > 0 AS stored;
-- For a superuser a name is his own job, or the only one of that name.
SELECT cron.set_job('anns', '{"description": "by a superuser"}');
SELECT cron.set_job('shared', '{"description": "whose"}');
\set VERBOSITY default
SELECT cron.pause('shared');
\set VERBOSITY terse
SELECT cron.create_job('shared', '0 1 * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.set_job('shared', '{"description": "mine"}');
SELECT username, description FROM cron.job WHERE jobname = 'shared' ORDER BY jobid;

SET ROLE regress_tock_ann;
SELECT cron.set_job('anns', '{"description": "mine"}');
SELECT cron.set_job('bobs', '{"description": "not mine"}');
SELECT format('DO $x$ BEGIN PERFORM cron.set_job(%s, %L); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''%%'', replace(sqlerrm, %L, ''(bob)''); END $x$',
    :bob_id, '{}', :bob_id) \gexec
SELECT format('DO $x$ BEGIN PERFORM cron.pause(%s); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''%%'', replace(sqlerrm, %L, ''(bob)''); END $x$', :bob_id, :bob_id) \gexec
SELECT format('DO $x$ BEGIN PERFORM cron.resume(%s); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''%%'', replace(sqlerrm, %L, ''(bob)''); END $x$', :bob_id, :bob_id) \gexec
SELECT cron.create_job('for bob', '0 1 * * *', 'SELECT 1', username => 'regress_tock_bob');
SELECT cron.set_job('anns', '{"username": "regress_tock_bob"}');
SELECT cron.create_job('for the team', '0 1 * * *', 'SELECT 1', username => 'regress_tock_team') AS id \gset team_
SELECT cron.create_job('barred', '0 1 * * *', 'SELECT 1', username => 'regress_tock_barred');
-- A member of the owner role changes the job by its id; a name is one of one's own.
SELECT cron.set_job(:team_id, '{"description": "ours"}');
SELECT cron.set_job('for the team', '{"description": "ours"}');
SELECT cron.pause(:team_id);
SELECT cron.resume(:team_id);
-- Other databases
SELECT cron.create_job('elsewhere', '0 1 * * *', 'SELECT 1', database => 'template1');
SELECT cron.set_job('anns', '{"database": "template1"}');
SELECT cron.create_job('here', '0 1 * * *', 'SELECT 1', database => current_database()) > 0 AS stored;
RESET ROLE;
GRANT EXECUTE ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) TO regress_tock_ann;
SET ROLE regress_tock_ann;
SELECT cron.create_job('elsewhere', '0 1 * * *', 'SELECT 1', database => 'template1') > 0 AS stored;
SELECT cron.create_job('barred', '0 1 * * *', 'SELECT 1', database => 'regress_tock_db');
RESET ROLE;
SELECT jobname, username, description, database = current_database() AS here FROM cron.job WHERE username LIKE 'regress%' ORDER BY jobid;
\set VERBOSITY default

-- Pause and resume
SELECT cron.pause('anns', '2999-12-31 00:00+00', 'stocktaking');
SELECT paused_until, paused_by = current_user AS by_me, pause_reason FROM cron.job WHERE jobid = :ann_id;
SELECT jobname, state, paused_until, paused_by = current_user AS by_me, pause_reason FROM cron.jobs WHERE jobid = :ann_id;
SELECT cron.pause(:ann_id, reason => 'for good');
SELECT paused_until, paused_by = current_user AS by_me, pause_reason FROM cron.job WHERE jobid = :ann_id;
SELECT cron.resume(:ann_id), cron.resume(:ann_id);
SELECT paused_until, paused_by, pause_reason FROM cron.job WHERE jobid = :ann_id;
-- Who resumed it is kept until it is paused again; a pause that is over was ended by nobody.
SELECT resumed_by = current_user AS by_me, resumed_at BETWEEN now() - interval '5 minutes' AND clock_timestamp() AS just_now FROM cron.job WHERE jobid = :ann_id;
SELECT cron.pause(:ann_id);
SELECT resumed_by, resumed_at FROM cron.job WHERE jobid = :ann_id;
UPDATE cron.job SET paused_until = now() - interval '1 second' WHERE jobid = :ann_id;
SELECT cron.resume(:ann_id);
SELECT paused_until, paused_by, resumed_by, resumed_at FROM cron.job WHERE jobid = :ann_id;
SELECT cron.pause('anns', 'yesterday');
SELECT cron.pause('anns', now());
SELECT cron.pause('anns', '-infinity');
SELECT cron.pause('nonesuch');
SELECT cron.pause(NULL::bigint);
SELECT cron.pause(NULL::text);
SELECT cron.pause(-1);
SELECT cron.resume('nonesuch');
SELECT cron.resume(NULL::bigint);
SELECT cron.resume(NULL::text);
SELECT cron.resume(-1);

DROP VIEW regress_tock_jobs;
DROP TABLE regress_tock_before;
DROP EXTENSION pg_tock;
DROP DATABASE regress_tock_db;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team, regress_tock_barred;
