-- Schedules that are refused: pg_cron's error and hint, and a detail that says where.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SELECT cron.schedule('whenever', 'SELECT 1');
-- As long as can be
SELECT cron.schedule(rpad('* * * * *', 999), 'SELECT 1') AS just_short_enough;
SELECT cron.schedule(repeat('*', 1000), 'SELECT 1');
-- Fields
SELECT cron.schedule('', 'SELECT 1');
SELECT cron.schedule('* * *', 'SELECT 1');
SELECT cron.schedule('60 * * * *', 'SELECT 1');
SELECT cron.schedule('* 24 * * *', 'SELECT 1');
SELECT cron.schedule('* * 0 * *', 'SELECT 1');
SELECT cron.schedule('* * 32 * *', 'SELECT 1');
SELECT cron.schedule('* * * 13 *', 'SELECT 1');
SELECT cron.schedule('* * * * 8', 'SELECT 1');
SELECT cron.schedule('* * * * monday', 'SELECT 1');
SELECT cron.schedule('*/0 * * * *', 'SELECT 1');
SELECT cron.schedule('* */24 * * *', 'SELECT 1');
SELECT cron.schedule('1/5 * * * *', 'SELECT 1');
SELECT cron.schedule('1,,2 * * * *', 'SELECT 1');
SELECT cron.schedule('4294967301 * * * *', 'SELECT 1');
SELECT cron.schedule('0 0 1,$ * *', 'SELECT 1');
SELECT cron.schedule('@Daily', 'SELECT 1');
SELECT cron.schedule('@tomorrow', 'SELECT 1');
-- Intervals
SELECT cron.schedule('90 seconds', 'SELECT 1');
SELECT cron.schedule('-5 seconds', 'SELECT 1');
SELECT cron.schedule('1.5 seconds', 'SELECT 1');
SELECT cron.schedule('5 minutes', 'SELECT 1');
SELECT cron.schedule('10 second s', 'SELECT 1');
-- The position counts characters, not bytes.
SELECT cron.schedule('5 4 ä * *', 'SELECT 1');
-- The same in the other functions
SELECT cron.schedule('named', 'whenever', 'SELECT 1');
SELECT cron.schedule_in_database('named', 'whenever', 'SELECT 1', 'postgres');
SELECT cron.alter_job(1, schedule => 'whenever');
-- Only the one that is just short enough is there.
SELECT jobid, length(schedule) FROM cron.job;

-- What pg_cron accepts, be it strange
SELECT cron.schedule(s, 'SELECT 1') > 0 AS accepted, s AS schedule
FROM unnest(ARRAY['0 0 $ * *', '@reboot', '@restart', '@annually', '@yearly', '@monthly', '@weekly', '@daily', '@midnight', '@hourly',
    '22-6 * * * *', '0 0 * * fri-mon', '0-59/7 */3 1-31/2 jan-DEC sun,7', '59 seconds', '1second', '0 5 * * * and the rest', '00000000005 * * * *']) s;
