-- A user has put objects of his own in everybody's way. None of them may ever be called, neither
-- when the extension is created nor when its functions run as its owner.
DROP EXTENSION IF EXISTS pg_tock;
CREATE SCHEMA regress_tock_evil;
CREATE TABLE regress_tock_evil.trap (sprung text);
CREATE FUNCTION regress_tock_evil.spring(what text) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO regress_tock_evil.trap VALUES (what); END $$;

CREATE FUNCTION regress_tock_evil.current_setting(text) RETURNS text LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('current_setting(text)'); SELECT 'x'::text $$;
CREATE FUNCTION regress_tock_evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('current_setting(text, boolean)'); SELECT 'x'::text $$;
CREATE FUNCTION regress_tock_evil.btrim(text, text) RETURNS text LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('btrim'); SELECT $1 $$;
CREATE FUNCTION regress_tock_evil.now() RETURNS timestamptz LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('now'); SELECT pg_catalog.now() $$;
CREATE FUNCTION regress_tock_evil.nextval(regclass) RETURNS bigint LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('nextval'); SELECT 1::bigint $$;
CREATE FUNCTION regress_tock_evil.has_database_privilege(oid, oid, text) RETURNS boolean LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('has_database_privilege'); SELECT true $$;
CREATE FUNCTION regress_tock_evil.round(numeric, int) RETURNS numeric LANGUAGE sql AS
$$ SELECT regress_tock_evil.spring('round'); SELECT $1 $$;
CREATE FUNCTION regress_tock_evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN PERFORM regress_tock_evil.spring('text = text'); RETURN true; END $$;
CREATE OPERATOR regress_tock_evil.= (FUNCTION = regress_tock_evil.eq, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION regress_tock_evil.eq(name, text) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN PERFORM regress_tock_evil.spring('name = text'); RETURN true; END $$;
CREATE OPERATOR regress_tock_evil.= (FUNCTION = regress_tock_evil.eq, LEFTARG = name, RIGHTARG = text);
CREATE FUNCTION regress_tock_evil.eq(text, name) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN PERFORM regress_tock_evil.spring('text = name'); RETURN true; END $$;
CREATE OPERATOR regress_tock_evil.= (FUNCTION = regress_tock_evil.eq, LEFTARG = text, RIGHTARG = name);
CREATE FUNCTION regress_tock_evil.eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN PERFORM regress_tock_evil.spring('bigint = bigint'); RETURN true; END $$;
CREATE OPERATOR regress_tock_evil.= (FUNCTION = regress_tock_evil.eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION regress_tock_evil.ne(text, text) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN PERFORM regress_tock_evil.spring('text <> text'); RETURN true; END $$;
CREATE OPERATOR regress_tock_evil.<> (FUNCTION = regress_tock_evil.ne, LEFTARG = text, RIGHTARG = text);
-- Tables and types named like those of the catalog and of the extension
CREATE TABLE regress_tock_evil.pg_extension (extname name, extowner oid);
INSERT INTO regress_tock_evil.pg_extension VALUES ('pg_tock', 10);
CREATE TABLE regress_tock_evil.pg_roles (rolname name, oid oid, rolcanlogin boolean, rolsuper boolean);
CREATE TABLE regress_tock_evil.job (jobid bigint, jobname text, username text);
CREATE TYPE regress_tock_evil.text AS (a int);
CREATE TYPE regress_tock_evil.timestamptz AS (a int);

-- The traps work.
SET search_path = regress_tock_evil, pg_catalog, public;
SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text AS sprung;
SELECT pg_catalog.count(*) FROM trap;
DELETE FROM trap;

CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
GRANT USAGE ON SCHEMA cron, regress_tock_evil TO regress_tock_ann;
GRANT EXECUTE ON FUNCTION cron.schedule_in_database(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, boolean) TO regress_tock_ann;
GRANT EXECUTE ON FUNCTION cron.alter_job(bigint, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, boolean) TO regress_tock_ann;
SET ROLE regress_tock_ann;
SELECT cron.schedule('0 1 * * *', 'SELECT 1');
SELECT cron.schedule('mine', '0 1 * * *', 'SELECT 1');
SELECT cron.schedule('mine', '0 2 * * *', 'SELECT 2');
SELECT cron.schedule_in_database('there', '0 1 * * *', 'SELECT 1', 'postgres');
SELECT cron.alter_job(2, schedule => '0 3 * * *', database => 'postgres');
SELECT cron.unschedule(1);
SELECT cron.unschedule('mine');
SELECT jobid, jobname, state FROM cron.jobs;
SELECT jobid, jobname, total_runs, success_rate FROM cron.job_stats;
SELECT pg_catalog.count(*) FROM cron.running;
SELECT pg_catalog.count(*) FROM cron.recent_runs;
SELECT pg_catalog.count(*) FROM cron.failed_runs;
SELECT run_at FROM cron.next_runs('0 1 * * *', 1, 'UTC', '2026-01-01 00:00+00');
-- Functions pg_cron does not have
SELECT cron.create_calendar('days');
SELECT cron.add_calendar_dates('days', '2020-01-01', '2020-01-31');
SELECT cron.remove_calendar_dates('days', '2020-01-10');
SELECT cron.create_job('ours', '0 1 * * *', 'SELECT 1', database => 'postgres', tags => '{a}', jitter => '1 minute', skip_on => '{days}', missed_window => '1 day') OPERATOR(pg_catalog.>) 0 AS stored;
SELECT cron.set_job('ours', '{"only_on": ["days"], "skip_on": null, "database": "postgres", "jitter": "2 minutes"}');
SELECT cron.pause('ours', reason => 'why');
SELECT cron.resume('ours');
SELECT cron.set_job('ours', '{"only_on": null}');
SELECT jobname, state, on_missed, missed_window FROM cron.jobs;
SELECT jobname FROM cron.upcoming;
SELECT pg_catalog.count(*) FROM cron.job_next_runs('ours');
SELECT pg_catalog.count(*) FROM cron.forecast('2 days');
SELECT pg_catalog.count(*) FROM cron.backfill('ours', '2019-01-01 00:30+00', '2019-01-10 00:30+00');
SELECT valid FROM cron.validate_schedule('0 1 * * *');
SELECT pg_catalog.count(*) FROM cron.explain_schedule('0 1 * * *') AS line WHERE line OPERATOR(pg_catalog.!~) 'Next';
SELECT cron.drop_calendar('days');
SELECT cron.unschedule('ours');
SHOW search_path;
RESET ROLE;
-- A superuser sees everybody's.
SELECT pg_catalog.count(*) FROM cron.forecast('2 days');
SELECT pg_catalog.count(*) FROM cron.upcoming;
-- A temporary table goes before pg_catalog, unless it is told not to.
CREATE TEMPORARY TABLE pg_extension (extname name, extowner oid);
CREATE TEMPORARY TABLE pg_database (oid oid, datname name);
CREATE TEMPORARY TABLE job (jobid bigint, jobname pg_catalog.text);
SELECT cron.schedule('mine', '0 1 * * *', 'SELECT 1') OPERATOR(pg_catalog.>) 0 AS stored;
SELECT cron.unschedule('mine');
SELECT pg_catalog.count(*) AS sprung FROM trap;

-- Nothing is left out: every function and view of the extension is called by a superuser while every
-- operator of pg_catalog has a trap before it. What a trap does is undone with the call, but not what it says.
RESET search_path;
SET client_min_messages = error;
DROP OPERATOR regress_tock_evil.= (pg_catalog.text, pg_catalog.text);
DROP OPERATOR regress_tock_evil.= (name, pg_catalog.text);
DROP OPERATOR regress_tock_evil.= (pg_catalog.text, name);
DROP OPERATOR regress_tock_evil.= (bigint, bigint);
DROP OPERATOR regress_tock_evil.<> (pg_catalog.text, pg_catalog.text);
CREATE FUNCTION regress_tock_evil.shout(what text) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN RAISE WARNING 'trapped: %', what; END $$;
DO $$
DECLARE
    op record;
BEGIN
    FOR op IN
        SELECT o.oid, o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result,
            o.oid::regoperator::text AS shown
        FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft <> 0
    LOOP
        BEGIN
            EXECUTE format(
                'CREATE FUNCTION regress_tock_evil.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS '
                '$f$ BEGIN PERFORM regress_tock_evil.shout(%L); RETURN NULL; END $f$',
                op.oid, op.l, op.r, op.result, op.shown);
            EXECUTE format(
                'CREATE OPERATOR regress_tock_evil.%s (FUNCTION = regress_tock_evil.op_%s, LEFTARG = %s, RIGHTARG = %s)',
                op.oprname, op.oid, op.l, op.r);
        EXCEPTION WHEN invalid_function_definition OR datatype_mismatch THEN
            NULL; -- pseudo-types of arguments nobody can write a function for
        END;
    END LOOP;
END $$;
SELECT cron.create_job('target', '0 1 * * *', 'SELECT 1', tags => '{a}', keep_runs => 5, run_after => NULL) > 0 AS stored;
SELECT jobid AS target FROM cron.job WHERE jobname = 'target' \gset
SELECT cron.create_calendar('feast');
INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, outcome, start_time, end_time, scheduled_for, attempt, trigger)
SELECT jobid, 1000, database, username, command, 'failed', 'failed', now(), now(), '2020-01-01', 1, 'schedule' FROM cron.job WHERE jobid = :target;
SELECT cron.create_queue('line');
-- A value for each argument that has no default, by name where the type is not enough.
CREATE TABLE regress_tock_evil.calls AS
SELECT format('SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 AS %I FROM cron.%I(%s) AS called', p.proname, p.proname, string_agg(
        CASE
            WHEN a.name IN ('runid', 'run_id') THEN '1000'
            WHEN a.name = 'outcome' THEN quote_literal('failed')
            WHEN a.name = 'url' THEN quote_literal('https://example.com/')
            WHEN a.name LIKE '%schedule' THEN quote_literal('0 1 * * *')
            WHEN a.name IN ('database', 'database_name') THEN quote_literal(current_database())
            WHEN a.name IN ('username') THEN quote_literal(current_user)
            WHEN a.name LIKE '%calendar' OR p.proname LIKE '%calendar%' AND a.name = 'name' THEN quote_literal('feast')
            WHEN p.proname LIKE '%queue' AND a.name = 'name' THEN quote_literal('line')
            WHEN a.type IN ('text', 'name') THEN quote_literal('target')
            WHEN a.type IN ('bigint', 'integer', 'smallint') THEN :'target'
            WHEN a.type IN ('double precision', 'real', 'numeric') THEN '1'
            WHEN a.type = 'boolean' THEN 'true'
            WHEN a.type = 'interval' THEN quote_literal('2 days')
            WHEN a.type = 'date' THEN quote_literal('2020-01-01')
            WHEN a.type LIKE 'timestamp%' THEN quote_literal('2020-01-0' || a.place)
            WHEN a.type IN ('json', 'jsonb') THEN quote_literal('{}')
            WHEN a.type LIKE '%[]' THEN quote_literal('{}')
            ELSE 'NULL'
        END || '::pg_catalog.' || CASE a.type WHEN 'bigint' THEN 'int8' WHEN 'integer' THEN 'int4' WHEN 'smallint' THEN 'int2'
            WHEN 'double precision' THEN 'float8' WHEN 'real' THEN 'float4' WHEN 'boolean' THEN 'bool'
            WHEN 'timestamp with time zone' THEN 'timestamptz' WHEN 'bigint[]' THEN 'int8[]' ELSE a.type END,
        ', ' ORDER BY a.place)) AS statement,
    p.oid::regprocedure::text AS shown
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'pg_tock'
LEFT JOIN LATERAL (
    SELECT format_type(t.type, NULL) AS type, coalesce(p.proargnames[t.place], '') AS name, t.place
    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, place)
    WHERE t.place <= p.pronargs - p.pronargdefaults) AS a ON true
WHERE p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
GROUP BY p.oid, p.proname
UNION ALL
SELECT format('SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 AS %I FROM (SELECT * FROM cron.%I OFFSET 0) AS called', c.relname, c.relname),
    c.relname
FROM pg_class c WHERE c.relnamespace = 'cron'::regnamespace AND c.relkind = 'v';
SELECT count(*) FILTER (WHERE statement LIKE '%cron.metrics_text%') AS there, count(*) > 80 AS many FROM regress_tock_evil.calls;
SET client_min_messages = warning;
\t on
\a
\o /dev/null
SET search_path = regress_tock_evil, pg_catalog, public;
-- The traps work.
SELECT 1 OPERATOR(pg_catalog.=) 1, 1 = 1;
SELECT 'a'::pg_catalog.text ~~ 'b';
\set ECHO none
SELECT 'BEGIN', c.statement, 'ROLLBACK' FROM regress_tock_evil.calls AS c ORDER BY c.shown COLLATE "C" \gexec
\set ECHO all
\o
\t off
\a
RESET search_path;
DROP EXTENSION pg_tock;
SET client_min_messages = warning;
DROP SCHEMA regress_tock_evil CASCADE;
DROP ROLE regress_tock_ann;
