-- cron.schedule and cron.unschedule as pg_cron's callers know them.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;

-- Without a name
SELECT cron.schedule('*/10 * * * *', 'SELECT 1');
SELECT cron.schedule(schedule => '@hourly', command => 'SELECT 2');
SELECT jobid, schedule, command, nodename, nodeport = current_setting('port')::int AS our_port, database, username = current_user AS ours, active, jobname
FROM cron.job ORDER BY jobid;

-- Strict: a NULL gives NULL and stores nothing.
SELECT cron.schedule(NULL, 'SELECT 1') IS NULL AS schedule_null, cron.schedule('* * * * *', NULL) IS NULL AS command_null,
    cron.unschedule(NULL::bigint) IS NULL AS id_null, cron.unschedule(NULL::text) IS NULL AS name_null;

-- With a name: not strict
SELECT cron.schedule(NULL, '* * * * *', 'SELECT 1');
SELECT cron.schedule('nightly', NULL, 'SELECT 1');
SELECT cron.schedule('nightly', '* * * * *', NULL);

-- With a name: the same name again keeps the id and costs one of the sequence.
SELECT cron.schedule('nightly', '30 1 * * *', 'SELECT 3');
SELECT cron.schedule('nightly', '45 1 * * *', 'SELECT 4');
SELECT cron.schedule(job_name => 'nightly', schedule => '0 2 * * *', command => 'SELECT 5');
SELECT cron.schedule('', '0 3 * * *', 'an empty name is a name');
SELECT cron.schedule('weekly', '0 0 * * 0', 'SELECT 6');
SELECT jobid, jobname, schedule, command FROM cron.job ORDER BY jobid;
SELECT currval('cron.jobid_seq') AS last_jobid;

-- Names are told apart to the letter.
SELECT cron.schedule('Nightly', '0 2 * * *', 'another one') > 0 AS stored;
SELECT count(*) FROM cron.job WHERE lower(jobname) = 'nightly';

-- The text is kept as it was written.
SELECT cron.schedule('kept', E'  15\t2 * *  mon-FRI', 'SELECT 7') > 0 AS stored;
SELECT cron.schedule('kept seconds', ' 20 sEcOnDs ', 'SELECT 7') > 0 AS stored;
SELECT jobname, quote_literal(schedule) AS schedule FROM cron.job WHERE jobname LIKE 'kept%' ORDER BY jobname;

-- In another database; the name of a job there moves it back here when plain schedule says it again.
SELECT cron.schedule_in_database('elsewhere', '0 4 * * *', 'SELECT 8', 'template1');
SELECT database, active FROM cron.job WHERE jobname = 'elsewhere';
SELECT cron.schedule('elsewhere', '0 4 * * *', 'SELECT 8') > 0 AS stored;
SELECT database, active FROM cron.job WHERE jobname = 'elsewhere';

-- A job that is switched off stays off when its name is scheduled again.
SELECT cron.schedule_in_database('paused', '0 4 * * *', 'SELECT 9', 'postgres', NULL, false) > 0 AS stored;
SELECT cron.schedule_in_database('paused', '0 5 * * *', 'SELECT 9', 'postgres', active => true) > 0 AS stored;
SELECT schedule, active FROM cron.job WHERE jobname = 'paused';
SELECT cron.schedule_in_database('defaults', '0 4 * * *', 'SELECT 9', NULL, NULL, NULL) > 0 AS stored;
SELECT database, active FROM cron.job WHERE jobname = 'defaults';
SELECT cron.schedule_in_database(NULL, '0 4 * * *', 'SELECT 9', 'postgres');
SELECT cron.schedule_in_database('null schedule', NULL, 'SELECT 9', 'postgres');
SELECT cron.schedule_in_database('null command', '0 4 * * *', NULL, 'postgres');
SELECT cron.schedule_in_database('no database', '0 4 * * *', 'SELECT 9', 'regress tock nowhere');
SELECT cron.schedule_in_database('no role', '0 4 * * *', 'SELECT 9', 'postgres', 'regress tock nobody');

-- The schedule is looked at before anything else.
SELECT cron.schedule_in_database('both wrong', 'never', 'SELECT 9', 'regress tock nowhere', 'regress tock nobody');

-- Going
SELECT cron.unschedule(1);
SELECT cron.unschedule(1);
SELECT cron.unschedule(job_id => 2);
SELECT cron.unschedule('nightly');
SELECT cron.unschedule('nightly');
SELECT cron.unschedule(job_name => 'weekly');
SELECT cron.unschedule('');
SELECT cron.unschedule(9223372036854775807);
-- A bare literal is a name.
SELECT cron.unschedule('3');

-- Nothing stays of a transaction that is rolled back.
BEGIN;
SELECT cron.schedule('gone', '* * * * *', 'SELECT 1') > 0 AS stored;
SELECT cron.unschedule('kept');
ROLLBACK;
SELECT jobname FROM cron.job WHERE jobname IN ('gone', 'kept');
BEGIN READ ONLY;
SELECT cron.schedule('gone', '* * * * *', 'SELECT 1');
ROLLBACK;

-- Within a function that handles errors, the caller's role and settings are back after one.
DO $$
BEGIN
    PERFORM cron.schedule('bad', 'bad', 'SELECT 1');
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE NOTICE 'caught, search_path is %', current_setting('search_path');
END $$;
-- Also after an error from inside the writing statement.
CREATE FUNCTION regress_tock_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refused as % with %', current_user = session_user, current_setting('search_path'); END $$;
CREATE TRIGGER refuse BEFORE INSERT ON cron.job FOR EACH ROW EXECUTE FUNCTION regress_tock_refuse();
DO $$
BEGIN
    PERFORM cron.schedule('refused', '* * * * *', 'SELECT 1');
EXCEPTION WHEN raise_exception THEN
    RAISE NOTICE 'caught "%", search_path is %', sqlerrm, current_setting('search_path');
END $$;
SHOW search_path;
DROP TRIGGER refuse ON cron.job;
DROP FUNCTION regress_tock_refuse();
