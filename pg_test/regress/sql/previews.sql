-- cron.next_runs: a schedule's coming instants, without a job.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SELECT * FROM cron.next_runs('*/20 9-10 * * mon-fri', 7, 'UTC', '2026-01-02 10:30+00');
SELECT * FROM cron.next_runs('0 3 * * *', 2, 'america/new_york', '2026-07-01 00:00+00');
SELECT count(*), min(run_at) > now() AS later FROM cron.next_runs('* * * * *');
SELECT * FROM cron.next_runs(schedule => '@monthly', n => 2, after => '2026-01-15 00:00+00');
SELECT * FROM cron.next_runs('30 seconds', 3, NULL, '2026-01-01 00:00:07+00');
-- Last days of months, February of a leap year, first of January
SELECT run_at FROM cron.next_runs('0 0 $ * *', 3, 'UTC', '2028-01-31 12:00+00');
SELECT run_at FROM cron.next_runs('0 0 29 2 *', 2, 'UTC', '2026-01-01 00:00+00');
SELECT run_at FROM cron.next_runs('@yearly', 1, 'UTC', '2026-01-01 00:00+00');
-- Clock changes: skipped, repeated, and for a schedule that follows real time
SELECT * FROM cron.next_runs('30 2 * * *', 2, 'America/New_York', '2026-03-08 00:00+00');
SELECT * FROM cron.next_runs('30 1 * * *', 2, 'America/New_York', '2026-10-31 12:00+00');
SELECT * FROM cron.next_runs('*/30 * * * *', 5, 'America/New_York', '2026-11-01 04:40+00');
SELECT * FROM cron.next_runs('0 * * * *', 2, 'America/New_York', '2026-03-08 06:00+00');
-- None
SELECT * FROM cron.next_runs('0 0 31 11 *');
SELECT * FROM cron.next_runs('@reboot');
SELECT * FROM cron.next_runs('* * * * *', 0);
-- Bad input
SELECT * FROM cron.next_runs(NULL);
SELECT * FROM cron.next_runs('often');
SELECT * FROM cron.next_runs('* * * * *', -1);
SELECT * FROM cron.next_runs('* * * * *', 10001);
SELECT * FROM cron.next_runs('* * * * *', NULL);
SELECT * FROM cron.next_runs('* * * * *', 1, 'Mars/Olympus');
SELECT * FROM cron.next_runs('* * * * *', 1, 'UTC', NULL);
SELECT * FROM cron.next_runs('* * * * *', 1, 'UTC', 'infinity');
SELECT * FROM cron.next_runs('* * * * *', 1, 'UTC', '-infinity');

-- What the views ask
SELECT cron.job_condition(true, 'localhost', '* * * * *', NULL), cron.job_condition(NULL, NULL, NULL, NULL), cron.job_condition(true, 'elsewhere', 'x', NULL),
    cron.job_condition(true, NULL, NULL, NULL), cron.job_condition(true, '', '@restart', 'UTC');
SELECT cron.timezone_in_force('* * * * *', NULL), cron.timezone_in_force('* * * * *', 'Europe/Berlin'),
    cron.timezone_in_force('CRON_TZ=Asia/Tokyo * * * * *', 'Europe/Berlin'), cron.timezone_in_force('x', 'Europe/Berlin'), cron.timezone_in_force(NULL, NULL);
SELECT cron.job_next_run('x', NULL, now()), cron.job_next_run('* * * * *', 'Mars/Olympus', now()), cron.job_next_run('@reboot', NULL, now());
SELECT cron.job_next_run('10 seconds', NULL, NULL) = statement_timestamp() + interval '10 seconds' AS from_now;
DROP EXTENSION pg_tock;
