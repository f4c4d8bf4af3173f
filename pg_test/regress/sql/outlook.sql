-- Looking ahead at jobs: cron.job_next_runs, cron.forecast, cron.upcoming, cron.jobs.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;

-- Nothing that shapes it: as next_runs says
SELECT cron.create_job('plain', '30 2 * * *', 'SELECT 1', timezone => 'Europe/Berlin') AS id \gset
SELECT a = b AS same FROM
    (SELECT array_agg(r) FROM cron.job_next_runs('plain', 400) r) x (a),
    (SELECT array_agg(r) FROM cron.next_runs('30 2 * * *', 400, 'Europe/Berlin', statement_timestamp()) r) y (b);
SELECT count(*) FROM cron.job_next_runs(:id);
SELECT count(*) FROM cron.job_next_runs(:id, 0);
-- A window: a job of every ten minutes in six hours of five days
SELECT cron.create_job('windowed', '*/10 * * * *', 'SELECT 1', timezone => 'America/New_York', run_window => 'mon-fri 22:00-04:00') AS id \gset w_
SELECT min(local_time::time), max(local_time::time), count(*) FILTER (WHERE local_time::time >= '04:00' AND local_time::time < '22:00') AS outside,
    array_agg(DISTINCT extract(dow FROM local_time - interval '6 hours')) AS days
FROM cron.job_next_runs('windowed', 2000);
-- Calendars
SELECT cron.create_calendar('odd days'), cron.create_calendar('first week');
SELECT cron.add_calendar_dates('odd days', d::date) FROM generate_series(current_date - 3, current_date + 400, '1 day') d WHERE extract(day FROM d)::int % 2 = 1 \g /dev/null
SELECT cron.add_calendar_dates('first week', d::date, d::date + 6) FROM generate_series(date_trunc('month', now()), now() + interval '400 days', '1 month') d \g /dev/null
SELECT cron.create_job('calendar', '0 12 * * *', 'SELECT 1', timezone => 'UTC', skip_on => '{odd days}', only_on => '{first week}') AS id \gset c_
SELECT array_agg(DISTINCT extract(day FROM local_time)) FROM cron.job_next_runs('calendar', 20);
-- Jitter: always the same, within its bound, said in the note
SELECT cron.create_job('jittered', '0 * * * *', 'SELECT 1', jitter => '10 minutes') AS id \gset j_
SELECT count(DISTINCT run_at), bool_and(run_at >= date_trunc('hour', run_at) AND run_at < date_trunc('hour', run_at) + interval '10 minutes') AS within,
    count(*) FILTER (WHERE note LIKE '%jitter%') > 95 AS noted
FROM cron.job_next_runs('jittered', 100);
SELECT (SELECT array_agg(run_at) FROM cron.job_next_runs('jittered', 50)) = (SELECT array_agg(run_at) FROM cron.job_next_runs(:j_id, 50)) AS same;
-- dst_policy: 1:30 twice in New York's autumn
SELECT cron.create_job('wall', '30 1 * * *', 'SELECT 1', timezone => 'America/New_York', dst_policy => 'wall') > 0 AS stored;
SELECT cron.create_job('real', '30 1 * * *', 'SELECT 1', timezone => 'America/New_York', dst_policy => 'cron') > 0 AS stored;
SELECT (SELECT count(*) - count(DISTINCT local_time) FROM cron.job_next_runs('wall', 1000)) > 0 AS wall_twice,
    (SELECT count(*) - count(DISTINCT local_time) FROM cron.job_next_runs('real', 1000)) > 0 AS cron_twice;
-- A pause
SELECT cron.pause('plain', '2100-01-01 00:00+00');
SELECT run_at FROM cron.job_next_runs('plain', 2);
SELECT state, next_run_at, paused_until, pause_reason FROM cron.jobs WHERE jobid = :id;
SELECT cron.pause('plain', reason => 'for good');
SELECT run_at FROM cron.job_next_runs('plain', 2);
SELECT state, next_run_at, paused_until, pause_reason FROM cron.jobs WHERE jobid = :id;
SELECT cron.resume('plain');
SELECT state, next_run_at IS NOT NULL AS has_next, paused_until, pause_reason FROM cron.jobs WHERE jobid = :id;
-- A pause that is over is none.
UPDATE cron.job SET paused_until = now() - interval '1 hour', paused_by = 'x', pause_reason = 'y' WHERE jobid = :id;
SELECT state, next_run_at IS NOT NULL AS has_next, paused_until, paused_by, pause_reason FROM cron.jobs WHERE jobid = :id;
-- Other kinds, and jobs that have nothing to come
SELECT cron.create_job('once', 'at 2100-12-24 18:00', 'SELECT 1', timezone => 'Europe/Berlin') > 0 AS stored;
SELECT * FROM cron.job_next_runs('once');
SELECT cron.create_job('at start', '@startup', 'SELECT 1') > 0 AS stored;
SELECT * FROM cron.job_next_runs('at start');
SELECT cron.create_job('off', '* * * * *', 'SELECT 1', active => false) AS id \gset off_
\set VERBOSITY terse
SELECT format('DO $x$ BEGIN PERFORM cron.job_next_runs(%s); END $x$', :off_id) AS off \gset
SET client_min_messages = warning;
:off;
RESET client_min_messages;
\set VERBOSITY default
-- What is in force when a job is missed
SELECT cron.create_job('careful', '0 3 * * *', 'SELECT 1', on_missed => 'all', missed_window => '2 days') > 0 AS stored;
SELECT jobname, on_missed, missed_window FROM cron.jobs WHERE jobname IN ('careful', 'plain') ORDER BY jobname;
-- Options that are no options, written directly
UPDATE cron.job SET run_window = 'now and then' WHERE jobname = 'careful';
SELECT state, next_run_at FROM cron.jobs WHERE jobname = 'careful';
SELECT cron.job_next_runs('careful');
UPDATE cron.job SET run_window = NULL, jitter = '-1 hour', dst_policy = 'winter', on_missed = 'maybe' WHERE jobname = 'careful';
SELECT state, next_run_at IS NOT NULL AS has_next FROM cron.jobs WHERE jobname = 'careful';
SELECT cron.set_job('careful', '{"description": "x"}');
SELECT cron.set_job('careful', '{"jitter": null, "dst_policy": null, "on_missed": null}');

-- The view of what comes next
SELECT array_agg(jobname ORDER BY jobname) FROM cron.upcoming;
SELECT bool_and(run_at = next_run_at) AS same, bool_and(starts_in > '0') AS ahead FROM cron.upcoming JOIN cron.jobs USING (jobid);
SELECT bool_and(later) AS ordered FROM (SELECT run_at >= lag(run_at) OVER () AS later FROM cron.upcoming) x;

-- Forecast: as many starts as the jobs have, in order, with their mean duration and who else runs
TRUNCATE cron.job;
SELECT cron.create_job('quarterly', '*/15 * * * *', 'SELECT 1', timezone => 'UTC') AS id \gset q_
SELECT cron.create_job('hourly', '0 * * * *', 'SELECT 1', timezone => 'UTC') AS id \gset h_
SELECT cron.create_job('off', '* * * * *', 'SELECT 1', active => false) > 0 AS stored;
SELECT cron.create_job('paused', '* * * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.pause('paused');
INSERT INTO cron.job (schedule, command, nodeport) VALUES ('often', 'SELECT 1', 1);
INSERT INTO cron.job_stat (jobid, total_runs, total_ms) VALUES (:h_id, 10, 10 * 20 * 60 * 1000);
SELECT jobname, count(*), min(expected_duration), max(expected_concurrency) FROM cron.forecast('2 days') GROUP BY jobname ORDER BY jobname;
SELECT count(*) FROM cron.forecast();
SELECT bool_and(later) AS ordered FROM (SELECT run_at >= lag(run_at) OVER () AS later FROM cron.forecast('10 days')) x;
SELECT extract(minute FROM run_at) AS minute, jobname, expected_concurrency, count(*) FROM cron.forecast('3 hours')
WHERE run_at >= date_trunc('hour', now()) + interval '1 hour' AND run_at < date_trunc('hour', now()) + interval '3 hours' GROUP BY 1, 2, 3 ORDER BY 1, 2;
-- A pause that ends within it
BEGIN;
SELECT cron.pause('paused', date_trunc('hour', now()) + interval '5 hours 30 seconds');
SELECT min(run_at) = date_trunc('hour', now()) + interval '5 hours 1 minute' AS from_its_end,
    count(*) = extract(epoch FROM max(run_at) - min(run_at)) / 60 + 1 AS each_minute, max(run_at) > now() + interval '23 hours 58 minutes' AS to_the_end
FROM cron.forecast(interval '1 day') WHERE jobname = 'paused';
COMMIT;
SELECT count(*) FROM cron.forecast('0');

-- Who sees what
SELECT cron.create_job('anns', '0 3 * * *', 'SELECT 1', username => 'regress_tock_ann') AS id \gset a_
SET ROLE regress_tock_ann;
SELECT DISTINCT jobname FROM cron.forecast('2 days');
SELECT jobname FROM cron.upcoming;
SELECT count(*) FROM cron.job_next_runs('anns');
SELECT count(*) FROM cron.job_next_runs('hourly');
SET ROLE regress_tock_bob;
SELECT count(*) FROM cron.forecast('2 days');
SELECT format('SELECT count(*) FROM cron.job_next_runs(%s)', :a_id) AS other \gset
DO $$ BEGIN PERFORM cron.job_next_runs(jobid) FROM (SELECT max(last_value) AS jobid FROM cron.jobid_seq) x; EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'refused'; END $$;
RESET ROLE;

-- Bad input
SELECT cron.job_next_runs(NULL::bigint);
SELECT cron.job_next_runs(NULL::text);
SELECT cron.job_next_runs(0);
SELECT cron.job_next_runs('');
SELECT cron.job_next_runs('hourly', NULL);
SELECT cron.job_next_runs('hourly', -1);
SELECT cron.job_next_runs('hourly', 10001);
SELECT cron.forecast(NULL);
SELECT cron.forecast('-1 day');
SELECT cron.forecast('2 years');

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob;
