-- The page, the drawing in characters and the metrics: what they take, what they refuse, and whom.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS pg_tock;
RESET client_min_messages;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_monitor LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_monitor;
INSERT INTO cron.job (jobid, jobname, schedule, command, nodeport, username, database, timezone) VALUES
    (1, E'ann''s "\\ \n job', '0 1 * * *', 'SELECT ''secret of ann''', 1, 'regress_tock_ann', 'postgres', 'Asia/Kolkata'),
    (2, 'bob''s <b>', '0 1 * * *', 'SELECT ''secret of bob''', 1, 'regress_tock_bob', 'postgres', NULL),
    (3, NULL, 'sometimes', 'SELECT 1', 1, 'regress_tock_bob', 'postgres', NULL);
INSERT INTO cron.job_run_details (jobid, runid, username, jobname, status, outcome, sqlstate, return_message, start_time, end_time, scheduled_for, attempt)
SELECT job, job * 100 + n, owner, 'x', o, o, CASE o WHEN 'failed' THEN '22012' END,
    CASE o WHEN 'failed' THEN 'message for ' || owner ELSE '1 row' END, t, t + interval '90 seconds', t, 1
FROM (VALUES (1, 'regress_tock_ann'), (2, 'regress_tock_bob')) j (job, owner), generate_series(1, 10) n,
    LATERAL (SELECT now() - n * interval '1 hour', CASE WHEN n IN (3, 4) THEN 'failed' ELSE 'succeeded' END) r (t, o);
INSERT INTO cron.job_stat (jobid, total_runs, successful_runs, failed_runs, total_ms, max_ms, last_run_at, last_runid, last_status)
SELECT n, 10, 8, 2, 900000, 90000, '2026-01-02 00:00+00', n * 100 + 1, 'succeeded' FROM generate_series(1, 2) n;
INSERT INTO cron.job_skip VALUES (2, 'paused', now() - interval '5 hours', now() - interval '4 hours', 2);

-- What is out of range, and who is not there
SELECT cron.report_html(NULL);
SELECT cron.report_html('0');
SELECT cron.report_html('-1 day');
SELECT cron.report_html('367 days');
SELECT cron.timeline(1, NULL);
SELECT cron.timeline(4);
SELECT cron.timeline('nobody');
SELECT cron.timeline(-1::bigint);

-- Each sees the own jobs; nobody sees commands.
SET ROLE regress_tock_ann;
SELECT html LIKE '%ann&#39;s%' OR html LIKE '%ann''s%' AS own, html LIKE '%bob%' AS others, html LIKE '%secret of%' AS command,
    html LIKE '%message for regress_tock_ann%' AS message FROM cron.report_html() html;
SELECT html LIKE '%message for regress_tock_ann%' AS message FROM cron.report_html('1 hour') html;
SELECT regexp_replace(line, '[^\w'' "\\{}].*', '') AS line FROM cron.timeline() line WHERE line ~ 'runs';
SELECT line ~ 'Asia/Kolkata$' AS zone FROM cron.timeline(1) line LIMIT 1;
SELECT count(*) FROM cron.timeline(NULL);
SELECT cron.timeline(2);
RESET ROLE;
SELECT substring(line FROM '\d+ runs.*') AS figures FROM cron.timeline() line WHERE line ~ 'runs';

-- ASCII for clients that have nothing else
SET client_encoding = 'SQL_ASCII';
SELECT count(*) FILTER (WHERE line ~ '[^ -~]') AS others, count(*) FROM cron.timeline('bob''s <b>') line;
RESET client_encoding;

-- No two figures of this job are the same, so that none can stand for another.
UPDATE cron.job_stat SET total_runs = 40, successful_runs = 13, failed_runs = 27, timed_out_runs = 5, cancelled_runs = 6,
    crashed_runs = 7, retried_runs = 8, skipped_runs = 11, consecutive_failures = 12, wal_bytes = 123456, rows = 14,
    total_ms = 900100, max_ms = 90200, last_success_at = '2026-01-01 00:00+00',
    durations = '\x019301324f2d4f05', start_lags = '\x0153324f2d4f05'
WHERE jobid = 1;

-- One that is paused, and two that are switched off.
INSERT INTO cron.job (jobid, jobname, schedule, command, nodeport, username, database, active, paused_until) VALUES
    (4, 'paused', '0 1 * * *', 'SELECT 1', 1, 'regress_tock_bob', 'postgres', true, 'infinity'),
    (5, 'off', '0 1 * * *', 'SELECT 1', 1, 'regress_tock_bob', 'postgres', false, NULL),
    (6, 'off, too', '0 1 * * *', 'SELECT 1', 1, 'regress_tock_bob', 'postgres', false, NULL);

-- Metrics: refused by every way, until SELECT is granted
SET ROLE regress_tock_monitor;
SELECT * FROM cron.metrics;
SELECT cron.metrics_text();
SELECT * FROM cron.metric_figures();
RESET ROLE;
GRANT SELECT ON cron.metrics TO regress_tock_monitor;
SET ROLE regress_tock_monitor;
SELECT count(DISTINCT labels->>'jobid') AS jobs FROM cron.metrics;
SELECT count(*) AS own FROM cron.job;
SELECT bool_or(m::text ~ 'secret of|message for') AS words FROM cron.metrics m;
SELECT name, labels - '{server,database,version}'::text[] AS labels, value, type FROM cron.metrics
WHERE name !~ 'executor' ORDER BY name COLLATE "C", labels;
SELECT line FROM regexp_split_to_table(cron.metrics_text(), '\n') line WHERE line ~ 'pg_tock_job_(runs_total|duration_seconds)' OR line ~ '^# EOF';
SELECT cron.metrics_text(false) ~ 'jobid' AS of_jobs, cron.metrics_text(NULL) ~ 'jobid' AS of_jobs_by_default;
RESET ROLE;
-- Each sample has one kind and one help, and each name is spelt as Prometheus wants it.
SELECT name FROM cron.metrics GROUP BY name HAVING count(DISTINCT (help, type)) <> 1 OR bool_or(help !~ '\.$' OR name !~ '^pg_tock_[a-z_]+$');
SELECT name, labels FROM cron.metrics GROUP BY name, labels HAVING count(*) > 1;

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_monitor;
