-- What the scheduler could not read: a row that is written directly is refused with it, where cron.create_job and
-- cron.set_job say more. The rest of a row is checked when it is used, and cron.jobs says what is wrong with it.

ALTER TABLE cron.job
    ADD CONSTRAINT job_jobname_check CHECK (pg_catalog.octet_length(jobname) OPERATOR(pg_catalog.<=) 1000),
    ADD CONSTRAINT job_alert_job_check CHECK (pg_catalog.octet_length(alert_job) OPERATOR(pg_catalog.<=) 1000),
    ADD CONSTRAINT job_tags_check CHECK (
        pg_catalog.array_ndims(tags) OPERATOR(pg_catalog.=) 1 AND pg_catalog.array_position(tags, NULL) IS NULL
        OR pg_catalog.array_ndims(tags) IS NULL),
    ADD CONSTRAINT job_skip_on_check CHECK (
        pg_catalog.array_ndims(skip_on) OPERATOR(pg_catalog.=) 1 AND pg_catalog.array_position(skip_on, NULL) IS NULL
        OR pg_catalog.array_ndims(skip_on) IS NULL),
    ADD CONSTRAINT job_only_on_check CHECK (
        pg_catalog.array_ndims(only_on) OPERATOR(pg_catalog.=) 1 AND pg_catalog.array_position(only_on, NULL) IS NULL
        OR pg_catalog.array_ndims(only_on) IS NULL),
    ADD CONSTRAINT job_run_after_check CHECK (
        pg_catalog.array_ndims(run_after) OPERATOR(pg_catalog.=) 1 AND pg_catalog.array_position(run_after, NULL) IS NULL
        OR pg_catalog.array_ndims(run_after) IS NULL),
    -- NaN is more than any number.
    ADD CONSTRAINT job_retry_backoff_check CHECK (
        retry_backoff OPERATOR(pg_catalog.>=) 1::pg_catalog.float8
        AND retry_backoff OPERATOR(pg_catalog.<=) 1000::pg_catalog.float8),
    ADD CONSTRAINT job_alert_below_success_check CHECK (
        alert_below_success OPERATOR(pg_catalog.>=) 0::pg_catalog.float8
        AND alert_below_success OPERATOR(pg_catalog.<=) 100::pg_catalog.float8),
    ADD CONSTRAINT job_alert_if_times_slower_check CHECK (
        alert_if_times_slower OPERATOR(pg_catalog.>=) 0::pg_catalog.float8
        AND alert_if_times_slower OPERATOR(pg_catalog.<=) 1000000::pg_catalog.float8),
    ADD CONSTRAINT job_keep_runs_check CHECK (
        keep_runs OPERATOR(pg_catalog.>=) 0 AND keep_runs OPERATOR(pg_catalog.<=) 1000000),
    ADD CONSTRAINT job_keep_days_check CHECK (
        keep_days OPERATOR(pg_catalog.>=) 0 AND keep_days OPERATOR(pg_catalog.<=) 36525);
COMMENT ON CONSTRAINT job_jobname_check ON cron.job IS 'a name is no document';
COMMENT ON CONSTRAINT job_alert_job_check ON cron.job IS 'no name is longer';
COMMENT ON CONSTRAINT job_tags_check ON cron.job IS 'tags are a list, and each is a text';
COMMENT ON CONSTRAINT job_skip_on_check ON cron.job IS 'calendars are a list, and each has a name';
COMMENT ON CONSTRAINT job_only_on_check ON cron.job IS 'calendars are a list, and each has a name';
COMMENT ON CONSTRAINT job_run_after_check ON cron.job IS 'jobs to wait for are a list, and each has a name';
COMMENT ON CONSTRAINT job_retry_backoff_check ON cron.job IS 'the time between attempts does not become shorter';
COMMENT ON CONSTRAINT job_alert_below_success_check ON cron.job IS 'a rate of success is in percent';
COMMENT ON CONSTRAINT job_alert_if_times_slower_check ON cron.job IS 'a number of times is finite';
COMMENT ON CONSTRAINT job_keep_runs_check ON cron.job IS 'as many runs are kept as can be counted';
COMMENT ON CONSTRAINT job_keep_days_check ON cron.job IS 'runs are kept for a hundred years at the most';
