-- What fell due: the other side of the books that ledger and skips are.

CREATE FUNCTION cron.occurrences(job bigint, after timestamptz, until timestamptz)
RETURNS SETOF timestamptz
LANGUAGE C STABLE STRICT
AS 'MODULE_PATHNAME', 'cron_occurrences_wrapper';
COMMENT ON FUNCTION cron.occurrences(bigint, timestamptz, timestamptz)
    IS 'every instant after the one and up to the other that the job''s schedule names, whatever became of it';

CREATE FUNCTION cron.occurrences(job text, after timestamptz, until timestamptz)
RETURNS SETOF timestamptz
LANGUAGE C STABLE STRICT
AS 'MODULE_PATHNAME', 'cron_occurrences_named_wrapper';
COMMENT ON FUNCTION cron.occurrences(text, timestamptz, timestamptz)
    IS 'every instant after the one and up to the other that the job''s schedule names, whatever became of it';
