-- What a job says about its runs once they are due: how long, how often, beside and after what.

ALTER TABLE cron.job
    ADD COLUMN timeout interval,
    ADD COLUMN max_attempts int,
    ADD COLUMN retry_delay interval,
    ADD COLUMN retry_backoff double precision,
    ADD COLUMN retry_max_delay interval,
    ADD COLUMN retry_on text,
    ADD COLUMN retry_on_crash boolean,
    ADD COLUMN on_overlap text,
    ADD COLUMN max_concurrency int,
    ADD COLUMN run_if text,
    ADD COLUMN run_after text[],
    ADD COLUMN priority int,
    ADD COLUMN queue text,
    ADD COLUMN stuck_after interval;
COMMENT ON COLUMN cron.job.timeout IS 'a run is cancelled after this long; 0 for never, NULL for cron.default_timeout';
COMMENT ON COLUMN cron.job.max_attempts IS 'most attempts at an occurrence, the first included; NULL for cron.default_max_attempts';
COMMENT ON COLUMN cron.job.retry_delay IS 'time from the end of the first attempt to the second; NULL for cron.default_retry_delay';
COMMENT ON COLUMN cron.job.retry_backoff IS 'factor by which that time grows from attempt to attempt; NULL for cron.default_retry_backoff';
COMMENT ON COLUMN cron.job.retry_max_delay IS 'longest time between attempts; NULL for cron.default_retry_max_delay';
COMMENT ON COLUMN cron.job.retry_on IS 'which failures are tried again: transient or any; NULL for cron.default_retry_on';
COMMENT ON COLUMN cron.job.retry_on_crash IS 'true if an attempt that crashed is repeated although its effects may be there; NULL for cron.default_retry_on_crash';
COMMENT ON COLUMN cron.job.on_overlap IS 'what becomes of an occurrence that is due while the job runs: queue, skip, allow or replace; NULL for cron.default_on_overlap';
COMMENT ON COLUMN cron.job.max_concurrency IS 'most runs of the job at once where they may overlap; NULL for cron.default_max_concurrency';
COMMENT ON COLUMN cron.job.run_if IS 'boolean SQL expression; an occurrence for which it is not true is skipped';
COMMENT ON COLUMN cron.job.run_after IS 'names of jobs of the same owner; an occurrence waits until all of them have succeeded for it';
COMMENT ON COLUMN cron.job.priority IS 'of jobs that wait for their turn, those with the higher number go first; NULL for cron.default_priority';
COMMENT ON COLUMN cron.job.queue IS 'the queue whose limits the job''s runs keep to; NULL for none';
COMMENT ON COLUMN cron.job.stuck_after IS 'a run without a heartbeat for this long counts as stuck; 0 for never, NULL for cron.default_stuck_after';

ALTER TABLE cron.job_run_details ADD COLUMN requested_by text;
COMMENT ON COLUMN cron.job_run_details.requested_by IS 'the role that asked for the run; NULL if nobody did';

ALTER TABLE cron.run_request
    ADD COLUMN not_before timestamptz,
    ADD COLUMN command text,
    ADD COLUMN username text,
    ADD COLUMN database text;
COMMENT ON COLUMN cron.run_request.not_before IS 'the run does not begin before; NULL if it may at once';
COMMENT ON COLUMN cron.run_request.command IS 'the SQL to run; NULL for the job''s present command';
COMMENT ON COLUMN cron.run_request.username IS 'the role it was asked for, that of the job then; nothing is run as another one';
COMMENT ON COLUMN cron.run_request.database IS 'the database it was asked for, that of the job then; nothing is run in another one';

CREATE TABLE cron.queue (
    name text NOT NULL,
    max_running int,
    max_start_rate double precision,
    shared boolean NOT NULL DEFAULT false,
    description text,
    owner text NOT NULL DEFAULT CURRENT_USER,
    CONSTRAINT queue_pkey PRIMARY KEY (name),
    CONSTRAINT queue_name_check CHECK (
        name OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length(name) OPERATOR(pg_catalog.<=) 1000),
    CONSTRAINT queue_max_running_check CHECK (max_running OPERATOR(pg_catalog.>=) 1),
    CONSTRAINT queue_max_start_rate_check CHECK (
        max_start_rate OPERATOR(pg_catalog.>) 0::pg_catalog.float8
        AND max_start_rate OPERATOR(pg_catalog.<=) 1000000::pg_catalog.float8)
);
ALTER TABLE cron.queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY queue_read ON cron.queue FOR SELECT USING (true);
CREATE POLICY queue_write ON cron.queue
    USING (owner OPERATOR(pg_catalog.=) CURRENT_USER);
COMMENT ON TABLE cron.queue IS 'limits that the runs of several jobs share';
COMMENT ON COLUMN cron.queue.name IS 'name of the queue, as jobs give it in queue';
COMMENT ON COLUMN cron.queue.max_running IS 'most runs of its jobs at once; NULL for no limit';
COMMENT ON COLUMN cron.queue.max_start_rate IS 'most starts in a second, evenly spread; NULL for no limit';
COMMENT ON COLUMN cron.queue.shared IS 'true if the jobs of any role may use it';
COMMENT ON COLUMN cron.queue.description IS 'what it is for, in its owner''s words';
COMMENT ON COLUMN cron.queue.owner IS 'the role that may change it and whose jobs may use it, as may those of its members; if that role is gone, a superuser may change it';
COMMENT ON CONSTRAINT queue_pkey ON cron.queue IS 'a name stands for one queue, whoever owns it';
COMMENT ON CONSTRAINT queue_name_check ON cron.queue IS 'a queue has a name';
COMMENT ON CONSTRAINT queue_max_running_check ON cron.queue IS 'a queue lets at least one run through';
COMMENT ON CONSTRAINT queue_max_start_rate_check ON cron.queue IS 'a queue lets runs start';
COMMENT ON POLICY queue_read ON cron.queue IS 'everybody sees all queues';
COMMENT ON POLICY queue_write ON cron.queue IS 'a role changes its own queues';
