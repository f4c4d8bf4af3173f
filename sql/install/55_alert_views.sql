CREATE VIEW cron.alerts WITH (security_invoker = true, security_barrier = true) AS
SELECT
    alert.id,
    alert.jobid,
    alert.jobname,
    alert.username,
    alert.rule,
    alert.recovered_at IS NULL AS open,
    alert.raised_at,
    alert.recovered_at,
    coalesce(alert.recovered_at, pg_catalog.clock_timestamp()) - alert.raised_at AS lasted,
    alert.recovery,
    alert.message,
    alert.runid,
    alert.outcome,
    alert.detail,
    alert.handler
FROM cron.alert AS alert
ORDER BY alert.recovered_at DESC NULLS FIRST, alert.raised_at DESC, alert.id DESC;

COMMENT ON VIEW cron.alerts IS 'the alerts of jobs, those that are open first';
COMMENT ON COLUMN cron.alerts.id IS 'number of the alert';
COMMENT ON COLUMN cron.alerts.jobid IS 'the job';
COMMENT ON COLUMN cron.alerts.jobname IS 'its name, as it was then; NULL if it had none';
COMMENT ON COLUMN cron.alerts.username IS 'its owner; once the alert is over, as it was then';
COMMENT ON COLUMN cron.alerts.rule IS 'what it is about: failures, slow, stuck, absent or success_rate';
COMMENT ON COLUMN cron.alerts.open IS 'true if it is not over';
COMMENT ON COLUMN cron.alerts.raised_at IS 'since when';
COMMENT ON COLUMN cron.alerts.recovered_at IS 'until when; NULL while it is open';
COMMENT ON COLUMN cron.alerts.lasted IS 'how long it took, or has been open';
COMMENT ON COLUMN cron.alerts.recovery IS 'why it is over: recovered, job changed or job dropped';
COMMENT ON COLUMN cron.alerts.message IS 'what was found';
COMMENT ON COLUMN cron.alerts.runid IS 'the run it was raised for; NULL if there is none';
COMMENT ON COLUMN cron.alerts.outcome IS 'how that run had ended; NULL if it was under way';
COMMENT ON COLUMN cron.alerts.detail IS 'what was found, in numbers';
COMMENT ON COLUMN cron.alerts.handler IS 'name of the job that is run for it; NULL for none';
