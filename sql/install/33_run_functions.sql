-- Runs that somebody asks for.

CREATE FUNCTION cron.run_now(job bigint, force boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_run_now_wrapper';
COMMENT ON FUNCTION cron.run_now(bigint, boolean)
    IS 'runs the job once, as soon as this transaction is committed, and returns the id of the run; force also runs a job that is paused, switched off, outside its window or excluded by a calendar';

CREATE FUNCTION cron.run_now(job text, force boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_run_now_named_wrapper';
COMMENT ON FUNCTION cron.run_now(text, boolean)
    IS 'runs the job once, as soon as this transaction is committed, and returns the id of the run; force also runs a job that is paused, switched off, outside its window or excluded by a calendar';

CREATE FUNCTION cron.run_now_tagged(tag text, force boolean DEFAULT false)
RETURNS SETOF bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_run_now_tagged_wrapper';
COMMENT ON FUNCTION cron.run_now_tagged(text, boolean)
    IS 'runs all of the caller''s jobs that have this tag, as cron.run_now does, and returns the ids of the runs; a notice names those that may not run now';
