-- Runs that somebody asks for.

CREATE FUNCTION cron.run_now(job bigint, force boolean DEFAULT false, wait boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_run_now_wrapper';
COMMENT ON FUNCTION cron.run_now(bigint, boolean, boolean)
    IS 'runs the job once, as soon as this transaction is committed, and returns the id of the run; force also runs a job that is paused, switched off, outside its window or excluded by a calendar; wait runs it at once and returns when it has ended, however';

CREATE FUNCTION cron.run_now(job text, force boolean DEFAULT false, wait boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_run_now_named_wrapper';
COMMENT ON FUNCTION cron.run_now(text, boolean, boolean)
    IS 'runs the job once, as soon as this transaction is committed, and returns the id of the run; force also runs a job that is paused, switched off, outside its window or excluded by a calendar; wait runs it at once and returns when it has ended, however';

CREATE FUNCTION cron.run_now_tagged(tag text, force boolean DEFAULT false)
RETURNS SETOF bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_run_now_tagged_wrapper';
COMMENT ON FUNCTION cron.run_now_tagged(text, boolean)
    IS 'runs all of the caller''s jobs that have this tag, as cron.run_now does, and returns the ids of the runs; a notice names those that may not run now';

CREATE FUNCTION cron.dry_run(job bigint)
RETURNS TABLE (
    status text,
    return_message text,
    row_count bigint,
    duration_ms double precision,
    wal_bytes bigint,
    locks jsonb,
    error jsonb,
    request jsonb,
    addresses jsonb)
LANGUAGE C VOLATILE ROWS 1
AS 'MODULE_PATHNAME', 'cron_dry_run_wrapper';
COMMENT ON FUNCTION cron.dry_run(bigint)
    IS 'runs the job''s command as the job would, in one transaction that is rolled back, and says what came of it; of an HTTP job, shows the request without its secrets and says whether its host''s addresses may be connected to, and sends nothing; it leaves no trace in history, statistics or schedule';

CREATE FUNCTION cron.dry_run(job text)
RETURNS TABLE (
    status text,
    return_message text,
    row_count bigint,
    duration_ms double precision,
    wal_bytes bigint,
    locks jsonb,
    error jsonb,
    request jsonb,
    addresses jsonb)
LANGUAGE C VOLATILE ROWS 1
AS 'MODULE_PATHNAME', 'cron_dry_run_named_wrapper';
COMMENT ON FUNCTION cron.dry_run(text)
    IS 'runs the job''s command as the job would, in one transaction that is rolled back, and says what came of it; of an HTTP job, shows the request without its secrets and says whether its host''s addresses may be connected to, and sends nothing; it leaves no trace in history, statistics or schedule';
