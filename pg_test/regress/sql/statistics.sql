\set SHOW_CONTEXT never
-- Statistics: what the views show to whom, and who may have them begin anew. No scheduler runs here, so
-- the rows are written as one would write them.
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob;
SET ROLE regress_tock_ann;
SELECT cron.schedule('anns', '0 1 * * *', 'SELECT 1') AS id \gset ann_
SET ROLE regress_tock_bob;
SELECT cron.schedule('bobs', '0 1 * * *', 'SELECT 1') AS id \gset bob_
RESET ROLE;

-- A histogram: a thousand times 7 us and once 31 us, which are exact.
INSERT INTO cron.job_stat (jobid, total_runs, successful_runs, failed_runs, total_ms, max_ms, skipped_runs, timed_out_runs,
    cancelled_runs, crashed_runs, retried_runs, wal_bytes, rows, consecutive_failures, counted_since, durations, start_lags) VALUES
    (:ann_id, 8, 4, 4, 60, 30, 7, 1, 1, 1, 2, 1000, 50, 3, '2030-01-01 00:00:00+00', '\x0107e8071701', NULL),
    (:bob_id, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, '2030-01-01 00:00:00+00', NULL, NULL);
-- No two figures of anns are the same, so that none can stand for another.
INSERT INTO cron.job_stat_hour (jobid, hour, total_runs, successful_runs, skipped_runs, timed_out_runs, cancelled_runs, crashed_runs,
    retried_runs, wal_bytes, rows, total_ms, max_ms, durations, start_lags) VALUES
    (:ann_id, '2030-01-01 01:00:00+00', 40, 13, 11, 5, 6, 7, 8, 123456, 14, 900100, 90200, '\x019301324f2d4f05', '\x0153324f2d4f05'),
    (:bob_id, '2030-01-01 01:00:00+00', 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL),
    (-1, '2030-01-01 01:00:00+00', 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, NULL, NULL);
INSERT INTO cron.job_stat_day (jobid, day, total_runs, successful_runs, skipped_runs, timed_out_runs, cancelled_runs, crashed_runs,
    retried_runs, wal_bytes, rows, total_ms, max_ms, durations, start_lags) VALUES
    (:ann_id, '2030-01-01', 50, 23, 21, 15, 16, 17, 18, 223456, 24, 800100, 80200, '\x019301324f2d4f05', '\x0153324f2d4f05'),
    (:bob_id, '2030-01-01', 3, 3, 0, 0, 0, 0, 0, 200, 6, 3, 1, NULL, NULL);

SET timezone = 'UTC';
SELECT next_run_at > now() AS comes FROM cron.job_stats WHERE jobname = 'anns';
SELECT e.* FROM cron.job_stats s, jsonb_each(to_jsonb(s) - 'next_run_at' - 'jobid') e WHERE jobname = 'anns';
SELECT total_runs, success_rate, avg_duration_ms, max_duration_ms, skipped_runs, p50_duration_ms, p99_start_lag_ms
FROM cron.job_stats WHERE jobname = 'bobs';
\x on
SELECT * FROM cron.job_stats_hourly WHERE jobname = 'anns';
SELECT * FROM cron.job_stats_daily WHERE jobname = 'anns';
\x off

-- Each role sees its own jobs, a superuser all that there are.
SELECT jobname, hour, total_runs, skipped_runs FROM cron.job_stats_hourly ORDER BY jobname;
SELECT jobname, day, total_runs, wal_bytes FROM cron.job_stats_daily ORDER BY jobname;
SET ROLE regress_tock_bob;
SELECT jobname, skipped_runs FROM cron.job_stats;
SELECT jobname, hour, total_runs, skipped_runs FROM cron.job_stats_hourly;
SELECT jobname, day, total_runs, wal_bytes FROM cron.job_stats_daily;
SELECT count(*) FROM cron.job_stat_hour;
SELECT count(*) FROM cron.job_stat_day;
SELECT * FROM cron.stat_reset;
INSERT INTO cron.stat_reset VALUES (:bob_id);
UPDATE cron.job_stat_hour SET total_runs = 0;
DELETE FROM cron.job_stat_day;

-- Who may have them begin anew: the owner, who may become the owner, a superuser.
SELECT cron.reset_stats(:bob_id);
SELECT cron.reset_stats('bobs');
SELECT cron.reset_stats('anns');
SELECT format('DO $x$ BEGIN PERFORM cron.reset_stats(%s); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''%%'', sqlstate; END $x$', :ann_id) \gexec
SELECT cron.reset_stats(NULL::bigint);
SELECT cron.reset_stats(NULL::text);
SELECT cron.reset_stats(999999);
SELECT cron.reset_stats();
RESET ROLE;
SELECT jobname, count(*) FROM cron.stat_reset r JOIN cron.job USING (jobid) GROUP BY jobname;
GRANT regress_tock_ann TO regress_tock_bob;
SET ROLE regress_tock_bob;
SELECT cron.reset_stats(:ann_id);
RESET ROLE;
SELECT cron.reset_stats('anns');
SELECT cron.reset_stats();
BEGIN;
SELECT cron.reset_stats('bobs');
ROLLBACK;
SELECT jobname, count(*) FROM cron.stat_reset r JOIN cron.job USING (jobid) GROUP BY jobname ORDER BY jobname;

-- Histograms: pure functions.
SELECT cron.sketch_quantile('\x0107e8071701', 0), cron.sketch_quantile('\x0107e8071701', 0.5),
    cron.sketch_quantile('\x0107e8071701', 1), cron.sketch_quantile('', 0.5) IS NULL AS none,
    cron.sketch_quantile('\x0107e8071701', 1, 0.03), cron.sketch_quantile('', 0.5, 1) IS NULL AS none,
    cron.sketch_quantile('\x0107e8071701', 1, NULL) IS NULL AS unknown;
SELECT cron.sketch_merge('\x010701', '\x011f02'), cron.sketch_merge(NULL, '\x010701'), cron.sketch_merge('\x010701', NULL),
    cron.sketch_merge(NULL, NULL) IS NULL AS none, cron.sketch_merge('', '');
SELECT cron.sketch_merge(s) FROM (VALUES ('\x010701'::bytea), (NULL), ('\x011f02'), ('\x010703')) v (s);
-- Other bytes, however long, and other parts are errors.
SELECT cron.sketch_merge('\x010701', '\xffff');
\set VERBOSITY sqlstate
SELECT cron.sketch_merge('\xffff', '\x010701');
SELECT cron.sketch_merge(NULL, '\xffff');
SELECT cron.sketch_merge('\x01', NULL);
SELECT cron.sketch_merge(s) FROM (VALUES ('\x010701'::bytea), ('\x0107'), ('\x010703')) v (s);
SELECT cron.sketch_merge(('\x01' || decode(repeat('0001', 10000000), 'hex'))::bytea, '');
SELECT cron.sketch_quantile('\xffff', 0.5);
SELECT cron.sketch_quantile('\x010700', 0.5, 1);
SELECT cron.sketch_quantile('\x0107e8071701', 2);
SELECT cron.sketch_quantile('\x0107e8071701', -0.5);
SELECT cron.sketch_quantile('\x0107e8071701', 'NaN');
UPDATE cron.job_stat SET durations = 'rubbish' WHERE jobid = :ann_id;
\set VERBOSITY default
-- The scheduler counts on over them.
SELECT cron.sketch_add('\xffff', '\x010701'), cron.sketch_add('\x010701', '\xffff'), cron.sketch_add(NULL, '\xffff') AS none,
    cron.sketch_add('\x010701', '\x011f02'), cron.sketch_add(NULL, NULL) IS NULL AS nothing;
-- What is stored is what the functions say.
SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, p50_start_lag_ms FROM cron.job_stat WHERE jobid = :ann_id;

-- No part of the runs took longer than the longest of all: 100 ms, in a bucket whose middle is 100.352 ms.
BEGIN;
SELECT cron.sketch_quantile('\x01d80101', 0.99);
UPDATE cron.job_stat SET total_runs = 1, max_ms = 100, durations = '\x01d80101' WHERE jobid = :ann_id;
UPDATE cron.job_stat_hour SET max_ms = 100, durations = '\x01d80101' WHERE jobid = :ann_id;
UPDATE cron.job_stat_day SET max_ms = 100, durations = '\x01d80101' WHERE jobid = :ann_id;
SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, max_duration_ms FROM cron.job_stats WHERE jobid = :ann_id
UNION ALL SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, max_duration_ms FROM cron.monitor_stats WHERE jobid = :ann_id
UNION ALL SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, max_duration_ms FROM cron.job_stats_hourly WHERE jobid = :ann_id
UNION ALL SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, max_duration_ms FROM cron.job_stats_daily WHERE jobid = :ann_id
UNION ALL SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, max_duration_ms FROM cron.monitor_stats_hourly WHERE jobid = :ann_id
UNION ALL SELECT p50_duration_ms, p95_duration_ms, p99_duration_ms, max_duration_ms FROM cron.monitor_stats_daily WHERE jobid = :ann_id;
SELECT name, labels->>'quantile' AS quantile, value FROM cron.metrics
WHERE name IN ('pg_tock_job_duration_seconds', 'pg_tock_job_duration_max_seconds') AND labels->>'jobname' = 'anns' ORDER BY 1, 2;
ROLLBACK;

-- Figures are shown as round() shows them, ties and what is no figure included.
SELECT count(*) AS figures,
    count(*) FILTER (WHERE cron.shown_ms(f)::text IS DISTINCT FROM round(f::numeric, 3)::text) AS ms,
    count(*) FILTER (WHERE cron.shown_ms(f::real)::text IS DISTINCT FROM round(f::real::numeric, 3)::text) AS real_ms,
    count(*) FILTER (WHERE cron.shown_ms(f, n)::text IS DISTINCT FROM round((f / nullif(n, 0))::numeric, 3)::text) AS means,
    count(*) FILTER (WHERE numeric_send(cron.shown_ms(f)) IS DISTINCT FROM numeric_send(round(f::numeric, 3))) AS bytes
FROM (
    SELECT n, n * 10.0::float8 ^ e AS f FROM generate_series(-20, 3000) n, generate_series(-7, 12) e
    UNION ALL SELECT n, n / 2000.0::float8 FROM generate_series(0, 20000) n
    UNION ALL VALUES (1, 'NaN'), (1, 'Infinity'), (1, '-Infinity'), (1, '-0'), (3, 1e20), (7, 123456789012345.6), (0, 1)) v (n, f);
SELECT count(*) AS figures,
    count(*) FILTER (WHERE cron.shown_percent(p, t)::text IS DISTINCT FROM round(100.0 * p / nullif(t, 0), 2)::text) AS percents,
    count(*) FILTER (WHERE numeric_send(cron.shown_percent(p, t)) IS DISTINCT FROM numeric_send(round(100.0 * p / nullif(t, 0), 2))) AS bytes
FROM (
    SELECT p, t FROM generate_series(0, 300) p, generate_series(0, 300) t
    UNION ALL VALUES (-1, 3), (1, -3), (9223372036854775807, 1), (1, 9223372036854775807), (9223372036854775807, 9223372036854775807)) v (p, t);
SELECT cron.shown_ms(NULL::float8) IS NULL AND cron.shown_ms(1::float8, NULL) IS NULL AND cron.shown_percent(NULL, 1) IS NULL AS none;

-- Nothing is computed for a column nobody asks for.
DO $$
DECLARE
    line text;
    computed boolean := false;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE) SELECT jobname, total_runs, p99_duration_ms, last_status FROM cron.job_stats' LOOP
        computed := computed OR line ~ 'job_next_run';
    END LOOP;
    RAISE NOTICE 'next_run_at is computed: %', computed;
END $$;

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob;
