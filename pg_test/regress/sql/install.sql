\set SHOW_CONTEXT never
-- The extension as an administrator meets it: where it may be created, what it consists of, who may
-- touch it, what is dumped, and that nothing is left when it goes.

-- Only in a database named in cron.database_name (and in this one, for tests).
\connect template1
CREATE EXTENSION pg_tock;
SELECT count(*) AS leftovers FROM pg_namespace WHERE nspname = 'cron';

-- Not beside pg_cron, whose schema has the same name. Its row is enough to be recognized.
\connect contrib_regression
BEGIN;
INSERT INTO pg_extension
SELECT 1, 'pg_cron', extowner, extnamespace, false, '1.6', NULL, NULL FROM pg_extension WHERE extname = 'plpgsql';
CREATE EXTENSION pg_tock;
ROLLBACK;

-- Not over somebody else's schema.
CREATE SCHEMA cron;
CREATE EXTENSION pg_tock;
DROP SCHEMA cron;

CREATE EXTENSION pg_tock;
SELECT extname, extnamespace::regnamespace, extrelocatable FROM pg_extension WHERE extname = 'pg_tock';

\d cron.job
\d cron.job_run_details
\d cron.job_state
\d cron.engine_state
\d cron.job_stat
\d cron.job_skip
\d cron.run_request
\d cron.calendar
\d cron.calendar_date
\d cron.jobid_seq
\d cron.runid_seq
\d cron.jobs
\d cron.upcoming
\d cron.running
\d cron.recent_runs
\d cron.failed_runs
\d cron.job_stats

-- What is in a table outlives a crash of the server, but for what was to be sent to sessions that end with it.
SELECT relname AS not_logged FROM pg_class
WHERE relnamespace = 'cron'::regnamespace AND relkind IN ('r', 'p', 'm') AND relpersistence <> 'p';

-- The views run with the reader's rights.
SELECT relname, reloptions FROM pg_class
WHERE relnamespace = 'cron'::regnamespace AND relkind = 'v' ORDER BY relname COLLATE "C";

-- Unaligned: a longer signature is not to change every line.
\a
SELECT p.oid::regprocedure AS function, pg_get_function_arguments(p.oid) AS arguments,
    pg_get_function_result(p.oid) AS result, p.proisstrict AS strict, p.provolatile AS volatile,
    p.proparallel AS parallel, p.prosecdef AS definer
FROM pg_proc p WHERE p.pronamespace = 'cron'::regnamespace
ORDER BY p.proname COLLATE "C", p.pronargs, p.oid;
\a

-- What PUBLIC may do, without and within the schema.
SELECT has_schema_privilege('public', 'cron', 'USAGE') AS schema_usage;
SELECT c.relname, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type COLLATE "C") AS public_may
FROM pg_class c LEFT JOIN LATERAL aclexplode(c.relacl) a ON a.grantee = 0
WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind IN ('r', 'S', 'v')
GROUP BY c.relname ORDER BY c.relname COLLATE "C";
\a
SELECT p.oid::regprocedure AS function, has_function_privilege('public', p.oid, 'EXECUTE') AS public_may_execute
FROM pg_proc p WHERE p.pronamespace = 'cron'::regnamespace
ORDER BY p.proname COLLATE "C", p.pronargs, p.oid;
\a

-- Every object and every column says what it is.
SELECT d.classid::regclass AS catalog, pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_tock')
    AND d.classid <> 'pg_type'::regclass -- row types, members of their own in some majors only
    AND obj_description(d.objid, d.classid::regclass::name) IS NULL;
SELECT a.attrelid::regclass, a.attname AS without_comment
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
    AND col_description(a.attrelid, a.attnum) IS NULL;
SELECT t.tgname AS without_comment FROM pg_trigger t
WHERE NOT t.tgisinternal AND t.tgrelid::regclass::text LIKE 'cron.%' AND obj_description(t.oid, 'pg_trigger') IS NULL;
SELECT k.conname AS without_comment FROM pg_constraint k
WHERE k.connamespace = 'cron'::regnamespace AND obj_description(k.oid, 'pg_constraint') IS NULL
    AND k.contype <> 'n'; -- from 18 on each NOT NULL is a constraint with a name of its own
SELECT p.polname AS without_comment FROM pg_policy p
WHERE obj_description(p.oid, 'pg_policy') IS NULL AND p.polrelid::regclass::text LIKE 'cron.%';
SELECT c.relname AS without_comment FROM pg_class c
WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind = 'i' AND obj_description(c.oid, 'pg_class') IS NULL
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND obj_description(k.oid, 'pg_constraint') IS NOT NULL);

-- pg_cron's words where pg_cron has the function.
SELECT p.oid::regprocedure AS function, obj_description(p.oid, 'pg_proc') AS comment
FROM pg_proc p WHERE p.pronamespace = 'cron'::regnamespace
    AND p.proname IN ('schedule', 'schedule_in_database', 'alter_job', 'unschedule', 'job_cache_invalidate')
ORDER BY p.proname COLLATE "C", p.pronargs, p.oid;

-- pg_dump takes along the jobs, their history, their calendars and both sequences.
SELECT c.oid::regclass AS dumped, x.extcondition[o.ordinality] AS condition
FROM pg_extension x, unnest(x.extconfig) WITH ORDINALITY o (oid, ordinality) JOIN pg_class c ON c.oid = o.oid
WHERE x.extname = 'pg_tock' ORDER BY o.ordinality;

-- A job whose table triggers are switched off by a replica role is still reported.
SELECT tgrelid::regclass AS table, tgname, tgenabled FROM pg_trigger
WHERE tgrelid::regclass::text LIKE 'cron.%' AND NOT tgisinternal ORDER BY tgrelid::regclass::text COLLATE "C", tgname;

-- One row, for ever.
SELECT server_start = pg_postmaster_start_time() AS this_start, timeline, counted_below FROM cron.engine_state;
INSERT INTO cron.engine_state DEFAULT VALUES;

-- Nothing is left.
DROP EXTENSION pg_tock;
SELECT count(*) AS leftovers FROM pg_namespace WHERE nspname = 'cron';
CREATE EXTENSION pg_tock;
DROP SCHEMA cron CASCADE;
DROP EXTENSION pg_tock;
CREATE EXTENSION pg_tock;
