-- The job table and the ledger of runs as pg_cron has them (columns, order, constraints, policies),
-- with our columns appended, and the scheduler's own tables.
--
-- New columns go to the end of a table: COPY lists in dumps and SELECT * in tools depend on it.

CREATE SEQUENCE cron.jobid_seq;
COMMENT ON SEQUENCE cron.jobid_seq IS 'gives each job its id; also drawn from when a named job is scheduled again';

CREATE SEQUENCE cron.runid_seq;
COMMENT ON SEQUENCE cron.runid_seq IS 'gives each run its id';

CREATE TABLE cron.job (
    jobid bigint NOT NULL DEFAULT pg_catalog.nextval('cron.jobid_seq'),
    schedule text NOT NULL,
    command text NOT NULL,
    nodename text NOT NULL DEFAULT 'localhost',
    nodeport int NOT NULL DEFAULT pg_catalog.inet_server_port(),
    database text NOT NULL DEFAULT pg_catalog.current_database(),
    username text NOT NULL DEFAULT CURRENT_USER,
    active boolean NOT NULL DEFAULT true,
    jobname text,
    -- pg_cron's columns end here
    timezone text,
    description text,
    tags text[],
    dst_policy text,
    jitter interval,
    run_window text,
    skip_on text[],
    only_on text[],
    on_missed text,
    missed_window interval,
    paused_until timestamptz,
    paused_by text,
    pause_reason text,
    resumed_at timestamptz,
    resumed_by text,
    CONSTRAINT job_pkey PRIMARY KEY (jobid),
    CONSTRAINT jobname_username_uniq UNIQUE (jobname, username)
);
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_policy ON cron.job
    USING (username OPERATOR(pg_catalog.=) CURRENT_USER);

COMMENT ON TABLE cron.job IS 'the jobs; change it with cron.create_job, cron.set_job, cron.schedule, cron.alter_job and cron.unschedule';
COMMENT ON COLUMN cron.job.jobid IS 'id of the job, never given twice';
COMMENT ON COLUMN cron.job.schedule IS 'when the job is due, as written: five cron fields, a name such as @daily, or an interval such as 30 seconds';
COMMENT ON COLUMN cron.job.command IS 'the SQL the job runs';
COMMENT ON COLUMN cron.job.nodename IS 'the server the job belongs to; a name that is not this server keeps the job from running';
COMMENT ON COLUMN cron.job.nodeport IS 'port of that server; has no effect on jobs of this server';
COMMENT ON COLUMN cron.job.database IS 'the database the job runs in';
COMMENT ON COLUMN cron.job.username IS 'the owner: the role the job runs as';
COMMENT ON COLUMN cron.job.active IS 'false keeps the job from becoming due, and cancels a run under way';
COMMENT ON COLUMN cron.job.jobname IS 'name of the job, unique for its owner; NULL if it has none';
COMMENT ON COLUMN cron.job.timezone IS 'time zone the schedule is read in; NULL for cron.timezone';
COMMENT ON COLUMN cron.job.description IS 'what the job is for, in its owner''s words';
COMMENT ON COLUMN cron.job.tags IS 'labels to group jobs by';
COMMENT ON COLUMN cron.job.dst_policy IS 'what clock changes do: cron (skipped times run once right after, repeated ones once) or wall (whatever the clock shows); NULL for cron.default_dst_policy';
COMMENT ON COLUMN cron.job.jitter IS 'starts are spread over this long after their instants; NULL for cron.default_jitter';
COMMENT ON COLUMN cron.job.run_window IS 'days and hours in which the job may start, such as mon-fri 09:00-17:00; NULL for any time';
COMMENT ON COLUMN cron.job.skip_on IS 'calendars on whose days the job does not run';
COMMENT ON COLUMN cron.job.only_on IS 'calendars on whose days alone the job runs; NULL for any day';
COMMENT ON COLUMN cron.job.on_missed IS 'what becomes of occurrences that could not run at their time: skip, once (the latest runs) or all; NULL for cron.default_on_missed';
COMMENT ON COLUMN cron.job.missed_window IS 'missed occurrences older than this do not run; NULL for cron.default_missed_window';
COMMENT ON COLUMN cron.job.paused_until IS 'the job is paused until then, infinity for until it is resumed; NULL if it is not paused';
COMMENT ON COLUMN cron.job.paused_by IS 'who paused it';
COMMENT ON COLUMN cron.job.pause_reason IS 'why, in that role''s words';
COMMENT ON COLUMN cron.job.resumed_at IS 'when its last pause was ended before its time; NULL if it was not, or is paused';
COMMENT ON COLUMN cron.job.resumed_by IS 'who did that';
COMMENT ON CONSTRAINT job_pkey ON cron.job IS 'one row for each job id';
COMMENT ON CONSTRAINT jobname_username_uniq ON cron.job IS 'an owner has one job of a name; jobs without a name never conflict';
COMMENT ON POLICY cron_job_policy ON cron.job IS 'a role sees and changes its own jobs';

-- No check constraints here: rows are written by direct table insert, without the executor.
CREATE TABLE cron.job_run_details (
    jobid bigint,
    runid bigint NOT NULL DEFAULT pg_catalog.nextval('cron.runid_seq'),
    job_pid int,
    database text,
    username text,
    command text,
    status text,
    return_message text,
    start_time timestamptz,
    end_time timestamptz,
    -- pg_cron's columns end here
    jobname text,
    scheduled_for timestamptz,
    attempt int,
    trigger text,
    outcome text,
    reason text,
    guarantee text,
    sqlstate text,
    error jsonb,
    row_count bigint,
    http_status int,
    response text,
    usage jsonb,
    CONSTRAINT job_run_details_pkey PRIMARY KEY (runid)
);
CREATE UNIQUE INDEX job_run_details_occurrence ON cron.job_run_details (jobid, scheduled_for, attempt);
CREATE INDEX job_run_details_open ON cron.job_run_details (runid) WHERE end_time IS NULL;
-- With the role, so that who sees only his own failures need not look at the others' rows. The collation is
-- that of CURRENT_USER, which the policy compares with. An index of its own by role would have to be opened
-- by each run, and this one costs nothing but failures.
CREATE INDEX job_run_details_failed ON cron.job_run_details (runid, username COLLATE pg_catalog."C")
    WHERE status OPERATOR(pg_catalog.=) 'failed';
ALTER TABLE cron.job_run_details ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_run_details_policy ON cron.job_run_details
    USING (username OPERATOR(pg_catalog.=) CURRENT_USER);

COMMENT ON TABLE cron.job_run_details IS 'the ledger: one row for each attempt to run an occurrence of a job; outlives the job';
COMMENT ON COLUMN cron.job_run_details.jobid IS 'the job that ran';
COMMENT ON COLUMN cron.job_run_details.runid IS 'id of the run, never given twice';
COMMENT ON COLUMN cron.job_run_details.job_pid IS 'process that ran it';
COMMENT ON COLUMN cron.job_run_details.database IS 'the database it ran in';
COMMENT ON COLUMN cron.job_run_details.username IS 'the role it ran as';
COMMENT ON COLUMN cron.job_run_details.command IS 'the SQL it ran, as it was then';
COMMENT ON COLUMN cron.job_run_details.status IS 'starting, connecting, sending, running, succeeded or failed';
COMMENT ON COLUMN cron.job_run_details.return_message IS 'what the command returned, such as INSERT 0 1, or its error in psql''s form';
COMMENT ON COLUMN cron.job_run_details.start_time IS 'when the command started';
COMMENT ON COLUMN cron.job_run_details.end_time IS 'when it ended; NULL while it is under way';
COMMENT ON COLUMN cron.job_run_details.jobname IS 'name of the job, as it was then';
COMMENT ON COLUMN cron.job_run_details.scheduled_for IS 'the occurrence: the instant the run was due, without jitter';
COMMENT ON COLUMN cron.job_run_details.attempt IS 'which attempt at this occurrence, from 1';
COMMENT ON COLUMN cron.job_run_details.trigger IS 'why it ran: schedule, manual, retry, catch_up, backfill, startup, dependency or alert';
COMMENT ON COLUMN cron.job_run_details.outcome IS 'how it ended: succeeded, failed, timeout, cancelled or crashed; NULL while it is under way';
COMMENT ON COLUMN cron.job_run_details.reason IS 'why it ended so, where the outcome alone does not say';
COMMENT ON COLUMN cron.job_run_details.guarantee IS 'what the run''s effects can rely on: exactly_once, at_most_once or at_least_once';
COMMENT ON COLUMN cron.job_run_details.sqlstate IS 'SQLSTATE of the error';
COMMENT ON COLUMN cron.job_run_details.error IS 'the error''s other fields: message, detail, hint, context, position and the objects it names';
COMMENT ON COLUMN cron.job_run_details.row_count IS 'rows the last statement returned or changed';
COMMENT ON COLUMN cron.job_run_details.http_status IS 'status code of an HTTP run';
COMMENT ON COLUMN cron.job_run_details.response IS 'response of an HTTP run, cut to the configured size';
COMMENT ON COLUMN cron.job_run_details.usage IS 'what the run used, where it is not zero: wal_bytes, wal_records, shared_hit, shared_read, shared_dirtied, shared_written (blocks), temp_bytes, cpu_ms, rows (of all statements, where that is not row_count)';
COMMENT ON CONSTRAINT job_run_details_pkey ON cron.job_run_details IS 'one row for each run id';
COMMENT ON INDEX cron.job_run_details_occurrence IS 'an occurrence has one row for each attempt';
COMMENT ON INDEX cron.job_run_details_open IS 'runs without an end, which a new scheduler has to close';
COMMENT ON INDEX cron.job_run_details_failed IS 'failed runs, newest last, and whose they are; successes cost it nothing';
COMMENT ON POLICY cron_job_run_details_policy ON cron.job_run_details IS 'a role sees and deletes its own runs';

CREATE TABLE cron.job_state (
    jobid bigint NOT NULL,
    effective_from timestamptz NOT NULL,
    definition text,
    cursor timestamptz,
    window_start timestamptz,
    reaches_outside boolean NOT NULL DEFAULT false,
    made_good timestamptz,
    no_room boolean NOT NULL DEFAULT false,
    CONSTRAINT job_state_pkey PRIMARY KEY (jobid)
) WITH (fillfactor = 80); -- rows are updated again and again, in place while the page has room
COMMENT ON TABLE cron.job_state IS 'how far each job''s occurrences are accounted for; written by the scheduler, not dumped';
COMMENT ON COLUMN cron.job_state.jobid IS 'the job';
COMMENT ON COLUMN cron.job_state.effective_from IS 'when the present schedule, time zone and activation began; earlier occurrences are none of them';
COMMENT ON COLUMN cron.job_state.definition IS 'the schedule, time zone and activation effective_from speaks of';
COMMENT ON COLUMN cron.job_state.cursor IS 'every occurrence up to this instant has run, been skipped, or is in the ledger; moved lazily';
COMMENT ON COLUMN cron.job_state.window_start IS 'occurrence of the last run that succeeded and was not asked for by hand; the next run sees it as cron.window_start';
COMMENT ON COLUMN cron.job_state.reaches_outside IS 'a run has had effects that a rollback does not undo, through dblink or a language for instance: its runs are claimed before they begin';
COMMENT ON COLUMN cron.job_state.made_good IS 'latest occurrence that a backfill has made good, or somebody has resolved as succeeded; jobs that wait for this one go by it and by window_start';
COMMENT ON COLUMN cron.job_state.no_room IS 'the job does not run: command, settings and requests of its owner''s jobs are longer together than what there is room for';
COMMENT ON CONSTRAINT job_state_pkey ON cron.job_state IS 'one row for each job';

CREATE TABLE cron.engine_state (
    server_start timestamptz,
    timeline int,
    counted_below bigint NOT NULL DEFAULT 1,
    left_at timestamptz,
    ahead_until timestamptz
);
CREATE UNIQUE INDEX engine_state_single_row ON cron.engine_state ((true));
-- Jobs for the start of the server are for starts to come.
INSERT INTO cron.engine_state (server_start) VALUES (pg_catalog.pg_postmaster_start_time());
COMMENT ON TABLE cron.engine_state IS 'what the scheduler of this database remembers, in one row; written by the scheduler, not dumped';
COMMENT ON COLUMN cron.engine_state.server_start IS 'server start the scheduler last ran its startup jobs for; when the extension was created, the start before that';
COMMENT ON COLUMN cron.engine_state.timeline IS 'timeline of that start, so that a promotion counts as one';
COMMENT ON COLUMN cron.engine_state.counted_below IS 'runs with a lower id are in the statistics';
COMMENT ON COLUMN cron.engine_state.left_at IS 'when the last scheduler left in good order, having written all it knew; NULL while one is there, or if it did not';
COMMENT ON COLUMN cron.engine_state.ahead_until IS 'what the clock had shown before it was set back: until it shows that again, any job may have rows ahead of it';
COMMENT ON INDEX cron.engine_state_single_row IS 'keeps the table at one row';

CREATE TABLE cron.job_stat (
    -- In an order in which most have a fixed place: a view of all jobs reads nearly all of them.
    jobid bigint NOT NULL,
    total_runs bigint NOT NULL DEFAULT 0,
    successful_runs bigint NOT NULL DEFAULT 0,
    failed_runs bigint NOT NULL DEFAULT 0,
    total_ms double precision NOT NULL DEFAULT 0,
    max_ms double precision NOT NULL DEFAULT 0,
    skipped_runs bigint NOT NULL DEFAULT 0,
    timed_out_runs bigint NOT NULL DEFAULT 0,
    cancelled_runs bigint NOT NULL DEFAULT 0,
    crashed_runs bigint NOT NULL DEFAULT 0,
    retried_runs bigint NOT NULL DEFAULT 0,
    wal_bytes bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    consecutive_failures bigint NOT NULL DEFAULT 0,
    counted_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    last_run_at timestamptz,
    last_runid bigint,
    last_end timestamptz,
    last_success_at timestamptz,
    last_failed_runid bigint,
    -- As views show them: looked at more often than they change.
    p50_duration_ms numeric GENERATED ALWAYS AS (cron.shown_ms(cron.sketch_quantile(durations, 0.5, max_ms))) STORED,
    p95_duration_ms numeric GENERATED ALWAYS AS (cron.shown_ms(cron.sketch_quantile(durations, 0.95, max_ms))) STORED,
    p99_duration_ms numeric GENERATED ALWAYS AS (cron.shown_ms(cron.sketch_quantile(durations, 0.99, max_ms))) STORED,
    p50_start_lag_ms numeric GENERATED ALWAYS AS (cron.shown_ms(cron.sketch_quantile(start_lags, 0.5))) STORED,
    p95_start_lag_ms numeric GENERATED ALWAYS AS (cron.shown_ms(cron.sketch_quantile(start_lags, 0.95))) STORED,
    p99_start_lag_ms numeric GENERATED ALWAYS AS (cron.shown_ms(cron.sketch_quantile(start_lags, 0.99))) STORED,
    last_status text,
    durations bytea,
    start_lags bytea,
    last_error text,
    CONSTRAINT job_stat_pkey PRIMARY KEY (jobid)
) WITH (fillfactor = 80); -- as cron.job_state
COMMENT ON TABLE cron.job_stat IS 'statistics of each job, kept by the scheduler as runs settle; not dumped';
COMMENT ON COLUMN cron.job_stat.jobid IS 'the job';
COMMENT ON COLUMN cron.job_stat.total_runs IS 'runs that ended';
COMMENT ON COLUMN cron.job_stat.successful_runs IS 'runs that succeeded';
COMMENT ON COLUMN cron.job_stat.failed_runs IS 'runs that ended otherwise';
COMMENT ON COLUMN cron.job_stat.total_ms IS 'time all of them took together, in milliseconds';
COMMENT ON COLUMN cron.job_stat.max_ms IS 'time the longest took, in milliseconds';
COMMENT ON COLUMN cron.job_stat.last_run_at IS 'start of the newest run';
COMMENT ON COLUMN cron.job_stat.last_runid IS 'id of the newest run';
COMMENT ON COLUMN cron.job_stat.last_status IS 'status of the newest run';
COMMENT ON COLUMN cron.job_stat.last_error IS 'message of the newest run that failed';
COMMENT ON COLUMN cron.job_stat.last_end IS 'end of the newest run; every ... after completion counts from it';
COMMENT ON COLUMN cron.job_stat.skipped_runs IS 'occurrences that were due and did not run, as in cron.job_skip';
COMMENT ON COLUMN cron.job_stat.timed_out_runs IS 'failed runs that took longer than they may';
COMMENT ON COLUMN cron.job_stat.cancelled_runs IS 'failed runs that somebody ended';
COMMENT ON COLUMN cron.job_stat.crashed_runs IS 'failed runs whose process or server died';
COMMENT ON COLUMN cron.job_stat.retried_runs IS 'runs that were a further attempt at their occurrence';
COMMENT ON COLUMN cron.job_stat.wal_bytes IS 'WAL all runs together have written, in bytes';
COMMENT ON COLUMN cron.job_stat.rows IS 'rows the statements of all runs together have returned or changed';
COMMENT ON COLUMN cron.job_stat.last_success_at IS 'latest end of a run that succeeded';
COMMENT ON COLUMN cron.job_stat.consecutive_failures IS 'runs that have failed since the last one that succeeded or was resolved; those that somebody ended do not count';
COMMENT ON COLUMN cron.job_stat.last_failed_runid IS 'id of the newest run that failed and that nobody had ended';
COMMENT ON COLUMN cron.job_stat.counted_since IS 'when counting began: at the first run, or when the statistics were reset';
COMMENT ON COLUMN cron.job_stat.durations IS 'how long runs took, as a histogram';
COMMENT ON COLUMN cron.job_stat.start_lags IS 'how late runs started, as a histogram';
COMMENT ON COLUMN cron.job_stat.p50_duration_ms IS 'half of the runs took no longer, in milliseconds; within 3.2 percent, as all of these, and no more than max_ms';
COMMENT ON COLUMN cron.job_stat.p95_duration_ms IS '95 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stat.p99_duration_ms IS '99 percent of the runs took no longer';
COMMENT ON COLUMN cron.job_stat.p50_start_lag_ms IS 'half of the runs started no later after their instant, in milliseconds';
COMMENT ON COLUMN cron.job_stat.p95_start_lag_ms IS '95 percent of the runs started no later';
COMMENT ON COLUMN cron.job_stat.p99_start_lag_ms IS '99 percent of the runs started no later';
COMMENT ON CONSTRAINT job_stat_pkey ON cron.job_stat IS 'one row for each job';

CREATE TABLE cron.job_skip (
    jobid bigint NOT NULL,
    reason text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX job_skip_jobid_last_at ON cron.job_skip (jobid, last_at);
COMMENT ON TABLE cron.job_skip IS 'occurrences that were due and did not run; neighbours with one reason share a row; written by the scheduler, not dumped';
COMMENT ON COLUMN cron.job_skip.jobid IS 'the job';
COMMENT ON COLUMN cron.job_skip.reason IS 'why they did not run';
COMMENT ON COLUMN cron.job_skip.first_at IS 'the first of these occurrences';
COMMENT ON COLUMN cron.job_skip.last_at IS 'the last of these occurrences';
COMMENT ON COLUMN cron.job_skip.count IS 'how many they are';
COMMENT ON INDEX cron.job_skip_jobid_last_at IS 'finds a job''s newest skips';

-- No foreign key to cron.job: it would forbid TRUNCATE there. The scheduler clears up after jobs that
-- are gone.
CREATE TABLE cron.run_request (
    runid bigint NOT NULL DEFAULT pg_catalog.nextval('cron.runid_seq'),
    jobid bigint NOT NULL,
    scheduled_for timestamptz NOT NULL,
    attempt int NOT NULL DEFAULT 1,
    trigger text NOT NULL,
    force boolean NOT NULL DEFAULT false,
    requested_by text DEFAULT CURRENT_USER,
    requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CONSTRAINT run_request_pkey PRIMARY KEY (runid),
    CONSTRAINT run_request_occurrence UNIQUE (jobid, scheduled_for, attempt)
);
COMMENT ON TABLE cron.run_request IS 'runs that were asked for, by somebody, by an attempt that failed or by the start of the server, and have not ended yet; a row goes when its run''s row is final; not dumped';
COMMENT ON COLUMN cron.run_request.runid IS 'id the run will have in cron.job_run_details';
COMMENT ON COLUMN cron.run_request.jobid IS 'the job to run';
COMMENT ON COLUMN cron.run_request.scheduled_for IS 'the occurrence to run';
COMMENT ON COLUMN cron.run_request.attempt IS 'which attempt at this occurrence, from 1';
COMMENT ON COLUMN cron.run_request.trigger IS 'why it is to run, as in cron.job_run_details';
COMMENT ON COLUMN cron.run_request.force IS 'true if it runs in spite of a pause, a window or a calendar';
COMMENT ON COLUMN cron.run_request.requested_by IS 'who asked for it; NULL for the next attempt of a job''s max_attempts, and at the start of the server';
COMMENT ON COLUMN cron.run_request.requested_at IS 'when';
COMMENT ON CONSTRAINT run_request_pkey ON cron.run_request IS 'one row for each run id';
COMMENT ON CONSTRAINT run_request_occurrence ON cron.run_request IS 'an attempt at an occurrence is asked for once';

-- Jobs name calendars, they do not refer to them by key: dumps and declarations of jobs stay text.
-- cron.drop_calendar refuses while a job names the calendar.
CREATE TABLE cron.calendar (
    name text NOT NULL,
    description text,
    owner text NOT NULL DEFAULT CURRENT_USER,
    CONSTRAINT calendar_pkey PRIMARY KEY (name),
    CONSTRAINT calendar_name_check CHECK (
        name OPERATOR(pg_catalog.<>) '' AND pg_catalog.octet_length(name) OPERATOR(pg_catalog.<=) 1000)
);
ALTER TABLE cron.calendar ENABLE ROW LEVEL SECURITY;
CREATE POLICY calendar_read ON cron.calendar FOR SELECT USING (true);
CREATE POLICY calendar_write ON cron.calendar
    USING (owner OPERATOR(pg_catalog.=) CURRENT_USER);
COMMENT ON TABLE cron.calendar IS 'lists of days that jobs leave out (skip_on) or keep to (only_on)';
COMMENT ON COLUMN cron.calendar.name IS 'name of the calendar, as jobs give it in skip_on and only_on';
COMMENT ON COLUMN cron.calendar.description IS 'what its days are, in its owner''s words';
COMMENT ON COLUMN cron.calendar.owner IS 'the role that may change it; if that role is gone, a superuser may';
COMMENT ON CONSTRAINT calendar_pkey ON cron.calendar IS 'a name stands for one calendar, whoever owns it';
COMMENT ON CONSTRAINT calendar_name_check ON cron.calendar IS 'a calendar has a name';
COMMENT ON POLICY calendar_read ON cron.calendar IS 'everybody sees all calendars';
COMMENT ON POLICY calendar_write ON cron.calendar IS 'a role changes its own calendars';

CREATE TABLE cron.calendar_date (
    calendar text NOT NULL,
    from_date date NOT NULL,
    to_date date NOT NULL,
    note text,
    CONSTRAINT calendar_date_pkey PRIMARY KEY (calendar, from_date, to_date),
    CONSTRAINT calendar_date_calendar_fkey FOREIGN KEY (calendar) REFERENCES cron.calendar (name)
        ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT calendar_date_order_check CHECK (
        pg_catalog.isfinite(from_date) AND pg_catalog.isfinite(to_date)
        AND from_date OPERATOR(pg_catalog.<=) to_date)
);
ALTER TABLE cron.calendar_date ENABLE ROW LEVEL SECURITY;
CREATE POLICY calendar_date_read ON cron.calendar_date FOR SELECT USING (true);
CREATE POLICY calendar_date_write ON cron.calendar_date
    USING (EXISTS (
        SELECT FROM cron.calendar c
        WHERE c.name OPERATOR(pg_catalog.=) calendar_date.calendar
            AND c.owner OPERATOR(pg_catalog.=) CURRENT_USER));
COMMENT ON TABLE cron.calendar_date IS 'the days of each calendar, as ranges of dates; ranges may overlap';
COMMENT ON COLUMN cron.calendar_date.calendar IS 'the calendar';
COMMENT ON COLUMN cron.calendar_date.from_date IS 'the first of these days, in the time zone of the job that asks';
COMMENT ON COLUMN cron.calendar_date.to_date IS 'the last of these days, itself included';
COMMENT ON COLUMN cron.calendar_date.note IS 'what these days are, such as the name of a holiday';
COMMENT ON CONSTRAINT calendar_date_pkey ON cron.calendar_date IS 'a calendar has a range of days once';
COMMENT ON CONSTRAINT calendar_date_calendar_fkey ON cron.calendar_date IS 'days belong to a calendar, and go with it';
COMMENT ON CONSTRAINT calendar_date_order_check ON cron.calendar_date IS 'a range has an end that is not before its beginning';
COMMENT ON POLICY calendar_date_read ON cron.calendar_date IS 'everybody sees the days of all calendars';
COMMENT ON POLICY calendar_date_write ON cron.calendar_date IS 'a role changes the days of its own calendars';

-- Whoever sees a job sees what the scheduler notes about it. cron.job has row security itself, and
-- it applies to the reader inside these policies too.
ALTER TABLE cron.job_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_state_policy ON cron.job_state FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) job_state.jobid));
COMMENT ON POLICY job_state_policy ON cron.job_state IS 'a role sees the rows of its own jobs';

ALTER TABLE cron.job_stat ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_stat_policy ON cron.job_stat FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) job_stat.jobid));
COMMENT ON POLICY job_stat_policy ON cron.job_stat IS 'a role sees the rows of its own jobs';

ALTER TABLE cron.job_skip ENABLE ROW LEVEL SECURITY;
CREATE POLICY job_skip_policy ON cron.job_skip FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) job_skip.jobid));
COMMENT ON POLICY job_skip_policy ON cron.job_skip IS 'a role sees the rows of its own jobs';

ALTER TABLE cron.run_request ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_request_policy ON cron.run_request FOR SELECT
    USING (EXISTS (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) run_request.jobid));
COMMENT ON POLICY run_request_policy ON cron.run_request IS 'a role sees the requests for its own jobs';

-- Nobody but owner and superusers: it says nothing about anybody's jobs, and needs no policy.
ALTER TABLE cron.engine_state ENABLE ROW LEVEL SECURITY;
