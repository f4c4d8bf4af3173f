-- Reading schedules: cron.validate_schedule, cron.explain_schedule, what is said when one is stored.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';

-- Valid, wrong, doubtful
SELECT schedule, v.* FROM unnest(ARRAY[
    '0 3 * * *', '*/5 9-17 * * mon-fri', '30 seconds', '@daily', '@reboot', '@startup', 'every 10 minutes', 'every 90 minutes after completion',
    'at 2100-12-24 18:00', 'CRON_TZ=Europe/Berlin 0 3 * * *', 'seconds: */5 * 9-17 * * mon-fri', '0 0 L * *', '0 0 LW * *', '0 0 15W * *', '0 0 * * fri#2', '0 0 * * 5L',
    '', ' ', 'often', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '* * * *', '60 seconds', '0 seconds', 'every 0 seconds', 'every fortnight',
    'at noon', 'at 2026-02-30 10:00', 'CRON_TZ=Mars/Olympus 0 3 * * *', 'CRON_TZ= 0 3 * * *', '@weekdays', 'seconds: * * * * *', 'täglich', '0 3 * * ♥',
    '0 0 30 2 *', '0 0 31 4,6,9,11 *', '0 3 * * * *', '0 3 * * * 2026', '0 3 * * * every day', '0 3 13 * fri', '0 3 1-7 * mon', '0 3 * * fri#2,1#2',
    '0 0 * * fri#6', '0 0 * * 5#2,1L', '0 0 * * 1#2', 'at', 'at 18:00', 'at 2100-12-24', 'every 10 minutes 10 minutes', 'at 2020-01-01 00:00', 'CRON_TZ=Asia/Tokyo at 2020-01-01 00:00']) WITH ORDINALITY AS t (schedule, n),
    cron.validate_schedule(schedule) v ORDER BY n;
SELECT (cron.validate_schedule('0 25 * * *')).hint;
SELECT * FROM cron.validate_schedule(NULL);
SELECT problem FROM cron.validate_schedule(repeat('*', 1000));

-- In plain words; the next runs depend on the day, so they are left out here.
SELECT schedule, line FROM unnest(ARRAY[
    '0 3 * * *', '*/15 * * * *', '30 2 * * *', '0 9-17 * * mon-fri', '0 0 L * *', '0 3 13 * fri', '30 seconds', 'every 10 minutes', 'every 1 hour after completion',
    'at 2100-12-24 18:00', '@reboot', '0 0 30 2 *', '0 3 * * * *', 'CRON_TZ=Asia/Tokyo 0 3 * * *']) WITH ORDINALITY AS t (schedule, n),
    cron.explain_schedule(schedule, 'UTC') WITH ORDINALITY AS e (line, m) WHERE line NOT LIKE 'Next%' ORDER BY n, m;
SELECT count(*) FILTER (WHERE line LIKE 'Next: %') AS next, count(*) FILTER (WHERE line ~ '02:30:00 does not exist: it runs at 20\d\d-03-\d\d 03:00:00\.$') AS skipped_in_five_years
FROM cron.explain_schedule('30 2 * * *', 'America/New_York') AS line;
SELECT count(*) FILTER (WHERE line ~ '01:30:00 comes twice: it runs the first time only\.$') AS repeated_in_five_years
FROM cron.explain_schedule('30 1 * * *', 'america/new_york') AS line;
SELECT count(*) AS lines FROM cron.explain_schedule('0 12 * * *', 'America/New_York') AS line WHERE line LIKE '%exist%' OR line LIKE '%twice%';
SELECT line FROM cron.explain_schedule('at 2100-12-24 18:00', 'Europe/Berlin') AS line;
SELECT line FROM cron.explain_schedule('at 2020-12-24 18:00', 'Europe/Berlin') AS line;
SELECT count(*) > 0 AS in_cron_timezone FROM cron.explain_schedule('0 3 * * *') AS line WHERE line LIKE '%time zone GMT%';
-- Bad input
SELECT cron.explain_schedule(NULL);
SELECT cron.explain_schedule('');
SELECT cron.explain_schedule('often');
SELECT cron.explain_schedule('0 3 * * *', 'Mars/Olympus');
SELECT cron.explain_schedule('0 3 * * *', '');

-- Whatever stores a schedule warns, and stores.
SELECT cron.schedule('0 0 30 2 *', 'SELECT 1') > 0 AS stored;
SELECT cron.schedule('six', '0 3 * * * *', 'SELECT 1') AS id \gset
SELECT cron.schedule_in_database('six', '0 3 * * * 2026', 'SELECT 1', 'postgres') = :id AS stored;
SELECT cron.alter_job(:id, schedule => '0 3 13 * fri');
SELECT cron.alter_job(:id, active => false);
SELECT cron.create_job('six', '0 3 * * * and so on', 'SELECT 1') = :id AS stored;
SELECT cron.set_job('six', '{"schedule": "0 3 1-7 * mon"}');
SELECT jobname, schedule FROM cron.job WHERE jobid = :id;
-- An instant that has passed, in the time zone of the job
SELECT cron.schedule('past', 'at 2020-01-01 00:00', 'SELECT 1') > 0 AS stored;
SELECT cron.create_job('past', 'at 2020-01-01 00:00', 'SELECT 1', timezone => 'Asia/Tokyo') AS id \gset
SELECT cron.schedule('past', 'at 2020-01-02 00:00', 'SELECT 1') = :id AS stored;
SELECT cron.schedule_in_database('past', 'at 2020-01-03 00:00', 'SELECT 1', 'postgres') = :id AS stored;
SELECT cron.alter_job(:id, schedule => 'at 2020-01-04 00:00');
SELECT cron.alter_job(:id, active => false);
SELECT cron.set_job('past', '{"schedule": "CRON_TZ=Asia/Kathmandu at 2020-01-05 00:00"}');
SELECT cron.set_job('past', '{"timezone": "Europe/Berlin"}');
SELECT cron.set_job('past', '{"description": "no warning, the schedule is the same"}');
SELECT cron.set_job('past', '{"schedule": "at 2100-01-01 00:00"}');
-- Time zones, in the schedule or beside it
SELECT cron.schedule('zoned', 'CRON_TZ=Europe/Nowhere 0 3 * * *', 'SELECT 1');
SELECT cron.create_job('zoned', '0 3 * * *', 'SELECT 1', timezone => 'Factory');
SELECT cron.create_job('zoned', '0 3 * * *', 'SELECT 1', timezone => '<+03>-3') > 0 AS stored;
SELECT cron.create_job('zoned', '0 3 * * *', 'SELECT 1', timezone => 'utc') > 0 AS stored;

DROP EXTENSION pg_tock;
