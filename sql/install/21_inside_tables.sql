-- What runs write about themselves, and the options of a job that its executor obeys.

ALTER TABLE cron.job
    ADD COLUMN settings jsonb,
    ADD COLUMN session text;
COMMENT ON COLUMN cron.job.settings IS 'settings for the job''s runs, as an object of names and values, set as its owner would with SET';
COMMENT ON COLUMN cron.job.session IS 'reuse (runs follow one another in a session that is reset) or fresh (each run gets a session of its own); NULL for cron.default_session';

CREATE TABLE cron.run_checkpoint (
    jobid bigint NOT NULL,
    scheduled_for timestamptz NOT NULL,
    runid bigint NOT NULL,
    at timestamptz NOT NULL,
    data jsonb,
    CONSTRAINT run_checkpoint_pkey PRIMARY KEY (jobid, scheduled_for)
);
COMMENT ON TABLE cron.run_checkpoint IS 'how far runs have come that may have to be taken up again; written by cron.checkpoint, gone when the occurrence has succeeded, not dumped';
COMMENT ON COLUMN cron.run_checkpoint.jobid IS 'the job';
COMMENT ON COLUMN cron.run_checkpoint.scheduled_for IS 'the occurrence';
COMMENT ON COLUMN cron.run_checkpoint.runid IS 'the run that wrote it: the newest attempt that got there';
COMMENT ON COLUMN cron.run_checkpoint.at IS 'when it was written';
COMMENT ON COLUMN cron.run_checkpoint.data IS 'what the run wrote';
COMMENT ON CONSTRAINT run_checkpoint_pkey ON cron.run_checkpoint IS 'an occurrence has one checkpoint, the newest';
ALTER TABLE cron.run_checkpoint ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_checkpoint_policy ON cron.run_checkpoint FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) run_checkpoint.jobid));
COMMENT ON POLICY run_checkpoint_policy ON cron.run_checkpoint IS 'a role sees the rows of its own jobs';

CREATE TABLE cron.run_log (
    runid bigint NOT NULL,
    jobid bigint NOT NULL,
    at timestamptz NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    data jsonb,
    username text NOT NULL
);
CREATE INDEX run_log_runid ON cron.run_log (runid);
COMMENT ON TABLE cron.run_log IS 'what runs have noted with cron.log; a row lives and dies with its run''s transaction';
COMMENT ON COLUMN cron.run_log.runid IS 'the run';
COMMENT ON COLUMN cron.run_log.jobid IS 'its job';
COMMENT ON COLUMN cron.run_log.at IS 'when it was noted';
COMMENT ON COLUMN cron.run_log.level IS 'debug, info, notice, warning or error';
COMMENT ON COLUMN cron.run_log.message IS 'the text';
COMMENT ON COLUMN cron.run_log.data IS 'what belongs to it';
COMMENT ON COLUMN cron.run_log.username IS 'the role the run ran as';
COMMENT ON INDEX cron.run_log_runid IS 'finds what a run has noted';
ALTER TABLE cron.run_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_log_policy ON cron.run_log
    USING (username OPERATOR(pg_catalog.=) CURRENT_USER);
COMMENT ON POLICY run_log_policy ON cron.run_log IS 'a role sees and deletes what its own runs have noted';

GRANT SELECT ON TABLE cron.run_checkpoint TO PUBLIC;
GRANT SELECT, DELETE ON TABLE cron.run_log TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('cron.run_log', '');
