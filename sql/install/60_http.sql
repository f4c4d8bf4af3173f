-- Jobs that call a URL.

CREATE FUNCTION cron.secrets_named(http jsonb)
RETURNS text[]
LANGUAGE C IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'cron_secrets_named_wrapper';
COMMENT ON FUNCTION cron.secrets_named(jsonb)
    IS 'the names of the secrets that a request in cron.job.http takes; none if it is not valid';

CREATE FUNCTION cron.create_http_job(
    job_name text,
    schedule text,
    url text,
    method text DEFAULT 'POST',
    headers jsonb DEFAULT '{}',
    body text DEFAULT NULL,
    expect_status text DEFAULT '200-299',
    follow_redirects boolean DEFAULT false,
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
    'url', url,
    'method', method,
    'headers', headers,
    'body', body,
    'expect_status', expect_status,
    'follow_redirects', follow_redirects,
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
COMMENT ON FUNCTION cron.create_http_job(text, text, text, text, jsonb, text, text, boolean, text, text, boolean, text, interval, int, interval, double precision, interval, text, boolean, text, int, text, interval, text, interval, text, text[], text[], text, text[], int, text, jsonb, text[], text, text, interval, int, int, int, interval, interval, double precision, text, double precision, text)
    IS 'create a job that calls a URL, or replace the owner''s job of that name; NULL is an option''s default; returns the job''s id';
-- It makes the server send requests: an administrator decides for whom. The right is asked for
-- whatever way a request takes into cron.job.
REVOKE ALL ON FUNCTION cron.create_http_job(text, text, text, text, jsonb, text, text, boolean, text, text, boolean, text, interval, int, interval, double precision, interval, text, boolean, text, int, text, interval, text, interval, text, text[], text[], text, text[], int, text, jsonb, text[], text, text, interval, int, int, int, interval, interval, double precision, text, double precision, text) FROM PUBLIC;

CREATE FUNCTION cron.check_http_job()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_check_http_job_wrapper';
COMMENT ON FUNCTION cron.check_http_job()
    IS 'trigger function: checks the request of a job and the right to it, and has command say what it is';

CREATE TRIGGER cron_check_http_job
    BEFORE INSERT OR UPDATE ON cron.job
    FOR EACH ROW WHEN (NEW.http IS NOT NULL) EXECUTE FUNCTION cron.check_http_job();
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER cron_check_http_job;
COMMENT ON TRIGGER cron_check_http_job ON cron.job IS 'checks requests, by whatever way they come';
