-- Every function of the extension. The statements are written by hand, so that signatures, argument
-- names, defaults and strictness are exactly pg_cron's where pg_cron has the function. Its names get
-- no overloads whose further arguments have defaults: cron.schedule('a', 'b', 'c') would be
-- ambiguous.

-- pg_cron's seven

CREATE FUNCTION cron.schedule(schedule text, command text)
RETURNS bigint
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_schedule_wrapper';
COMMENT ON FUNCTION cron.schedule(text, text) IS 'schedule a pg_cron job';

CREATE FUNCTION cron.schedule(job_name text, schedule text, command text)
RETURNS bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_schedule_named_wrapper';
COMMENT ON FUNCTION cron.schedule(text, text, text) IS 'schedule a pg_cron job';

CREATE FUNCTION cron.schedule_in_database(
    job_name text,
    schedule text,
    command text,
    database text,
    username text DEFAULT NULL,
    active boolean DEFAULT true)
RETURNS bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_schedule_in_database_wrapper';
COMMENT ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) IS 'schedule a pg_cron job';

CREATE FUNCTION cron.alter_job(
    job_id bigint,
    schedule text DEFAULT NULL,
    command text DEFAULT NULL,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    active boolean DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_alter_job_wrapper';
COMMENT ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean)
    IS 'Alter the job identified by job_id. Any option left as NULL will not be modified.';

CREATE FUNCTION cron.unschedule(job_id bigint)
RETURNS boolean
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_unschedule_wrapper';
COMMENT ON FUNCTION cron.unschedule(bigint) IS 'unschedule a pg_cron job';

CREATE FUNCTION cron.unschedule(job_name text)
RETURNS boolean
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_unschedule_named_wrapper';
COMMENT ON FUNCTION cron.unschedule(text) IS 'unschedule a pg_cron job';

CREATE FUNCTION cron.job_cache_invalidate()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_job_cache_invalidate_wrapper';
COMMENT ON FUNCTION cron.job_cache_invalidate() IS 'invalidate job cache';

-- ours

CREATE FUNCTION cron.job_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_job_changed_wrapper';
COMMENT ON FUNCTION cron.job_changed() IS 'trigger function: tells the scheduler at COMMIT which job changed';

CREATE FUNCTION cron.ledger_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_ledger_changed_wrapper';
COMMENT ON FUNCTION cron.ledger_changed() IS 'trigger function: tells the scheduler at COMMIT that rows were inserted into the ledger';

CREATE FUNCTION cron.ledger_shrinks()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_ledger_shrinks_wrapper';
COMMENT ON FUNCTION cron.ledger_shrinks() IS 'trigger function: has the scheduler note what ran before its rows are deleted';

CREATE FUNCTION cron.flush()
RETURNS boolean
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'cron_flush_wrapper';
COMMENT ON FUNCTION cron.flush()
    IS 'has the scheduler write statistics, skipped occurrences and cursors now; false if there is no scheduler, or if it could not within ten seconds';

CREATE FUNCTION cron.running_runs(
    of_all boolean DEFAULT false,
    OUT jobid bigint,
    OUT runid bigint,
    OUT job_pid int,
    OUT database text,
    OUT username text,
    OUT scheduled_for timestamptz,
    OUT started_at timestamptz,
    OUT trigger text,
    OUT attempt int,
    OUT progress double precision,
    OUT note text,
    OUT heartbeat_at timestamptz,
    OUT stuck boolean,
    OUT deadline timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'running_runs_wrapper';
COMMENT ON FUNCTION cron.running_runs(boolean)
    IS 'the runs under way now, of the jobs the caller owns; of all jobs for a superuser and, if of_all, for whoever may read cron.monitor_running, without what others'' runs have noted';

CREATE FUNCTION cron.next_runs(
    schedule text,
    n int DEFAULT 10,
    timezone text DEFAULT NULL,
    after timestamptz DEFAULT pg_catalog.now())
RETURNS TABLE (run_at timestamptz, local_time timestamp, note text)
LANGUAGE C STABLE ROWS 10
AS 'MODULE_PATHNAME', 'cron_next_runs_wrapper';
COMMENT ON FUNCTION cron.next_runs(text, int, text, timestamptz)
    IS 'the next n instants of a schedule, in the given time zone or in cron.timezone, after the given instant';

-- These serve the views. They tell nothing that is not in their arguments or in a documented
-- setting, so anybody may call them.

CREATE FUNCTION cron.job_condition(
    active boolean,
    nodename text,
    schedule text,
    timezone text,
    run_window text,
    skip_on text[],
    only_on text[])
RETURNS text
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_job_condition_wrapper';
COMMENT ON FUNCTION cron.job_condition(boolean, text, text, text, text, text[], text[])
    IS 'what a job''s own definition makes of it: inactive, remote node, invalid schedule, invalid options, startup or recurring';

CREATE FUNCTION cron.job_may_start(active boolean, nodename text, username text, database text)
RETURNS boolean
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_job_may_start_wrapper';
COMMENT ON FUNCTION cron.job_may_start(boolean, text, text, text)
    IS 'whether a job of these columns is switched on, belongs to this server, and has an owner that can log in and a database';

CREATE FUNCTION cron.job_next_run_at(
    jobid bigint,
    active boolean,
    nodename text,
    username text,
    database text,
    schedule text,
    timezone text,
    dst_policy text,
    jitter interval,
    run_window text,
    skip_on text[],
    only_on text[],
    paused_until timestamptz)
RETURNS timestamptz
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_job_next_run_at_wrapper';
COMMENT ON FUNCTION cron.job_next_run_at(bigint, boolean, text, text, text, text, text, text, interval, text, text[], text[], timestamptz)
    IS 'when a job of these columns starts next, as cron.job_next_run(); NULL also if it is switched off, belongs to another server, or has no owner that can log in or no database; reads what else that depends on itself, with the rights of the caller';

CREATE FUNCTION cron.job_next_run(
    jobid bigint,
    schedule text,
    timezone text,
    dst_policy text,
    jitter interval,
    run_window text,
    skip_on text[],
    only_on text[],
    paused_until timestamptz,
    effective_from timestamptz,
    last_end timestamptz)
RETURNS timestamptz
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_job_next_run_wrapper';
COMMENT ON FUNCTION cron.job_next_run(bigint, text, text, text, interval, text, text[], text[], timestamptz, timestamptz, timestamptz)
    IS 'when a job of these columns starts next, from now or the end of its pause on; NULL if it does not';

CREATE FUNCTION cron.timezone_in_force(schedule text, timezone text)
RETURNS text
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_timezone_in_force_wrapper';
COMMENT ON FUNCTION cron.timezone_in_force(text, text)
    IS 'the time zone a job is scheduled in: the one its schedule names, its own, or cron.timezone';

-- Jobs with all their options. One function does the work, from an object; the names of the many
-- arguments are its keys.

CREATE FUNCTION cron.create_job(options jsonb)
RETURNS bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_create_job_wrapper';
COMMENT ON FUNCTION cron.create_job(jsonb)
    IS 'as the function with many arguments, from one object with their names as keys';

CREATE FUNCTION cron.create_job(
    job_name text,
    schedule text,
    command text,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    active boolean DEFAULT NULL,
    timezone text DEFAULT NULL,
    timeout interval DEFAULT NULL,
    max_attempts int DEFAULT NULL,
    retry_delay interval DEFAULT NULL,
    retry_backoff double precision DEFAULT NULL,
    retry_max_delay interval DEFAULT NULL,
    retry_on text DEFAULT NULL,
    retry_on_crash boolean DEFAULT NULL,
    on_overlap text DEFAULT NULL,
    max_concurrency int DEFAULT NULL,
    on_missed text DEFAULT NULL,
    missed_window interval DEFAULT NULL,
    dst_policy text DEFAULT NULL,
    jitter interval DEFAULT NULL,
    run_window text DEFAULT NULL,
    skip_on text[] DEFAULT NULL,
    only_on text[] DEFAULT NULL,
    run_if text DEFAULT NULL,
    run_after text[] DEFAULT NULL,
    priority int DEFAULT NULL,
    queue text DEFAULT NULL,
    settings jsonb DEFAULT NULL,
    tags text[] DEFAULT NULL,
    description text DEFAULT NULL,
    session text DEFAULT NULL,
    stuck_after interval DEFAULT NULL,
    keep_runs int DEFAULT NULL,
    keep_days int DEFAULT NULL,
    alert_after_failures int DEFAULT NULL,
    alert_if_slower interval DEFAULT NULL,
    alert_if_absent interval DEFAULT NULL,
    alert_below_success double precision DEFAULT NULL,
    alert_job text DEFAULT NULL,
    alert_if_times_slower double precision DEFAULT NULL,
    on_stuck text DEFAULT NULL)
RETURNS bigint
LANGUAGE sql
RETURN cron.create_job(pg_catalog.jsonb_build_object(
    'job_name', job_name,
    'schedule', schedule,
    'command', command,
    'database', database,
    'username', username,
    'active', active,
    'timezone', timezone,
    'timeout', timeout,
    'max_attempts', max_attempts,
    'retry_delay', retry_delay,
    'retry_backoff', retry_backoff,
    'retry_max_delay', retry_max_delay,
    'retry_on', retry_on,
    'retry_on_crash', retry_on_crash,
    'on_overlap', on_overlap,
    'max_concurrency', max_concurrency,
    'on_missed', on_missed,
    'missed_window', missed_window,
    'dst_policy', dst_policy,
    'jitter', jitter,
    'run_window', run_window,
    'skip_on', skip_on,
    'only_on', only_on,
    'run_if', run_if,
    'run_after', run_after,
    'priority', priority,
    'queue', queue,
    'settings', settings,
    'tags', tags,
    'description', description,
    'session', session,
    'stuck_after', stuck_after,
    'keep_runs', keep_runs,
    'keep_days', keep_days,
    'alert_after_failures', alert_after_failures,
    'alert_if_slower', alert_if_slower,
    'alert_if_absent', alert_if_absent,
    'alert_below_success', alert_below_success,
    'alert_job', alert_job,
    'alert_if_times_slower', alert_if_times_slower,
    'on_stuck', on_stuck));
COMMENT ON FUNCTION cron.create_job(text, text, text, text, text, boolean, text, interval, int, interval, double precision, interval, text, boolean, text, int, text, interval, text, interval, text, text[], text[], text, text[], int, text, jsonb, text[], text, text, interval, int, int, int, interval, interval, double precision, text, double precision, text)
    IS 'create a job, or replace the owner''s job of that name; NULL is an option''s default; returns the job''s id';

CREATE FUNCTION cron.set_job(job bigint, options jsonb)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_set_job_wrapper';
COMMENT ON FUNCTION cron.set_job(bigint, jsonb)
    IS 'change the options of a job that the object names; null is back to default';

CREATE FUNCTION cron.set_job(job text, options jsonb)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_set_job_named_wrapper';
COMMENT ON FUNCTION cron.set_job(text, jsonb)
    IS 'change the options of a job that the object names; null is back to default';

CREATE FUNCTION cron.pause(job bigint, until timestamptz DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_pause_wrapper';
COMMENT ON FUNCTION cron.pause(bigint, timestamptz, text)
    IS 'let a job rest until then, or until it is resumed; a run under way goes on';

CREATE FUNCTION cron.pause(job text, until timestamptz DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_pause_named_wrapper';
COMMENT ON FUNCTION cron.pause(text, timestamptz, text)
    IS 'let a job rest until then, or until it is resumed; a run under way goes on';

CREATE FUNCTION cron.resume(job bigint)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_resume_wrapper';
COMMENT ON FUNCTION cron.resume(bigint) IS 'end the pause of a job; what was due meanwhile goes by its on_missed';

CREATE FUNCTION cron.resume(job text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_resume_named_wrapper';
COMMENT ON FUNCTION cron.resume(text) IS 'end the pause of a job; what was due meanwhile goes by its on_missed';

-- Calendars

CREATE FUNCTION cron.create_calendar(name text, description text DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_create_calendar_wrapper';
COMMENT ON FUNCTION cron.create_calendar(text, text) IS 'create a calendar without days; the caller owns it';

CREATE FUNCTION cron.add_calendar_dates(
    name text,
    from_date date,
    to_date date DEFAULT NULL,
    note text DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_add_calendar_dates_wrapper';
COMMENT ON FUNCTION cron.add_calendar_dates(text, date, date, text)
    IS 'add the days from from_date to to_date, which is from_date if left out; a range that is there gets the note';

CREATE FUNCTION cron.remove_calendar_dates(name text, from_date date, to_date date DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_remove_calendar_dates_wrapper';
COMMENT ON FUNCTION cron.remove_calendar_dates(text, date, date)
    IS 'take the days from from_date to to_date, which is from_date if left out, out of every range of a calendar';

CREATE FUNCTION cron.drop_calendar(name text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_drop_calendar_wrapper';
COMMENT ON FUNCTION cron.drop_calendar(text) IS 'drop a calendar that no job names';

-- Reading schedules

CREATE FUNCTION cron.validate_schedule(schedule text)
RETURNS TABLE (valid boolean, problem text, at int, hint text)
LANGUAGE C STABLE ROWS 1
AS 'MODULE_PATHNAME', 'cron_validate_schedule_wrapper';
COMMENT ON FUNCTION cron.validate_schedule(text)
    IS 'whether a text is a schedule; what is wrong or doubtful about it, at which character, and what to write instead';

CREATE FUNCTION cron.explain_schedule(schedule text, timezone text DEFAULT NULL)
RETURNS SETOF text
LANGUAGE C STABLE ROWS 10
AS 'MODULE_PATHNAME', 'cron_explain_schedule_wrapper';
COMMENT ON FUNCTION cron.explain_schedule(text, text)
    IS 'a schedule in plain words: when it runs, what clock changes of the next five years do to it, its next runs';

-- Looking ahead at jobs

CREATE FUNCTION cron.job_next_runs(job bigint, n int DEFAULT 10)
RETURNS TABLE (run_at timestamptz, local_time timestamp, note text)
LANGUAGE C STABLE ROWS 10
AS 'MODULE_PATHNAME', 'cron_job_next_runs_wrapper';
COMMENT ON FUNCTION cron.job_next_runs(bigint, int)
    IS 'the next n starts of a job, with its window, calendars, jitter and pause applied';

CREATE FUNCTION cron.job_next_runs(job text, n int DEFAULT 10)
RETURNS TABLE (run_at timestamptz, local_time timestamp, note text)
LANGUAGE C STABLE ROWS 10
AS 'MODULE_PATHNAME', 'cron_job_next_runs_named_wrapper';
COMMENT ON FUNCTION cron.job_next_runs(text, int)
    IS 'the next n starts of a job, with its window, calendars, jitter and pause applied';

CREATE FUNCTION cron.forecast(horizon interval DEFAULT '1 day')
RETURNS TABLE (
    run_at timestamptz,
    jobid bigint,
    jobname text,
    expected_duration interval,
    expected_concurrency int)
LANGUAGE C STABLE ROWS 10000
AS 'MODULE_PATHNAME', 'cron_forecast_wrapper';
COMMENT ON FUNCTION cron.forecast(interval)
    IS 'every coming start of the jobs the caller sees, how long the run takes on average, and how many jobs are expected to run then';

CREATE FUNCTION cron.simulate(
    down_from timestamptz,
    down_to timestamptz,
    resume_for interval DEFAULT '1 hour')
RETURNS TABLE (
    at timestamptz,
    jobid bigint,
    jobname text,
    scheduled_for timestamptz,
    action text,
    reason text,
    count bigint)
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_simulate_wrapper';
COMMENT ON FUNCTION cron.simulate(timestamptz, timestamptz, interval)
    IS 'what would run, be skipped or be caught up, for the jobs the caller sees, if the server were down in that time';

-- Past occurrences

CREATE FUNCTION cron.backfill(job bigint, from_time timestamptz, to_time timestamptz)
RETURNS SETOF bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_backfill_wrapper';
COMMENT ON FUNCTION cron.backfill(bigint, timestamptz, timestamptz)
    IS 'run those occurrences of a job in this time that never succeeded, oldest first; returns the runs'' ids';

CREATE FUNCTION cron.backfill(job text, from_time timestamptz, to_time timestamptz)
RETURNS SETOF bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_backfill_named_wrapper';
COMMENT ON FUNCTION cron.backfill(text, timestamptz, timestamptz)
    IS 'run those occurrences of a job in this time that never succeeded, oldest first; returns the runs'' ids';

-- Runs that failed

CREATE FUNCTION cron.retry_run(runid bigint)
RETURNS bigint
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_retry_run_wrapper';
COMMENT ON FUNCTION cron.retry_run(bigint)
    IS 'run the occurrence of a failed run once more, with the command that run had; returns the new run''s id';

CREATE FUNCTION cron.resolve_run(runid bigint, outcome text, note text DEFAULT NULL)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_resolve_run_wrapper';
COMMENT ON FUNCTION cron.resolve_run(bigint, text, text)
    IS 'note that a failed run has been dealt with, by hand: succeeded if its work is done, failed if it stays undone';
