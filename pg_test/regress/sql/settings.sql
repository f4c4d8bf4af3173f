-- pg_cron's settings, to the letter, and ours.
SELECT name, setting, unit, vartype, context, category, boot_val, short_desc
FROM pg_settings
WHERE name LIKE 'cron.%' AND name <> 'cron.max_running_jobs' ORDER BY name COLLATE "C";

-- Its bounds follow max_connections.
SELECT s.name, s.vartype, s.context, s.min_val, s.setting::int = least(m.setting::int, 32) AS default_as_in_pg_cron,
    s.max_val::int = m.setting::int AS bound_as_in_pg_cron, s.short_desc
FROM pg_settings s, pg_settings m
WHERE s.name = 'cron.max_running_jobs' AND m.name = 'max_connections';

SELECT name, enumvals FROM pg_settings WHERE name = 'cron.log_min_messages';

-- Each says more than its short description.
SELECT name FROM pg_settings WHERE name LIKE 'cron.%' AND coalesce(extra_desc, '') = '';

-- The prefix is taken: a mistyped setting is noticed.
SET cron.time_zone = 'UTC';
SET cron.timezone = 'UTC';

-- pg_cron's are for superusers' eyes.
CREATE ROLE regress_tock_reader;
SET ROLE regress_tock_reader;
SELECT name FROM pg_settings WHERE name LIKE 'cron.%' ORDER BY name COLLATE "C";
RESET ROLE;
DROP ROLE regress_tock_reader;
