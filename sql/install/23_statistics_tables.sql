-- What became of each job in an hour and in a day. These are kept for longer than the runs themselves.

CREATE TABLE cron.job_stat_hour (
    jobid bigint NOT NULL,
    hour timestamptz NOT NULL,
    total_runs bigint NOT NULL DEFAULT 0,
    successful_runs bigint NOT NULL DEFAULT 0,
    timed_out_runs bigint NOT NULL DEFAULT 0,
    cancelled_runs bigint NOT NULL DEFAULT 0,
    crashed_runs bigint NOT NULL DEFAULT 0,
    retried_runs bigint NOT NULL DEFAULT 0,
    skipped_runs bigint NOT NULL DEFAULT 0,
    total_ms double precision NOT NULL DEFAULT 0,
    max_ms double precision NOT NULL DEFAULT 0,
    wal_bytes bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    durations bytea,
    start_lags bytea,
    CONSTRAINT job_stat_hour_pkey PRIMARY KEY (jobid, hour)
) WITH (fillfactor = 80); -- as cron.job_state
CREATE INDEX job_stat_hour_hour ON cron.job_stat_hour (hour);
COMMENT ON TABLE cron.job_stat_hour IS 'statistics of each job for each hour, kept by the scheduler as runs settle; not dumped';
COMMENT ON COLUMN cron.job_stat_hour.jobid IS 'the job';
COMMENT ON COLUMN cron.job_stat_hour.hour IS 'start of the hour';
COMMENT ON COLUMN cron.job_stat_hour.total_runs IS 'runs that started in this hour and have ended';
COMMENT ON COLUMN cron.job_stat_hour.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.job_stat_hour.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.job_stat_hour.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.job_stat_hour.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.job_stat_hour.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.job_stat_hour.skipped_runs IS 'occurrences that were due and did not run; a stretch of them counts where it ends';
COMMENT ON COLUMN cron.job_stat_hour.total_ms IS 'time all runs took together, in milliseconds';
COMMENT ON COLUMN cron.job_stat_hour.max_ms IS 'time the longest took, in milliseconds';
COMMENT ON COLUMN cron.job_stat_hour.wal_bytes IS 'WAL the runs have written, in bytes';
COMMENT ON COLUMN cron.job_stat_hour.rows IS 'rows their statements have returned or changed';
COMMENT ON COLUMN cron.job_stat_hour.durations IS 'how long runs took, as a histogram';
COMMENT ON COLUMN cron.job_stat_hour.start_lags IS 'how late runs started, as a histogram';
COMMENT ON CONSTRAINT job_stat_hour_pkey ON cron.job_stat_hour IS 'one row for each job and hour with runs or skips';
COMMENT ON INDEX cron.job_stat_hour_hour IS 'finds what is old enough to go';
ALTER TABLE cron.job_stat_hour ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_stat_hour_policy ON cron.job_stat_hour FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) job_stat_hour.jobid));
COMMENT ON POLICY job_stat_hour_policy ON cron.job_stat_hour IS 'a role sees the rows of its own jobs';

CREATE TABLE cron.job_stat_day (
    jobid bigint NOT NULL,
    day date NOT NULL,
    total_runs bigint NOT NULL DEFAULT 0,
    successful_runs bigint NOT NULL DEFAULT 0,
    timed_out_runs bigint NOT NULL DEFAULT 0,
    cancelled_runs bigint NOT NULL DEFAULT 0,
    crashed_runs bigint NOT NULL DEFAULT 0,
    retried_runs bigint NOT NULL DEFAULT 0,
    skipped_runs bigint NOT NULL DEFAULT 0,
    total_ms double precision NOT NULL DEFAULT 0,
    max_ms double precision NOT NULL DEFAULT 0,
    wal_bytes bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    durations bytea,
    start_lags bytea,
    CONSTRAINT job_stat_day_pkey PRIMARY KEY (jobid, day)
) WITH (fillfactor = 80); -- as cron.job_state
CREATE INDEX job_stat_day_day ON cron.job_stat_day (day);
COMMENT ON TABLE cron.job_stat_day IS 'statistics of each job for each day, kept by the scheduler as runs settle; not dumped';
COMMENT ON COLUMN cron.job_stat_day.jobid IS 'the job';
COMMENT ON COLUMN cron.job_stat_day.day IS 'the day, in UTC';
COMMENT ON COLUMN cron.job_stat_day.total_runs IS 'runs that started in this day and have ended';
COMMENT ON COLUMN cron.job_stat_day.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.job_stat_day.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.job_stat_day.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.job_stat_day.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.job_stat_day.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.job_stat_day.skipped_runs IS 'occurrences that were due and did not run; a stretch of them counts where it ends';
COMMENT ON COLUMN cron.job_stat_day.total_ms IS 'time all runs took together, in milliseconds';
COMMENT ON COLUMN cron.job_stat_day.max_ms IS 'time the longest took, in milliseconds';
COMMENT ON COLUMN cron.job_stat_day.wal_bytes IS 'WAL the runs have written, in bytes';
COMMENT ON COLUMN cron.job_stat_day.rows IS 'rows their statements have returned or changed';
COMMENT ON COLUMN cron.job_stat_day.durations IS 'how long runs took, as a histogram';
COMMENT ON COLUMN cron.job_stat_day.start_lags IS 'how late runs started, as a histogram';
COMMENT ON CONSTRAINT job_stat_day_pkey ON cron.job_stat_day IS 'one row for each job and day with runs or skips';
COMMENT ON INDEX cron.job_stat_day_day IS 'finds what is old enough to go';
ALTER TABLE cron.job_stat_day ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_stat_day_policy ON cron.job_stat_day FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) job_stat_day.jobid));
COMMENT ON POLICY job_stat_day_policy ON cron.job_stat_day IS 'a role sees the rows of its own jobs';

-- Only inserted into by those who reset, so that nobody can keep the scheduler waiting for a row it wants to change.
CREATE TABLE cron.stat_reset (
    jobid bigint NOT NULL,
    runid bigint
);
CREATE INDEX stat_reset_resolved ON cron.stat_reset (jobid) WHERE runid IS NOT NULL;
ALTER TABLE cron.stat_reset ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE cron.stat_reset IS 'jobs whose statistics are to begin anew, or whose failures were resolved, until the scheduler has seen to it; not dumped';
COMMENT ON COLUMN cron.stat_reset.jobid IS 'the job';
COMMENT ON COLUMN cron.stat_reset.runid IS 'the run that was resolved, which ends its row of failures; NULL if all is to begin anew';
COMMENT ON INDEX cron.stat_reset_resolved IS 'finds what was resolved among many whose statistics are to begin anew';
