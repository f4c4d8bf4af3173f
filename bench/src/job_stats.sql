-- Ten thousand jobs as companies have them: some thousand distinct pairs of a schedule and a time zone, a few of
-- them with windows, calendars, jitter or intervals of their own; and what is known of the runs of each.

SELECT cron.create_calendar('holidays');
SELECT cron.add_calendar_dates('holidays', '2026-12-24', '2027-01-01');
SELECT cron.add_calendar_dates('holidays', '2027-12-24', '2028-01-01');

INSERT INTO cron.job (
    schedule, command, nodename, nodeport, database, username, jobname, timezone, dst_policy, jitter, run_window, skip_on)
SELECT
    CASE n % 10
        WHEN 0 THEN (ARRAY['*/5 * * * *', '*/10 * * * *', '*/15 * * * *', '*/30 * * * *'])[1 + n / 10 % 4]
        WHEN 1 THEN n / 10 % 60 || ' * * * *'
        WHEN 6 THEN 30 * (n / 10 % 2) || ' ' || n / 20 % 24 || ' * * ' || n / 480 % 7
        WHEN 7 THEN '0 ' || n / 10 % 24 || ' ' || (ARRAY[1, 15])[1 + n / 240 % 2] || ' * *'
        WHEN 8 THEN '*/' || (ARRAY[5, 10, 20])[1 + n / 10 % 3] || ' ' || 7 + n / 30 % 3 || '-18 * * mon-fri'
        WHEN 9 THEN (ARRAY[
            '30 seconds', 'every 10 minutes', 'every 7 minutes', 'every 90 minutes after completion', '@daily', '@hourly'
            ])[1 + n / 10 % 6]
        ELSE 5 * (n / 10 % 12) || ' ' || (n / 120 + n) % 24 || ' * * *'
    END,
    'select 1', 'localhost', 5432, 'postgres', 'postgres', 'job ' || n,
    (ARRAY[NULL, NULL, 'Europe/Berlin', 'America/New_York', 'Asia/Tokyo'])[1 + n / 7 % 5],
    CASE WHEN n % 50 = 3 THEN 'wall' END,
    CASE WHEN n % 20 = 4 THEN interval '30 seconds' END,
    CASE WHEN n % 50 = 18 THEN 'mon-fri 08:00-17:00' END,
    CASE WHEN n % 100 = 5 THEN ARRAY['holidays'] END
FROM generate_series(1, 10000) AS n;

INSERT INTO cron.job_state (jobid, effective_from, definition, cursor)
SELECT jobid, now() - jobid * interval '97 seconds', schedule, now() - interval '1 minute' FROM cron.job
ON CONFLICT (jobid) DO UPDATE SET effective_from = excluded.effective_from;

-- The histograms have some twenty buckets each, and the durations a few dozen values that differ.
INSERT INTO cron.job_stat (
    jobid, total_runs, successful_runs, failed_runs, total_ms, max_ms, last_run_at, last_runid, last_status, last_error, last_end,
    skipped_runs, timed_out_runs, cancelled_runs, crashed_runs, retried_runs, wal_bytes, rows, last_success_at,
    consecutive_failures, counted_since, durations, start_lags)
SELECT
    n, 1000 + n, 1000 + n - n % 37, n % 37, (1000 + n) * (3.7 + n % 911), 2.5 * (3.7 + n % 911), now() - n * interval '1 second', n,
    CASE WHEN n % 41 = 0 THEN 'failed' ELSE 'succeeded' END, CASE WHEN n % 5 = 0 THEN 'ERROR:  division by zero' END,
    now() - n * interval '0.9 seconds', n % 11, n % 3, n % 2, 0, n % 5, n * 8317::bigint, n * 13, now() - n * interval '1 second',
    n % 41, now() - interval '30 days',
    -- The version; a bucket at 2 to 30 ms; then neighbours, each with its count.
    decode('01' || to_hex(128 + n % 100) || '0101' || string_agg(lpad(to_hex(k % 4), 2, '0') || lpad(to_hex(1 + (n + k) % 90), 2, '0'), ''), 'hex'),
    decode('01' || to_hex(64 + n % 30) || '01' || string_agg(lpad(to_hex(k % 3), 2, '0') || lpad(to_hex(1 + (n + 3 * k) % 90), 2, '0'), ''), 'hex')
FROM generate_series(1, 10000) AS n, generate_series(1, 20) AS k
GROUP BY n
ON CONFLICT (jobid) DO NOTHING;

-- Ninety days of hours, and three years of days, for some of them.
INSERT INTO cron.job_stat_hour (jobid, hour, total_runs, successful_runs, total_ms, max_ms, wal_bytes, rows, durations, start_lags)
SELECT s.jobid, date_trunc('hour', now()) - n * interval '1 hour', 60, 59, total_ms / 100, max_ms, n, n, durations, start_lags
FROM cron.job_stat s, generate_series(1, 2160) n WHERE s.jobid <= 50;
INSERT INTO cron.job_stat_day (jobid, day, total_runs, successful_runs, total_ms, max_ms, wal_bytes, rows, durations, start_lags)
SELECT s.jobid, current_date - n, 1440, 1439, total_ms, max_ms, n, n, durations, start_lags
FROM cron.job_stat s, generate_series(1, 1095) n WHERE s.jobid <= 50;
