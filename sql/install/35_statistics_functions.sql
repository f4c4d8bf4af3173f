-- Statistics that begin anew. The scheduler does it, as it does all that is written about statistics.

CREATE FUNCTION cron.reset_stats(job bigint)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_reset_stats_wrapper';
COMMENT ON FUNCTION cron.reset_stats(bigint)
    IS 'have the figures of a job in cron.job_stats begin anew; what is known of its newest run stays, and so do hours and days';

CREATE FUNCTION cron.reset_stats(job text)
RETURNS void
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_reset_stats_named_wrapper';
COMMENT ON FUNCTION cron.reset_stats(text)
    IS 'have the figures of a job in cron.job_stats begin anew; what is known of its newest run stays, and so do hours and days';

CREATE FUNCTION cron.reset_stats()
RETURNS bigint
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_reset_all_stats_wrapper';
COMMENT ON FUNCTION cron.reset_stats()
    IS 'have the figures of all jobs the caller owns begin anew, for a superuser those of all jobs; returns how many jobs that are';
