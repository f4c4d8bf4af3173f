-- What a job says about when to raise an alert, the alerts there were, and what is to be told.

ALTER TABLE cron.job
    ADD COLUMN alert_after_failures int,
    ADD COLUMN alert_if_slower interval,
    ADD COLUMN alert_if_absent interval,
    ADD COLUMN alert_below_success double precision,
    ADD COLUMN alert_job text,
    ADD COLUMN alert_if_times_slower double precision,
    ADD COLUMN on_stuck text;
COMMENT ON COLUMN cron.job.alert_after_failures IS 'so many occurrences in a row that failed for good are an alert; 0 for never, NULL for cron.default_alert_after_failures';
COMMENT ON COLUMN cron.job.alert_if_slower IS 'a run that takes this long is an alert; 0 for never, NULL for cron.default_alert_if_slower';
COMMENT ON COLUMN cron.job.alert_if_absent IS 'no successful run for this long is an alert; 0 for never, NULL for cron.default_alert_if_absent';
COMMENT ON COLUMN cron.job.alert_below_success IS 'fewer successes than this, in percent of the last 20 occurrences, are an alert; 0 for never, NULL for cron.default_alert_below_success';
COMMENT ON COLUMN cron.job.alert_job IS 'name of the job of the same owner that is run for each alert and each recovery; NULL for cron.default_alert_job';
COMMENT ON COLUMN cron.job.alert_if_times_slower IS 'a run that takes so many times as long as 95 percent of the job''s runs is an alert; 0 for never, NULL for cron.default_alert_if_times_slower';
COMMENT ON COLUMN cron.job.on_stuck IS 'what becomes of a run that counts as stuck, beside the alert: alert leaves it alone, cancel ends it as at its timeout; NULL for cron.default_on_stuck';
-- Tells which jobs are handlers.
CREATE INDEX job_alert_job ON cron.job (username, alert_job) WHERE alert_job IS NOT NULL;
COMMENT ON INDEX cron.job_alert_job IS 'finds the jobs that name a handler';

ALTER TABLE cron.run_request ADD COLUMN alert json;
COMMENT ON COLUMN cron.run_request.alert IS 'the alert the run is to handle, as the run reads it in cron.alert; NULL if it is for none';

CREATE TABLE cron.alert (
    id bigint GENERATED ALWAYS AS IDENTITY,
    jobid bigint NOT NULL,
    jobname text,
    username text NOT NULL,
    rule text NOT NULL,
    raised_at timestamptz NOT NULL,
    recovered_at timestamptz,
    recovery text,
    runid bigint,
    outcome text,
    message text NOT NULL,
    detail jsonb NOT NULL,
    handler text,
    CONSTRAINT alert_pkey PRIMARY KEY (id)
) WITH (fillfactor = 80); -- each row is updated once
CREATE UNIQUE INDEX alert_open ON cron.alert (jobid, rule) WHERE recovered_at IS NULL;
CREATE INDEX alert_recovered_at ON cron.alert (recovered_at);
CREATE INDEX alert_jobid_recovered_at ON cron.alert (jobid, recovered_at);
ALTER TABLE cron.alert ENABLE ROW LEVEL SECURITY;
-- Whoever has the job sees what was before he had it; whoever had one that is gone, or that is another's now, sees what
-- was in his time.
CREATE POLICY alert_policy ON cron.alert FOR SELECT
    USING (username OPERATOR(pg_catalog.=) CURRENT_USER
        OR EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) alert.jobid));
COMMENT ON TABLE cron.alert IS 'every alert there was, one row from its beginning to its end; written by the scheduler, not dumped';
COMMENT ON COLUMN cron.alert.id IS 'number of the alert';
COMMENT ON COLUMN cron.alert.jobid IS 'the job';
COMMENT ON COLUMN cron.alert.jobname IS 'its name, as it was then';
COMMENT ON COLUMN cron.alert.username IS 'its owner; once the alert is over, as it was then';
COMMENT ON COLUMN cron.alert.rule IS 'what it is about: failures, slow, stuck, absent or success_rate';
COMMENT ON COLUMN cron.alert.raised_at IS 'since when';
COMMENT ON COLUMN cron.alert.recovered_at IS 'until when; NULL while it is open';
COMMENT ON COLUMN cron.alert.recovery IS 'why it is over: recovered, job changed or job dropped';
COMMENT ON COLUMN cron.alert.runid IS 'the run it was raised for; NULL if there is none';
COMMENT ON COLUMN cron.alert.outcome IS 'how that run had ended; NULL if it was under way';
COMMENT ON COLUMN cron.alert.message IS 'what was found, as a sentence';
COMMENT ON COLUMN cron.alert.detail IS 'what was found, in numbers';
COMMENT ON COLUMN cron.alert.handler IS 'name of the job that is run for it; NULL for none';
COMMENT ON CONSTRAINT alert_pkey ON cron.alert IS 'one row for each number';
COMMENT ON INDEX cron.alert_open IS 'a job has one open alert for each rule';
COMMENT ON INDEX cron.alert_recovered_at IS 'finds the alerts that are long over';
COMMENT ON INDEX cron.alert_jobid_recovered_at IS 'finds the alerts of a job, the newest first';
COMMENT ON POLICY alert_policy ON cron.alert IS 'a role sees the alerts of its own jobs, also of those it does not have any more';

-- What is to be sent with NOTIFY. Unlogged: a crash of the server ends every session that listens, so
-- nobody is left whom it could be told; what is open is in cron.alert.
CREATE UNLOGGED TABLE cron.event_queue (
    id bigint GENERATED ALWAYS AS IDENTITY,
    payload text NOT NULL,
    CONSTRAINT event_queue_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE cron.event_queue IS 'events on their way to channel cron_events; written by the scheduler, sent and deleted by the keeper, not dumped';
COMMENT ON COLUMN cron.event_queue.id IS 'their order';
COMMENT ON COLUMN cron.event_queue.payload IS 'what is sent';
COMMENT ON CONSTRAINT event_queue_pkey ON cron.event_queue IS 'one row for each event';
