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
-- The ends of time
SELECT * FROM cron.next_runs('0 0 1 1 *', 3, 'UTC', '294276-12-30 23:59:59+00');
SELECT count(*) FROM cron.next_runs('0 0 1 1 *', 3, 'UTC', '4713-02-01 00:00 BC');
SELECT count(*) FROM cron.next_runs('* * * * *', 10000);

-- What the views ask
SELECT cron.job_condition(true, 'localhost', '* * * * *', NULL, NULL, NULL, NULL) AS plain, cron.job_condition(NULL, NULL, NULL, NULL, NULL, NULL, NULL) AS nothing,
    cron.job_condition(true, 'elsewhere', 'x', NULL, NULL, NULL, NULL) AS elsewhere, cron.job_condition(true, NULL, NULL, NULL, NULL, NULL, NULL) AS no_schedule,
    cron.job_condition(true, '', '@restart', 'UTC', NULL, NULL, NULL) AS at_start, cron.job_condition(true, '', '* * * * *', 'Mars/Olympus', NULL, NULL, NULL) AS no_zone,
    cron.job_condition(true, '', '* * * * *', NULL, 'always', NULL, NULL) AS no_window, cron.job_condition(true, '', '* * * * *', NULL, '09:00-10:00', '{nonesuch}', NULL) AS no_calendar,
    cron.job_condition(true, '', '* * * * *', NULL, '09:00-10:00', '{}', '{NULL}') AS nulls;
SELECT cron.timezone_in_force('* * * * *', NULL), cron.timezone_in_force('* * * * *', 'Europe/Berlin'),
    cron.timezone_in_force('CRON_TZ=Asia/Tokyo * * * * *', 'Europe/Berlin'), cron.timezone_in_force('x', 'Europe/Berlin'), cron.timezone_in_force(NULL, NULL);
SELECT cron.job_next_run(1, 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(), NULL) AS no_schedule,
    cron.job_next_run(1, '* * * * *', 'Mars/Olympus', NULL, NULL, NULL, NULL, NULL, NULL, now(), NULL) AS no_zone,
    cron.job_next_run(1, '@reboot', NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(), NULL) AS at_start,
    cron.job_next_run(1, '* * * * *', NULL, NULL, NULL, NULL, NULL, NULL, 'infinity', now(), NULL) AS paused,
    cron.job_next_run(1, '* * * * *', NULL, NULL, NULL, NULL, '{nonesuch}', NULL, NULL, now(), NULL) AS no_calendar;
SELECT cron.job_next_run(1, '10 seconds', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) = statement_timestamp() + interval '10 seconds' AS from_now,
    cron.job_next_run(1, '10 seconds', NULL, NULL, NULL, NULL, NULL, NULL, '2100-01-01 00:00:05+00', '2020-01-01', NULL) AS from_pause,
    cron.job_next_run(1, 'every 90 days after completion', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2020-01-01', statement_timestamp()) = statement_timestamp() + interval '90 days' AS from_last_run;
DROP EXTENSION pg_tock;
