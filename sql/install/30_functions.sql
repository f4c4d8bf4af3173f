-- Every function of the extension. The statements are written by hand, so that signatures, argument
-- names, defaults and strictness are exactly pg_cron's where pg_cron has the function. Its names get
-- no overloads whose further arguments have defaults: cron.schedule('a', 'b', 'c') would be
-- ambiguous.

-- pg_cron's seven

CREATE FUNCTION cron.schedule(schedule text, command text)
RETURNS bigint
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_schedule_wrapper';
COMMENT ON FUNCTION cron.schedule(text, text) IS 'schedule a pg_cron job';

CREATE FUNCTION cron.schedule(job_name text, schedule text, command text)
RETURNS bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_schedule_named_wrapper';
COMMENT ON FUNCTION cron.schedule(text, text, text) IS 'schedule a pg_cron job';

CREATE FUNCTION cron.schedule_in_database(
    job_name text,
    schedule text,
    command text,
    database text,
    username text DEFAULT NULL,
    active boolean DEFAULT true)
RETURNS bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_schedule_in_database_wrapper';
COMMENT ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) IS 'schedule a pg_cron job';

CREATE FUNCTION cron.alter_job(
    job_id bigint,
    schedule text DEFAULT NULL,
    command text DEFAULT NULL,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    active boolean DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_alter_job_wrapper';
COMMENT ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean)
    IS 'Alter the job identified by job_id. Any option left as NULL will not be modified.';

CREATE FUNCTION cron.unschedule(job_id bigint)
RETURNS boolean
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_unschedule_wrapper';
COMMENT ON FUNCTION cron.unschedule(bigint) IS 'unschedule a pg_cron job';

CREATE FUNCTION cron.unschedule(job_name text)
RETURNS boolean
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_unschedule_named_wrapper';
COMMENT ON FUNCTION cron.unschedule(text) IS 'unschedule a pg_cron job';

CREATE FUNCTION cron.job_cache_invalidate()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_job_cache_invalidate_wrapper';
COMMENT ON FUNCTION cron.job_cache_invalidate() IS 'invalidate job cache';

-- ours

CREATE FUNCTION cron.job_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_job_changed_wrapper';
COMMENT ON FUNCTION cron.job_changed() IS 'trigger function: tells the scheduler at COMMIT which job changed';

CREATE FUNCTION cron.ledger_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_ledger_changed_wrapper';
COMMENT ON FUNCTION cron.ledger_changed() IS 'trigger function: tells the scheduler at COMMIT that rows were inserted into the ledger';

CREATE FUNCTION cron.ledger_shrinks()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_ledger_shrinks_wrapper';
COMMENT ON FUNCTION cron.ledger_shrinks() IS 'trigger function: has the scheduler note what ran before its rows are deleted';

CREATE FUNCTION cron.flush()
RETURNS boolean
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'cron_flush_wrapper';
COMMENT ON FUNCTION cron.flush()
    IS 'has the scheduler write statistics, skipped occurrences and cursors now; false if there is no scheduler';

CREATE FUNCTION cron.running_runs(
    OUT jobid bigint,
    OUT runid bigint,
    OUT job_pid int,
    OUT database text,
    OUT username text,
    OUT scheduled_for timestamptz,
    OUT started_at timestamptz,
    OUT trigger text,
    OUT attempt int)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'running_runs_wrapper';
COMMENT ON FUNCTION cron.running_runs()
    IS 'the runs under way now, of the jobs the caller owns; of all jobs for a superuser';

CREATE FUNCTION cron.next_runs(
    schedule text,
    n int DEFAULT 10,
    timezone text DEFAULT NULL,
    after timestamptz DEFAULT pg_catalog.now())
RETURNS TABLE (run_at timestamptz, local_time timestamp, note text)
LANGUAGE C STABLE ROWS 10
AS 'MODULE_PATHNAME', 'cron_next_runs_wrapper';
COMMENT ON FUNCTION cron.next_runs(text, int, text, timestamptz)
    IS 'the next n instants of a schedule, in the given time zone or in cron.timezone, after the given instant';

-- These serve the views. They tell nothing that is not in their arguments or in a documented
-- setting, so anybody may call them.

CREATE FUNCTION cron.job_condition(active boolean, nodename text, schedule text, timezone text)
RETURNS text
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_job_condition_wrapper';
COMMENT ON FUNCTION cron.job_condition(boolean, text, text, text)
    IS 'what a job''s own definition makes of it: inactive, remote node, invalid schedule, startup or recurring';

CREATE FUNCTION cron.job_next_run(schedule text, timezone text, anchor timestamptz)
RETURNS timestamptz
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_job_next_run_wrapper';
COMMENT ON FUNCTION cron.job_next_run(text, text, timestamptz)
    IS 'the next instant of a job''s schedule from now on, intervals counted from anchor; NULL if there is none';

CREATE FUNCTION cron.timezone_in_force(schedule text, timezone text)
RETURNS text
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_timezone_in_force_wrapper';
COMMENT ON FUNCTION cron.timezone_in_force(text, text)
    IS 'the time zone a job is scheduled in: the one its schedule names, its own, or cron.timezone';
