-- Retention and health as SQL has them. Here the database has no scheduler.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;

-- Which options, and between which bounds.
SELECT cron.create_job('kept', '0 0 1 1 *', 'SELECT 1', keep_runs => 10, keep_days => 0) AS kept \gset
SELECT keep_runs, keep_days FROM cron.job WHERE jobid = :kept;
SELECT cron.set_job('kept', '{"keep_runs": null, "keep_days": 7}');
SELECT keep_runs, keep_days FROM cron.job WHERE jobid = :kept;
SELECT cron.set_job('kept', '{"keep_runs": -1}');
SELECT cron.set_job('kept', '{"keep_days": 36526}');
SELECT cron.set_job('kept', '{"keep_days": "7 days"}');

-- There is nobody who could prune.
SELECT cron.prune();
SELECT * FROM cron.keeper_state;

SELECT status, reasons, preloaded, in_recovery, scheduler_alive, scheduler_pid, scheduler_started_at, overdue,
    waiting, waited, running, stuck, slots, slots_in_use, short_of_slots, jobs, failing_jobs, broken_jobs, keeper_pid,
    history_pruned_at, history_pruned_runs
FROM cron.health;
SELECT status, reasons FROM cron.monitor_health;
UPDATE cron.job SET active = false WHERE jobid = :kept;
SELECT h.jobs, h.inactive_jobs, m.jobs, m.inactive_jobs FROM cron.health h, cron.monitor_health m;
UPDATE cron.job SET active = true WHERE jobid = :kept;

-- What makes it a warning, and what is critical.
SELECT label, critical, warning
FROM (VALUES
    ('all is well', true, false, 2, NULL::interval, true, NULL::interval, false, 0, 0, 0, now()),
    ('not preloaded', false, false, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, now()),
    ('a standby', true, true, NULL, NULL, true, NULL, NULL, 0, 0, 0, now() - interval '1 year'),
    ('no scheduler', true, false, NULL, NULL, true, NULL, NULL, 0, NULL, 0, now()),
    ('late', true, false, 2, '5 seconds', true, '1 minute', false, 0, 0, 0, now()),
    ('too late', true, false, 2, '31 seconds', true, '5 minutes 1.5 seconds', false, 0, 0, 0, now()),
    ('jobs', true, false, 2, NULL, true, NULL, true, 4, 2, 1, now()),
    ('off', true, false, 2, NULL, false, NULL, false, 0, 0, 0, NULL),
    ('not pruned', true, false, 2, NULL, true, NULL, false, 0, 0, 0, now() - interval '4 hours'))
    AS fact (label, preloaded, in_recovery, scheduler, overdue, launches, waited, short, failing, broken, stuck, pruned)
CROSS JOIN LATERAL cron.judge_health(
    preloaded, in_recovery, 1, scheduler, now() - interval '1 day', overdue, launches, waited, short, failing,
    CASE WHEN failing > 0 THEN ARRAY[E'a\na', 'b', 'c'] END, broken, stuck, pruned) AS verdict;

-- Granted to nobody.
SELECT c.relname, (SELECT array_agg(a.grantee::regrole || ' ' || a.privilege_type ORDER BY a.grantee, a.privilege_type)
    FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) AS granted,
    c.reloptions FROM pg_class c
WHERE c.relnamespace = 'cron'::regnamespace AND (c.relname LIKE 'monitor\_%' OR c.relname IN ('health', 'metrics')) ORDER BY c.relname;

-- Nothing of what jobs say, run and return. (Why an occurrence was skipped is one of a few words of ours.)
SELECT a.attrelid::regclass, a.attname FROM pg_attribute a
WHERE a.attrelid::regclass::text LIKE 'cron.monitor\_%'
    AND a.attname IN ('command', 'error', 'response', 'settings', 'http', 'return_message', 'reason', 'last_error', 'run_if', 'description', 'note', 'pause_reason', 'progress_note', 'last_checkpoint', 'requested_by')
    AND NOT (a.attrelid = 'cron.monitor_skips'::regclass AND a.attname = 'reason');

CREATE ROLE health_reader;
GRANT USAGE ON SCHEMA cron TO health_reader;
SET ROLE health_reader;
SELECT cron.prune();
SELECT * FROM cron.monitor_jobs;
SELECT status, jobs FROM cron.health;
RESET ROLE;
GRANT SELECT ON cron.monitor_jobs, cron.monitor_stats, cron.monitor_runs, cron.monitor_health TO health_reader;
SET ROLE health_reader;
SELECT jobname, kind, state, active FROM cron.monitor_jobs;
SELECT jobname, total_runs FROM cron.monitor_stats;
SELECT count(*) FROM cron.monitor_runs;
SELECT status, jobs FROM cron.monitor_health;
SELECT jobs FROM cron.health;
RESET ROLE;
REVOKE ALL ON cron.monitor_jobs, cron.monitor_stats, cron.monitor_runs, cron.monitor_health FROM health_reader;
REVOKE USAGE ON SCHEMA cron FROM health_reader;
DROP ROLE health_reader;
SELECT cron.unschedule(:kept);
DROP EXTENSION pg_tock;
