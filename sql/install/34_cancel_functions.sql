-- Ending runs from outside.

-- Only inserted into by those who cancel, so that nobody can keep the scheduler waiting for a row it wants to change.
CREATE TABLE cron.run_cancel (
    runid bigint NOT NULL,
    jobid bigint NOT NULL,
    reason text NOT NULL,
    CONSTRAINT run_cancel_pkey PRIMARY KEY (runid)
);
ALTER TABLE cron.run_cancel ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE cron.run_cancel IS 'requests in cron.run_request that were taken back and not recorded yet; for the scheduler, not dumped';
COMMENT ON COLUMN cron.run_cancel.runid IS 'id of the run that was asked for';
COMMENT ON COLUMN cron.run_cancel.jobid IS 'its job';
COMMENT ON COLUMN cron.run_cancel.reason IS 'who took it back and why, as its row will say';
COMMENT ON CONSTRAINT run_cancel_pkey ON cron.run_cancel IS 'a request is taken back once';

CREATE FUNCTION cron.cancel_run(runid bigint, reason text DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'cron_cancel_run_wrapper';
COMMENT ON FUNCTION cron.cancel_run(bigint, text)
    IS 'ends a run under way, or takes back one that was asked for and has not begun; false if it is over already';
