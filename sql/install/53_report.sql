-- What jobs have done, to be looked at. Both read with the caller's rights: row security decides.

CREATE FUNCTION cron.report_html(since interval DEFAULT '1 day')
RETURNS text
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_report_html_wrapper';
COMMENT ON FUNCTION cron.report_html(interval)
    IS 'one HTML page about the jobs the caller sees: timeline, hours of the week, durations, failures, coming runs';

CREATE FUNCTION cron.timeline(job bigint DEFAULT NULL, since interval DEFAULT '1 day')
RETURNS SETOF text
LANGUAGE C STABLE ROWS 30
AS 'MODULE_PATHNAME', 'cron_timeline_wrapper';
COMMENT ON FUNCTION cron.timeline(bigint, interval)
    IS 'what a job, or without one all that the caller sees, has done in that time, drawn in characters';

CREATE FUNCTION cron.timeline(job text, since interval DEFAULT '1 day')
RETURNS SETOF text
LANGUAGE C STABLE ROWS 30
AS 'MODULE_PATHNAME', 'cron_timeline_named_wrapper';
COMMENT ON FUNCTION cron.timeline(text, interval)
    IS 'what a job, or without one all that the caller sees, has done in that time, drawn in characters';
