-- Who may do what, and what pg_dump takes along. As with pg_cron, schema cron gives PUBLIC nothing:
-- an administrator lets a role in with GRANT USAGE ON SCHEMA cron.

GRANT SELECT ON TABLE cron.job TO PUBLIC;
GRANT SELECT, DELETE ON TABLE cron.job_run_details TO PUBLIC;

-- pg_dump run by a role with USAGE on the schema reads the sequences.
GRANT SELECT ON SEQUENCE cron.jobid_seq TO PUBLIC;
GRANT SELECT ON SEQUENCE cron.runid_seq TO PUBLIC;

-- Row security narrows these to the reader's own jobs; only the scheduler writes them.
GRANT SELECT ON TABLE cron.job_state, cron.job_stat, cron.job_skip, cron.run_request TO PUBLIC;
GRANT SELECT ON TABLE cron.job_stat_hour, cron.job_stat_day TO PUBLIC;
GRANT SELECT ON TABLE cron.alert, cron.alerts TO PUBLIC;
-- Everybody reads calendars and queues; they are changed by functions, or with rights an administrator grants.
GRANT SELECT ON TABLE cron.calendar, cron.calendar_date, cron.queue TO PUBLIC;
GRANT SELECT ON TABLE cron.jobs, cron.upcoming, cron.running, cron.recent_runs, cron.failed_runs, cron.job_stats, cron.dead_letters TO PUBLIC;
GRANT SELECT ON TABLE cron.job_stats_hourly, cron.job_stats_daily TO PUBLIC;

-- An administrator decides whether these are safe here: they reach other databases and, for
-- superusers, other roles.
REVOKE ALL ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION cron.flush() FROM PUBLIC;
REVOKE ALL ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) FROM PUBLIC;

-- The scheduler's own tables are left out: a restored job starts at restore time.
SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
SELECT pg_catalog.pg_extension_config_dump('cron.jobid_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cron.job_run_details', '');
SELECT pg_catalog.pg_extension_config_dump('cron.runid_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cron.calendar', '');
SELECT pg_catalog.pg_extension_config_dump('cron.calendar_date', '');
SELECT pg_catalog.pg_extension_config_dump('cron.queue', '');
