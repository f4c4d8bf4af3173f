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

RESET search_path;
DROP EXTENSION pg_tock;
SET client_min_messages = warning;
DROP SCHEMA regress_tock_evil CASCADE;
DROP ROLE regress_tock_ann;
