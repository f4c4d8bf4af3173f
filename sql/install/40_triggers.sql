-- How a change of cron.job reaches the scheduler: by every path, direct DML, COPY and logical
-- replication included, hence ENABLE ALWAYS.

CREATE TRIGGER cron_job_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cron.job
    FOR EACH STATEMENT EXECUTE FUNCTION cron.job_cache_invalidate();
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER cron_job_cache_invalidate;
COMMENT ON TRIGGER cron_job_cache_invalidate ON cron.job IS 'reports that all jobs may have changed (TRUNCATE)';

CREATE TRIGGER cron_job_changed
    AFTER INSERT OR UPDATE OR DELETE ON cron.job
    FOR EACH ROW EXECUTE FUNCTION cron.job_changed();
ALTER TABLE cron.job ENABLE ALWAYS TRIGGER cron_job_changed;
COMMENT ON TRIGGER cron_job_changed ON cron.job IS 'reports which job changed';

-- Runs do not fire it: their rows are written without the executor.
CREATE TRIGGER cron_ledger_changed
    AFTER INSERT ON cron.job_run_details
    FOR EACH STATEMENT EXECUTE FUNCTION cron.ledger_changed();
ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER cron_ledger_changed;
COMMENT ON TRIGGER cron_ledger_changed ON cron.job_run_details IS 'reports history that comes from elsewhere, to be counted and closed';

-- Rows are what keeps an occurrence from running again, until the job's cursor is past it.
CREATE TRIGGER cron_ledger_shrinks
    BEFORE DELETE OR TRUNCATE ON cron.job_run_details
    FOR EACH STATEMENT EXECUTE FUNCTION cron.ledger_shrinks();
ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER cron_ledger_shrinks;
COMMENT ON TRIGGER cron_ledger_shrinks ON cron.job_run_details IS 'has cursors moved past runs whose rows are about to go';

-- A request is news of its job, unless the scheduler has written it itself; the scheduler looks for requests when it reads a changed job.
CREATE TRIGGER cron_run_requested
    AFTER INSERT ON cron.run_request
    FOR EACH ROW WHEN (NEW.requested_by IS NOT NULL) EXECUTE FUNCTION cron.job_changed();
ALTER TABLE cron.run_request ENABLE ALWAYS TRIGGER cron_run_requested;
COMMENT ON TRIGGER cron_run_requested ON cron.run_request IS 'reports which job somebody wants a run of';

CREATE TRIGGER cron_run_cancelled
    AFTER INSERT ON cron.run_cancel
    FOR EACH ROW EXECUTE FUNCTION cron.job_changed();
ALTER TABLE cron.run_cancel ENABLE ALWAYS TRIGGER cron_run_cancelled;
COMMENT ON TRIGGER cron_run_cancelled ON cron.run_cancel IS 'reports which job somebody does not want a run of any more';

CREATE TRIGGER cron_stats_reset
    AFTER INSERT ON cron.stat_reset
    FOR EACH ROW EXECUTE FUNCTION cron.job_changed();
ALTER TABLE cron.stat_reset ENABLE ALWAYS TRIGGER cron_stats_reset;
COMMENT ON TRIGGER cron_stats_reset ON cron.stat_reset IS 'reports which job''s statistics are to begin anew, or whose failures were resolved';

-- Which jobs name a calendar is not looked up: all of them are read again.
CREATE TRIGGER cron_calendar_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cron.calendar
    FOR EACH STATEMENT EXECUTE FUNCTION cron.job_cache_invalidate();
ALTER TABLE cron.calendar ENABLE ALWAYS TRIGGER cron_calendar_changed;
COMMENT ON TRIGGER cron_calendar_changed ON cron.calendar IS 'reports that any job may have changed';

CREATE TRIGGER cron_calendar_date_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cron.calendar_date
    FOR EACH STATEMENT EXECUTE FUNCTION cron.job_cache_invalidate();
ALTER TABLE cron.calendar_date ENABLE ALWAYS TRIGGER cron_calendar_date_changed;
COMMENT ON TRIGGER cron_calendar_date_changed ON cron.calendar_date IS 'reports that any job may have changed';

CREATE TRIGGER cron_queue_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cron.queue
    FOR EACH STATEMENT EXECUTE FUNCTION cron.job_cache_invalidate();
ALTER TABLE cron.queue ENABLE ALWAYS TRIGGER cron_queue_changed;
COMMENT ON TRIGGER cron_queue_changed ON cron.queue IS 'reports that any job may have changed';
