-- Limits that jobs share.

CREATE FUNCTION cron.create_queue(
    name text,
    max_running int DEFAULT NULL,
    max_start_rate double precision DEFAULT NULL,
    shared boolean DEFAULT false,
    description text DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_create_queue_wrapper';
COMMENT ON FUNCTION cron.create_queue(text, int, double precision, boolean, text)
    IS 'create a queue, or give the one of that name these limits; NULL is no limit';

CREATE FUNCTION cron.drop_queue(name text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_drop_queue_wrapper';
COMMENT ON FUNCTION cron.drop_queue(text) IS 'drop a queue that no job names';
