-- What a run may call, and what keeps a job from running. The functions of a run find it by the
-- process they are called in; outside a run they raise 55000. They write as the extension's owner,
-- and only into rows of that run.

CREATE FUNCTION cron.current_run()
RETURNS TABLE (
    jobid bigint,
    jobname text,
    runid bigint,
    scheduled_for timestamptz,
    attempt int,
    trigger text,
    started_at timestamptz,
    window_start timestamptz,
    window_end timestamptz)
LANGUAGE C VOLATILE STRICT ROWS 1
AS 'MODULE_PATHNAME', 'cron_current_run_wrapper';
COMMENT ON FUNCTION cron.current_run() IS 'inside a job: the run this is, in one row';

CREATE FUNCTION cron.heartbeat(progress double precision DEFAULT NULL, note text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_heartbeat_wrapper';
COMMENT ON FUNCTION cron.heartbeat(double precision, text)
    IS 'inside a job: shows at once in cron.running that the run is alive, how much it has done in percent, and a note; what is NULL stays as it was';

CREATE FUNCTION cron.checkpoint(data jsonb)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_checkpoint_wrapper';
COMMENT ON FUNCTION cron.checkpoint(jsonb)
    IS 'inside a job: notes how far the run has come, in its own transaction, for the next attempt to go on from';

CREATE FUNCTION cron.last_checkpoint()
RETURNS jsonb
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'cron_last_checkpoint_wrapper';
COMMENT ON FUNCTION cron.last_checkpoint()
    IS 'inside a job: the newest checkpoint of this run or of an earlier attempt at its occurrence; NULL if there is none';

CREATE FUNCTION cron.log(level text, message text, data jsonb DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_log_wrapper';
COMMENT ON FUNCTION cron.log(text, text, jsonb)
    IS 'inside a job: adds a row to cron.run_log, in the run''s own transaction; level is debug, info, notice, warning or error';

CREATE FUNCTION cron.run_again()
RETURNS void
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'cron_run_again_wrapper';
COMMENT ON FUNCTION cron.run_again()
    IS 'inside a job: the job has more to do and is to run again as soon as this run has succeeded';

CREATE FUNCTION cron.hold(job bigint)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_hold_wrapper';
COMMENT ON FUNCTION cron.hold(bigint)
    IS 'waits for a run of the job to end and keeps the job from running until it is released or this session ends';

CREATE FUNCTION cron.hold(job text)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_hold_named_wrapper';
COMMENT ON FUNCTION cron.hold(text)
    IS 'waits for a run of the job to end and keeps the job from running until it is released or this session ends';

CREATE FUNCTION cron.release(job bigint)
RETURNS boolean
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_release_wrapper';
COMMENT ON FUNCTION cron.release(bigint)
    IS 'lets a job run again that this session holds; false if it does not hold it';

CREATE FUNCTION cron.release(job text)
RETURNS boolean
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_release_named_wrapper';
COMMENT ON FUNCTION cron.release(text)
    IS 'lets a job run again that this session holds; false if it does not hold it';
