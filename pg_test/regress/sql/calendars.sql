-- Calendars: who may change them, what they hold, what names them.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team;
GRANT regress_tock_team TO regress_tock_bob;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_team;

SET ROLE regress_tock_ann;
SELECT cron.create_calendar('holidays', 'bank holidays'), cron.create_calendar(name => 'empty');
SELECT cron.add_calendar_dates('holidays', '2026-12-25', '2026-12-26', 'Christmas');
SELECT cron.add_calendar_dates('holidays', '2027-01-01');
SELECT cron.add_calendar_dates('holidays', '2026-12-26', '2026-12-28', 'overlaps');
SELECT cron.add_calendar_dates('holidays', '2027-01-01', note => 'New Year');
TABLE cron.calendar ORDER BY name;
TABLE cron.calendar_date ORDER BY from_date, to_date;

-- Days are taken out of every range that has them; the rest of a range stays.
SELECT cron.add_calendar_dates('holidays', '2027-07-01', '2027-07-31', 'summer');
SELECT cron.remove_calendar_dates('holidays', '2027-07-10', '2027-07-12');
SELECT cron.remove_calendar_dates('holidays', '2026-12-26');
SELECT cron.remove_calendar_dates('holidays', '2020-01-01', '2020-12-31');
TABLE cron.calendar_date ORDER BY from_date, to_date;

-- Everybody reads; the owner, members of the owner and superusers write.
SET ROLE regress_tock_bob;
SELECT count(*) FROM cron.calendar_date;
SELECT cron.add_calendar_dates('holidays', '2027-01-02');
SELECT cron.remove_calendar_dates('holidays', '2027-01-01');
SELECT cron.drop_calendar('holidays');
INSERT INTO cron.calendar (name) VALUES ('x');
UPDATE cron.calendar SET owner = current_user;
DELETE FROM cron.calendar_date;
SELECT cron.create_calendar('holidays');
SET ROLE regress_tock_team;
SELECT cron.create_calendar('team');
SET ROLE regress_tock_bob;
SELECT cron.add_calendar_dates('team', '2027-01-02');
RESET ROLE;
SELECT cron.add_calendar_dates('team', '2027-01-03');
SELECT from_date FROM cron.calendar_date WHERE calendar = 'team' ORDER BY 1;
-- With rights on the tables, row security keeps a role to its own.
GRANT INSERT, UPDATE, DELETE ON cron.calendar, cron.calendar_date TO regress_tock_bob;
SET ROLE regress_tock_bob;
INSERT INTO cron.calendar (name) VALUES ('bobs') RETURNING owner;
INSERT INTO cron.calendar (name, owner) VALUES ('anns', 'regress_tock_ann');
INSERT INTO cron.calendar_date VALUES ('bobs', '2027-01-01', '2027-01-01');
INSERT INTO cron.calendar_date VALUES ('holidays', '2027-01-09', '2027-01-09');
DELETE FROM cron.calendar_date RETURNING calendar;
RESET ROLE;

-- A calendar that a job names stays; the caller is told of the jobs he may see.
SELECT cron.create_job('sleeps', '0 1 * * *', 'SELECT 1', username => 'regress_tock_ann', skip_on => '{holidays}') > 0 AS stored;
SELECT cron.create_job('works', '0 1 * * *', 'SELECT 1', username => 'regress_tock_bob', only_on => '{holidays}') > 0 AS stored;
SELECT cron.drop_calendar('holidays');
SET ROLE regress_tock_ann;
SELECT cron.drop_calendar('holidays');
SELECT cron.set_job('sleeps', '{"skip_on": null}');
SELECT cron.drop_calendar('holidays');
RESET ROLE;
SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = 'works';
SET ROLE regress_tock_ann;
SELECT cron.drop_calendar('holidays');
RESET ROLE;
SELECT count(*) FROM cron.calendar_date WHERE calendar = 'holidays';

-- One that is gone all the same makes the job invalid, not another job's trouble.
SELECT cron.create_job('left alone', '0 1 * * *', 'SELECT 1', skip_on => '{empty}') AS id \gset
DELETE FROM cron.calendar WHERE name = 'empty';
SELECT jobname, state, next_run_at FROM cron.jobs WHERE jobid = :id;
SELECT cron.job_next_runs('left alone');
SELECT cron.set_job('left alone', '{"description": "can still be changed"}');
SELECT cron.set_job('left alone', '{"skip_on": ["empty"]}');
SELECT cron.set_job('left alone', '{"skip_on": null}');
SELECT jobname, state, next_run_at IS NOT NULL AS has_next FROM cron.jobs WHERE jobid = :id;

-- Calendars are read once for a statement, and anew for the next.
SELECT cron.create_calendar('fresh');
SELECT cron.create_job('fresh', 'at 2055-06-01 12:00', 'SELECT 1', timezone => 'UTC', skip_on => '{fresh}') > 0 AS stored;
CREATE FUNCTION regress_tock_next() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS
$$ BEGIN RETURN next_run_at FROM cron.jobs WHERE jobname = 'fresh'; END $$;
BEGIN;
SELECT regress_tock_next() AS before, cron.add_calendar_dates('fresh', '2055-06-01') AS add, regress_tock_next() AS after;
SAVEPOINT s;
SELECT cron.remove_calendar_dates('fresh', '2055-06-01');
SELECT regress_tock_next() AS removed;
ROLLBACK TO s;
SELECT regress_tock_next() AS rolled_back;
COMMIT;
SELECT regress_tock_next() AS committed;
SELECT cron.remove_calendar_dates('fresh', '2055-06-01');
SELECT regress_tock_next() AS removed;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT regress_tock_next() AS before;
SELECT cron.add_calendar_dates('fresh', '2055-06-01');
SELECT regress_tock_next() AS after;
ROLLBACK;
SELECT regress_tock_next() AS rolled_back;
DROP FUNCTION regress_tock_next();

-- A change reaches the scheduler as a change of jobs; who owned a calendar that outlived him is known.
SET session_replication_role = replica;
INSERT INTO cron.calendar (name, owner) VALUES ('orphan', 'regress_tock_gone');
RESET session_replication_role;
SET ROLE regress_tock_ann;
SELECT cron.drop_calendar('orphan');
RESET ROLE;
SELECT cron.drop_calendar('orphan');

-- Bad input
SELECT cron.create_calendar(NULL);
SELECT cron.create_calendar('');
SELECT cron.create_calendar(' ');
SELECT cron.create_calendar('team');
SELECT cron.add_calendar_dates(NULL, '2027-01-01');
SELECT cron.add_calendar_dates('', '2027-01-01');
SELECT cron.add_calendar_dates('nonesuch', '2027-01-01');
SELECT cron.add_calendar_dates('team', NULL);
SELECT cron.add_calendar_dates('team', '2027-01-02', '2027-01-01');
SELECT cron.add_calendar_dates('team', '-infinity', '2027-01-01');
SELECT cron.add_calendar_dates('team', '2027-01-01', 'infinity');
SELECT cron.add_calendar_dates('team', '2027-02-30');
SELECT cron.remove_calendar_dates(NULL, '2027-01-01');
SELECT cron.remove_calendar_dates('nonesuch', '2027-01-01');
SELECT cron.remove_calendar_dates('team', NULL);
SELECT cron.remove_calendar_dates('team', '2027-01-02', '2027-01-01');
SELECT cron.remove_calendar_dates('team', 'infinity');
SELECT cron.drop_calendar(NULL);
SELECT cron.drop_calendar('');
SELECT cron.drop_calendar('nonesuch');
INSERT INTO cron.calendar_date VALUES ('team', '2027-01-02', '2027-01-01');
INSERT INTO cron.calendar_date VALUES ('team', '2027-01-02', 'infinity');
INSERT INTO cron.calendar (name) VALUES ('');
TABLE cron.calendar_date;

-- Farthest dates
SELECT cron.add_calendar_dates('team', '4713-01-01 BC', '5874897-12-31');
SELECT cron.remove_calendar_dates('team', '2027-01-01', '5874897-12-31');
TABLE cron.calendar_date;

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_team;
