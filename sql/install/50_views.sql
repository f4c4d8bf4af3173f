-- Views for people. They run with the reader's rights (security_invoker), so the row security of the
-- tables below them decides what each role sees: its own jobs, and everything for a superuser.

-- The functions stand in FROM, where they are called once a row, and only for rows that are asked
-- for; there is no level of its own for them, which would keep "WHERE jobid = 1" from the index.
CREATE VIEW cron.jobs WITH (security_invoker = true, security_barrier = true) AS
SELECT
    job.jobid,
    job.jobname,
    job.schedule,
    cron.timezone_in_force(job.schedule, job.timezone) AS timezone,
    job.command,
    job.database,
    job.username,
    job.active,
    CASE
        WHEN job.jobid IN (SELECT running.jobid FROM cron.running_runs() AS running) THEN 'running'
        WHEN own.condition IN ('inactive', 'remote node', 'invalid schedule', 'invalid options') THEN own.condition
        WHEN owner.oid IS NULL THEN 'owner missing'
        WHEN NOT owner.rolcanlogin THEN 'owner cannot log in'
        WHEN database.oid IS NULL THEN 'database missing'
        WHEN NOT cron.job_may_start(job.active, job.nodename, job.username, job.database) THEN 'superuser jobs disabled'
        WHEN job.paused_until > pg_catalog.now() THEN 'paused'
        WHEN own.condition = 'recurring' AND next.run_at IS NULL THEN 'never fires'
        ELSE 'scheduled'
    END AS state,
    next.run_at AS next_run_at,
    stat.last_run_at,
    stat.last_status,
    job.description,
    job.tags,
    coalesce(job.on_missed, pg_catalog.current_setting('cron.default_on_missed')) AS on_missed,
    nullif(
        coalesce(job.missed_window, pg_catalog.current_setting('cron.default_missed_window')::pg_catalog.interval),
        '0') AS missed_window,
    CASE WHEN job.paused_until > pg_catalog.now() THEN job.paused_until END AS paused_until,
    CASE WHEN job.paused_until > pg_catalog.now() THEN job.paused_by END AS paused_by,
    CASE WHEN job.paused_until > pg_catalog.now() THEN job.pause_reason END AS pause_reason
FROM cron.job AS job
CROSS JOIN LATERAL cron.job_condition(
    job.active, job.nodename, job.schedule, job.timezone, job.run_window, job.skip_on, job.only_on) AS own (condition)
LEFT JOIN cron.job_state AS state ON state.jobid = job.jobid
LEFT JOIN cron.job_stat AS stat ON stat.jobid = job.jobid
LEFT JOIN pg_catalog.pg_roles AS owner ON owner.rolname = job.username
LEFT JOIN pg_catalog.pg_database AS database ON database.datname = job.database
CROSS JOIN LATERAL cron.job_next_run(
    job.jobid,
    CASE WHEN own.condition = 'recurring' AND cron.job_may_start(job.active, job.nodename, job.username, job.database)
        THEN job.schedule END,
    job.timezone,
    job.dst_policy,
    job.jitter,
    job.run_window,
    job.skip_on,
    job.only_on,
    job.paused_until,
    state.effective_from,
    stat.last_end) AS next (run_at);

COMMENT ON VIEW cron.jobs IS 'the jobs, what state they are in, when they run next and how the last run went';
COMMENT ON COLUMN cron.jobs.jobid IS 'id of the job';
COMMENT ON COLUMN cron.jobs.jobname IS 'name of the job; NULL if it has none';
COMMENT ON COLUMN cron.jobs.schedule IS 'when the job is due, as written';
COMMENT ON COLUMN cron.jobs.timezone IS 'the time zone in force: the one the schedule names, the job''s own, or cron.timezone';
COMMENT ON COLUMN cron.jobs.command IS 'the SQL the job runs';
COMMENT ON COLUMN cron.jobs.database IS 'the database it runs in';
COMMENT ON COLUMN cron.jobs.username IS 'the owner: the role it runs as';
COMMENT ON COLUMN cron.jobs.active IS 'false if the job is switched off';
COMMENT ON COLUMN cron.jobs.state IS 'running, scheduled, paused, inactive, invalid schedule, invalid options, owner missing, owner cannot log in, database missing, superuser jobs disabled, remote node or never fires';
COMMENT ON COLUMN cron.jobs.next_run_at IS 'when it starts next, with window, calendars, jitter and pause applied; NULL if it cannot run or has no coming instant, as with @reboot';
COMMENT ON COLUMN cron.jobs.last_run_at IS 'start of the newest run';
COMMENT ON COLUMN cron.jobs.last_status IS 'status of the newest run';
COMMENT ON COLUMN cron.jobs.description IS 'what the job is for, in its owner''s words';
COMMENT ON COLUMN cron.jobs.tags IS 'labels to group jobs by';
COMMENT ON COLUMN cron.jobs.on_missed IS 'what becomes of occurrences that could not run at their time: skip, once or all; the job''s own or cron.default_on_missed';
COMMENT ON COLUMN cron.jobs.missed_window IS 'missed occurrences older than this do not run; the job''s own or cron.default_missed_window; NULL for no limit';
COMMENT ON COLUMN cron.jobs.paused_until IS 'until when it is paused, infinity for until it is resumed; NULL if it is not';
COMMENT ON COLUMN cron.jobs.paused_by IS 'who paused it';
COMMENT ON COLUMN cron.jobs.pause_reason IS 'why, in that role''s words';

CREATE VIEW cron.upcoming WITH (security_invoker = true, security_barrier = true) AS
SELECT
    job.next_run_at AS run_at,
    job.next_run_at - pg_catalog.clock_timestamp() AS starts_in,
    job.jobid,
    job.jobname,
    job.schedule,
    job.timezone,
    job.database,
    job.username,
    job.state
FROM cron.jobs AS job
WHERE job.next_run_at IS NOT NULL
ORDER BY job.next_run_at, job.jobid;

COMMENT ON VIEW cron.upcoming IS 'the next start of each job, soonest first';
COMMENT ON COLUMN cron.upcoming.run_at IS 'when the job starts next';
COMMENT ON COLUMN cron.upcoming.starts_in IS 'how long until then';
COMMENT ON COLUMN cron.upcoming.jobid IS 'the job';
COMMENT ON COLUMN cron.upcoming.jobname IS 'its name; NULL if it has none';
COMMENT ON COLUMN cron.upcoming.schedule IS 'when it is due, as written';
COMMENT ON COLUMN cron.upcoming.timezone IS 'the time zone in force';
COMMENT ON COLUMN cron.upcoming.database IS 'the database it runs in';
COMMENT ON COLUMN cron.upcoming.username IS 'the role it runs as';
COMMENT ON COLUMN cron.upcoming.state IS 'scheduled, running or paused, as in cron.jobs';

CREATE VIEW cron.running WITH (security_invoker = true, security_barrier = true) AS
SELECT
    run.jobid,
    job.jobname,
    run.runid,
    run.job_pid,
    run.database,
    run.username,
    run.scheduled_for,
    run.started_at,
    pg_catalog.clock_timestamp() - run.started_at AS elapsed,
    run.trigger,
    run.attempt,
    run.progress,
    run.note,
    run.heartbeat_at,
    run.stuck,
    run.deadline,
    stat.p95_duration_ms * interval '1 millisecond' AS p95_duration,
    activity.wait_event_type,
    activity.wait_event
FROM cron.running_runs() AS run
LEFT JOIN cron.job AS job ON job.jobid = run.jobid
LEFT JOIN cron.job_stat AS stat ON stat.jobid = run.jobid
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = run.job_pid;

COMMENT ON VIEW cron.running IS 'the runs under way now, from shared memory';
COMMENT ON COLUMN cron.running.jobid IS 'the job';
COMMENT ON COLUMN cron.running.jobname IS 'its name';
COMMENT ON COLUMN cron.running.runid IS 'id of the run';
COMMENT ON COLUMN cron.running.job_pid IS 'process that runs it, as in pg_stat_activity';
COMMENT ON COLUMN cron.running.database IS 'the database it runs in';
COMMENT ON COLUMN cron.running.username IS 'the role it runs as';
COMMENT ON COLUMN cron.running.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.running.started_at IS 'when it started';
COMMENT ON COLUMN cron.running.elapsed IS 'how long it has been running';
COMMENT ON COLUMN cron.running.trigger IS 'why it runs: schedule, manual, retry, catch_up, backfill, startup, dependency or alert';
COMMENT ON COLUMN cron.running.attempt IS 'which attempt at this occurrence, from 1';
COMMENT ON COLUMN cron.running.progress IS 'how much it has done, in percent, as it said with cron.heartbeat';
COMMENT ON COLUMN cron.running.note IS 'what it noted with cron.heartbeat';
COMMENT ON COLUMN cron.running.heartbeat_at IS 'when it called cron.heartbeat last';
COMMENT ON COLUMN cron.running.stuck IS 'true if it has given no heartbeat for as long as its job''s stuck_after says';
COMMENT ON COLUMN cron.running.deadline IS 'when it is cancelled, if its job has a timeout';
COMMENT ON COLUMN cron.running.p95_duration IS '95 percent of the job''s runs took no longer; NULL before the first one ended';
COMMENT ON COLUMN cron.running.wait_event_type IS 'what kind of thing it waits for, as in pg_stat_activity; NULL if it does not, or the caller may not know';
COMMENT ON COLUMN cron.running.wait_event IS 'what it waits for, as in pg_stat_activity';

-- No index has the role in it: that would cost each run. Whoever sees only his own runs sees those among the
-- newest 50,000 of all, and where these are not a thousand, older ones job by job, by their occurrences.
CREATE VIEW cron.recent_runs WITH (security_invoker = true, security_barrier = true) AS
WITH reader AS MATERIALIZED (
    SELECT
        own.only,
        CASE WHEN own.only THEN seq.last_value - 50000 ELSE '-9223372036854775808' END AS after,
        -- As in the report: of many jobs fewer runs each.
        CASE WHEN own.only
            THEN (SELECT greatest(least(200000 / greatest(pg_catalog.count(*), 1), 1000), 10) FROM cron.job) END AS each
    FROM cron.runid_seq AS seq,
        LATERAL (SELECT pg_catalog.row_security_active('cron.job_run_details'::pg_catalog.regclass) AS only) AS own
), newest AS MATERIALIZED (
    SELECT run.*
    FROM cron.job_run_details AS run
    WHERE run.runid > (SELECT reader.after FROM reader)
    ORDER BY run.runid DESC
    LIMIT 1000
), older AS MATERIALIZED (
    SELECT run.*
    FROM cron.job AS job
    CROSS JOIN LATERAL (
        SELECT past.*
        FROM cron.job_run_details AS past
        WHERE past.jobid = job.jobid
            AND past.scheduled_for IS NOT NULL
            AND past.runid <= (SELECT reader.after FROM reader)
        ORDER BY past.scheduled_for DESC, past.attempt DESC
        LIMIT (SELECT reader.each FROM reader)) AS run
    WHERE (SELECT reader.only FROM reader) AND (SELECT pg_catalog.count(*) FROM newest) < 1000
)
SELECT
    run.runid,
    run.jobid,
    run.jobname,
    run.status,
    run.outcome,
    run.scheduled_for,
    run.start_time,
    run.end_time,
    CASE WHEN pg_catalog.isfinite(coalesce(run.end_time, pg_catalog.clock_timestamp())) AND pg_catalog.isfinite(run.start_time)
        THEN coalesce(run.end_time, pg_catalog.clock_timestamp()) - run.start_time END AS duration,
    run.trigger,
    run.attempt,
    run.return_message,
    run.database,
    run.username,
    run.command
FROM (SELECT newest.* FROM newest UNION ALL SELECT older.* FROM older) AS run
ORDER BY run.runid DESC
LIMIT 1000;

COMMENT ON VIEW cron.recent_runs IS 'the newest 1000 runs, newest first; to those who see only their own, beyond the newest 50000 of all roles, runs of the jobs they have still; all of them are in cron.job_run_details';
COMMENT ON COLUMN cron.recent_runs.runid IS 'id of the run';
COMMENT ON COLUMN cron.recent_runs.jobid IS 'the job';
COMMENT ON COLUMN cron.recent_runs.jobname IS 'its name, as it was then';
COMMENT ON COLUMN cron.recent_runs.status IS 'starting, connecting, sending, running, succeeded or failed';
COMMENT ON COLUMN cron.recent_runs.outcome IS 'succeeded, failed, timeout, cancelled or crashed; NULL while it is under way';
COMMENT ON COLUMN cron.recent_runs.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.recent_runs.start_time IS 'when it started';
COMMENT ON COLUMN cron.recent_runs.end_time IS 'when it ended; NULL while it is under way';
COMMENT ON COLUMN cron.recent_runs.duration IS 'how long it took, or has been taking';
COMMENT ON COLUMN cron.recent_runs.trigger IS 'why it ran: schedule, manual, retry, catch_up, backfill, startup, dependency or alert';
COMMENT ON COLUMN cron.recent_runs.attempt IS 'which attempt at this occurrence, from 1';
COMMENT ON COLUMN cron.recent_runs.return_message IS 'what the command returned, or its error';
COMMENT ON COLUMN cron.recent_runs.database IS 'the database it ran in';
COMMENT ON COLUMN cron.recent_runs.username IS 'the role it ran as';
COMMENT ON COLUMN cron.recent_runs.command IS 'the SQL it ran, as it was then';

CREATE VIEW cron.failed_runs WITH (security_invoker = true, security_barrier = true) AS
SELECT
    run.runid,
    run.jobid,
    run.jobname,
    run.outcome,
    run.reason,
    run.sqlstate,
    run.return_message,
    run.error,
    run.scheduled_for,
    run.start_time,
    run.end_time,
    CASE WHEN pg_catalog.isfinite(run.end_time) AND pg_catalog.isfinite(run.start_time)
        THEN run.end_time - run.start_time END AS duration,
    run.trigger,
    run.attempt,
    run.database,
    run.username,
    run.command
FROM cron.job_run_details AS run
WHERE run.status = 'failed'
ORDER BY run.runid DESC
LIMIT 1000;

COMMENT ON VIEW cron.failed_runs IS 'the newest 1000 runs that failed, newest first; all of them are in cron.job_run_details';
COMMENT ON COLUMN cron.failed_runs.runid IS 'id of the run';
COMMENT ON COLUMN cron.failed_runs.jobid IS 'the job';
COMMENT ON COLUMN cron.failed_runs.jobname IS 'its name, as it was then';
COMMENT ON COLUMN cron.failed_runs.outcome IS 'failed, timeout, cancelled or crashed';
COMMENT ON COLUMN cron.failed_runs.reason IS 'why it ended so, where the outcome alone does not say';
COMMENT ON COLUMN cron.failed_runs.sqlstate IS 'SQLSTATE of the error';
COMMENT ON COLUMN cron.failed_runs.return_message IS 'the error in psql''s form';
COMMENT ON COLUMN cron.failed_runs.error IS 'the error''s other fields: message, detail, hint, context, position and the objects it names';
COMMENT ON COLUMN cron.failed_runs.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.failed_runs.start_time IS 'when it started';
COMMENT ON COLUMN cron.failed_runs.end_time IS 'when it ended';
COMMENT ON COLUMN cron.failed_runs.duration IS 'how long it took';
COMMENT ON COLUMN cron.failed_runs.trigger IS 'why it ran: schedule, manual, retry, catch_up, backfill, startup, dependency or alert';
COMMENT ON COLUMN cron.failed_runs.attempt IS 'which attempt at this occurrence, from 1';
COMMENT ON COLUMN cron.failed_runs.database IS 'the database it ran in';
COMMENT ON COLUMN cron.failed_runs.username IS 'the role it ran as';
COMMENT ON COLUMN cron.failed_runs.command IS 'the SQL it ran, as it was then';

-- The subqueries have an OFFSET so that they stay what they are, one look into an index for each
-- failed run: as joins they could read the whole ledger.
CREATE VIEW cron.dead_letters WITH (security_invoker = true, security_barrier = true) AS
SELECT
    run.jobid,
    run.jobname,
    run.username,
    run.runid,
    run.scheduled_for,
    run.attempt AS attempts,
    run.outcome,
    run.sqlstate,
    run.return_message,
    run.end_time
FROM cron.job_run_details AS run
WHERE run.status = 'failed'
    AND run.outcome IN ('failed', 'timeout', 'crashed')
    AND NOT pg_catalog.starts_with(coalesce(run.reason, ''), 'resolved as ')
    AND NOT EXISTS (
        SELECT FROM cron.job_run_details AS later
        WHERE later.jobid = run.jobid AND later.scheduled_for = run.scheduled_for AND later.attempt > run.attempt
        OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM cron.run_request AS request
        WHERE request.jobid = run.jobid AND request.scheduled_for = run.scheduled_for
        OFFSET 0)
ORDER BY run.runid DESC;

COMMENT ON VIEW cron.dead_letters IS 'occurrences that failed for good: their last attempt failed, none is to come, and nobody has resolved it; newest first';
COMMENT ON COLUMN cron.dead_letters.jobid IS 'the job';
COMMENT ON COLUMN cron.dead_letters.jobname IS 'its name, as it was then';
COMMENT ON COLUMN cron.dead_letters.username IS 'the role it ran as';
COMMENT ON COLUMN cron.dead_letters.runid IS 'the last attempt, as cron.retry_run and cron.resolve_run want it';
COMMENT ON COLUMN cron.dead_letters.scheduled_for IS 'the occurrence: the instant it was due';
COMMENT ON COLUMN cron.dead_letters.attempts IS 'how many attempts there were';
COMMENT ON COLUMN cron.dead_letters.outcome IS 'how the last one ended: failed, timeout or crashed';
COMMENT ON COLUMN cron.dead_letters.sqlstate IS 'SQLSTATE of its error';
COMMENT ON COLUMN cron.dead_letters.return_message IS 'its error in psql''s form';
COMMENT ON COLUMN cron.dead_letters.end_time IS 'when it ended';
